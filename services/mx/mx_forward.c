/* mx_forward.c - see mx_forward.h.
 *
 * Owns      the connection and content stream of one forward. Called by mx_deliver.c on a worker
 * fiber. What can fail: everything out there; each failure becomes one reply. Suspends throughout.
 */
#include "mx_forward.h"

#include "mail/idn.h"
#include "mail/srs.h"
#include "mx_deliver.h"
#include "net/smtp_route.h"

/* The sender as the next hop may check it by SPF: rewritten to our domain, unless it is empty or
 * ours already. */
static struct slice envelope_sender(const struct mx_mail *m)
{
    struct slice from = m->s->mail.from.address;

    if (from.n == 0 ||
        slice_equal_nocase(m->s->mail.from.domain, slice_of(m->mx->config->web_host)))
        return from;
    return srs_encode(m->arena, m->mx->config->srs_secret, from, slice_of(m->mx->config->web_host),
                      clock_wall_ms());
}

static struct smtp_reply for_refusal(struct mx_mail *m, const struct smtp_reply *said)
{
    const char *enhanced = said->enhanced[0]  ? said->enhanced
                           : said->code < 500 ? "4.4.0"
                                              : "5.4.0";

    return (struct smtp_reply){said->code < 500 ? 451 : 550, enhanced,
                               arena_printf(m->arena, "forward refused: %d %.*s", said->code,
                                            SLICE(slice_head(said->text, 300)))};
}

/* The remote's words may name where the alias leads: that is its owner's business. */
static struct smtp_reply hide_target(struct mx_mail *m, const struct mx_target *t,
                                     struct smtp_reply r)
{
    AUTO(buf_free) struct buf out = BUF_INIT(2048);
    struct slice rest = r.text;
    ptrdiff_t at;

    while ((at = slice_find_nocase(rest, t->address)) >= 0) {
        (void)buf_append(&out, slice_head(rest, (size_t)at));
        (void)buf_append(&out, t->rcpt);
        rest = slice_tail(rest, (size_t)at + t->address.n);
    }
    (void)buf_append(&out, rest);
    r.text = arena_copy(m->arena, buf_slice(&out));
    return r;
}

static int connect_for(struct mx_mail *m, const struct mx_target *t, struct smtp_connected *out,
                       struct smtp_reply *refusal, struct fault *why)
{
    const struct mx_config *config = m->mx->config;
    ptrdiff_t at = slice_rfind_char(t->address, '@');
    struct smtp_route_options o = {
        .domain = slice_tail(t->address, (size_t)at + 1),
        .host = slice_of(config->forward_host),
        .port = t->port ? t->port : config->forward_port,
        .local_ip = config->source_ip[0] ? config->source_ip : NULL,
        .helo = config->host,
        .tls = m->mx->tls_out,
        .policy = SMTP_TLS_OPPORTUNISTIC,
        .dane = config->verify_dns,
        .allow_private = config->forward_private,
    };

    if (!idn_to_ascii(m->arena, o.domain, &o.domain))
        return fault_set(why, FAULT_INVALID, "the domain is not a valid name");
    if (t->port != 0 &&
        o.host.n == 0) /* a port of the owner's choice: that host itself, not its MX */
        o.host = o.domain;
    return smtp_route_connect(&o, m->arena, m->until, out, refusal, why);
}

static struct smtp_reply send_on(struct mx_mail *m, struct mx_target *t,
                                 struct smtp_client *client)
{
    AUTO(mx_content_close) struct mx_content content = {0};
    struct slice prefix = mx_prefix_for(m, t);
    struct smtp_client_rcpt rcpt = {.address = t->address};
    struct smtp_client_mail mail = {
        .from = envelope_sender(m),
        .size = mx_content_size(m, prefix),
        .eight_bit = m->s->mail.body == SMTP_BODY_8BITMIME,
        .smtputf8 = m->s->mail.smtputf8,
        .rcpts = &rcpt,
        .rcpt_count = 1,
        .pull = mx_content_pull,
        .arg = &content,
    };
    struct fault why = {0};

    mx_content_open(&content, m, prefix);
    if (smtp_client_send(client, &mail, m->arena, m->until, &why) < 0) {
        log_event(LOG_WARN, "mx.forward.failed", F_ID("msg", m->id),
                  F_BOOL("data_sent", mail.data_sent), F_FAULT(&why));
        return SMTP_REPLY(451, "4.4.2", "forward was cut off, try again later");
    }
    t->said = arena_printf(m->arena, "%d %s %.*s", rcpt.reply.code, rcpt.reply.enhanced,
                           SLICE(slice_head(rcpt.reply.text, 300)));
    return rcpt.accepted ? SMTP_REPLY(250, "2.0.0", "forwarded") : for_refusal(m, &rcpt.reply);
}

struct smtp_reply mx_forward(struct mx_mail *m, struct mx_target *t)
{
    struct smtp_connected to = {0};
    struct smtp_reply refusal = SMTP_OK;
    struct fault why = {0};
    struct smtp_reply r;

    if (connect_for(m, t, &to, &refusal, &why) < 0) {
        log_event(LOG_WARN, "mx.forward.failed", F_ID("msg", m->id), F_SLICE("target", t->address),
                  F_INT("code", refusal.code), F_FAULT(&why));
        if (refusal.code != 0)
            return hide_target(m, t, for_refusal(m, &refusal));
        return SMTP_REPLY(451, "4.4.1", "forward has no connection, try again later");
    }
    t->remote = arena_copy(m->arena, to.host);
    r = send_on(m, t, to.client);
    smtp_client_close(&to.client);
    return hide_target(m, t, r);
}
