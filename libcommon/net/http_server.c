/* http_server.c - the life of an HTTP connection: parked, a head comes in, the handler runs, parked
 * again.
 *
 * Owns the stream and struct http_conn. Called by the listener. A peer's mistake becomes a status
 * and the end of the connection. Suspends wherever a request is served; an idle connection has no
 * fiber.
 */
#include "net/http_server.h"

#include "net/http_head.h"
#include "net/http_internal.h"

static uint64_t or_default(uint64_t v, uint64_t otherwise)
{
    return v != 0 ? v : otherwise;
}

struct deadline http_stall_deadline(const struct http_conn *c)
{
    return deadline_in_ms(or_default(c->server->stall_ms, HTTP_STALL_MS));
}

/* ---- begin and end ---- */

static struct http_conn *conn_new(struct http_server *server, struct stream *s)
{
    struct http_conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        abort();
    c->server = server;
    c->stream = s;
    c->next = server->conns;
    c->link = &server->conns;
    if (c->next != NULL)
        c->next->link = &c->next;
    server->conns = c;
    server->conn_count++;
    return c;
}

void http_conn_leave(struct http_conn *c)
{
    struct http_server *server = c->server;

    if (c->link == NULL)
        return;
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    c->link = NULL;
    if (--server->conn_count == 0)
        fiber_event_broadcast(&server->gone);
}

static void conn_free(struct http_conn *c)
{
    stream_close(&c->stream);
    buf_free(&c->extra);
    http_conn_leave(c);
    free(c);
}

/* The peer may still be sending a body we refused: closing at once would reset the connection and
 * lose our answer on its way (RFC 9112 9.6). So its bytes are read for a moment. */
static void conn_linger(struct http_conn *c)
{
    struct deadline until = deadline_in_ms(2000);
    uint64_t seen = 0;
    struct slice some;
    struct fault why;

    if (stream_flush(c->stream, http_stall_deadline(c), &why) < 0)
        return;
    while (!c->body_ended && seen < HTTP_DRAIN_BYTES_MAX) {
        if (stream_read_some(c->stream, HTTP_DRAIN_BYTES_MAX, until, &some, &why) < 0 ||
            some.n == 0)
            return;
        seen += some.n;
    }
}

static void refuse(struct http_conn *c, unsigned status)
{
    http_reply_error(c, status);
    if (!c->failed)
        conn_linger(c);
}

/* ---- one request ---- */

static void reset_request(struct http_conn *c, struct arena *in)
{
    struct buf extra = c->extra;

    memset(&c->rq, 0, sizeof(*c) - offsetof(struct http_conn, rq));
    buf_reset(&extra);
    c->extra = extra;
    c->extra.max = HTTP_EXTRA_BYTES_MAX;
    c->rq.arena = in;
    c->rq.conn = c;
    c->rq.body_bytes_max = or_default(c->server->body_bytes_max, HTTP_BODY_BYTES_MAX);
    c->scanned = 0;
    c->head_since_ms = 0;
}

static void prepare_request(struct http_conn *c)
{
    struct http_request *rq = &c->rq;

    c->body_left = rq->body_bytes == UINT64_MAX ? 0 : rq->body_bytes;
    c->body_ended = rq->body_bytes == 0;
    c->body_since_ms = clock_now_ms();
    c->continue_due =
        !c->body_ended && rq->version >= 11 &&
        slice_equal_nocase(http_request_header(rq, LIT("Expect")), LIT("100-continue"));
    c->close =
        c->server->draining || http_request_has_token(rq, LIT("Connection"), LIT("close")) ||
        (rq->version < 11 && !http_request_has_token(rq, LIT("Connection"), LIT("keep-alive")));
}

/* After the handler. True: the connection may carry another request. */
static bool finish_request(struct http_conn *c)
{
    struct fault why;

    if (c->stream == NULL)
        return false;
    if (!c->failed && c->form == REPLY_NONE)
        http_reply(&c->rq, 500, LIT("text/plain"), LIT("no answer\n"));
    if (!c->failed && c->form != REPLY_ENDED && http_reply_end(&c->rq, &why) < 0)
        c->failed = true;
    if (c->failed)
        return false;
    if (!c->close && !http_body_drain(c))
        c->close = true;
    if (c->close)
        conn_linger(c);
    return !c->close;
}

static bool serve_request(struct http_conn *c, size_t head_bytes)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct slice head = arena_copy(in, slice_head(stream_buffered(c->stream), head_bytes));
    unsigned status;

    stream_consume(c->stream, head_bytes);
    reset_request(c, in);
    status = http_head_parse(head, in, &c->rq);
    if (status != 0) {
        refuse(c, status);
        return false;
    }
    prepare_request(c);
    c->server->handle(&c->rq, c->server->arg);
    return finish_request(c);
}

/* ---- parking ---- */

static bool is_any_input(struct slice buffered, UNUSED void *arg)
{
    return buffered.n > 0;
}

static bool is_head_complete(struct slice buffered, void *arg)
{
    struct http_conn *c = arg;

    return http_head_find_end(buffered, &c->scanned) > 0;
}

static void conn_wake(struct stream *s, enum stream_wake because, void *arg) SUSPENDS;

static void conn_park(struct http_conn *c)
{
    const struct http_server *server = c->server;

    if (c->head_since_ms == 0)
        stream_park(c->stream, is_any_input, conn_wake, c, HTTP_HEAD_BYTES_MAX,
                    deadline_in_ms(or_default(server->idle_ms, HTTP_IDLE_MS)));
    else
        stream_park(
            c->stream, is_head_complete, conn_wake, c, HTTP_HEAD_BYTES_MAX,
            (struct deadline){c->head_since_ms + or_default(server->head_ms, HTTP_HEAD_MS)});
}

/* Serves what is there. False: the connection has ended. */
static bool conn_serve(struct http_conn *c)
{
    for (;;) {
        struct slice buffered = stream_buffered(c->stream);
        size_t n = 0, from = 0;

        if (c->server->draining)
            return false;
        if (buffered.n > 0)
            n = http_head_find_end(buffered, &from);
        if (n == 0 && buffered.n >= HTTP_HEAD_BYTES_MAX) {
            reset_request(c, NULL);
            refuse(c, 431);
            return false;
        }
        if (n == 0) {
            if (buffered.n > 0 && c->head_since_ms == 0)
                c->head_since_ms = clock_now_ms();
            conn_park(c);
            return true;
        }
        if (!serve_request(c, n))
            return false;
        fiber_yield(); /* a pipelining peer does not keep others waiting */
    }
}

static void conn_wake(struct stream *s, enum stream_wake because, void *arg)
{
    struct http_conn *c = arg;

    c->stream = s;
    if (because == STREAM_WAKE_TIMEOUT && c->head_since_ms != 0) {
        reset_request(c, NULL);
        refuse(c, 408);
    }
    if (because != STREAM_WAKE_INPUT || !conn_serve(c))
        conn_free(c);
}

void http_serve(struct stream *s, void *server)
{
    struct http_conn *c = conn_new(server, s);

    if (c->server->draining)
        conn_free(c);
    else
        conn_park(c);
}

void http_server_drain(struct http_server *server, struct deadline until)
{
    struct fault why;

    server->draining = true;
    for (struct http_conn *c = server->conns; c != NULL; c = c->next)
        stream_kick(c->stream);
    while (server->conn_count > 0)
        if (fiber_event_wait(&server->gone, until, &why) < 0)
            return;
}
