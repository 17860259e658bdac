/* stream_park.c - connections that wait without a fiber.
 *
 * Owns the park's deadline timer. While parked the loop gathers input; the first of enough input,
 * end, kick or deadline starts one fiber. When no fiber is to be had (FIBERS_MAX) the wake is tried
 * again every WAKE_RETRY_MS.
 */
#include <assert.h>
#include "rt/stream_internal.h"

#define WAKE_RETRY_MS 20

static void run_wake(void *arg)
{
    struct stream *s = arg;

    s->waking = false;
    s->park.wake(s, s->park.because, s->park.arg);
}

static void launch(struct stream *s)
{
    struct fault why;

    if (fiber_start("stream.wake", run_wake, s, &why) == 0)
        return;
    stream_unwatch(s, UV_READABLE); /* it waits in the kernel */
    timer_start(&s->timer, deadline_in_ms(WAKE_RETRY_MS));
}

static void wake(struct stream *s, enum stream_wake because)
{
    s->parked = false;
    s->waking = true;
    s->park.because = because;
    timer_stop(&s->timer);
    launch(s);
}

static void on_timer(struct timer *timer)
{
    struct stream *s = timer->arg;

    if (s->waking)
        launch(s);
    else
        wake(s, STREAM_WAKE_TIMEOUT);
}

static bool is_enough(struct stream *s)
{
    struct slice in = iobuf_slice(&s->in);

    return in.n > 0 && (in.n >= s->park.max || s->park.ready(in, s->park.arg));
}

/* Gathers what is there. TLS may hold bytes that no socket event will announce: it is read until it
 * has none. */
void stream_park_readable(struct stream *s)
{
    ssize_t r;

    do {
        r = stream_pull(s);
        if (r > 0 && is_enough(s)) {
            wake(s, STREAM_WAKE_INPUT);
            return;
        }
    } while (r > 0 && s->ssl != NULL);
    if (stream_unsent_bytes(s) > 0)
        stream_flush_soon(s); /* TLS has something to answer */
    if (r == STREAM_OVER)
        wake(s, STREAM_WAKE_CLOSED);
    else if (iobuf_count(&s->in) == 0)
        iobuf_release(&s->in);
}

void stream_park_closed(struct stream *s)
{
    wake(s, STREAM_WAKE_CLOSED);
}

static void release_memory(struct stream *s)
{
    if (iobuf_count(&s->in) == 0)
        iobuf_release(&s->in);
    if (iobuf_count(&s->out) == 0)
        iobuf_release(&s->out);
    if (iobuf_count(&s->wire) == 0)
        iobuf_release(&s->wire);
    s->in_bytes = IN_BYTES_LEAST;
}

void stream_park(struct stream *s, stream_ready_fn ready, stream_wake_fn wake_fn, void *arg,
                 size_t max, struct deadline until)
{
    assert(!s->parked && !s->waking && s->reader == NULL);
    (void)stream_push(s);
    release_memory(s);
    s->park.ready = ready;
    s->park.wake = wake_fn;
    s->park.arg = arg;
    s->park.max = max;
    s->parked = true;
    timer_init(&s->timer, on_timer, s);
    timer_start(&s->timer, until);

    if (s->kicked) {
        s->kicked = false;
        wake(s, STREAM_WAKE_KICK);
    } else if (is_enough(s)) {
        wake(s, STREAM_WAKE_INPUT);
    } else if (s->eof) {
        wake(s, STREAM_WAKE_CLOSED);
    } else {
        stream_watch(s, UV_READABLE);
        if (s->ssl != NULL && stream_tls_has_pending(s))
            stream_park_readable(s);
    }
}

bool stream_ready_line(struct slice buffered, UNUSED void *arg)
{
    return memchr(buffered.p, '\n', buffered.n) != NULL;
}

void stream_kick(struct stream *s)
{
    if (s->parked)
        wake(s, STREAM_WAKE_KICK);
    else
        s->kicked = true;
}
