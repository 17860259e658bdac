/* model_email.c - queue documents to structs and back, finding and listing them (see
 * model_email.h). */
#include "store/models.h"

#include "store/model.h"
#include "store/model_queue.h"

static const struct model_row rows[] = {
    ROW(ID, struct email_doc, id, "_id"),
    ROW(ID, struct email_doc, alias, "alias"),
    ROW(ID, struct email_doc, domain, "domain"),
    ROW(ID, struct email_doc, user, "user"),
    ROW(TEXT, struct email_doc, status, "status"),
    ROW(BOOL, struct email_doc, is_locked, "is_locked"),
    ROW(TEXT, struct email_doc, locked_by, "locked_by"),
    ROW(DATE, struct email_doc, locked_at, "locked_at"),
    ROW(TEXT, struct email_doc, lease, "lease"),
    ROW(DATE, struct email_doc, next_attempt_at, "next_attempt_at"),
    ROW(INT, struct email_doc, attempts, "attempts"),
    ROW(INT, struct email_doc, priority, "priority"),
    ROW(TEXT, struct email_doc, from, "envelope.from"),
    ROW(TEXT, struct email_doc, dsn_id, "dsn.id"),
    ROW(TEXT, struct email_doc, dsn_return, "dsn.return"),
    ROW(BOOL, struct email_doc, require_tls, "requireTLS"),
    ROW(BOOL, struct email_doc, is_8bit, "is_8bit"),
    ROW(BOOL, struct email_doc, is_smtputf8, "is_smtputf8"),
    ROW(TEXT, struct email_doc, blob, "blob"),
    ROW(INT, struct email_doc, size_bytes, "size"),
    ROW(TEXT, struct email_doc, message_id, "messageId"),
    ROW(TEXT, struct email_doc, subject, "subject"),
    ROW(JSON, struct email_doc, headers, "headers"),
    ROW(DATE, struct email_doc, date, "date"),
    ROW(BOOL, struct email_doc, is_bounce, "is_bounce"),
    ROW(BOOL, struct email_doc, is_dsn, "is_dsn"),
    ROW(BOOL, struct email_doc, is_redacted, "is_redacted"),
    ROW_LIST(struct email_doc, accepted, accepted_count, "accepted", EMAIL_RECIPIENTS_MAX),
    ROW_LIST(struct email_doc, hard_bounces, hard_bounce_count, "hard_bounces",
             EMAIL_RECIPIENTS_MAX),
    ROW_LIST(struct email_doc, soft_bounces, soft_bounce_count, "soft_bounces",
             EMAIL_RECIPIENTS_MAX),
    ROW(JSON, struct email_doc, deliveries, "deliveries"),
    ROW(JSON, struct email_doc, rejected_errors, "rejectedErrors"),
    ROW(DATE, struct email_doc, created_at, "created_at"),
    ROW(DATE, struct email_doc, updated_at, "updated_at"),
};

/* what an attempt changes, besides the recipients */
static const struct model_row progress_rows[] = {
    ROW_LIST(struct email_doc, accepted, accepted_count, "accepted", EMAIL_RECIPIENTS_MAX),
    ROW_LIST(struct email_doc, hard_bounces, hard_bounce_count, "hard_bounces",
             EMAIL_RECIPIENTS_MAX),
    ROW_LIST(struct email_doc, soft_bounces, soft_bounce_count, "soft_bounces",
             EMAIL_RECIPIENTS_MAX),
    ROW(JSON, struct email_doc, rejected_errors, "rejectedErrors"),
    ROW(TEXT, struct email_doc, status, "status"),
    ROW(INT, struct email_doc, attempts, "attempts"),
};

static const struct model_row recipient_rows[] = {
    ROW(TEXT, struct email_recipient, address, "address"),
    ROW(TEXT, struct email_recipient, notify, "notify"),
    ROW(TEXT, struct email_recipient, orcpt, "orcpt"),
    ROW(INT, struct email_recipient, attempts, "attempts"),
    ROW(INT, struct email_recipient, code, "code"),
    ROW(TEXT, struct email_recipient, status, "status"),
    ROW(TEXT, struct email_recipient, response, "response"),
    ROW(TEXT, struct email_recipient, mx, "mx"),
    ROW(BOOL, struct email_recipient, delay_sent, "delay_sent"),
    ROW(BOOL, struct email_recipient, final_sent, "final_sent"),
    ROW(DATE, struct email_recipient, updated_at, "updated_at"),
};

static const char *const state_names[] = {[RECIPIENT_WAITING] = "waiting",
                                          [RECIPIENT_ACCEPTED] = "accepted",
                                          [RECIPIENT_FAILED] = "failed"};

static int parse_recipient(const json_t *r, struct arena *in, struct email_recipient *out,
                           struct fault *why)
{
    struct slice state = json_get_slice(r, "state");

