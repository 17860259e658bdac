/* websocket_test.c - WebSocket over a stream pair: handshake, messages both ways, limits, closing,
 * keep-alive (RFC 6455). */
#include "base/test.h"
#include "net/websocket.h"
#include "rt/fiber.h"
#include "rt/loop.h"

struct pair {
    struct test *t;
    struct http_server http;
    struct websocket_options options;
    struct websocket *client;
    unsigned received, close_code;
    struct fault server_fault;
    bool server_done;
    void (*body)(struct pair *p);
};

/* Sends every message back. */
static void echo(struct http_request *rq, void *arg)
{
    struct pair *p = arg;
    struct websocket *w;
    struct fault why = {FAULT_NONE, ""};

    if (websocket_accept(rq, &p->options, &w, &why) < 0) {
        p->server_done = true;
        return;
    }
    for (;;) {
        AUTO(websocket_message_free) struct websocket_message m = {.data = BUF_INIT(0)};
        struct slice part;
        if (websocket_receive(w, deadline_in_ms(10000), &m, &why) <= 0)
            break;
        p->received++;
        part = buf_slice(&m.data);
        if (websocket_send(w, m.kind, &part, 1, deadline_in_ms(10000), &why) < 0)
            break;
    }
    p->close_code = websocket_close_code(w);
    p->server_fault = why;
    websocket_close(&w, 1000, SLICE_NONE);
    p->server_done = true;
}

static int connect_client(struct pair *p, struct stream **client, struct fault *why)
{
    const struct http_header headers[] = {{LIT("Authorization"), LIT("Bearer x")}};
    const struct websocket_target target = {
        .host = LIT("a"), .headers = headers, .header_count = 1};

    return websocket_connect(client, &target, &p->options, deadline_in_ms(5000), &p->client, why);
}

static void run_pair(void *arg)
{
    struct pair *p = arg;
    struct stream *client, *server;
    struct fault why;

    if (stream_pair(&client, &server, &why) < 0)
        abort();
    p->http = (struct http_server){.handle = echo, .arg = p};
    http_serve(server, &p->http);
    if (connect_client(p, &client, &why) < 0)
        test_fail(p->t, __FILE__, __LINE__, "connect: %s", why.text);
    else
        p->body(p);
    websocket_close(&p->client, 1000, SLICE_NONE);
    while (!p->server_done)
        fiber_yield();
    stream_close(&client);
}

static struct pair in_pair(struct test *t, void (*body)(struct pair *p),
                           struct websocket_options options)
{
    struct pair p = {.t = t, .body = body, .options = options};
    loop_run_fiber(run_pair, &p);
    return p;
}

#define LIMITS                                                                                     \
    {                                                                                              \
        .text_bytes_max = 1000, .binary_bytes_max = 300000                                         \
    }

static void check_echo(struct pair *p, enum websocket_kind kind, struct slice bytes)
{
    AUTO(websocket_message_free) struct websocket_message m = {.data = BUF_INIT(0)};
    const struct slice parts[] = {slice_head(bytes, bytes.n / 3), slice_tail(bytes, bytes.n / 3)};
    struct test *t = p->t;
    struct fault why;

    REQUIRE_OK(websocket_send(p->client, kind, parts, 2, deadline_in_ms(5000), &why), &why);
    REQUIRE(websocket_receive(p->client, deadline_in_ms(5000), &m, &why) == 1);
    CHECK_INT(kind, m.kind);
    CHECK(slice_equal(bytes, buf_slice(&m.data)));
}

static void body_echoes(struct pair *p)
{
    static char big[300000];

    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7);
    check_echo(p, WEBSOCKET_TEXT, LIT("h\303\251llo"));
    check_echo(p, WEBSOCKET_TEXT, LIT(""));
    for (size_t n = 0; n < 300; n += 7)
        check_echo(p, WEBSOCKET_BINARY, slice_make(big, n));
    check_echo(p, WEBSOCKET_BINARY, slice_make(big, 65535));
    check_echo(p, WEBSOCKET_BINARY, slice_make(big, 65536));
    check_echo(p, WEBSOCKET_BINARY, slice_make(big, sizeof(big)));
}

