/* address.c - see address.h. IDNA is libidn2's (idn.h), the Public Suffix List libpsl's.
 *
 * Owns nothing; the list is loaded once per process and stays. Called on each command of SMTP: no work beyond the text.
 */
#include "mail/address.h"

#include <arpa/inet.h>
#include <libpsl.h>

#include "mail/idn.h"

#define LABELS_MAX 128

static bool local_is_valid(struct slice local)
{
    char before = '.';

    for (size_t i = 0; i < local.n; i++) {
        unsigned char c = (unsigned char)local.p[i];

        if (c <= 32 || c == 127 || (c < 128 && strchr("()<>[]:;@\\,\"", c)) || (c == '.' && before == '.'))
            return false;
        before = (char)c;
    }
    return local.n > 0 && before != '.' && slice_is_utf8(local);
}

/* RFC 5321 4.1.3 */
static bool literal_is_valid(struct slice s)
{
    struct in6_addr ip;
    char text[INET6_ADDRSTRLEN];
    bool is6;

    if (s.n < 3 || s.p[s.n - 1] != ']')
        return false;
    s = slice_sub(s, 1, s.n - 2);
    is6 = slice_has_prefix_nocase(s, LIT("IPv6:"));
    return slice_copy_cstr(is6 ? slice_tail(s, 5) : s, text, sizeof(text)) && inet_pton(is6 ? AF_INET6 : AF_INET, text, &ip) == 1;
}

bool address_domain_is_valid(struct slice domain)
{
    struct slice rest = domain, label;

    if (domain.n == 0 || domain.n > 253 || domain.p[domain.n - 1] == '.')
        return false;
    while (slice_cut(&rest, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
                return false;
    }
    return true;
}

static void split_local(struct arena *a, struct address *out)
{
    ptrdiff_t plus = slice_find_char(out->local, '+');

    out->tag = SLICE_NONE;
    out->user = arena_lower(a, plus > 0 ? slice_head(out->local, (size_t)plus) : out->local);
    if (plus > 0)
        out->tag = slice_tail(out->local, (size_t)plus + 1);
}

bool address_parse(struct arena *a, struct slice in, struct address *out)
{
    ptrdiff_t at = slice_rfind_char(in, '@');
    struct slice domain;

    if (at <= 0 || in.n > ADDRESS_MAX_BYTES || !local_is_valid(slice_head(in, (size_t)at)))
        return false;
    domain = slice_tail(in, (size_t)at + 1);
    out->is_literal = domain.n > 0 && domain.p[0] == '[';
    if (out->is_literal)
        out->domain = arena_lower(a, domain);
    else if (!idn_to_ascii(a, domain, &out->domain))
        return false;
    if (out->is_literal ? !literal_is_valid(domain) : !address_domain_is_valid(out->domain))
        return false;
    out->text = arena_printf(a, "%.*s@%.*s", (int)at, in.p, SLICE(out->domain));
    out->local = slice_head(out->text, (size_t)at);
    split_local(a, out);
    return true;
}

struct slice address_without_tag(struct arena *a, const struct address *address)
{
    return arena_printf(a, "%.*s@%.*s", SLICE(address->user), SLICE(address->domain));
}

struct slice address_root_domain(struct slice domain)
{
    const psl_ctx_t *list = psl_builtin();
    size_t starts[LABELS_MAX], count = 0;
    char name[256];
    struct in6_addr ip;

    if (!list || domain.n == 0 || domain.p[0] == '[' || !slice_copy_cstr(domain, name, sizeof(name)) ||
        inet_pton(AF_INET, name, &ip) == 1 || inet_pton(AF_INET6, name, &ip) == 1)
        return domain;
    starts[count++] = 0;
    for (size_t i = 0; i < domain.n && count < LABELS_MAX; i++)
        if (domain.p[i] == '.')
            starts[count++] = i + 1;
    for (size_t i = 1; i < count; i++)                /* the longest public suffix comes first; one label more is the root */
        if (psl_is_public_suffix2(list, name + starts[i], PSL_TYPE_ICANN))
            return slice_tail(domain, starts[i - 1]);
    return domain;
}

static bool is_one_of(struct slice user, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal(user, slice_of(names[i])))
            return true;
    return false;
}

bool address_is_noreply(struct slice user)
{
    static const char *const names[] = {
        "do-not-reply", "do-not-respond", "do.not.reply", "donotreply", "donotrespond", "dont-reply", "naoresponda", "no-replies",
        "no-reply", "no-replys", "no.replies", "no.reply", "no.replys", "no_reply", "nobody", "noreplies", "noreply", "noreplys",
    };

    return is_one_of(user, names, COUNT(names));
}

bool address_is_automatic(struct slice user)
{
    static const char *const names[] = {
        "automailer", "autoresponder", "bounce", "bounce-notification", "bounce-notifications", "bounces", "hostmaster", "listserv",
        "localhost", "mail-daemon", "mail.daemon", "maildaemon", "mailer-daemon", "mailer.daemon", "mailerdaemon", "majordomo", "postmaster",
    };

    return is_one_of(user, names, COUNT(names)) || address_is_noreply(user);
}
