/* mx_session.c - what fe-mx answers to the SMTP engine, step by step; holds the message while it
 * comes in.
 *
 * Owns      the spool and header buffer of the transaction (closed in on_reset), the connection's
 * place in the limits. Called by net/smtp_server. Suspends in policy, spool and delivery.
 */
#include "mx_auth.h"
#include "mx_deliver.h"
#include "mx_limit.h"
#include "mx_policy.h"
#include "mx_trace.h"
#include "rt/dns.h"

#define PTR_MS 3000

static struct mx_event event_of(struct smtp_session *s)
{
    struct mx_conn *conn = s->user;

    return (struct mx_event){
        .mx = mx_of(s), .conn = conn, .s = s, .mail = &s->mail, .message = conn->mail};
}

static struct smtp_reply on_connect(struct smtp_session *s)
{
    struct mx_conn *conn = ARENA_NEW(s->arena, struct mx_conn);
    struct mx_event e;

    conn->mx = mx_of(s);
    conn->ptr = "";
    s->user = conn;
    e = event_of(s);
    e.mail = NULL;
    return mx_policy_run(MX_CONNECT, &e);
}

static void on_closed(struct smtp_session *s)
{
    struct mx_conn *conn = s->user;
    const char *ip = stream_peer(s->stream)->ip;
    /* our own health check, every few seconds */
    bool is_health = strncmp(ip, "127.", 4) == 0 && slice_equal(s->helo, LIT("health.invalid"));

    mx_limit_leave(conn->mx->limit, conn, ip);
    log_event(is_health ? LOG_DEBUG : LOG_INFO, "mx.conn.done", F_ID("conn", s->id),
              F_STR("ip", ip), F_SLICE("helo", s->helo),
              F_STR("tls", stream_tls_version(s->stream)),
              F_INT("took_ms", clock_wall_ms() - s->arrived_ms));
}

static struct smtp_reply on_mail(struct smtp_session *s, const struct smtp_mail *mail)
{
    struct mx_conn *conn = s->user;
    struct mx_mail *m = ARENA_NEW(s->mail_arena, struct mx_mail);
    struct object_id id = object_id_new();
    struct mx_event e = event_of(s);

    m->mx = conn->mx;
    m->conn = conn;
    m->s = s;
    m->arena = s->mail_arena;
    memcpy(m->id, id.s, sizeof(m->id));
    buf_init(&m->header, MX_HEADER_MAX);
    e.mail = mail;
    e.message = m;
    conn->mail = m;
    return mx_policy_run(MX_MAIL, &e);
}

static struct smtp_reply on_rcpt(struct smtp_session *s, const struct smtp_rcpt *rcpt)
{
    struct mx_event e = event_of(s);

    e.rcpt = rcpt;
    return mx_policy_run(MX_RCPT, &e);
}

/* ---- reverse name
 * ----------------------------------------------------------------------------------------------------
 */

/* The name is believed only when it leads back to the address. */
static bool leads_back(struct arena *a, struct slice name, const char *ip, struct deadline until)
{
    struct dns_answer answer;
    struct fault why;

    if (dns_query(name, strchr(ip, ':') ? DNS_AAAA : DNS_A, a, until, &answer, &why) < 0)
        return false;
    for (size_t i = 0; i < answer.count; i++)
        if (slice_equal(answer.records[i].text, slice_of(ip)))
            return true;
    return false;
}

/* Once per connection, and only when a message is on its way. A failure leaves it unnamed. */
static void ask_reverse_name(struct smtp_session *s, struct mx_conn *conn)
{
    const char *ip = stream_peer(s->stream)->ip;
    struct deadline until = deadline_in_ms(PTR_MS);
    struct dns_answer answer;
    struct fault why;

    if (conn->ptr_asked || !conn->mx->config->verify_dns)
        return;
    conn->ptr_asked = true;
    if (dns_reverse(ip, s->mail_arena, until, &answer, &why) < 0 || answer.count == 0)
        return;
    if (answer.records[0].text.n < 254 &&
        leads_back(s->mail_arena, answer.records[0].text, ip, until))
        conn->ptr = arena_cstr(s->arena, answer.records[0].text);
}

/* ---- content
 * ---------------------------------------------------------------------------------------------------------
 */

static struct smtp_reply on_data_begin(struct smtp_session *s)
{
    struct mx_conn *conn = s->user;

    if (conn->mail->target_count > 0)
        ask_reverse_name(s, conn);
    conn->mail->spool = spool_new(conn->mx->spools);
    return SMTP_OK;
}

/* Header bytes up to and including the blank line; looks only at what is new and the three bytes
 * before. Gives the rest. */
static struct slice gather_header(struct mx_mail *m, struct slice bytes)
{
    size_t had = m->header.n, from = had > 3 ? had - 3 : 0;
    struct slice part = slice_head(bytes, MX_HEADER_MAX - had);
    ptrdiff_t blank;

    (void)buf_append(&m->header, part);
    if (slice_has_prefix(buf_slice(&m->header), LIT("\r\n"))) {
        buf_truncate(&m->header, 0); /* no header at all: refused later */
        m->header_complete = true;
        return SLICE_NONE;
    }
    blank = slice_find(slice_tail(buf_slice(&m->header), from), LIT("\r\n\r\n"));
    if (blank < 0) {
        m->header_too_long = part.n < bytes.n;
        return SLICE_NONE;
    }
    buf_truncate(&m->header, from + (size_t)blank + 4);
    m->header_complete = true;
    mx_auth_begin(m);
    return slice_tail(bytes, m->header.n - had);
}

static void look_at(struct mx_mail *m, struct slice bytes)
{
    if (m->header_too_long)
        return;
    if (!m->header_complete)
        bytes = gather_header(m, bytes);
    mx_auth_body(m, bytes);
}

static struct smtp_reply on_data_chunk(struct smtp_session *s, struct slice bytes)
{
    struct mx_conn *conn = s->user;
    struct fault why = {0};

    look_at(conn->mail, bytes);
    if (spool_append(conn->mail->spool, bytes, &why) == 0)
        return SMTP_OK;
    log_event(LOG_ERROR, "mx.spool.failed", F_ID("conn", s->id), F_FAULT(&why));
    if (why.code == FAULT_DISK_FULL)
        return SMTP_REPLY(452, "4.3.1", "Insufficient system storage");
    return SMTP_REPLY(451, "4.3.0", "Try again later");
}

static struct smtp_reply on_data_end(struct smtp_session *s)
{
    struct mx_conn *conn = s->user;
    struct mx_mail *m = conn->mail;
    struct mx_event e = event_of(s);
    struct smtp_reply r;

    m->until = deadline_in_ms(MX_DELIVERY_MS);
    m->header_length = m->header_complete ? m->header.n : (size_t)spool_size_bytes(m->spool);
    r = mx_policy_run(MX_DATA, &e);
    if (r.code != 0)
        return r;
    if (m->target_count == 0) /* all recipients are switched off, silently */
        return SMTP_OK;
    mx_auth_check(m);
    m->new_header =
        mx_trace_strip(m->arena, buf_slice(&m->header), slice_of(conn->mx->config->host));
    return mx_deliver(m);
}

static void on_reset(struct smtp_session *s)
{
    struct mx_conn *conn = s->user;

    mx_auth_end(conn->mail);
    spool_free(&conn->mail->spool);
    buf_free(&conn->mail->header);
    conn->mail = NULL;
}

const struct smtp_handlers mx_handlers = {
    .connect = on_connect,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data_chunk = on_data_chunk,
    .data_end = on_data_end,
    .reset = on_reset,
    .closed = on_closed,
};
