/* rpc_client.c - the client's connection: made when needed, kept, made again with back-off; frames
 * to their requests.
 *
 * Owns struct rpc_client, the WebSocket and the fiber that reads it. Called by rpc_exchange.c and
 * mailbox_*.c. When the connection dies, all requests in flight fail with FAULT_UNAVAILABLE.
 * Suspends; freeing does not.
 */
#include "base/secret.h"
#include "rpc/rpc_client_internal.h"
#include "rt/dns.h"

#define CONNECT_MS 5000u
#define CONNECT_WAIT_MS 5000u
#define BACKOFF_LEAST_MS 50u
#define BACKOFF_MOST_MS 5000u
#define FAILURES_PATIENT 5u /* after so many in a row requests no longer wait for another try */
#define PING_MS 4000u /* a server that stands still is noticed within 12 s */

struct rpc_client *rpc_client_new(const struct rpc_client_options *options)
{
    struct rpc_client *c = calloc(1, sizeof(*c));
    char *host = strdup(options->host);

    if (c == NULL || host == NULL)
        abort();
    c->options = *options;
    c->host = host;
    if (options->secret != NULL)
        c->secret = secret_new(secret_slice(options->secret));
    c->refs = 1;
    fiber_event_init(&c->changed);
    fiber_event_init(&c->link.left);
    (void)fault_set(&c->last, FAULT_UNAVAILABLE, "not connected yet");
    return c;
}

void rpc_client_ref(struct rpc_client *c)
{
    c->refs++;
}

void rpc_client_unref(struct rpc_client *c)
{
    if (--c->refs > 0)
        return;
    tls_client_unref(&c->tls);
    secret_unref(&c->secret);
    free(c->host);
    free(c);
}

void rpc_client_free(struct rpc_client **cp)
{
    struct rpc_client *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    c->closed = true;
    (void)fault_set(&c->last, FAULT_UNAVAILABLE, "client closed");
    if (c->link.ws != NULL)
        websocket_shutdown(c->link.ws);
    fiber_event_broadcast(&c->changed);
    rpc_client_unref(c);
}

uint64_t rpc_client_generation(const struct rpc_client *c)
{
    return c->generation;
}

/* ---- connecting ---- */

static int start_tls(struct rpc_client *c, struct stream *s, struct deadline until,
                     struct fault *why)
{
    const struct tls_client_options options = {.verify = TLS_VERIFY_PKIX,
                                               .server_name = slice_of(c->host)};

    if (!c->options.tls)
        return 0;
    if (c->tls == NULL && tls_client_new(c->options.ca_path, &c->tls, why) < 0)
        return -1;
    return stream_start_tls_client(s, c->tls, &options, until, why);
}

static int open_stream(struct rpc_client *c, struct arena *in, struct deadline until,
                       struct stream **out, struct fault *why)
{
    struct slice ip;

    if (slice_has_prefix(slice_of(c->host), LIT("unix:")))
        return stream_connect(c->host, 0, NULL, until, out, why);
    if (dns_local_host(c->host, in, until, &ip, why) < 0)
        return -1;
    return stream_connect(arena_cstr(in, ip), c->options.port, NULL, until, out, why);
}

static int handshake(struct rpc_client *c, struct stream **s, struct deadline until,
                     struct websocket **out, struct fault *why)
{
    static const struct websocket_options options = {
        .text_bytes_max = RPC_TEXT_BYTES_MAX,
        .binary_bytes_max = RPC_HEADER_BYTES + RPC_FRAME_BYTES_MAX,
        .ping_ms = PING_MS,
    };
    AUTO(buf_wipe) struct buf bearer = BUF_INIT(SECRET_MAX_BYTES + 16);
    struct http_header headers[2];
    const struct websocket_target target = {
        .host = slice_has_prefix(slice_of(c->host), LIT("unix:")) ? LIT("localhost")
                                                                  : slice_of(c->host),
        .headers = headers,
        .header_count = COUNT(headers),
        .want_header = LIT(RPC_VERSION_HEADER),
        .want_value = LIT(RPC_VERSION),
    };

    (void)buf_append(&bearer, LIT("Bearer "));
    (void)buf_append(&bearer, secret_slice(c->secret));
    headers[0] = (struct http_header){LIT("Authorization"), buf_slice(&bearer)};
    headers[1] = (struct http_header){LIT(RPC_VERSION_HEADER), LIT(RPC_VERSION)};
    return websocket_connect(s, &target, &options, until, out, why);
}

static int try_connect(struct rpc_client *c, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(stream_close) struct stream *s = NULL;
    struct deadline until = deadline_in_ms(CONNECT_MS);
    struct websocket *ws;

    if (open_stream(c, in, until, &s, why) < 0 || start_tls(c, s, until, why) < 0 ||
        handshake(c, &s, until, &ws, why) < 0)
        return -1;
    if (c->closed) {
        websocket_close(&ws, 1000, SLICE_NONE);
        return fault_set(why, FAULT_UNAVAILABLE, "client closed");
    }
    c->link.ws = ws;
    c->generation++;
    c->next_id = 1;
    c->failures = 0;
    fiber_event_broadcast(&c->changed);
    return 0;
}

/* 50 ms doubled with each failure up to 5 s, of which a random half. */
static struct deadline backoff(unsigned failures)
{
    uint64_t ms = BACKOFF_LEAST_MS << (failures < 7 ? failures : 7);

    if (ms > BACKOFF_MOST_MS)
        ms = BACKOFF_MOST_MS;
    return deadline_in_ms(ms / 2 + random_below(ms / 2 + 1));
}

/* ---- reading ---- */

