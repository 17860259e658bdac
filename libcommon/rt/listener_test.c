/* listener_test.c - accepting on loopback ports: addresses, TLS, PROXY headers, limits; and the
 * header's parser. */
#include "rt/listener.h"

#include "base/test.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/newcomers.h"
#include "rt/proxy.h"
#include "rt/tls_test_cert.h"

#include <unistd.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* --- the PROXY header ------------------------------------------------------------------------- */

static const char proxy_v4[] =
    V2 "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x07\x30\x39\x00\x19";
static const char proxy_v6[] = V2 "\x21\x21\x00\x27"
                                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
                                  "\x30\x39\x00\x19\x04\0\0";
static const char proxy_mapped[] = V2 "\x21\x21\x00\x24"
                                      "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                                      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
                                      "\x30\x39\x00\x19";
static const char proxy_local[] = V2 "\x20\x00\x00\x00";

#define BYTES(array)                                                                               \
    {                                                                                              \
        (array), sizeof(array) - 1                                                                 \
    }

TEST(proxy, parses_headers_cut_anywhere)
{
    static const struct {
        struct slice in;
        bool is_local;
        const char *source, *destination;
    } row[] = {
        {BYTES(proxy_v4), false, "192.0.2.1", "198.51.100.7"},
        {BYTES(proxy_v6), false, "2001:db8::1", "2001:db8::2"},
        {BYTES(proxy_mapped), false, "192.0.2.1", "2001:db8::2"},
        {BYTES(proxy_local), true, "", ""},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct proxy_header h;

        for (size_t cut = 0; cut < row[i].in.n; cut++)
            CHECK_ROW(i, proxy_parse(slice_head(row[i].in, cut), &h) == 0);
        CHECK_ROW(i, proxy_parse(row[i].in, &h) == (int)row[i].in.n);
        CHECK_ROW(i, h.is_local == row[i].is_local);
        CHECK_ROW_STR(i, row[i].source, slice_of(h.source.ip));
        CHECK_ROW_STR(i, row[i].destination, slice_of(h.destination.ip));
        CHECK_ROW(i, h.is_local || (h.source.port == 12345 && h.destination.port == 25));
    }
}

TEST(proxy, refuses_what_is_none)
{
    static const struct slice row[] = {
        {"EHLO", 4},
        {V2 "\x11\x11\x00\x0c............", 28}, /* version 1 */
        {V2 "\x22\x11\x00\x0c............", 28}, /* unknown command */
        {V2 "\x21\x12\x00\x0c............", 28}, /* UDP */
        {V2 "\x21\x31\x00\x0c............", 28}, /* unix */
        {V2 "\x21\x11\x00\x0b...........", 27},  /* too short for its family */
        {V2 "\x21\x21\x00\x0c............", 28},
        {V2 "\x21\x11\x04\x00", 16}, /* too long for us */
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct proxy_header h;

        CHECK_ROW(i, proxy_parse(row[i], &h) == -1);
    }
}

TEST(proxy, prefixes)
{
    static const struct {
        const char *ip, *prefix;
        bool valid, inside;
    } row[] = {
        {"192.0.2.7", "192.0.2.7", true, true},
        {"192.0.2.7", "192.0.2.8", true, false},
        {"192.0.2.7", "192.0.2.0/29", true, true},
        {"192.0.2.8", "192.0.2.0/29", true, false},
        {"192.0.2.8", "0.0.0.0/0", true, true},
        {"2001:db8::1", "0.0.0.0/0", true, false},
        {"2001:db8:8000::1", "2001:db8::/32", true, true},
        {"2001:db9::1", "2001:db8::/32", true, false},
        {"2001:db8::1", "2001:db8::1/128", true, true},
        {"192.0.2.7", "192.0.2.0/33", false, false},
        {"192.0.2.7", "192.0.2/24", false, false},
        {"192.0.2.7", "", false, false},
        {"192.0.2.7", "192.0.2.0/x", false, false},
        {"nonsense", "192.0.2.0/24", true, false},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        CHECK_ROW(i, address_prefix_is_valid(slice_of(row[i].prefix)) == row[i].valid);
        CHECK_ROW(i, address_in_prefix(row[i].ip, slice_of(row[i].prefix)) == row[i].inside);
    }
}

