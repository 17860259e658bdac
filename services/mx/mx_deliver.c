/* mx_deliver.c - see mx_deliver.h. The body goes to the mailbox server once, then each mailbox
 * commits; forwards run beside.
 *
 * Owns      the streams and fibers of one delivery; all have ended when it returns.
 * Called by mx_session.c. What can fail: each target on its own. Suspends throughout.
 */
#include "mx_deliver.h"

#include "base/encode.h"

#include "mx_forward.h"
#include "mx_marks.h"
#include "mx_seal.h"
#include "mail/received.h"
#include "mx_trace.h"
#include "rt/fiber.h"

#define WORKERS 4 /* targets served at once, of each kind */

/* ---- content
 * -------------------------------------------------------------------------------------------------------
 */

void mx_content_open(struct mx_content *c, const struct mx_mail *m, struct slice prefix)
{
    *c =
        (struct mx_content){prefix, m->new_header, spool_reader_new(m->spool, m->header_length), 0};
}

int mx_content_pull(void *content, struct slice *piece, struct fault *why)
{
    struct mx_content *c = content;

    if (c->step < 2) {
        *piece = c->step == 0 ? c->prefix : c->header;
        c->step++;
        return 1;
    }
    return spool_reader_next(c->body, piece, why);
}

void mx_content_close(struct mx_content *c)
{
    spool_reader_free(&c->body);
}

uint64_t mx_content_size(const struct mx_mail *m, struct slice prefix)
{
    return prefix.n + m->new_header.n + (spool_size_bytes(m->spool) - m->header_length);
}

static struct slice received_for(struct mx_mail *m, struct slice rcpt)
{
    const struct smtp_session *s = m->s;

    return received_format(
        m->arena,
        &(struct received){
            .helo = s->helo,
            .ip = slice_of(stream_peer(s->stream)->ip),
            .ptr = slice_of(m->conn->ptr),
            .by = slice_of(m->mx->config->host),
            .software = LIT("Forward Email"),
            .protocol = slice_of(received_protocol(s->esmtp, s->tls, false, s->mail.smtputf8)),
            .id = slice_of(m->id),
            .recipient = rcpt,
            .tls_version = slice_of(stream_tls_version(s->stream)),
            .tls_cipher = slice_of(stream_tls_cipher(s->stream)),
            .now_ms = clock_wall_ms(),
        });
}

struct slice mx_prefix_for(struct mx_mail *m, const struct mx_target *t)
{
    AUTO(buf_free) struct buf out = BUF_INIT(65536);
    const struct mx_config *config = m->mx->config;

    if (t->kind == MX_MAILBOX) /* RFC 5321 4.4: final delivery */
        (void)buf_printf(&out, "Return-Path: <%.*s>\r\n", SLICE(m->s->mail.from.address));
    (void)buf_printf(&out, "X-Original-To: %.*s\r\n", SLICE(t->rcpt));
    (void)buf_append(&out, received_for(m, t->rcpt));
    if (t->kind == MX_FORWARD)
        (void)buf_append(&out, m->seal);
    (void)buf_append(&out, m->authres);
    (void)buf_append(&out, mx_trace_sender(m->arena, m->s->mail.from.address, m->conn->ptr,
                                           stream_peer(m->s->stream)->ip));
    if (config->website[0] != '\0')
        (void)buf_printf(&out, "X-Forward-Email-Website: %s\r\n", config->website);
    if (config->abuse[0] != '\0')
        (void)buf_printf(&out, "X-Complaints-To: %s\r\nX-Report-Abuse-To: %s\r\n", config->abuse,
                         config->abuse);
    return arena_copy(m->arena, buf_slice(&out));
}

/* ---- targets
 * --------------------------------------------------------------------------------------------------------
 */

/* Enough of the mark to find the message again when it leaves the sealed log. */
static struct slice mark_text(const struct mx_mail *m, const struct mx_target *t)
{
    return hex_encode(m->arena, slice_make(t->mark, 8));
}

