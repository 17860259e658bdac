/* mx_flow_test.c - whole conversations with fe-mx in one process: a store of its own, and a second server that takes forwards. */
#include <unistd.h>

#include "base/test.h"
#include "mail/srs.h"
#include "mx.h"
#include "mx_limit.h"
#include "net/smtp_client.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define TALK_MS 20000

/* ---- the world: domains, aliases, a sink ------------------------------------------------------------------------------ */

struct world {
    struct test *t;
    struct mx_config config;
    struct mx mx;
    char folder[32], path[96];
    struct smtp_server *sink;
    struct listener *sink_port;
    struct buf sunk;                          /* what the sink took: "from>to\n" + content, per message */
    unsigned sink_count;
    bool sink_defers;                         /* recipients "later" are refused for now */
    void (*play)(struct world *w);
};

static struct world *world_of(struct smtp_session *s)
{
    return smtp_server_arg(s->server);
}

static struct smtp_reply sink_rcpt(struct smtp_session *s, const struct smtp_rcpt *rcpt)
{
    if (slice_equal(rcpt->to.local, LIT("later")) && world_of(s)->sink_defers)
        return SMTP_REPLY(450, "4.2.0", "later@there.example: come back later");
    if (slice_equal(rcpt->to.local, LIT("never")))
        return SMTP_REPLY(550, "5.1.1", "never@there.example unknown");
    (void)buf_printf(&world_of(s)->sunk, "%.*s>%.*s\n", SLICE(s->mail.from.address), SLICE(rcpt->to.address));
    return SMTP_OK;
}

static struct smtp_reply sink_chunk(struct smtp_session *s, struct slice bytes)
{
    (void)buf_append(&world_of(s)->sunk, bytes);
    return SMTP_OK;
}

static struct smtp_reply sink_end(struct smtp_session *s)
{
    world_of(s)->sink_count++;
    return SMTP_OK;
}

static const struct smtp_handlers sink_handlers = {.rcpt = sink_rcpt, .data_chunk = sink_chunk, .data_end = sink_end};

static uint16_t open_port(struct world *w, const struct smtp_handlers *handlers, void *arg, struct smtp_server **server, struct listener **port)
{
    struct smtp_server_options o = {.hostname = "host.example", .extensions = SMTP_EXT_8BITMIME | SMTP_EXT_CHUNKING, .message_bytes_max = 2 << 20,
        .recipients_max = 20, .handlers = handlers, .arg = arg};
    struct listener_options lo = {.name = "test", .bind_address = "127.0.0.1", .accept = smtp_server_accept};
    struct fault why;

    *server = smtp_server_new(&o);
    lo.arg = *server;
    if (listener_open(&lo, port, &why) < 0) {
        test_fail(w->t, __FILE__, __LINE__, "listen: %s", why.text);
        return 0;
    }
    return listener_port(*port);
}

static void add_alias(struct world *w, const char *domain_id, const char *name, bool enabled, int code, const char *recipients, bool has_imap)
{
    struct alias_doc a = {.name = slice_of(name), .is_enabled = enabled, .error_code_if_disabled = code, .has_imap = has_imap};
    struct slice rest = slice_of(recipients), one, list[20];
    struct fault why;
    struct test *t = w->t;

    memcpy(a.domain, domain_id, sizeof(a.domain));
    memcpy(a.user, object_id_new().s, sizeof(a.user));
    while (slice_cut(&rest, ',', &one))
        list[a.recipient_count++] = one;
    a.recipients = list;
    CHECK_OK(alias_insert(w->mx.store, &a, deadline_in_ms(TALK_MS), &why), &why);
}

static void add_choosy_domain(struct world *w)
{
    struct slice denied[] = {LIT("bad.example"), LIT("eve@sender.example"), LIT("192.0.2.1")}, allowed[] = {LIT("good@bad.example")};
    struct domain_doc d = {.name = LIT("choosy.example"), .denylist = denied, .denylist_count = 3, .allowlist = allowed, .allowlist_count = 1};
    struct fault why;
    struct test *t = w->t;

    CHECK_OK(domain_insert(w->mx.store, &d, deadline_in_ms(TALK_MS), &why), &why);
    add_alias(w, d.id, "jane", true, 250, "jane@there.example", false);
}

