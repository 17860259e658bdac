/* http_reply.c - the answer: status, headers, a whole body or one written in pieces.
 *
 * Owns nothing beyond the connection's header buffer. Called by handlers through http_server.h.
 * Fails when the peer does not take its answer. Suspends while the peer reads slower than we write.
 */
#include "net/http_internal.h"

const char *http_status_text(unsigned status)
{
    static const struct {
        unsigned code;
        const char *text;
    } row[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < COUNT(row); i++)
        if (row[i].code == status)
            return row[i].text;
    return "Status";
}

/* ---- headers ---- */

static bool is_header_text(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

void http_set_header(struct http_request *rq, struct slice name, struct slice value)
{
    struct buf *extra = &rq->conn->extra;

    if (!is_header_text(name) || !is_header_text(value))
        abort(); /* header injection: a bug of ours */
    (void)buf_append(extra, name);
    (void)buf_append(extra, LIT(": "));
    (void)buf_append(extra, value);
    (void)buf_append(extra, LIT("\r\n"));
}

bool http_has_extra(const struct http_conn *c, struct slice name)
{
    struct slice rest = buf_slice(&c->extra), line;

    while (slice_cut(&rest, '\n', &line))
        if (line.n > name.n && line.p[name.n] == ':' && slice_has_prefix_nocase(line, name))
            return true;
    return false;
}

void http_close_after(struct http_request *rq)
{
    rq->conn->close = true;
}

bool http_reply_has_begun(const struct http_request *rq)
{
    return rq->conn->form != REPLY_NONE;
}
unsigned http_reply_status(const struct http_request *rq)
{
    return rq->conn->status;
}
uint64_t http_reply_bytes(const struct http_request *rq)
{
    return rq->conn->reply_bytes;
}

/* What is unread of the body must be read before the next request: too much of it, and the
 * connection ends instead. */
static void decide_close(struct http_conn *c)
{
    if (c->body_failed || c->continue_due || c->server->draining)
        c->close = true;
    if (!c->body_ended && c->rq.body_bytes != UINT64_MAX && c->body_left > HTTP_DRAIN_BYTES_MAX)
        c->close = true;
}

static void format_date(struct buf *out)
{
    static int64_t second = -1; /* one connection's date is another's: formatted once a second */
    static char text[48];
    int64_t now = clock_wall_ms() / 1000;

    if (now != second) {
        time_t at = (time_t)now;
        struct tm tm;
        if (gmtime_r(&at, &tm) == NULL ||
            strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
            return;
        second = now;
    }
    (void)buf_printf(out, "Date: %s\r\n", text);
}

static void format_head(struct http_conn *c, unsigned status, struct slice type, uint64_t bytes,
                        struct buf *out)
{
    (void)buf_printf(out, "HTTP/1.1 %u %s\r\n", status, http_status_text(status));
    format_date(out);
    if (c->server->server_name != NULL)
        (void)buf_printf(out, "Server: %s\r\n", c->server->server_name);
    if (type.n > 0)
        (void)buf_printf(out, "Content-Type: %.*s\r\n", SLICE(type));
    if (c->form == REPLY_LENGTH ||
        (c->form == REPLY_NO_BODY && status != 204 && status != 304 && bytes != UINT64_MAX))
        (void)buf_printf(out, "Content-Length: %llu\r\n", (unsigned long long)bytes);
    if (c->form == REPLY_CHUNKED)
        (void)buf_append(out, LIT("Transfer-Encoding: chunked\r\n"));
    if (c->close)
        (void)buf_append(out, LIT("Connection: close\r\n"));
    else if (c->rq.version < 11)
        (void)buf_append(out, LIT("Connection: keep-alive\r\n"));
    (void)buf_append(out, buf_slice(&c->extra));
    (void)buf_append(out, LIT("\r\n"));
}

/* ---- streamed ---- */

static int reply_fail(struct http_conn *c)
{
    c->failed = true;
    return -1;
}

int http_reply_begin(struct http_request *rq, unsigned status, struct slice type, uint64_t bytes,
                     struct fault *why)
{
    struct http_conn *c = rq->conn;
    AUTO(buf_free) struct buf head = BUF_INIT(2 * HTTP_EXTRA_BYTES_MAX);

    if (c->stream == NULL || c->failed || c->form != REPLY_NONE || c->extra.overflowed)
        return fault_set(why, FAULT_CLOSED,
                         "reply begun before, connection gone, or too many headers");
    decide_close(c);
    c->status = status;
    c->reply_left = bytes;
    if (slice_equal(rq->method, LIT("HEAD")) || status == 204 || status == 304)
        c->form = REPLY_NO_BODY;
    else if (bytes != UINT64_MAX)
        c->form = REPLY_LENGTH;
    else
        c->form = rq->version >= 11 ? REPLY_CHUNKED : REPLY_UNTIL_CLOSE;
    if (c->form == REPLY_UNTIL_CLOSE)
        c->close = true;
    format_head(c, status, type, bytes, &head);
    if (stream_write(c->stream, buf_slice(&head), http_stall_deadline(c), why) < 0)
        return reply_fail(c);
    return 0;
}

static int write_chunk(struct http_conn *c, struct slice bytes, struct fault *why)
{
    char size[24];
    int n = snprintf(size, sizeof(size), "%zx\r\n", bytes.n);
    const struct slice parts[] = {slice_make(size, (size_t)n), bytes, LIT("\r\n")};

    return stream_writev(c->stream, parts, COUNT(parts), http_stall_deadline(c), why);
}

/* One write is one wait for room: cut large ones, so that the stall limit means progress. */
static int write_piece(struct http_conn *c, struct slice piece, struct fault *why)
{
    int r;

    if (c->form == REPLY_CHUNKED)
        r = write_chunk(c, piece, why);
    else
        r = stream_write(c->stream, piece, http_stall_deadline(c), why);
    if (r < 0)
        return reply_fail(c);
    c->reply_bytes += piece.n;
    return 0;
}

int http_reply_write(struct http_request *rq, struct slice bytes, struct fault *why)
{
    struct http_conn *c = rq->conn;

    if (c->stream == NULL || c->failed)
        return fault_set(why, FAULT_CLOSED, "connection gone");
    if (c->form == REPLY_NO_BODY)
        return 0;
    if (c->form == REPLY_NONE || c->form == REPLY_ENDED ||
        (c->form == REPLY_LENGTH && bytes.n > c->reply_left)) {
        (void)fault_set(why, FAULT_INVALID, "reply longer than announced");
        return reply_fail(c);
    }
    if (c->form == REPLY_LENGTH)
        c->reply_left -= bytes.n;
    while (bytes.n > 0) {
        struct slice piece = slice_head(bytes, 65536);
        if (write_piece(c, piece, why) < 0)
            return -1;
        bytes = slice_tail(bytes, piece.n);
    }
    return 0;
}

int http_reply_end(struct http_request *rq, struct fault *why)
{
    struct http_conn *c = rq->conn;
    enum http_reply_form form = c->form;

    if (c->stream == NULL || c->failed)
        return fault_set(why, FAULT_CLOSED, "connection gone");
    c->form = REPLY_ENDED;
    if (form == REPLY_LENGTH && c->reply_left > 0) {
        (void)fault_set(why, FAULT_INVALID, "reply shorter than announced");
        return reply_fail(c);
    }
    if (form == REPLY_CHUNKED &&
        stream_write(c->stream, LIT("0\r\n\r\n"), http_stall_deadline(c), why) < 0)
        return reply_fail(c);
    return 0;
}

/* ---- whole ---- */

void http_reply(struct http_request *rq, unsigned status, struct slice type, struct slice body)
{
    AUTO(buf_free) struct buf packed = BUF_INIT(HTTP_GZIP_BYTES_MAX);
    struct fault why;

    if (status == 204 || status == 304)
        body = SLICE_NONE;
    if (http_try_gzip(rq, type, body, &packed)) {
        http_set_header(rq, LIT("Content-Encoding"), LIT("gzip"));
        http_set_header(rq, LIT("Vary"), LIT("Accept-Encoding"));
        body = buf_slice(&packed);
    }
    if (http_reply_begin(rq, status, type, body.n, &why) == 0 &&
        http_reply_write(rq, body, &why) == 0)
        (void)http_reply_end(rq, &why);
}

void http_reply_error(struct http_conn *c, unsigned status)
{
    AUTO(arena_free) struct arena *in = arena_new(512);
    struct slice text = arena_printf(in, "%s\n", http_status_text(status));

    c->rq.version = 11;
    c->rq.method = LIT("GET");
    c->rq.conn = c;
    c->rq.header_count = 0;
    c->close = true;
    http_reply(&c->rq, status, LIT("text/plain"), text);
    c->body_ended = false; /* whatever it still sends is read and forgotten for a moment */
}

/* ---- upgrade ---- */

int http_upgrade(struct http_request *rq, struct slice protocol, struct stream **out,
                 struct fault *why)
{
    struct http_conn *c = rq->conn;
    AUTO(buf_free) struct buf head = BUF_INIT(2 * HTTP_EXTRA_BYTES_MAX);

    if (!c->body_ended || c->form != REPLY_NONE || c->stream == NULL)
        return fault_set(why, FAULT_PROTOCOL, "upgrade of a request with a body");
    (void)buf_printf(&head, "HTTP/1.1 101 %s\r\nUpgrade: %.*s\r\nConnection: Upgrade\r\n",
                     http_status_text(101), SLICE(protocol));
    (void)buf_append(&head, buf_slice(&c->extra));
    (void)buf_append(&head, LIT("\r\n"));
    if (head.overflowed || c->extra.overflowed)
        return fault_set(why, FAULT_LIMIT, "too many headers");
    if (stream_write(c->stream, buf_slice(&head), http_stall_deadline(c), why) < 0)
        return reply_fail(c);
    c->status = 101;
    c->form = REPLY_ENDED;
    *out = c->stream;
    c->stream = NULL;
    http_conn_leave(c);
    return 0;
}
