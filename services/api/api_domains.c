/* api_domains.c - domains as the API shows them: one, a list; the table of their routes.
 *
 * Owns      nothing beyond the call. Fails with the store's faults. Suspends for the store.
 *
 * Never shown, whoever asks: keys of DKIM, catch-all passwords, the webhook key, name servers.
 */
#include "api_domains.h"

#include "account/domain_new.h"

#define DOMAINS_PAGE_MAX 1000
#define CHANGE_TRIES_MAX 5

/* ---- one domain --------------------------------------------------------------------------------------------- */

static void set_flags(json_t *o, const struct domain_doc *d)
{
    const struct { const char *key; bool value; } row[] = {
        { "has_mx_record", d->has_mx_record || d->ignore_mx_check },
        { "has_txt_record", d->has_txt_record },
        { "ignore_mx_check", d->ignore_mx_check },
        { "has_adult_content_protection", d->has_adult_content_protection },
        { "has_phishing_protection", d->has_phishing_protection },
        { "has_executable_protection", d->has_executable_protection },
        { "has_virus_protection", d->has_virus_protection },
        { "has_recipient_verification", d->has_recipient_verification },
        { "has_custom_verification", false },
        { "has_regex", d->has_regex },
        { "has_catchall", d->has_catchall },
        { "is_catchall_regex_disabled", d->is_catchall_regex_disabled },
        { "has_newsletter", false },
        { "has_delivery_logs", d->has_delivery_logs },
        { "require_tls_inbound", d->require_tls_inbound },
        { "has_smtp", d->has_smtp },
        { "is_smtp_suspended", d->is_smtp_suspended },
        { "has_dkim_record", d->has_dkim_record },
        { "has_return_path_record", d->has_return_path_record },
        { "has_dmarc_record", d->has_dmarc_record },
        { "has_custom_s3", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        (void)json_set_bool(o, row[i].key, row[i].value);
}

static json_t *record_json(const struct domain_record *r, const struct domain_doc *d)
{
    json_t *o = json_object();

    (void)json_set_slice(o, "name", domain_record_label(r, d));
    (void)json_set_slice(o, "value", r->value);
    return o;
}

static void set_dns_records(struct api_call *c, json_t *o, const struct domain_doc *d)
{
    json_t *records = json_object();
    struct domain_records want;

    domain_records_list(d, c->api->config->web_host, c->api->config->txt_prefix, c->arena, &want);
    (void)json_object_set_new(records, "dkim", record_json(&want.dkim, d));
    (void)json_object_set_new(records, "return_path", record_json(&want.return_path, d));
    (void)json_object_set_new(records, "dmarc", record_json(&want.dmarc, d));
    (void)json_object_set_new(o, "smtp_dns_records", records);
}

static json_t *list_json(const struct slice *list, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_slice(list[i]));
    return array;
}

static void set_text_or_null(json_t *o, const char *key, struct slice s)
{
    if (s.n > 0)
        (void)json_set_slice(o, key, s);
    else
        (void)json_object_set_new(o, key, json_null());
}

/* Also for members who are no admins: what is said about the domain, not about how it is run. */
static void set_plain(struct api_call *c, json_t *o, const struct domain_doc *d, const json_t *document)
{
    const struct api_config *config = c->api->config;
    int64_t quota = d->max_quota_per_alias > 0 ? d->max_quota_per_alias : (int64_t)config->quota_bytes;
    struct slice suspended = json_get_slice(document, "smtp_suspended_sent_at");

    (void)json_set_slice(o, "name", d->name);
    (void)json_set_slice(o, "plan", LIT("team"));
    (void)json_set_slice(o, "verification_record", d->verification_record);
    (void)json_set_slice(o, "smtp_port", d->smtp_port);
    (void)json_set_int(o, "max_recipients_per_alias", d->max_recipients_per_alias > 0 ? d->max_recipients_per_alias : config->forwarded_max);
    (void)json_set_int(o, "retention_days", d->retention_days);
    (void)json_set_int(o, "max_quota_per_alias", quota);
    (void)json_set_int(o, "storage_quota", quota);
    api_set_date(o, "last_checked_at", d->last_checked_at);
    api_set_date(o, "smtp_verified_at", d->smtp_verified_at);
    set_text_or_null(o, "smtp_suspended_sent_at", suspended);
    (void)json_set_slice(o, "locale", LIT("en"));
    (void)json_set_slice(o, "link", arena_printf(c->arena, "%s/my-account/domains/%.*s", config->web_url, SLICE(d->name)));
    api_set_date(o, "created_at", d->created_at);
    api_set_date(o, "updated_at", d->updated_at);
}

static void set_admin(json_t *o, const struct domain_doc *d)
{
    static const char *const none[] = { "s3_endpoint", "s3_region", "s3_bucket" };

    set_text_or_null(o, "bounce_webhook", d->bounce_webhook);
    (void)json_object_set_new(o, "custom_verification", json_object());
    (void)json_object_set_new(o, "allowlist", list_json(d->allowlist, d->allowlist_count));
    (void)json_object_set_new(o, "denylist", list_json(d->denylist, d->denylist_count));
    (void)json_object_set_new(o, "restricted_alias_names", list_json(d->restricted_alias_names, d->restricted_alias_names_count));
    for (size_t i = 0; i < COUNT(none); i++)
        (void)json_object_set_new(o, none[i], json_null());
}

/* ---- what is asked of other collections ------------------------------------------------------------------------- */

static void set_usage(json_t *o, const struct domain_usage *usage)
{
    (void)json_set_int(o, "alias_count", (int64_t)usage->aliases);
    (void)json_set_int(o, "storage_used", (int64_t)usage->bytes);
    (void)json_set_int(o, "storage_used_by_aliases", (int64_t)usage->bytes);
}

static struct slice email_of(const json_t *users, const char *id)
{
    json_t *user;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)users, i, user)
        if (slice_equal(json_get_slice(user, "_id"), slice_of(id)))
            return json_get_slice(user, "email");
    return SLICE_NONE;
}