static void fill_store(struct world *w)
{
    struct domain_doc d = {.name = LIT("here.example")};
    struct fault why;
    struct test *t = w->t;

    CHECK_OK(domain_insert(w->mx.store, &d, deadline_in_ms(TALK_MS), &why), &why);
    add_alias(w, d.id, "jane", true, 250, "jane@there.example", false);
    add_alias(w, d.id, "host", true, 250, "there.example", false);
    add_alias(w, d.id, "two", true, 250, "one@there.example,later@there.example", false);
    add_alias(w, d.id, "never", true, 250, "never@there.example", false);
    add_alias(w, d.id, "nested", true, 250, "jane@here.example,other@there.example", false);
    add_alias(w, d.id, "circle", true, 250, "circle2@here.example", false);
    add_alias(w, d.id, "circle2", true, 250, "circle@here.example", false);
    add_alias(w, d.id, "drop", false, 250, "", false);
    add_alias(w, d.id, "defer", false, 421, "", false);
    add_alias(w, d.id, "refuse", false, 550, "", false);
    add_alias(w, d.id, "hook", true, 250, "https://hook.example/x", false);
    add_alias(w, d.id, "box", true, 250, "", true);
    add_alias(w, d.id, "both", true, 250, "jane@there.example", true);
    add_alias(w, d.id, "/^list-(.*)$/", true, 250, "list@there.example", false);
    memset(&d, 0, sizeof(d));
    d.name = LIT("all.example");
    CHECK_OK(domain_insert(w->mx.store, &d, deadline_in_ms(TALK_MS), &why), &why);
    add_alias(w, d.id, "*", true, 250, "all@there.example", false);
    add_choosy_domain(w);
}

static int world_open(struct world *w, struct fault *why)
{
    struct store_options so = {.uri = w->path};
    static char uri[128], key[128];

    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/fe-mx-XXXXXX");
    if (mkdtemp(w->folder) == NULL)
        return fault_set(why, FAULT_IO, "mkdtemp");
    (void)snprintf(uri, sizeof(uri), "embedded:%s/store.sqlite", w->folder);
    (void)snprintf(key, sizeof(key), "%s/store.key", w->folder);
    so.uri = uri;
    so.key_file = key;
    if (store_open(&so, &w->mx.store, why) < 0 || spool_dir_open(w->folder, &w->mx.spools, why) < 0 || tls_client_new(NULL, &w->mx.tls_out, why) < 0)
        return -1;
    w->mx.directory = directory_new(w->mx.store, 0);
    return 0;
}

static void world_make(struct world *w)
{
    w->config = (struct mx_config){
        .host = "mx.here.example", .web_host = "web.example", .website = "", .abuse = "", .dkim_key_path = "", .dkim_domain = "", .dkim_selector = "default", .srs_secret = secret_new(LIT("srs")),
        .message_bytes_max = 1 << 20, .forwards_max = 10, .concurrency_max = 0, .forward_host = "127.0.0.1", .forward_private = true, .source_ip = ""};
    w->mx.config = &w->config;
    w->mx.mark_key = secret_new(LIT("marks"));
    w->mx.rpc_secret = secret_new(LIT("rpc"));
    w->mx.limit = mx_limit_new(NULL, 0, NULL);
    w->mx.delivered = metric_counter("t1", "");
    w->mx.forwarded = metric_counter("t2", "");
    w->mx.deferred = metric_counter("t3", "");
    w->mx.refused = metric_counter("t4", "");
    w->mx.took = metric_histogram_us("t5", "");
}