struct rpc_exchange *rpc_exchange_find(struct rpc_client *c, uint32_t id)
{
    struct rpc_exchange *x = c->slots[id % RPC_EXCHANGE_SLOTS];

    while (x != NULL && x->id != id)
        x = x->next;
    return x;
}

/* Frames of requests that were given up meanwhile are dropped. */
static int on_text(struct rpc_client *c, struct slice frame, struct fault *why)
{
    AUTO(arena_free) struct arena *scratch = NULL;
    struct rpc_text text;
    struct rpc_exchange *x;

    scratch = arena_new(256);
    if (rpc_text_parse(frame, scratch, &text, why) < 0)
        return -1;
    x = rpc_exchange_find(c, text.id);
    if (x == NULL) {
        rpc_text_release(&text);
        return text.id < c->next_id ? 0
                                    : fault_set(why, FAULT_PROTOCOL, "rpc: answer to no request");
    }
    if (text.kind == RPC_CREDIT)
        rpc_outflow_grant(&x->out, text.credit);
    if (text.kind == RPC_FAULT)
        rpc_exchange_fail(x, &text.fault);
    if (text.kind == RPC_OK && !x->answered) {
        x->arena = scratch; /* the announced lengths live there */
        scratch = NULL;
        rpc_exchange_on_text(x, &text);
        return 0;
    }
    rpc_text_release(&text);
    return 0;
}

static int on_piece(struct rpc_client *c, struct websocket_message *m, struct fault *why)
{
    struct rpc_piece_frame frame;
    struct rpc_exchange *x;

    if (!rpc_piece_parse(buf_slice(&m->data), &frame) || frame.id >= c->next_id)
        return fault_set(why, FAULT_PROTOCOL, "rpc: malformed piece");
    x = rpc_exchange_find(c, frame.id);
    if (x == NULL)
        return 0;
    if (!x->answered)
        return fault_set(why, FAULT_PROTOCOL, "rpc: piece before its answer");
    return rpc_inflow_push(&x->in, &frame, m, why);
}

static int read_frames(struct rpc_client *c, struct fault *why)
{
    for (;;) {
        AUTO(websocket_message_free) struct websocket_message m = {.data = BUF_INIT(0)};
        int r = websocket_receive(c->link.ws, DEADLINE_NEVER, &m, why);
        if (r == 0)
            return fault_set(why, FAULT_CLOSED, "the server closed the connection");
        if (r > 0)
            r = m.kind == WEBSOCKET_TEXT ? on_text(c, buf_slice(&m.data), why)
                                         : on_piece(c, &m, why);
        if (r < 0)
            return r;
    }
}

static void lose_connection(struct rpc_client *c, struct fault *why)
{
    unsigned code = why->code == FAULT_PROTOCOL ? 1002 : 1000;

    why->code = FAULT_UNAVAILABLE;
    c->last = *why;
    c->generation++; /* its sessions are gone */
    for (size_t i = 0; i < RPC_EXCHANGE_SLOTS; i++)
        for (struct rpc_exchange *x = c->slots[i]; x != NULL; x = x->next)
            rpc_exchange_fail(x, why);
    rpc_link_close(&c->link, code, SLICE_NONE);
}

/* The connection's fiber: runs while connected, and while somebody waits for a connection. */
static void run_client(void *arg)
{
    struct rpc_client *c = arg;
    struct fault why;

    while (!c->closed && c->waiting > 0) {
        if (!deadline_is_past(c->next_try)) {
            (void)fiber_event_wait(&c->changed, c->next_try, &why);
            continue;
        }
        if (try_connect(c, &why) < 0) {
            c->last = why;
            c->next_try = backoff(c->failures++);
            fiber_event_broadcast(&c->changed);
            continue;
        }
        (void)read_frames(c, &why);
        lose_connection(c, &why);
        c->next_try = backoff(0);
    }
    c->running = false;
    rpc_client_unref(c);
}

static int start_fiber(struct rpc_client *c, struct fault *why)
{
    if (c->running)
        return 0;
    rpc_client_ref(c);
    c->running = true;
    if (fiber_start("rpc.client", run_client, c, why) == 0)
        return 0;
    c->running = false;
    rpc_client_unref(c);
    why->code = FAULT_UNAVAILABLE;
    return -1;
}

static int unavailable(const struct rpc_client *c, struct fault *why)
{
    *why = c->last;
    why->code = FAULT_UNAVAILABLE; /* also a wrong API secret: FAULT_DENIED would blame the user's
                                      password */
    return fault_prefix(why, "mailbox server");
}

static int wait_connected(struct rpc_client *c, struct deadline until, struct fault *why)
{
    uint64_t patience =
        c->options.connect_wait_ms > 0 ? c->options.connect_wait_ms : CONNECT_WAIT_MS;
    struct deadline most = deadline_earlier(until, deadline_in_ms(patience));

    while (c->link.ws == NULL || c->link.dying) {
        if (c->closed || (c->failures >= FAILURES_PATIENT && !deadline_is_past(c->next_try)))
            return unavailable(c, why);
        if (start_fiber(c, why) < 0)
            return -1;
        if (fiber_event_wait(&c->changed, most, why) < 0)
            return why->code == FAULT_TIMEOUT && !deadline_is_past(until) ? unavailable(c, why)
                                                                          : -1;
    }
    return 0;
}

int rpc_client_connect(struct rpc_client *c, struct deadline until, struct fault *why)
{
    int r;

    if (c->link.ws != NULL && !c->link.dying)
        return 0;
    rpc_client_ref(c);
    c->waiting++;
    r = wait_connected(c, until, why);
    c->waiting--;
    rpc_client_unref(c);
    return r;
}
