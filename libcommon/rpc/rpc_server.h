/* rpc_server.h - the server side of proto/: a table of actions, each request on a fiber of its own.
 *
 * Owns      the WebSockets of its clients, their sessions, the requests in flight.
 * Used by   services/sqlite (and unit tests).
 * Threads   the loop thread only; suspends where marked.
 *
 * A request whose pieces have all arrived runs to its end even when the socket dies: then answering does nothing and
 * returns FAULT_CLOSED. A request that was still arriving sees FAULT_CLOSED (socket) or FAULT_CANCELED (client gave up)
 * from its next rpc_read; it must not commit then.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"
#include "net/http_server.h"
#include "wire/rpc_frame.h"

#define RPC_IN_FLIGHT_MAX    1024                 /* requests of one connection; more get FAULT_UNAVAILABLE */
#define RPC_SESSIONS_MAX     100000               /* of one connection */
#define RPC_TTL_MS_DEFAULT   60000u

struct rpc_server;
struct rpc_session;

struct rpc_call {                                 /* read-only for handlers */
    struct arena *arena;                          /* lives until the handler has returned */
    const char *action;
    const json_t *args;                           /* never NULL */
    void *context;                                /* rpc_server_options.context */
    void *session;                                /* the object given to rpc_session_open, of the row's kind; else NULL */
    struct rpc_session *handle;                   /* the same session as the RPC sees it */
    const unsigned char *op;                      /* RPC_OP_BYTES, or NULL */
    struct deadline until;
    const uint64_t *piece_bytes;                  /* announced lengths of the request's pieces */
    size_t piece_count;
    bool more;                                    /* further, unannounced pieces follow */
};

/* 0: answered. < 0: `why` is sent as the fault (its text too: keep paths and driver messages out of it). */
typedef int (*rpc_handler)(struct rpc_call *call, struct fault *why) SUSPENDS;

struct rpc_session_kind {
    const char *name;
    /* The session is over (closed, ended, or its socket died) and no request uses it any more. Called once, on the
     * loop thread, must not suspend; start a fiber for work that waits.                                            */
    void (*end)(void *object);
};

enum rpc_action_flags {
    RPC_NEEDS_OP  = 1,                            /* refused with FAULT_INVALID without an `op` */
    RPC_IS_SECRET = 2,                            /* request pieces are keys: their buffers are wiped */
};
struct rpc_action {
    const char *name;                             /* "messages.fetch" */
    rpc_handler fn;
    const struct rpc_session_kind *kind;          /* the session this action needs, or NULL */
    unsigned flags;
};

struct rpc_server_options {
    const struct rpc_action *actions;
    size_t action_count;
    void *context;
    const struct secret *const *secrets;          /* any of them authorises; borrowed for the server's life */
    size_t secret_count;
};
struct rpc_server *rpc_server_new(const struct rpc_server_options *options);
/* Refuses new requests (FAULT_UNAVAILABLE) and waits for those in flight; then ends all connections. */
void rpc_server_drain(struct rpc_server *s, struct deadline until) SUSPENDS;
void rpc_server_free(struct rpc_server **s);      /* after drain has seen the last connection go */

/* Handler for http_server: checks version and Authorization (400/401/426, logged), upgrades, serves until the socket ends. */
void rpc_server_upgrade(struct rpc_server *s, struct http_request *rq) SUSPENDS;

struct rpc_server_stats { unsigned connections, sessions, in_flight; uint64_t requests, faults; };
void rpc_server_get_stats(const struct rpc_server *s, struct rpc_server_stats *out);

/* ---- reading the request's pieces, in order ---- */

/* The next piece whole (right after rpc_next_piece: that one), at most `max` bytes (else FAULT_LIMIT), in call->arena.
 * FAULT_INVALID: there is no further piece. */
int rpc_read_piece(struct rpc_call *call, size_t max, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Moves to the next piece: 1 there is one, 0 no more. What was left of the current piece is skipped. */
int rpc_next_piece(struct rpc_call *call, struct fault *why) MUST_CHECK SUSPENDS;
/* Some bytes of the current piece, borrowed until the next rpc_ call; empty: the piece has ended. */
int rpc_read(struct rpc_call *call, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The client has gone or cancelled: work that changes nothing may stop. */
bool rpc_call_is_canceled(const struct rpc_call *call);

/* ---- answering: once, either whole or begun ---- */

/* `ok` is consumed, NULL is {}. */
int rpc_answer(struct rpc_call *call, json_t *ok, const struct slice *pieces, size_t piece_count, struct fault *why) SUSPENDS;
/* Streamed: begin, then write ... end_piece, write ... end_piece, ..., end. rpc_write gathers small writes into frames of
 * 64 KiB and waits for credit; rpc_flush sends what is gathered. A handler that returns < 0 after begin aborts the answer. */
int rpc_answer_begin(struct rpc_call *call, json_t *ok, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_write(struct rpc_call *call, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_flush(struct rpc_call *call, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_end_piece(struct rpc_call *call, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_answer_end(struct rpc_call *call, struct fault *why) SUSPENDS;

/* ---- sessions ---- */

/* A session on this call's connection for `object`; *out is valid until kind->end was called. FAULT_CLOSED: the socket
 * has died meanwhile (the caller keeps the object).                                                                   */
int rpc_session_open(struct rpc_call *call, const struct rpc_session_kind *kind, void *object, struct rpc_session **out, struct fault *why) MUST_CHECK;
struct slice rpc_session_handle(const struct rpc_session *s);     /* RPC_SESSION_BYTES of text, for the answer */
/* No further request finds it; kind->end follows when none uses it (maybe before this returns). */
void rpc_session_end(struct rpc_session *s);
