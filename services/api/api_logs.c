/* api_logs.c - GET /v1/logs/download: the deliverability report, made in the background and mailed to the account's address.
 *
 * Owns      one report at a time, with its arena, on a fiber of its own; REPORTS_WAITING_MAX wait.
 * Fails     in the background only into the log: the caller has its answer by then. Suspends for the store.
 */
#include "api.h"

#include <stdlib.h>
#include <time.h>

#include "account/log_report.h"
#include "base/encode.h"

#define REPORT_MS           120000u
#define REPORTS_WAITING_MAX 20
#define LINE_BYTES          57u                /* of base64, 76 characters */

struct report {
    struct api *api;
    struct arena *arena;                       /* everything below */
    struct user_doc user;
    struct log_report_query query;
    struct slice request_id;
    char domain_id[25];
    size_t rows;
};

static struct fiber_mutex one_at_a_time;
static unsigned waiting;

/* ---- the mail -------------------------------------------------------------------------------------------- */

/* email-deliverability-logs-2026-11-24-7-05-pm-utc.csv.gz */
static struct slice file_name(struct arena *a, int64_t now_ms)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;

    if (gmtime_r(&now, &tm) == NULL)
        return LIT("email-deliverability-logs.csv.gz");
    return arena_printf(a, "email-deliverability-logs-%04d-%02d-%02d-%d-%02d-%s-utc.csv.gz", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                        tm.tm_hour % 12 == 0 ? 12 : tm.tm_hour % 12, tm.tm_min, tm.tm_hour < 12 ? "am" : "pm");
}

static int write_base64(struct store_blob *blob, struct slice gz, struct fault *why)
{
    while (gz.n > 0) {
        AUTO(arena_free) struct arena *a = arena_new(64 << 10);
        AUTO(buf_free) struct buf lines = BUF_INIT(64 << 10);

        for (size_t i = 0; i < 400 && gz.n > 0; i++) {
            (void)buf_append(&lines, base64_encode(a, slice_head(gz, LINE_BYTES)));
            (void)buf_append(&lines, LIT("\r\n"));
            gz = slice_tail(gz, LINE_BYTES);
        }
        if (store_blob_write(blob, buf_slice(&lines), why) < 0)
            return -1;
    }
    return 0;
}

static struct slice before(const struct report *r, const struct email_doc *mail, int64_t now_ms, const char *boundary)
{
    return arena_printf(r->arena,
                        "Date: %s\r\nFrom: %.*s\r\nTo: %.*s\r\nSubject: %.*s\r\nMessage-ID: <%.*s>\r\nAuto-Submitted: auto-generated\r\n"
                        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n"
                        "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                        "The report you asked for is attached: %zu entries, as compressed CSV. It names senders, recipients and the\r\n"
                        "answers of mail servers; contents and subjects of mails are never logged.\r\n\r\n"
                        "--%s\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
                        "Content-Disposition: attachment; filename=\"%.*s\"\r\n\r\n",
                        date_format_rfc5322(now_ms).s, SLICE(mail->from), SLICE(r->user.email), SLICE(mail->subject), SLICE(mail->message_id), boundary,
                        boundary, r->rows, boundary, SLICE(file_name(r->arena, now_ms)));
}

/* From the postmaster of the domain that it is about, signed like that domain's mail. */
static int fill(struct report *r, struct email_doc *mail, struct email_recipient *to, struct fault *why)
{
    struct domain_doc d;

    if (domain_find(r->api->store, slice_of(r->domain_id), r->arena, deadline_in_ms(REPORT_MS), &d, why) < 0)
        return -1;
    *to = (struct email_recipient){ .address = r->user.email, .notify = LIT("NEVER") };
    *mail = (struct email_doc){
        .from = arena_printf(r->arena, "postmaster@%.*s", SLICE(d.name)), .recipients = to, .recipient_count = 1,
        .subject = LIT("Email deliverability logs"), .message_id = arena_printf(r->arena, "%s@%.*s", object_id_new().s, SLICE(d.name)),
        .date = clock_wall_ms(),
    };
    memcpy(mail->domain, d.id, sizeof(mail->domain));
    memcpy(mail->user, r->user.id, sizeof(mail->user));
    return 0;
}