/* An admin sees everybody, others themselves. */
static int set_members(struct api_call *c, json_t *o, const struct domain_doc *d, bool is_admin, struct fault *why)
{
    struct slice *ids = ARENA_ARRAY(c->arena, struct slice, d->member_count + 1);
    struct store_filter *f = store_filter_new(c->arena);
    AUTO(json_release) json_t *users = NULL;
    json_t *members = json_array();

    for (size_t i = 0; i < d->member_count; i++)
        ids[i] = slice_of(d->members[i].user);
    (void)json_object_set_new(o, "members", members);
    store_where_in(f, "_id", ids, d->member_count);
    if (d->member_count > 0 && store_find(c->api->store, USERS, f, NULL, c->until, &users, why) < 0)
        return -1;
    for (size_t i = 0; d->members != NULL && i < d->member_count; i++) {
        struct slice email = email_of(users, d->members[i].user);

        if (!is_admin && strcmp(d->members[i].user, c->user.id) != 0)
            continue;
        (void)json_array_append_new(members, json_pack("{s:s,s:s,s:{s:s,s:s,s:s%}}", "object", "member", "group", d->members[i].is_admin ? "admin" : "user",
                                                       "user", "object", "user", "id", d->members[i].user, "email", email.n > 0 ? email.p : "", email.n));
    }
    return 0;
}

/* What all see, also in a list. */
static json_t *domain_object(struct api_call *c, const struct domain_doc *d, const json_t *document, const struct domain_usage *usage, bool is_admin)
{
    json_t *o = json_pack("{s:s,s:s,s:s}", "object", "domain", "id", d->id, "group", is_admin ? "admin" : "user");

    set_plain(c, o, d, document);
    set_flags(o, d);
    set_dns_records(c, o, d);
    set_usage(o, usage);
    if (is_admin)
        set_admin(o, d);
    return o;
}

static bool caller_is_admin(const struct api_call *c, const struct domain_doc *d)
{
    const struct domain_member *me = domain_find_member(d, slice_of(c->user.id));

    return me != NULL && me->is_admin;
}

json_t *api_domain_json(struct api_call *c, const struct domain_doc *d, const json_t *document, bool in_list)
{
    bool is_admin = caller_is_admin(c, d);
    struct slice id = slice_of(d->id);
    struct domain_usage usage;
    struct fault why;
    json_t *o;

    if (api_domains_usage(c, &id, 1, &usage, &why) < 0)
        return NULL;
    o = domain_object(c, d, document, &usage, is_admin);
    if (in_list)
        return o;
    if (is_admin)
        (void)json_object_set_new(o, "invites", api_invites_json(document));
    if (set_members(c, o, d, is_admin, &why) == 0)
        return o;
    json_decref(o);
    return NULL;
}

