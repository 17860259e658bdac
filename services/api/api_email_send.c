/* api_email_send.c - POST /v1/emails: who may send as whom, how much, and into the queue; the answer comes when all is durable.
 *
 * Owns      the blob being written. Order: the sender's rights, the header, the recipients, the daily limit, the bytes, the document, the
 *           event. Whatever fails before the document leaves nothing behind. Suspends for store, Redis and spool.
 */
#include "api_email.h"

#include "base/derive.h"
#include "base/encode.h"
#include "mail/address.h"
#include "mail/received.h"
#include "wire/rfc5322.h"

static int refuse(struct api_call *c, unsigned status, const char *key)
{
    (void)api_refuse(c, status, key);
    return 1;
}

/* ---- the sender ------------------------------------------------------------------------------------------------- */

static void copy_id(char to[25], const char *from)
{
    memcpy(to, from, 25);
}

static int find_alias(struct api_call *c, struct slice name, struct alias_doc *out, struct fault *why)
{
    if (directory_get_alias(c->api->directory, slice_of(c->domain.id), name, c->arena, c->until, out, why) == 0)
        return 1;
    return why->code == FAULT_NOT_FOUND ? 0 : -1;
}

/* The alias of that name, or for administrators the domain's catch-all. */
static int choose_alias(struct api_call *c, struct slice user, struct alias_doc *out, struct fault *why)
{
    int r = find_alias(c, user, out, why);

    if (r < 0)
        return -1;
    if (r > 0 && !c->is_domain_admin && strcmp(out->user, c->user.id) != 0)
        return refuse(c, 403, "INVALID_FROM_HEADER");
    if (r == 0 && (!c->is_domain_admin || (r = find_alias(c, LIT("*"), out, why)) <= 0))
        return r < 0 ? -1 : refuse(c, c->is_domain_admin ? 400 : 403, c->is_domain_admin ? "FROM_ALIAS_DOES_NOT_EXIST" : "INVALID_FROM_HEADER");
    why->code = FAULT_NONE;
    return out->is_enabled ? 0 : refuse(c, 400, "ALIAS_IS_NOT_ENABLED");
}