/* --- listening -------------------------------------------------------------------------------- */

struct scene {
    struct test *t;
    struct listener *listener;
    struct tls_server *tls;
    struct test_cert cert;
    const char *bind, *connect, *unix_path;
    struct slice before; /* sent first */
    const char *want_ip;
    unsigned accepted;
    struct stream_addr peer, local;
    struct fault why;
    struct fiber_event event;
};

static void echo_line(struct stream *s, void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice line;
    struct fault why;

    sc->accepted++;
    sc->peer = *stream_peer(s);
    sc->local = *stream_local(s);
    fiber_event_broadcast(&sc->event);
    if (stream_read_line(s, 100, deadline_in_ms(5000), &line, &why) == 0)
        CHECK_OK(stream_printf(s, deadline_in_ms(5000), &why, "%.*s\r\n", SLICE(line)), &why);
    stream_close(&s); /* sends it */
}

static bool open_listener(struct scene *sc, struct listener_options options)
{
    struct test *t = sc->t;

    options.name = "test";
    options.accept = echo_line;
    options.arg = sc;
    CHECK_OK(listener_open(&options, &sc->listener, &sc->why), &sc->why);
    return sc->listener != NULL;
}

static struct stream *call(struct scene *sc, const char *ip)
{
    struct test *t = sc->t;
    struct stream *s = NULL;
    uint16_t port = sc->unix_path == NULL ? listener_port(sc->listener) : 0;

    CHECK_OK(stream_connect(ip, port, NULL, deadline_in_ms(5000), &s, &sc->why), &sc->why);
    return s;
}

static void expect_echo(struct scene *sc, struct stream *s)
{
    struct test *t = sc->t;
    struct slice line;

    CHECK_OK(stream_write(s, LIT("ping\r\n"), deadline_in_ms(5000), &sc->why), &sc->why);
    REQUIRE_OK(stream_read_line(s, 100, deadline_in_ms(5000), &line, &sc->why), &sc->why);
    CHECK_STR("ping", line);
}