/* What was found out about the sender, how it came in, and where it lies. */
static struct slice meta_text(const struct mx_mail *m, const struct mx_target *t)
{
    AUTO(json_release) json_t *meta = json_object();
    AUTO(buf_free) struct buf out = BUF_INIT(4096);

    for (size_t i = m->result_count; i-- > 0;) /* the first of each method stays */
        (void)json_set_slice(meta, m->results[i].method, slice_of(m->results[i].result));
    (void)json_set_slice(meta, "tls", slice_of(stream_tls_version(m->s->stream)));
    (void)json_set_int(meta, "bytes", (int64_t)spool_size_bytes(m->spool));
    if (t->kind == MX_MAILBOX && t->reply.code < 400) {
        (void)json_set_int(meta, "uid", t->stored.uid);
        (void)json_set_bool(meta, "sealed", t->stored.sealed);
        (void)json_set_bool(meta, "duplicate", t->stored.duplicate);
    }
    (void)json_format(meta, &out);
    return arena_copy(m->arena, buf_slice(&out));
}

/* For the owner of the domain: what came of their mail, kept for some days; never its contents. */
static void tell_owner(const struct mx_mail *m, const struct mx_target *t)
{
    struct slice meta = meta_text(m, t);

    log_doc_add(m->mx->store,
                &(struct log_doc){
                    .level = t->reply.code < 400   ? LIT("info")
                             : t->reply.code < 500 ? LIT("warn")
                                                   : LIT("error"),
                    .event = t->reply.code < 400 ? LIT("mx.delivered") : LIT("mx.failed"),
                    .message = t->reply.text,
                    .domain = slice_of(t->domain_id),
                    .alias = t->alias_id,
                    .session = slice_of(m->s->id),
                    .msg = slice_of(m->id),
                    .mail_from = m->s->mail.from.address,
                    .rcpt_to = t->rcpt,
                    .client_ip = slice_of(stream_peer(m->s->stream)->ip),
                    .client_host = slice_of(m->conn->ptr),
                    .mark = t->kind == MX_MAILBOX ? mark_text(m, t) : SLICE_NONE,
                    .target = t->address,
                    .mx = t->remote,
                    .response = t->said,
                    .code = t->reply.code,
                    .meta = meta,
                });
}

static void log_outcome(const struct mx_mail *m, const struct mx_target *t, uint64_t since_us)
{
    struct metric *done = t->kind == MX_MAILBOX ? m->mx->delivered : m->mx->forwarded;
    uint64_t took = clock_now_us() - since_us;

    metric_add(t->reply.code < 400   ? done
               : t->reply.code < 500 ? m->mx->deferred
                                     : m->mx->refused,
               1);
    metric_observe_us(m->mx->took, took);
    log_event(t->reply.code < 400 ? LOG_INFO : LOG_WARN, "mx.delivery", F_ID("conn", m->s->id),
              F_ID("msg", m->id), F_STR("kind", t->kind == MX_MAILBOX ? "mailbox" : "forward"),
              F_SLICE("from", m->s->mail.from.address), F_SLICE("to", t->rcpt),
              F_SLICE("alias", t->alias_id), F_SLICE("target", t->address),
              F_INT("code", t->reply.code), F_SLICE("said", t->reply.text),
              F_INT("uid", t->stored.uid), F_BOOL("sealed", t->stored.sealed),
              F_SLICE("mark", t->kind == MX_MAILBOX ? mark_text(m, t) : SLICE_NONE),
              F_SLICE("mx", t->remote), F_SLICE("response", t->said),
              F_INT("bytes", spool_size_bytes(m->spool)), F_INT("took_us", took));
    tell_owner(m, t);
}

