/* job.c - one claimed message: its recipients grouped by destination, each told to the remote, each answer written down.
 *
 * Owns      struct job while the lease lasts. Called by the workers of main.c. Nothing here fails outwards: the message's state
 *           says what happened. Suspends.
 *
 * Crash-safe: an answer of a remote is in the store before the next transaction begins, so a runner killed at any point sends
 * nothing twice but what the remote took without its answer reaching the store (RFC 5321 4.2.5, 6.1).
 */
#include "bree.h"

#include "base/json.h"
#include "mail/idn.h"
#include "mail/srs.h"

struct bree bree;

static bool is_waiting(const struct email_recipient *r)
{
    return r->state == RECIPIENT_WAITING;
}

static struct slice domain_of(struct arena *a, struct slice address)
{
    ptrdiff_t at = slice_rfind_char(address, '@');
    struct slice domain;

    return at >= 0 && idn_to_ascii(a, slice_tail(address, (size_t)at + 1), &domain) ? domain : SLICE_NONE;
}

static size_t count_state(const struct email_doc *e, enum email_recipient_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < e->recipient_count; i++)
        n += e->recipients[i].state == state;
    return n;
}

/* ---- what one reply means -------------------------------------------------------------------------- */

static void set_reply(struct email_recipient *r, struct smtp_reply reply, struct slice mx)
{
    r->attempts++;
    r->updated_at = clock_wall_ms();
    r->code = reply.code;
    r->status = reply.enhanced != NULL ? slice_of(reply.enhanced) : SLICE_NONE;
    r->response = reply.text;
    r->mx = mx;
    if (reply.code >= 200 && reply.code < 300)
        r->state = RECIPIENT_ACCEPTED;
    else if (reply.code >= 500)
        r->state = RECIPIENT_FAILED;
}

/* No answer from anybody: our own words, and later again. */
static struct smtp_reply trouble_reply(struct arena *a, const struct fault *why)
{
    return (struct smtp_reply){ 421, why->code == FAULT_TIMEOUT ? "4.4.1" : "4.4.0", arena_copy(a, slice_of(why->text)) };
}

static void log_recipient(const struct job *job, const struct email_recipient *r, uint64_t took_us)
{
    static const char *const what[] = { "smtp-bree.deferred", "smtp-bree.sent", "smtp-bree.failed" };
    struct log_doc doc = {
        .level = r->state == RECIPIENT_ACCEPTED ? LIT("info") : LIT("warn"), .event = slice_of(what[r->state]), .message = r->response,
        .domain = slice_of(job->email.domain), .alias = slice_of(job->email.alias), .user = slice_of(job->email.user),
        .email = slice_of(job->email.id), .msg = slice_of(job->email.id), .mail_from = job->email.from, .rcpt_to = r->address,
        .message_id = job->email.message_id, .mx = r->mx, .response = r->response, .code = r->code,
    };

    log_event(LOG_INFO, what[r->state], F_STR("msg", job->email.id), F_SLICE("to", r->address), F_SLICE("mx", r->mx), F_INT("code", r->code),
              F_SLICE("response", r->response), F_INT("attempts", r->attempts), F_INT("took_us", took_us));
    log_doc_add(bree.store, &doc);
    metric_add(r->state == RECIPIENT_ACCEPTED ? bree.sent : r->state == RECIPIENT_FAILED ? bree.failed : bree.deferred, 1);
}

static json_t *delivery_entry(const struct email_recipient *r, const struct connection *c)
{
    json_t *d = json_object(), *mx = json_object(), *tls = json_object();

    json_set_slice(d, "recipient", r->address);
    json_set_slice(d, "date", slice_of(date_format_iso(clock_wall_ms()).s));
    json_set_slice(d, "response", r->response);
    json_set_int(d, "responseCode", r->code);
    json_set_slice(mx, "host", slice_of(c->host));
    json_set_slice(mx, "ip", slice_of(c->ip));
    json_set_int(mx, "priority", c->to.preference);
    json_object_set_new(d, "mx", mx);
    json_set_bool(tls, "enabled", smtp_client_is_tls(c->to.client));
    json_object_set_new(d, "tls", tls);
    return d;
}

