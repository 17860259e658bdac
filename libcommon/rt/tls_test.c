/* tls_test.c - both ends of TLS in one process: verification, STARTTLS, bulk, parking, reload. */
#include "rt/tls.h"

#include "base/log.h"
#include "base/test.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/stream.h"
#include "rt/tls_test_cert.h"

#define NAME "mail.example.test"

struct scene {
    struct test *t;
    struct test_cert cert;
    struct tls_server *server;
    struct tls_client *client;
    struct tls_client_options options;
    struct stream *a, *b; /* client, server */
    struct fault why, server_why;
    int server_result;
    size_t dropped, total;
    struct fiber_group group;
    struct fiber_event event;
    enum stream_wake because;
};

static bool scene_open(struct scene *sc, enum test_key kind)
{
    struct test *t = sc->t;

    sc->cert = test_cert_make(t->arena, NULL, kind, NAME);
    CHECK_OK(tls_server_new(sc->cert.key_path, sc->cert.cert_path, &sc->server, &sc->why),
             &sc->why);
    CHECK_OK(tls_client_new(sc->cert.cert_path, &sc->client, &sc->why), &sc->why);
    sc->options = (struct tls_client_options){.verify = TLS_VERIFY_PKIX, .server_name = LIT(NAME)};
    fiber_group_init(&sc->group);
    return t->failures == 0;
}

static void scene_close(struct scene *sc)
{
    test_cert_remove(&sc->cert);
    tls_server_unref(&sc->server);
    tls_client_unref(&sc->client);
}

static void serve(void *arg)
{
    struct scene *sc = arg;

    sc->server_result = stream_start_tls_server(sc->b, sc->server, &sc->dropped,
                                                deadline_in_ms(10000), &sc->server_why);
}

/* Both handshakes; the client's result. */
static int shake_hands(struct scene *sc)
{
    struct test *t = sc->t;
    int r;

    CHECK_OK(fiber_group_start(&sc->group, "server", serve, sc, &sc->why), &sc->why);
    r = stream_start_tls_client(sc->a, sc->client, &sc->options, deadline_in_ms(10000), &sc->why);
    fiber_group_join(&sc->group);
    return r;
}

static int connect_both(struct scene *sc)
{
    struct test *t = sc->t;

    CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
    return shake_hands(sc);
}

static void close_both(struct scene *sc)
{
    stream_close(&sc->a);
    stream_close(&sc->b);
}

/* --- talking ---------------------------------------------------------------------------------- */