static struct smtp_reply reply_for_fault(const struct fault *why)
{
    switch (why->code) {
    case FAULT_NOT_FOUND: /* storage is on, but no password was ever set: no key to seal to */
        return SMTP_REPLY(450, "4.2.1", "The mailbox is not set up yet");
    case FAULT_QUOTA:
        return SMTP_REPLY(452, "4.2.2", "The mailbox is over its quota");
    case FAULT_DISK_FULL:
        return SMTP_REPLY(452, "4.3.1", "Insufficient system storage");
    case FAULT_LIMIT:
        return SMTP_REPLY(552, "5.3.4", "The message is too large for this mailbox");
    default:
        return SMTP_REPLY(451, "4.3.0", "The mailbox is not available, try again later");
    }
}

struct batch {
    struct mx_mail *m;
    struct mx_target *next; /* first that nobody took yet */
    enum mx_kind kind;
    struct mailbox_deliver *stream; /* for mailboxes */
};

static struct mx_target *take(struct batch *b)
{
    struct mx_target *t = b->next;

    while (t && (t->kind != b->kind || t->reply.code != 0))
        t = t->next;
    b->next = t ? t->next : NULL;
    return t;
}

static void store_one(struct batch *b, struct mx_target *t)
{
    struct mailbox_delivery to = {
        .alias_id = t->alias_id,
        .public_key = t->public_key,
        .mark = slice_make(t->mark, sizeof(t->mark)),
        .quota_bytes = t->quota_bytes,
        .arrived_ms = clock_wall_ms(),
        .msg = slice_of(b->m->id),
    };
    struct fault why = {0};

    if (mailbox_deliver_to(b->stream, &to, mx_prefix_for(b->m, t), &t->stored, &why) < 0) {
        log_event(LOG_WARN, "mx.store.failed", F_ID("msg", b->m->id), F_SLICE("alias", t->alias_id),
                  F_FAULT(&why));
        t->reply = reply_for_fault(&why);
        return;
    }
    t->reply = SMTP_REPLY(250, "2.0.0", "stored");
    if (t->stored.duplicate)
        t->reply.text = LIT("stored before");
}

/* A forward that was done on an earlier attempt is done. With one target only there is nothing to
 * remember: what is accepted is answered 250, and a failure is retried as a whole. */
static void forward_one(struct batch *b, struct mx_target *t)
{
    struct mx_mail *m = b->m;
    struct fault why = {0};
    int before = m->target_count > 1 ? mx_marks_find(m, t, &why) : 0;

    if (before < 0) {
        t->reply = SMTP_REPLY(451, "4.3.0", "Try again later");
    } else if (before > 0) {
        t->reply = SMTP_REPLY(250, "2.0.0", "forwarded before");
    } else {
        t->reply = mx_forward(m, t);
        if (t->reply.code < 300 && m->target_count > 1 && mx_marks_put(m, t, &why) < 0)
            log_event(LOG_ERROR, "mx.mark.failed", F_ID("msg", m->id), F_FAULT(&why));
    }
}

static void work(void *arg)
{
    struct batch *b = arg;
    struct mx_target *t;

    while ((t = take(b)) != NULL) {
        uint64_t since = clock_now_us();

        if (deadline_is_past(b->m->until))
            t->reply = SMTP_REPLY(451, "4.4.7", "Delivery takes too long, try again later");
        else if (b->kind == MX_MAILBOX)
            store_one(b, t);
        else
            forward_one(b, t);
        log_outcome(b->m, t, since);
    }
}

static void fail_batch(struct batch *b, const struct fault *why)
{
    struct mx_target *t;

    log_event(LOG_WARN, "mx.store.failed", F_ID("msg", b->m->id), F_FAULT(why));
    while ((t = take(b)) != NULL) {
        t->reply = reply_for_fault(why);
        log_outcome(b->m, t, clock_now_us());
    }
}

static size_t count_kind(const struct mx_mail *m, enum mx_kind kind)
{
    size_t n = 0;

    for (const struct mx_target *t = m->first; t; t = t->next)
        n += t->kind == kind;
    return n;
}

