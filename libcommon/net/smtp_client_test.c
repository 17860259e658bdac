/* smtp_client_test.c - the client against our own engine, and against scripted remotes that misbehave. */
#include "base/test.h"
#include "net/smtp_client.h"
#include "net/smtp_server.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/loop.h"

#define TALK_MS 5000

struct remote {
    struct test *t;
    struct listener *listener;
    struct smtp_server *server;           /* our engine, or: */
    const char *const *script;            /* "S:" sent at once, "C:" line awaited; NULL-terminated */
    struct buf seen;
    bool done;
    struct fiber_event finished;
};

/* ---- remotes ----------------------------------------------------------------------------------------------------- */

static void run_script(struct remote *m, struct stream *s)
{
    struct deadline until = deadline_in_ms(TALK_MS);
    struct slice line;
    struct fault why;

    for (size_t i = 0; m->script[i]; i++) {
        struct slice row = slice_of(m->script[i]);

        if (slice_has_prefix(row, LIT("S:"))) {
            if (stream_write(s, slice_tail(row, 2), until, &why) < 0)
                return;
            continue;
        }
        if (stream_read_line(s, SMTP_LINE_MAX, until, &line, &why) < 0) {
            test_fail(m->t, __FILE__, __LINE__, "remote: waiting for %s: %s", m->script[i], why.text);
            return;
        }
        if (!slice_has_prefix(line, slice_tail(row, 2)))
            test_fail(m->t, __FILE__, __LINE__, "remote: want %s, got %.*s", m->script[i], SLICE(line));
    }
    (void)!stream_flush(s, until, &why);
}

static void scripted_accept(struct stream *s, void *arg)
{
    struct remote *m = arg;

    run_script(m, s);
    stream_close(&s);
    m->done = true;
    fiber_event_broadcast(&m->finished);
}

static uint16_t remote_begin(struct remote *m, void (*accept)(struct stream *s, void *arg), void *arg)
{
    struct listener_options o = {.name = "test", .bind_address = "127.0.0.1", .accept = accept, .arg = arg};
    struct fault why;

    fiber_event_init(&m->finished);
    if (listener_open(&o, &m->listener, &why) < 0) {
        test_fail(m->t, __FILE__, __LINE__, "listen: %s", why.text);
        return 0;
    }
    return listener_port(m->listener);
}

static void remote_wait(struct remote *m)
{
    struct fault why;

    while (!m->done)
        if (fiber_event_wait(&m->finished, deadline_in_ms(TALK_MS), &why) < 0) {
            test_fail(m->t, __FILE__, __LINE__, "remote does not end");
            return;
        }
}

/* ---- content -------------------------------------------------------------------------------------------------------- */

struct source { const char *const *pieces; size_t at; };

