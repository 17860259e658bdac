/* rpc_server.c - connections of the RPC server: upgrade, reading frames, a fiber per request.
 *
 * Owns struct rpc_server, rpc_conn and rpc_work. Called by the HTTP server. A client that breaks
 * the protocol loses its connection; a request that cannot be served gets a fault. Suspends; the
 * reader is the fiber of the upgrade request.
 */
#include "rpc/rpc_server.h"

#include "base/log.h"
#include "rpc/rpc_server_internal.h"

#define PING_MS 15000u

struct rpc_server *rpc_server_new(const struct rpc_server_options *options)
{
    struct rpc_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        abort();
    s->options = *options;
    s->actions = map_new();
    fiber_event_init(&s->idle);
    for (size_t i = 0; i < options->action_count; i++)
        (void)map_set(s->actions, slice_of(options->actions[i].name),
                      (void *)(uintptr_t)&options->actions[i]);
    return s;
}

void rpc_server_get_stats(const struct rpc_server *s, struct rpc_server_stats *out)
{
    *out = s->stats;
}

void rpc_server_drain(struct rpc_server *s, struct deadline until)
{
    struct fault why;

    s->draining = true;
    while (s->stats.in_flight > 0)
        if (fiber_event_wait(&s->idle, until, &why) < 0)
            break;
    for (struct rpc_conn *c = s->conns; c != NULL; c = c->next)
        if (c->link.ws != NULL)
            websocket_shutdown(c->link.ws);
    while (s->stats.connections > 0)
        if (fiber_event_wait(&s->idle, until, &why) < 0)
            break;
}

void rpc_server_free(struct rpc_server **sp)
{
    struct rpc_server *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    if (s->conns != NULL)
        abort(); /* drain first: connections point here */
    map_free(&s->actions);
    free(s);
}

/* ---- connections ---- */

static struct rpc_conn *conn_new(struct rpc_server *s, struct websocket *ws)
{
    struct rpc_conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        abort();
    c->server = s;
    c->link.ws = ws;
    fiber_event_init(&c->link.left);
    c->sessions = map_new();
    c->refs = 1;
    c->next = s->conns;
    c->slot = &s->conns;
    if (c->next != NULL)
        c->next->slot = &c->next;
    s->conns = c;
    s->stats.connections++;
    return c;
}

void rpc_conn_unref(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;

    if (--c->refs > 0)
        return;
    *c->slot = c->next;
    if (c->next != NULL)
        c->next->slot = c->slot;
    map_free(&c->sessions);
    free(c);
    s->stats.connections--;
    fiber_event_broadcast(&s->idle);
}

static struct rpc_work *find_work(struct rpc_conn *c, uint32_t id)
{
    struct rpc_work *w = c->calls[id % RPC_CALL_SLOTS];

    while (w != NULL && w->id != id)
        w = w->next;
    return w;
}

