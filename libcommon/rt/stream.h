/* stream.h - a byte stream over TCP (or a unix socket), plain or TLS, for code on fibers; and its parked form.
 *
 * Owns the socket, the TLS state and both buffers. One reader fiber and one writer fiber at a time. Loop thread
 * only. Errors of all calls: FAULT_CLOSED (peer ended; an end inside a line or record is FAULT_CLOSED too),
 * FAULT_TIMEOUT, FAULT_CANCELED, FAULT_LIMIT, FAULT_PROTOCOL (TLS), FAULT_IO. A cancelled fiber cannot read any more, but
 * what it writes is still taken as long as that needs no waiting: it may say good-bye.
 *
 * A parked stream has no fiber: input is gathered until `ready` says a whole command is there, then `wake` runs on
 * a new fiber. While parked, its TLS state and empty buffers are all it costs.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/time.h"
#include "rt/tls.h"

struct stream;

struct stream_addr {                           /* text forms are NUL-terminated */
    char ip[INET6_ADDRSTRLEN];                 /* IPv4-mapped addresses are shown as IPv4 */
    uint16_t port;
    struct sockaddr_storage raw;
    socklen_t raw_len;
};

/* Connects to a numeric address ("127.0.0.1", "::1", or "unix:/path" with port 0); local_ip may be NULL. */
int stream_connect(const char *ip, uint16_t port, const char *local_ip, struct deadline until, struct stream **out, struct fault *why) MUST_CHECK SUSPENDS;
/* A connected pair in this process, for unit tests without a port. */
int stream_pair(struct stream **a, struct stream **b, struct fault *why) MUST_CHECK;
/* Flushes what it can without waiting, closes, frees, sets *s NULL. Never suspends. A fiber waiting in the
 * stream gets FAULT_CLOSED first... so close only from the fiber that uses it, or when nobody does.           */
void stream_close(struct stream **s);
/* Stops both directions at the socket, so that waiting fibers wake with FAULT_CLOSED. From anywhere on the loop. */
void stream_shutdown(struct stream *s);

const struct stream_addr *stream_peer(const struct stream *s);
const struct stream_addr *stream_local(const struct stream *s);
bool stream_is_tls(const struct stream *s);
const char *stream_tls_version(const struct stream *s);     /* "TLSv1.3", "" when plain */
const char *stream_tls_cipher(const struct stream *s);
/* After an accept with PROXY protocol: the addresses it named. */
void stream_set_peer(struct stream *s, const struct stream_addr *peer);

/* ---- reading ---- */
/* A line up to `max` bytes including its end. Strict: only CRLF ends it; a bare CR or bare LF inside is
 * FAULT_PROTOCOL after the line was taken up to and including the next LF. *line excludes the CRLF, and
 * lives in the stream's buffer until the next read. FAULT_LIMIT: longer than max; nothing is consumed.      */
int stream_read_line(struct stream *s, size_t max, struct deadline until, struct slice *line, struct fault *why) MUST_CHECK SUSPENDS;
/* At least 1 byte, at most what is buffered (up to `max`); borrowed until the next read. 0 bytes: end of input. */
int stream_read_some(struct stream *s, size_t max, struct deadline until, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
int stream_read_exact(struct stream *s, void *out, size_t n, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* What is in the input buffer now, unread; and taking from it. For parsers that look ahead. */
struct slice stream_buffered(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* Waits for more input than is buffered now: 0 more there, <0 as above (FAULT_CLOSED at the end, FAULT_LIMIT when `max` bytes are already buffered). */
int stream_fill(struct stream *s, size_t max, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- writing ---- */
/* Appends to the output buffer; suspends only while more than the high-water mark (64 KiB) is unsent. Small
 * writes are gathered and sent at the end of the loop turn, before a read waits, or by stream_flush.         */
int stream_write(struct stream *s, struct slice bytes, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int stream_writev(struct stream *s, const struct slice *parts, size_t count, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int stream_printf(struct stream *s, struct deadline until, struct fault *why, const char *format, ...) PRINTF_LIKE(4, 5) MUST_CHECK SUSPENDS;
int stream_flush(struct stream *s, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;    /* until the kernel has it all */
size_t stream_unsent_bytes(const struct stream *s);
/* Appends without ever suspending (for callbacks); FAULT_LIMIT when more than `max_unsent` would be waiting. */
int stream_write_now(struct stream *s, struct slice bytes, size_t max_unsent, struct fault *why) MUST_CHECK;

/* ---- TLS ---- */
/* Upgrades in place, after sending what was written (a 220). All input that was buffered in the clear is dropped (RFC 3207
 * 4.2: nothing sent before the handshake may be taken for what follows it); *dropped says how many bytes, or NULL.
 * FAULT_PROTOCOL: no common ground, or not TLS at all. Client, FAULT_DENIED: the certificate is not the one asked for. */
int stream_start_tls_server(struct stream *s, struct tls_server *tls, size_t *dropped, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int stream_start_tls_client(struct stream *s, struct tls_client *tls, const struct tls_client_options *options, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- parking ---- */
enum stream_wake { STREAM_WAKE_INPUT, STREAM_WAKE_TIMEOUT, STREAM_WAKE_CLOSED, STREAM_WAKE_KICK };

/* Bytes needed are there? Called on the loop whenever input grew; must not suspend or consume. */
typedef bool (*stream_ready_fn)(struct slice buffered, void *arg);
/* Runs on a fresh fiber; owns the stream from then on (park again, or close). */
typedef void (*stream_wake_fn)(struct stream *s, enum stream_wake because, void *arg) SUSPENDS;

/* Gives the stream to the loop; the calling fiber must not touch it afterwards (returns at once). If `ready`
 * already holds for what is buffered, the wake comes on the next turn. Input is gathered up to `max` bytes:
 * reaching it wakes with STREAM_WAKE_INPUT although ready said no. Only one wake per park.                    */
void stream_park(struct stream *s, stream_ready_fn ready, stream_wake_fn wake, void *arg, size_t max, struct deadline until);
/* ready for line protocols: a LF is buffered. */
bool stream_ready_line(struct slice buffered, void *arg);
/* Wakes a parked stream with STREAM_WAKE_KICK; remembered (once) when it is not parked, until the next park. */
void stream_kick(struct stream *s);
