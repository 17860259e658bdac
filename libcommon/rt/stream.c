/* stream.c - streams: sockets and their addresses, life and death, readiness.
 *
 * Owns the socket, the uv_poll_t and the struct, which is freed when libuv has let go of the
 * handle. Called by services, net and listener.c. Connecting suspends and can fail; closing does
 * neither.
 */
#include "rt/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>
#include "rt/fiber_internal.h"
#include "rt/stream_internal.h"

#define DRAIN_AT_CLOSE_BYTES ((size_t)256 << 10)

/* --- addresses -------------------------------------------------------------------------------- */

const struct stream_addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}

void stream_set_peer(struct stream *s, const struct stream_addr *peer)
{
    s->peer = *peer;
}

void stream_set_local(struct stream *s, const struct stream_addr *local)
{
    if (s->local == NULL)
        s->local = malloc(sizeof *s->local);
    if (s->local == NULL)
        abort();
    *s->local = *local;
}

const struct stream_addr *stream_local(const struct stream *s)
{
    struct sockaddr_storage raw = {0};
    socklen_t len = sizeof raw;
    struct stream_addr local;

    if (s->local == NULL) {
        (void)getsockname(s->fd, (struct sockaddr *)&raw, &len);
        (void)stream_addr_set(&local, (const struct sockaddr *)&raw, len);
        stream_set_local((struct stream *)(uintptr_t)s, &local); /* a cache, no visible change */
    }
    return s->local;
}

/* --- readiness -------------------------------------------------------------------------------- */

static void on_readable(struct stream *s)
{
    if (s->reader != NULL)
        fiber_resume(s->reader, 0);
    else if (s->parked)
        stream_park_readable(s);
    else
        stream_unwatch(s, UV_READABLE);
}

static void on_writable(struct stream *s)
{
    if (s->writer != NULL)
        fiber_resume(s->writer, 0);
    else if (stream_push(s) != STREAM_AGAIN)
        stream_unwatch(s, UV_WRITABLE);
}

static void set_interest(struct stream *s, int events);

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct stream *s = handle->data;

    if (s->lent) { /* whoever gets it back looks for itself */
        set_interest(s, 0);
        return;
    }
    if (status < 0) { /* an error is on the socket and libuv stopped: reading will find it */
        events = s->interest;
        s->interest = 0;
    }
    if (events & UV_WRITABLE)
        on_writable(s);
    if (events & UV_READABLE)
        on_readable(s);
}

static void set_interest(struct stream *s, int events)
{
    if (events == s->interest)
        return;
    s->interest = events;
    if (events == 0)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, events, on_poll);
}

void stream_watch(struct stream *s, int events)
{
    set_interest(s, s->interest | events);
}

void stream_unwatch(struct stream *s, int events)
{
    set_interest(s, s->interest & ~events);
}

static int wait_for(struct stream *s, int event, struct fiber **who, struct deadline until,
                    struct fault *why)
{
    int r;

    assert(*who == NULL && !s->parked && fiber_self() != NULL);
    stream_watch(s, event);
    *who = fiber_self();
    r = fiber_suspend(until);
    *who = NULL;
    s->turn_bytes = 0;
    return r < 0 ? fiber_suspend_fault(r, why) : 0;
}

int stream_wait_readable(struct stream *s, struct deadline until, struct fault *why)
{
    return wait_for(s, UV_READABLE, &s->reader, until, why);
}

int stream_wait_writable(struct stream *s, struct deadline until, struct fault *why)
{
    return wait_for(s, UV_WRITABLE, &s->writer, until, why);
}

/* A fast peer must not keep the loop to itself. */
void stream_let_others_run(struct stream *s)
{
    if (s->turn_bytes < TURN_BYTES)
        return;
    s->turn_bytes = 0;
    fiber_yield();
}

static int direction_fault(int err, struct fault *why)
{
    switch (err) {
    case 0:
        return fault_set(why, FAULT_CLOSED, "the peer closed the connection");
    case EPIPE:
    case ECONNRESET:
    case ETIMEDOUT: /* keep-alive or retransmission gave up */
        return fault_set(why, FAULT_CLOSED, "connection lost: %s", strerror(err));
    case EPROTO:
        return fault_set(why, FAULT_PROTOCOL, "broken TLS record");
    default:
        return fault_errno(why, err, "socket");
    }
}

int stream_read_fault(const struct stream *s, struct fault *why)
{
    return direction_fault(s->read_errno, why);
}

