/* spf.c - check_host() of RFC 7208 4: records found, mechanisms tried in order, redirects followed, lookups counted.
 *
 * Owns nothing; all lives in the caller's arena. Called by mx. Results, never faults. Suspends where the resolver does.
 */
#include "mail/spf.h"

#include <arpa/inet.h>

#include "mail/spf_internal.h"

static enum spf_result check_host(struct spf_check *check, struct slice domain);

const char *spf_result_name(enum spf_result r)
{
    static const char *const names[] = { "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror" };

    return names[r];
}

static enum spf_result fail_with(struct spf_check *check, enum spf_result r, const char *reason)
{
    check->verdict->reason = reason;
    return r;
}

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

static int ask_resolver(void *arg, struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why)
{
    (void)arg;
    return dns_query(name, type, in, until, out, why);
}

int spf_query(struct spf_check *check, struct slice name, enum dns_type type, struct dns_answer *out)
{
    spf_query_fn query = check->request->query ? check->request->query : ask_resolver;
    struct fault why;

    *out = (struct dns_answer){ .status = DNS_NO_NAME };
    if (name.n == 0)
        return 0;
    if (deadline_is_past(check->request->until))
        return -1;
    if (query(check->request->arg, name, type, check->in, check->request->until, out, &why) == 0)
        return 0;
    *out = (struct dns_answer){ .status = DNS_NO_NAME };
    return why.code == FAULT_INVALID ? 0 : -1;
}

static enum dns_type address_type(const struct spf_check *check)
{
    return check->is_ip6 ? DNS_AAAA : DNS_A;
}

/* Counts a term that asks DNS (4.6.4). */
static bool may_look_up(struct spf_check *check)
{
    return ++check->lookups <= SPF_LOOKUPS_MAX;
}

static bool may_be_void(struct spf_check *check, const struct dns_answer *answer)
{
    return answer->count > 0 || ++check->voids <= SPF_VOID_MAX;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static bool net_has(const unsigned char *net, const unsigned char *ip, unsigned prefix)
{
    unsigned whole = prefix / 8, rest = prefix % 8;

    if (memcmp(net, ip, whole) != 0)
        return false;
    return rest == 0 || ((net[whole] ^ ip[whole]) >> (8 - rest)) == 0;
}

static bool answer_has_client(const struct spf_check *check, const struct dns_answer *answer, unsigned prefix)
{
    for (size_t i = 0; i < answer->count; i++) {
        char text[INET6_ADDRSTRLEN];
        unsigned char ip[16];

        if (!slice_copy_cstr(answer->records[i].text, text, sizeof(text)))
            continue;
        if (inet_pton(check->is_ip6 ? AF_INET6 : AF_INET, text, ip) == 1 && net_has(ip, check->ip, prefix))
            return true;
    }
    return false;
}

static bool read_client(const char *text, struct spf_check *check)
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
    unsigned char ip[16];

    if (inet_pton(AF_INET, text, check->ip) == 1)
        return true;
    if (inet_pton(AF_INET6, text, ip) != 1)
        return false;
    check->is_ip6 = memcmp(ip, mapped, sizeof(mapped)) != 0;
    memcpy(check->ip, check->is_ip6 ? ip : ip + 12, check->is_ip6 ? 16 : 4);
    return true;
}

/* ---- names of the client (5.5) ------------------------------------------------------------------------------------- */

static struct slice reverse_name(struct spf_check *check)
{
    AUTO(buf_free) struct buf b = BUF_INIT(128);

    if (!check->is_ip6)
        return arena_printf(check->in, "%u.%u.%u.%u.in-addr.arpa", check->ip[3], check->ip[2], check->ip[1], check->ip[0]);
    for (size_t i = 16; i-- > 0;)
        (void)buf_printf(&b, "%x.%x.", check->ip[i] & 15u, check->ip[i] >> 4);
    (void)buf_append_cstr(&b, "ip6.arpa");
    return arena_copy(check->in, buf_slice(&b));
}

static bool is_under(struct slice name, struct slice domain)
{
    if (slice_equal_nocase(name, domain))
        return true;
    return name.n > domain.n && name.p[name.n - domain.n - 1] == '.' && slice_has_suffix_nocase(name, domain);
}

static bool leads_back(struct spf_check *check, struct slice name)
{
    struct dns_answer addresses;

    return spf_query(check, name, address_type(check), &addresses) == 0 && answer_has_client(check, &addresses, check->is_ip6 ? 128 : 32);
}

int spf_find_validated(struct spf_check *check, struct slice domain, bool must_match, struct slice *out)
{
    struct dns_answer names;
    int best = 0;                                     /* 1: any, 2: below the domain, 3: the domain */

    if (spf_query(check, reverse_name(check), DNS_PTR, &names) < 0)
        return 0;
    if (must_match && !may_be_void(check, &names))
        return -1;
    for (size_t i = 0; i < names.count && i < SPF_NAMES_MAX; i++) {
        struct slice name = names.records[i].text;
        int rank = slice_equal_nocase(name, domain) ? 3 : is_under(name, domain) ? 2 : 1;

        if (rank <= best || (must_match && rank == 1) || !leads_back(check, name))
            continue;
        best = rank;
        *out = name;
        if (must_match)
            break;
    }
    return best > 0;
}

