/* rpc_test.c - the RPC over a loopback socket: round trips, streams both ways, credit, cancelling,
 * dying sockets, reconnecting. */
#include "base/encode.h"
#include "base/test.h"
#include "rpc/rpc_client_internal.h"
#include "rpc/rpc_server_internal.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/loop.h"

#define BIG_BYTES ((size_t)50 << 20)

/* ---- a server with a few actions ---- */

struct world {
    struct test *t;
    struct rpc_server *rpc;
    struct http_server http;
    struct listener *listener;
    struct secret *secret;
    struct rpc_client *client;
    struct fiber_event gate; /* act.gate waits here */
    unsigned at_gate, ended_sessions, finished;
    size_t queued_peak;
    void (*body)(struct world *w);
};

static int act_echo(struct rpc_call *call, struct fault *why)
{
    json_t *ok = json_object();
    struct slice pieces[8];
    size_t n = 0;

    json_set_slice(ok, "text", json_get_slice(call->args, "text"));
    for (; n < call->piece_count; n++) {
        if (rpc_read_piece(call, (size_t)64 << 20, &pieces[n], why) < 0) {
            json_release(&ok);
            return -1;
        }
    }
    return rpc_answer(call, ok, pieces, n, why);
}

static int act_fail(struct rpc_call *call, struct fault *why)
{
    return fault_set(why, FAULT_QUOTA, "no room for %.*s",
                     SLICE(json_get_slice(call->args, "text")));
}

/* Counts the bytes of a streamed body without keeping them. */
static int act_swallow(struct rpc_call *call, struct fault *why)
{
    struct world *w = call->context;
    uint64_t total = 0, pieces = 0;
    json_t *ok;
    int r;

    while ((r = rpc_next_piece(call, why)) == 1) {
        struct slice some;
        pieces++;
        do {
            if (rpc_read(call, &some, why) < 0)
                return -1;
            total += some.n;
            if (some.n > 0 && (unsigned char)some.p[0] != (unsigned char)pieces)
                return fault_set(why, FAULT_INVALID, "wrong bytes in piece %llu",
                                 (unsigned long long)pieces);
        } while (some.n > 0);
    }
    if (r < 0)
        return -1;
    w->finished++;
    ok = json_object();
    json_set_int(ok, "bytes", (int64_t)total);
    json_set_int(ok, "pieces", (int64_t)pieces);
    return rpc_answer(call, ok, NULL, 0, why);
}

static int act_pour(struct rpc_call *call, struct fault *why)
{
    static char block[10000];
    int64_t left = json_get_int(call->args, "bytes", 0);

    memset(block, 'x', sizeof(block));
    if (rpc_answer_begin(call, NULL, why) < 0)
        return -1;
    while (left > 0) {
        size_t n = left < (int64_t)sizeof(block) ? (size_t)left : sizeof(block);
        if (rpc_write(call, slice_make(block, n), why) < 0)
            return -1;
        left -= (int64_t)n;
    }
    if (json_get_bool(call->args, "break", false))
        return fault_set(why, FAULT_CORRUPT, "half way");
    return rpc_answer_end(call, why);
}

static int act_gate(struct rpc_call *call, struct fault *why)
{
    struct world *w = call->context;
    struct fault ignored;

    w->at_gate++;
    (void)fiber_event_wait(&w->gate, DEADLINE_NEVER, &ignored);
    w->finished++;
    return rpc_answer(call, NULL, NULL, 0, why);
}

static void end_session(void *object)
{
    struct world *w = object;
    w->ended_sessions++;
}

static const struct rpc_session_kind test_kind = {"test", end_session};

static int act_open(struct rpc_call *call, struct fault *why)
{
    struct rpc_session *s;
    json_t *ok = json_object();

    if (rpc_session_open(call, &test_kind, call->context, &s, why) < 0)
        return -1;
    json_set_slice(ok, "session", rpc_session_handle(s));
    return rpc_answer(call, ok, NULL, 0, why);
}

static int act_use(struct rpc_call *call, struct fault *why)
{
    if (json_get_bool(call->args, "end", false))
        rpc_session_end(call->handle);
    return rpc_answer(call, NULL, NULL, 0, why);
}

