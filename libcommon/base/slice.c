/* slice.c - see slice.h.
 *
 * Owns nothing but the key of slice_hash, drawn once per process. Called everywhere. Cannot fail; does not suspend.
 */
#include "base/slice.h"

#include <pthread.h>
#include <sodium.h>

bool slice_equal(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

int slice_compare(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int r = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (r != 0)
        return r;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_equal(slice_head(s, prefix.n), prefix);
}

bool slice_has_prefix_nocase(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_equal_nocase(slice_head(s, prefix.n), prefix);
}

bool slice_has_suffix(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && slice_equal(slice_tail(s, s.n - suffix.n), suffix);
}

bool slice_has_suffix_nocase(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && slice_equal_nocase(slice_tail(s, s.n - suffix.n), suffix);
}

struct slice slice_head(struct slice s, size_t n)
{
    return (struct slice){ s.p, n < s.n ? n : s.n };
}

struct slice slice_tail(struct slice s, size_t n)
{
    if (n == 0 || s.p == NULL)
        return s;
    return n < s.n ? (struct slice){ s.p + n, s.n - n } : (struct slice){ s.p + s.n, 0 };
}

struct slice slice_sub(struct slice s, size_t from, size_t n)
{
    return slice_head(slice_tail(s, from), n);
}

static bool is_trimmed(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim_left(struct slice s)
{
    size_t i = 0;

    while (i < s.n && is_trimmed(s.p[i]))
        i++;
    return slice_tail(s, i);
}

struct slice slice_trim_right(struct slice s)
{
    while (s.n > 0 && is_trimmed(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct slice slice_trim(struct slice s)
{
    return slice_trim_right(slice_trim_left(s));
}

ptrdiff_t slice_find(struct slice s, struct slice needle)
{
    const char *at;

    if (needle.n == 0)
        return 0;
    if (needle.n > s.n)
        return -1;
    at = memmem(s.p, s.n, needle.p, needle.n);
    return at != NULL ? at - s.p : -1;
}

ptrdiff_t slice_find_nocase(struct slice s, struct slice needle)
{
    char first;

    if (needle.n == 0)
        return 0;
    if (needle.n > s.n)
        return -1;
    first = ascii_lower(needle.p[0]);
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (ascii_lower(s.p[i]) == first && slice_equal_nocase(slice_make(s.p + i, needle.n), needle))
            return (ptrdiff_t)i;
    return -1;
}

ptrdiff_t slice_find_char(struct slice s, char c)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return at != NULL ? at - s.p : -1;
}

ptrdiff_t slice_rfind_char(struct slice s, char c)
{
    const char *at = s.n > 0 ? memrchr(s.p, c, s.n) : NULL;

    return at != NULL ? at - s.p : -1;
}

bool slice_cut(struct slice *rest, char sep, struct slice *out)
{
    ptrdiff_t at;

    if (rest->n == 0)
        return false;
    at = slice_find_char(*rest, sep);
    *out = at < 0 ? *rest : slice_head(*rest, (size_t)at);
    *rest = at < 0 ? SLICE_NONE : slice_tail(*rest, (size_t)at + 1);
    return true;
}

bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]) || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

bool slice_to_u32(struct slice s, uint32_t max, uint32_t *out)
{
    uint64_t v;

    if (!slice_to_u64(s, max, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool slice_copy_cstr(struct slice s, char *out, size_t size)
{
    out[0] = '\0';
    if (s.n >= size || slice_find_char(s, '\0') >= 0)
        return false;
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

static unsigned char hash_key[crypto_shorthash_KEYBYTES];

static void hash_key_draw(void)
{
    randombytes_buf(hash_key, sizeof(hash_key));
}

uint64_t slice_hash(struct slice s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint64_t h;

    pthread_once(&once, hash_key_draw);
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)s.p, s.n, hash_key);
    return h;
}

/* How many bytes at the front are ASCII, eight at a time. */
static size_t ascii_run(const unsigned char *p, size_t n)
{
    size_t i = 0;
    uint64_t word;

    for (; i + sizeof(word) <= n; i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        if ((word & 0x8080808080808080u) != 0)
            break;
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

bool slice_is_ascii(struct slice s)
{
    return ascii_run((const unsigned char *)s.p, s.n) == s.n;
}

/* Length of the sequence at p, which is not ASCII; 0 when it is not one (RFC 3629 4). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (p[0] >= 0xe0 && p[0] <= 0xef) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
            return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
            return 0;
        if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

bool slice_is_utf8(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;

    for (size_t i = ascii_run(p, s.n); i < s.n; i += ascii_run(p + i, s.n - i)) {
        size_t n = utf8_sequence(p + i, s.n - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