/* ---- one destination ----------------------------------------------------------------------------------- */

struct batch {
    struct smtp_client_rcpt rcpts[TRANSACTION_RCPTS];
    size_t index[TRANSACTION_RCPTS];
    size_t count;
    struct slice domain;
};

static void batch_take(struct job *job, size_t first, struct batch *b)
{
    b->domain = domain_of(job->arena, job->email.recipients[first].address);
    b->count = 0;
    for (size_t i = first; i < job->email.recipient_count && b->count < TRANSACTION_RCPTS; i++) {
        struct email_recipient *r = &job->email.recipients[i];

        if (!is_waiting(r) || r->updated_at >= job->email.locked_at ||
            !slice_equal(domain_of(job->arena, r->address), b->domain))
            continue;
        b->rcpts[b->count] = (struct smtp_client_rcpt){ .address = r->address, .notify = dsn_parse_notify(r->notify), .orcpt = r->orcpt };
        b->index[b->count++] = i;
    }
}

static unsigned parse_ret(struct slice text)
{
    return slice_equal_nocase(text, LIT("FULL")) ? SMTP_RET_FULL : slice_equal_nocase(text, LIT("HDRS")) ? SMTP_RET_HDRS : SMTP_RET_NONE;
}

/* *begun: the remote may have taken the message. */
static int transact(struct job *job, struct batch *b, struct connection *c, struct deadline until, bool *begun, struct fault *why)
{
    AUTO(message_close) struct message_source *source = NULL;
    int r;
    struct smtp_client_mail mail = {
        .from = job->from, .size = job->header.n + job->body_bytes, .eight_bit = job->email.is_8bit,
        .smtputf8 = job->email.is_smtputf8, .requiretls = job->email.require_tls, .ret = (enum smtp_ret)parse_ret(job->email.dsn_return),
        .envid = job->email.dsn_id, .rcpts = b->rcpts, .rcpt_count = b->count, .pull = message_pull,
    };

    *begun = false;
    if (message_open(job, until, &source, why) < 0)
        return -1;
    mail.arg = source;
    r = smtp_client_send(c->to.client, &mail, job->arena, until, why);
    *begun = mail.data_sent;
    return r;
}

/* The remote had given up a connection that waited here: it is gone, or its good-bye (421) was the only answer. That says nothing
 * about the message, which goes over another connection at once.                                                              */
static bool was_given_up(const struct connection *c, const struct batch *b, int sent, const struct fault *trouble)
{
    if (!c->was_idle || smtp_client_is_usable(c->to.client))
        return false;
    for (size_t i = 0; i < b->count; i++)
        if (b->rcpts[i].reply.code != 0 && b->rcpts[i].reply.code != 421)
            return false;
    return sent == 0 || trouble->code == FAULT_CLOSED || trouble->code == FAULT_IO;
}

static void forget_replies(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        b->rcpts[i].reply = SMTP_OK;
        b->rcpts[i].accepted = false;
    }
}

/* A server that knows DSN has been told what to report and does it itself (RFC 3461 5.2.1). */
static bool remote_reports(const struct connection *c)
{
    return c != NULL && smtp_client_is_usable(c->to.client) && (smtp_client_extensions(c->to.client) & SMTP_EXT_DSN);
}