static int pull(void *arg, struct slice *piece, struct fault *why)
{
    struct source *s = arg;

    (void)why;
    if (s->pieces[s->at] == NULL)
        return 0;
    *piece = slice_of(s->pieces[s->at++]);
    return 1;
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct smtp_client_options options_for(uint16_t port)
{
    return (struct smtp_client_options){.ip = "127.0.0.1", .port = port, .helo = "client.example", .policy = SMTP_TLS_NONE,
        .command_ms = TALK_MS, .greeting_ms = TALK_MS, .data_end_ms = TALK_MS};
}

/* One scripted remote, one client, one transaction to `to` (comma separated). The verdicts as text come back. */
struct attempt {
    struct test *t;
    const char *const *script, *const *pieces;
    const char *to;
    struct smtp_client_mail mail;
    struct buf verdicts;
};

static void describe(struct buf *out, const struct smtp_reply *r, const char *what)
{
    (void)buf_printf(out, "%s %d %s %.*s|", what, r->code, r->enhanced, SLICE(r->text));
}

static void try_send(struct attempt *a, struct smtp_client *c)
{
    struct source source = {a->pieces, 0};
    struct slice rest = slice_of(a->to), address;
    struct smtp_client_rcpt rcpts[8] = {0};
    struct fault why;

    a->mail.rcpts = rcpts;
    a->mail.rcpt_count = 0;
    while (slice_cut(&rest, ',', &address))
        rcpts[a->mail.rcpt_count++].address = address;
    a->mail.pull = pull;
    a->mail.arg = &source;
    if (smtp_client_send(c, &a->mail, a->t->arena, deadline_in_ms(TALK_MS), &why) < 0)
        (void)buf_printf(&a->verdicts, "fault %s|", fault_code_name(why.code));
    for (size_t i = 0; i < a->mail.rcpt_count; i++)
        describe(&a->verdicts, &rcpts[i].reply, rcpts[i].accepted ? "yes" : "no");
}

static void attempt_fiber(void *arg)
{
    struct attempt *a = arg;
    struct remote m = {.t = a->t, .script = a->script};
    struct smtp_client_options o = options_for(remote_begin(&m, scripted_accept, &m));
    struct smtp_client *c = NULL;
    struct smtp_reply refusal;
    struct fault why;

    if (smtp_client_open(&o, deadline_in_ms(TALK_MS), a->t->arena, &c, &refusal, &why) < 0) {
        (void)buf_printf(&a->verdicts, "open %s|", fault_code_name(why.code));
        describe(&a->verdicts, &refusal, "refused");
    } else {
        try_send(a, c);
    }
    smtp_client_close(&c);
    remote_wait(&m);
    listener_close(&m.listener);
}

static const char *attempt(struct attempt *a)
{
    static const char *const usual[] = {"Subject: x\r\n\r\n", ".dot\r\n", NULL};
    const char *text;

    buf_init(&a->verdicts, 65536);
    if (a->pieces == NULL)
        a->pieces = usual;
    if (a->mail.from.p == NULL)
        a->mail.from = LIT("a@b.org");
    loop_run_fiber(attempt_fiber, a);
    text = arena_cstr(a->t->arena, buf_slice(&a->verdicts));
    buf_free(&a->verdicts);
    return text;
}

#define HELLO "S:220 hi\r\n", "C:EHLO client.example", "S:250-mx\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
#define HELLO_PIPE "S:220-hi\r\n220 there\r\n", "C:EHLO", "S:250-mx\r\n250-PIPELINING\r\n250-DSN\r\n250 SMTPUTF8\r\n"

TEST(smtp_client, sends_step_by_step)
{
    struct attempt a = {.t = t, .to = "x@y.org,z@y.org", .mail.size = 20, .mail.eight_bit = true,
        .script = SCRIPT(HELLO, "C:MAIL FROM:<a@b.org> SIZE=20 BODY=8BITMIME", "S:250 2.1.0 ok\r\n", "C:RCPT TO:<x@y.org>",
            "S:550-5.1.1 no\r\n550 5.1.1 such user\r\n", "C:RCPT TO:<z@y.org>", "S:250 ok\r\n", "C:DATA", "S:354 go\r\n",
            "C:Subject: x", "C:", "C:..dot", "C:.", "S:250 2.0.0 queued as 1\r\n", "C:QUIT")};

    CHECK_STR("no 550 5.1.1 no such user|yes 250 2.0.0 queued as 1|", attempt(&a));
    CHECK(a.mail.data_sent);
}

TEST(smtp_client, sends_pipelined)
{
    struct attempt a = {.t = t, .to = "x@y.org,z@y.org", .mail.ret = SMTP_RET_HDRS, .mail.envid = LIT("a b"),
        .script = SCRIPT(HELLO_PIPE, "C:MAIL FROM:<a@b.org> RET=HDRS ENVID=a+20b", "C:RCPT TO:<x@y.org>", "C:RCPT TO:<z@y.org>", "C:DATA",
            "S:250 ok\r\n250 ok\r\n450 4.2.0 later\r\n354 go\r\n", "C:Subject: x", "C:", "C:..dot", "C:.", "S:250 done\r\n", "C:QUIT")};

    CHECK_STR("yes 250  done|no 450 4.2.0 later|", attempt(&a));
}

TEST(smtp_client, ends_an_unwanted_data_empty)
{
    struct attempt a = {.t = t, .to = "x@y.org", .script = SCRIPT(HELLO_PIPE, "C:MAIL", "C:RCPT", "C:DATA",
        "S:250 ok\r\n550 5.1.1 no\r\n354 go\r\n", "C:.", "S:554 no recipients\r\n", "C:QUIT")};
    struct attempt b = {.t = t, .to = "x@y.org", .script = SCRIPT(HELLO_PIPE, "C:MAIL", "C:RCPT", "C:DATA",
        "S:553 5.1.8 bad sender\r\n503 no\r\n503 no\r\n", "C:QUIT")};

    CHECK_STR("no 550 5.1.1 no|", attempt(&a));
    CHECK_STR("no 553 5.1.8 bad sender|", attempt(&b));
}

TEST(smtp_client, hears_what_a_leaving_remote_says)
{
    struct attempt a = {.t = t, .to = "x@y.org", .script = SCRIPT("S:554 5.7.1 blocked\r\n", "C:QUIT")};
    struct attempt b = {.t = t, .to = "x@y.org,z@y.org", .script = SCRIPT(HELLO_PIPE, "C:MAIL", "C:RCPT", "C:RCPT", "C:DATA",
        "S:250 ok\r\n421 4.3.2 shutting down\r\n")};
    struct attempt c = {.t = t, .to = "x@y.org", .script = SCRIPT(HELLO, "C:MAIL", "S:250 ok\r\n", "C:RCPT", "S:250 ok\r\n", "C:DATA")};
    struct attempt d = {.t = t, .to = "x@y.org", .script = SCRIPT(HELLO, "C:MAIL", "S:250 ok\r\n", "C:RCPT", "S:250 ok\r\n", "C:DATA",
        "S:354 go\r\n", "C:Subject", "C:", "C:..dot", "C:.")};

    CHECK_STR("open denied|refused 554 5.7.1 blocked|", attempt(&a));
    CHECK_STR("no 421 4.3.2 shutting down|no 421 4.3.2 shutting down|", attempt(&b));
    CHECK_STR("fault closed|no 0  |", attempt(&c));
    CHECK_STR("fault closed|no 0  |", attempt(&d));
    CHECK(d.mail.data_sent);
}

TEST(smtp_client, falls_back_to_helo)
{
    struct attempt a = {.t = t, .to = "x@y.org", .script = SCRIPT("S:220 hi\r\n", "C:EHLO", "S:502 what\r\n", "C:HELO client.example", "S:250 hi\r\n",
        "C:MAIL FROM:<a@b.org>", "S:250 ok\r\n", "C:RCPT", "S:250 ok\r\n", "C:DATA", "S:354 go\r\n", "C:Subject", "C:", "C:..dot", "C:.", "S:250 ok\r\n", "C:QUIT")};

    CHECK_STR("yes 250  ok|", attempt(&a));
}

TEST(smtp_client, judges_alone_what_the_remote_cannot_do)
{
    struct attempt utf8 = {.t = t, .to = "\xc3\xbc@y.org", .script = SCRIPT(HELLO, "C:QUIT")};
    struct attempt size = {.t = t, .to = "x@y.org", .mail.size = 1001, .script = SCRIPT(HELLO, "C:QUIT")};
    struct attempt tls = {.t = t, .to = "x@y.org", .mail.requiretls = true, .script = SCRIPT(HELLO, "C:QUIT")};
    struct attempt bad = {.t = t, .to = "x@y.org> x\r\nDATA", .script = SCRIPT(HELLO, "C:QUIT")};

    CHECK_STR("no 550 5.6.7 SMTPUTF8 is needed, and not offered by the remote|", attempt(&utf8));
    CHECK_STR("no 552 5.3.4 Larger than the remote accepts|", attempt(&size));
    CHECK_STR("no 550 5.7.30 REQUIRETLS is needed, and not offered by the remote|", attempt(&tls));
    CHECK_STR("no 553 5.1.3 Recipient address is not valid|", attempt(&bad));
}

/* RFC 5321 2.3.8: what could be read as two messages is not sent. */
TEST(smtp_client, never_smuggles)
{
    static const char *const bad[] = {"a\n.\r\n", "a\r.\r\n", "a\r\n.\n", "\n", "a\r"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct attempt a = {.t = t, .to = "x@y.org", .pieces = SCRIPT("Subject: x\r\n\r\n", bad[i]), .script = SCRIPT(HELLO,
            "C:MAIL", "S:250 ok\r\n", "C:RCPT", "S:250 ok\r\n", "C:DATA", "S:354 go\r\n")};

        CHECK_ROW_STR(i, "fault invalid|no 0  |", slice_of(attempt(&a)));
        CHECK_ROW(i, !a.mail.data_sent);
    }
}

/* ---- against our own engine ---------------------------------------------------------------------------------------- */

static struct smtp_reply take_chunk(struct smtp_session *s, struct slice bytes)
{
    struct remote *m = smtp_server_arg(s->server);

    (void)buf_append(&m->seen, bytes);
    return SMTP_OK;
}

static struct smtp_reply take_end(struct smtp_session *s)
{
    struct remote *m = smtp_server_arg(s->server);

    (void)buf_append(&m->seen, LIT("|"));
    return SMTP_OK;
}

static void two_fiber(void *arg)
{
    struct test *t = arg;
    static const struct smtp_handlers h = {.data_chunk = take_chunk, .data_end = take_end};
    struct remote m = {.t = t, .seen = BUF_INIT(1 << 20)};
    struct smtp_server_options so = {.hostname = "mx.example", .extensions = SMTP_EXT_8BITMIME, .message_bytes_max = 1 << 20,
        .recipients_max = 10, .handlers = &h, .arg = &m};
    struct attempt a = {.t = t, .to = "x@y.org", .pieces = SCRIPT("one\r\n.\r\n", "."), .verdicts = BUF_INIT(4096), .mail.from = LIT("")};
    struct attempt b = {.t = t, .to = "x@y.org", .pieces = SCRIPT("two\r\n"), .verdicts = BUF_INIT(4096), .mail.from = LIT("")};
    struct smtp_client_options o;
    struct smtp_client *c = NULL;
    struct smtp_reply refusal;
    struct fault why;

    m.server = smtp_server_new(&so);
    o = options_for(remote_begin(&m, smtp_server_accept, m.server));
    REQUIRE_OK(smtp_client_open(&o, deadline_in_ms(TALK_MS), t->arena, &c, &refusal, &why), &why);
    try_send(&a, c);
    CHECK(smtp_client_is_usable(c));
    try_send(&b, c);
    smtp_client_close(&c);
    CHECK_SLICE(LIT("yes 250 2.0.0 Ok|"), buf_slice(&a.verdicts));
    CHECK_SLICE(LIT("yes 250 2.0.0 Ok|"), buf_slice(&b.verdicts));
    CHECK_SLICE(LIT("one\r\n.\r\n.\r\n|two\r\n|"), buf_slice(&m.seen));
    smtp_server_drain(m.server, deadline_in_ms(TALK_MS));
    smtp_server_free(&m.server);
    listener_close(&m.listener);
    buf_free(&m.seen);
    buf_free(&a.verdicts);
    buf_free(&b.verdicts);
}

TEST(smtp_client, uses_a_connection_twice)
{
    loop_run_fiber(two_fiber, t);
}
