/* smtp_server_command.c - one SMTP command: which are allowed when, and what they do to the session
 * (RFC 5321 4.1).
 *
 * Owns nothing beyond the connection it is given. Called by smtp_server.c with one line. Suspends
 * in handlers and writes.
 */
#include "net/smtp_server_internal.h"

#define UNAUTHENTICATED_MAX 10

static const struct smtp_handlers *handlers(struct smtp_conn *c)
{
    return conn_server(c)->o.handlers;
}

/* What MAIL and RCPT parameters may refer to: what EHLO offered, just now. */
static unsigned offered(struct smtp_conn *c)
{
    unsigned ext = conn_server(c)->o.extensions | SMTP_EXT_SIZE;

    if (!c->s.esmtp)
        return 0;
    if (!c->s.tls)
        ext &= ~(unsigned)SMTP_EXT_REQUIRETLS; /* RFC 8689 4.2: only under TLS */
    if (conn_offers_auth(c) || c->s.authenticated)
        ext |= SMTP_EXT_AUTH;
    return ext;
}

static void set_helo(struct smtp_conn *c, struct slice name, bool esmtp)
{
    conn_reset_mail(c);
    (void)!slice_copy_cstr(name, c->helo, sizeof(c->helo));
    c->s.helo = slice_of(c->helo);
    c->s.esmtp = esmtp;
}

static void cmd_helo(struct smtp_conn *c, struct slice argument)
{
    if (!smtp_hello_is_valid(argument)) {
        conn_say(c, 501, "5.5.4", "HELO wants a domain or address literal");
        return;
    }
    set_helo(c, argument, false);
    conn_say(c, 250, "", conn_server(c)->o.hostname);
}

static void cmd_ehlo(struct smtp_conn *c, struct slice argument)
{
    const struct smtp_server_options *o = &conn_server(c)->o;
    AUTO(buf_free) struct buf out = BUF_INIT(4096);
    unsigned ext;

    if (!smtp_hello_is_valid(argument)) {
        conn_say(c, 501, "5.5.4", "EHLO wants a domain or address literal");
        return;
    }
    set_helo(c, argument, true);
    ext = offered(c);
    (void)buf_printf(&out, "250-%s\r\n250-PIPELINING\r\n", o->hostname);
    (void)buf_printf(&out, "250-SIZE %llu\r\n", (unsigned long long)o->message_bytes_max);
    if (ext & SMTP_EXT_8BITMIME)
        (void)buf_append(&out, LIT("250-8BITMIME\r\n"));
    if (ext & SMTP_EXT_SMTPUTF8)
        (void)buf_append(&out, LIT("250-SMTPUTF8\r\n"));
    if (ext & SMTP_EXT_CHUNKING)
        (void)buf_append(&out, LIT("250-CHUNKING\r\n"));
    if (ext & SMTP_EXT_DSN)
        (void)buf_append(&out, LIT("250-DSN\r\n"));
    if (ext & SMTP_EXT_REQUIRETLS)
        (void)buf_append(&out, LIT("250-REQUIRETLS\r\n"));
    if (o->tls && !c->s.tls)
        (void)buf_append(&out, LIT("250-STARTTLS\r\n"));
    if (conn_offers_auth(c))
        (void)buf_append(&out, LIT("250-AUTH PLAIN LOGIN\r\n"));
    (void)buf_append(&out, LIT("250 ENHANCEDSTATUSCODES\r\n"));
    conn_write(c, buf_slice(&out));
}

static void cmd_mail(struct smtp_conn *c, struct slice argument)
{
    const struct smtp_server_options *o = &conn_server(c)->o;
    struct smtp_reply no = SMTP_OK;

    if (c->s.helo.n == 0) {
        conn_say(c, 503, "5.5.1", "Say EHLO first");
        return;
    }
    if (o->auth_required && !c->s.authenticated) {
        conn_say(c, 530, "5.7.0", "Authentication is required");
        return;
    }
    if (c->in_mail) {
        conn_say(c, 503, "5.5.1", "A transaction is open already");
        return;
    }
    c->s.mail_arena = arena_new(0);
    if (smtp_parse_mail(argument, offered(c), c->s.mail_arena, &c->s.mail, &no) == 0) {
        if (c->s.mail.size > o->message_bytes_max)
            no = SMTP_REPLY(552, "5.3.4", "Size exceeded");
        else if (handlers(c)->mail)
            no = handlers(c)->mail(&c->s, &c->s.mail);
        c->in_mail = no.code < 400;
    }
    conn_reply(c, no, SMTP_REPLY(250, "2.1.0", "Sender ok"));
    if (!c->in_mail)
        conn_reset_mail(c);
}

static void add_rcpt(struct smtp_conn *c, const struct smtp_rcpt *rcpt)
{
    if (c->s.rcpts == NULL)
        c->s.rcpts =
            ARENA_ARRAY(c->s.mail_arena, struct smtp_rcpt, conn_server(c)->o.recipients_max);
    c->s.rcpts[c->s.rcpt_count++] = *rcpt;
}

