/* websocket.h - WebSocket messages (RFC 6455), server and client, over rt/stream.h.
 *
 * Owns      the stream, wslay's state, a keep-alive timer. One fiber receives; any number may send.
 * Used by   rpc (both sides), api (push).
 * Threads   the loop thread only; suspends where marked. No extensions are negotiated.
 */
#pragma once

#include "base/buf.h"
#include "base/fault.h"
#include "base/time.h"
#include "net/http_server.h"

#define WEBSOCKET_UNSENT_MAX   ((size_t)4 << 20)   /* more unsent bytes than this: the peer does not read, the connection ends */

struct websocket;

enum websocket_kind { WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2 };

struct websocket_options {
    size_t text_bytes_max, binary_bytes_max;       /* of one received message; larger ones end the connection with 1009 */
    uint64_t ping_ms;                              /* ping after that much silence; two in a row unanswered: dead. 0: never */
};

struct websocket_message {                         /* owned by who received it */
    enum websocket_kind kind;
    struct buf data;
};
void websocket_message_free(struct websocket_message *m);   /* closer; messages up to 4 KiB are wiped */

/* Is this request a well-formed upgrade (RFC 6455 4.2.1)? */
bool websocket_is_upgrade(const struct http_request *rq);
/* Answers 101 and takes the stream; 400 or 426 is sent when the request is no upgrade (FAULT_PROTOCOL). Headers set by
 * http_set_header before go into the answer (Sec-WebSocket-Protocol among them).                                      */
int websocket_accept(struct http_request *rq, const struct websocket_options *options, struct websocket **out, struct fault *why) MUST_CHECK SUSPENDS;

struct websocket_target {
    struct slice host;                             /* Host header */
    struct slice path;                             /* "/" when empty */
    const struct http_header *headers;             /* Authorization, Sec-WebSocket-Protocol, ... */
    size_t header_count;
    struct slice want_header, want_value;          /* an answer header that must be there, or empty */
};
/* Client side of the handshake on a connected stream, which it takes on success. FAULT_DENIED: 401 or 403,
 * FAULT_PROTOCOL: another answer.                                                                            */
int websocket_connect(struct stream **s, const struct websocket_target *target, const struct websocket_options *options,
                      struct deadline until, struct websocket **out, struct fault *why) MUST_CHECK SUSPENDS;

/* 1: *out is the next message, the caller's. 0: the peer said good-bye (websocket_close_code). */
int websocket_receive(struct websocket *w, struct deadline until, struct websocket_message *out, struct fault *why) MUST_CHECK SUSPENDS;
/* One message out of `parts`. When more than 64 KiB are unsent, waits until the kernel has them. FAULT_CLOSED, FAULT_TIMEOUT, ... */
int websocket_send(struct websocket *w, enum websocket_kind kind, const struct slice *parts, size_t count, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* The waiting part of websocket_send alone, for who then uses websocket_send_now. */
int websocket_wait_room(struct websocket *w, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Never suspends. FAULT_LIMIT: WEBSOCKET_UNSENT_MAX reached (the connection is shut down). */
int websocket_send_now(struct websocket *w, enum websocket_kind kind, const struct slice *parts, size_t count, struct fault *why) MUST_CHECK;

/* Between messages, without a fiber: `wake` runs on a fresh one when something arrived (then websocket_receive until it
 * would wait: deadline 0), at `until`, or when closed. The websocket is wake's from then on.                           */
typedef void (*websocket_wake_fn)(struct websocket *w, enum stream_wake because, void *arg) SUSPENDS;
void websocket_park(struct websocket *w, websocket_wake_fn wake, void *arg, struct deadline until);
void websocket_kick(struct websocket *w);          /* wakes a parked one with STREAM_WAKE_KICK */

unsigned websocket_close_code(const struct websocket *w);   /* what the peer sent; 1005 none given, 1006 no close frame */
const struct stream_addr *websocket_peer(const struct websocket *w);
/* Wakes whoever receives or sends with FAULT_CLOSED. From anywhere on the loop. */
void websocket_shutdown(struct websocket *w);
/* Sends a close frame if none was sent, closes, frees, sets *w NULL. Never suspends. No fiber may be inside. */
void websocket_close(struct websocket **w, unsigned code, struct slice reason);