static void unlink_work(struct rpc_work *w)
{
    struct rpc_work **at = &w->conn->calls[w->id % RPC_CALL_SLOTS];

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

/* ---- a request's fiber ---- */

static void send_fault(struct rpc_conn *c, uint32_t id, const struct fault *fault)
{
    AUTO(buf_free) struct buf text = BUF_INIT(RPC_TEXT_BYTES_MAX);
    struct fault why;

    c->server->stats.faults++;
    if (rpc_text_format_fault(id, fault->code, fault->text, &text) == 0)
        (void)rpc_link_send_now(&c->link, WEBSOCKET_TEXT, buf_slice(&text), &why);
}

static void work_free(struct rpc_work *w)
{
    struct rpc_conn *c = w->conn;
    struct rpc_server *s = c->server;

    unlink_work(w);
    if (w->call.handle != NULL)
        rpc_session_unuse(w->call.handle);
    rpc_inflow_deinit(&w->in);
    rpc_outflow_deinit(&w->out);
    rpc_text_release(&w->text);
    arena_free(&w->call.arena);
    free(w);
    c->in_flight--;
    s->stats.in_flight--;
    fiber_event_broadcast(&s->idle);
    rpc_conn_unref(c);
}

static void run_work(void *arg)
{
    struct rpc_work *w = arg;
    struct fault why = {FAULT_NONE, ""};

    if (w->action->fn(&w->call, &why) < 0) {
        if (w->answer != ANSWER_ENDED)
            send_fault(w->conn, w->id, &why);
    } else if (w->answer == ANSWER_NONE) {
        (void)fault_set(&why, FAULT_IO, "%s gave no answer", w->call.action);
        send_fault(w->conn, w->id, &why);
    }
    work_free(w);
}

/* ---- dispatch ---- */

static int check_request(struct rpc_conn *c, const struct rpc_text *text,
                         const struct rpc_action **action, struct rpc_session **session,
                         struct fault *why)
{
    *session = NULL;
    *action = map_find(c->server->actions, text->action);
    if (c->server->draining)
        return fault_set(why, FAULT_UNAVAILABLE, "shutting down");
    if (c->in_flight >= RPC_IN_FLIGHT_MAX)
        return fault_set(why, FAULT_UNAVAILABLE, "too many requests in flight");
    if (*action == NULL)
        return fault_set(why, FAULT_INVALID, "no action %.*s", SLICE(text->action));
    if (((*action)->flags & RPC_NEEDS_OP) && !text->has_op)
        return fault_set(why, FAULT_INVALID, "%s needs an op", (*action)->name);
    if ((*action)->kind == NULL)
        return 0;
    *session = rpc_session_find(c, text->session);
    if (*session == NULL || (*session)->kind != (*action)->kind)
        return fault_set(why, FAULT_CLOSED, "no such session");
    return 0;
}

static struct rpc_work *work_new(struct rpc_conn *c, struct rpc_text *text, struct arena *in,
                                 const struct rpc_action *action, struct rpc_session *session)
{
    struct rpc_work *w = calloc(1, sizeof(*w));

    if (w == NULL)
        abort();
    w->conn = c;
    w->action = action;
    w->id = text->id;
    w->text = *text;
    w->call = (struct rpc_call){
        .arena = in,
        .action = action->name,
        .args = text->body,
        .context = c->server->options.context,
        .session = session != NULL ? session->object : NULL,
        .handle = session,
        .op = text->has_op ? w->text.op : NULL,
        .until = deadline_in_ms(text->ttl_ms > 0 ? text->ttl_ms : RPC_TTL_MS_DEFAULT),
        .piece_bytes = text->piece_bytes,
        .piece_count = text->piece_count,
        .more = text->more,
    };
    rpc_inflow_init(&w->in, &c->link, w->id);
    rpc_inflow_announce(&w->in, text);
    w->in.wipe = (action->flags & RPC_IS_SECRET) != 0;
    rpc_outflow_init(&w->out, &c->link, w->id);
    return w;
}

static void start_work(struct rpc_conn *c, struct rpc_work *w)
{
    struct fault why;

    w->next = c->calls[w->id % RPC_CALL_SLOTS];
    c->calls[w->id % RPC_CALL_SLOTS] = w;
    c->refs++;
    c->in_flight++;
    c->server->stats.in_flight++;
    c->server->stats.requests++;
    if (w->call.handle != NULL)
        rpc_session_use(w->call.handle);
    if (fiber_start("rpc.call", run_work, w, &why) < 0) {
        why.code = FAULT_UNAVAILABLE;
        send_fault(c, w->id, &why);
        work_free(w);
    }
}

static int on_request(struct rpc_conn *c, struct rpc_text *text, struct arena **in,
                      struct fault *why)
{
    const struct rpc_action *action;
    struct rpc_session *session;
    struct fault refused;

    if (text->id <= c->last_id) {
        rpc_text_release(text);
        return fault_set(why, FAULT_PROTOCOL, "rpc: request ids must rise");
    }
    c->last_id = text->id;
    if (check_request(c, text, &action, &session, &refused) < 0) {
        send_fault(c, text->id, &refused);
        rpc_text_release(text);
        return 0;
    }
    start_work(c, work_new(c, text, *in, action, session));
    *in = NULL;
    return 0;
}

static void on_cancel(struct rpc_work *w)
{
    struct fault why;

    (void)fault_set(&why, FAULT_CANCELED, "the client gave up");
    w->canceled = true;
    rpc_inflow_fail(&w->in, &why);
    rpc_outflow_fail(&w->out, &why);
}

static int on_text(struct rpc_conn *c, struct slice frame, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct rpc_text text;
    struct rpc_work *w;
    int r = 0;

    if (rpc_text_parse(frame, in, &text, why) < 0)
        return -1;
    if (text.kind == RPC_REQUEST)
        return on_request(c, &text, &in, why);
    w = find_work(c, text.id);
    if (text.kind == RPC_CREDIT && w != NULL)
        rpc_outflow_grant(&w->out, text.credit);
    else if (text.kind == RPC_CANCEL && w != NULL)
        on_cancel(w);
    else if (text.kind == RPC_OK || text.kind == RPC_FAULT)
        r = fault_set(why, FAULT_PROTOCOL, "rpc: an answer from a client");
    rpc_text_release(&text);
    return r;
}

static int on_piece(struct rpc_conn *c, struct websocket_message *m, struct fault *why)
{
    struct rpc_piece_frame frame;
    struct rpc_work *w;

    if (!rpc_piece_parse(buf_slice(&m->data), &frame) || frame.id > c->last_id)
        return fault_set(why, FAULT_PROTOCOL, "rpc: malformed piece");
    w = find_work(c, frame.id);
    return w == NULL
               ? 0
               : rpc_inflow_push(&w->in, &frame, m, why); /* answered meanwhile: nobody wants it */
}

static int read_frames(struct rpc_conn *c, struct fault *why)
{
    for (;;) {
        AUTO(websocket_message_free) struct websocket_message m = {.data = BUF_INIT(0)};
        int r = websocket_receive(c->link.ws, DEADLINE_NEVER, &m, why);
        if (r <= 0)
            return r;
        r = m.kind == WEBSOCKET_TEXT ? on_text(c, buf_slice(&m.data), why) : on_piece(c, &m, why);
        if (r < 0)
            return r;
    }
}

/* Requests that are still arriving fail; the others run on, their answers go nowhere. */
static void conn_die(struct rpc_conn *c, const struct fault *reason)
{
    struct fault why;

    (void)fault_set(&why, FAULT_CLOSED, "the client has gone");
    c->dead = true;
    for (size_t i = 0; i < RPC_CALL_SLOTS; i++) {
        for (struct rpc_work *w = c->calls[i]; w != NULL; w = w->next) {
            rpc_inflow_fail(&w->in, &why);
            rpc_outflow_fail(&w->out, &why);
        }
    }
    rpc_link_close(&c->link, reason->code == FAULT_PROTOCOL ? 1002 : 1000, SLICE_NONE);
    rpc_sessions_end_all(c);
}

/* ---- upgrade ---- */

static bool is_authorized(const struct rpc_server *s, const struct http_request *rq)
{
    struct slice given = http_request_header(rq, LIT("Authorization"));
    unsigned char want[32], got[32];
    bool good = false;

    if (!slice_has_prefix_nocase(given, LIT("Bearer ")))
        return false;
    sha256(slice_trim(slice_tail(given, 7)),
           got); /* digests: neither length nor content shows in the time */
    for (size_t i = 0; i < s->options.secret_count; i++) {
        sha256(secret_slice(s->options.secrets[i]), want);
        good |= secret_equal(slice_make(want, sizeof(want)), slice_make(got, sizeof(got)));
    }
    return good;
}

static int accept_client(struct rpc_server *s, struct http_request *rq, struct websocket **out,
                         struct fault *why)
{
    static const struct websocket_options options = {
        .text_bytes_max = RPC_TEXT_BYTES_MAX,
        .binary_bytes_max = RPC_HEADER_BYTES + RPC_FRAME_BYTES_MAX,
        .ping_ms = PING_MS,
    };

    if (!is_authorized(s, rq)) {
        http_set_header(rq, LIT("WWW-Authenticate"), LIT("Bearer"));
        http_reply(rq, 401, LIT("text/plain"), LIT("not authorized\n"));
        return fault_set(why, FAULT_DENIED, "wrong or missing API secret");
    }
    http_set_header(rq, LIT(RPC_VERSION_HEADER), LIT(RPC_VERSION));
    if (!slice_equal(http_request_header(rq, LIT(RPC_VERSION_HEADER)), LIT(RPC_VERSION))) {
        http_reply(rq, 426, LIT("text/plain"), LIT("other protocol version\n"));
        return fault_set(why, FAULT_PROTOCOL, "client speaks another protocol version");
    }
    if (s->draining) {
        http_reply(rq, 503, LIT("text/plain"), LIT("shutting down\n"));
        return fault_set(why, FAULT_UNAVAILABLE, "shutting down");
    }
    return websocket_accept(rq, &options, out, why);
}

void rpc_server_upgrade(struct rpc_server *s, struct http_request *rq)
{
    const struct stream_addr peer = *http_request_peer(rq); /* the stream moves on */
    struct websocket *ws;
    struct rpc_conn *c;
    struct fault why = {FAULT_NONE, ""};

    if (accept_client(s, rq, &ws, &why) < 0) {
        log_event(LOG_WARN, "rpc.refused", F_STR("peer", peer.ip), F_FAULT(&why));
        return;
    }
    c = conn_new(s, ws);
    if (read_frames(c, &why) < 0 && why.code != FAULT_CLOSED)
        log_event(LOG_WARN, "rpc.conn.fault", F_STR("peer", peer.ip), F_FAULT(&why));
    conn_die(c, &why);
    rpc_conn_unref(c);
}
