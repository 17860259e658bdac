/* smtp_server_test.c - the engine over a pair of streams: order, pipelining, content however it is cut, TLS, AUTH. */
#include "base/test.h"
#include "net/smtp_server.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define TALK_MS 5000

/* ---- a service that writes down what it is asked ---------------------------------------------------------------- */

struct talk {
    struct test *t;
    struct smtp_server *server;
    struct smtp_server_options o;
    struct stream *peer;
    struct buf seen;                      /* calls, in order */
    const char *const *script;            /* "C:..." sent, "S:..." expected, NULL-terminated; filled per test */
    size_t row;
    struct slice whole;                   /* sent in one piece, or in two cut at `cut` */
    size_t cut;
    struct buf heard;
};

static struct talk *talk_of(struct smtp_session *s)
{
    return smtp_server_arg(s->server);
}

static struct smtp_reply on_auth(struct smtp_session *s, struct slice user, struct slice password)
{
    (void)buf_printf(&talk_of(s)->seen, "auth %.*s %.*s;", SLICE(user), SLICE(password));
    return slice_equal(password, LIT("right")) ? SMTP_OK : SMTP_REPLY(535, "5.7.8", "no");
}

static struct smtp_reply on_mail(struct smtp_session *s, const struct smtp_mail *mail)
{
    (void)buf_printf(&talk_of(s)->seen, "mail %.*s;", SLICE(mail->from.address));
    return SMTP_OK;
}

static struct smtp_reply on_rcpt(struct smtp_session *s, const struct smtp_rcpt *rcpt)
{
    (void)buf_printf(&talk_of(s)->seen, "rcpt %.*s;", SLICE(rcpt->to.address));
    return slice_has_prefix(rcpt->to.local, LIT("no")) ? SMTP_REPLY(550, "5.1.1", "No such user") : SMTP_OK;
}

static struct smtp_reply on_chunk(struct smtp_session *s, struct slice bytes)
{
    (void)buf_append(&talk_of(s)->seen, bytes);
    return SMTP_OK;
}

static struct smtp_reply on_end(struct smtp_session *s)
{
    (void)buf_append(&talk_of(s)->seen, LIT(";end;"));
    return SMTP_OK;
}

static void on_reset(struct smtp_session *s)
{
    (void)buf_append(&talk_of(s)->seen, LIT("reset;"));
}

static const struct smtp_handlers recorder = {
    .auth = on_auth, .mail = on_mail, .rcpt = on_rcpt, .data_chunk = on_chunk, .data_end = on_end, .reset = on_reset};

static const struct smtp_server_options plain_options = {
    .hostname = "mx.example",
    .extensions = SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_CHUNKING | SMTP_EXT_DSN,
    .message_bytes_max = 1000,
    .recipients_max = 3,
    .bare_grace_ms = 20,
    .handlers = &recorder,
};

static void accept_fiber(void *arg)
{
    struct talk *k = arg;
    struct stream *a;
    struct fault why;

    if (stream_pair(&a, &k->peer, &why) < 0)
        test_fail(k->t, __FILE__, __LINE__, "%s", why.text);
    else
        smtp_server_accept(a, k->server);
}

static void talk_begin(struct talk *k, struct test *t)
{
    k->t = t;
    buf_init(&k->seen, 1 << 20);
    buf_init(&k->heard, 1 << 20);
    if (k->o.hostname == NULL)
        k->o = plain_options;
    k->o.arg = k;
    k->server = smtp_server_new(&k->o);
    accept_fiber(k);
}

static void talk_end(struct talk *k)
{
    stream_close(&k->peer);
    smtp_server_drain(k->server, deadline_in_ms(TALK_MS));
    smtp_server_free(&k->server);
    buf_free(&k->seen);
    buf_free(&k->heard);
}

static void say(struct talk *k, struct slice bytes)
{
    struct fault why;
    struct deadline until = deadline_in_ms(TALK_MS);

    if (stream_write(k->peer, bytes, until, &why) < 0 || stream_flush(k->peer, until, &why) < 0)
        test_fail(k->t, __FILE__, __LINE__, "row %zu: cannot send: %s", k->row, why.text);
}

/* The next line; "(closed)" at the end. */
static struct slice hear(struct talk *k)
{
    struct slice line;
    struct fault why;

    if (stream_read_line(k->peer, SMTP_LINE_MAX, deadline_in_ms(TALK_MS), &line, &why) < 0)
        return why.code == FAULT_CLOSED ? LIT("(closed)") : LIT("(nothing)");
    return line;
}