/* An account sends as the aliases of its domains. */
static int sender_of_token(struct api_call *c, const struct email_draft *d, struct login_result *who, struct fault *why)
{
    const struct domain_member *me;
    struct address from;
    struct alias_doc alias;
    int r;

    if (!address_parse(c->arena, d->from, &from))
        return refuse(c, 400, "INVALID_FROM");
    if (directory_name_domain(c->api->directory, from.domain, c->arena, c->until, &c->domain, &c->domain_document, why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;
        return refuse(c, 403, "INVALID_FROM_HEADER");
    }
    me = domain_find_member(&c->domain, slice_of(c->user.id));
    if (me == NULL)
        return refuse(c, 403, "INVALID_FROM_HEADER");
    c->is_domain_admin = me->is_admin;
    if ((r = choose_alias(c, from.user, &alias, why)) != 0)
        return r;
    *who = (struct login_result){ .name = from.user, .domain = c->domain.name, .address = address_without_tag(c->arena, &from) };
    copy_id(who->alias_id, alias.id);
    copy_id(who->domain_id, c->domain.id);
    copy_id(who->user_id, c->user.id);
    return 0;
}

static int find_sender(struct api_call *c, const struct email_draft *d, struct login_result *who, struct fault *why)
{
    int r = 0;

    if (c->auth == API_TOKEN)
        r = sender_of_token(c, d, who, why);
    else
        *who = c->who;
    if (r != 0)
        return r;
    if (c->domain.is_smtp_suspended)
        return refuse(c, 403, "DOMAIN_SUSPENDED");
    return c->domain.has_smtp ? 0 : refuse(c, 403, "EMAIL_SMTP_ACCESS_REQUIRED");
}

/* ---- header and recipients ------------------------------------------------------------------------------------------ */

/* Codes as submission's, statuses as the reference has them. */
static int refuse_header(struct api_call *c, const struct login_result *who, const struct smtp_reply *no)
{
    if (strcmp(no->enhanced, "5.7.1") == 0)
        return refuse(c, 403, who->is_catchall ? "INVALID_CATCHALL_FROM_HEADER" : "INVALID_FROM_HEADER");
    (void)api_refuse_text(c, 400, "INVALID_HEADER", arena_printf(c->arena, "%.*s.", SLICE(no->text)));
    return 1;
}

static int prepare_header(struct api_call *c, const struct email_draft *d, const struct login_result *who, struct outbound_header *out)
{
    struct smtp_reply no = SMTP_OK;
    struct slice trace;

    if (outbound_header_prepare(c->arena, d->header, who, c->api->config->smtp_host, clock_wall_ms(), out, &no) < 0)
        return refuse_header(c, who, &no);
    trace = received_format(c->arena, &(struct received){ .by = slice_of(c->api->config->smtp_host), .protocol = LIT("HTTP"), .id = c->request_id,
                                                          .recipient = d->recipient_count == 1 ? d->recipients[0].address : SLICE_NONE,
                                                          .now_ms = clock_wall_ms() });
    out->text = arena_concat(c->arena, (const struct slice[]){ trace, out->text }, 2);
    return 0;
}

static int check_recipients(struct api_call *c, const struct email_draft *d)
{
    struct address address;

    if (d->recipient_count == 0)
        return refuse(c, 400, "RECIPIENT_REQUIRED");
    if (d->recipient_count > (size_t)c->api->config->recipients_max) {
        (void)api_refuse_text(c, 400, "TOO_MANY_RECIPIENTS", arena_printf(c->arena, "A message can have at most %lld recipients.",
                                                                          (long long)c->api->config->recipients_max));
        return 1;
    }
    for (size_t i = 0; i < d->recipient_count; i++)
        if (!address_parse(c->arena, d->recipients[i].address, &address) || address_is_noreply(address.user))
            return refuse(c, 400, "NOREPLY_RECIPIENT");
    return 0;
}

/* ---- the daily limit --------------------------------------------------------------------------------------------------- */

static int check_limit(struct api_call *c, const struct login_result *who, struct fault *why)
{
    const struct api_config *config = c->api->config;
    struct redis_counter counter;
    int64_t limit;

    if (config->messages_per_day == 0 || c->api->redis == NULL)
        return 0;
    if (outbound_limit_find(c->api->store, slice_of(who->user_id), slice_of(who->domain_id), config->messages_per_day, c->arena, c->until, &limit, why) < 0)
        return -1;
    if (outbound_count_day(c->api->redis, outbound_counted(who), 1, c->arena, &counter, why) < 0) {
        why->code = FAULT_NONE;                /* Redis away: nobody is limited */
        return 0;
    }
    if (limit == 0 || counter.count <= limit)
        return 0;
    http_set_header(c->rq, LIT("Retry-After"), arena_printf(c->arena, "%llu", (unsigned long long)(counter.left_ms + 999) / 1000));
    return refuse(c, 429, "SMTP_RATE_LIMIT_EXCEEDED");
}

/* ---- into the queue -------------------------------------------------------------------------------------------------------- */

struct output { struct store_blob *blob; uint64_t bytes, max; bool too_large; };

static int put(void *arg, struct slice bytes, struct fault *why)
{
    struct output *o = arg;

    o->bytes += bytes.n;
    if (o->bytes > o->max) {
        o->too_large = true;
        return fault_set(why, FAULT_LIMIT, "the message is over %llu bytes", (unsigned long long)o->max);
    }
    return store_blob_write(o->blob, bytes, why);
}

/* The same message by the same sender to the same recipients has the same id, so the store refuses its second coming. */
static void choose_id(struct api_call *c, const struct email_draft *d, const struct outbound_header *h, struct email_doc *doc)
{
    AUTO(buf_free) struct buf all = BUF_INIT((size_t)1 << 20);
    unsigned char digest[32];

    (void)buf_printf(&all, "%s\n%.*s\n%.*s\n%.*s\n", doc->domain, SLICE(h->message_id), SLICE(rfc5322_get_value(c->arena, d->header, LIT("Date"))),
                     SLICE(doc->from));
    for (size_t i = 0; i < doc->recipient_count; i++)
        (void)buf_printf(&all, "%.*s\n", SLICE(arena_lower(c->arena, doc->recipients[i].address)));
    sha256(buf_slice(&all), digest);
    (void)snprintf(doc->id, sizeof(doc->id), "%.*s", SLICE(hex_encode(c->arena, slice_make(digest, 12))));
}

static void fill_document(struct api_call *c, const struct email_draft *d, const struct login_result *who, const struct outbound_header *h,
                          struct email_doc *doc)
{
    *doc = (struct email_doc){ .from = d->from, .recipients = d->recipients, .recipient_count = d->recipient_count, .dsn_id = d->dsn_id,
                               .dsn_return = d->dsn_return, .require_tls = d->require_tls, .is_8bit = d->is_8bit,
                               .is_smtputf8 = !slice_is_ascii(h->text) };
    copy_id(doc->alias, who->alias_id);
    copy_id(doc->domain, who->domain_id);
    copy_id(doc->user, who->user_id);
    for (size_t i = 0; i < d->recipient_count; i++)
        doc->is_smtputf8 = doc->is_smtputf8 || !slice_is_ascii(d->recipients[i].address);
    if (d->is_given_id && rfc5322_count_fields(d->header, LIT("Date")) > 0)
        choose_id(c, d, h, doc);
}

static int refuse_write(struct api_call *c, const struct email_draft *d, const struct output *o, struct fault *why)
{
    enum fault_code code = why->code;

    if (!o->too_large && d->refusal == NULL && code != FAULT_EXISTS && code != FAULT_INVALID)
        return -1;
    why->code = FAULT_NONE;
    if (o->too_large)
        return refuse(c, 413, "MESSAGE_TOO_LARGE");
    return refuse(c, 400, code == FAULT_EXISTS ? "EMAIL_ALREADY_EXISTS" : d->refusal != NULL ? d->refusal : "INVALID_ATTACHMENT");
}

static int enqueue(struct api_call *c, struct email_draft *d, const struct login_result *who, const struct outbound_header *h, struct email_doc *doc,
                   struct fault *why)
{
    AUTO(store_blob_abort) struct store_blob *blob = store_blob_new(c->api->store);
    struct output o = { .blob = blob, .max = c->api->config->message_bytes_max };

    if (put(&o, h->text, why) < 0 || email_draft_write(d, put, &o, why) < 0)
        return refuse_write(c, d, &o, why);
    fill_document(c, d, who, h, doc);
    outbound_fill(c->arena, h, o.bytes - h->text.n, doc);
    if (email_enqueue(c->api->store, doc, &blob, c->until, why) < 0)
        return refuse_write(c, d, &o, why);
    outbound_publish(c->api->redis, c->arena, doc->id);
    return 0;
}

static void tell_owner(struct api_call *c, const struct email_doc *doc)
{
    struct slice id = slice_of(doc->id);

    log_event(LOG_INFO, "api.queued", F_SLICE("request", c->request_id), F_SLICE("msg", id), F_STR("user", doc->user), F_STR("alias", doc->alias),
              F_SLICE("from", doc->from), F_INT("recipients", doc->recipient_count), F_INT("bytes", doc->size_bytes));
    log_doc_add(c->api->store, &(struct log_doc){ .level = LIT("info"), .event = LIT("api.queued"), .message = LIT("queued"),
                                                  .domain = slice_of(doc->domain), .alias = slice_of(doc->alias), .user = slice_of(doc->user), .email = id,
                                                  .session = c->request_id, .msg = id, .mail_from = doc->from, .message_id = doc->message_id,
                                                  .client_ip = slice_of(c->peer_ip), .code = 250 });
}

/* ---- the call ------------------------------------------------------------------------------------------------------------------ */

static int queue(struct api_call *c, const struct email_body *body, struct email_draft *d, struct email_doc *doc, struct fault *why)
{
    struct login_result who = { .name = SLICE_NONE };
    struct outbound_header header;
    int r;

    if ((r = email_draft_read(c, body, d, why)) != 0 || (r = find_sender(c, d, &who, why)) != 0 || (r = prepare_header(c, d, &who, &header)) != 0 ||
        (r = check_recipients(c, d)) != 0 || (r = check_limit(c, &who, why)) != 0)
        return r;
    return enqueue(c, d, &who, &header, doc, why);
}

/* What was sent is in the store: a client that reads the answer slowly holds up no other large body, and no memory. */
static void let_go(struct api_call *c, struct email_body **body)
{
    email_body_free(body);
    json_release(&c->body);
    c->body = json_object();
    api_big_body_end(c);
}

int email_send(struct api_call *c, struct fault *why)
{
    AUTO(email_body_free) struct email_body *body = NULL;
    struct email_draft draft = { .refusal = NULL };
    AUTO(json_release) json_t *document = NULL;
    struct email_doc doc;
    int r;

    body = ARENA_NEW(c->arena, struct email_body);
    if ((r = email_body_read(c, body, why)) == 0)
        r = queue(c, body, &draft, &doc, why);
    email_draft_free(&draft);
    if (r != 0)
        return r < 0 ? -1 : 0;
    tell_owner(c, &doc);
    let_go(c, &body);
    if (store_find_one(c->api->store, EMAILS, store_filter_id(c->arena, slice_of(doc.id)), NULL, c->until, &document, why) < 0)
        return -1;
    return email_reply(c, document, why);
}
