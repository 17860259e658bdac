/* rpc_client_internal.h - client and exchange, shared by the connection's and the requests' side of the RPC client. */
#pragma once

#include "rpc/rpc_client.h"
#include "rpc/rpc_flow.h"
#include "rt/tls.h"

#define RPC_EXCHANGE_SLOTS 64

struct rpc_client {
    struct rpc_client_options options;
    char *host;
    struct secret *secret;                 /* our copy */
    unsigned refs;                         /* owner, connection fiber, waiting fibers, exchanges */
    bool closed;                           /* by the owner */
    bool running;                          /* the connection fiber */
    unsigned waiting;                      /* fibers that want a connection */
    unsigned failures;                     /* to connect, in a row */
    struct deadline next_try;
    struct fault last;                     /* why it is not connected */
    struct fiber_event changed;            /* connected, failed or closed */
    struct tls_client *tls;
    struct rpc_link link;
    uint64_t generation;
    uint32_t next_id;
    struct rpc_exchange *slots[RPC_EXCHANGE_SLOTS];     /* by id */
};

struct rpc_exchange {
    struct rpc_client *client;
    struct rpc_exchange *next;             /* in its slot */
    uint32_t id;
    uint64_t generation;
    struct deadline until;
    struct arena *arena;
    struct rpc_text text;                  /* the answer */
    bool answered, sent, is_linked;
    struct rpc_inflow in;
    struct rpc_outflow out;
};

void rpc_client_ref(struct rpc_client *c);
void rpc_client_unref(struct rpc_client *c);
struct rpc_exchange *rpc_exchange_find(struct rpc_client *c, uint32_t id);
/* The answer, or the reason why there will be none. */
void rpc_exchange_on_text(struct rpc_exchange *x, struct rpc_text *text);
void rpc_exchange_fail(struct rpc_exchange *x, const struct fault *why);
