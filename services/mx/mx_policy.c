/* mx_policy.c - the table of inbound checks, and those that look at nothing but the message and the
 * connection.
 *
 * Owns nothing. Called by mx_session.c. Recipients are looked up in mx_recipient.c. Suspends where
 * a row's function does.
 */
#include "mx_policy.h"

#include "mail/received.h"
#include "mx_limit.h"
#include "mx_recipient.h"
#include "wire/rfc5322.h"

static struct smtp_reply check_concurrency(struct mx_event *e)
{
    if (mx_limit_enter(e->mx->limit, e->conn, stream_peer(e->s->stream)->ip))
        return SMTP_OK;
    return SMTP_REPLY(421, "4.7.0", "Too many concurrent connections from your address");
}

static struct smtp_reply check_header_size(struct mx_event *e)
{
    if (e->message->header_too_long)
        return SMTP_REPLY(552, "5.3.4", "The header is too large");
    if (e->message->header.n == 0)
        return SMTP_REPLY(550, "5.6.0", "The message has no header");
    return SMTP_OK;
}

static struct smtp_reply check_loop(struct mx_event *e)
{
    if (received_count(buf_slice(&e->message->header)) > RECEIVED_MAX)
        return SMTP_REPLY(550, "5.4.6", "Message was stuck in a redirect loop");
    return SMTP_OK;
}

/* Exactly one From field with exactly one address: what DMARC and every reader of mail builds on.
 */
static struct smtp_reply check_from(struct mx_event *e)
{
    struct slice header = buf_slice(&e->message->header);
    struct rfc5322_address *list;
    struct rfc5322_field f;
    size_t n, mailboxes = 0;

    if (rfc5322_count_fields(header, LIT("From")) != 1 ||
        !rfc5322_find_field(header, LIT("From"), &f))
        return SMTP_REPLY(550, "5.6.0", "The message must have exactly one From header");
    n = rfc5322_parse_addresses(e->message->arena, f.value, &list);
    for (size_t i = 0; i < n; i++)
        mailboxes += list[i].kind == ADDRESS_MAILBOX && list[i].domain.n > 0;
    if (n != 1 || mailboxes != 1)
        return SMTP_REPLY(550, "5.6.0", "The From header must hold exactly one valid address");
    return SMTP_OK;
}

/* In order. The rest of the inbound policy (lists, greylist, DMARC, content) gets rows of its own.
 */
static const struct mx_check checks[] = {
    {MX_CONNECT, "concurrency", check_concurrency},
    {MX_MAIL, "srs", mx_recipient_check_sender},
    {MX_RCPT, "recipient", mx_recipient_check},
    {MX_DATA, "header", check_header_size},
    {MX_DATA, "loop", check_loop},
    {MX_DATA, "from", check_from},
};

static void log_refusal(const struct mx_check *c, const struct mx_event *e, struct smtp_reply r)
{
    log_event(LOG_INFO, "mx.refused", F_ID("conn", e->s->id), F_STR("check", c->name),
              F_STR("ip", stream_peer(e->s->stream)->ip), F_SLICE("helo", e->s->helo),
              F_SLICE("from", e->mail ? e->mail->from.address : SLICE_NONE),
              F_SLICE("to", e->rcpt ? e->rcpt->to.address : SLICE_NONE), F_INT("code", r.code),
              F_SLICE("said", r.text));
}

/* Every refusal of a message for a domain of ours stands in its owner's log. */
static void tell_owner(const struct mx_event *e, const char *domain_id, struct slice rcpt,
                       struct smtp_reply r)
{
    if (domain_id[0] == '\0')
        return;
    log_doc_add(e->mx->store, &(struct log_doc){
                                  .level = LIT("error"),
                                  .event = LIT("mx.refused"),
                                  .message = r.text,
                                  .domain = slice_of(domain_id),
                                  .session = slice_of(e->s->id),
                                  .msg = slice_of(e->message->id),
                                  .mail_from = e->mail->from.address,
                                  .rcpt_to = rcpt,
                                  .client_ip = slice_of(stream_peer(e->s->stream)->ip),
                                  .client_host = slice_of(e->conn->ptr),
                                  .code = r.code,
                              });
}

static void tell_owners(enum mx_stage stage, const struct mx_event *e, struct smtp_reply r)
{
    if (stage == MX_RCPT)
        tell_owner(e, e->domain_id, e->rcpt->to.address, r);
    else if (stage == MX_DATA)
        for (const struct mx_target *t = e->message->first; t; t = t->next)
            tell_owner(e, t->domain_id, t->rcpt, r);
}

struct smtp_reply mx_policy_run(enum mx_stage stage, struct mx_event *e)
{
    for (size_t i = 0; i < COUNT(checks); i++) {
        struct smtp_reply r;

        if (checks[i].stage != stage)
            continue;
        r = checks[i].fn(e);
        if (r.code == 0)
            continue;
        if (r.code >= 400) {
            log_refusal(&checks[i], e, r);
            tell_owners(stage, e, r);
        }
        return r;
    }
    return SMTP_OK;
}