static void cmd_rcpt(struct smtp_conn *c, struct slice argument)
{
    struct smtp_reply no = SMTP_OK;
    struct smtp_rcpt rcpt;
    unsigned ext = offered(c);
    bool bye = c->bye;

    if (!c->in_mail || c->content_open || c->content_lost) {
        conn_say(c, 503, "5.5.1", "MAIL first");
        return;
    }
    if (c->s.rcpt_count >= conn_server(c)->o.recipients_max) {
        conn_say(c, 452, "4.5.3", "Too many recipients");
        return;
    }
    if (!c->s.mail.smtputf8)
        ext &= ~(unsigned)SMTP_EXT_SMTPUTF8;
    if (smtp_parse_rcpt(argument, ext, c->s.mail_arena, &rcpt, &no) == 0) {
        if (handlers(c)->rcpt)
            no = handlers(c)->rcpt(&c->s, &rcpt);
        if (no.code < 400)
            add_rcpt(c, &rcpt);
    }
    conn_reply(c, no, SMTP_REPLY(250, "2.1.5", "Recipient ok"));
    /* an owner's 421 speaks of one mailbox: the other recipients of the message go on */
    if (no.code == 421 && c->soft_errors <= SOFT_ERRORS_MAX)
        c->bye = bye;
}

static void cmd_rset(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_reset_mail(c);
    conn_say(c, 250, "2.0.0", "Ok");
}

static void cmd_noop(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 250, "2.0.0", "Ok");
}

static void cmd_vrfy(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 252, "2.5.0", "Cannot verify, but will take a message and try to deliver it");
}

static void cmd_expn(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 502, "5.5.1", "Not offered here");
}

static void cmd_help(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 214, "2.0.0", "See RFC 5321");
}

static void cmd_quit(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 221, "2.0.0", "Bye");
    c->bye = true;
}

static void cmd_http(struct smtp_conn *c, struct slice argument)
{
    (void)argument;
    conn_say(c, 421, "4.7.0", "HTTP requests not allowed");
}

/* RFC 3207: input that came in the clear is dropped by the stream, what was learnt is forgotten
 * here. */
static void cmd_starttls(struct smtp_conn *c, struct slice argument)
{
    struct tls_server *tls = conn_server(c)->o.tls;
    struct deadline until = conn_idle_deadline(c);
    struct fault why;
    size_t dropped;

    if (argument.n > 0) {
        conn_say(c, 501, "5.5.4", "STARTTLS takes no argument");
        return;
    }
    if (tls == NULL || c->s.tls) {
        conn_say(c, 503, "5.5.1", c->s.tls ? "TLS is active already" : "TLS is not offered");
        return;
    }
    conn_say(c, 220, "2.0.0", "Ready to start TLS");
    if (c->bye || stream_flush(c->s.stream, until, &why) < 0 ||
        stream_start_tls_server(c->s.stream, tls, &dropped, until, &why) < 0) {
        c->bye = true;
        return;
    }
    conn_reset_mail(c);
    c->s.helo = SLICE_NONE;
    c->s.esmtp = c->s.authenticated = false;
    c->s.tls = true;
}

static const struct {
    enum smtp_verb verb;
    void (*run)(struct smtp_conn *c, struct slice argument);
} commands[] = {
    {SMTP_HELO, cmd_helo},         {SMTP_EHLO, cmd_ehlo},      {SMTP_MAIL, cmd_mail},
    {SMTP_RCPT, cmd_rcpt},         {SMTP_DATA, conn_cmd_data}, {SMTP_BDAT, conn_cmd_bdat},
    {SMTP_RSET, cmd_rset},         {SMTP_NOOP, cmd_noop},      {SMTP_VRFY, cmd_vrfy},
    {SMTP_EXPN, cmd_expn},         {SMTP_HELP, cmd_help},      {SMTP_QUIT, cmd_quit},
    {SMTP_STARTTLS, cmd_starttls}, {SMTP_AUTH, conn_cmd_auth}, {SMTP_HTTP, cmd_http},
};

void conn_command(struct smtp_conn *c, struct slice line)
{
    const struct smtp_server_options *o = &conn_server(c)->o;
    struct slice argument;
    enum smtp_verb verb = smtp_parse_verb(line, &argument);

    if (conn_server(c)->closing && verb != SMTP_QUIT) {
        conn_say(c, 421, "4.3.2", "Server shutting down");
        return;
    }
    if (o->auth_required && !c->s.authenticated && ++c->before_auth > UNAUTHENTICATED_MAX) {
        conn_say(c, 421, "4.7.0", "Too many commands without authentication");
        return;
    }
    for (size_t i = 0; i < COUNT(commands); i++)
        if (commands[i].verb == verb) {
            commands[i].run(c, argument);
            return;
        }
    if (++c->unknown >= o->unknown_max)
        conn_say(c, 421, "4.7.0", "Too many unknown commands");
    else
        conn_say(c, 500, "5.5.1", "Command not recognized");
}
