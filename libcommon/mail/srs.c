/* srs.c - see srs.h.
 *
 * Owns nothing. Called by mx and smtp-bree. Cannot fail. Does not suspend.
 */
#include "mail/srs.h"

#define DAY_MS      86400000
#define DAYS_MODULO 1024
#define HASH_DIGITS 8
#define OLD_DIGITS  4

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static bool split_address(struct slice address, struct slice *local, struct slice *domain)
{
    ptrdiff_t at = slice_rfind_char(address, '@');

    if (at <= 0)
        return false;
    *local = slice_head(address, (size_t)at);
    *domain = slice_tail(address, (size_t)at + 1);
    return domain->n > 0;
}

static struct slice hash_text(struct arena *a, const struct secret *secret, const struct slice *parts, size_t count)
{
    unsigned char mac[32];
    char hex[HASH_DIGITS + 1];

    hmac_sha256(secret_slice(secret), arena_concat(a, parts, count), mac);
    for (size_t i = 0; i < HASH_DIGITS / 2; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return arena_copy(a, slice_make(hex, HASH_DIGITS));
}

static struct slice day_text(struct arena *a, int64_t now_ms)
{
    uint64_t day = (uint64_t)((now_ms + DAY_MS / 2) / DAY_MS) % DAYS_MODULO;
    char text[2] = { base32[day >> 5], base32[day & 31] };

    return arena_copy(a, slice_make(text, 2));
}

static bool day_is_recent(struct slice text, int64_t now_ms)
{
    uint64_t now = (uint64_t)((now_ms + DAY_MS / 2) / DAY_MS) % DAYS_MODULO, then = 0;

    for (size_t i = 0; i < 2; i++) {
        const char *at = memchr(base32, ascii_upper(text.p[i]), 32);

        if (at == NULL)
            return false;
        then = then << 5 | (uint64_t)(at - base32);
    }
    return (now + DAYS_MODULO - then) % DAYS_MODULO <= SRS_DAYS;
}

static bool is_separator(char c)
{
    return c == '=' || c == '-' || c == '+';
}

/* "SRS0=..." in any case and with any of the three separators: 0 or 1, else -1; *rest is what follows. */
static int srs_kind(struct slice local, struct slice *rest)
{
    if (local.n < 6 || !slice_has_prefix_nocase(local, LIT("SRS")) || !is_separator(local.p[4]))
        return -1;
    *rest = slice_tail(local, 5);
    return local.p[3] == '0' ? 0 : local.p[3] == '1' ? 1 : -1;
}

struct slice srs_encode(struct arena *a, const struct secret *secret, struct slice sender, struct slice forwarder, int64_t now_ms)
{
    struct slice local, domain, rest, day, first;

    if (!split_address(sender, &local, &domain) || slice_equal_nocase(domain, forwarder))
        return sender;
    switch (srs_kind(local, &rest)) {
    case 0:                            /* somebody else's SRS0: wrapped once, with its separator kept */
        rest = slice_tail(local, 4);
        return arena_printf(a, "SRS1=%.*s=%.*s=%.*s@%.*s", SLICE(hash_text(a, secret, (struct slice[]){ domain, rest }, 2)),
                            SLICE(domain), SLICE(rest), SLICE(forwarder));
    case 1:                            /* SRS1: the first forwarder stays, the one in between goes (no nesting) */
        if (slice_cut(&rest, '=', &first) && slice_cut(&rest, '=', &first))
            return arena_printf(a, "SRS1=%.*s=%.*s=%.*s@%.*s", SLICE(hash_text(a, secret, (struct slice[]){ first, rest }, 2)),
                                SLICE(first), SLICE(rest), SLICE(forwarder));
        break;
    default:
        break;
    }
    day = day_text(a, now_ms);
    return arena_printf(a, "SRS0=%.*s=%.*s=%.*s=%.*s@%.*s", SLICE(hash_text(a, secret, (struct slice[]){ day, domain, local }, 3)),
                        SLICE(day), SLICE(domain), SLICE(local), SLICE(forwarder));
}

static bool hash_is_right(struct slice got, struct slice want)
{
    char lower[HASH_DIGITS];

    if (got.n != HASH_DIGITS && got.n != OLD_DIGITS)
        return false;
    for (size_t i = 0; i < got.n; i++)
        lower[i] = ascii_lower(got.p[i]);
    return secret_equal(slice_make(lower, got.n), slice_head(want, got.n));
}

static enum srs_result decode0(struct arena *a, const struct secret *secret, struct slice rest, int64_t now_ms, struct slice *original)
{
    struct slice hash, day, domain, upper;

    if (!slice_cut(&rest, '=', &hash) || !slice_cut(&rest, '=', &day) || !slice_cut(&rest, '=', &domain) || rest.n == 0 ||
        day.n != 2 || domain.n == 0)
        return SRS_FORGED;
    upper = arena_printf(a, "%c%c", ascii_upper(day.p[0]), ascii_upper(day.p[1]));
    if (!hash_is_right(hash, hash_text(a, secret, (struct slice[]){ upper, domain, rest }, 3)) || !day_is_recent(upper, now_ms))
        return SRS_FORGED;
    *original = arena_printf(a, "%.*s@%.*s", SLICE(rest), SLICE(domain));
    return SRS_VALID;
}

static enum srs_result decode1(struct arena *a, const struct secret *secret, struct slice rest, struct slice *original)
{
    struct slice hash, domain;

    if (!slice_cut(&rest, '=', &hash) || !slice_cut(&rest, '=', &domain) || rest.n == 0 || domain.n == 0 ||
        !hash_is_right(hash, hash_text(a, secret, (struct slice[]){ domain, rest }, 2)))
        return SRS_FORGED;
    *original = arena_printf(a, "SRS0%.*s@%.*s", SLICE(rest), SLICE(domain));
    return SRS_VALID;
}

enum srs_result srs_decode(struct arena *a, const struct secret *secret, struct slice address, int64_t now_ms, struct slice *original)
{
    struct slice local, domain, rest;

    if (!split_address(address, &local, &domain))
        return SRS_NONE;
    switch (srs_kind(local, &rest)) {
    case 0:
        return decode0(a, secret, rest, now_ms, original);
    case 1:
        return decode1(a, secret, rest, original);
    default:
        return SRS_NONE;
    }
}
