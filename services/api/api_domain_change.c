/* api_domain_change.c - domains made, changed and deleted, and their lists of senders.
 *
 * Owns      nothing beyond the call. Each change is one update of the document: fields we do not know stay. Suspends for the store, the cpu
 *           pool (DKIM key) and the mailbox server (deleting).
 */
#include "api_domains.h"

#include <arpa/inet.h>

#include "account/domain_name.h"
#include "account/domain_new.h"
#include "account/domain_remove.h"
#include "api_alias.h"

#define QUOTA_MOST       ((uint64_t)100 << 30)
#define RETENTION_MOST   30
#define WEBHOOK_MAX      2000

/* ---- settings that creating and updating share ------------------------------------------------------------------ */

static void read_flags(const struct api_call *c, struct domain_doc *d)
{
    const struct { const char *key; bool *to; } row[] = {
        { "has_adult_content_protection", &d->has_adult_content_protection }, { "has_phishing_protection", &d->has_phishing_protection },
        { "has_executable_protection", &d->has_executable_protection },       { "has_virus_protection", &d->has_virus_protection },
        { "has_recipient_verification", &d->has_recipient_verification },     { "ignore_mx_check", &d->ignore_mx_check },
        { "has_delivery_logs", &d->has_delivery_logs },                       { "require_tls_inbound", &d->require_tls_inbound },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        *row[i].to = api_bool(c, row[i].key, *row[i].to);
    if (d->ignore_mx_check)
        d->has_mx_record = true;
}

/* 10/8, 127/8, 169.254/16, 172.16/12, 192.168/16, 100.64/10, 0/8, ::1, fc00::/7, fe80::/10 and IPv4 inside IPv6: RFC 6890. */
static bool is_private_ip(const char *host)
{
    unsigned char b[16];

    if (inet_pton(AF_INET, host, b) == 1)
        return b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224 || (b[0] == 169 && b[1] == 254) || (b[0] == 172 && (b[1] & 0xf0) == 16) ||
               (b[0] == 192 && b[1] == 168) || (b[0] == 100 && (b[1] & 0xc0) == 64);
    if (inet_pton(AF_INET6, host, b) == 1)
        return (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff || (b[0] == 0 && b[1] == 0);
    return false;
}

/* Host of an http(s) address, without user, port and brackets; empty: not such an address. */
static struct slice url_host(struct slice url)
{
    struct slice rest = slice_has_prefix_nocase(url, LIT("https://")) ? slice_tail(url, 8) : slice_has_prefix_nocase(url, LIT("http://")) ? slice_tail(url, 7) : SLICE_NONE;
    size_t n = 0;

    while (n < rest.n && strchr("/?#", rest.p[n]) == NULL)
        n++;
    rest = slice_head(rest, n);
    if (slice_find_char(rest, '@') >= 0)
        return SLICE_NONE;                     /* credentials do not belong into a setting that is shown */
    if (slice_has_prefix(rest, LIT("[")))
        return slice_find_char(rest, ']') > 0 ? slice_sub(rest, 1, (size_t)slice_find_char(rest, ']') - 1) : SLICE_NONE;
    return slice_find_char(rest, ':') >= 0 ? slice_head(rest, (size_t)slice_find_char(rest, ':')) : rest;
}

/* NULL: acceptable. What the name resolves to is looked at again when the webhook is called. */
static const char *webhook_wrong(struct api_call *c, struct slice url)
{
    struct slice host = arena_lower(c->arena, url_host(url)), ignored;
    const char *text = arena_cstr(c->arena, host);
    unsigned char raw[16];

    if (host.n == 0 || url.n > WEBHOOK_MAX || slice_find_char(url, ' ') >= 0 || !slice_is_ascii(url))
        return "INVALID_URL";
    if (slice_equal(host, LIT("localhost")) || slice_has_suffix(host, LIT(".localhost")) || slice_has_suffix(host, LIT(".local")) ||
        slice_has_suffix(host, LIT(".internal")) || is_private_ip(text))
        return "INVALID_LOCALHOST_URL";
    if (inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1 || domain_name_read(c->arena, host, &ignored))
        return NULL;
    return "INVALID_URL";
}

static const char *read_webhook(struct api_call *c, struct domain_doc *d)
{
    struct slice url = api_text(c, "bounce_webhook");

    if (!api_has(c, "bounce_webhook"))
        return NULL;
    if (url.n == 0 || slice_equal_nocase(url, LIT("false"))) {
        d->bounce_webhook = SLICE_NONE;
        return NULL;
    }
    d->bounce_webhook = url;
    return webhook_wrong(c, url);
}

static const char *read_quota(struct api_call *c, struct domain_doc *d)
{
    uint64_t bytes, own = c->user.max_quota_per_alias > 0 ? (uint64_t)c->user.max_quota_per_alias : c->api->config->quota_bytes;

    if (!api_has(c, "max_quota_per_alias"))
        return NULL;
    if (!api_bytes(c, "max_quota_per_alias", &bytes) || bytes > QUOTA_MOST)
        return "INVALID_BYTES";
    if (bytes > own)
        return "DOMAIN_MAX_QUOTA_EXCEEDS_USER";
    d->max_quota_per_alias = (int64_t)bytes;   /* 0: the server's default again */
    return NULL;
}

static const char *read_numbers(struct api_call *c, struct domain_doc *d)
{
    int64_t port;

    if (api_has(c, "smtp_port")) {
        if (!api_int(c, "smtp_port", 1, 65535, 25, &port))
            return "INVALID_PORT";
        d->smtp_port = arena_printf(c->arena, "%lld", (long long)port);
    }
    if (!api_int(c, "retention_days", 0, RETENTION_MOST, d->retention_days, &d->retention_days))
        return "INVALID_RETENTION_DAYS";
    return api_bool(c, "has_custom_s3", false) ? "CUSTOM_S3_UNAVAILABLE" : NULL;
}

int api_domain_read_settings(struct api_call *c, struct domain_doc *d)
{
    const char *wrong = read_numbers(c, d);

    read_flags(c, d);
    if (wrong == NULL)
        wrong = read_webhook(c, d);
    if (wrong == NULL)
        wrong = read_quota(c, d);
    if (wrong == NULL)
        return 0;
    (void)api_refuse(c, 400, wrong);
    return 1;
}

/* ---- create --------------------------------------------------------------------------------------------------------- */

struct catchall { bool wanted; struct slice *recipients; size_t count; };

/* NULL: right. Without the field, or true: to the caller's own address. */
static const char *read_catchall(struct api_call *c, struct catchall *out)
{
    static const struct slice no[] = { LIT("false"), LIT("f"), LIT("no"), LIT("n"), LIT("off"), LIT("0"), LIT("") };
    struct slice text = api_text(c, "catchall"), own = c->user.default_forwarding_address.n > 0 ? c->user.default_forwarding_address : c->user.email;
    const json_t *given = json_object_get(c->body, "catchall");
    struct slice *given_list, bad;
    const char *wrong;
    bool only_mail;
    size_t n;

    *out = (struct catchall){ .wanted = true, .recipients = ARENA_ARRAY(c->arena, struct slice, 1), .count = 1 };
    out->recipients[0] = own;
    if (!api_has(c, "catchall") || api_bool(c, "catchall", true))
        return NULL;
    for (size_t i = 0; !json_is_array(given) && i < COUNT(no); i++)
        if (slice_equal_nocase(text, no[i])) {
            out->wanted = false;
            return NULL;
        }
    n = api_strings(c, "catchall", &given_list);
    if (n == 0)
        return "ALIAS_MUST_HAVE_ONE_RECIPIENT";
    wrong = account_recipients_parse(c->arena, given_list, n, (size_t)c->api->config->forwarded_max, &out->recipients, &out->count, &only_mail, &bad);
    if (wrong != NULL && strcmp(wrong, "INVALID_RECIPIENT") != 0)
        return wrong;
    return wrong == NULL && only_mail ? NULL : "INVALID_EMAIL";
}

static int insert_catchall(struct api_call *c, const struct domain_doc *d, const struct catchall *wanted, struct fault *why)
{
    struct slice label = LIT("catch-all");
    struct alias_doc a = {
        .name = LIT("*"), .is_enabled = true, .error_code_if_disabled = 250, .recipients = wanted->recipients, .recipient_count = wanted->count,
        .has_recipient_verification = d->has_recipient_verification, .labels = &label, .label_count = 1,
    };

    memcpy(a.domain, d->id, sizeof(a.domain));
    memcpy(a.user, c->user.id, sizeof(a.user));
    return alias_insert(c->api->store, &a, c->until, why);
}

static const char *read_name_and_plan(struct api_call *c, struct domain_doc *d)
{
    struct slice plan = api_text(c, "plan");

    if (!domain_name_read(c->arena, api_text(c, "domain"), &d->name))
        return "INVALID_DOMAIN";
    if (plan.n > 0 && !slice_equal(plan, LIT("free")) && !slice_equal(plan, LIT("enhanced_protection")) && !slice_equal(plan, LIT("team")))
        return "INVALID_PLAN";
    return NULL;
}

static bool is_our_host(const struct api_call *c, struct slice name)
{
    const struct api_config *config = c->api->config;
    bool ours = slice_equal_nocase(name, slice_of(config->web_host)) || slice_equal_nocase(name, slice_of(config->mx_host)) ||
                slice_equal_nocase(name, slice_of(config->smtp_host));

    for (size_t i = 0; config->exchanges != NULL && config->exchanges[i] != NULL; i++)
        ours = ours || slice_equal_nocase(name, slice_of(config->exchanges[i]));
    return ours;
}

/* 1: not to be had. The name's index decides between two who come at once; asked first all the same, to make no key for nothing. */
static int is_taken(struct api_call *c, struct slice name, struct fault *why)
{
    bool runs_this = slice_equal(c->user.group, LIT("admin"));
    struct domain_doc other;

    if (!runs_this && is_our_host(c, name))
        return 1;
    if (domain_find_by_name(c->api->store, name, c->arena, c->until, &other, why) == 0)
        return 1;
    if (why->code != FAULT_NOT_FOUND)
        return -1;
    return runs_this ? 0 : domain_is_below_others(c->api->store, name, slice_of(c->user.id), c->arena, c->until, why);
}

static int insert(struct api_call *c, struct domain_doc *d, const struct catchall *catchall, struct fault *why)
{
    struct fault ignored;

    if (domain_prepare(d, DKIM_RSA_SHA256, c->api->config->helper_key, c->arena, c->until, why) < 0)
        return fault_set(why, why->code == FAULT_INVALID ? FAULT_IO : why->code, "no DKIM key for the new domain");
    if (domain_insert(c->api->store, d, c->until, why) < 0)
        return -1;
    if (!catchall->wanted || insert_catchall(c, d, catchall, why) == 0)
        return 0;
    ignore_result(store_delete(c->api->store, DOMAINS, store_filter_id(c->arena, slice_of(d->id)), STORE_ONE, c->until, NULL, &ignored));
    return -1;
}

int api_domain_create(struct api_call *c, struct fault *why)
{
    struct domain_member member = { .is_admin = true };
    struct domain_doc d = domain_new(SLICE_NONE);
    struct catchall catchall;
    const char *wrong = read_name_and_plan(c, &d);
    int r;

    if (wrong == NULL)
        wrong = read_catchall(c, &catchall);
    if (wrong != NULL)
        return api_refuse(c, 400, wrong);
    if (api_domain_read_settings(c, &d) != 0)
        return 0;
    r = is_taken(c, d.name, why);
    if (r != 0)
        return r < 0 ? -1 : api_refuse(c, 400, "DOMAIN_ALREADY_EXISTS");
    memcpy(member.user, c->user.id, sizeof(member.user));
    d.members = &member;
    d.member_count = 1;
    if (insert(c, &d, &catchall, why) < 0)
        return why->code == FAULT_EXISTS ? api_refuse(c, 400, "DOMAIN_ALREADY_EXISTS") : -1;
    directory_forget(c->api->directory);
    c->domain = d;
    return api_domain_reply(c, why);
}

/* ---- update ------------------------------------------------------------------------------------------------------------- */

static void set_if_sent(const struct api_call *c, struct store_update *u, const char *key, bool value)
{
    if (api_has(c, key))
        store_set_bool(u, key, value);
}

static struct store_update *changes(struct api_call *c, const struct domain_doc *d)
{
    struct store_update *u = store_update_new(c->arena);

    set_if_sent(c, u, "has_adult_content_protection", d->has_adult_content_protection);
    set_if_sent(c, u, "has_phishing_protection", d->has_phishing_protection);
    set_if_sent(c, u, "has_executable_protection", d->has_executable_protection);
    set_if_sent(c, u, "has_virus_protection", d->has_virus_protection);
    set_if_sent(c, u, "has_recipient_verification", d->has_recipient_verification);
    set_if_sent(c, u, "ignore_mx_check", d->ignore_mx_check);
    set_if_sent(c, u, "has_delivery_logs", d->has_delivery_logs);
    set_if_sent(c, u, "require_tls_inbound", d->require_tls_inbound);
    if (api_has(c, "ignore_mx_check") && d->ignore_mx_check)
        store_set_bool(u, "has_mx_record", true);
    if (api_has(c, "smtp_port"))
        store_set_text(u, "smtp_port", d->smtp_port);
    if (api_has(c, "retention_days"))
        store_set_int(u, "retention_days", d->retention_days);
    if (api_has(c, "max_quota_per_alias"))
        store_set_int(u, "max_quota_per_alias", d->max_quota_per_alias);
    if (api_has(c, "bounce_webhook") && d->bounce_webhook.n > 0)
        store_set_text(u, "bounce_webhook", d->bounce_webhook);
    else if (api_has(c, "bounce_webhook"))
        store_unset(u, "bounce_webhook");
    return u;
}

static int write(struct api_call *c, struct store_update *u, struct fault *why)
{
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(c->api->store, DOMAINS, store_filter_id(c->arena, slice_of(c->domain.id)), u, STORE_ONE, c->until, NULL, why) < 0)
        return -1;
    directory_forget(c->api->directory);
    return api_domain_reply(c, why);
}

int api_domain_update(struct api_call *c, struct fault *why)
{
    struct domain_doc d = c->domain;

    return api_domain_read_settings(c, &d) != 0 ? 0 : write(c, changes(c, &d), why);
}

/* ---- lists of senders --------------------------------------------------------------------------------------------------- */

static bool has_entry(const json_t *list, struct slice entry)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
        if (slice_equal(slice_make(json_string_value(one), json_string_length(one)), entry))
            return true;
    return false;
}

