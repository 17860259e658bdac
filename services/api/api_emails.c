/* api_emails.c - /v1/emails: lists, one message, cancelling, the day's allowance; the table of these routes and what their answers look like.
 *
 * Owns nothing. An account sees what it sent and what the domains sent that it administers; a mailbox sees its own. Suspends for the store.
 */
#include "api_email.h"

#define DOMAINS_SEEN_MAX 1000

static int refuse(struct api_call *c, unsigned status, const char *key)
{
    (void)api_refuse(c, status, key);
    return 1;
}

/* ---- whose mail ------------------------------------------------------------------------------------------------ */

/* Ids of the domains that the caller administers. */
static int administered(struct api_call *c, struct slice **ids, size_t *count, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    struct store_filter *f = store_filter_text(c->arena, "members.user", slice_of(c->user.id));
    const struct store_page page = { .limit = DOMAINS_SEEN_MAX };
    struct domain_doc d;
    json_t *document;
    size_t i;

    if (store_find(c->api->store, DOMAINS, f, &page, c->until, &found, why) < 0)
        return -1;
    *ids = ARENA_ARRAY(c->arena, struct slice, json_array_size(found) + 1);
    *count = 0;
    json_array_foreach(found, i, document) {
        const struct domain_member *me;

        if (domain_parse(document, c->arena, &d, why) < 0)
            return -1;
        me = domain_find_member(&d, slice_of(c->user.id));
        if (me != NULL && me->is_admin)
            (*ids)[(*count)++] = arena_copy(c->arena, slice_of(d.id));
    }
    return 0;
}