static int send_report(struct report *r, struct slice gz, struct fault *why)
{
    AUTO(store_blob_abort) struct store_blob *blob = NULL;
    struct email_recipient to;
    struct email_doc mail;
    char boundary[64];
    struct slice head, end;
    struct fault ignored;

    if (fill(r, &mail, &to, why) < 0)
        return -1;
    (void)snprintf(boundary, sizeof(boundary), "report-%s", object_id_new().s);
    head = before(r, &mail, clock_wall_ms(), boundary);
    end = arena_printf(r->arena, "--%s--\r\n", boundary);
    mail.size_bytes = (int64_t)(head.n + end.n + (gz.n + LINE_BYTES - 1) / LINE_BYTES * 2 + (gz.n + 2) / 3 * 4);
    blob = store_blob_new(r->api->store);
    if (store_blob_write(blob, head, why) < 0 || write_base64(blob, gz, why) < 0 || store_blob_write(blob, end, why) < 0 ||
        email_enqueue(r->api->store, &mail, &blob, deadline_in_ms(REPORT_MS), why) < 0)
        return -1;
    log_event(LOG_INFO, "api.report", F_SLICE("request", r->request_id), F_STR("user", r->user.id), F_STR("msg", mail.id), F_INT("rows", r->rows),
              F_INT("bytes", mail.size_bytes));
    if (r->api->redis != NULL)
        (void)redis_publish(r->api->redis, LIT("queue"), arena_printf(r->arena, "{\"id\":\"%s\"}", mail.id), &ignored);
    return 0;
}

/* ---- in the background --------------------------------------------------------------------------------------- */

static int make(struct report *r, struct fault *why)
{
    AUTO(buf_free) struct buf gz = BUF_INIT(LOG_REPORT_BYTES_MAX);

    if (log_report_write(r->api->store, slice_of(r->user.id), &r->query, deadline_in_ms(REPORT_MS), &gz, &r->rows, r->domain_id, why) < 0)
        return -1;
    return send_report(r, buf_slice(&gz), why);
}

static void run(void *arg)
{
    struct report *r = arg;
    struct arena *arena = r->arena;
    struct fault why;
    int done;

    done = fiber_mutex_lock(&one_at_a_time, DEADLINE_NEVER, &why);
    if (done == 0) {
        done = make(r, &why);
        fiber_mutex_unlock(&one_at_a_time);
    }
    if (done < 0)
        log_event(LOG_WARN, "api.report.failed", F_SLICE("request", r->request_id), F_STR("user", r->user.id), F_FAULT(&why));
    waiting--;
    arena_free(&arena);
}

static struct report *report_new(struct api_call *c)
{
    struct arena *a = arena_new(0);
    struct report *r = ARENA_NEW(a, struct report);
    const char *key = api_has(c, "domains") ? "domains" : "domain";
    struct slice *names, *copies;
    size_t count = api_strings(c, key, &names);
    int64_t code;

    copies = ARENA_ARRAY(a, struct slice, count + 1);
    for (size_t i = 0; i < count; i++)
        copies[i] = arena_lower(a, names[i]);
    if (!api_int(c, "response_code", 0, 999, 0, &code))
        code = 0;
    *r = (struct report){
        .api = c->api, .arena = a, .request_id = arena_copy(a, c->request_id),
        .query = { .q = arena_copy(a, api_text(c, "q")), .domains = copies, .domain_count = count, .code = code },
    };
    r->user.email = arena_copy(a, c->user.email);
    memcpy(r->user.id, c->user.id, sizeof(r->user.id));
    return r;
}

static int download(struct api_call *c, struct fault *why)
{
    struct report *r = report_new(c);
    struct arena *arena = r->arena;

    if (log_report_check(c->api->store, slice_of(c->user.id), &r->query, c->until, why) < 0) {
        arena_free(&arena);
        return why->code == FAULT_NOT_FOUND ? api_refuse(c, 400, "NO_RESULTS_FOUND") : -1;
    }
    if (waiting >= REPORTS_WAITING_MAX || fiber_start("api.report", run, r, why) < 0) {
        arena_free(&arena);
        return api_refuse(c, 503, "Too many reports are being made. Please try again in a few minutes.");
    }
    waiting++;
    return api_reply_text(c, LIT("Your report is being made and will be e-mailed to you shortly."));
}

static const struct api_param params[] = {
    { "domain", API_STRING, true, false, "only this domain" },
    { "domains", API_STRINGS, true, false, "only these domains, comma separated" },
    { "q", API_STRING, true, false, "an address, domain, IP, date (M/D or M/D/YY) or words of an answer" },
    { "response_code", API_INTEGER, true, false, "only answers with this code" },
    { .name = NULL },
};

const struct api_route log_routes[] = {
    { .method = "GET", .path = "/v1/logs/download", .auth = API_TOKEN, .per_day = 20, .handle = download, .params = params, .answer = "text",
      .operation = "downloadLogs", .summary = "Mails a compressed CSV of what happened to the mail of your domains to the account's address.",
      .statuses = "400 503" },
    { .path = NULL },
};
const char log_schemas[] = "{}";