/* ---- mechanisms: 1 match, 0 no match, < 0 the check ends with *result ------------------------------------------------ */

static int end_check(struct spf_check *check, enum spf_result r, const char *reason, enum spf_result *result)
{
    *result = fail_with(check, r, reason);
    return -1;
}

static int match_include(struct spf_check *check, struct slice target, enum spf_result *result)
{
    switch (check_host(check, target)) {
    case SPF_PASS: return 1;
    case SPF_FAIL: case SPF_SOFTFAIL: case SPF_NEUTRAL: return 0;
    case SPF_TEMPERROR: *result = SPF_TEMPERROR; return -1;
    case SPF_NONE: return end_check(check, SPF_PERMERROR, "an included domain has no SPF record", result);
    default: *result = SPF_PERMERROR; return -1;
    }
}

static int match_address(struct spf_check *check, const struct spf_term *t, struct slice target, enum spf_result *result)
{
    struct dns_answer answer;

    if (spf_query(check, target, address_type(check), &answer) < 0)
        return end_check(check, SPF_TEMPERROR, "DNS failed", result);
    if (!may_be_void(check, &answer))
        return end_check(check, SPF_PERMERROR, "too many empty DNS answers", result);
    return answer_has_client(check, &answer, check->is_ip6 ? t->prefix6 : t->prefix4);
}

static int match_mx(struct spf_check *check, const struct spf_term *t, struct slice target, enum spf_result *result)
{
    struct dns_answer hosts, answer;

    if (spf_query(check, target, DNS_MX, &hosts) < 0)
        return end_check(check, SPF_TEMPERROR, "DNS failed", result);
    if (!may_be_void(check, &hosts))
        return end_check(check, SPF_PERMERROR, "too many empty DNS answers", result);
    if (hosts.count > SPF_NAMES_MAX)
        return end_check(check, SPF_PERMERROR, "too many MX hosts", result);
    for (size_t i = 0; i < hosts.count; i++) {
        if (spf_query(check, hosts.records[i].text, address_type(check), &answer) < 0)
            return end_check(check, SPF_TEMPERROR, "DNS failed", result);
        if (answer_has_client(check, &answer, check->is_ip6 ? t->prefix6 : t->prefix4))
            return 1;
    }
    return 0;
}

static int match_ptr(struct spf_check *check, struct slice target, enum spf_result *result)
{
    struct slice name;
    int r = spf_find_validated(check, target, true, &name);

    return r < 0 ? end_check(check, SPF_PERMERROR, "too many empty DNS answers", result) : r;
}

static int match_exists(struct spf_check *check, struct slice target, enum spf_result *result)
{
    struct dns_answer answer;

    if (spf_query(check, target, DNS_A, &answer) < 0)
        return end_check(check, SPF_TEMPERROR, "DNS failed", result);
    if (!may_be_void(check, &answer))
        return end_check(check, SPF_PERMERROR, "too many empty DNS answers", result);
    return answer.count > 0;
}

static int match_term(struct spf_check *check, const struct spf_term *t, struct slice domain, enum spf_result *result)
{
    struct slice target = domain;

    if (t->mechanism == SPF_ALL)
        return 1;
    if (t->mechanism == SPF_IP4 || t->mechanism == SPF_IP6)
        return check->is_ip6 == (t->mechanism == SPF_IP6) && net_has(t->net, check->ip, check->is_ip6 ? t->prefix6 : t->prefix4);
    if (!may_look_up(check))
        return end_check(check, SPF_PERMERROR, "too many DNS lookups", result);
    if (t->domain.n)
        target = spf_macro_expand(check, t->domain, domain, false);
    switch (t->mechanism) {
    case SPF_INCLUDE: return match_include(check, target, result);
    case SPF_A:       return match_address(check, t, target, result);
    case SPF_MX:      return match_mx(check, t, target, result);
    case SPF_PTR:     return match_ptr(check, target, result);
    default:          return match_exists(check, target, result);
    }
}

/* ---- records ------------------------------------------------------------------------------------------------------- */

static bool is_spf_record(struct slice text)
{
    static const struct slice version = LIT("v=spf1");

    return slice_has_prefix_nocase(text, version) && (text.n == version.n || text.p[version.n] == ' ');
}

/* 4.3: at least two labels of 1 to 63 characters. */
static bool is_checkable(struct slice domain)
{
    struct slice label;
    size_t labels = 0;

    if (domain.n && domain.p[domain.n - 1] == '.')
        domain.n--;
    if (domain.n == 0 || domain.n > 253 || domain.p[0] == '[' || domain.p[domain.n - 1] == '.')
        return false;
    for (; slice_cut(&domain, '.', &label); labels++)
        if (label.n == 0 || label.n > 63)
            return false;
    return labels > 1;
}

