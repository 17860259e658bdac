/* dsn.c - the text of notifications: multipart/report with a notice, a machine's part and the original (RFC 3462, 3464).
 *
 * Owns nothing. Called by smtp-bree. Remote replies are cleaned to printable text on one line. Never fails, never suspends.
 */
#include "mail/dsn.h"

#include "base/buf.h"
#include "base/encode.h"
#include "base/secret.h"
#include "base/time.h"
#include "wire/rfc5322.h"

#define DSN_TEXT_MAX   ((size_t)4 << 20)
#define DIAGNOSTIC_MAX 1000
#define LINE_MAX_BYTES 900               /* RFC 5322 2.1.1 allows 998 */

struct words { const char *subject, *headline, *advice, *action, *status; };

static const struct words *words_of(enum dsn_action action)
{
    static const struct words words[] = {
        [DSN_FAILED] = { "Failure", "Your message could not be delivered to the recipients below.",
                         "No further attempt will be made.", "failed", "5.0.0" },
        [DSN_DELAYED] = { "Delayed", "Your message could not be delivered yet to the recipients below.",
                          "You need not do anything: delivery will be tried again.", "delayed", "4.0.0" },
        [DSN_DELIVERED] = { "Success", "Your message was delivered to the recipients below.", "", "delivered", "2.0.0" },
        [DSN_RELAYED] = { "Success", "Your message was handed to a server that sends no notifications, for the recipients below.",
                          "Whether they got it is not known here.", "relayed", "2.0.0" },
    };

    return &words[action];
}

/* Printable text on one line. */
static struct slice clean(struct arena *a, struct slice s)
{
    struct slice copy = arena_copy(a, slice_head(s, DIAGNOSTIC_MAX));
    char *p = (char *)(uintptr_t)copy.p;
    bool utf8 = slice_is_utf8(copy);

    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)p[i] < 32 || p[i] == 127 || (!utf8 && (unsigned char)p[i] >= 128))
            p[i] = ' ';
    return slice_trim(copy);
}

static struct slice clean_ascii(struct arena *a, struct slice s)
{
    struct slice copy = clean(a, s);
    char *p = (char *)(uintptr_t)copy.p;

    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)p[i] >= 128)
            p[i] = '?';
    return copy;
}

static struct slice clean_line(struct arena *a, struct slice s)
{
    return slice_head(clean_ascii(a, s), LINE_MAX_BYTES);
}

struct slice dsn_find_status(struct slice text)
{
    size_t i = 0, dots = 0;

    if (text.n < 5 || (text.p[0] != '2' && text.p[0] != '4' && text.p[0] != '5') || text.p[1] != '.')
        return SLICE_NONE;
    for (i = 1; i < text.n; i++) {
        if (text.p[i] == '.')
            dots++;
        else if (!ascii_is_digit(text.p[i]))
            break;
        if (text.p[i] == '.' && (i + 1 >= text.n || !ascii_is_digit(text.p[i + 1])))
            return SLICE_NONE;
    }
    if (dots != 2 || i > 9 || (i < text.n && text.p[i] != ' '))            /* RFC 3463 2: up to three digits each */
        return SLICE_NONE;
    return slice_head(text, i);
}

/* ---- the three parts --------------------------------------------------------------------------------------------- */

static void append_failed_recipients(struct buf *out, struct arena *a, const struct dsn *d)
{
    bool success = d->recipients[0].action >= DSN_DELIVERED;

    (void)buf_append_cstr(out, success ? "X-Successful-Recipients:" : "X-Failed-Recipients:");
    for (size_t i = 0; i < d->recipient_count; i++)
        (void)buf_printf(out, "%s %.*s", i ? ",\r\n" : "", SLICE(clean(a, d->recipients[i].address)));
    (void)buf_append_cstr(out, "\r\n");
}

static void append_header(struct buf *out, struct arena *a, const struct dsn *d, struct slice boundary)
{
    struct slice original = clean_line(a, d->original_id), envid = clean_line(a, d->envid);

    (void)buf_printf(out, "From: Mail Delivery Subsystem <%.*s>\r\n", SLICE(d->from));
    (void)buf_printf(out, "To: <%.*s>\r\n", SLICE(d->to));
    (void)buf_printf(out, "Subject: Delivery Status Notification (%s)\r\n", words_of(d->recipients[0].action)->subject);
    (void)buf_printf(out, "Date: %s\r\n", date_format_rfc5322(d->now_ms).s);
    (void)buf_printf(out, "Message-ID: <%.*s>\r\n", SLICE(d->message_id));
    if (original.n) {
        (void)buf_printf(out, "In-Reply-To: <%.*s>\r\nReferences: <%.*s>\r\n", SLICE(original), SLICE(original));
        (void)buf_printf(out, "X-Original-Message-ID: <%.*s>\r\n", SLICE(original));
    }
    if (envid.n)
        (void)buf_printf(out, "X-DSN-Envelope-ID: %.*s\r\n", SLICE(envid));
    (void)buf_append_cstr(out, "Precedence: auto_reply\r\nAuto-Submitted: auto-replied\r\nX-Auto-Response-Suppress: All\r\n");
    append_failed_recipients(out, a, d);
    (void)buf_printf(out, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%.*s\"\r\n", SLICE(boundary));
    if (d->eight_bit)
        (void)buf_append_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_cstr(out, "\r\n");
}

