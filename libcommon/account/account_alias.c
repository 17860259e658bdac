/* account_alias.c - see account_alias.h: rules for names and recipients.
 *
 * Owns nothing. Called by api and fectl. Never suspends.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "account/account_alias.h"

#include <arpa/inet.h>
#include <pcre2.h>

#include "base/map.h"
#include "mail/address.h"
#include "mail/idn.h"

/* ---- names ------------------------------------------------------------------------------------------------ */

/* Mailboxes that the world takes for the domain's own voice (RFC 2142), and what strangers would believe. */
static const char *const reserved_names[] = {
    "abuse", "account", "accounts", "admin", "administrator", "administration", "admins", "api", "arc", "autoconfig", "autodiscover",
    "billing", "bounce", "bounces", "caldav", "carddav", "ceo", "cert", "certs", "certificate", "daemon", "dkim", "dmarc", "dns", "finance",
    "ftp", "help", "helpdesk", "hostmaster", "imap", "info", "is", "isp", "it", "legal", "list", "listmaster", "list-request", "mail",
    "mailbox", "mailer-daemon", "mailerdaemon", "marketing", "moderator", "mta-sts", "mx", "network", "news", "no-reply", "nobody", "noc",
    "noreply", "office", "operator", "ops", "owner", "password", "payment", "payments", "phishing", "pop", "pop3", "postmaster", "privacy",
    "registrar", "reply", "root", "sales", "security", "server", "service", "smtp", "spam", "spf", "ssl", "ssladmin", "ssladministrator",
    "sslwebmaster", "staff", "support", "sys", "sysadmin", "sysadministrator", "system", "tech", "tls", "tlsrpt", "trust", "usenet", "user",
    "uucp", "verify", "vpn", "webadmin", "webmail", "webmaster", "wpad", "www",
};

bool account_alias_is_pattern(struct slice name)
{
    return slice_equal(name, LIT("*")) || slice_has_prefix(name, LIT("/"));
}

struct slice account_alias_normal(struct arena *in, struct slice name)
{
    size_t stars = 0;

    name = slice_trim(name);
    while (stars < name.n && name.p[stars] == '*')
        stars++;
    if (stars > 0 && stars == name.n)
        return LIT("*");
    return slice_has_prefix(name, LIT("/")) ? arena_copy(in, name) : arena_lower(in, name);
}

static bool regex_is_valid(struct slice name)
{
    ptrdiff_t end = slice_rfind_char(name, '/');
    pcre2_code *code;
    PCRE2_SIZE at;
    int error;

    if (end < 2 || name.n > ALIAS_REGEX_MAX || !slice_is_utf8(name))
        return false;
    for (size_t i = (size_t)end + 1; i < name.n; i++)
        if (strchr("gimsuy", name.p[i]) == NULL)
            return false;
    code = pcre2_compile((PCRE2_SPTR)name.p + 1, (size_t)end - 1, PCRE2_CASELESS | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (code == NULL)
        return false;
    pcre2_code_free(code);
    return true;
}

/* A dot-atom (RFC 5322 3.2.3, RFC 6531 3.3), which needs no quotes anywhere. */
static bool local_is_valid(struct slice name)
{
    char before = '.';

    if (name.n == 0 || name.n > ALIAS_NAME_MAX || !slice_is_utf8(name))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];

        if (c < 128 && !ascii_is_alnum((char)c) && strchr(".!#$%&'-/=?^_`{|}~", c) == NULL)
            return false;
        if (c == '.' && before == '.')
            return false;
        before = (char)c;
    }
    return before != '.';
}

static bool is_reserved(struct slice name, const struct slice *more, size_t count)
{
    for (size_t i = 0; i < COUNT(reserved_names); i++)
        if (slice_equal(name, slice_of(reserved_names[i])))
            return true;
    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(name, more[i]))
            return true;
    return false;
}

const char *account_alias_check(struct slice name, bool is_admin, const struct slice *reserved, size_t reserved_count)
{
    if (slice_equal(name, LIT("*")))
        return is_admin ? NULL : "CATCHALL_ADMIN_REQUIRED";
    if (slice_has_prefix(name, LIT("/"))) {
        if (!regex_is_valid(name))
            return "INVALID_REGEX";
        return is_admin ? NULL : "CATCHALL_ADMIN_REQUIRED";
    }
    if (slice_has_prefix(name, LIT("!")))
        return "ALIAS_NAME_EXCLAMATION";
    if (slice_find_char(name, '+') >= 0)
        return "ALIAS_WITH_PLUS_UNSUPPORTED";
    if (!local_is_valid(name))
        return "INVALID_LOCAL_PART";
    if (!is_admin && is_reserved(name, reserved, reserved_count))
        return "RESERVED_WORD_ADMIN_REQUIRED";
    return NULL;
}

