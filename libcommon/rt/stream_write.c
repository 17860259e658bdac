/* stream_write.c - writing to streams: gathered, sent once a turn, copied at most once.
 *
 * Owns nothing beyond the stream. Called by the one writer fiber of a stream, and by the loop for
 * what is left; suspends only while the socket takes nothing and HIGH_WATER_BYTES wait. Fails as
 * stream.h says; a dead direction stays dead.
 */
#include <errno.h>
#include <stdarg.h>
#include "rt/stream_internal.h"

#define PRINTF_MAX_BYTES ((size_t)1 << 20)
#define IOV_MAX_HERE 16

/* --- to the kernel ---------------------------------------------------------------------------- */

size_t stream_unsent_bytes(const struct stream *s)
{
    return iobuf_count(&s->out) + iobuf_count(&s->wire);
}

void stream_flush_soon(struct stream *s)
{
    /* when the kernel is full, its readiness triggers the next try */
    if ((s->interest & UV_WRITABLE) == 0)
        loop_at_turn_end(&s->flush);
}

static void give_up_writing(struct stream *s, int err)
{
    s->write_errno = err;
    iobuf_release(&s->out);
    iobuf_release(&s->wire);
}

static ssize_t send_vector(struct stream *s, struct iovec *iov, size_t count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t r;

    if (s->write_errno != 0)
        return STREAM_OVER;
    do {
        r = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    if (r >= 0)
        return r;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        stream_watch(s, UV_WRITABLE);
        return STREAM_AGAIN;
    }
    give_up_writing(s, errno);
    return STREAM_OVER;
}

int stream_send_buffered(struct stream *s, struct iobuf *b)
{
    while (iobuf_count(b) > 0) {
        struct iovec iov = {b->p + b->start, iobuf_count(b)};
        ssize_t r = send_vector(s, &iov, 1);

        if (r <= 0)
            return (int)r;
        iobuf_take(b, (size_t)r);
    }
    if (b->cap > GATHER_BYTES)
        iobuf_release(b);
    return 1;
}

int stream_encrypt_some(struct stream *s)
{
    while (iobuf_count(&s->out) > 0 && iobuf_count(&s->wire) < HIGH_WATER_BYTES) {
        struct slice record = slice_head(iobuf_slice(&s->out), RECORD_BYTES);

        if (stream_tls_encrypt(s, record) < 0)
            return STREAM_OVER;
        iobuf_take(&s->out, record.n);
    }
    return 1;
}

/* Encrypts before it sends: what TLS itself has to say (tickets, a Finished) leaves with the first words. */
static int push_encrypted(struct stream *s)
{
    for (;;) {
        int r;

        if (SSL_is_init_finished(s->ssl) && stream_encrypt_some(s) != 1)
            return STREAM_OVER;
        r = stream_send_buffered(s, &s->wire);
        if (r != 1 || iobuf_count(&s->out) == 0 || !SSL_is_init_finished(s->ssl))
            return r;
    }
}

int stream_push(struct stream *s)
{
    if (s->lent)
        return 1;
    if (s->write_errno != 0)
        return STREAM_OVER;
    return s->ssl != NULL ? push_encrypted(s) : stream_send_buffered(s, &s->out);
}

/* What is left of a caller's slices. */
struct rest {
    const struct slice *parts;
    size_t count, offset, bytes;
};

static void rest_skip(struct rest *rest, size_t n)
{
    rest->bytes -= n;
    while (rest->count > 0 && n >= rest->parts->n - rest->offset) {
        n -= rest->parts->n - rest->offset;
        rest->parts++;
        rest->count--;
        rest->offset = 0;
    }
    rest->offset += n;
}

static void rest_keep(struct stream *s, struct rest *rest)
{
    while (rest->count > 0) {
        iobuf_add(&s->out, slice_tail(*rest->parts, rest->offset));
        rest_skip(rest, rest->parts->n - rest->offset);
    }
}

/* One sendmsg of what is buffered and as much of the rest as fits a vector. */
static ssize_t send_with_rest(struct stream *s, struct rest *rest)
{
    struct iovec iov[IOV_MAX_HERE];
    size_t n = 0, buffered = iobuf_count(&s->out);
    ssize_t r;

    if (buffered > 0)
        iov[n++] = (struct iovec){s->out.p + s->out.start, buffered};
    for (size_t i = 0; i < rest->count && n < IOV_MAX_HERE; i++) {
        struct slice part = slice_tail(rest->parts[i], i == 0 ? rest->offset : 0);

        if (part.n > 0)
            iov[n++] = (struct iovec){(void *)(uintptr_t)part.p, part.n};
    }
    r = send_vector(s, iov, n);
    if (r <= 0)
        return r;
    s->turn_bytes += (size_t)r;
    if ((size_t)r <= buffered) {
        iobuf_take(&s->out, (size_t)r);
        return r;
    }
    iobuf_take(&s->out, buffered);
    rest_skip(rest, (size_t)r - buffered);
    return r;
}

