/* domain_check.c - see domain_check.h.
 *
 * Owns nothing. Called by the endpoints that verify a domain. Fails when DNS cannot answer, or the store. Suspends for both.
 */
#include "account/domain_check.h"

#include "base/json.h"
#include "mail/address.h"

static void say(struct domain_sentences *s, struct slice sentence)
{
    if (s->count < DOMAIN_SENTENCES_MAX)
        s->line[s->count++] = sentence;
}

struct slice domain_sentences_join(struct arena *a, const struct domain_sentences *s)
{
    struct slice text = SLICE_NONE;

    for (size_t i = 0; i < s->count; i++)
        text = arena_printf(a, "%.*s%s%.*s", SLICE(text), i > 0 ? " " : "", SLICE(s->line[i]));
    return text;
}

static bool is_ours(const struct domain_expect *e, struct slice host)
{
    for (size_t i = 0; e->exchanges != NULL && e->exchanges[i] != NULL; i++)
        if (slice_equal_nocase(host, slice_of(e->exchanges[i])))
            return true;
    return false;
}

static bool is_our_host(const struct domain_expect *e, struct slice host)
{
    return is_ours(e, host) || slice_equal_nocase(host, slice_of(e->web_host));
}

static struct slice our_exchanges(const struct domain_expect *e, struct arena *a)
{
    struct slice list = SLICE_NONE;

    for (size_t i = 0; e->exchanges != NULL && e->exchanges[i] != NULL; i++)
        list = arena_printf(a, "%.*s%s%s", SLICE(list), i > 0 ? ", " : "", e->exchanges[i]);
    return list;
}

/* What strangers publish goes into a sentence: short, and printable ASCII only. */
static struct slice shown(struct arena *a, struct slice text)
{
    struct slice copy = arena_copy(a, slice_head(text, 100));
    char *p = (char *)(uintptr_t)copy.p;

    for (size_t i = 0; i < copy.n; i++)
        if (p[i] < ' ' || p[i] > '~')
            p[i] = '?';
    return copy;
}

/* ---- records: name servers, verification, exchanges --------------------------------------------------------- */

static int check_ns(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                    struct domain_record_check *out, struct fault *why)
{
    struct dns_answer answer;

    if (e->ask(d->name, DNS_NS, a, until, &answer, why) < 0)
        return -1;
    if (answer.status == DNS_NO_NAME)
        say(&out->problems, arena_printf(a, "The name %.*s does not exist in DNS: register it, or correct its name servers.", SLICE(d->name)));
    if (answer.status == DNS_NO_DATA && e->ask(address_root_domain(d->name), DNS_NS, a, until, &answer, why) < 0)
        return -1;
    for (size_t i = 0; answer.status == DNS_FOUND && i < answer.count && out->ns_count < COUNT(out->ns); i++)
        out->ns[out->ns_count++] = answer.records[i].text;
    return 0;
}

static int check_txt(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                     struct domain_record_check *out, struct fault *why)
{
    struct slice marker = arena_printf(a, "%s-site-verification=", e->txt_prefix), plain = arena_printf(a, "%s=", e->txt_prefix);
    struct slice want = arena_printf(a, "%.*s%.*s", SLICE(marker), SLICE(d->verification_record)), seen = SLICE_NONE;
    struct dns_answer answer;
    size_t count = 0;

    if (e->ask(d->name, DNS_TXT, a, until, &answer, why) < 0)
        return -1;
    for (size_t i = 0; i < answer.count; i++) {
        struct slice text = slice_trim(answer.records[i].text);

        if (slice_has_prefix_nocase(text, plain))
            say(&out->warnings, arena_printf(a, "The TXT record \"%.*s\" of %.*s is not used, remove it: aliases are configured here.",
                                             SLICE(shown(a, text)), SLICE(d->name)));
        if (!slice_has_prefix_nocase(text, marker))
            continue;
        count++;
        seen = slice_trim(slice_tail(text, marker.n));
    }
    out->has_txt = count == 1 && slice_equal(seen, d->verification_record);
    if (count == 0)
        say(&out->problems, arena_printf(a, "The verification record is missing: add a TXT record at %.*s with the value \"%.*s\".",
                                         SLICE(d->name), SLICE(want)));
    else if (count > 1)
        say(&out->problems, arena_printf(a, "There are %zu TXT records \"%.*s...\" at %.*s: keep only \"%.*s\".", count, SLICE(marker),
                                         SLICE(d->name), SLICE(want)));
    else if (!out->has_txt)
        say(&out->problems, arena_printf(a, "The verification record is wrong: change the TXT record \"%.*s%.*s\" of %.*s to \"%.*s\".",
                                         SLICE(marker), SLICE(shown(a, seen)), SLICE(d->name), SLICE(want)));
    return 0;
}

