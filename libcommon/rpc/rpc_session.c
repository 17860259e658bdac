/* rpc_session.c - sessions: random handles bound to the connection they were opened on.
 *
 * Owns struct rpc_session; the object behind belongs to whoever opened it and comes back through
 * kind->end, exactly once. Called by handlers and the connection. Never suspends.
 */
#include "base/encode.h"
#include "rpc/rpc_server_internal.h"

static void session_finish(struct rpc_session *s)
{
    struct rpc_conn *c = s->conn;

    if (!s->ended || s->uses > 0)
        return;
    c->server->stats.sessions--;
    s->kind->end(s->object);
    free(s);
    rpc_conn_unref(c);
}

int rpc_session_open(struct rpc_call *call, const struct rpc_session_kind *kind, void *object,
                     struct rpc_session **out, struct fault *why)
{
    struct rpc_conn *c = CONTAINER_OF(call, struct rpc_work, call)->conn;
    struct rpc_session *s;
    unsigned char raw[RPC_SESSION_BYTES / 2];

    if (c->dead)
        return fault_set(why, FAULT_CLOSED, "the client has gone");
    if (map_count(c->sessions) >= RPC_SESSIONS_MAX)
        return fault_set(why, FAULT_LIMIT, "too many sessions");
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    random_bytes(raw, sizeof(raw));
    memcpy(s->handle, hex_encode(call->arena, slice_make(raw, sizeof(raw))).p, RPC_SESSION_BYTES);
    s->conn = c;
    s->kind = kind;
    s->object = object;
    c->refs++;
    c->server->stats.sessions++;
    (void)map_set(c->sessions, rpc_session_handle(s), s);
    *out = s;
    return 0;
}

struct slice rpc_session_handle(const struct rpc_session *s)
{
    return slice_make(s->handle, sizeof(s->handle));
}

struct rpc_session *rpc_session_find(struct rpc_conn *c, struct slice handle)
{
    return map_find(c->sessions, handle);
}

void rpc_session_use(struct rpc_session *s)
{
    s->uses++;
}

void rpc_session_unuse(struct rpc_session *s)
{
    s->uses--;
    session_finish(s);
}

void rpc_session_end(struct rpc_session *s)
{
    if (s->ended)
        return;
    s->ended = true;
    (void)map_remove(s->conn->sessions, rpc_session_handle(s));
    session_finish(s);
}

void rpc_sessions_end_all(struct rpc_conn *c)
{
    struct slice handle;
    void *session;

    for (;;) { /* ending one may end others: start again each time */
        size_t cursor = 0;
        if (map_next(c->sessions, &cursor, &handle, &session) == 0)
            return;
        rpc_session_end(session);
    }
}