static int set_list(struct api_call *c, const char *key, struct fault *why)
{
    AUTO(json_release) json_t *list = json_array();
    struct store_update *u = store_update_new(c->arena);
    struct slice *given, entry;
    size_t n = api_strings(c, key, &given);

    for (size_t i = 0; i < n; i++)
        if (domain_list_entry_read(c->arena, given[i], &entry) && !has_entry(list, entry))
            (void)json_array_append_new(list, json_slice(entry));
    store_set_json(u, key, list);
    return write(c, u, why);
}

int api_domain_allowlist(struct api_call *c, struct fault *why)
{
    return set_list(c, "allowlist", why);
}

int api_domain_denylist(struct api_call *c, struct fault *why)
{
    return set_list(c, "denylist", why);
}

/* ---- delete --------------------------------------------------------------------------------------------------------------- */

static void alias_gone(void *arg, const char *alias_id)
{
    api_alias_changed(arg, alias_id);
}

int api_domain_delete(struct api_call *c, struct fault *why)
{
    AUTO(json_release) json_t *was = api_domain_json(c, &c->domain, c->domain_document, false);
    struct domain_remove_options o = { .passwords = alias_passwords(c), .alias_gone = alias_gone, .arg = c };
    struct fault ignored;

    if (was == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "members or aliases of the domain");
    if (domain_remove(&o, c->domain.id, c->until, why) < 0)
        return -1;
    directory_forget(c->api->directory);
    login_forget(c->api->login, slice_of(c->domain.id));
    if (c->api->redis != NULL)
        (void)redis_publish(c->api->redis, arena_printf(c->arena, "domain:%s", c->domain.id), LIT("{\"reason\":\"deleted\"}"), &ignored);
    return api_reply_json(c, json_incref(was));
}