static int check_mx(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                    struct domain_record_check *out, struct fault *why)
{
    struct dns_answer answer;
    size_t ours = 0;

    if (d->ignore_mx_check) {
        out->has_mx = true;
        return 0;
    }
    if (e->ask(d->name, DNS_MX, a, until, &answer, why) < 0)
        return -1;
    for (size_t i = 0; i < answer.count; i++) {
        if (is_ours(e, answer.records[i].text))
            ours++;
        else
            say(&out->problems, arena_printf(a, "The MX record \"%.*s\" of %.*s is not of this server: remove it.",
                                             SLICE(shown(a, answer.records[i].text)), SLICE(d->name)));
    }
    if (ours == 0)
        say(&out->problems, arena_printf(a, "The MX record is missing: add an MX record at %.*s with the value \"%.*s\" and priority 10.",
                                         SLICE(d->name), SLICE(our_exchanges(e, a))));
    out->has_mx = ours > 0 && ours == answer.count;
    return 0;
}

int domain_check_records(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                         struct domain_record_check *out, struct fault *why)
{
    struct domain_record_check found = { 0 };

    if (check_ns(d, e, a, until, &found, why) < 0 || check_txt(d, e, a, until, &found, why) < 0 ||
        check_mx(d, e, a, until, &found, why) < 0)
        return -1;
    *out = found;
    return 0;
}

/* ---- sending: DKIM, return path, DMARC -------------------------------------------------------------------------- */

/* RFC 6376 3.2: white space and a final semicolon mean nothing. */
static struct slice squeeze(struct arena *a, struct slice text)
{
    struct slice out = arena_copy(a, text);
    char *p = (char *)(uintptr_t)out.p;
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        if (!ascii_is_space(text.p[i]))
            p[n++] = text.p[i];
    while (n > 0 && p[n - 1] == ';')
        n--;
    return slice_head(out, n);
}

static int check_dkim(const struct domain_records *want, const struct domain_expect *e, struct arena *a, struct deadline until,
                      struct domain_smtp_check *out, struct fault *why)
{
    struct slice value = squeeze(a, want->dkim.value);
    struct dns_answer answer;

    if (e->ask(want->dkim.name, DNS_TXT, a, until, &answer, why) < 0)
        return -1;
    out->has_dkim = answer.count == 1 && slice_equal(squeeze(a, answer.records[0].text), value);
    if (!out->has_dkim)
        say(&out->problems, arena_printf(a, "The DKIM record is %s: %s TXT record at %.*s with the value \"%.*s\".",
                                         answer.count == 0 ? "missing" : answer.count > 1 ? "there more than once" : "wrong",
                                         answer.count == 0 ? "add a" : "keep exactly one", SLICE(want->dkim.name), SLICE(want->dkim.value)));
    return 0;
}

/* "include:host", "a:host", "mx:host", "redirect=host" with a host of ours, as a permission (RFC 7208 4.6.2, 6.1). */
static bool spf_term_names_us(const struct domain_expect *e, struct slice term)
{
    static const char *const kind[] = { "include:", "a:", "mx:", "redirect=" };

    if (slice_has_prefix(term, LIT("+")))
        term = slice_tail(term, 1);
    for (size_t i = 0; i < COUNT(kind); i++)
        if (slice_has_prefix_nocase(term, slice_of(kind[i])) && is_our_host(e, slice_tail(term, strlen(kind[i]))))
            return true;
    return false;
}

static bool spf_names_us(const struct domain_expect *e, struct slice text)
{
    struct slice term;

    if (!slice_has_prefix_nocase(text, LIT("v=spf1")) || (text.n > 6 && text.p[6] != ' '))
        return false;
    while (slice_cut(&text, ' ', &term))
        if (spf_term_names_us(e, term))
            return true;
    return false;
}

/* Bounces must find us and receivers must see that we may use the name: a CNAME to a host of ours does both; else an SPF record that names
 * us, or exchanges that are all ours.                                                                                       */
static int is_bounce_domain(struct slice name, const struct domain_expect *e, struct arena *a, struct deadline until, bool *out, struct fault *why)
{
    struct dns_answer answer;
    size_t ours = 0;

    *out = false;
    if (e->ask(name, DNS_CNAME, a, until, &answer, why) < 0)
        return -1;
    if (answer.count == 1 && is_our_host(e, answer.records[0].text)) {
        *out = true;
        return 0;
    }
    if (e->ask(name, DNS_TXT, a, until, &answer, why) < 0)
        return -1;
    for (size_t i = 0; i < answer.count; i++)
        *out = *out || spf_names_us(e, answer.records[i].text);
    if (*out)
        return 0;
    if (e->ask(name, DNS_MX, a, until, &answer, why) < 0)
        return -1;
    for (size_t i = 0; i < answer.count; i++)
        ours += is_ours(e, answer.records[i].text);
    *out = ours > 0 && ours == answer.count;
    return 0;
}

static int check_return_path(const struct domain_records *want, const struct domain_expect *e, struct arena *a, struct deadline until,
                             struct domain_smtp_check *out, struct fault *why)
{
    if (is_bounce_domain(want->return_path.name, e, a, until, &out->has_return_path, why) < 0)
        return -1;
    if (!out->has_return_path)
        say(&out->problems, arena_printf(a, "The return path is missing or leads elsewhere: add a CNAME record at %.*s with the value \"%.*s\".",
                                         SLICE(want->return_path.name), SLICE(want->return_path.value)));
    return 0;
}