static void run_script(struct talk *k)
{
    for (size_t i = 0; k->script[i]; i++) {
        struct slice row = slice_of(k->script[i]), line;

        if (slice_has_prefix(row, LIT("C:"))) {
            say(k, slice_tail(row, 2));
            continue;
        }
        line = hear(k);
        if (!slice_has_prefix(line, slice_tail(row, 2)))
            test_fail(k->t, __FILE__, __LINE__, "row %zu line %zu: want [%s], got [%.*s]", k->row, i, k->script[i], SLICE(line));
    }
}

static void script_fiber(void *arg)
{
    struct talk *k = arg;
    struct test *t = k->t;

    talk_begin(k, t);
    run_script(k);
    k->whole = arena_copy(t->arena, buf_slice(&k->seen));
    talk_end(k);
}

/* Runs one dialogue; the calls the service saw come back. */
static struct slice dialogue(struct test *t, const struct smtp_server_options *o, const char *const *script)
{
    struct talk k = {.t = t, .o = o ? *o : plain_options, .script = script};

    loop_run_fiber(script_fiber, &k);
    return k.whole;
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(smtp_server, takes_a_message)
{
    struct slice seen = dialogue(t, NULL, SCRIPT(
        "S:220 mx.example ESMTP",
        "C:EHLO client.example\r\n",
        "S:250-mx.example", "S:250-PIPELINING", "S:250-SIZE 1000", "S:250-8BITMIME", "S:250-SMTPUTF8",
        "S:250-CHUNKING", "S:250-DSN", "S:250 ENHANCEDSTATUSCODES",
        "C:MAIL FROM:<a@b.org>\r\n", "S:250 2.1.0",
        "C:RCPT TO:<no@x.org>\r\n", "S:550 5.1.1 No such user",
        "C:RCPT TO:<c@x.org>\r\n", "S:250 2.1.5",
        "C:DATA\r\n", "S:354 ",
        "C:Subject: x\r\n\r\n..hi\r\n.\r\n", "S:250 2.0.0",
        "C:QUIT\r\n", "S:221 2.0.0", "S:(closed)"));

    CHECK_STR("mail a@b.org;rcpt no@x.org;rcpt c@x.org;Subject: x\r\n\r\n.hi\r\n;end;reset;", seen.p);
}

/* RFC 2920: a group of commands in one packet, its content and the next group behind it. */
TEST(smtp_server, takes_a_pipeline)
{
    struct slice seen = dialogue(t, NULL, SCRIPT(
        "S:220", "C:HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@x.org>\r\nDATA\r\n",
        "S:250 mx.example", "S:250 2.1.0", "S:250 2.1.5", "S:354",
        "C:a\r\n.\r\nMAIL FROM:<d@e.org>\r\nRSET\r\nNOOP\r\nQUIT\r\n",
        "S:250 2.0.0", "S:250 2.1.0", "S:250", "S:250", "S:221", "S:(closed)"));

    CHECK_STR("mail ;rcpt c@x.org;a\r\n;end;reset;mail d@e.org;reset;", seen.p);
}

TEST(smtp_server, keeps_the_order)
{
    dialogue(t, NULL, SCRIPT(
        "S:220", "C:MAIL FROM:<a@b.org>\r\n", "S:503",
        "C:EHLO c\r\n", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250 ",
        "C:RCPT TO:<a@b.org>\r\n", "S:503", "C:DATA\r\n", "S:503",
        "C:MAIL FROM:<a@b.org>\r\n", "S:250", "C:MAIL FROM:<a@b.org>\r\n", "S:503",
        "C:DATA\r\n", "S:503 5.5.1 No valid",
        "C:RCPT TO:<a@b.org>\r\nRCPT TO:<b@b.org>\r\nRCPT TO:<c@b.org>\r\nRCPT TO:<d@b.org>\r\n",
        "S:250", "S:250", "S:250", "S:452 4.5.3",
        "C:EHLO c\r\n", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250 ",
        "C:DATA\r\n", "S:503",
        "C:VRFY x\r\nEXPN x\r\nHELP\r\nSTARTTLS\r\nAUTH PLAIN\r\n", "S:252", "S:502", "S:214", "S:503", "S:502",
        "C:MAIL FROM:<a@b.org> SIZE=1001\r\n", "S:552 5.3.4",
        "C:MAIL FROM:<a@b.org> REQUIRETLS\r\n", "S:555"));
}

TEST(smtp_server, sends_strangers_away)
{
    dialogue(t, NULL, SCRIPT("S:220", "C:GET / HTTP/1.1\r\n", "S:421", "S:(closed)"));
    dialogue(t, NULL, SCRIPT("S:220", "C:A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\nJ\r\nK\r\n",
        "S:500", "S:500", "S:500", "S:500", "S:500", "S:500", "S:500", "S:500", "S:500", "S:421", "S:(closed)"));
    dialogue(t, NULL, SCRIPT("S:220", "C:HELO a\nMAIL FROM:<a@b.org>\r\n", "S:500 Bare", "S:(closed)"));
    dialogue(t, NULL, SCRIPT("S:220", "C:NOOP a\rb\r\n", "S:500 Bare", "S:(closed)"));
}

static void early_fiber(void *arg)
{
    struct talk *k = arg;
    struct test *t = k->t;
    struct smtp_server_stats stats;

    k->o = plain_options;
    k->o.greeting_delay_ms = 2000;
    talk_begin(k, t);
    say(k, LIT("EHLO x\r\n"));
    CHECK_SLICE(LIT("421 You talk too soon"), hear(k));
    CHECK_SLICE(LIT("(closed)"), hear(k));
    smtp_server_get_stats(k->server, &stats);
    CHECK_INT(1, stats.early_talkers);
    talk_end(k);
}

TEST(smtp_server, waits_before_greeting)
{
    struct talk k = {.t = t};

    loop_run_fiber(early_fiber, &k);
}

TEST(smtp_server, refuses_lines_without_end)
{
    char *line = arena_alloc(t->arena, 3 * SMTP_LINE_MAX);

    memset(line, 'x', 3 * SMTP_LINE_MAX - 1);
    memcpy(line, "C:", 2);
    dialogue(t, NULL, SCRIPT("S:220", line, "S:500 Line too long", "S:(closed)"));
}

TEST(smtp_server, stops_at_its_size)
{
    char *body = arena_alloc(t->arena, 1200);
    struct slice seen;

    for (size_t i = 0; i + 4 < 1190; i += 4)
        memcpy(body + i, "ab\r\n", 4);
    memcpy(body, "C:", 2);
    seen = dialogue(t, NULL, SCRIPT("S:220", "C:HELO c\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@x.org>\r\nDATA\r\n",
        "S:250", "S:250", "S:250", "S:354", body, "C:.\r\nNOOP\r\n", "S:552 5.3.4", "S:250"));
    CHECK(slice_find(seen, LIT(";end;")) < 0 && slice_has_suffix(seen, LIT("reset;")));
}

/* ---- smuggling ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *content;                  /* after DATA; the real end and "NOOP" follow */
} smuggled[] = {
    {"a\n.\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\n.\r\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\r.\rMAIL FROM:<evil@b.org>\r\n"},
    {"a\r\n.\rMAIL FROM:<evil@b.org>\r\n"},
    {"a\r.\r\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\r\n.\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\r\n.\r\r\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\r\r\n.\r\r\nMAIL FROM:<evil@b.org>\r\n"},
    {"a\n\n.\n\nMAIL FROM:<evil@b.org>\r\n"},
};