int api_domain_reply(struct api_call *c, struct fault *why)
{
    AUTO(json_release) json_t *document = NULL;
    struct domain_doc d;
    json_t *o;

    if (store_find_one(c->api->store, DOMAINS, store_filter_id(c->arena, slice_of(c->domain.id)), NULL, c->until, &document, why) < 0 ||
        domain_parse(document, c->arena, &d, why) < 0)
        return -1;
    o = api_domain_json(c, &d, document, false);
    return o != NULL ? api_reply_json(c, o) : fault_set(why, FAULT_UNAVAILABLE, "members or aliases of the domain");
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int change_once(struct api_call *c, domain_change_fn fn, const void *arg, uint64_t *matched, struct fault *why)
{
    AUTO(json_release) json_t *document = NULL;
    struct store_filter *f = store_filter_id(c->arena, slice_of(c->domain.id));
    struct store_update *u = store_update_new(c->arena);
    int64_t now;
    int r;

    if (store_find_one(c->api->store, DOMAINS, f, NULL, c->until, &document, why) < 0 || domain_parse(document, c->arena, &c->domain, why) < 0)
        return -1;
    r = fn(c, &(struct domain_now){ &c->domain, document }, u, arg);
    if (r != 0)
        return r;
    /* later than it was in any case: two changes in one millisecond must not look like none */
    now = clock_wall_ms() > c->domain.updated_at ? clock_wall_ms() : c->domain.updated_at + 1;
    store_where_text(f, "updated_at", STORE_EQ, json_get_slice(document, "updated_at"));
    store_set_date(u, "updated_at", now);
    return store_update(c->api->store, DOMAINS, f, u, STORE_ONE, c->until, matched, why);
}

int api_domain_change(struct api_call *c, domain_change_fn fn, const void *arg, struct fault *why)
{
    uint64_t matched = 0;

    for (int i = 0; i < CHANGE_TRIES_MAX; i++) {
        int r = change_once(c, fn, arg, &matched, why);

        if (r != 0)
            return r;
        if (matched > 0) {
            api_domain_changed(c, c->domain.id);
            return 0;
        }
    }
    return fault_set(why, FAULT_CONFLICT, "the domain was changed each time");
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static int get_domain(struct api_call *c, struct fault *why)
{
    json_t *o = api_domain_json(c, &c->domain, c->domain_document, false);

    return o != NULL ? api_reply_json(c, o) : fault_set(why, FAULT_UNAVAILABLE, "members or aliases of the domain");
}

/* *out is the caller's. */
static int list_objects(struct api_call *c, const json_t *documents, json_t **out, struct fault *why)
{
    size_t count = json_array_size(documents);
    struct slice *ids = ARENA_ARRAY(c->arena, struct slice, count + 1);
    struct domain_usage *usage = ARENA_ARRAY(c->arena, struct domain_usage, count + 1);
    AUTO(json_release) json_t *items = json_array();

    for (size_t i = 0; i < count; i++)
        ids[i] = json_get_slice(json_array_get(documents, i), "_id");
    if (api_domains_usage(c, ids, count, usage, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *document = json_array_get(documents, i);
        struct domain_doc d;

        if (domain_parse(document, c->arena, &d, why) < 0)
            return -1;
        (void)json_array_append_new(items, domain_object(c, &d, document, &usage[i], caller_is_admin(c, &d)));
    }
    *out = json_incref(items);
    return 0;
}

static int list_domains(struct api_call *c, struct fault *why)
{
    static const char *const sortable[] = { "created_at", "updated_at", "name", "last_checked_at", "smtp_verified_at", NULL };
    struct store_filter *f = store_filter_text(c->arena, "members.user", slice_of(c->user.id));
    struct slice wanted = api_has(c, "q") ? api_text(c, "q") : api_text(c, "name");
    AUTO(json_release) json_t *found = NULL;
    json_t *items = NULL;
    struct api_page page;
    uint64_t total;

    if (wanted.n > 0)
        store_where_contains(f, "name", wanted);
    api_page_read(c, DOMAINS_PAGE_MAX, DOMAINS_PAGE_MAX, sortable, "created_at", &page);
    if (store_count(c->api->store, DOMAINS, f, c->until, &total, why) < 0 ||
        store_find(c->api->store, DOMAINS, f, &page.store, c->until, &found, why) < 0 || list_objects(c, found, &items, why) < 0)
        return -1;
    return api_reply_page(c, &page, total, items);
}

/* ---- routes ----------------------------------------------------------------------------------------------------------- */

static const struct api_param list_params[] = {
    { "q", API_STRING, true, false, "part of the name, in any case" },
    { "name", API_STRING, true, false, "the same" },
    { .name = NULL },
};

#define SETTING_PARAMS \
    { "has_adult_content_protection", API_BOOLEAN, false, false, "" }, \
    { "has_phishing_protection", API_BOOLEAN, false, false, "" }, \
    { "has_executable_protection", API_BOOLEAN, false, false, "" }, \
    { "has_virus_protection", API_BOOLEAN, false, false, "" }, \
    { "has_recipient_verification", API_BOOLEAN, false, false, "recipients of new aliases must confirm" }, \
    { "ignore_mx_check", API_BOOLEAN, false, false, "the domain's mail may come by other exchanges" }, \
    { "has_delivery_logs", API_BOOLEAN, false, false, "successful deliveries are logged, too" }, \
    { "require_tls_inbound", API_BOOLEAN, false, false, "mail that comes without TLS is refused" }, \
    { "smtp_port", API_ANY, false, false, "port of forwards, 1 to 65535" }, \
    { "retention_days", API_INTEGER, false, false, "days to keep sent mail, 0 to 30" }, \
    { "bounce_webhook", API_ANY, false, false, "http or https address; empty or false: none" }, \
    { "max_quota_per_alias", API_ANY, false, false, "bytes, or text as \"1 GB\"" }

static const struct api_param create_params[] = {
    { "domain", API_STRING, false, true, "fully qualified name" },
    { "plan", API_STRING, false, false, "free, enhanced_protection or team; makes no difference here" },
    { "catchall", API_ANY, false, false, "true: all names to your address; a list of addresses: to these; false: none" },
    SETTING_PARAMS,
    { .name = NULL },
};
static const struct api_param update_params[] = { SETTING_PARAMS, { .name = NULL } };
static const struct api_param allow_params[] = {
    { "allowlist", API_STRINGS, false, false, "IP addresses, names and e-mail addresses; others are dropped, empty clears" },
    { .name = NULL },
};
static const struct api_param deny_params[] = {
    { "denylist", API_STRINGS, false, false, "IP addresses, names and e-mail addresses; others are dropped, empty clears" },
    { .name = NULL },
};

const struct api_route domain_routes[] = {
    { .method = "GET", .path = "/v1/domains", .auth = API_TOKEN, .flags = API_PAGED, .handle = list_domains, .params = list_params, .answer = "[Domain]",
      .operation = "listDomains", .summary = "The domains you are a member of." },
    { .method = "POST", .path = "/v1/domains", .auth = API_TOKEN, .per_day = 50, .handle = api_domain_create, .params = create_params, .answer = "Domain",
      .operation = "createDomain", .summary = "Adds a domain with its DKIM key and, unless told otherwise, a catch-all to your address." },
    { .method = "GET", .path = "/v1/domains/:domain_id", .auth = API_TOKEN, .flags = API_DOMAIN, .handle = get_domain, .answer = "Domain",
      .operation = "getDomain", .summary = "One domain, by id or name." },
    { .method = "PUT", .path = "/v1/domains/:domain_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .handle = api_domain_update,
      .params = update_params, .answer = "Domain", .operation = "updateDomain", .summary = "Changes what is sent." },
    { .method = "DELETE", .path = "/v1/domains/:domain_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .handle = api_domain_delete,
      .answer = "Domain", .operation = "deleteDomain", .summary = "Deletes the domain with all its aliases and their mailboxes." },
    { .method = "GET", .path = "/v1/domains/:domain_id/verify-records", .auth = API_TOKEN, .flags = API_DOMAIN, .handle = api_domain_verify_records,
      .answer = "text", .operation = "verifyDomainRecords", .summary = "Asks DNS for the verification record and the exchanges." },
    { .method = "GET", .path = "/v1/domains/:domain_id/verify-smtp", .auth = API_TOKEN, .flags = API_DOMAIN, .handle = api_domain_verify_smtp,
      .answer = "text", .operation = "verifyDomainSmtp", .summary = "Asks DNS for DKIM, return path and DMARC; when all are right, the domain may send." },
    { .method = "PUT", .path = "/v1/domains/:domain_id/allowlist", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .per_day = 100,
      .handle = api_domain_allowlist, .params = allow_params, .answer = "Domain", .operation = "setDomainAllowlist",
      .summary = "Replaces the list of senders that are always let in." },
    { .method = "PUT", .path = "/v1/domains/:domain_id/denylist", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .per_day = 100,
      .handle = api_domain_denylist, .params = deny_params, .answer = "Domain", .operation = "setDomainDenylist",
      .summary = "Replaces the list of senders that are never let in." },
    { .path = NULL },
};

#define ID      "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{24}$\"}"
#define TEXT    "{\"type\":\"string\"}"
#define NUMBER  "{\"type\":\"integer\",\"minimum\":0}"
#define FLAG    "{\"type\":\"boolean\"}"
#define MAYBE   "{\"type\":[\"string\",\"null\"]}"
#define TEXTS   "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
#define RECORD  "{\"type\":\"object\",\"required\":[\"name\",\"value\"],\"properties\":{\"name\":" TEXT ",\"value\":" TEXT "}}"

const char domain_schemas[] =
    "{\"Domain\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"name\",\"plan\",\"group\",\"has_mx_record\",\"has_txt_record\",\"verification_record\","
    "\"smtp_port\",\"max_recipients_per_alias\",\"max_quota_per_alias\",\"alias_count\",\"has_smtp\",\"smtp_dns_records\",\"link\",\"created_at\",\"updated_at\"],"
    "\"properties\":{\"object\":{\"type\":\"string\",\"enum\":[\"domain\"]},\"id\":" ID ",\"name\":" TEXT ",\"plan\":" TEXT ","
    "\"group\":{\"type\":\"string\",\"enum\":[\"admin\",\"user\"]},\"verification_record\":" TEXT ",\"smtp_port\":" TEXT ",\"locale\":" TEXT ",\"link\":" TEXT ","
    "\"has_mx_record\":" FLAG ",\"has_txt_record\":" FLAG ",\"ignore_mx_check\":" FLAG ",\"has_smtp\":" FLAG ",\"is_smtp_suspended\":" FLAG ","
    "\"has_dkim_record\":" FLAG ",\"has_return_path_record\":" FLAG ",\"has_dmarc_record\":" FLAG ",\"has_catchall\":" FLAG ",\"has_regex\":" FLAG ","
    "\"is_catchall_regex_disabled\":" FLAG ",\"has_adult_content_protection\":" FLAG ",\"has_phishing_protection\":" FLAG ","
    "\"has_executable_protection\":" FLAG ",\"has_virus_protection\":" FLAG ",\"has_recipient_verification\":" FLAG ",\"has_custom_verification\":" FLAG ","
    "\"custom_verification\":{\"type\":\"object\"},\"has_newsletter\":" FLAG ",\"has_delivery_logs\":" FLAG ",\"require_tls_inbound\":" FLAG ","
    "\"has_custom_s3\":" FLAG ",\"s3_endpoint\":" MAYBE ",\"s3_region\":" MAYBE ",\"s3_bucket\":" MAYBE ",\"bounce_webhook\":" MAYBE ","
    "\"retention_days\":" NUMBER ",\"max_recipients_per_alias\":" NUMBER ",\"max_quota_per_alias\":" NUMBER ",\"alias_count\":" NUMBER ","
    "\"storage_used\":" NUMBER ",\"storage_used_by_aliases\":" NUMBER ",\"storage_quota\":" NUMBER ","
    "\"allowlist\":" TEXTS ",\"denylist\":" TEXTS ",\"restricted_alias_names\":" TEXTS ","
    "\"last_checked_at\":" MAYBE ",\"smtp_verified_at\":" MAYBE ",\"smtp_suspended_sent_at\":" MAYBE ",\"created_at\":" MAYBE ",\"updated_at\":" MAYBE ","
    "\"smtp_dns_records\":{\"type\":\"object\",\"required\":[\"dkim\",\"return_path\",\"dmarc\"],\"properties\":{\"dkim\":" RECORD ",\"return_path\":" RECORD
    ",\"dmarc\":" RECORD "}},"
    "\"members\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"object\",\"group\",\"user\"],\"properties\":{"
    "\"object\":{\"type\":\"string\",\"enum\":[\"member\"]},\"group\":" TEXT ",\"user\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"email\"],"
    "\"properties\":{\"object\":{\"type\":\"string\",\"enum\":[\"user\"]},\"id\":" ID ",\"email\":" TEXT "}}}}},"
    "\"invites\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"email\",\"group\",\"expires_at\"],\"properties\":{"
    "\"email\":" TEXT ",\"group\":" TEXT ",\"token\":" TEXT ",\"expires_at\":" TEXT "}}}}},"
    "\"CatchallPassword\":{\"type\":\"object\",\"required\":[\"id\",\"description\"],\"properties\":{\"id\":" ID ",\"description\":" TEXT "}},"
    "\"NewCatchallPassword\":{\"type\":\"object\",\"required\":[\"id\",\"username\",\"password\",\"description\"],\"properties\":{\"id\":" ID
    ",\"username\":" TEXT ",\"password\":" TEXT ",\"description\":" TEXT "}}}";