static void batch_note(struct job *job, struct batch *b, struct smtp_reply all, const struct connection *c, uint64_t started_us)
{
    for (size_t i = 0; i < b->count; i++) {
        struct email_recipient *r = &job->email.recipients[b->index[i]];
        struct smtp_reply reply = b->rcpts[i].reply.code != 0 ? b->rcpts[i].reply : all;

        reply.text = arena_copy(job->arena, reply.text);
        reply.enhanced = reply.enhanced != NULL ? arena_cstr(job->arena, slice_of(reply.enhanced)) : "";
        set_reply(r, reply, c != NULL ? arena_copy(job->arena, slice_of(c->host)) : SLICE_NONE);
        if (r->state == RECIPIENT_ACCEPTED && remote_reports(c))
            r->final_sent = true;
        log_recipient(job, r, clock_now_us() - started_us);
    }
}

/* Nothing is left to do but the final write, so the answers may wait for it. */
static bool batch_was_all(const struct job *job, const struct batch *b)
{
    if (b->count < job->email.recipient_count)
        return false;
    for (size_t i = 0; i < b->count; i++) {
        const struct email_recipient *r = &job->email.recipients[b->index[i]];

        if (r->state != RECIPIENT_ACCEPTED || (!r->final_sent && (dsn_parse_notify(r->notify) & SMTP_NOTIFY_SUCCESS)))
            return false;
    }
    return true;
}

static void batch_talk(struct job *job, struct batch *b, struct deadline until, struct connection **c, struct smtp_reply *all)
{
    struct wanted wanted = { b->domain, job->email.require_tls };
    struct fault trouble;
    bool begun;
    int sent;

    if (b->domain.n == 0) {
        *all = SMTP_REPLY(550, "5.1.3", "The recipient has no domain");
        return;
    }
    for (;;) {
        if (connection_get(&wanted, until, c, all, job->arena, &trouble) < 0) {
            if (all->code == 0)
                *all = trouble_reply(job->arena, &trouble);
            return;
        }
        sent = transact(job, b, *c, until, &begun, &trouble);
        if (begun || !was_given_up(*c, b, sent, &trouble))
            break;
        forget_replies(b);
        connection_put(c);
    }
    if (sent == 0)
        return;
    if (trouble.code == FAULT_INVALID)
        *all = (struct smtp_reply){ 554, "5.6.0", arena_copy(job->arena, slice_of(trouble.text)) };
    else
        *all = trouble_reply(job->arena, &trouble);
}

/* While the store is away the state waits for it, as long as the lease lasts: a remote's answer that is forgotten means a second copy.
 * False: it is no use, or too late.                                                                                       */
static bool store_again(const struct job *job, const struct fault *why)
{
    bool away = why->code == FAULT_UNAVAILABLE || why->code == FAULT_TIMEOUT || why->code == FAULT_IO || why->code == FAULT_DISK_FULL;

    if (!away || clock_now_ms() + STORE_AGAIN_MS > job->leased_at_ms + bree.config->lease_ms)
        return false;
    log_event(LOG_WARN, "smtp-bree.store_away", F_STR("msg", job->email.id), F_FAULT(why));
    return fiber_sleep_until(deadline_in_ms(STORE_AGAIN_MS), NULL) == 0;
}

static int save_progress(struct job *job, const json_t *entry, struct fault *why)
{
    int r;

    do
        r = email_save_progress(bree.store, &job->email, entry, deadline_in_ms(60000), why);
    while (r < 0 && store_again(job, why));
    return r;
}

static int finish(struct job *job, struct fault *why)
{
    bool again = false;
    int r;

    do {
        r = email_finish(bree.store, &job->email, job->delivery, deadline_in_ms(60000), why);
        if (r < 0 && why->code == FAULT_CONFLICT && again)
            return 0;                          /* the first time was done, its answer lost */
        again = true;
    } while (r < 0 && store_again(job, why));
    return r;
}

