/* spf_record.c - the text of an SPF record (RFC 7208 4.5, 5, 6, 12): parsed whole before anything is asked.
 *
 * Owns nothing; terms point into the text. Called by spf.c. False on any syntax error. Never suspends.
 */
#include <arpa/inet.h>

#include "mail/spf_internal.h"

struct mechanism_rule {
    const char *name;
    enum spf_mechanism mechanism;
    enum { DOMAIN_NONE, DOMAIN_MAY, DOMAIN_MUST, DOMAIN_IP } domain;
    bool cidr;
};

static const struct mechanism_rule rules[] = {
    { "all", SPF_ALL, DOMAIN_NONE, false },      { "include", SPF_INCLUDE, DOMAIN_MUST, false },
    { "a", SPF_A, DOMAIN_MAY, true },            { "mx", SPF_MX, DOMAIN_MAY, true },
    { "ptr", SPF_PTR, DOMAIN_MAY, false },       { "ip4", SPF_IP4, DOMAIN_IP, true },
    { "ip6", SPF_IP6, DOMAIN_IP, true },         { "exists", SPF_EXISTS, DOMAIN_MUST, false },
};

/* ---- domain-spec ------------------------------------------------------------------------------------------------- */

/* Length of "%{...}", "%%", "%_" or "%-" at the start; 0 when malformed. */
static size_t macro_length(struct slice s)
{
    size_t i = 3;

    if (s.n < 2)
        return 0;
    if (s.p[1] == '%' || s.p[1] == '_' || s.p[1] == '-')
        return 2;
    if (s.n < 4 || s.p[1] != '{' || !strchr("slodiphcrtv", ascii_lower(s.p[2])))
        return 0;
    if (ascii_is_digit(s.p[i])) {
        bool zero = true;

        for (; i < s.n && ascii_is_digit(s.p[i]); i++)
            zero = zero && s.p[i] == '0';
        if (zero || i > 6)
            return 0;
    }
    if (i < s.n && ascii_lower(s.p[i]) == 'r')
        i++;
    while (i < s.n && s.p[i] != '\0' && strchr(".-+,/_=", s.p[i]))
        i++;
    return i < s.n && s.p[i] == '}' ? i + 1 : 0;
}

bool spf_macro_is_valid(struct slice spec)
{
    while (spec.n > 0) {
        size_t n = spec.p[0] == '%' ? macro_length(spec) : spec.p[0] > 32 && spec.p[0] < 127;

        if (n == 0)
            return false;
        spec = slice_tail(spec, n);
    }
    return true;
}

/* RFC 7208 7.1 toplabel: letters, digits and inner hyphens, not digits alone. */
static bool is_toplabel(struct slice s)
{
    bool letter = false;

    if (s.n == 0 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        letter = letter || !ascii_is_digit(s.p[i]);
    }
    return letter;
}

/* c, r and t are for explanations; a domain must end in ".toplabel" or a macro. */
static bool domain_is_valid(struct slice spec)
{
    ptrdiff_t dot;
    struct slice rest = spec, last;

    if (spec.n == 0 || !spf_macro_is_valid(spec))
        return false;
    while (rest.n > 1) {
        if (rest.p[0] == '%' && rest.p[1] == '{' && strchr("crt", ascii_lower(rest.p[2])))
            return false;
        rest = slice_tail(rest, rest.p[0] == '%' ? macro_length(rest) : 1);
    }
    if (spec.p[spec.n - 1] == '}')
        return true;
    last = spec.p[spec.n - 1] == '.' ? slice_head(spec, spec.n - 1) : spec;
    dot = slice_rfind_char(last, '.');
    return dot >= 0 && is_toplabel(slice_tail(last, (size_t)dot + 1));
}

/* ---- terms ------------------------------------------------------------------------------------------------------- */

static bool parse_prefix(struct slice s, unsigned max, unsigned *out)
{
    uint32_t v;

    if (s.n == 0 || s.n > 3 || (s.n > 1 && s.p[0] == '0') || !slice_to_u32(s, max, &v))
        return false;
    *out = v;
    return true;
}

static size_t digits_at_end(struct slice s)
{
    size_t n = 0;

    while (n < s.n && ascii_is_digit(s.p[s.n - 1 - n]))
        n++;
    return n;
}

/* Cuts "/24", "//64" or "/24//64" off the end; false when one is out of range. */
static bool cut_dual_cidr(struct slice *s, struct spf_term *t)
{
    size_t n = digits_at_end(*s);

    t->prefix4 = 32;
    t->prefix6 = 128;
    if (s->n > n + 1 && s->p[s->n - n - 1] == '/' && s->p[s->n - n - 2] == '/') {
        if (!parse_prefix(slice_tail(*s, s->n - n), 128, &t->prefix6))
            return false;
        *s = slice_head(*s, s->n - n - 2);
        n = digits_at_end(*s);
    }
    if (s->n > n && s->p[s->n - n - 1] == '/') {
        if (!parse_prefix(slice_tail(*s, s->n - n), 32, &t->prefix4))
            return false;
        *s = slice_head(*s, s->n - n - 1);
    }
    return true;
}