    if (model_parse(recipient_rows, COUNT(recipient_rows), r, in, out, why) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(state_names); i++)
        if (slice_equal(state, slice_of(state_names[i]))) {
            out->state = (enum email_recipient_state)i;
            return 0;
        }
    return fault_set(why, FAULT_CORRUPT, "a recipient in no known state");
}

int email_parse(const json_t *doc, struct arena *in, struct email_doc *out, struct fault *why)
{
    const json_t *list = json_object_get(doc, "recipients"), *r;
    size_t i;

    if (model_parse(rows, COUNT(rows), doc, in, out, why) < 0)
        return -1;
    if (json_array_size(list) > EMAIL_RECIPIENTS_MAX)
        return fault_set(why, FAULT_CORRUPT, "email %s: too many recipients", out->id);
    out->recipients = ARENA_ARRAY(in, struct email_recipient, json_array_size(list) + 1);
    out->recipient_count = 0;
    json_array_foreach(
        (json_t *)(uintptr_t)list, i,
        r) if (parse_recipient(r, in, &out->recipients[out->recipient_count++], why) < 0) return -1;
    return 0;
}

static json_t *format_recipients(const struct email_doc *email)
{
    json_t *list = json_array();

    for (size_t i = 0; i < email->recipient_count; i++) {
        json_t *r = model_format(recipient_rows, COUNT(recipient_rows), &email->recipients[i]);

        (void)json_object_set_new(r, "state", json_string(state_names[email->recipients[i].state]));
        (void)json_array_append_new(list, r);
    }
    return list;
}

json_t *email_format(const struct email_doc *email)
{
    json_t *doc = model_format(rows, COUNT(rows), email), *to = json_array(),
           *envelope = json_object_get(doc, "envelope");

    if (envelope == NULL) {
        envelope = json_pack("{s:s}", "from", "");
        (void)json_object_set_new(doc, "envelope", envelope);
    }
    for (size_t i = 0; i < email->recipient_count; i++)
        (void)json_array_append_new(to, json_slice(email->recipients[i].address));
    (void)json_object_set_new(envelope, "to", to);
    (void)json_object_set_new(doc, "recipients", format_recipients(email));
    return doc;
}

int email_enqueue(UNUSED struct store *st, struct email_doc *email, struct store_blob **message,
                  struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    char blob_id[25];
    int r;

    model_id_copy(blob_id, slice_of(store_blob_id(*message)));
    if (email->id[0] == '\0')
        model_id_copy(email->id, slice_of(object_id_new().s));
    email->created_at = email->updated_at = clock_wall_ms();
    email->blob = slice_of(blob_id);
    if (email->status.n == 0)
        email->status = LIT("queued");
    if (email->next_attempt_at == 0)
        email->next_attempt_at = email->date > email->created_at ? email->date : email->created_at;
    doc = email_format(email);
    r = store_blob_insert(message, EMAILS, doc, until, why);
    email->blob = SLICE_NONE;
    return r;
}

static int parse_any(const json_t *doc, struct arena *in, void *out, struct fault *why)
{
    return email_parse(doc, in, out, why);
}

int email_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
               struct email_doc *out, struct fault *why)
{
    return model_find(st, EMAILS, store_filter_id(in, id), parse_any, in, until, out, why);
}

static void restrict_to(struct store_filter *f, const char *field, struct slice value)
{
    if (value.n > 0)
        store_where_text(f, field, STORE_EQ, value);
}

int email_list(struct store *st, const struct email_scope *scope, const struct store_page *page,
               struct arena *in, struct deadline until, struct email_doc **out, size_t *count,
               struct fault *why)
{
    static const struct store_sort newest[] = {{"created_at", true}, {NULL, false}};
    AUTO(json_release) json_t *docs = NULL;
    struct store_page full = page != NULL ? *page : (struct store_page){.sort = newest};
    struct store_filter *f = store_filter_new(in);
    struct email_doc *list;
    json_t *doc;
    size_t i;

    restrict_to(f, "domain", scope->domain);
    restrict_to(f, "alias", scope->alias);
    restrict_to(f, "user", scope->user);
    restrict_to(f, "status", scope->status);
    if (full.sort == NULL)
        full.sort = newest;
    if (store_find(st, EMAILS, f, &full, until, &docs, why) < 0)
        return -1;
    list = ARENA_ARRAY(in, struct email_doc, json_array_size(docs) + 1);
    json_array_foreach(docs, i, doc) if (email_parse(doc, in, &list[i], why) < 0) return -1;
    *out = list;
    *count = json_array_size(docs);
    return 0;
}

/* ---- used by model_queue.c ------------------------------------------------------------------ */

void email_put_progress(struct store_update *u, const struct email_doc *email)
{
    AUTO(json_release) json_t *doc = model_format(progress_rows, COUNT(progress_rows), email);
    const char *field;
    json_t *value;

    (void)json_object_set_new(doc, "recipients", format_recipients(email));
    json_object_foreach(doc, field, value) store_set_json(u, field, value);
    store_set_date(u, "updated_at", clock_wall_ms());
}