static const struct rpc_action test_actions[] = {
    {"test.echo", act_echo, NULL, 0},       {"test.fail", act_fail, NULL, 0},
    {"test.swallow", act_swallow, NULL, 0}, {"test.pour", act_pour, NULL, 0},
    {"test.gate", act_gate, NULL, 0},       {"test.open", act_open, NULL, 0},
    {"test.use", act_use, &test_kind, 0},   {"test.op", act_echo, NULL, RPC_NEEDS_OP},
};

static void serve(struct http_request *rq, void *arg)
{
    struct world *w = arg;
    rpc_server_upgrade(w->rpc, rq);
}

static void world_open(struct world *w, uint16_t port)
{
    const struct secret *secrets[] = {w->secret};
    const struct rpc_server_options options = {
        .actions = test_actions,
        .action_count = COUNT(test_actions),
        .context = w,
        .secrets = secrets,
        .secret_count = 1,
    };
    const struct listener_options listen = {
        .name = "rpc",
        .bind_address = "127.0.0.1",
        .port = port,
        .accept = http_serve,
        .arg = &w->http,
    };
    static const struct secret *kept[1];
    struct fault why;
    struct rpc_server_options o = options;

    kept[0] = w->secret;
    o.secrets = kept;
    w->http = (struct http_server){.handle = serve, .arg = w};
    w->rpc = rpc_server_new(&o);
    if (listener_open(&listen, &w->listener, &why) < 0)
        test_fail(w->t, __FILE__, __LINE__, "listen: %s", why.text);
}

static void world_close(struct world *w)
{
    listener_close(&w->listener);
    rpc_server_drain(w->rpc, DEADLINE_NEVER);
    http_server_drain(&w->http, DEADLINE_NEVER);
    rpc_server_free(&w->rpc);
}

static struct rpc_client *client_new(struct world *w, const struct secret *secret)
{
    const struct rpc_client_options options = {
        .host = "127.0.0.1",
        .port = listener_port(w->listener),
        .secret = secret,
        .connect_wait_ms = 2000,
    };
    return rpc_client_new(&options);
}

static void run_world(void *arg)
{
    struct world *w = arg;

    fiber_event_init(&w->gate);
    w->secret = secret_new(LIT("a secret of the API"));
    world_open(w, 0);
    w->client = client_new(w, w->secret);
    w->body(w);
    rpc_client_free(&w->client);
    world_close(w);
    secret_unref(&w->secret);
}

static void in_world(struct test *t, void (*body)(struct world *w))
{
    struct world w = {.t = t, .body = body};
    loop_run_fiber(run_world, &w);
}