/* Sends to one destination. <0: the lease is lost or the store is away; stop. */
static int batch_send(struct job *job, struct batch *b, struct fault *why)
{
    AUTO(json_release) json_t *entry = NULL;
    uint64_t started = clock_now_us();
    struct smtp_reply all = SMTP_OK;
    struct connection *c = NULL;

    batch_talk(job, b, deadline_in_ms(transaction_ms()), &c, &all);
    batch_note(job, b, all, c, started);
    if (c != NULL && job->email.recipients[b->index[0]].state == RECIPIENT_ACCEPTED)
        entry = delivery_entry(&job->email.recipients[b->index[0]], c);
    connection_put(&c);
    metric_observe_us(bree.took, clock_now_us() - started);
    if (!batch_was_all(job, b))
        return save_progress(job, entry, why);
    job->delivery = entry;
    entry = NULL;
    return 0;
}

/* The lease always outlives the transaction that begins now, so that nobody else begins the same one. */
static int keep_lease(struct job *job, struct fault *why)
{
    if (clock_now_ms() - job->leased_at_ms < bree.config->lease_ms / 4)
        return 0;
    if (email_renew(bree.store, &job->email, bree.config->lease_ms, deadline_in_ms(60000), why) < 0)
        return -1;
    job->leased_at_ms = clock_now_ms();
    return 0;
}

static bool next_batch(struct job *job, size_t *at)
{
    for (; *at < job->email.recipient_count; (*at)++)
        if (is_waiting(&job->email.recipients[*at]) && job->email.recipients[*at].updated_at < job->email.locked_at)
            return true;
    return false;
}

static int send_all(struct job *job, struct fault *why)
{
    struct batch *b = ARENA_NEW(job->arena, struct batch);
    size_t at = 0;

    while (next_batch(job, &at)) {
        if (keep_lease(job, why) < 0)
            return -1;
        batch_take(job, at, b);
        if (batch_send(job, b, why) < 0)
            return -1;
    }
    return 0;
}

/* ---- the message's next state ------------------------------------------------------------------------------ */

/* 1, 2, 5, 10, 20, 40, 60 minutes, then hourly; a tenth more or less, so that a crowd does not come back together. */
static int64_t back_off_ms(int64_t attempts)
{
    static const int64_t minutes[] = { 1, 2, 5, 10, 20, 40, 60 };
    size_t i = attempts < 1 ? 0 : (size_t)attempts - 1;
    int64_t ms = minutes[i < COUNT(minutes) ? i : COUNT(minutes) - 1] * 60000;

    return ms - ms / 10 + (int64_t)random_below((uint64_t)ms / 5);
}

static int64_t expires_at(const struct email_doc *e)
{
    return (e->date > e->created_at ? e->date : e->created_at) + EXPIRY_MS;
}

static void fail_open(struct job *job, struct smtp_reply reply)
{
    for (size_t i = 0; i < job->email.recipient_count; i++) {
        struct email_recipient *r = &job->email.recipients[i];

        if (!is_waiting(r))
            continue;
        set_reply(r, reply, r->mx);
        log_recipient(job, r, 0);
    }
}

/* Nobody else ever said no, and no time limit passed: the refusal was ours. */
static bool was_refused_here(const struct email_doc *e)
{
    for (size_t i = 0; i < e->recipient_count; i++)
        if (e->recipients[i].mx.n > 0 || slice_equal(e->recipients[i].status, LIT("5.4.7")))
            return false;
    return true;
}

static void next_state(struct job *job)
{
    struct email_doc *e = &job->email;
    size_t waiting = count_state(e, RECIPIENT_WAITING), failed = count_state(e, RECIPIENT_FAILED);
    int64_t now = clock_wall_ms();

    e->attempts++;
    e->updated_at = now;
    if (waiting > 0) {
        e->status = LIT("deferred");
        e->next_attempt_at = now + back_off_ms(e->attempts);
        if (e->next_attempt_at > expires_at(e))
            e->next_attempt_at = expires_at(e);
        return;
    }
    e->next_attempt_at = 0;
    e->status = failed == 0 ? LIT("sent") : failed < e->recipient_count ? LIT("partially_sent")
              : was_refused_here(e) ? LIT("rejected") : LIT("bounced");
}