int stream_write_fault(const struct stream *s, struct fault *why)
{
    return direction_fault(s->write_errno, why);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_flush(struct loop_task *task)
{
    (void)stream_push(CONTAINER_OF(task, struct stream, flush));
}

static void tune_tcp(int fd)
{
    int on = 1, idle_s = 300, interval_s = 60, probes = 5;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* we gather output ourselves */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

int stream_adopt(int fd, const struct stream_addr *peer, struct stream **out, struct fault *why)
{
    struct stream *s = calloc(1, sizeof *s);
    int r;

    if (s == NULL)
        abort();
    r = uv_poll_init(loop_uv(), &s->poll, fd);
    if (r < 0) {
        close(fd);
        free(s);
        return fault_set(why, FAULT_IO, "uv_poll_init: %s", uv_strerror(r));
    }
    s->poll.data = s;
    s->fd = fd;
    s->in_bytes = IN_BYTES_LEAST;
    s->flush.fn = on_flush;
    s->peer = *peer;
    if (peer->raw.ss_family != AF_UNIX)
        tune_tcp(fd);
    *out = s;
    return 0;
}

int stream_pair(struct stream **a, struct stream **b, struct fault *why)
{
    static const struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    struct stream_addr addr;
    int fd[2];

    (void)stream_addr_set(&addr, (const struct sockaddr *)&nameless, sizeof nameless.sun_family);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
        return fault_errno(why, errno, "socketpair");
    if (stream_adopt(fd[0], &addr, a, why) < 0) {
        close(fd[1]);
        return -1;
    }
    if (stream_adopt(fd[1], &addr, b, why) < 0) {
        stream_close(a);
        return -1;
    }
    return 0;
}

static int bind_local(int fd, const char *local_ip, struct fault *why)
{
    struct stream_addr local;

    if (local_ip == NULL || local_ip[0] == '\0')
        return 0;
    if (!stream_addr_parse(local_ip, 0, &local))
        return fault_set(why, FAULT_INVALID, "not a numeric address: %s", local_ip);
    if (bind(fd, (const struct sockaddr *)&local.raw, local.raw_len) < 0)
        return fault_errno(why, errno, "bind to %s", local_ip);
    return 0;
}

static int await_connect(struct stream *s, struct deadline until, struct fault *why)
{
    int err = 0;
    socklen_t len = sizeof err;

    if (stream_wait_writable(s, until, why) < 0)
        return fault_prefix(why, "connect to %s port %u", s->peer.ip, s->peer.port);
    stream_unwatch(s, UV_WRITABLE);
    (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err != 0)
        return fault_errno(why, err, "connect to %s port %u", s->peer.ip, s->peer.port);
    return 0;
}

int stream_connect(const char *ip, uint16_t port, const char *local_ip, struct deadline until,
                   struct stream **out, struct fault *why)
{
    AUTO(stream_close) struct stream *s = NULL;
    struct stream_addr peer;
    int fd;

    if (!stream_addr_parse(ip, port, &peer))
        return fault_set(why, FAULT_INVALID, "not a numeric address: %s", ip);
    fd = socket(peer.raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_errno(why, errno, "socket");
    if (bind_local(fd, local_ip, why) < 0) {
        close(fd);
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&peer.raw, peer.raw_len) < 0 && errno != EINPROGRESS) {
        (void)fault_errno(why, errno, "connect to %s port %u", peer.ip, port);
        close(fd);
        return -1;
    }
    if (stream_adopt(fd, &peer, &s, why) < 0)
        return -1;
    if (await_connect(s, until, why) < 0)
        return -1;
    *out = s;
    s = NULL;
    return 0;
}

/* Input nobody read would make the kernel answer with a reset, which can destroy output on its way.
 */
static void discard_input(int fd)
{
    char scratch[4096];

    for (size_t n = 0; n < DRAIN_AT_CLOSE_BYTES; n += sizeof scratch) {
        if (recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) <= 0)
            return;
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void stream_close(struct stream **stream)
{
    struct stream *s = *stream;

    if (s == NULL)
        return;
    *stream = NULL;
    assert(s->reader == NULL && s->writer == NULL && !s->waking);
    loop_task_drop(&s->flush);
    timer_stop(&s->timer);
    if (s->ssl != NULL)
        stream_tls_end(s);
    (void)stream_push(s);
    (void)shutdown(s->fd, SHUT_WR);
    discard_input(s->fd);
    stream_tls_free(s);
    iobuf_release(&s->in);
    iobuf_release(&s->out);
    iobuf_release(&s->wire);
    free(s->local);
    newcomers_leave(&s->newcomer);
    if (s->on_close != NULL)
        s->on_close(s->on_close_arg);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    close(s->fd); /* after uv_close, which still wants it */
}

void stream_shutdown(struct stream *s)
{
    if (!s->lent)
        (void)stream_push(s);
    (void)shutdown(s->fd, SHUT_RDWR);
    if (s->lent) /* the handshake fails at the socket */
        return;
    s->eof = true;
    if (s->write_errno == 0)
        s->write_errno = EPIPE;
    if (s->reader != NULL)
        fiber_resume(s->reader, 0);
    if (s->writer != NULL)
        fiber_resume(s->writer, 0);
    if (s->parked)
        stream_park_closed(s);
}