#define IN_WORLD(name)                                                                             \
    static void body_##name(struct world *w);                                                      \
    TEST(rpc, name)                                                                                \
    {                                                                                              \
        in_world(t, body_##name);                                                                  \
    }                                                                                              \
    static void body_##name(struct world *w)

static struct deadline soon(void)
{
    return deadline_in_ms(20000);
}

static int call(struct world *w, struct rpc_client *c, const char *action, json_t *args,
                struct rpc_answer *out, struct fault *why)
{
    AUTO(json_release) json_t *owned = args;
    const struct rpc_request request = {.action = action, .args = owned};
    return rpc_client_call(c, &request, 1 << 20, w->t->arena, soon(), out, why);
}

/* ---- tests ---- */

IN_WORLD(round_trips_and_faults)
{
    struct test *t = w->t;
    const struct slice pieces[] = {LIT("one"), LIT(""), LIT("three")};
    AUTO(json_release) json_t *args = json_object();
    struct rpc_request request = {
        .action = "test.echo", .args = args, .pieces = pieces, .piece_count = 3};
    struct rpc_answer answer;
    struct fault why;

    json_set_slice(args, "text", LIT("caf\303\251 \"x\""));
    REQUIRE_OK(rpc_client_call(w->client, &request, 100, t->arena, soon(), &answer, &why), &why);
    CHECK_SLICE(LIT("caf\303\251 \"x\""), json_get_slice(answer.ok, "text"));
    REQUIRE(answer.piece_count == 3);
    CHECK_SLICE(LIT("one"), answer.pieces[0]);
    CHECK_SLICE(LIT(""), answer.pieces[1]);
    CHECK_SLICE(LIT("three"), answer.pieces[2]);
    json_release(&answer.ok);

    CHECK_FAULT(FAULT_LIMIT,
                rpc_client_call(w->client, &request, 4, t->arena, soon(), &answer, &why), &why);
    request.action = "test.fail";
    CHECK_FAULT(FAULT_QUOTA,
                rpc_client_call(w->client, &request, 0, t->arena, soon(), &answer, &why), &why);
    CHECK_STR("no room for caf\303\251 \"x\"", why.text);
    CHECK_FAULT(FAULT_INVALID, call(w, w->client, "test.none", json_object(), &answer, &why), &why);
    CHECK_FAULT(FAULT_INVALID, call(w, w->client, "test.op", json_object(), &answer, &why), &why);
    CHECK_FAULT(FAULT_CLOSED, call(w, w->client, "test.use", json_object(), &answer, &why), &why);
}

IN_WORLD(a_wrong_secret_is_refused_as_unavailable)
{
    struct test *t = w->t;
    AUTO(secret_unref) struct secret *wrong = secret_new(LIT("a secret of the ApI"));
    struct rpc_client *c = client_new(w, wrong);
    struct fault why;

    CHECK_FAULT(FAULT_UNAVAILABLE, rpc_client_connect(c, soon(), &why), &why);
    CHECK(strstr(why.text, "401") != NULL);
    rpc_client_free(&c);
}

static int upload(struct world *w, size_t bytes, struct rpc_exchange **out, struct fault *why)
{
    const struct rpc_request request = {.action = "test.swallow", .stream_more = true};
    static char block[30000];

    if (rpc_exchange_begin(w->client, &request, soon(), out, why) < 0)
        return -1;
    for (int piece = 1; piece <= 2; piece++) {
        memset(block, piece, sizeof(block));
        for (size_t sent = 0; sent < bytes / 2; sent += sizeof(block))
            if (rpc_exchange_write(*out,
                                   slice_make(block, bytes / 2 - sent < sizeof(block)
                                                         ? bytes / 2 - sent
                                                         : sizeof(block)),
                                   why) < 0)
                return -1;
        if (piece == 1 && rpc_exchange_end_piece(*out, why) < 0)
            return -1;
    }
    return 0;
}

IN_WORLD(a_large_upload_is_streamed)
{
    struct test *t = w->t;
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;
    const json_t *ok;
    struct fault why;

    REQUIRE_OK(upload(w, BIG_BYTES, &x, &why), &why);
    CHECK(!rpc_exchange_is_sent(x));
    REQUIRE_OK(rpc_exchange_finish(x, &why), &why);
    REQUIRE_OK(rpc_exchange_answer(x, &ok, &why), &why);
    CHECK_INT(BIG_BYTES, json_get_int(ok, "bytes", 0));
    CHECK_INT(2, json_get_int(ok, "pieces", 0));
}

IN_WORLD(an_upload_waits_for_credit)
{
    struct test *t = w->t;
    const struct rpc_request request = {.action = "test.gate", .stream_more = true};
    static char block[65536];
    struct rpc_exchange *x;
    struct fault why;
    size_t sent = 0;

    REQUIRE_OK(rpc_exchange_begin(w->client, &request, deadline_in_ms(300), &x, &why), &why);
    while (rpc_exchange_write(x, slice_make(block, sizeof(block)), &why) == 0)
        sent += sizeof(block);
    CHECK_INT(FAULT_TIMEOUT, why.code); /* nobody reads */
    CHECK(sent <= RPC_CREDIT_BYTES);
    rpc_exchange_close(&x);
    while (w->at_gate == 0)
        fiber_yield();
    fiber_event_broadcast(&w->gate);
}

IN_WORLD(a_large_answer_is_streamed_with_back_pressure)
{
    struct test *t = w->t;
    AUTO(json_release) json_t *args = json_object();
    const struct rpc_request request = {.action = "test.pour", .args = args};
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;
    const json_t *ok;
    struct slice some;
    size_t total = 0;
    struct fault why;

    json_set_int(args, "bytes", (int64_t)BIG_BYTES);
    REQUIRE_OK(rpc_exchange_begin(w->client, &request, soon(), &x, &why), &why);
    REQUIRE_OK(rpc_exchange_answer(x, &ok, &why), &why);
    for (int i = 0; i < 1000; i++) /* time for the server to send all it may */
        fiber_yield();
    CHECK(RPC_CREDIT_BYTES - x->in.credit <= RPC_CREDIT_BYTES);
    REQUIRE(rpc_exchange_next_piece(x, &why) == 1);
    do {
        REQUIRE_OK(rpc_exchange_read(x, &some, &why), &why);
        total += some.n;
    } while (some.n > 0);
    CHECK_INT(BIG_BYTES, total);
    CHECK_INT(0, rpc_exchange_next_piece(x, &why));
}

IN_WORLD(an_answer_that_breaks_half_way_is_a_fault)
{
    struct test *t = w->t;
    AUTO(json_release) json_t *args = json_object();
    const struct rpc_request request = {.action = "test.pour", .args = args};
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;
    const json_t *ok;
    struct slice some;
    struct fault why;
    int r = 0;

    json_set_int(args, "bytes", 200000);
    json_set_bool(args, "break", true);
    REQUIRE_OK(rpc_exchange_begin(w->client, &request, soon(), &x, &why), &why);
    REQUIRE_OK(rpc_exchange_answer(x, &ok, &why), &why);
    REQUIRE(rpc_exchange_next_piece(x, &why) == 1);
    while (r == 0 && (r = rpc_exchange_read(x, &some, &why)) == 0 && some.n > 0)
        ;
    CHECK_INT(-1, r);
    CHECK_INT(FAULT_CORRUPT, why.code);
}

IN_WORLD(giving_up_stops_the_server_and_spares_the_connection)
{
    struct test *t = w->t;
    AUTO(json_release) json_t *args = json_object();
    const struct rpc_request request = {.action = "test.pour", .args = args};
    struct rpc_server_stats stats;
    struct rpc_exchange *x;
    struct rpc_answer answer;
    const json_t *ok;
    struct fault why;

    json_set_int(args, "bytes", (int64_t)BIG_BYTES);
    REQUIRE_OK(rpc_exchange_begin(w->client, &request, soon(), &x, &why), &why);
    REQUIRE_OK(rpc_exchange_answer(x, &ok, &why), &why);
    rpc_exchange_close(&x);
    REQUIRE_OK(call(w, w->client, "test.echo", json_object(), &answer, &why), &why);
    json_release(&answer.ok);
    do {
        fiber_yield();
        rpc_server_get_stats(w->rpc, &stats);
    } while (stats.in_flight > 0);
    CHECK_INT(1, stats.connections);
}

IN_WORLD(a_complete_request_runs_although_the_socket_dies)
{
    struct test *t = w->t;
    const struct rpc_request request = {.action = "test.gate"};
    struct rpc_exchange *x, *half;
    struct rpc_server_stats stats;
    const json_t *ok;
    struct fault why;

    REQUIRE_OK(rpc_exchange_begin(w->client, &request, soon(), &x, &why), &why);
    REQUIRE_OK(upload(w, 100000, &half, &why), &why); /* never finished */
    while (w->at_gate == 0)
        fiber_yield();
    websocket_shutdown(w->client->link.ws);
    CHECK_FAULT(FAULT_UNAVAILABLE, rpc_exchange_answer(x, &ok, &why), &why);
    CHECK(rpc_exchange_is_sent(x) && !rpc_exchange_is_sent(half));
    rpc_exchange_close(&x);
    rpc_exchange_close(&half);
    do { /* the half one fails ... */
        fiber_yield();
        rpc_server_get_stats(w->rpc, &stats);
    } while (stats.in_flight > 1);
    CHECK_INT(0, w->finished);
    fiber_event_broadcast(&w->gate); /* ... the complete one goes on */
    do {
        fiber_yield();
        rpc_server_get_stats(w->rpc, &stats);
    } while (stats.in_flight > 0);
    CHECK_INT(1, w->finished);
}

static int open_test_session(struct world *w, struct slice *out, struct fault *why)
{
    struct rpc_answer answer;

    if (call(w, w->client, "test.open", json_object(), &answer, why) < 0)
        return -1;
    *out = arena_copy(w->t->arena, json_get_slice(answer.ok, "session"));
    json_release(&answer.ok);
    return 0;
}

static int use_session(struct world *w, struct slice session, bool end, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    const struct rpc_request request = {.action = "test.use", .session = session, .args = args};
    struct rpc_answer answer;

    json_set_bool(args, "end", end);
    if (rpc_client_call(w->client, &request, 0, w->t->arena, soon(), &answer, why) < 0)
        return -1;
    json_release(&answer.ok);
    return 0;
}

IN_WORLD(sessions_end_once_with_their_socket_or_before)
{
    struct test *t = w->t;
    struct slice first, second;
    struct fault why;
    uint64_t generation;

    REQUIRE_OK(open_test_session(w, &first, &why), &why);
    REQUIRE_OK(open_test_session(w, &second, &why), &why);
    CHECK_INT(RPC_SESSION_BYTES, first.n);
    CHECK(!slice_equal(first, second));
    REQUIRE_OK(use_session(w, first, true, &why), &why);
    CHECK_INT(1, w->ended_sessions);
    CHECK_FAULT(FAULT_CLOSED, use_session(w, first, false, &why), &why);
    REQUIRE_OK(use_session(w, second, false, &why), &why);

    generation = rpc_client_generation(w->client);
    websocket_shutdown(w->client->link.ws);
    while (w->ended_sessions < 2)
        fiber_yield();
    CHECK_FAULT(FAULT_CLOSED, use_session(w, second, false, &why),
                &why); /* over a new connection */
    CHECK(rpc_client_generation(w->client) > generation);
    CHECK_INT(2, w->ended_sessions);
}

IN_WORLD(the_client_waits_for_a_server_that_comes_back)
{
    struct test *t = w->t;
    uint16_t port = listener_port(w->listener);
    struct rpc_answer answer;
    struct fault why;

    REQUIRE_OK(rpc_client_connect(w->client, soon(), &why), &why);
    world_close(w);
    CHECK_FAULT(FAULT_UNAVAILABLE, call(w, w->client, "test.echo", json_object(), &answer, &why),
                &why);
    world_open(w, port);
    for (int i = 0; i < 100 && rpc_client_connect(w->client, soon(), &why) < 0; i++)
        (void)fiber_sleep_until(deadline_in_ms(50), &why); /* it backs off */
    REQUIRE_OK(call(w, w->client, "test.echo", json_object(), &answer, &why), &why);
    json_release(&answer.ok);
}

IN_WORLD(a_deadline_is_kept)
{
    struct test *t = w->t;
    const struct rpc_request request = {.action = "test.gate"};
    struct rpc_answer answer;
    struct fault why;

    CHECK_FAULT(
        FAULT_TIMEOUT,
        rpc_client_call(w->client, &request, 0, t->arena, deadline_in_ms(50), &answer, &why), &why);
    while (w->at_gate == 0)
        fiber_yield();
    fiber_event_broadcast(&w->gate);
}

static void many_calls(void *arg)
{
    struct world *w = arg;
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *args = json_object();
    const struct slice piece = LIT("some packed bytes");
    const struct rpc_request request = {
        .action = "test.echo", .args = args, .pieces = &piece, .piece_count = 1};

    json_set_slice(args, "text", LIT("hello"));
    for (int i = 0; i < 100; i++) {
        struct rpc_answer answer;
        struct fault why;
        if (rpc_client_call(w->client, &request, 100, in, soon(), &answer, &why) < 0) {
            test_fail(w->t, __FILE__, __LINE__, "%s", why.text);
            return;
        }
        json_release(&answer.ok);
        w->finished++;
    }
}

IN_WORLD(many_fibers_share_the_connection)
{
    struct test *t = w->t;
    struct fiber_group group;
    struct fault why;

    fiber_group_init(&group);
    for (int i = 0; i < 100; i++)
        REQUIRE_OK(fiber_group_start(&group, "test.calls", many_calls, w, &why), &why);
    fiber_group_join(&group);
    CHECK_INT(100 * 100, w->finished);
}
