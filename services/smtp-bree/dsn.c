/* dsn.c - delivery status notifications to the sender (RFC 3464 in an RFC 6522 report), queued like any mail.
 *
 * Owns nothing beyond the call. Called by job.c before the message's new state is written: killed in between, a report may come
 * twice but is never lost. Fails with what the store says. Suspends.
 */
#include "bree.h"

static bool notify_wants(struct slice notify, const char *what)
{
    struct slice one;

    if (notify.n == 0)                         /* RFC 3461 4.1: default FAILURE, and DELAY as the sender's MTA likes */
        return true;
    while (slice_cut(&notify, ',', &one))
        if (slice_equal_nocase(slice_trim(one), slice_of(what)))
            return true;
    return false;
}

static bool is_reported(const struct email_recipient *r, bool delay)
{
    if (delay)
        return r->state == RECIPIENT_WAITING && !r->delay_sent && r->attempts > 0 && notify_wants(r->notify, "DELAY");
    return r->state == RECIPIENT_FAILED && !r->final_sent && notify_wants(r->notify, "FAILURE");
}

/* Replies of strangers inside our fields: one line, printable. */
static void append_clean(struct buf *out, struct slice text)
{
    text = slice_head(text, 400);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        (void)buf_append_char(out, c == '\r' || c == '\n' || c == '\t' ? ' ' : (unsigned char)c < 32 || c == 127 ? '?' : c);
    }
}

static void append_notice(struct buf *out, const struct job *job, bool delay)
{
    (void)buf_printf(out, "This is the mail system at %s.\r\n\r\n%s\r\n", bree.config->host,
                     delay ? "Your message could not be delivered yet. It is being tried again for up to five days;\r\n"
                             "you need not do anything. So far these recipients wait:\r\n"
                           : "Your message could not be delivered to these recipients:\r\n");
    for (size_t i = 0; i < job->email.recipient_count; i++) {
        const struct email_recipient *r = &job->email.recipients[i];

        if (!is_reported(r, delay))
            continue;
        (void)buf_printf(out, "<%.*s>: ", SLICE(r->address));
        if (r->mx.n > 0)
            (void)buf_printf(out, "host %.*s said: ", SLICE(r->mx));
        (void)buf_printf(out, "%lld ", (long long)r->code);
        append_clean(out, r->response);
        (void)buf_append_cstr(out, "\r\n\r\n");
    }
}