static void report_one(struct job *job, enum dsn_action action)
{
    struct fault why;

    if (dsn_send(job, action, deadline_in_ms(60000), &why) < 0)
        log_event(LOG_ERROR, "smtp-bree.dsn_failed", F_STR("msg", job->email.id), F_FAULT(&why));
}

static void report(struct job *job)
{
    if (job->email.is_bounce || job->email.from.n == 0)        /* never a bounce of a bounce (RFC 5321 4.5.5) */
        return;
    report_one(job, DSN_FAILED);
    report_one(job, DSN_RELAYED);
    if (clock_wall_ms() - job->email.created_at > DELAY_DSN_MS)
        report_one(job, DSN_DELAYED);
}

static bool is_blocked(const struct job *job, struct slice address)
{
    for (size_t i = 0; i < job->domain.smtp_emails_blocked_count; i++)
        if (slice_equal_nocase(job->domain.smtp_emails_blocked[i], address))
            return true;
    return false;
}

static void fail_blocked(struct job *job)
{
    for (size_t i = 0; i < job->email.recipient_count; i++) {
        struct email_recipient *r = &job->email.recipients[i];

        if (!is_waiting(r) || !is_blocked(job, r->address))
            continue;
        set_reply(r, SMTP_REPLY(550, "5.7.1", "This recipient is blocked for the sending domain"), SLICE_NONE);
        log_recipient(job, r, 0);
    }
}

/* Where the domain's return path was verified to lead to our MX, bounces come back in a form we can check (SRS). */
static struct slice envelope_sender(struct job *job)
{
    const struct domain_doc *d = &job->domain;

    if (bree.config->srs_secret == NULL || !d->has_return_path_record || d->return_path.n == 0)
        return job->email.from;
    return srs_encode(job->arena, bree.config->srs_secret, job->email.from,
                      arena_printf(job->arena, "%.*s.%.*s", SLICE(d->return_path), SLICE(d->name)), clock_wall_ms());
}

/* 0: send, 1: nothing is to be sent now. */
static int prepare(struct job *job, struct fault *why)
{
    struct deadline until = deadline_in_ms(transaction_ms());
    int r = directory_find_domain(bree.directory, slice_of(job->email.domain), job->arena, until, &job->domain, NULL, why);

    if (r < 0 && why->code == FAULT_NOT_FOUND) {
        fail_open(job, SMTP_REPLY(550, "5.7.1", "The sender's domain is no longer here"));
        return 1;
    }
    if (r < 0)
        return -1;
    if (clock_wall_ms() >= expires_at(&job->email)) {
        fail_open(job, SMTP_REPLY(550, "5.4.7", "Tried for five days without success"));
        return 1;
    }
    if (job->domain.is_smtp_suspended) {
        fail_open(job, SMTP_REPLY(451, "4.7.1", "Sending is suspended for this domain"));
        return 1;
    }
    fail_blocked(job);
    job->from = envelope_sender(job);
    return message_prepare(job, until, why);
}

void job_run(struct job *job)
{
    struct fault why;
    int r = prepare(job, &why);

    if (r == 0)
        r = send_all(job, &why);
    if (r < 0 && why.code == FAULT_CONFLICT) {
        log_event(LOG_WARN, "smtp-bree.lease_lost", F_STR("msg", job->email.id));
        job->lost = true;
        return;
    }
    if (r < 0) {                               /* key, blob or store: ours to mend, so later again */
        log_event(LOG_ERROR, "smtp-bree.attempt_failed", F_STR("msg", job->email.id), F_FAULT(&why));
        if (clock_wall_ms() >= expires_at(&job->email))
            fail_open(job, SMTP_REPLY(550, "5.4.7", "Tried for five days without success"));
    }
    report(job);
    next_state(job);
}

void job_finish(struct job *job)
{
    struct fault why;

    if (job->lost)
        return;
    if (finish(job, &why) < 0)
        log_event(LOG_ERROR, "smtp-bree.finish_failed", F_STR("msg", job->email.id), F_FAULT(&why));
}