enum dmarc { DMARC_NONE, DMARC_GOOD, DMARC_TWICE, DMARC_BAD };

/* RFC 7489 6.3: tags between semicolons, v first. */
static enum dmarc dmarc_read(struct arena *a, struct slice text)
{
    struct slice rest = squeeze(a, text), tag;
    bool has_policy = false;

    if (!slice_cut(&rest, ';', &tag) || !slice_equal(tag, LIT("v=DMARC1")))
        return DMARC_NONE;
    while (slice_cut(&rest, ';', &tag)) {
        if (slice_has_prefix_nocase(tag, LIT("pct=")) && !slice_equal(slice_tail(tag, 4), LIT("100")))
            return DMARC_BAD;
        if (slice_has_prefix_nocase(tag, LIT("p=")))
            has_policy = slice_equal_nocase(tag, LIT("p=none")) || slice_equal_nocase(tag, LIT("p=quarantine")) || slice_equal_nocase(tag, LIT("p=reject"));
    }
    return has_policy ? DMARC_GOOD : DMARC_BAD;
}

static int ask_dmarc(struct slice name, const struct domain_expect *e, struct arena *a, struct deadline until, enum dmarc *out, struct fault *why)
{
    struct dns_answer answer;

    if (e->ask(name, DNS_TXT, a, until, &answer, why) < 0)
        return -1;
    *out = DMARC_NONE;
    for (size_t i = 0; i < answer.count; i++) {
        enum dmarc one = dmarc_read(a, answer.records[i].text);

        if (one != DMARC_NONE)
            *out = *out == DMARC_NONE ? one : DMARC_TWICE;
    }
    return 0;
}

/* A sub-domain without a record of its own has that of the organisation (RFC 7489 6.6.3). */
static int check_dmarc(const struct domain_doc *d, const struct domain_records *want, const struct domain_expect *e, struct arena *a,
                       struct deadline until, struct domain_smtp_check *out, struct fault *why)
{
    static const char *const word[] = { "missing: add", NULL, "there more than once: keep exactly one", "wrong (v=DMARC1, a policy p=, no pct below 100): make it" };
    struct slice root = address_root_domain(d->name);
    enum dmarc found;

    if (ask_dmarc(want->dmarc.name, e, a, until, &found, why) < 0)
        return -1;
    if (found == DMARC_NONE && !slice_equal(root, d->name) &&
        ask_dmarc(arena_printf(a, "_dmarc.%.*s", SLICE(root)), e, a, until, &found, why) < 0)
        return -1;
    out->has_dmarc = found == DMARC_GOOD;
    if (!out->has_dmarc)
        say(&out->problems, arena_printf(a, "The DMARC record is %s a TXT record at %.*s with the value \"%.*s\".", word[found],
                                         SLICE(want->dmarc.name), SLICE(want->dmarc.value)));
    return 0;
}

int domain_check_smtp(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                      struct domain_smtp_check *out, struct fault *why)
{
    struct domain_smtp_check found = { 0 };
    struct domain_records want;

    domain_records_list(d, e->web_host, e->txt_prefix, a, &want);
    if (check_dkim(&want, e, a, until, &found, why) < 0 || check_return_path(&want, e, a, until, &found, why) < 0 ||
        check_dmarc(d, &want, e, a, until, &found, why) < 0)
        return -1;
    *out = found;
    return 0;
}

/* ---- what was found, into the document -------------------------------------------------------------------------- */

int domain_check_store_records(struct store *st, const struct domain_doc *d, const struct domain_record_check *found, struct arena *a,
                               struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *ns = json_array();
    struct store_update *u = store_update_new(a);

    for (size_t i = 0; i < found->ns_count; i++)
        json_array_append_new(ns, json_slice(found->ns[i]));
    store_set_bool(u, "has_txt_record", found->has_txt);
    store_set_bool(u, "has_mx_record", found->has_mx);
    store_set_json(u, "ns", ns);
    store_set_date(u, "last_checked_at", clock_wall_ms());
    return store_update(st, DOMAINS, store_filter_id(a, slice_of(d->id)), u, STORE_ONE, until, NULL, why);
}

int domain_check_store_smtp(struct store *st, const struct domain_doc *d, const struct domain_smtp_check *found, struct arena *a,
                            struct deadline until, struct fault *why)
{
    struct store_update *u = store_update_new(a);
    bool all = found->has_dkim && found->has_return_path && found->has_dmarc;

    store_set_bool(u, "has_dkim_record", found->has_dkim);
    store_set_bool(u, "has_return_path_record", found->has_return_path);
    store_set_bool(u, "has_dmarc_record", found->has_dmarc);
    store_set_date(u, "smtp_last_checked_at", clock_wall_ms());
    if (all)
        store_set_bool(u, "has_smtp", true);
    if (all && d->smtp_verified_at == 0)
        store_set_date(u, "smtp_verified_at", clock_wall_ms());
    if (!all)
        store_set_null(u, "smtp_verified_at");
    return store_update(st, DOMAINS, store_filter_id(a, slice_of(d->id)), u, STORE_ONE, until, NULL, why);
}
