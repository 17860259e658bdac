/* dsn.c - notifications to the sender (text: mail/dsn.h), queued like any mail.
 *
 * Owns nothing beyond the call. Called by job.c before the message's new state is written: killed in between, a report may come
 * twice but is never lost. Fails with what the store says. Suspends.
 */
#include "bree.h"

unsigned dsn_parse_notify(struct slice notify)
{
    static const struct { const char *name; unsigned bit; } names[] = {
        { "NEVER", SMTP_NOTIFY_NEVER }, { "SUCCESS", SMTP_NOTIFY_SUCCESS }, { "FAILURE", SMTP_NOTIFY_FAILURE }, { "DELAY", SMTP_NOTIFY_DELAY },
    };
    struct slice one;
    unsigned bits = 0;

    while (slice_cut(&notify, ',', &one))
        for (size_t i = 0; i < COUNT(names); i++)
            if (slice_equal_nocase(slice_trim(one), slice_of(names[i].name)))
                bits |= names[i].bit;
    return bits;
}

/* RFC 3461 4.1: without NOTIFY failures are told, and delays as we like. */
static bool is_reported(const struct email_recipient *r, enum dsn_action action)
{
    unsigned notify = dsn_parse_notify(r->notify);

    if (notify == 0)
        notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
    switch (action) {
    case DSN_FAILED:  return r->state == RECIPIENT_FAILED && !r->final_sent && (notify & SMTP_NOTIFY_FAILURE);
    case DSN_RELAYED: return r->state == RECIPIENT_ACCEPTED && !r->final_sent && (notify & SMTP_NOTIFY_SUCCESS);
    case DSN_DELAYED: return r->state == RECIPIENT_WAITING && !r->delay_sent && r->attempts > 0 && (notify & SMTP_NOTIFY_DELAY);
    default:          return false;
    }
}

static struct dsn_recipient describe(const struct job *job, const struct email_recipient *r, enum dsn_action action)
{
    bool is_reply = r->mx.n > 0;

    return (struct dsn_recipient){
        .address = r->address, .orcpt = r->orcpt, .action = action, .status = r->status, .remote_mta = r->mx, .is_reply = is_reply,
        .diagnostic = is_reply ? arena_printf(job->arena, "%lld %.*s", (long long)r->code, SLICE(r->response)) : r->response,
        .last_attempt_ms = r->updated_at, .retry_until_ms = job->email.created_at + EXPIRY_MS,
    };
}

static size_t collect(const struct job *job, enum dsn_action action, struct dsn_recipient *out)
{
    size_t n = 0;

    for (size_t i = 0; i < job->email.recipient_count; i++)
        if (is_reported(&job->email.recipients[i], action))
            out[n++] = describe(job, &job->email.recipients[i], action);
    return n;
}

static int write_body(struct job *job, struct store_blob *blob, int64_t *size, struct fault *why)
{
    AUTO(message_close) struct message_source *source = NULL;
    struct slice piece;
    int r;

    if (message_open(job, deadline_in_ms(60000), &source, why) < 0)
        return -1;
    while ((r = message_pull(source, &piece, why)) > 0) {
        if (store_blob_write(blob, piece, why) < 0)
            return -1;
        *size += (int64_t)piece.n;
    }
    return r;
}

/* The header alone unless RET=FULL asks for more (RFC 3461 4.3); success never returns the whole. */
static int write_original(struct job *job, struct store_blob *blob, bool full, int64_t *size, struct fault *why)
{
    struct slice header = buf_slice(&job->header);

    if (full)
        return write_body(job, blob, size, why);
    if (header.n == 0)                                 /* the message was given up before it was read */
        header = LIT("\r\n");
    *size += (int64_t)header.n;
    return store_blob_write(blob, header, why);
}

static int enqueue(struct job *job, const struct dsn *d, struct deadline until, struct fault *why)
{
    AUTO(store_blob_abort) struct store_blob *blob = store_blob_new(bree.store);
    struct email_recipient to = { .address = job->email.from, .notify = LIT("NEVER") };
    struct email_doc report = { .recipients = &to, .recipient_count = 1, .subject = LIT("Delivery Status Notification"), .is_bounce = true,
                                .is_dsn = true, .is_8bit = true, .message_id = d->message_id, .date = d->now_ms };
    struct dsn_text text;

    dsn_format(job->arena, d, &text);
    report.is_smtputf8 = job->email.is_smtputf8 || text.smtputf8;
    memcpy(report.alias, job->email.alias, sizeof(report.alias));
    memcpy(report.domain, job->email.domain, sizeof(report.domain));
    memcpy(report.user, job->email.user, sizeof(report.user));
    report.size_bytes = (int64_t)(text.begin.n + text.end.n);
    if (store_blob_write(blob, text.begin, why) < 0 || write_original(job, blob, d->full, &report.size_bytes, why) < 0 ||
        store_blob_write(blob, text.end, why) < 0 || email_enqueue(bree.store, &report, &blob, until, why) < 0)
        return -1;
    log_event(LOG_INFO, "smtp-bree.dsn", F_STR("msg", job->email.id), F_STR("report", report.id), F_SLICE("to", job->email.from));
    log_doc_add(bree.store, &(struct log_doc){
        .level = LIT("info"), .event = LIT("smtp-bree.dsn"), .message = LIT("the sender gets a report"), .domain = slice_of(job->email.domain),
        .alias = slice_of(job->email.alias), .user = slice_of(job->email.user), .email = slice_of(job->email.id), .msg = slice_of(job->email.id),
        .rcpt_to = job->email.from, .meta = arena_printf(job->arena, "{\"report\":\"%s\"}", report.id),
    });
    fiber_event_signal(&bree.wake);
    return 0;
}

static void mark_reported(struct job *job, enum dsn_action action)
{
    for (size_t i = 0; i < job->email.recipient_count; i++) {
        struct email_recipient *r = &job->email.recipients[i];

        if (is_reported(r, action))
            *(action == DSN_DELAYED ? &r->delay_sent : &r->final_sent) = true;
    }
}

int dsn_send(struct job *job, enum dsn_action action, struct deadline until, struct fault *why)
{
    const struct email_doc *e = &job->email;
    struct dsn_recipient *list = ARENA_ARRAY(job->arena, struct dsn_recipient, e->recipient_count + 1);
    ptrdiff_t at = slice_rfind_char(e->from, '@');
    struct dsn d = {
        .from = arena_printf(job->arena, "mailer-daemon@%.*s", SLICE(slice_tail(e->from, (size_t)(at + 1)))), .to = e->from,
        .reporting_mta = slice_of(bree.config->host), .message_id = arena_printf(job->arena, "%s@%s", object_id_new().s, bree.config->host),
        .envid = e->dsn_id, .original_id = e->message_id, .queue_id = slice_of(e->id), .arrival_ms = e->created_at, .now_ms = clock_wall_ms(),
        .recipients = list, .recipient_count = collect(job, action, list), .eight_bit = e->is_8bit,
        .full = action == DSN_FAILED && job->header.n > 0 && slice_equal_nocase(e->dsn_return, LIT("FULL")),
    };

    if (d.recipient_count == 0)
        return 0;
    if (enqueue(job, &d, until, why) < 0)
        return -1;
    mark_reported(job, action);
    return 0;
}
