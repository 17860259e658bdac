/* stream_read.c - reading from streams: direct, non-blocking, into the stream's buffer or the
 * caller's memory.
 *
 * Owns nothing beyond the stream. Called by the one reader fiber of a stream and by stream_park.c;
 * suspends only while the socket has nothing. Fails as stream.h says; once over, reading stays
 * over.
 */
#include <errno.h>
#include "rt/fiber_internal.h"
#include "rt/stream_internal.h"

/* --- from the kernel -------------------------------------------------------------------------- */

ssize_t stream_recv(struct stream *s, void *p, size_t n)
{
    ssize_t r;

    if (s->eof)
        return STREAM_OVER;
    do {
        r = recv(s->fd, p, n, 0);
    } while (r < 0 && errno == EINTR);
    if (r > 0)
        return r;
    if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return STREAM_AGAIN;
    s->eof = true;
    s->read_errno = r < 0 ? errno : 0;
    return STREAM_OVER;
}

static ssize_t pull_into(struct stream *s, void *p, size_t n)
{
    return s->ssl != NULL ? stream_tls_read(s, p, n) : stream_recv(s, p, n);
}

ssize_t stream_pull(struct stream *s)
{
    size_t room = iobuf_room(&s->in, iobuf_count(&s->in) == 0 ? s->in_bytes : IN_BYTES_LEAST / 4);
    ssize_t r = pull_into(s, s->in.p + s->in.end, room);

    if (r <= 0)
        return r;
    s->in.end += (size_t)r;
    s->turn_bytes += (size_t)r;
    if ((size_t)r == room && s->in_bytes < IN_BYTES_MOST)
        s->in_bytes *= 2; /* bulk: fewer, bigger reads */
    return r;
}

/* One more piece of input in s->in. <0: none will come, or not in time. */
static int pull_waiting(struct stream *s, struct deadline until, struct fault *why)
{
    ssize_t r;

    if (fiber_is_canceled())
        return fiber_suspend_fault(FIBER_CANCELED, why);
    stream_let_others_run(s);
    while ((r = stream_pull(s)) == STREAM_AGAIN) {
        if (stream_unsent_bytes(s) > 0)
            (void)stream_push(s); /* the peer may wait for it before it sends */
        if (stream_wait_readable(s, until, why) < 0)
            return -1;
    }
    return r < 0 ? stream_read_fault(s, why) : 0;
}

struct slice stream_buffered(const struct stream *s)
{
    return iobuf_slice(&s->in);
}

void stream_consume(struct stream *s, size_t n)
{
    s->scanned = s->scanned > n ? s->scanned - n : 0;
    iobuf_take(&s->in, n);
}

int stream_fill(struct stream *s, size_t max, struct deadline until, struct fault *why)
{
    if (iobuf_count(&s->in) >= max)
        return fault_set(why, FAULT_LIMIT, "%zu bytes are buffered already", max);
    return pull_waiting(s, until, why);
}

static bool is_strict_line(struct slice line)
{
    return line.p != NULL && line.n >= 2 && line.p[line.n - 2] == '\r' &&
           memchr(line.p, '\r', line.n - 2) == NULL;
}

int stream_read_line(struct stream *s, size_t max, struct deadline until, struct slice *out,
                     struct fault *why)
{
    const char *lf;

    for (;;) {
        struct slice in = iobuf_slice(&s->in);
        struct slice fresh = slice_tail(in, s->scanned);

        lf = fresh.n > 0 ? memchr(fresh.p, '\n', fresh.n) : NULL;
        if (lf != NULL || in.n >= max)
            break;
        s->scanned = in.n;
        if (pull_waiting(s, until, why) < 0)
            return -1;
    }
    struct slice line = iobuf_slice(&s->in);

    if (lf == NULL || (size_t)(lf - line.p) + 1 > max)
        return fault_set(why, FAULT_LIMIT, "line longer than %zu bytes", max);
    line.n = (size_t)(lf - line.p) + 1;
    stream_consume(s, line.n);
    if (!is_strict_line(line))
        return fault_set(why, FAULT_PROTOCOL, "bare CR or LF in a line");
    *out = slice_head(line, line.n - 2);
    return 0;
}

int stream_read_some(struct stream *s, size_t max, struct deadline until, struct slice *out,
                     struct fault *why)
{
    if (iobuf_count(&s->in) == 0 && pull_waiting(s, until, why) < 0) {
        if (!s->eof || s->read_errno != 0)
            return -1;
        *out = SLICE_NONE;
        return 0;
    }
    *out = slice_head(iobuf_slice(&s->in), max);
    stream_consume(s, out->n);
    return 0;
}

int stream_read_direct(struct stream *s, char *p, size_t n, struct deadline until,
                       struct fault *why)
{
    while (n > 0) {
        ssize_t r = pull_into(s, p, n);

        if (r == STREAM_OVER)
            return stream_read_fault(s, why);
        if (r == STREAM_AGAIN) {
            (void)stream_push(s);
            if (stream_wait_readable(s, until, why) < 0)
                return -1;
            continue;
        }
        p += r;
        n -= (size_t)r;
        s->turn_bytes += (size_t)r;
        stream_let_others_run(s);
    }
    return 0;
}

int stream_read_exact(struct stream *s, void *out, size_t n, struct deadline until,
                      struct fault *why)
{
    char *p = out;

    while (n > 0) {
        struct slice have = slice_head(iobuf_slice(&s->in), n);

        if (have.n > 0)
            memcpy(p, have.p, have.n);
        stream_consume(s, have.n);
        p += have.n;
        n -= have.n;
        if (n >= IN_BYTES_LEAST)
            return stream_read_direct(s, p, n, until, why);
        if (n > 0 && pull_waiting(s, until, why) < 0)
            return -1;
    }
    return 0;
}
