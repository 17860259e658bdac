/* model_queue.c - the queue's moves: claim with a lease, renew, save, finish, retry, cancel (see
 * model_email.h).
 *
 * Owns nothing. Each move is one atomic update of one document whose condition names what it
 * believes: the lease, or that nobody has it. Suspends in each.
 */
#include "store/models.h"

#include "store/model_queue.h"

static const struct store_sort oldest_due[] = {{"next_attempt_at", false}, {NULL, false}};

static struct store_filter *due_filter(struct arena *in, int64_t now)
{
    struct store_filter *f = store_filter_new(in);

    store_where_text(f, "next_attempt_at", STORE_LTE, slice_of(date_format_iso(now).s));
    return f;
}

int email_claim(struct store *st, struct slice worker, uint64_t lease_ms, struct arena *in,
                struct deadline until, struct email_doc *out, struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    struct store_along message = {.field = "blob", .in = in};
    struct store_update *u = store_update_new(in);
    int64_t now = clock_wall_ms();

    store_set_bool(u, "is_locked", true);
    store_set_text(u, "locked_by", worker);
    store_set_date(u, "locked_at", now);
    store_set_text(u, "lease", slice_of(object_id_new().s));
    store_set_date(u, "next_attempt_at", now + (int64_t)lease_ms);
    if (store_find_and_modify_along(st, EMAILS, due_filter(in, now), oldest_due, u, STORE_ONE, &message,
                                    until, &doc, why) < 0 ||
        email_parse(doc, in, out, why) < 0)
        return -1;
    out->message = message.bytes;
    return 0;
}

int email_take_back(struct store *st, struct slice worker, struct deadline until, uint64_t *count,
                    struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_filter *f = store_filter_new(in);
    struct store_update *u = store_update_new(in);

    store_where_text(f, "next_attempt_at", STORE_GT, LIT(""));
    store_where_bool(f, "is_locked", true);
    store_where_text(f, "locked_by", STORE_EQ, worker);
    store_where_exists(store_filter_or(f), "taken_back", false);
    store_where_int(store_filter_or(f), "taken_back", STORE_LT, EMAIL_TAKEN_BACK_MAX);
    store_set_date(u, "next_attempt_at", clock_wall_ms());
    store_inc(u, "taken_back", 1);
    return store_update(st, EMAILS, f, u, STORE_MANY, until, count, why);
}

int email_next_due(struct store *st, struct deadline until, int64_t *out, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *doc = NULL;
    struct store_filter *f = store_filter_new(in);
    int64_t when = 0;

    store_where_text(f, "next_attempt_at", STORE_GT, LIT(""));
    if (store_find_one(st, EMAILS, f, oldest_due, until, &doc, why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        *out = 0;
        return 0;
    }
    if (!date_parse_iso(json_get_slice(doc, "next_attempt_at"), &when))
        return fault_set(why, FAULT_CORRUPT, "an email with a bad next_attempt_at");
    *out = when;
    return 0;
}

/* Runs `u` on the document if the lease still is ours. */
static int update_leased(struct store *st, const struct email_doc *email, struct store_update *u,
                         struct arena *in, struct deadline until, struct fault *why)
{
    struct store_filter *f = store_filter_id(in, slice_of(email->id));
    uint64_t matched;

    store_where_text(f, "lease", STORE_EQ, email->lease);
    if (store_update(st, EMAILS, f, u, STORE_ONE, until, &matched, why) < 0)
        return -1;
    return matched > 0 ? 0
                       : fault_set(why, FAULT_CONFLICT,
                                   "email %s was claimed by another runner, or removed", email->id);
}

int email_renew(struct store *st, const struct email_doc *email, uint64_t lease_ms,
                struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);

    store_set_date(u, "next_attempt_at", clock_wall_ms() + (int64_t)lease_ms);
    return update_leased(st, email, u, in, until, why);
}

static void add_delivery(struct store_update *u, const struct email_doc *email,
                         const json_t *delivery)
{
    AUTO(json_release) json_t *past = doc_load(email->deliveries);

    /* a mail that bounces about for days must not outgrow a document: the oldest entries make room
     */
    if (delivery == NULL || json_array_size(past) < EMAIL_DELIVERIES_MAX) {
        if (delivery != NULL)
            store_push(u, "deliveries", delivery);
        return;
    }
    while (json_array_size(past) >= EMAIL_DELIVERIES_MAX)
        (void)json_array_remove(past, 0);
    (void)json_array_append(past, (json_t *)(uintptr_t)delivery);
    store_set_json(u, "deliveries", past);
}

int email_save_progress(struct store *st, const struct email_doc *email, const json_t *delivery,
                        struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);

    email_put_progress(u, email);
    add_delivery(u, email, delivery);
    return update_leased(st, email, u, in, until, why);
}

int email_finish(struct store *st, const struct email_doc *email, const json_t *delivery,
                 struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);

    email_put_progress(u, email);
    add_delivery(u, email, delivery);
    store_set_bool(u, "is_locked", false);
    store_unset(u, "locked_by");
    store_unset(u, "locked_at");
    store_unset(u, "lease");
    store_unset(u, "taken_back");
    if (email->next_attempt_at > 0)
        store_set_date(u, "next_attempt_at", email->next_attempt_at);
    else
        store_unset(u, "next_attempt_at");
    return update_leased(st, email, u, in, until, why);
}

int email_retry_now(struct store *st, struct slice id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_filter *f = store_filter_id(in, id);
    struct store_update *u = store_update_new(in);
    uint64_t matched;

    store_where_exists(f, "next_attempt_at", true);
    store_where_bool(f, "is_locked", false);
    store_set_date(u, "next_attempt_at", clock_wall_ms());
    if (store_update(st, EMAILS, f, u, STORE_ONE, until, &matched, why) < 0)
        return -1;
    return matched > 0 ? 0 : fault_set(why, FAULT_NOT_FOUND, "no mail waits under this id");
}

static void fail_waiting(struct email_doc *email)
{
    bool some_sent = false;

    for (size_t i = 0; i < email->recipient_count; i++) {
        struct email_recipient *r = &email->recipients[i];

        some_sent = some_sent || r->state == RECIPIENT_ACCEPTED;
        if (r->state != RECIPIENT_WAITING)
            continue;
        r->state = RECIPIENT_FAILED;
        r->code = 550;
        r->status = LIT("5.0.0");
        r->response = LIT("canceled");
        r->updated_at = clock_wall_ms();
    }
    email->status = some_sent ? LIT("partially_sent") : LIT("rejected");
    email->next_attempt_at = 0;
}

int email_cancel(struct store *st, struct slice id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *doc = NULL;
    struct store_filter *f = store_filter_id(in, id);
    struct store_update *u = store_update_new(in);
    struct email_doc email;

    if (email_find(st, id, in, until, &email, why) < 0)
        return -1;
    /* a claim like a runner's, so that no runner can take it between reading and writing */
    store_where_exists(f, "next_attempt_at", true);
    store_where_bool(f, "is_locked", false);
    store_set_bool(u, "is_locked", true);
    store_set_text(u, "lease", slice_of(object_id_new().s));
    store_set_date(u, "next_attempt_at", clock_wall_ms() + 60000);
    if (store_find_and_modify(st, EMAILS, f, NULL, u, STORE_ONE, until, &doc, why) < 0)
        return why->code == FAULT_NOT_FOUND
                   ? fault_set(why, FAULT_CONFLICT, "email %s is being sent or is done", email.id)
                   : -1;
    if (email_parse(doc, in, &email, why) < 0)
        return -1;
    fail_waiting(&email);
    return email_finish(st, &email, NULL, until, why);
}
