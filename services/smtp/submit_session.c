/* submit_session.c - what fe-smtp answers to the SMTP engine: who signs in, as whom they send, and
 * the message while it comes in.
 *
 * Owns      the spool and header buffer of the transaction (closed in on_reset).
 * Called by net/smtp_server. Suspends for login, limits, spool and queue.
 */
#include "mail/received.h"
#include "mail/outbound.h"
#include "submit_policy.h"
#include "submit_queue.h"
#include "store/models.h"

static struct smtp_reply on_connect(struct smtp_session *s)
{
    struct submit_conn *conn = ARENA_NEW(s->arena, struct submit_conn);

    conn->submit = submit_of(s);
    s->user = conn;
    return SMTP_OK;
}

static void on_closed(struct smtp_session *s)
{
    struct submit_conn *conn = s->user;
    const char *ip = stream_peer(s->stream)->ip;
    /* our own health check, every few seconds */
    bool is_health = strncmp(ip, "127.", 4) == 0 && slice_equal(s->helo, LIT("health.invalid"));

    redis_unsubscribe(&conn->account);
    log_event(is_health ? LOG_DEBUG : LOG_INFO, "smtp.conn.done", F_ID("conn", s->id),
              F_STR("ip", ip), F_ID("user", conn->who.user_id),
              F_STR("tls", stream_tls_version(s->stream)),
              F_INT("took_ms", clock_wall_ms() - s->arrived_ms));
}

static struct smtp_reply reply_for_login(const struct fault *why)
{
    if (why->code == FAULT_DENIED)
        return SMTP_REPLY(535, "5.7.8", "Authentication failed");
    if (why->code == FAULT_LIMIT)
        return SMTP_REPLY(421, "4.7.0",
                          "Too many failed logins from your address, try again later");
    return SMTP_REPLY(454, "4.7.0", "Temporary authentication failure");
}

/* On the loop. The first gap is the subscription's start; a later one may have hidden a change: the
 * cached login goes. */
static void on_account(void *arg, enum redis_event event, struct slice channel,
                       struct slice payload)
{
    struct submit_conn *conn = arg;

    (void)channel;
    (void)payload;
    if (event == REDIS_MESSAGE || conn->hears)
        login_forget(conn->submit->login,
                     slice_of(conn->who.is_catchall ? conn->who.domain_id : conn->who.alias_id));
    if (event == REDIS_MESSAGE)
        conn->revoked = true;
    conn->checked_ms = 0;
    conn->hears = true;
}

static void hear_of_account(struct submit_conn *conn)
{
    char channel[40];

    redis_unsubscribe(&conn->account);
    conn->revoked = conn->hears = false;
    conn->checked_ms = 0;
    if (conn->who.is_catchall)
        (void)snprintf(channel, sizeof(channel), "domain:%s", conn->who.domain_id);
    else
        (void)snprintf(channel, sizeof(channel), "alias:%s", conn->who.alias_id);
    if (conn->submit->redis)
        conn->account = redis_subscribe(conn->submit->redis, slice_of(channel), on_account, conn);
}

static struct smtp_reply on_auth(struct smtp_session *s, struct slice user, struct slice password)
{
    struct submit_conn *conn = s->user;
    const char *ip = stream_peer(s->stream)->ip;
    struct fault why = {0};

    if (login_check_sender(conn->submit->login, user, password, ip, deadline_in_ms(SUBMIT_LOGIN_MS),
                           s->arena, &conn->who, &why) < 0) {
        log_event(LOG_INFO, "smtp.login", F_ID("conn", s->id), F_STR("ip", ip),
                  F_SLICE("name", user), F_STR("result", fault_code_name(why.code)));
        return reply_for_login(&why);
    }
    listener_know_peer(s->stream);
    conn->knows_limit = false;
    secret_unref(&conn->who.data_key); /* sending opens no mailbox */
    hear_of_account(conn);
    log_event(LOG_INFO, "smtp.login", F_ID("conn", s->id), F_STR("ip", ip),
              F_ID("user", conn->who.user_id), F_ID("alias", conn->who.alias_id),
              F_STR("result", "ok"));
    return SMTP_OK;
}