static void world_close(struct world *w)
{
    AUTO(buf_free) struct buf command = BUF_INIT(256);

    listener_close(&w->mx.listener);
    listener_close(&w->sink_port);
    smtp_server_drain(w->mx.smtp, deadline_in_ms(TALK_MS));
    smtp_server_drain(w->sink, deadline_in_ms(TALK_MS));
    smtp_server_free(&w->mx.smtp);
    smtp_server_free(&w->sink);
    mailbox_server_free(&w->mx.mailboxes);
    directory_free(&w->mx.directory);
    store_close(&w->mx.store);
    spool_dir_close(&w->mx.spools);
    tls_client_unref(&w->mx.tls_out);
    mx_limit_free(&w->mx.limit);
    secret_unref(&w->mx.mark_key);
    secret_unref(&w->mx.rpc_secret);
    secret_unref(&w->config.srs_secret);
    buf_free(&w->sunk);
    (void)buf_printf(&command, "rm -rf %s", w->folder);
    if (system(command.p) != 0)
        test_fail(w->t, __FILE__, __LINE__, "cannot remove %s", w->folder);
}

static void world_fiber(void *arg)
{
    struct world *w = arg;
    struct test *t = w->t;
    struct fault why = {0};

    buf_init(&w->sunk, 1 << 22);
    world_make(w);
    REQUIRE_OK(world_open(w, &why), &why);
    fill_store(w);
    w->config.forward_port = open_port(w, &sink_handlers, w, &w->sink, &w->sink_port);
    w->config.port = open_port(w, &mx_handlers, &w->mx, &w->mx.smtp, &w->mx.listener);
    /* nobody listens there: the mailbox server is away */
    w->mx.mailboxes = mailbox_server_new(&(struct mailbox_server_options){.host = "127.0.0.1", .port = 1, .secret = w->mx.rpc_secret});
    w->play(w);
    world_close(w);
}

static void world(struct test *t, void (*play)(struct world *w))
{
    struct world w = {.t = t, .play = play};

    loop_run_fiber(world_fiber, &w);
}

/* ---- sending to it ------------------------------------------------------------------------------------------------------- */

static int pull_text(void *arg, struct slice *piece, struct fault *why)
{
    struct slice *text = arg;

    (void)why;
    *piece = *text;
    *text = SLICE_NONE;
    return piece->n > 0;
}

#define MESSAGE "From: a@sender.example\r\nSubject: x\r\nReturn-Path: <forged@x>\r\n\r\nhello\r\n.dot\r\n"

/* Codes of the recipients (comma separated), as "250 550". */
static const char *deliver(struct world *w, const char *from, const char *to, const char *content)
{
    struct smtp_client_options o = {.ip = "127.0.0.1", .port = w->config.port, .helo = "client.example", .policy = SMTP_TLS_NONE};
    struct smtp_client_rcpt rcpts[8] = {0};
    struct slice text = slice_of(content), rest = slice_of(to), one, out = LIT("");
    struct smtp_client_mail mail = {.from = slice_of(from), .rcpts = rcpts, .pull = pull_text, .arg = &text};
    struct arena *a = w->t->arena;
    struct smtp_client *c = NULL;
    struct smtp_reply refusal;
    struct fault why = {0};

    while (slice_cut(&rest, ',', &one))
        rcpts[mail.rcpt_count++].address = one;
    if (smtp_client_open(&o, deadline_in_ms(TALK_MS), a, &c, &refusal, &why) < 0 ||
        smtp_client_send(c, &mail, a, deadline_in_ms(TALK_MS), &why) < 0)
        test_fail(w->t, __FILE__, __LINE__, "%s: %s", to, why.text);
    smtp_client_close(&c);
    for (size_t i = 0; i < mail.rcpt_count; i++)
        out = arena_printf(a, "%.*s%s%d %s %.*s", SLICE(out), i ? "|" : "", rcpts[i].reply.code, rcpts[i].reply.enhanced, SLICE(rcpts[i].reply.text));
    return arena_cstr(a, out);
}

#define EXPECT(want, got) \
    do { const char *g_ = (got); if (strncmp(g_, (want), strlen(want)) != 0) test_fail(w->t, __FILE__, __LINE__, "want [%s], got [%s]", (want), g_); } while (0)