/* 4.4, 4.5. SPF_PASS: *out is the record. */
static enum spf_result find_record(struct spf_check *check, struct slice domain, struct slice *out)
{
    struct dns_answer answer;
    size_t found = 0;

    if (!is_checkable(domain))
        return fail_with(check, SPF_NONE, "not a domain name");
    if (spf_query(check, domain, DNS_TXT, &answer) < 0)
        return fail_with(check, SPF_TEMPERROR, "DNS failed");
    for (size_t i = 0; i < answer.count; i++)
        if (is_spf_record(answer.records[i].text)) {
            *out = answer.records[i].text;
            found++;
        }
    if (found == 0)
        return fail_with(check, SPF_NONE, "no SPF record");
    return found == 1 ? SPF_PASS : fail_with(check, SPF_PERMERROR, "several SPF records");
}

/* 6.2: whatever goes wrong here, there is no explanation. */
static void explain(struct spf_check *check, struct slice exp, struct slice domain)
{
    struct dns_answer answer;
    struct slice text, rest, word;

    if (exp.n == 0 || spf_query(check, spf_macro_expand(check, exp, domain, false), DNS_TXT, &answer) < 0 || answer.count != 1)
        return;
    text = rest = answer.records[0].text;
    while (slice_cut(&rest, ' ', &word))              /* an explain-string is macro-strings and spaces */
        if (!spf_macro_is_valid(word))
            return;
    text = spf_macro_expand(check, text, domain, true);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 32 || text.p[i] > 126)
            return;
    check->verdict->explanation = text;
}

static enum spf_result evaluate(struct spf_check *check, const struct spf_record *record, struct slice domain)
{
    for (size_t i = 0; i < record->count; i++) {
        enum spf_result result = SPF_NEUTRAL;
        int r = match_term(check, &record->terms[i], domain, &result);

        if (r == 0)
            continue;
        check->verdict->mechanism = record->terms[i].text;
        if (r < 0)
            return result;
        check->verdict->explanation = SLICE_NONE;
        if (record->terms[i].qualifier == SPF_FAIL)
            explain(check, record->exp, domain);
        return record->terms[i].qualifier;
    }
    check->verdict->mechanism = SLICE_NONE;
    return SPF_NEUTRAL;
}

/* The terms of one record. "redirect" (6.1) takes the place of the record, so it is a loop and no recursion. */
static enum spf_result check_host(struct spf_check *check, struct slice domain)
{
    for (bool redirected = false;; redirected = true) {
        struct spf_record *record = ARENA_NEW(check->in, struct spf_record);
        struct slice text;
        enum spf_result r = find_record(check, domain, &text);

        if (r == SPF_NONE && redirected)
            return fail_with(check, SPF_PERMERROR, "a redirect leads to no SPF record");
        if (r != SPF_PASS)
            return r;
        if (!spf_record_parse(text, record))
            return fail_with(check, SPF_PERMERROR, "the record has a syntax error");
        check->verdict->reason = "";
        r = evaluate(check, record, domain);
        if (r != SPF_NEUTRAL || check->verdict->mechanism.n || record->redirect.n == 0)
            return r;
        if (!may_look_up(check))
            return fail_with(check, SPF_PERMERROR, "too many DNS lookups");
        domain = spf_macro_expand(check, record->redirect, domain, false);
    }
}

static void split_sender(struct spf_check *check)
{
    const struct spf_request *request = check->request;
    ptrdiff_t at = slice_rfind_char(request->sender, '@');

    if (at < 0) {                                     /* 2.4, 4.3 */
        check->sender_domain = request->sender.n ? request->sender : request->helo;
        check->local = LIT("postmaster");
    } else {
        check->sender_domain = slice_tail(request->sender, (size_t)at + 1);
        check->local = at ? slice_head(request->sender, (size_t)at) : LIT("postmaster");
    }
    check->sender = arena_printf(check->in, "%.*s@%.*s", SLICE(check->local), SLICE(check->sender_domain));
}

void spf_check(const struct spf_request *request, struct arena *in, struct spf_verdict *out)
{
    struct spf_check check = { .request = request, .in = in, .verdict = out };

    *out = (struct spf_verdict){ .result = SPF_NONE, .reason = "" };
    split_sender(&check);
    out->domain = check.sender_domain;
    if (!read_client(request->ip, &check)) {
        out->reason = "not an IP address";
        return;
    }
    out->result = check_host(&check, check.sender_domain);
    if (out->result != SPF_FAIL)
        out->explanation = SLICE_NONE;
}

bool spf_record_is_valid(struct arena *a, struct slice record)
{
    struct spf_record *parsed = ARENA_NEW(a, struct spf_record);

    return is_spf_record(record) && spf_record_parse(record, parsed);
}