static struct smtp_reply on_mail(struct smtp_session *s, const struct smtp_mail *mail)
{
    struct submit_conn *conn = s->user;
    struct submit_mail *m = ARENA_NEW(s->mail_arena, struct submit_mail);

    if (conn->revoked)
        return SMTP_REPLY(421, "4.7.0", "The account was changed, sign in again");
    if (!conn->who.has_smtp)
        return SMTP_REPLY(550, "5.7.1", "The domain is not configured for outbound SMTP");
    if (!outbound_may_send_as(s->mail_arena, mail->from.address, &conn->who))
        return conn->who.is_catchall
                   ? SMTP_REPLY(550, "5.7.1", "MAIL FROM must be an address of the domain you signed in for")
                   : SMTP_REPLY(550, "5.7.1", "MAIL FROM must be the address you signed in with");
    m->conn = conn;
    m->s = s;
    m->arena = s->mail_arena;
    buf_init(&m->header, OUTBOUND_HEADER_MAX);
    conn->mail = m;
    return SMTP_OK;
}

static struct smtp_reply on_rcpt(struct smtp_session *s, const struct smtp_rcpt *rcpt)
{
    (void)s;
    if (rcpt->to.domain.n == 0)
        return SMTP_REPLY(550, "5.1.3", "The address needs a domain");
    return SMTP_OK;
}

static struct smtp_reply on_data_begin(struct smtp_session *s)
{
    struct submit_conn *conn = s->user;
    struct smtp_reply r = submit_policy_run(conn->mail);

    if (r.code == 0)
        conn->mail->spool = spool_new(conn->submit->spools);
    return r;
}

/* Header bytes up to and including the blank line; the spool gets what is behind, so that an edited
 * header fits in front. */
static struct slice gather_header(struct submit_mail *m, struct slice bytes)
{
    size_t from = m->header.n > 3 ? m->header.n - 3 : 0, had = m->header.n;
    struct slice part = slice_head(bytes, OUTBOUND_HEADER_MAX - m->header.n);
    ptrdiff_t blank;

    (void)buf_append(&m->header, part);
    blank = slice_find(slice_tail(buf_slice(&m->header), from), LIT("\r\n\r\n"));
    if (slice_has_prefix(buf_slice(&m->header), LIT("\r\n"))) {
        blank = -2; /* no header at all: refused for its missing From */
        from = 0;
    }
    if (blank != -1) {
        buf_truncate(&m->header, from + (size_t)(blank + 4));
        m->header_complete = true;
        return slice_tail(bytes, m->header.n - had);
    }
    m->header_too_long = part.n < bytes.n;
    return SLICE_NONE;
}

static struct smtp_reply on_data_chunk(struct smtp_session *s, struct slice bytes)
{
    struct submit_conn *conn = s->user;
    struct submit_mail *m = conn->mail;
    struct fault why = {0};

    if (!m->header_complete)
        bytes = gather_header(m, bytes);
    if (m->header_too_long)
        return SMTP_REPLY(552, "5.3.4", "The header is too large");
    if (bytes.n == 0 || spool_append(m->spool, bytes, &why) == 0)
        return SMTP_OK;
    log_event(LOG_ERROR, "smtp.spool.failed", F_ID("conn", s->id), F_FAULT(&why));
    if (why.code == FAULT_DISK_FULL)
        return SMTP_REPLY(452, "4.3.1", "Insufficient system storage");
    return SMTP_REPLY(451, "4.3.0", "Try again later");
}

/* The first line of the message's story; the runner goes on with it. */
static void tell_owner(const struct submit_mail *m, const struct outbound_header *header,
                       struct slice id)
{
    const struct submit_conn *conn = m->conn;

