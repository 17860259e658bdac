/* stream_internal.h - the struct behind stream.h and what its files share.
 *
 *   stream.c       life, readiness           stream_tls.c   handshakes, records
 *   stream_read.c, stream_write.c            stream_park.c  waiting without a fiber
 *   stream_addr.c  addresses
 *
 * Loop thread only. The socket is read and written directly; libuv only says when it is ready.
 * Readiness is level-triggered and left on between reads, so a request and its answer cost no
 * epoll_ctl; an event nobody waits for turns it off.
 */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>
#include "rt/fiber.h"
#include "rt/iobuf.h"
#include "rt/loop_internal.h"
#include "rt/newcomers.h"
#include "rt/stream.h"
#include "rt/timer.h"

#define HIGH_WATER_BYTES ((size_t)64 << 10) /* unsent output that suspends a writer */
#define GATHER_BYTES ((size_t)16 << 10)     /* output that waits for the end of the turn */
#define IN_BYTES_LEAST ((size_t)4 << 10)
#define IN_BYTES_MOST ((size_t)64 << 10)
#define RECORD_BYTES ((size_t)16 << 10) /* of TLS (RFC 8446 5.1) */
#define TURN_BYTES ((size_t)512 << 10)  /* then others have a turn */

struct stream {
    uv_poll_t poll;
    int fd, interest; /* what uv_poll watches now */
    bool eof;         /* nothing more will be read */
    bool parked, waking, kicked;
    bool lent;                   /* to a pool's thread, for a step of the handshake */
    int read_errno, write_errno; /* why a direction is dead; 0: it is not */
    struct iobuf in, out, wire;  /* wire: encrypted, TLS only */
    size_t scanned;              /* bytes of `in` known to hold no LF */
    size_t in_bytes;             /* room to offer the next read */
    size_t turn_bytes;           /* moved since the fiber last let others run */
    struct fiber *reader, *writer;
    struct loop_task flush;
    SSL *ssl;
    struct stream_addr peer, *local; /* local: on demand */
    struct {
        stream_ready_fn ready;
        stream_wake_fn wake;
        void *arg;
        size_t max;
        enum stream_wake because;
    } park;
    struct timer timer; /* the park's deadline, or another try to get a fiber */
    void (*on_close)(void *arg);
    void *on_close_arg;
    struct newcomers_place *newcomer; /* NULL: not counted, or known by now */
};

/* stream.c. Takes the connected socket over, also on failure. */
int stream_adopt(int fd, const struct stream_addr *peer, struct stream **out,
                 struct fault *why) MUST_CHECK;
void stream_set_local(struct stream *s, const struct stream_addr *local);
void stream_watch(struct stream *s, int events); /* UV_READABLE, UV_WRITABLE: watch these too */
void stream_unwatch(struct stream *s, int events);
int stream_wait_readable(struct stream *s, struct deadline until, struct fault *why) SUSPENDS;
int stream_wait_writable(struct stream *s, struct deadline until, struct fault *why) SUSPENDS;
void stream_let_others_run(struct stream *s) SUSPENDS; /* after TURN_BYTES without waiting */
int stream_read_fault(const struct stream *s, struct fault *why); /* -1: why reading is over */
int stream_write_fault(const struct stream *s, struct fault *why);

/* stream_addr.c */
bool stream_addr_set(struct stream_addr *out, const struct sockaddr *raw, socklen_t raw_len);
bool stream_addr_parse(const char *ip, uint16_t port, struct stream_addr *out);

/* stream_read.c, stream_write.c */
enum { STREAM_AGAIN = 0, STREAM_OVER = -1 };
/* From the socket: how many bytes, AGAIN, or OVER (s->eof is set, and s->read_errno after an error). */
ssize_t stream_recv(struct stream *s, void *p, size_t n);
/* Into s->in, through TLS if that is on; results as above. */
ssize_t stream_pull(struct stream *s);
/* All output to the kernel: 1 it is there, AGAIN (s is watched), OVER (s->write_errno is set). */
/* Moves what was written into s->wire, as far as there is room; sends nothing. 1, or STREAM_OVER. */
int stream_encrypt_some(struct stream *s);
int stream_push(struct stream *s);
int stream_send_buffered(struct stream *s, struct iobuf *b); /* the same for one buffer */
void stream_flush_soon(struct stream *s);
/* Exactly n bytes past s->in, which is empty, and none more from the kernel. */
int stream_read_direct(struct stream *s, char *p, size_t n, struct deadline until,
                       struct fault *why) SUSPENDS;

/* stream_tls.c */
ssize_t stream_tls_read(struct stream *s, void *p, size_t n); /* as stream_recv */
bool stream_tls_has_pending(const struct stream *s);
/* Into s->wire, at most RECORD_BYTES. <0: s->write_errno is set. */
int stream_tls_encrypt(struct stream *s, struct slice bytes);
void stream_tls_end(struct stream *s); /* close_notify into s->wire */
void stream_tls_free(struct stream *s);

/* stream_park.c */
void stream_park_readable(struct stream *s);
void stream_park_closed(struct stream *s);