static void append_status(struct buf *out, const struct job *job, bool delay)
{
    const struct email_doc *e = &job->email;

    if (e->dsn_id.n > 0) {
        (void)buf_append_cstr(out, "Original-Envelope-Id: ");
        append_clean(out, e->dsn_id);
        (void)buf_append_cstr(out, "\r\n");
    }
    (void)buf_printf(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n\r\n", bree.config->host, date_format_rfc5322(e->created_at).s);
    for (size_t i = 0; i < e->recipient_count; i++) {
        const struct email_recipient *r = &e->recipients[i];

        if (!is_reported(r, delay))
            continue;
        if (r->orcpt.n > 0)
            (void)buf_printf(out, "Original-Recipient: %.*s\r\n", SLICE(r->orcpt));
        (void)buf_printf(out, "Final-Recipient: rfc822; %.*s\r\nAction: %s\r\nStatus: %.*s\r\n", SLICE(r->address), delay ? "delayed" : "failed",
                         SLICE(r->status.n > 0 ? r->status : delay ? LIT("4.0.0") : LIT("5.0.0")));
        if (r->mx.n > 0)
            (void)buf_printf(out, "Remote-MTA: dns; %.*s\r\n", SLICE(r->mx));
        (void)buf_printf(out, "Diagnostic-Code: smtp; %lld ", (long long)r->code);
        append_clean(out, r->response);
        (void)buf_printf(out, "\r\nLast-Attempt-Date: %s\r\n", date_format_rfc5322(r->updated_at).s);
        if (delay)
            (void)buf_printf(out, "Will-Retry-Until: %s\r\n", date_format_rfc5322(e->created_at + EXPIRY_MS).s);
        (void)buf_append_cstr(out, "\r\n");
    }
}

/* The header alone: whoever is written to here may not be who sent it (RFC 3461 6.2 allows it, and it stays small). */
static struct slice original_header(const struct job *job)
{
    struct slice h = buf_slice(&job->header);

    return h.n == 0 ? LIT("Subject: (not available)\r\n\r\n") : h;
}

static void append_message(struct buf *out, const struct job *job, bool delay, const char *id)
{
    const struct email_doc *e = &job->email;
    ptrdiff_t at = slice_rfind_char(e->from, '@');
    struct slice domain = slice_tail(e->from, (size_t)(at < 0 ? 0 : at + 1));

    (void)buf_printf(out, "From: Mail Delivery System <mailer-daemon@%.*s>\r\nTo: <%.*s>\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n"
                     "Subject: Delivery Status Notification (%s)\r\nAuto-Submitted: auto-replied\r\nX-Auto-Response-Suppress: All\r\n"
                     "Precedence: auto_reply\r\nMIME-Version: 1.0\r\n",
                     SLICE(domain), SLICE(e->from), date_format_rfc5322(clock_wall_ms()).s, id, bree.config->host, delay ? "Delayed" : "Failure");
    if (e->message_id.n > 0)
        (void)buf_printf(out, "In-Reply-To: <%.*s>\r\nReferences: <%.*s>\r\nX-Original-Message-ID: <%.*s>\r\n", SLICE(e->message_id),
                         SLICE(e->message_id), SLICE(e->message_id));
    (void)buf_printf(out, "Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_%s\"\r\n\r\n"
                     "--=_%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", id, id);
    append_notice(out, job, delay);
    (void)buf_printf(out, "--=_%s\r\nContent-Type: message/delivery-status\r\n\r\n", id);
    append_status(out, job, delay);
    (void)buf_printf(out, "--=_%s\r\nContent-Type: text/rfc822-headers\r\n\r\n%.*s\r\n--=_%s--\r\n", id, SLICE(original_header(job)), id);
}

static int enqueue(struct job *job, struct slice text, struct deadline until, struct fault *why)
{
    AUTO(store_blob_abort) struct store_blob *blob = store_blob_new(bree.store);
    struct email_recipient to = { .address = job->email.from, .notify = LIT("NEVER") };
    struct email_doc report = {
        .recipients = &to, .recipient_count = 1, .size_bytes = (int64_t)text.n, .subject = LIT("Delivery Status Notification"),
        .is_bounce = true, .is_dsn = true, .is_8bit = true, .is_smtputf8 = job->email.is_smtputf8, .date = clock_wall_ms(),
    };

    memcpy(report.alias, job->email.alias, sizeof(report.alias));
    memcpy(report.domain, job->email.domain, sizeof(report.domain));
    memcpy(report.user, job->email.user, sizeof(report.user));
    if (store_blob_write(blob, text, why) < 0 || email_enqueue(bree.store, &report, &blob, until, why) < 0)
        return -1;
    log_event(LOG_INFO, "smtp-bree.dsn", F_STR("msg", job->email.id), F_STR("report", report.id), F_SLICE("to", job->email.from));
    fiber_event_signal(&bree.wake);
    return 0;
}

int dsn_send(struct job *job, bool delay, struct deadline until, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(HEADER_MAX * 4);
    struct object_id id = object_id_new();
    size_t n = 0;

    for (size_t i = 0; i < job->email.recipient_count; i++)
        n += is_reported(&job->email.recipients[i], delay);
    if (n == 0)
        return 0;
    append_message(&text, job, delay, id.s);
    if (text.overflowed)
        return fault_set(why, FAULT_LIMIT, "report too large");
    if (enqueue(job, buf_slice(&text), until, why) < 0)
        return -1;
    for (size_t i = 0; i < job->email.recipient_count; i++) {
        struct email_recipient *r = &job->email.recipients[i];

        if (is_reported(r, delay))
            *(delay ? &r->delay_sent : &r->final_sent) = true;
    }
    return 0;
}