    log_doc_add(conn->submit->store, &(struct log_doc){
                                         .level = LIT("info"),
                                         .event = LIT("smtp.queued"),
                                         .message = LIT("queued"),
                                         .domain = slice_of(conn->who.domain_id),
                                         .alias = slice_of(conn->who.alias_id),
                                         .user = slice_of(conn->who.user_id),
                                         .email = id,
                                         .session = slice_of(m->s->id),
                                         .msg = id,
                                         .mail_from = m->s->mail.from.address,
                                         .message_id = header->message_id,
                                         .client_ip = slice_of(stream_peer(m->s->stream)->ip),
                                         .code = 250,
                                     });
}

static struct smtp_reply reply_for_queue(const struct fault *why)
{
    if (why->code == FAULT_DENIED)
        return SMTP_REPLY(535, "5.7.8", "The account was switched off");
    if (why->code == FAULT_DISK_FULL)
        return SMTP_REPLY(452, "4.3.1", "Insufficient system storage");
    return SMTP_REPLY(451, "4.3.0", "The queue is not available, try again later");
}

/* Trace of this hop (RFC 5321 4.4), without the client's name and address: where owners of
 * mailboxes are is their business. */
static struct slice received(const struct submit_mail *m)
{
    const struct smtp_session *s = m->s;

    return received_format(
        m->arena,
        &(struct received){
            .by = slice_of(m->conn->submit->config->host),
            .protocol = slice_of(received_protocol(s->esmtp, s->tls, true, s->mail.smtputf8)),
            .id = slice_of(s->id),
            .recipient = s->rcpt_count == 1 ? s->rcpts[0].to.address : SLICE_NONE,
            .now_ms = clock_wall_ms(),
        });
}

static struct smtp_reply on_data_end(struct smtp_session *s)
{
    struct submit_conn *conn = s->user;
    struct submit_mail *m = conn->mail;
    struct outbound_header header;
    struct smtp_reply no = SMTP_OK;
    struct slice id;
    struct fault why = {0};

    if (outbound_header_prepare(m->arena, buf_slice(&m->header), &conn->who,
                              conn->submit->config->host, clock_wall_ms(), &header, &no) < 0) {
        metric_add(conn->submit->refused, 1);
        log_event(LOG_INFO, "smtp.refused", F_ID("conn", s->id), F_ID("user", conn->who.user_id),
                  F_INT("code", no.code), F_SLICE("said", no.text));
        return no;
    }
    header.text = arena_concat(m->arena, (const struct slice[]){received(m), header.text}, 2);
    if (submit_queue_put(m, &header, deadline_in_ms(SUBMIT_QUEUE_MS), &id, &why) < 0) {
        log_event(LOG_WARN, "smtp.queue.failed", F_ID("conn", s->id), F_FAULT(&why));
        return reply_for_queue(&why);
    }
    metric_add(conn->submit->queued, 1);
    tell_owner(m, &header, id);
    log_event(LOG_INFO, "smtp.queued", F_ID("conn", s->id), F_SLICE("msg", id),
              F_ID("user", conn->who.user_id), F_ID("alias", conn->who.alias_id),
              F_SLICE("from", s->mail.from.address), F_INT("recipients", s->rcpt_count),
              F_INT("bytes", header.text.n + spool_size_bytes(m->spool)));
    return (struct smtp_reply){250, "2.0.0",
                               arena_printf(m->arena, "Ok: queued as %.*s", SLICE(id))};
}

static void on_reset(struct smtp_session *s)
{
    struct submit_conn *conn = s->user;

    spool_free(&conn->mail->spool);
    buf_free(&conn->mail->header);
    conn->mail = NULL;
}

const struct smtp_handlers submit_handlers = {
    .connect = on_connect,
    .auth = on_auth,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data_chunk = on_data_chunk,
    .data_end = on_data_end,
    .reset = on_reset,
    .closed = on_closed,
};