static void append_notice(struct buf *out, struct arena *a, const struct dsn *d, struct slice boundary)
{
    const struct words *w = words_of(d->recipients[0].action);

    (void)buf_printf(out, "--%.*s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", SLICE(boundary));
    (void)buf_printf(out, "This is the mail system at %.*s.\r\n\r\n%s\r\n", SLICE(d->reporting_mta), w->headline);
    if (w->advice[0])
        (void)buf_printf(out, "%s\r\n", w->advice);
    for (size_t i = 0; i < d->recipient_count; i++) {
        const struct dsn_recipient *r = &d->recipients[i];
        struct slice why = slice_head(clean_line(a, r->diagnostic), LINE_MAX_BYTES - 100);

        (void)buf_printf(out, "\r\n<%.*s>\r\n", SLICE(clean(a, r->address)));
        if (r->is_reply && r->remote_mta.n)
            (void)buf_printf(out, "    host %.*s said: %.*s\r\n", SLICE(clean_line(a, r->remote_mta)), SLICE(why));
        else if (why.n)
            (void)buf_printf(out, "    %.*s\r\n", SLICE(why));
        if (r->action == DSN_DELAYED && r->retry_until_ms)
            (void)buf_printf(out, "    Attempts go on until %s.\r\n", date_format_rfc5322(r->retry_until_ms).s);
    }
    (void)buf_append_cstr(out, "\r\n");
}

/* RFC 3464 2.3.2, RFC 6533 3 */
static const char *address_type(struct slice address)
{
    return slice_is_ascii(address) ? "rfc822" : "utf-8";
}

static void append_recipient(struct buf *out, struct arena *a, const struct dsn_recipient *r, struct slice queue_id)
{
    const struct words *w = words_of(r->action);
    struct slice status = dsn_find_status(r->status);
    struct slice why = clean_line(a, r->diagnostic);

    (void)buf_append_cstr(out, "\r\n");
    if (r->orcpt.n)
        (void)buf_printf(out, "Original-Recipient: %.*s\r\n", SLICE(clean(a, r->orcpt)));
    (void)buf_printf(out, "Final-Recipient: %s; %.*s\r\n", address_type(r->address), SLICE(clean(a, r->address)));
    (void)buf_printf(out, "Action: %s\r\n", w->action);
    (void)buf_printf(out, "Status: %.*s\r\n", SLICE(status.n ? status : slice_of(w->status)));
    if (r->remote_mta.n)
        (void)buf_printf(out, "Remote-MTA: dns; %.*s\r\n", SLICE(clean_line(a, r->remote_mta)));
    if (why.n && r->is_reply)
        (void)buf_printf(out, "Diagnostic-Code: smtp; %.*s\r\n", SLICE(why));
    else if (why.n)
        (void)buf_printf(out, "Diagnostic-Code: X-Local; %.*s\r\n", SLICE(why));
    if (r->last_attempt_ms)
        (void)buf_printf(out, "Last-Attempt-Date: %s\r\n", date_format_rfc5322(r->last_attempt_ms).s);
    if (queue_id.n)
        (void)buf_printf(out, "Final-Log-ID: %.*s\r\n", SLICE(queue_id));
    if (r->action == DSN_DELAYED && r->retry_until_ms)
        (void)buf_printf(out, "Will-Retry-Until: %s\r\n", date_format_rfc5322(r->retry_until_ms).s);
}

static void append_status(struct buf *out, struct arena *a, const struct dsn *d, struct slice boundary, bool utf8)
{
    (void)buf_printf(out, "--%.*s\r\nContent-Type: message/%sdelivery-status\r\n", SLICE(boundary), utf8 ? "global-" : "");
    if (utf8)
        (void)buf_append_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_cstr(out, "\r\n");
    if (d->envid.n)
        (void)buf_printf(out, "Original-Envelope-Id: %.*s\r\n", SLICE(clean_line(a, d->envid)));
    (void)buf_printf(out, "Reporting-MTA: dns; %.*s\r\n", SLICE(d->reporting_mta));
    if (d->arrival_ms)
        (void)buf_printf(out, "Arrival-Date: %s\r\n", date_format_rfc5322(d->arrival_ms).s);
    for (size_t i = 0; i < d->recipient_count; i++)
        append_recipient(out, a, &d->recipients[i], d->queue_id);
    (void)buf_append_cstr(out, "\r\n");
}

static void append_original_head(struct buf *out, const struct dsn *d, struct slice boundary, bool utf8)
{
    const char *type = d->full ? (utf8 ? "message/global" : "message/rfc822") : (utf8 ? "message/global-headers" : "text/rfc822-headers");

    (void)buf_printf(out, "--%.*s\r\nContent-Type: %s\r\n", SLICE(boundary), type);
    if (d->eight_bit || utf8)
        (void)buf_append_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_cstr(out, "\r\n");
}

static bool has_utf8_address(const struct dsn *d)
{
    bool ascii = slice_is_ascii(d->to);

    for (size_t i = 0; ascii && i < d->recipient_count; i++)
        ascii = slice_is_ascii(d->recipients[i].address) && slice_is_ascii(d->recipients[i].orcpt);
    return !ascii;
}

void dsn_format(struct arena *a, const struct dsn *d, struct dsn_text *out)
{
    AUTO(buf_free) struct buf text = BUF_INIT(DSN_TEXT_MAX);
    unsigned char noise[16];
    struct slice boundary;

    random_bytes(noise, sizeof(noise));               /* the original was written before this was known */
    boundary = arena_printf(a, "=_dsn_%.*s", SLICE(hex_encode(a, slice_make(noise, sizeof(noise)))));
    out->smtputf8 = has_utf8_address(d);
    append_header(&text, a, d, boundary);
    append_notice(&text, a, d, boundary);
    append_status(&text, a, d, boundary, out->smtputf8);
    append_original_head(&text, d, boundary, out->smtputf8);
    out->begin = arena_copy(a, buf_slice(&text));
    out->end = arena_printf(a, "\r\n--%.*s--\r\n", SLICE(boundary));
}