#define ENVELOPE "HELO c\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@x.org>\r\n"

static void smuggle_fiber(void *arg)
{
    struct talk *k = arg;
    struct test *t = k->t;

    k->o = plain_options;
    k->o.bare_grace_ms = TALK_MS;
    talk_begin(k, t);
    (void)hear(k);
    say(k, LIT(ENVELOPE "DATA\r\n"));
    for (int i = 0; i < 4; i++)
        (void)hear(k);
    say(k, slice_head(k->whole, k->cut));
    fiber_yield();
    fiber_yield();
    say(k, slice_tail(k->whole, k->cut));
    CHECK_ROW_STR(k->row, "554 5.6.0 Bare CR or LF in the message; lines end in CRLF (RFC 5321 2.3.8)", hear(k));
    CHECK_ROW_STR(k->row, "250 2.0.0 Ok", hear(k));
    CHECK_ROW(k->row, slice_find(buf_slice(&k->seen), LIT("mail evil")) < 0);
    CHECK_ROW(k->row, slice_find(buf_slice(&k->seen), LIT(";end;")) < 0);
    talk_end(k);
}

/* RFC 5321 2.3.8, 4.1.1.4: only <CRLF>.<CRLF> ends data; anything like it is refused, wherever it was cut. */
TEST(smtp_server, cannot_be_smuggled_to)
{
    for (size_t i = 0; i < COUNT(smuggled); i++) {
        struct slice whole = arena_printf(t->arena, "%s.\r\nNOOP\r\n", smuggled[i].content);

        for (size_t cut = 0; cut <= whole.n; cut++) {
            struct talk k = {.t = t, .row = i, .whole = whole, .cut = cut};

            loop_run_fiber(smuggle_fiber, &k);
        }
    }
}

