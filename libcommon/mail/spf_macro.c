/* spf_macro.c - macros of SPF (RFC 7208 7).
 *
 * Owns nothing; results live in the check's arena. Called by spf.c on specs spf_macro_is_valid() has passed. Suspends for %{p}.
 */
#include <arpa/inet.h>

#include "base/time.h"
#include "mail/spf_internal.h"

#define EXPANDED_MAX 4096

struct macro { char letter; bool escape, reverse; uint32_t keep; char delimiters[8]; };

static size_t read_macro(struct slice s, struct macro *m)
{
    size_t i = 3, n = 0;

    *m = (struct macro){ .letter = ascii_lower(s.p[2]), .escape = s.p[2] != ascii_lower(s.p[2]) };
    for (; ascii_is_digit(s.p[i]); i++)
        m->keep = m->keep * 10 + (uint32_t)(s.p[i] - '0');
    if (ascii_lower(s.p[i]) == 'r') {
        m->reverse = true;
        i++;
    }
    for (; s.p[i] != '}'; i++)
        if (n < sizeof(m->delimiters) - 1)
            m->delimiters[n++] = s.p[i];
    if (n == 0)
        m->delimiters[n++] = '.';
    m->delimiters[n] = '\0';
    return i + 1;
}

/* %{i}: IPv6 as 32 nibbles with dots. */
static struct slice dotted_ip(struct spf_check *check)
{
    AUTO(buf_free) struct buf b = BUF_INIT(128);

    if (!check->is_ip6)
        return arena_printf(check->in, "%u.%u.%u.%u", check->ip[0], check->ip[1], check->ip[2], check->ip[3]);
    for (size_t i = 0; i < 16; i++)
        (void)buf_printf(&b, "%s%x.%x", i ? "." : "", check->ip[i] >> 4, check->ip[i] & 15u);
    return arena_copy(check->in, buf_slice(&b));
}

static struct slice readable_ip(struct spf_check *check)
{
    char text[INET6_ADDRSTRLEN] = "";

    (void)inet_ntop(check->is_ip6 ? AF_INET6 : AF_INET, check->ip, text, sizeof(text));
    return arena_copy(check->in, slice_of(text));
}

static struct slice validated_name(struct spf_check *check, struct slice domain)
{
    if (!check->validated_known) {
        check->validated_known = true;
        if (spf_find_validated(check, domain, false, &check->validated) != 1)
            check->validated = LIT("unknown");
    }
    return check->validated;
}

static struct slice macro_value(struct spf_check *check, char letter, struct slice domain, bool is_explanation)
{
    switch (letter) {
    case 's': return check->sender;
    case 'l': return check->local;
    case 'o': return check->sender_domain;
    case 'd': return domain;
    case 'i': return dotted_ip(check);
    case 'p': return validated_name(check, domain);
    case 'v': return check->is_ip6 ? LIT("ip6") : LIT("in-addr");
    case 'h': return check->request->helo;
    case 'c': return is_explanation ? readable_ip(check) : SLICE_NONE;
    case 'r': return is_explanation && check->request->receiver.n ? check->request->receiver : LIT("unknown");
    case 't': return arena_printf(check->in, "%lld", (long long)(clock_wall_ms() / 1000));
    default:  return SLICE_NONE;
    }
}

static void append_escaped(struct slice s, bool escape, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (!escape || ascii_is_alnum((char)c) || (c && strchr("-._~", c)))
            (void)buf_append_char(out, (char)c);
        else
            (void)buf_printf(out, "%%%02X", c);
    }
}

#define PARTS_MAX 128

/* Split at the delimiters, turned round, the rightmost `keep` kept, joined with dots. */
static void append_transformed(struct slice value, const struct macro *m, struct buf *out)
{
    struct slice parts[PARTS_MAX];
    size_t count = 0, from = 0, first;

    for (size_t i = 0; i <= value.n && count < PARTS_MAX; i++)
        if (i == value.n || (value.p[i] && strchr(m->delimiters, value.p[i]))) {
            parts[count++] = slice_sub(value, from, i - from);
            from = i + 1;
        }
    for (size_t i = 0; m->reverse && i < count / 2; i++) {
        struct slice swap = parts[i];

        parts[i] = parts[count - 1 - i];
        parts[count - 1 - i] = swap;
    }
    first = m->keep && m->keep < count ? count - m->keep : 0;
    for (size_t i = first; i < count; i++) {
        if (i > first)
            (void)buf_append_char(out, '.');
        append_escaped(parts[i], m->escape, out);
    }
}

/* 7.3: at most 253 characters, labels dropped from the left. */
static struct slice fit_domain(struct slice name)
{
    while (name.n > 253) {
        ptrdiff_t dot = slice_find_char(name, '.');

        if (dot < 0)
            return slice_tail(name, name.n);
        name = slice_tail(name, (size_t)dot + 1);
    }
    return name;
}

struct slice spf_macro_expand(struct spf_check *check, struct slice spec, struct slice domain, bool is_explanation)
{
    AUTO(buf_free) struct buf out = BUF_INIT(EXPANDED_MAX);
    struct slice text;

    while (spec.n > 0) {
        struct macro m;
        size_t n = 1;

        if (spec.p[0] != '%') {
            (void)buf_append_char(&out, spec.p[0]);
        } else if (spec.p[1] != '{') {
            (void)buf_append_cstr(&out, spec.p[1] == '%' ? "%" : spec.p[1] == '_' ? " " : "%20");
            n = 2;
        } else {
            n = read_macro(spec, &m);
            append_transformed(macro_value(check, m.letter, domain, is_explanation), &m, &out);
        }
        spec = slice_tail(spec, n);
    }
    text = arena_copy(check->in, buf_slice(&out));
    return is_explanation ? text : fit_domain(text);
}