/* Containers often have no IPv6 at all, not even ::1. */
static bool has_ipv6_loopback(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void calls_addresses(void *arg)
{
    static const struct {
        const char *bind, *connect, *peer;
    } row[] = {
        {NULL, "127.0.0.1", "127.0.0.1"}, /* dual stack shows IPv4 as IPv4 */
        {"127.0.0.1", "127.0.0.1", "127.0.0.1"},
        {"::1", "::1", "::1"},
        {NULL, "::1", "::1"},
    };
    struct scene *sc = arg;
    struct test *t = sc->t;
    bool has_v6 = has_ipv6_loopback();

    for (size_t i = 0; i < COUNT(row); i++) {
        if (!has_v6 && strchr(row[i].connect, ':') != NULL)
            continue;
        if (!open_listener(sc, (struct listener_options){.bind_address = row[i].bind}))
            return;
        AUTO(stream_close) struct stream *s = call(sc, row[i].connect);
        if (s != NULL)
            expect_echo(sc, s);
        CHECK_ROW_STR(i, row[i].peer, slice_of(sc->peer.ip));
        CHECK_ROW_STR(i, row[i].peer, slice_of(sc->local.ip));
        CHECK_ROW(i, sc->local.port == listener_port(sc->listener) && sc->peer.port != 0);
        listener_close(&sc->listener);
    }
}

TEST(listener, accepts_on_every_kind_of_address)
{
    struct scene sc = {.t = t};

    loop_run_fiber(calls_addresses, &sc);
}

static void calls_unix(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct listener *second;

    sc->unix_path = arena_printf(t->arena, "/tmp/fe-test-%d.sock", (int)getpid()).p;
    for (int i = 0; i < 2; i++) {
        if (!open_listener(sc, (struct listener_options){.unix_path = sc->unix_path}))
            return;
        AUTO(stream_close)
        struct stream *s = call(sc, arena_printf(t->arena, "unix:%s", sc->unix_path).p);
        if (s != NULL)
            expect_echo(sc, s);
        CHECK_STR("unix", slice_of(sc->peer.ip));
        listener_close(&sc->listener);
    }
    CHECK(access(sc->unix_path, F_OK) < 0);
    CHECK_FAULT(FAULT_INVALID,
                listener_open(&(struct listener_options){.name = "x", .bind_address = "localhost"},
                              &second, &sc->why),
                &sc->why);
    const char *const bad[] = {"10.0.0.0/40", NULL};
    CHECK_FAULT(FAULT_INVALID,
                listener_open(&(struct listener_options){.name = "x", .proxy_from = bad}, &second,
                              &sc->why),
                &sc->why);
}

TEST(listener, accepts_on_a_unix_socket_and_refuses_bad_settings)
{
    struct scene sc = {.t = t};

    loop_run_fiber(calls_unix, &sc);
}

/* --- PROXY and TLS before the session --------------------------------------------------------- */

static void calls_by_proxy(void *arg)
{
    static const char *const from[] = {"192.0.2.0/24", "127.0.0.0/8", NULL};
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct tls_client *client = NULL;
    struct slice got;

    sc->cert = test_cert_make(t->arena, NULL, TEST_KEY_EC, "mail.example.test");
    REQUIRE_OK(tls_server_new(sc->cert.key_path, sc->cert.cert_path, &sc->tls, &sc->why), &sc->why);
    REQUIRE_OK(tls_client_new(NULL, &client, &sc->why), &sc->why);
    if (!open_listener(sc, (struct listener_options){
                               .bind_address = "127.0.0.1", .proxy_from = from, .tls = sc->tls}))
        return;
    tls_server_unref(&sc->tls); /* the listener keeps its own */

    /* header and ClientHello come in one segment or in two: the header's reader takes no byte too
     * many */
    AUTO(stream_close) struct stream *s = call(sc, "127.0.0.1");
    REQUIRE(s != NULL);
    CHECK_OK(stream_write(s, (struct slice)BYTES(proxy_v6), DEADLINE_NEVER, &sc->why), &sc->why);
    struct tls_client_options none = {.verify = TLS_VERIFY_NONE};
    REQUIRE_OK(stream_start_tls_client(s, client, &none, deadline_in_ms(5000), &sc->why), &sc->why);
    expect_echo(sc, s);
    CHECK_STR("2001:db8::1", slice_of(sc->peer.ip));
    CHECK_INT(12345, sc->peer.port);
    CHECK_STR("2001:db8::2", slice_of(sc->local.ip));

    /* who must send a header and does not is not served */
    AUTO(stream_close) struct stream *rude = call(sc, "127.0.0.1");
    REQUIRE(rude != NULL);
    CHECK_FAULT(FAULT_CLOSED,
                stream_start_tls_client(rude, client, &none, deadline_in_ms(5000), &sc->why),
                &sc->why);
    CHECK_INT(1, sc->accepted);

    AUTO(stream_close) struct stream *plain = call(sc, "127.0.0.1");
    REQUIRE(plain != NULL);
    CHECK_OK(stream_write(plain, (struct slice)BYTES(proxy_local), DEADLINE_NEVER, &sc->why),
             &sc->why);
    CHECK_OK(stream_write(plain, LIT("GET / HTTP/1.0\r\n\r\n"), DEADLINE_NEVER, &sc->why),
             &sc->why);
    CHECK_OK(stream_flush(plain, DEADLINE_NEVER, &sc->why), &sc->why);
    while (stream_read_some(plain, 100, deadline_in_ms(5000), &got, &sc->why) == 0 && got.n > 0)
        ;
    CHECK_INT(1, sc->accepted);
    listener_close(&sc->listener);
    tls_client_unref(&client);
}

TEST(listener, reads_the_proxy_header_then_tls)
{
    struct scene sc = {.t = t};

    loop_run_fiber(calls_by_proxy, &sc);
    test_cert_remove(&sc.cert);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void calls_too_often(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct stream *s[5];

    if (!open_listener(
            sc, (struct listener_options){.bind_address = "127.0.0.1", .max_connections = 3}))
        return;
    for (size_t i = 0; i < COUNT(s); i++) {
        s[i] = call(sc, "127.0.0.1"); /* the kernel's queue takes those that are not accepted yet */
        REQUIRE(s[i] != NULL);
    }
    while (sc->accepted < 3)
        CHECK_OK(fiber_event_wait(&sc->event, deadline_in_ms(5000), &sc->why), &sc->why);
    for (int i = 0; i < 20; i++)
        fiber_yield();
    CHECK_INT(3, sc->accepted);
    CHECK_INT(3, listener_connection_count(sc->listener));
    for (size_t i = 0; i < COUNT(s); i++) { /* each that ends makes room for one */
        expect_echo(sc, s[i]);
        stream_close(&s[i]);
    }
    CHECK_INT(5, sc->accepted);
    listener_close(&sc->listener);
}

TEST(listener, pauses_at_its_limit)
{
    struct scene sc = {.t = t};

    loop_run_fiber(calls_too_often, &sc);
}

/* Of one address two may wait unknown; the third reads why not. Who is known, or has gone, makes room. */
static void calls_unknown(void *arg)
{
    static const char *const exempt[] = {"127.0.0.9", NULL};
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct stream *s[4];
    struct slice line;

    if (!open_listener(sc, (struct listener_options){.bind_address = "127.0.0.1",
                                                     .newcomers_max = 2,
                                                     .newcomers_exempt = exempt,
                                                     .newcomers_refusal = "too many\r\n"}))
        return;
    for (size_t i = 0; i < 3; i++)
        s[i] = call(sc, "127.0.0.1");
    REQUIRE_OK(stream_read_line(s[2], 100, deadline_in_ms(5000), &line, &sc->why), &sc->why);
    CHECK_STR("too many", line);
    CHECK_FAULT(FAULT_CLOSED, stream_read_line(s[2], 100, deadline_in_ms(5000), &line, &sc->why), &sc->why);
    stream_close(&s[2]);
    expect_echo(sc, s[0]);
    stream_close(&s[0]);
    while (listener_connection_count(sc->listener) > 1)
        fiber_yield();
    s[3] = call(sc, "127.0.0.1");
    expect_echo(sc, s[3]);
    expect_echo(sc, s[1]);
    stream_close(&s[1]);
    stream_close(&s[3]);
    listener_close(&sc->listener);
}

TEST(listener, limits_who_is_not_known)
{
    struct scene sc = {.t = t};

    loop_run_fiber(calls_unknown, &sc);
}

TEST(newcomers, counts_by_address)
{
    static const char *const exempt[] = {"192.0.2.1", NULL};
    struct newcomers *n = newcomers_new(exempt);
    struct newcomers_place *p[5];

    CHECK_INT(0, newcomers_enter(n, "192.0.2.1", &p[0]));
    CHECK(p[0] == NULL);
    CHECK_INT(1, newcomers_enter(n, "192.0.2.2", &p[1]));
    CHECK_INT(2, newcomers_enter(n, "192.0.2.2", &p[2]));
    CHECK_INT(1, newcomers_enter(n, "2001:db8::1", &p[3]));
    CHECK_INT(2, newcomers_enter(n, "2001:db8::ffff:2", &p[4]));
    for (size_t i = 1; i < COUNT(p); i++)
        newcomers_leave(&p[i]);
    CHECK_INT(1, newcomers_enter(n, "192.0.2.2", &p[1]));
    newcomers_leave(&p[1]);
    newcomers_free(&n);
}

static void closes_early(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;

    if (!open_listener(sc, (struct listener_options){.bind_address = "127.0.0.1"}))
        return;
    AUTO(stream_close) struct stream *s = call(sc, "127.0.0.1");
    while (sc->accepted == 0)
        CHECK_OK(fiber_event_wait(&sc->event, deadline_in_ms(5000), &sc->why), &sc->why);
    uint16_t port = listener_port(sc->listener);
    listener_close(&sc->listener);
    expect_echo(sc, s); /* streams live on */
    struct stream *late;
    CHECK_FAULT(FAULT_UNAVAILABLE,
                stream_connect("127.0.0.1", port, NULL, deadline_in_ms(5000), &late, &sc->why),
                &sc->why);
    CHECK_FAULT(FAULT_INVALID,
                stream_connect("localhost", port, NULL, deadline_in_ms(5000), &late, &sc->why),
                &sc->why);
}

TEST(listener, closing_keeps_what_was_accepted)
{
    struct scene sc = {.t = t};

    loop_run_fiber(closes_early, &sc);
}