static void talk(struct scene *sc)
{
    struct test *t = sc->t;
    struct slice got;

    REQUIRE_OK(connect_both(sc), &sc->why);
    REQUIRE_OK(sc->server_result, &sc->server_why);
    CHECK_STR("TLSv1.3", slice_of(stream_tls_version(sc->a)));
    CHECK(stream_is_tls(sc->b) && stream_tls_cipher(sc->b)[0] != '\0');
    CHECK_OK(stream_write(sc->a, LIT("hel"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_write(sc->a, LIT("lo\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_read_line(sc->b, 100, deadline_in_ms(5000), &got, &sc->why), &sc->why);
    CHECK_STR("hello", got);
    CHECK_OK(stream_write(sc->b, LIT("bye\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    stream_close(&sc->b); /* sends what was written, then close_notify */
    CHECK_OK(stream_read_line(sc->a, 100, deadline_in_ms(5000), &got, &sc->why), &sc->why);
    CHECK_STR("bye", got);
    CHECK_OK(stream_read_some(sc->a, 100, deadline_in_ms(5000), &got, &sc->why), &sc->why);
    CHECK_INT(0, got.n);
    CHECK_FAULT(FAULT_CLOSED, stream_read_line(sc->a, 100, deadline_in_ms(5000), &got, &sc->why),
                &sc->why);
}

static void talks(void *arg)
{
    struct scene *sc = arg;

    talk(sc);
    close_both(sc);
}

TEST(tls, both_ends_talk_with_either_kind_of_key)
{
    for (enum test_key kind = TEST_KEY_EC; kind <= TEST_KEY_RSA; kind++) {
        struct scene sc = {.t = t};

        if (scene_open(&sc, kind))
            loop_run_fiber(talks, &sc);
        scene_close(&sc);
    }
}

/* --- whom to trust ---------------------------------------------------------------------------- */

static void verifies(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    const struct slice right = slice_make(sc->cert.spki_sha256, 32),
                       short_one = slice_head(right, 20);
    const struct slice wrong = slice_make(memset(arena_alloc(t->arena, 32), 7, 32), 32);
    const struct {
        enum tls_verify verify;
        const char *name;
        bool rooted; /* does the client know our root? */
        struct tls_tlsa tlsa[2];
        size_t tlsa_count;
        enum fault_code want;
    } row[] = {
        {TLS_VERIFY_NONE, "other.example.test", false, {{0}}, 0, FAULT_NONE},
        {TLS_VERIFY_NONE, "", false, {{0}}, 0, FAULT_NONE},
        {TLS_VERIFY_PKIX, NAME, true, {{0}}, 0, FAULT_NONE},
        {TLS_VERIFY_PKIX, NAME, false, {{0}}, 0, FAULT_DENIED},
        {TLS_VERIFY_PKIX, "other.example.test", true, {{0}}, 0, FAULT_DENIED},
        {TLS_VERIFY_PKIX, "", true, {{0}}, 0, FAULT_INVALID},
        {TLS_VERIFY_DANE, NAME, false, {{3, 1, 1, right}}, 1, FAULT_NONE},
        {TLS_VERIFY_DANE, "other.example.test", false, {{3, 1, 1, right}}, 1, FAULT_NONE},
        {TLS_VERIFY_DANE, NAME, true, {{3, 1, 1, wrong}}, 1, FAULT_DENIED},
        {TLS_VERIFY_DANE, NAME, false, {{3, 1, 1, wrong}, {3, 1, 1, right}}, 2, FAULT_NONE},
        {TLS_VERIFY_DANE, NAME, false, {{2, 1, 1, right}}, 1, FAULT_DENIED},   /* a leaf is no trust
                                                                                  anchor */
        {TLS_VERIFY_DANE, NAME, false, {{1, 1, 1, wrong}}, 1, FAULT_NONE},     /* unusable */
        {TLS_VERIFY_DANE, NAME, false, {{3, 1, 1, short_one}}, 1, FAULT_NONE}, /* unusable */
    };
    struct tls_client *rooted = sc->client, *rootless = NULL;

    REQUIRE_OK(tls_client_new(NULL, &rootless, &sc->why), &sc->why);
    for (size_t i = 0; i < COUNT(row); i++) {
        sc->client = row[i].rooted ? rooted : rootless;
        sc->options = (struct tls_client_options){.verify = row[i].verify,
                                                  .server_name = slice_of(row[i].name),
                                                  .tlsa = row[i].tlsa,
                                                  .tlsa_count = row[i].tlsa_count};
        sc->why.code = FAULT_NONE;
        if (row[i].want == FAULT_INVALID) { /* nothing is sent: no server needed */
            CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
            CHECK_ROW(i, stream_start_tls_client(sc->a, sc->client, &sc->options, DEADLINE_NEVER,
                                                 &sc->why) < 0);
        } else {
            CHECK_ROW(i, (connect_both(sc) == 0) == (row[i].want == FAULT_NONE));
        }
        CHECK_ROW_STR(i, fault_code_name(row[i].want), slice_of(fault_code_name(sc->why.code)));
        close_both(sc);
    }
    tls_client_unref(&rootless);
    sc->client = rooted;
}

TEST(tls, client_trusts_whom_it_should)
{
    struct scene sc = {.t = t};

    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(verifies, &sc);
    scene_close(&sc);
}

/* --- STARTTLS --------------------------------------------------------------------------------- */

static void upgrades(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice got;

    CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
    CHECK_OK(stream_write(sc->a, LIT("STARTTLS\r\nMAIL FROM:<evil@example.test>\r\n"),
                          DEADLINE_NEVER, &sc->why),
             &sc->why);
    CHECK_OK(stream_flush(sc->a, DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_read_line(sc->b, 100, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_STR("STARTTLS", got);
    CHECK_OK(stream_write(sc->b, LIT("220 go ahead\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(fiber_group_start(&sc->group, "server", serve, sc, &sc->why), &sc->why);
    CHECK_OK(stream_read_line(sc->a, 100, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_STR("220 go ahead", got);
    CHECK_OK(
        stream_start_tls_client(sc->a, sc->client, &sc->options, deadline_in_ms(5000), &sc->why),
        &sc->why);
    fiber_group_join(&sc->group);
    CHECK_OK(sc->server_result, &sc->server_why);
    CHECK_INT(31, sc->dropped);
    CHECK_STR("", stream_buffered(sc->b));
    CHECK_OK(stream_write(sc->a, LIT("EHLO again\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_read_line(sc->b, 100, deadline_in_ms(5000), &got, &sc->why), &sc->why);
    CHECK_STR("EHLO again", got);
    close_both(sc);
}

TEST(tls, starttls_drops_what_was_injected_before_it)
{
    struct scene sc = {.t = t};

    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(upgrades, &sc);
    scene_close(&sc);
}

static void hears_nonsense(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    size_t dropped;

    CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
    CHECK_OK(stream_write(sc->a, LIT("EHLO I do not speak TLS\r\n"), DEADLINE_NEVER, &sc->why),
             &sc->why);
    CHECK_FAULT(
        FAULT_PROTOCOL,
        stream_start_tls_server(sc->b, sc->server, &dropped, deadline_in_ms(5000), &sc->why),
        &sc->why);
    close_both(sc);

    CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
    CHECK_FAULT(FAULT_TIMEOUT,
                stream_start_tls_server(sc->b, sc->server, NULL, deadline_in_ms(2), &sc->why),
                &sc->why);
    stream_close(&sc->b);
    CHECK_FAULT(
        FAULT_CLOSED,
        stream_start_tls_client(sc->a, sc->client, &sc->options, deadline_in_ms(5000), &sc->why),
        &sc->why);
    stream_close(&sc->a);
}

TEST(tls, peers_without_tls_are_told_apart)
{
    struct scene sc = {.t = t};

    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(hears_nonsense, &sc);
    scene_close(&sc);
}

/* --- bulk and parking ------------------------------------------------------------------------- */

static void send_bulk(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    static char piece[40000];
    size_t sent = 0;

    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (char)(i * 7);
    for (unsigned round = 0; sent < sc->total; round++) {
        size_t n = round % 3 == 0 ? 100 : sizeof piece;

        if (n > sc->total - sent)
            n = sc->total - sent;
        REQUIRE_OK(stream_write(sc->b, slice_make(piece, n), DEADLINE_NEVER, &sc->server_why),
                   &sc->server_why);
        CHECK(stream_unsent_bytes(sc->b) < 200000);
        sent += n;
    }
    CHECK_OK(stream_flush(sc->b, DEADLINE_NEVER, &sc->server_why), &sc->server_why);
}

static void takes_bulk(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    size_t n = 0, wrong = 0, at = 0, piece = 100;
    unsigned round = 0;
    struct slice got;

    sc->total = 3000000;
    REQUIRE_OK(connect_both(sc), &sc->why);
    CHECK_OK(fiber_group_start(&sc->group, "bulk", send_bulk, sc, &sc->why), &sc->why);
    while (n < sc->total) {
        REQUIRE_OK(stream_read_some(sc->a, 100000, deadline_in_ms(5000), &got, &sc->why), &sc->why);
        for (size_t i = 0; i < got.n; i++) {
            wrong += (unsigned char)got.p[i] != (unsigned char)(at * 7);
            if (++at == piece) {
                at = 0;
                piece = ++round % 3 == 0 ? 100 : 40000;
            }
        }
        n += got.n;
    }
    CHECK_INT(0, wrong);
    CHECK_INT(sc->total, n);
    fiber_group_join(&sc->group);
    close_both(sc);
}

TEST(tls, bulk_arrives_unchanged)
{
    struct scene sc = {.t = t};

    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(takes_bulk, &sc);
    scene_close(&sc);
}

static void on_wake(struct stream *s, enum stream_wake because, void *arg)
{
    struct scene *sc = arg;

    sc->b = s;
    sc->because = because;
    fiber_event_signal(&sc->event);
}

static bool ready_two_lines(struct slice in, void *arg)
{
    const char *lf = memchr(in.p, '\n', in.n);

    (void)arg;
    return lf != NULL && memchr(lf + 1, '\n', in.n - (size_t)(lf + 1 - in.p)) != NULL;
}

static void parks(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice got;

    REQUIRE_OK(connect_both(sc), &sc->why);
    struct stream *parked = sc->b;
    sc->b = NULL;
    stream_park(parked, ready_two_lines, on_wake, sc, 1000, DEADLINE_NEVER);
    CHECK_OK(stream_write(sc->a, LIT("one\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_flush(sc->a, DEADLINE_NEVER, &sc->why), &sc->why);
    for (int i = 0; i < 10; i++)
        fiber_yield();
    CHECK(sc->b == NULL);
    CHECK_OK(stream_write(sc->a, LIT("two\r\n"), DEADLINE_NEVER, &sc->why), &sc->why);
    while (sc->b == NULL)
        REQUIRE_OK(fiber_event_wait(&sc->event, deadline_in_ms(5000), &sc->why), &sc->why);
    CHECK_INT(STREAM_WAKE_INPUT, sc->because);
    CHECK_OK(stream_read_line(sc->b, 100, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_STR("one", got);
    parked = sc->b;
    sc->b = NULL;
    stream_park(parked, ready_two_lines, on_wake, sc, 1000, DEADLINE_NEVER);
    stream_close(&sc->a);
    while (sc->b == NULL)
        REQUIRE_OK(fiber_event_wait(&sc->event, deadline_in_ms(5000), &sc->why), &sc->why);
    CHECK_INT(STREAM_WAKE_CLOSED, sc->because);
    CHECK_STR("two\r\n", stream_buffered(sc->b));
    stream_close(&sc->b);
}

TEST(tls, a_parked_stream_wakes)
{
    struct scene sc = {.t = t};

    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(parks, &sc);
    scene_close(&sc);
}

/* --- certificates that change ----------------------------------------------------------------- */

static void ignore_line(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

/* What the server shows now has the key of sc->cert. */
static bool shows(struct scene *sc, const struct test_cert *cert)
{
    struct tls_tlsa tlsa = {3, 1, 1, slice_make(cert->spki_sha256, 32)};
    int r;

    sc->options = (struct tls_client_options){
        .verify = TLS_VERIFY_DANE, .server_name = LIT(NAME), .tlsa = &tlsa, .tlsa_count = 1};
    r = connect_both(sc);
    close_both(sc);
    return r == 0;
}

static void renews(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct test_cert old = sc->cert;
    struct slice folder =
        slice_head(slice_of(old.key_path), (size_t)slice_rfind_char(slice_of(old.key_path), '/'));
    FILE *f;

    log_capture(ignore_line, NULL);
    CHECK(shows(sc, &old));
    sc->cert = test_cert_make(t->arena, arena_cstr(t->arena, folder), TEST_KEY_EC, NAME);
    CHECK(shows(sc, &old)); /* looked at within this second */
    clock_advance(1000);
    CHECK(shows(sc, &sc->cert));
    CHECK(!shows(sc, &old));

    f = fopen(sc->cert.cert_path, "w");
    REQUIRE(f != NULL);
    fputs("not a certificate\n", f);
    fclose(f);
    clock_advance(1000);
    CHECK(shows(sc, &sc->cert)); /* keeps the good one */
    log_capture(NULL, NULL);
}

TEST(tls, a_renewed_certificate_is_served_without_restart)
{
    struct scene sc = {.t = t};

    clock_fake(1700000000000);
    if (scene_open(&sc, TEST_KEY_EC))
        loop_run_fiber(renews, &sc);
    scene_close(&sc);
}

TEST(tls, broken_files_are_refused)
{
    struct fault why;
    struct tls_server *server = NULL;
    struct tls_client *client = NULL;
    struct test_cert a = test_cert_make(t->arena, NULL, TEST_KEY_EC, NAME);
    struct test_cert b = test_cert_make(t->arena, NULL, TEST_KEY_EC, NAME);

    CHECK_FAULT(FAULT_INVALID, tls_server_new("/nonexistent", a.cert_path, &server, &why), &why);
    CHECK_FAULT(FAULT_INVALID, tls_server_new(a.key_path, a.key_path, &server, &why), &why);
    CHECK_FAULT(FAULT_INVALID, tls_server_new(a.key_path, b.cert_path, &server, &why), &why);
    CHECK_FAULT(FAULT_INVALID, tls_client_new("/nonexistent", &client, &why), &why);
    test_cert_remove(&a);
    test_cert_remove(&b);
}
