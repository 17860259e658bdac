/* http_server.h - HTTP/1.1 for web, api, caldav, carddav and the WebSocket upgrade (RFC 9110, RFC 9112).
 *
 * Owns      the stream of each connection; between requests it is parked, without a fiber.
 * Used by   the HTTP services, rpc_server, websocket.
 * Threads   the loop thread only; the handler runs on a fiber per request, requests of one connection in order.
 *
 * Framing is strict: bare CR or LF, folded headers, both lengths, repeated Content-Length or Host, a
 * Transfer-Encoding other than one "chunked", odd chunk sizes are 400 and the end of the connection.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/time.h"
#include "rt/fiber.h"
#include "rt/stream.h"

#define HTTP_HEAD_BYTES_MAX    ((size_t)32 << 10)    /* request line and headers; 431 */
#define HTTP_TARGET_BYTES_MAX  ((size_t)8 << 10)     /* 414 */
#define HTTP_HEADERS_MAX       100                   /* 431 */
#define HTTP_BODY_BYTES_MAX    ((uint64_t)1 << 20)   /* default; 413 */
#define HTTP_CHUNK_LINE_MAX    256                   /* size and extensions of one chunk */
#define HTTP_TRAILER_BYTES_MAX 4096
#define HTTP_IDLE_MS           65000u                /* silence between requests */
#define HTTP_HEAD_MS           15000u                /* first byte to end of headers; 408 */
#define HTTP_STALL_MS          30000u                /* no progress while a body comes in or an answer goes out */
#define HTTP_BODY_RATE_MIN     1024u                 /* bytes per second a body must come in with, after HTTP_STALL_MS */
#define HTTP_DRAIN_BYTES_MAX   ((uint64_t)256 << 10) /* of a body the handler did not want, read to keep the connection */

struct http_request;
typedef void (*http_handler)(struct http_request *rq, void *arg) SUSPENDS;

struct http_server {                  /* filled by the caller; lives longer than its connections */
    http_handler handle;
    void *arg;
    const char *server_name;          /* Server header, or NULL: none */
    uint64_t body_bytes_max;          /* 0: HTTP_BODY_BYTES_MAX; a handler may change its request's */
    uint64_t idle_ms, head_ms, stall_ms;   /* 0: the defaults above */

    struct http_conn *conns;          /* private from here on, zero at first */
    unsigned conn_count;
    bool draining;
    struct fiber_event gone;
};

/* For listener_options.accept (arg: struct http_server *). Takes the stream. */
void http_serve(struct stream *s, void *server) SUSPENDS;
/* Idle connections end now, the others after their request. Returns when all have, or at `until`. Upgraded ones are
 * no longer counted.                                                                                              */
void http_server_drain(struct http_server *server, struct deadline until) SUSPENDS;

struct http_header { struct slice name, value; };

struct http_request {                 /* slices live in the arena */
    struct arena *arena;              /* lives until the handler has returned */
    struct slice method;              /* "GET", upper case as sent */
    struct slice target;              /* origin-form as sent ("/a%20b?c=d"), or "*" */
    struct slice path, query;         /* raw, split at '?' */
    struct slice host;                /* Host header; empty only for HTTP/1.0 */
    unsigned version;                 /* 10 or 11 */
    const struct http_header *headers;
    size_t header_count;
    uint64_t body_bytes;              /* Content-Length, 0 when there is no body; UINT64_MAX: chunked */
    uint64_t body_bytes_max;          /* handlers may raise or lower it before reading */
    struct http_conn *conn;           /* private from here on */
};

/* First header of that name (any case), SLICE_NONE if there is none. */
struct slice http_request_header(const struct http_request *rq, struct slice name);
/* Token lists like Connection or Accept-Encoding, over all headers of that name; any case; a q=0 does not count. */
bool http_request_has_token(const struct http_request *rq, struct slice name, struct slice token);
const struct stream_addr *http_request_peer(const struct http_request *rq);
/* The peer has shown who it is: its connection counts among a listener's newcomers no more. */
void http_know_peer(struct http_request *rq);
bool http_request_is_tls(const struct http_request *rq);
/* %XX and, when `plus`, '+' decoded; false on malformed escapes and on NUL. */
bool http_unescape(struct arena *a, struct slice in, bool plus, struct slice *out) MUST_CHECK;
/* Value of `name` in a query string or form body, unescaped; SLICE_NONE when absent or malformed. */
struct slice http_query_get(struct arena *a, struct slice query, struct slice name);

/* ---- the request's body; answers "100 Continue" when the client waits for it ---- */

/* Some bytes, borrowed until the next call; empty: end. FAULT_LIMIT: over body_bytes_max; FAULT_PROTOCOL: bad chunking. */
int http_read(struct http_request *rq, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
/* All of it, in the arena. */
int http_read_all(struct http_request *rq, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The reply for a failed read: 413, 408 or 400, and the end of the connection. */
void http_reply_read_fault(struct http_request *rq, const struct fault *why) SUSPENDS;

/* ---- the answer ---- */

/* Before the reply begins; may repeat names. A name or value with CR, LF or NUL is a bug (assert). */
void http_set_header(struct http_request *rq, struct slice name, struct slice value);
void http_close_after(struct http_request *rq);      /* "Connection: close" */
/* Whole answer. `type` may be empty (no Content-Type). HEAD, 204 and 304 send no body. Text of 1 KiB and more
 * is gzipped when the client accepts it, unless the reply has a strong ETag or a Content-Encoding.                 */
void http_reply(struct http_request *rq, unsigned status, struct slice type, struct slice body) SUSPENDS;
/* Streamed: begin (length known, or UINT64_MAX: chunked, or until close for HTTP/1.0), write ..., end. */
int http_reply_begin(struct http_request *rq, unsigned status, struct slice type, uint64_t bytes, struct fault *why) MUST_CHECK SUSPENDS;
int http_reply_write(struct http_request *rq, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
int http_reply_end(struct http_request *rq, struct fault *why) SUSPENDS;
bool http_reply_has_begun(const struct http_request *rq);
unsigned http_reply_status(const struct http_request *rq);       /* 0: not begun; for access logs */
uint64_t http_reply_bytes(const struct http_request *rq);        /* body bytes sent */
const char *http_status_text(unsigned status);

/* 101 with the headers set before; the stream is the caller's from then on. FAULT_PROTOCOL when body bytes are due. */
int http_upgrade(struct http_request *rq, struct slice protocol, struct stream **out, struct fault *why) MUST_CHECK SUSPENDS;
