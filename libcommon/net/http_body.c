/* http_body.c - the body of a request: by length or in chunks, within limits of size and time.
 *
 * Owns nothing. Called by handlers through http_server.h. Fails when the peer ends early, is too
 * slow, too big or frames its chunks oddly; the connection then ends after the reply. Suspends for
 * input.
 */
#include "net/http_internal.h"

static int body_fail(struct http_conn *c)
{
    c->body_failed = true;
    c->close = true;
    return -1;
}

/* Some progress within the stall limit, and all in all no slower than HTTP_BODY_RATE_MIN. */
static struct deadline body_deadline(const struct http_conn *c)
{
    struct deadline rate = {c->body_since_ms + HTTP_STALL_MS +
                            c->body_seen * 1000 / HTTP_BODY_RATE_MIN};

    return deadline_earlier(http_stall_deadline(c), rate);
}

static int send_continue(struct http_conn *c, struct fault *why)
{
    if (!c->continue_due)
        return 0;
    c->continue_due = false;
    if (c->form != REPLY_NONE)
        return 0;
    return stream_write(c->stream, LIT("HTTP/1.1 100 Continue\r\n\r\n"), http_stall_deadline(c),
                        why);
}

/* ---- chunks: RFC 9112 7.1 ---- */

static bool parse_chunk_size(struct slice line, uint64_t *out)
{
    uint64_t v = 0;
    size_t n = 0;

    for (; n < line.n; n++) {
        char c = ascii_lower(line.p[n]);
        unsigned digit = ascii_is_digit(c)      ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit > 15)
            break;
        if (n == 15)
            return false;
        v = v << 4 | digit;
    }
    if (n == 0 || (n < line.n && line.p[n] != ';'))
        return false;
    *out = v;
    return true;
}

static int skip_trailers(struct http_conn *c, struct fault *why)
{
    size_t seen = 0;
    struct slice line;

    for (;;) {
        if (stream_read_line(c->stream, HTTP_TRAILER_BYTES_MAX - seen, body_deadline(c), &line,
                             why) < 0)
            return -1;
        if (line.n == 0)
            return 0;
        seen += line.n + 2;
        if (slice_find_char(line, ':') < 1 || seen + 2 > HTTP_TRAILER_BYTES_MAX)
            return fault_set(why, FAULT_PROTOCOL, "bad trailer");
    }
}

static int next_chunk(struct http_conn *c, struct fault *why)
{
    struct slice line;
    char end[2];

    if (c->chunk_open) {
        if (stream_read_exact(c->stream, end, 2, body_deadline(c), why) < 0)
            return -1;
        if (end[0] != '\r' || end[1] != '\n')
            return fault_set(why, FAULT_PROTOCOL, "chunk does not end where it said");
        c->chunk_open = false;
    }
    if (stream_read_line(c->stream, HTTP_CHUNK_LINE_MAX, body_deadline(c), &line, why) < 0)
        return -1;
    if (!parse_chunk_size(line, &c->body_left))
        return fault_set(why, FAULT_PROTOCOL, "bad chunk size");
    if (c->body_left == 0) {
        if (skip_trailers(c, why) < 0)
            return -1;
        c->body_ended = true;
    }
    c->chunk_open = c->body_left > 0;
    return 0;
}

/* ---- reading ---- */

static int check_size(struct http_conn *c, struct fault *why)
{
    if (c->body_left > c->rq.body_bytes_max || c->body_seen > c->rq.body_bytes_max - c->body_left)
        return fault_set(why, FAULT_LIMIT, "body over %llu bytes",
                         (unsigned long long)c->rq.body_bytes_max);
    return 0;
}

static int read_some(struct http_conn *c, struct slice *out, struct fault *why)
{
    bool chunked = c->rq.body_bytes == UINT64_MAX;
    size_t most;

    if (check_size(c, why) < 0 || send_continue(c, why) < 0)
        return -1;
    if (chunked && c->body_left == 0) {
        if (next_chunk(c, why) < 0 || check_size(c, why) < 0)
            return -1;
        if (c->body_ended) {
            *out = SLICE_NONE;
            return 0;
        }
    }
    most = c->body_left < 65536 ? (size_t)c->body_left : 65536;
    if (stream_read_some(c->stream, most, body_deadline(c), out, why) < 0)
        return -1;
    if (out->n == 0)
        return fault_set(why, FAULT_CLOSED, "peer ended inside its body");
    c->body_left -= out->n;
    c->body_seen += out->n;
    if (!chunked && c->body_left == 0)
        c->body_ended = true;
    return 0;
}

int http_read(struct http_request *rq, struct slice *out, struct fault *why)
{
    struct http_conn *c = rq->conn;

    if (c->body_failed)
        return fault_set(why, FAULT_CLOSED, "body failed before");
    if (c->body_ended) {
        *out = SLICE_NONE;
        return 0;
    }
    if (read_some(c, out, why) < 0)
        return body_fail(c);
    return 0;
}

int http_read_all(struct http_request *rq, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf all = BUF_INIT(SIZE_MAX / 2);
    struct slice piece;

    if (rq->body_bytes != UINT64_MAX && rq->body_bytes <= rq->body_bytes_max)
        (void)buf_reserve(&all, (size_t)rq->body_bytes);
    for (;;) {
        if (http_read(rq, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        (void)buf_append(&all, piece);
    }
    *out = arena_copy(rq->arena, buf_slice(&all));
    return 0;
}

void http_reply_read_fault(struct http_request *rq, const struct fault *why)
{
    struct http_conn *c = rq->conn;

    c->close = true;
    if (c->form != REPLY_NONE)
        return;
    if (why->code == FAULT_LIMIT)
        http_reply(rq, 413, LIT("text/plain"), LIT("body too large\n"));
    else if (why->code == FAULT_TIMEOUT)
        http_reply(rq, 408, LIT("text/plain"), LIT("body too slow\n"));
    else if (why->code == FAULT_PROTOCOL)
        http_reply(rq, 400, LIT("text/plain"), LIT("malformed body\n"));
    else
        c->failed = true; /* nobody is there to hear an answer */
}

bool http_body_drain(struct http_conn *c)
{
    struct slice piece;
    struct fault why;
    uint64_t limit = c->body_seen + HTTP_DRAIN_BYTES_MAX;

    if (c->body_ended)
        return true;
    if (c->body_failed || c->continue_due)
        return false;
    c->rq.body_bytes_max = limit;
    while (!c->body_ended)
        if (http_read(&c->rq, &piece, &why) < 0)
            return false;
    return true;
}