TEST(websocket, messages_of_all_sizes_come_back)
{
    struct pair p = in_pair(t, body_echoes, (struct websocket_options)LIMITS);

    CHECK(p.received == 2 + 43 + 3);
    CHECK_INT(1000, p.close_code);
}

static void body_too_big(struct pair *p)
{
    static char big[1001];
    const struct slice part = slice_make(memset(big, 'x', sizeof(big)), sizeof(big));
    struct websocket_message m;
    struct test *t = p->t;
    struct fault why;

    REQUIRE_OK(websocket_send(p->client, WEBSOCKET_TEXT, &part, 1, deadline_in_ms(5000), &why),
               &why);
    CHECK_INT(0, websocket_receive(p->client, deadline_in_ms(5000), &m, &why));
    CHECK_INT(1009, websocket_close_code(p->client));
}

TEST(websocket, a_message_over_the_limit_ends_it_with_1009)
{
    struct pair p = in_pair(t, body_too_big, (struct websocket_options)LIMITS);

    CHECK_INT(FAULT_LIMIT, p.server_fault.code);
}

static void body_bad_utf8(struct pair *p)
{
    const struct slice part = LIT("\300\257");
    struct websocket_message m;
    struct test *t = p->t;
    struct fault why;

    REQUIRE_OK(websocket_send(p->client, WEBSOCKET_TEXT, &part, 1, deadline_in_ms(5000), &why),
               &why);
    CHECK_INT(0, websocket_receive(p->client, deadline_in_ms(5000), &m, &why));
    CHECK_INT(1007, websocket_close_code(p->client));
}

TEST(websocket, text_that_is_no_utf8_ends_it_with_1007)
{
    struct pair p = in_pair(t, body_bad_utf8, (struct websocket_options)LIMITS);

    CHECK_INT(FAULT_PROTOCOL, p.server_fault.code);
}

static void body_silent(struct pair *p)
{
    struct websocket_message m;
    struct test *t = p->t;
    struct fault why;

    CHECK_FAULT(FAULT_TIMEOUT, websocket_receive(p->client, deadline_in_ms(200), &m, &why),
                &why); /* pings were answered */
    check_echo(p, WEBSOCKET_TEXT, LIT("still here"));
}

TEST(websocket, pings_keep_an_idle_connection)
{
    struct pair p = in_pair(
        t, body_silent,
        (struct websocket_options){.text_bytes_max = 100, .binary_bytes_max = 100, .ping_ms = 20});

    CHECK_INT(1, p.received);
}

static void run_dead_peer(void *arg)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct pair *p = arg;
    struct test *t = p->t;
    struct stream *client, *server;
    struct slice line;
    struct fault why;
    bool accepted = false;

    if (stream_pair(&client, &server, &why) < 0)
        abort();
    p->http = (struct http_server){.handle = echo, .arg = p};
    http_serve(server, &p->http);
    CHECK_OK(stream_write(client, slice_of(request), deadline_in_ms(1000), &why), &why);
    do {
        if (stream_read_line(client, 1000, deadline_in_ms(1000), &line, &why) < 0)
            break;
        accepted |= slice_equal(
            line, LIT("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455 1.3 */
    } while (line.n > 0);
    CHECK(accepted);
    while (!p->server_done) /* we answer no ping */
        if (fiber_sleep_until(deadline_in_ms(5), &why) < 0)
            break;
    stream_close(&client);
}

TEST(websocket, a_peer_that_answers_no_ping_is_dead)
{
    struct pair p = {.t = t,
                     .options = {.text_bytes_max = 100, .binary_bytes_max = 100, .ping_ms = 20}};

    loop_run_fiber(run_dead_peer, &p);
    CHECK_INT(FAULT_CLOSED, p.server_fault.code);
    CHECK_INT(1006, p.close_code);
}