static void play_recipients(struct world *w)
{
    static const struct {
        const char *to, *want;
    } row[] = {
        {"x@elsewhere.example", "550 5.7.1"},
        {"nobody@here.example", "550 5.1.1"},
        {"jane@here.example", "250 2.0.0"},
        {"JANE+news@HERE.example", "250 2.0.0"},
        {"host@here.example", "250 2.0.0"},
        {"list-cats@here.example", "250 2.0.0"},
        {"anybody@all.example", "250 2.0.0"},
        {"nested@here.example", "250 2.0.0"},
        {"circle@here.example", "550 5.4.6"},
        {"drop@here.example", "250 2.0.0"},
        {"defer@here.example", "421 4.2.1"},
        {"refuse@here.example", "550 5.2.1"},
        {"hook@here.example", "550 5.1.1"},
        {"never@here.example", "550 5.1.1 forward refused: 550 never@here.example unknown"},
        {"box@here.example", "451 4.3.0"},
        {"jane@here.example,nobody@here.example", "250 2.0.0"},
    };

    for (size_t i = 0; i < COUNT(row); i++)
        EXPECT(row[i].want, deliver(w, "a@sender.example", row[i].to, MESSAGE));
}

TEST(mx_flow, knows_its_recipients)
{
    world(t, play_recipients);
}

static void play_forward(struct world *w)
{
    struct test *t = w->t;
    struct slice sunk, original;
    ptrdiff_t end;

    EXPECT("250", deliver(w, "a@sender.example", "jane+tag@here.example", MESSAGE));
    sunk = buf_slice(&w->sunk);
    CHECK(slice_has_prefix(sunk, LIT("SRS0=")));
    end = slice_find_char(sunk, '>');
    CHECK_INT(SRS_VALID, srs_decode(t->arena, w->config.srs_secret, slice_head(sunk, (size_t)end), clock_wall_ms(), &original));
    CHECK_SLICE(LIT("a@sender.example"), original);
    CHECK(slice_find(sunk, LIT(">jane+tag@there.example\nX-Original-To: jane+tag@here.example\r\nReceived: from client.example")) > 0);
    CHECK(slice_find(sunk, LIT("forged@x")) < 0);
    CHECK(slice_has_suffix(sunk, LIT("From: a@sender.example\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n")));

    /* the bounce of it comes back to whom it was rewritten for */
    original = arena_copy(t->arena, slice_head(sunk, (size_t)end));
    buf_reset(&w->sunk);
    EXPECT("250", deliver(w, "", original.p, MESSAGE));
    CHECK(slice_has_prefix(buf_slice(&w->sunk), LIT(">a@sender.example\n")));
    EXPECT("553", deliver(w, "", "SRS0=00000000=AA=sender.example=a@web.example", MESSAGE));
    EXPECT("553", deliver(w, "SRS0=00000000=AA=sender.example=a@web.example", "jane@here.example", MESSAGE));
}

static void play_lists(struct world *w)
{
    static const struct {
        const char *from, *want;
    } row[] = {
        {"a@sender.example", "250"},
        {"Eve@Sender.example", "550 5.7.1"},
        {"x@bad.example", "550 5.7.1"},
        {"x@very.bad.example", "550 5.7.1"},
        {"x@notbad.example", "250"},
        {"good@bad.example", "250"},
        {"", "250"},
    };

    for (size_t i = 0; i < COUNT(row); i++)
        EXPECT(row[i].want, deliver(w, row[i].from, "jane@choosy.example", MESSAGE));
    EXPECT("250", deliver(w, "x@bad.example", "jane@here.example", MESSAGE));
}

TEST(mx_flow, an_owner_lists_senders)
{
    world(t, play_lists);
}

TEST(mx_flow, forwards_with_srs)
{
    world(t, play_forward);
}