static bool parse_network(struct slice s, struct spf_term *t)
{
    bool is6 = t->mechanism == SPF_IP6;
    ptrdiff_t slash = slice_rfind_char(s, '/');
    unsigned *prefix = is6 ? &t->prefix6 : &t->prefix4;
    char text[INET6_ADDRSTRLEN];

    t->prefix4 = 32;
    t->prefix6 = 128;
    if (slash >= 0) {
        if (!parse_prefix(slice_tail(s, (size_t)slash + 1), is6 ? 128 : 32, prefix))
            return false;
        s = slice_head(s, (size_t)slash);
    }
    return slice_copy_cstr(s, text, sizeof(text)) && inet_pton(is6 ? AF_INET6 : AF_INET, text, t->net) == 1;
}

static enum spf_result take_qualifier(struct slice *s)
{
    enum spf_result r = s->p[0] == '-' ? SPF_FAIL : s->p[0] == '~' ? SPF_SOFTFAIL : s->p[0] == '?' ? SPF_NEUTRAL : SPF_PASS;

    if (r != SPF_PASS || s->p[0] == '+')
        *s = slice_tail(*s, 1);
    return r;
}

static const struct mechanism_rule *find_rule(struct slice name)
{
    for (size_t i = 0; i < COUNT(rules); i++)
        if (slice_equal_nocase(name, slice_of(rules[i].name)))
            return &rules[i];
    return NULL;
}

static bool parse_argument(const struct mechanism_rule *rule, struct slice rest, struct spf_term *t)
{
    bool colon;

    if (rule->domain == DOMAIN_IP)
        return rest.n > 1 && rest.p[0] == ':' && parse_network(slice_tail(rest, 1), t);
    if (rule->cidr && !cut_dual_cidr(&rest, t))
        return false;
    colon = rest.n > 0 && rest.p[0] == ':';
    if (rest.n == 0)
        return rule->domain != DOMAIN_MUST;
    if (!colon || rule->domain == DOMAIN_NONE)
        return false;
    t->domain = slice_tail(rest, 1);
    return domain_is_valid(t->domain);
}

static bool parse_directive(struct slice word, struct spf_record *out)
{
    struct spf_term *t = &out->terms[out->count];
    const struct mechanism_rule *rule;
    size_t n = 0;

    if (out->count == SPF_TERMS_MAX)
        return false;
    *t = (struct spf_term){ .text = word };
    t->qualifier = take_qualifier(&word);
    while (n < word.n && ascii_is_alnum(word.p[n]))
        n++;
    rule = find_rule(slice_head(word, n));
    if (!rule)
        return false;
    t->mechanism = rule->mechanism;
    if (!parse_argument(rule, slice_tail(word, n), t))
        return false;
    out->count++;
    return true;
}

/* Length of the name of "name=value", 0 when the word is none. */
static size_t modifier_name(struct slice word)
{
    size_t n = 0;

    if (!ascii_is_alpha(word.p[0]))
        return 0;
    while (n < word.n && (ascii_is_alnum(word.p[n]) || strchr("-_.", word.p[n] ? word.p[n] : ' ')))
        n++;
    return n < word.n && word.p[n] == '=' ? n : 0;
}

/* redirect and exp once each (6); unknown ones are ignored, but must be well-formed. */
static bool parse_modifier(struct slice word, size_t n, struct spf_record *out)
{
    struct slice name = slice_head(word, n), value = slice_tail(word, n + 1);
    struct slice *slot = slice_equal_nocase(name, LIT("redirect")) ? &out->redirect
                       : slice_equal_nocase(name, LIT("exp"))      ? &out->exp : NULL;

    if (!slot)
        return spf_macro_is_valid(value);
    if (slot->n > 0 || !domain_is_valid(value))
        return false;
    *slot = value;
    return true;
}

bool spf_record_parse(struct slice text, struct spf_record *out)
{
    struct slice word;

    out->count = 0;
    out->redirect = out->exp = SLICE_NONE;
    if (text.n > SPF_RECORD_MAX)
        return false;
    text = slice_tail(text, sizeof("v=spf1") - 1);
    while (slice_cut(&text, ' ', &word)) {
        size_t n;

        if (word.n == 0)
            continue;
        n = modifier_name(word);
        if (n ? !parse_modifier(word, n, out) : !parse_directive(word, out))
            return false;
    }
    return true;
}