struct slice account_alias_random_name(struct arena *in)
{
    static const char *const first[] = {
        "amber", "autumn", "bold", "brave", "bright", "calm", "clear", "crisp", "dawn", "deep", "early", "fair", "fine", "gentle", "golden",
        "green", "happy", "hazel", "ivory", "jolly", "keen", "kind", "late", "light", "lively", "lucky", "mellow", "merry", "misty", "noble",
        "north", "olive", "plain", "proud", "quick", "quiet", "rapid", "rosy", "royal", "sandy", "sharp", "silver", "sunny", "swift", "tidy",
        "vivid", "warm", "wild", "wise", "young",
    };
    static const char *const second[] = {
        "acorn", "badger", "beacon", "birch", "brook", "canyon", "cedar", "cloud", "comet", "coral", "crane", "delta", "dune", "falcon", "fern",
        "finch", "fjord", "forest", "garnet", "glade", "grove", "harbor", "heron", "hill", "island", "ivy", "lagoon", "lark", "maple", "marsh",
        "meadow", "moss", "nebula", "oak", "otter", "pebble", "pine", "planet", "prairie", "quartz", "raven", "reef", "ridge", "river", "robin",
        "sparrow", "spruce", "summit", "tundra", "willow",
    };

    return arena_printf(in, "%s-%s-%u", first[random_below(COUNT(first))], second[random_below(COUNT(second))], (unsigned)(1000 + random_below(9000)));
}

/* ---- recipients ------------------------------------------------------------------------------------------ */

static bool is_ip(struct slice s)
{
    unsigned char raw[16];
    char text[64];

    return slice_copy_cstr(s, text, sizeof(text)) && (inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1);
}

/* Two labels at least, the last one not of digits only. */
static bool is_host(struct slice s)
{
    ptrdiff_t dot = slice_rfind_char(s, '.');
    uint64_t number;

    return dot > 0 && address_domain_is_valid(s) && !slice_to_u64(slice_tail(s, (size_t)dot + 1), UINT64_MAX, &number);
}

static bool is_url(struct slice s)
{
    size_t scheme = slice_has_prefix_nocase(s, LIT("https://")) ? 8 : slice_has_prefix_nocase(s, LIT("http://")) ? 7 : 0;

    if (scheme == 0 || s.n == scheme || s.n > RECIPIENT_MAX || !slice_is_utf8(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 127 || strchr("\"<>\\^`{|}", s.p[i]) != NULL)
            return false;
    return ascii_is_alnum(s.p[scheme]) || s.p[scheme] == '[';
}

enum recipient_kind account_recipient_parse(struct arena *in, struct slice text, struct slice *out)
{
    struct slice host;
    struct address address;

    text = slice_trim(text);
    *out = arena_copy(in, text);
    if (is_url(text))
        return RECIPIENT_URL;
    if (slice_find_char(text, '@') >= 0) {
        if (!address_parse(in, text, &address) || address.is_literal || address.local.n > 64 || !is_host(address.domain))
            return RECIPIENT_NONE;
        *out = arena_lower(in, address.text);
        return RECIPIENT_EMAIL;
    }
    *out = arena_lower(in, text);
    if (is_ip(text))
        return RECIPIENT_IP;
    if (!idn_to_ascii(in, text, &host) || !is_host(host))
        return RECIPIENT_NONE;
    *out = host;
    return RECIPIENT_HOST;
}

const char *account_recipients_parse(struct arena *in, const struct slice *given, size_t count, size_t most, struct slice **out,
                                     size_t *out_count, bool *only_mail, struct slice *bad)
{
    AUTO(map_free) struct map *seen = map_new();
    bool mail = true;
    size_t n = 0;

    *out = ARENA_ARRAY(in, struct slice, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct slice normal;
        enum recipient_kind kind = account_recipient_parse(in, given[i], &normal);

        if (kind == RECIPIENT_NONE) {
            *bad = given[i];
            return "INVALID_RECIPIENT";
        }
        if (map_find(seen, normal) != NULL)
            continue;
        if (n == most)
            return "EXCEEDED_UNIQUE_COUNT";
        map_set(seen, normal, seen);
        mail = mail && kind == RECIPIENT_EMAIL;
        (*out)[n++] = normal;
    }
    *out_count = n;
    if (only_mail != NULL)
        *only_mail = mail;
    return NULL;
}