/* One domain of `domain`, which must be the caller's. */
static int restrict_to_domain(struct api_call *c, struct slice name, struct store_filter *f, bool *all, struct fault *why)
{
    const struct domain_member *me;

    if (directory_name_domain(c->api->directory, arena_lower(c->arena, name), c->arena, c->until, &c->domain, &c->domain_document, why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;
        return refuse(c, 404, "DOMAIN_DOES_NOT_EXIST");
    }
    me = domain_find_member(&c->domain, slice_of(c->user.id));
    if (me == NULL)
        return refuse(c, 404, "DOMAIN_DOES_NOT_EXIST");
    store_where_text(f, "domain", STORE_EQ, slice_of(c->domain.id));
    *all = me->is_admin;
    return 0;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void where_like(struct store_filter *f, struct slice q)
{
    static const char *const searched[] = { "subject", "messageId", "envelope.from", "envelope.to", "headers.From", "headers.To", "headers.Cc",
                                            "recipients.response" };

    for (size_t i = 0; q.n > 0 && i < COUNT(searched); i++)
        store_where_contains(store_filter_or(f), searched[i], q);
}

/* Those of the caller, and those of domains; each alternative with the words looked for. */
static int restrict_to_account(struct api_call *c, struct store_filter *f, struct slice q, struct fault *why)
{
    struct store_filter *own, *administrated;
    struct slice *ids;
    size_t count;

    if (administered(c, &ids, &count, why) < 0)
        return -1;
    own = count > 0 ? store_filter_or(f) : f;
    store_where_text(own, "user", STORE_EQ, slice_of(c->user.id));
    where_like(own, q);
    if (count == 0)
        return 0;
    administrated = store_filter_or(f);
    store_where_in(administrated, "domain", ids, count);
    where_like(administrated, q);
    return 0;
}

static int list_filter(struct api_call *c, struct store_filter **out, struct fault *why)
{
    struct store_filter *f = store_filter_new(c->arena);
    struct slice domain = api_text(c, "domain"), q = api_text(c, "q"), now = api_date(c->arena, clock_wall_ms());
    bool all = false;
    int r;

    *out = f;
    if (api_has(c, "is_scheduled"))
        store_where_text(f, "date", api_bool(c, "is_scheduled", false) ? STORE_GT : STORE_LTE, now);
    if (c->auth == API_ALIAS) {
        store_where_text(f, "domain", STORE_EQ, slice_of(c->who.domain_id));
        store_where_text(f, "alias", STORE_EQ, slice_of(c->who.alias_id));
        where_like(f, q);
        return 0;
    }
    if (domain.n == 0)
        return restrict_to_account(c, f, q, why);
    if ((r = restrict_to_domain(c, domain, f, &all, why)) != 0)
        return r;
    if (!all)
        store_where_text(f, "user", STORE_EQ, slice_of(c->user.id));
    where_like(f, q);
    return 0;
}

/* `id` is the store's _id. */
static void read_page(struct api_call *c, struct api_page *page)
{
    static const char *const sortable[] = { "created_at", "date", "status", "subject", NULL };
    static const struct store_sort by_id[] = { { "_id", false }, { NULL, false } }, by_id_descending[] = { { "_id", true }, { NULL, false } };
    struct slice sort = api_text(c, "sort");

    api_page_read(c, 25, 100, sortable, "created_at", page);
    if (slice_equal(sort, LIT("id")))
        page->store.sort = by_id;
    else if (slice_equal(sort, LIT("-id")))
        page->store.sort = by_id_descending;
}

static int list_emails(struct api_call *c, struct fault *why)
{
    AUTO(json_release) json_t *documents = NULL;
    struct store_filter *f;
    struct api_page page;
    json_t *items, *document;
    uint64_t total;
    size_t i;
    int r;

    read_page(c, &page);
    if ((r = list_filter(c, &f, why)) != 0)
        return r < 0 ? -1 : 0;
    if (store_find(c->api->store, EMAILS, f, &page.store, c->until, &documents, why) < 0 ||
        store_count(c->api->store, EMAILS, f, c->until, &total, why) < 0)
        return -1;
    items = json_array();
    json_array_foreach(documents, i, document)
        (void)json_array_append_new(items, email_json(c, document, true));
    return api_reply_page(c, &page, total, items);
}

/* ---- one ------------------------------------------------------------------------------------------------------------- */

static int is_visible(struct api_call *c, const json_t *document, struct fault *why)
{
    AUTO(json_release) json_t *stored = NULL;
    const struct domain_member *me;
    struct domain_doc d;

    if (c->auth == API_ALIAS)
        return slice_equal(json_get_slice(document, "alias"), slice_of(c->who.alias_id));
    if (slice_equal(json_get_slice(document, "user"), slice_of(c->user.id)))
        return 1;
    if (directory_find_domain(c->api->directory, json_get_slice(document, "domain"), c->arena, c->until, &d, &stored, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    me = domain_find_member(&d, slice_of(c->user.id));
    return me != NULL && me->is_admin;
}

/* 1: refused; it is not there, or not for this caller. */
static int load(struct api_call *c, json_t **out, struct fault *why)
{
    AUTO(json_release) json_t *document = NULL;
    int r = store_find_one(c->api->store, EMAILS, store_filter_id(c->arena, c->params[0]), NULL, c->until, &document, why);

    if (r < 0 && why->code != FAULT_NOT_FOUND)
        return -1;
    if (r == 0 && (r = is_visible(c, document, why)) < 0)
        return -1;
    why->code = FAULT_NONE;
    if (document == NULL || r != 1)
        return refuse(c, 404, "EMAIL_DOES_NOT_EXIST");
    *out = document;
    document = NULL;
    return 0;
}

static int get_email(struct api_call *c, struct fault *why)
{
    AUTO(json_release) json_t *document = NULL;
    int r = load(c, &document, why);

    return r != 0 ? (r < 0 ? -1 : 0) : email_reply(c, document, why);
}

static int delete_email(struct api_call *c, struct fault *why)
{
    AUTO(json_release) json_t *before = NULL, *document = NULL;
    int r = load(c, &before, why);

    if (r != 0)
        return r < 0 ? -1 : 0;
    if (email_cancel(c->api->store, c->params[0], c->until, why) < 0) {
        if (why->code != FAULT_CONFLICT)
            return -1;
        why->code = FAULT_NONE;
        return api_refuse(c, 400, "INVALID_EMAIL_STATUS");
    }
    log_event(LOG_INFO, "api.canceled", F_SLICE("request", c->request_id), F_SLICE("msg", c->params[0]), F_STR("user", c->user.id));
    return load(c, &document, why) < 0 ? -1 : document == NULL ? 0 : email_reply(c, document, why);
}

/* ---- the allowance ------------------------------------------------------------------------------------------------------- */

static int get_limit(struct api_call *c, struct fault *why)
{
    struct redis_counter counter = { .count = 0 };
    const char *user = c->auth == API_ALIAS ? c->who.user_id : c->user.id;
    int64_t limit, most = c->api->config->messages_per_day;
    json_t *o = json_object();

    if (outbound_limit_find(c->api->store, slice_of(user), slice_of(c->domain.id), most, c->arena, c->until, &limit, why) < 0) {
        json_decref(o);
        return -1;
    }
    if (outbound_count_day(c->api->redis, c->auth == API_ALIAS ? outbound_counted(&c->who) : slice_of(user), 0, c->arena, &counter, why) < 0)
        why->code = FAULT_NONE;
    (void)json_set_int(o, "count", counter.count);
    (void)json_set_int(o, "limit", limit > 0 ? limit : most);
    return api_reply_json(c, o);
}

/* ---- routes ------------------------------------------------------------------------------------------------------------------ */

static const struct api_param list_params[] = {
    { "q", API_STRING, true, false, "words of subject, addresses, message id or answers" },
    { "domain", API_STRING, true, false, "name of a domain: only its mail" },
    { "is_scheduled", API_BOOLEAN, true, false, "true: only what is to be sent later; false: only the other" },
    { .name = NULL },
};

static const struct api_param create_params[] = {
    { "from", API_ANY, false, false, "sender, as text or {name, address}; with a mailbox's password its address is the default" },
    { "sender", API_ANY, false, false, "Sender field" },
    { "to", API_ANY, false, false, "recipients: text with commas, {name, address}, or an array of both" },
    { "cc", API_ANY, false, false, "recipients of a copy" },
    { "bcc", API_ANY, false, false, "recipients nobody sees" },
    { "replyTo", API_ANY, false, false, "where answers go" },
    { "subject", API_STRING, false, false, "subject, UTF-8" },
    { "text", API_STRING, false, false, "plain text" },
    { "html", API_STRING, false, false, "HTML" },
    { "amp", API_STRING, false, false, "AMP for e-mail" },
    { "watchHtml", API_STRING, false, false, "HTML for watches" },
    { "attachments", API_ARRAY, false, false, "files: {filename, content, encoding, contentType, cid, contentDisposition, headers}; as multipart: files" },
    { "attachment", API_BINARY, false, false, "one file (multipart)" },
    { "alternatives", API_ARRAY, false, false, "other forms of the text, like attachments" },
    { "icalEvent", API_ANY, false, false, "an invitation: {method, content, encoding}" },
    { "encoding", API_STRING, false, false, "of text and html: utf-8 (default), base64 or hex" },
    { "textEncoding", API_STRING, false, false, "quoted-printable or base64; default: whichever is shorter" },
    { "attachDataUrls", API_BOOLEAN, false, false, "pictures inside the HTML (data:image/...) become parts of the message" },
    { "priority", API_STRING, false, false, "high, normal or low" },
    { "headers", API_ANY, false, false, "more fields: an object, or an array of {key, value}" },
    { "list", API_OBJECT, false, false, "List-* fields: help, unsubscribe, unsubscribePost, subscribe, post, owner, archive, id" },
    { "inReplyTo", API_STRING, false, false, "message id" },
    { "references", API_STRINGS, false, false, "message ids" },
    { "messageId", API_STRING, false, false, "message id; default: a new one" },
    { "date", API_ANY, false, false, "when; ahead of now, at most 30 days: sent then" },
    { "requireTLS", API_BOOLEAN, false, false, "never deliver without TLS" },
    { "dsn", API_OBJECT, false, false, "delivery reports: {id, return, notify, recipient}" },
    { "raw", API_ANY, false, false, "a complete message instead of all this: text, or {content, encoding}; recipients are those of To, Cc and Bcc" },
    { .name = NULL },
};

#define CALLERS (API_TOKEN | API_ALIAS)

const struct api_route email_routes[] = {
    { .method = "GET", .path = "/v1/emails", .auth = CALLERS, .flags = API_PAGED | API_NO_GLOBAL_LIMIT, .handle = list_emails, .params = list_params,
      .answer = "[Email]", .operation = "listEmails", .summary = "Mail that was sent or waits to be.", .statuses = "404" },
    { .method = "POST", .path = "/v1/emails", .auth = CALLERS | API_CATCHALL, .flags = API_OWN_BODY | API_NO_GLOBAL_LIMIT, .handle = email_send,
      .body_bytes_max = EMAIL_BODY_BYTES_MAX, .params = create_params, .answer = "Email", .operation = "createEmail",
      .summary = "Puts a message into the queue; the answer comes when it is stored, delivery follows.", .statuses = "400 403 413 415 429" },
    { .method = "GET", .path = "/v1/emails/limit", .auth = CALLERS, .flags = API_NO_GLOBAL_LIMIT, .handle = get_limit, .answer = "EmailLimit",
      .operation = "getEmailLimit", .summary = "How many messages were sent in 24 hours, and how many may be." },
    { .method = "GET", .path = "/v1/emails/:id", .auth = CALLERS, .flags = API_NO_GLOBAL_LIMIT, .handle = get_email, .answer = "Email",
      .operation = "retrieveEmail", .summary = "One message, with its bytes while they are kept.", .statuses = "404" },
    { .method = "DELETE", .path = "/v1/emails/:id", .auth = CALLERS, .flags = API_NO_GLOBAL_LIMIT, .handle = delete_email, .answer = "Email",
      .operation = "deleteEmail", .summary = "Cancels what was not sent yet.", .statuses = "400 404" },
    { .path = NULL },
};

#define TEXT "{\"type\":\"string\"}"
#define TEXTS "{\"type\":\"array\",\"items\":" TEXT "}"
#define FLAG "{\"type\":\"boolean\"}"
#define ID "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{24}$\"}"
#define DATE "{\"type\":[\"string\",\"null\"]}"

const char email_schemas[] =
    "{\"Email\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"status\",\"is_redacted\",\"is_bounce\",\"is_locked\",\"hard_bounces\",\"soft_bounces\","
    "\"envelope\",\"messageId\",\"date\",\"subject\",\"link\",\"created_at\",\"updated_at\"],\"properties\":{"
    "\"object\":{\"type\":\"string\",\"enum\":[\"email\"]},\"id\":" ID ","
    "\"status\":{\"type\":\"string\",\"enum\":[\"pending\",\"queued\",\"sent\",\"partially_sent\",\"deferred\",\"bounced\",\"rejected\"]},"
    "\"alias\":" ID ",\"domain\":" ID ",\"user\":" ID ",\"is_redacted\":" FLAG ",\"is_bounce\":" FLAG ",\"is_locked\":" FLAG ","
    "\"hard_bounces\":" TEXTS ",\"soft_bounces\":" TEXTS ",\"envelope\":{\"type\":\"object\",\"required\":[\"from\",\"to\"],\"properties\":{"
    "\"from\":" TEXT ",\"to\":" TEXTS "}},\"messageId\":" TEXT ",\"headers\":{\"type\":\"object\",\"additionalProperties\":" TEXT "},"
    "\"date\":" DATE ",\"subject\":" TEXT ",\"accepted\":" TEXTS ",\"rejectedErrors\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
    "\"message\":" TEXT ",\"link\":" TEXT ",\"created_at\":" DATE ",\"updated_at\":" DATE "}},"
    "\"EmailLimit\":{\"type\":\"object\",\"required\":[\"count\",\"limit\"],\"properties\":{\"count\":{\"type\":\"integer\"},\"limit\":{\"type\":\"integer\"}}}}";
