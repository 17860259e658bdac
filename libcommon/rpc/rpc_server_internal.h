/* rpc_server_internal.h - server, connection, request and session, shared by the files of the RPC server. */
#pragma once

#include "base/map.h"
#include "rpc/rpc_flow.h"
#include "rpc/rpc_server.h"

#define RPC_CALL_SLOTS 64

struct rpc_server {
    struct rpc_server_options options;
    struct map *actions;                   /* name -> const struct rpc_action */
    struct rpc_conn *conns;
    struct rpc_server_stats stats;
    bool draining;
    struct fiber_event idle;               /* a request or a connection has ended */
};

struct rpc_conn {
    struct rpc_server *server;
    struct rpc_link link;
    struct rpc_conn *next, **slot;         /* the server's list */
    struct rpc_work *calls[RPC_CALL_SLOTS];    /* by id */
    unsigned in_flight;
    unsigned refs;                         /* reader, requests, sessions */
    bool dead;
    uint32_t last_id;
    struct map *sessions;                  /* handle -> struct rpc_session */
};

struct rpc_work {                          /* a request: what handlers see, and how it is served */
    struct rpc_call call;
    const struct rpc_action *action;
    struct rpc_conn *conn;
    struct rpc_work *next;                 /* in its slot */
    struct rpc_text text;
    uint32_t id;
    struct rpc_inflow in;
    struct rpc_outflow out;
    bool canceled;
    enum { ANSWER_NONE, ANSWER_BEGUN, ANSWER_ENDED } answer;
};

struct rpc_session {
    struct rpc_conn *conn;
    const struct rpc_session_kind *kind;
    void *object;
    unsigned uses;                         /* requests that run with it */
    bool ended;
    char handle[RPC_SESSION_BYTES];
};

void rpc_conn_unref(struct rpc_conn *c);
struct rpc_session *rpc_session_find(struct rpc_conn *c, struct slice handle);      /* NULL when absent */
void rpc_session_use(struct rpc_session *s);
void rpc_session_unuse(struct rpc_session *s);
void rpc_sessions_end_all(struct rpc_conn *c);
