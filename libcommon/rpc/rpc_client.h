/* rpc_client.h - the client side of proto/: one WebSocket, many requests in flight, reconnecting by itself.
 *
 * Owns      the connection and a reader fiber while connected. Connects when the first request needs it; after a failure
 *           with exponential back-off and jitter (50 ms to 5 s).
 * Used by   rpc/mailbox_*.c, health checks.
 * Threads   the loop thread only; suspends where marked.
 *
 * Faults of all calls: what the server answered, or FAULT_UNAVAILABLE (not connected, connection lost before the answer),
 * FAULT_TIMEOUT, FAULT_CANCELED, FAULT_PROTOCOL. A request is never sent twice by this layer.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"
#include "wire/rpc_frame.h"

struct rpc_client;

struct rpc_client_options {
    const char *host;                 /* numeric, a name of our own world, or "unix:/path" */
    uint16_t port;
    const struct secret *secret;      /* copied */
    bool tls;
    const char *ca_path;              /* NULL: the system's roots */
    uint64_t connect_wait_ms;         /* how long a request waits for a connection at most; 0: 5 s */
};
struct rpc_client *rpc_client_new(const struct rpc_client_options *options);
void rpc_client_free(struct rpc_client **c);      /* requests in flight fail with FAULT_UNAVAILABLE */
/* Rises with every new connection; session handles of an older one are gone. */
uint64_t rpc_client_generation(const struct rpc_client *c);
/* Waits for a connection. */
int rpc_client_connect(struct rpc_client *c, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

struct rpc_request {
    const char *action;
    struct slice session;             /* or empty */
    uint64_t generation;              /* not 0: FAULT_CLOSED unless the connection is still this one */
    const unsigned char *op;          /* RPC_OP_BYTES, or NULL */
    const json_t *args;               /* borrowed, NULL is {} */
    const struct slice *pieces;       /* sent whole, first */
    size_t piece_count;
    const uint64_t *stream_bytes;     /* lengths of pieces that follow by rpc_exchange_write */
    size_t stream_count;
    bool stream_more;                 /* pieces of unknown length and number follow */
};

/* One small round trip: all answer pieces are collected into `in`, at most `answer_bytes_max` together. */
struct rpc_answer {
    json_t *ok;                       /* owned by the caller */
    struct slice *pieces;
    size_t piece_count;
};
int rpc_client_call(struct rpc_client *c, const struct rpc_request *request, size_t answer_bytes_max, struct arena *in,
                    struct deadline until, struct rpc_answer *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Sends a request whose answer nobody reads (closing a session). Never suspends; does nothing when not connected. */
void rpc_client_tell(struct rpc_client *c, const struct rpc_request *request);

/* ---- streamed both ways: begin, write ... end_piece ..., finish; then answer, and next_piece/read ... ---- */

struct rpc_exchange;                  /* opaque: one request in flight; one fiber at a time */
int rpc_exchange_begin(struct rpc_client *c, const struct rpc_request *request, struct deadline until, struct rpc_exchange **out, struct fault *why) MUST_CHECK SUSPENDS;
/* Waits for credit: memory stays flat. A fault the server answered early is returned here. */
int rpc_exchange_write(struct rpc_exchange *x, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_exchange_end_piece(struct rpc_exchange *x, struct fault *why) MUST_CHECK SUSPENDS;
/* The request is complete (needed only when pieces were streamed). Ends the current piece if it has bytes. */
int rpc_exchange_finish(struct rpc_exchange *x, struct fault *why) MUST_CHECK SUSPENDS;
uint64_t rpc_exchange_generation(const struct rpc_exchange *x);   /* the connection it went over */
bool rpc_exchange_is_sent(const struct rpc_exchange *x);      /* the whole request has gone out: it may have run */
/* Waits for the answer; *ok is borrowed from the exchange. */
int rpc_exchange_answer(struct rpc_exchange *x, const json_t **ok, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_exchange_next_piece(struct rpc_exchange *x, struct fault *why) MUST_CHECK SUSPENDS;   /* 1 there is one, 0 no more */
/* Some bytes of the current piece, borrowed until the next call; empty: the piece has ended. */
int rpc_exchange_read(struct rpc_exchange *x, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
void rpc_exchange_close(struct rpc_exchange **x);             /* closer; cancels at the server what has not ended */