static void start_workers(struct fiber_group *group, struct batch *b, const char *name)
{
    size_t n = count_kind(b->m, b->kind);
    struct fault why;

    for (size_t i = 0; i < n && i < WORKERS; i++)
        if (fiber_group_start(group, name, work, b, &why) < 0) {
            if (i == 0)
                work(b); /* no fiber to spare: one after the other, here */
            return;
        }
}

/* ---- mailboxes
 * -------------------------------------------------------------------------------------------------------
 */

static int stream_body(struct mx_mail *m, struct mailbox_deliver **out, struct fault *why)
{
    AUTO(mx_content_close) struct mx_content content = {0};
    struct slice piece;
    int r;

    if (mailbox_deliver_begin(m->mx->mailboxes, mx_content_size(m, SLICE_NONE), m->until, out,
                              why) < 0)
        return -1;
    mx_content_open(&content, m, SLICE_NONE);
    while ((r = mx_content_pull(&content, &piece, why)) > 0)
        if (piece.n > 0 && mailbox_deliver_write(*out, piece, why) < 0)
            return -1;
    return r;
}

/* On a fiber of its own, beside the forwards. */
static void store_all(void *arg)
{
    struct batch *b = arg;
    AUTO(mailbox_deliver_end) struct mailbox_deliver *stream = NULL;
    struct fiber_group workers;
    struct fault why = {0};

    if (stream_body(b->m, &stream, &why) < 0) {
        fail_batch(b, &why);
        return;
    }
    b->stream = stream;
    fiber_group_init(&workers);
    start_workers(&workers, b, "mx.store");
    fiber_group_join(&workers);
}

/* ---- all
 * ----------------------------------------------------------------------------------------------------------------
 */

static void append_name(struct buf *out, struct slice name)
{
    if (out->n > 0)
        (void)buf_append(out, LIT(", "));
    (void)buf_append(out, name);
}

/* A recipient whose targets did not all fail still counts as failed: something of it is missing. */
struct smtp_reply mx_deliver_verdict(struct mx_mail *m)
{
    AUTO(buf_free) struct buf good = BUF_INIT(300), bad = BUF_INIT(800);
    const struct mx_target *worst = NULL;

    for (const struct mx_target *t = m->first; t; t = t->next) {
        if (t->reply.code < 400) {
            append_name(&good, t->rcpt);
            continue;
        }
        append_name(&bad,
                    arena_printf(m->arena, "%.*s: %.*s", SLICE(t->rcpt), SLICE(t->reply.text)));
        if (worst == NULL || t->reply.code < worst->reply.code)
            worst = t;
    }
    if (worst == NULL)
        return (struct smtp_reply){250, "2.0.0", arena_printf(m->arena, "Ok %s", m->id)};
    if (m->target_count == 1)
        return worst->reply;
    if (good.n == 0)
        return (struct smtp_reply){worst->reply.code, worst->reply.enhanced,
                                   arena_copy(m->arena, buf_slice(&bad))};
    return (struct smtp_reply){worst->reply.code, worst->reply.enhanced,
                               arena_printf(m->arena, "Message delivered to %.*s; not to %.*s",
                                            SLICE(buf_slice(&good)), SLICE(buf_slice(&bad)))};
}

struct smtp_reply mx_deliver(struct mx_mail *m)
{
    struct batch mailboxes = {.m = m, .next = m->first, .kind = MX_MAILBOX};
    struct batch forwards = {.m = m, .next = m->first, .kind = MX_FORWARD};
    struct fiber_group group;
    struct fault why;

    mx_marks_make(m);
    if (count_kind(m, MX_FORWARD) > 0)
        mx_seal(m);
    fiber_group_init(&group);
    if (count_kind(m, MX_MAILBOX) > 0 &&
        fiber_group_start(&group, "mx.store", store_all, &mailboxes, &why) < 0)
        store_all(&mailboxes);
    start_workers(&group, &forwards, "mx.forward");
    fiber_group_join(&group);
    return mx_deliver_verdict(m);
}