TEST(smtp_server, does_not_wait_long_for_the_end_of_bare_content)
{
    dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE "DATA\r\n", "S:250", "S:250", "S:250", "S:354",
        "C:a\nb\n.\n", "S:554 5.6.0", "S:(closed)"));
}

TEST(smtp_server, takes_chunks)
{
    struct slice seen = dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE, "S:250", "S:250", "S:250",
        "C:BDAT 3\r\na\r\n", "S:250 2.0.0 3 octets", "C:BDAT 4\r\n.\r\n\r", "S:250",
        "C:BDAT 1 LAST\r\n\nNOOP\r\n", "S:250 2.0.0", "S:250"));

    CHECK_STR("mail a@b.org;rcpt c@x.org;a\r\n.\r\n\r\n;end;reset;", seen.p);
}

TEST(smtp_server, chunks_cannot_be_smuggled_either)
{
    /* a bare LF: refused at its chunk; what is pipelined behind is consumed, not obeyed */
    dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE "BDAT 4\r\na\n.\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
        "S:250", "S:250", "S:250", "S:554 5.6.0", "S:503", "S:250"));
    /* a CR left hanging at the very end */
    dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE "BDAT 2 LAST\r\na\rNOOP\r\n",
        "S:250", "S:250", "S:250", "S:554 5.6.0", "S:250"));
    /* content of an unwanted or unparsable BDAT is never commands */
    dialogue(t, NULL, SCRIPT("S:220", "C:HELO c\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "S:250", "S:503", "S:250"));
    dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE "BDAT x\r\nQUIT\r\n",
        "S:250", "S:250", "S:250", "S:501", "S:(closed)"));
    dialogue(t, NULL, SCRIPT("S:220", "C:" ENVELOPE "BDAT 1\r\naDATA\r\nRCPT TO:<d@x.org>\r\nMAIL FROM:<>\r\nRSET\r\n",
        "S:250", "S:250", "S:250", "S:250", "S:503", "S:503", "S:503", "S:250"));
}

/* ---- AUTH ------------------------------------------------------------------------------------------------------------- */

static struct smtp_server_options auth_options(void)
{
    struct smtp_server_options o = plain_options;

    o.auth = o.auth_in_clear = o.auth_required = true;
    return o;
}

TEST(smtp_server, asks_for_a_password)
{
    struct smtp_server_options o = auth_options();
    struct slice seen = dialogue(t, &o, SCRIPT("S:220", "C:EHLO c\r\n",
        "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-AUTH PLAIN LOGIN", "S:250 ",
        "C:MAIL FROM:<a@b.org>\r\n", "S:530 5.7.0",
        "C:AUTH PLAIN AGphbmUAd3Jvbmc=\r\n", "S:535 5.7.8",
        "C:AUTH PLAIN\r\n", "S:334 ", "C:*\r\n", "S:501",
        "C:AUTH PLAIN ###\r\n", "S:501",
        "C:AUTH CRAM-MD5\r\n", "S:504",
        "C:AUTH LOGIN\r\n", "S:334 VXNlcm5hbWU6", "C:amFuZQ==\r\n", "S:334 UGFzc3dvcmQ6", "C:cmlnaHQ=\r\n", "S:235 2.7.0",
        "C:AUTH LOGIN\r\n", "S:503",
        "C:MAIL FROM:<a@b.org>\r\n", "S:250"));

    CHECK_STR("auth jane wrong;auth jane right;mail a@b.org;", seen.p);
}

TEST(smtp_server, no_password_in_the_clear)
{
    struct smtp_server_options o = auth_options();

    o.auth_in_clear = false;
    dialogue(t, &o, SCRIPT("S:220", "C:HELO c\r\n", "S:250", "C:AUTH PLAIN AGphbmUAcmlnaHQ=\r\n", "S:538 5.7.11",
        "C:NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n",
        "S:250", "S:250", "S:250", "S:250", "S:250", "S:250", "S:250", "S:250", "S:421", "S:(closed)"));
}