/* A retry brings the message to those who have not got it, and to nobody twice. */
static void play_retry(struct world *w)
{
    struct test *t = w->t;

    w->sink_defers = true;
    EXPECT("451 4.2.0 Message delivered to two@here.example; not to two@here.example: forward refused: 450 two@here.example: come",
           deliver(w, "a@sender.example", "two@here.example", MESSAGE));
    CHECK_INT(1, w->sink_count);
    w->sink_defers = false;
    EXPECT("250", deliver(w, "a@sender.example", "two@here.example", MESSAGE));
    CHECK_INT(2, w->sink_count);
    EXPECT("250", deliver(w, "a@sender.example", "two@here.example", MESSAGE));
    CHECK_INT(2, w->sink_count);
    EXPECT("250", deliver(w, "a@sender.example", "two@here.example", MESSAGE "other\r\n"));
    CHECK_INT(4, w->sink_count);
}

TEST(mx_flow, a_retry_doubles_nothing)
{
    world(t, play_retry);
}

/* The mailbox server is away: the forward goes out once, however often the sender comes back. */
static void play_half(struct world *w)
{
    struct test *t = w->t;

    for (int i = 0; i < 3; i++)
        EXPECT("451 4.3.0 Message delivered to both@here.example; not to both@here.example",
               deliver(w, "a@sender.example", "both@here.example", MESSAGE));
    CHECK_INT(1, w->sink_count);
}

TEST(mx_flow, a_missing_mailbox_server_doubles_nothing)
{
    world(t, play_half);
}

static void play_crowd(struct world *w)
{
    struct stream *s[3] = {0};
    struct fault why;
    struct slice line;
    struct test *t = w->t;

    mx_limit_free(&w->mx.limit);
    w->mx.limit = mx_limit_new(NULL, 2, NULL);
    for (size_t i = 0; i < 3; i++) {
        REQUIRE_OK(stream_connect("127.0.0.1", w->config.port, NULL, deadline_in_ms(TALK_MS), &s[i], &why), &why);
        REQUIRE_OK(stream_read_line(s[i], SMTP_LINE_MAX, deadline_in_ms(TALK_MS), &line, &why), &why);
        CHECK(slice_has_prefix(line, i < 2 ? LIT("220 ") : LIT("421 Too many")));
    }
    stream_close(&s[2]);
    stream_close(&s[0]);
    while (listener_connection_count(w->mx.listener) > 1)
        fiber_yield();
    EXPECT("250", deliver(w, "a@sender.example", "jane@here.example", MESSAGE));
    stream_close(&s[1]);
}

TEST(mx_flow, lets_one_address_have_so_many_connections)
{
    world(t, play_crowd);
}

static void play_headers(struct world *w)
{
    struct slice loop = LIT("");

    for (int i = 0; i < 26; i++)
        loop = arena_printf(w->t->arena, "%.*sReceived: x\r\n", SLICE(loop));
    EXPECT("550 5.4.6", deliver(w, "a@sender.example", "jane@here.example", arena_printf(w->t->arena, "%.*s" MESSAGE, SLICE(loop)).p));
    EXPECT("550 5.6.0", deliver(w, "a@sender.example", "jane@here.example", "Subject: x\r\n\r\nhello\r\n"));
    EXPECT("550 5.6.0", deliver(w, "a@sender.example", "jane@here.example", "From: a@b.org, c@d.org\r\n\r\nhello\r\n"));
    EXPECT("550 5.6.0", deliver(w, "a@sender.example", "jane@here.example", "\r\nhello\r\n"));
}

TEST(mx_flow, looks_at_headers)
{
    world(t, play_headers);
}

/* Beyond what memory holds: through the encrypted file, and whole at the other end. */
static void play_large(struct world *w)
{
    struct test *t = w->t;
    size_t n = 700000;
    char *text = arena_alloc(t->arena, n + 1);

    memset(text, 'x', n);
    for (size_t i = 70; i + 2 < n; i += 72)
        memcpy(text + i, "\r\n", 2);
    memcpy(text + n - 2, "\r\n", 2);
    memcpy(text, MESSAGE, sizeof(MESSAGE) - 1);
    EXPECT("250", deliver(w, "a@sender.example", "jane@here.example", text));
    CHECK(slice_has_suffix(buf_slice(&w->sunk), slice_make(text + sizeof(MESSAGE), n - sizeof(MESSAGE))));
}

TEST(mx_flow, passes_large_messages)
{
    world(t, play_large);
}