static int write_plain(struct stream *s, struct rest *rest, struct deadline until,
                       struct fault *why)
{
    for (;;) {
        bool full = (s->interest & UV_WRITABLE) != 0;
        size_t unsent = iobuf_count(&s->out) + rest->bytes;
        ssize_t r;

        if (unsent <= GATHER_BYTES || (full && unsent <= HIGH_WATER_BYTES)) {
            rest_keep(s, rest);
            stream_flush_soon(s);
            return 0;
        }
        r = send_with_rest(s, rest);
        if (r == STREAM_OVER)
            return stream_write_fault(s, why);
        if (r > 0) {
            stream_let_others_run(s);
            continue;
        }
        if (iobuf_count(&s->out) + rest->bytes <= HIGH_WATER_BYTES)
            continue; /* the kernel is full and what is left may wait in memory */
        if (stream_wait_writable(s, until, why) < 0)
            return -1;
    }
}

/* Waits until encrypted output is below the mark. */
static int make_room(struct stream *s, struct deadline until, struct fault *why)
{
    while (iobuf_count(&s->wire) >= HIGH_WATER_BYTES) {
        int r = stream_send_buffered(s, &s->wire);

        if (r == STREAM_OVER)
            return stream_write_fault(s, why);
        if (r == STREAM_AGAIN && stream_wait_writable(s, until, why) < 0)
            return -1;
    }
    stream_let_others_run(s);
    return 0;
}

/* Small parts are gathered; from a big one whole records are encrypted where it lies. */
static int write_tls(struct stream *s, struct rest *rest, struct deadline until, struct fault *why)
{
    while (rest->bytes > 0) {
        struct slice part = slice_tail(*rest->parts, rest->offset);
        struct slice record;

        if (iobuf_count(&s->out) + part.n < RECORD_BYTES) {
            iobuf_add(&s->out, part);
            rest_skip(rest, part.n);
            continue;
        }
        record = iobuf_count(&s->out) > 0 ? slice_head(iobuf_slice(&s->out), RECORD_BYTES)
                                          : slice_head(part, RECORD_BYTES);
        if (stream_tls_encrypt(s, record) < 0)
            return stream_write_fault(s, why);
        if (iobuf_count(&s->out) > 0)
            iobuf_take(&s->out, record.n);
        else
            rest_skip(rest, record.n);
        s->turn_bytes += record.n;
        if (make_room(s, until, why) < 0)
            return -1;
    }
    stream_flush_soon(s);
    return 0;
}

int stream_writev(struct stream *s, const struct slice *parts, size_t count, struct deadline until,
                  struct fault *why)
{
    struct rest rest = {parts, count, 0, 0};

    if (s->write_errno != 0)
        return stream_write_fault(s, why);
    for (size_t i = 0; i < count; i++)
        rest.bytes += parts[i].n;
    if (rest.bytes == 0)
        return 0;
    return s->ssl != NULL ? write_tls(s, &rest, until, why) : write_plain(s, &rest, until, why);
}

int stream_write(struct stream *s, struct slice bytes, struct deadline until, struct fault *why)
{
    return stream_writev(s, &bytes, 1, until, why);
}

int stream_printf(struct stream *s, struct deadline until, struct fault *why, const char *format,
                  ...)
{
    char small[512], *p = small;
    va_list ap;
    int n, r;

    va_start(ap, format);
    n = vsnprintf(small, sizeof small, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n > PRINTF_MAX_BYTES)
        return fault_set(why, FAULT_LIMIT, "formatted text too long");
    if ((size_t)n >= sizeof small) {
        p = malloc((size_t)n + 1);
        if (p == NULL)
            abort();
        va_start(ap, format);
        (void)vsnprintf(p, (size_t)n + 1, format, ap);
        va_end(ap);
    }
    r = stream_write(s, slice_make(p, (size_t)n), until, why);
    if (p != small)
        free(p);
    return r;
}

int stream_flush(struct stream *s, struct deadline until, struct fault *why)
{
    int r;

    while ((r = stream_push(s)) == STREAM_AGAIN) {
        if (stream_wait_writable(s, until, why) < 0)
            return -1;
    }
    return r == STREAM_OVER ? stream_write_fault(s, why) : 0;
}

int stream_write_now(struct stream *s, struct slice bytes, size_t max_unsent, struct fault *why)
{
    if (s->write_errno != 0)
        return stream_write_fault(s, why);
    if (stream_unsent_bytes(s) + bytes.n > max_unsent)
        return fault_set(why, FAULT_LIMIT, "more than %zu bytes unsent", max_unsent);
    iobuf_add(&s->out, bytes);
    stream_flush_soon(s);
    return 0;
}
