/* http_test.c - the HTTP server over a stream pair: framing, limits, keep-alive, answers (RFC 9110,
 * RFC 9112). */
#include "base/test.h"
#include "net/http_head.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/stream.h"

/* ---- heads ---- */

static unsigned parse(struct test *t, struct slice text, struct http_request *rq)
{
    size_t scanned = 0;
    size_t n = http_head_find_end(text, &scanned);

    memset(rq, 0, sizeof(*rq));
    return n == 0 ? 1 : http_head_parse(slice_head(text, n), t->arena, rq);
}

TEST(http_head, refuses_what_two_parsers_may_read_differently)
{
    static const struct {
        const char *in;
        unsigned want;
    } row[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0}, /* RFC 9112 2.2 */
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET http://a:80/x?y HTTP/1.1\r\nHost: b\r\n\r\n", 0},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"PROPFIND /dav/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 0},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 0},
        {"GET / HTTP/1.1\nHost: a\n\n", 400}, /* bare LF */
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400},         /* bare CR */
        {"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", 400}, /* RFC 9112 5.2 */
        {"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400}, /* RFC 9112 5.1 */
        {"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        {"GET /\r\n\r\n", 505},
        {"\x16\x03\x01\r\n\r\n", 400},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct http_request rq;
        unsigned got = parse(t, slice_of(row[i].in), &rq);
        if (got != row[i].want &&
            !(row[i].want == 505 && got == 400)) /* which of the two does not matter */
            test_fail(t, __FILE__, __LINE__, "row %zu: want %u, got %u", i, row[i].want, got);
    }
}

TEST(http_head, takes_targets_and_headers_apart)
{
    struct http_request rq;

    CHECK_INT(0, parse(t,
                       LIT("GET http://b.example:8080/p%20q?a=1&b HTTP/1.1\r\nHost: "
                           "a\r\nAccept-Encoding:  br , gzip;q=0.5 \r\nEmpty:\r\nX-Y: z\r\n\r\n"),
                       &rq));
    CHECK_SLICE(LIT("GET"), rq.method);
    CHECK_SLICE(LIT("b.example:8080"), rq.host);
    CHECK_SLICE(LIT("/p%20q"), rq.path);
    CHECK_SLICE(LIT("a=1&b"), rq.query);
    CHECK_INT(4, rq.header_count);
    CHECK_SLICE(LIT("z"), http_request_header(&rq, LIT("x-y")));
    CHECK_SLICE(LIT(""), http_request_header(&rq, LIT("empty")));
    CHECK(http_request_has_token(&rq, LIT("accept-encoding"), LIT("gzip")));
    CHECK(!http_request_has_token(&rq, LIT("accept-encoding"), LIT("zip")));
}

TEST(http_head, finds_its_end_however_it_arrives)
{
    const struct slice in = LIT("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest");

    for (size_t step = 1; step < in.n; step++) {
        size_t scanned = 0, end = 0;
        for (size_t n = step; end == 0; n += step)
            end = http_head_find_end(slice_head(in, n), &scanned);
        CHECK_ROW(step, end == in.n - 4);
    }
}

TEST(http_head, unescapes)
{
    static const struct {
        const char *in, *want;
    } row[] = {
        {"a%20b", "a b"}, {"a+b", "a b"}, {"%e2%82%ac", "\xe2\x82\xac"}, {"%", NULL}, {"%4", NULL},
        {"%zz", NULL},    {"%00", NULL},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice out;
        bool good = http_unescape(t->arena, slice_of(row[i].in), true, &out);
        CHECK_ROW(i, good == (row[i].want != NULL));
        if (good)
            CHECK_ROW_STR(i, row[i].want, out);
    }
    CHECK_SLICE(LIT("1 2"), http_query_get(t->arena, LIT("x=0&a%62=1+2&ab=3"), LIT("ab")));
    CHECK(http_query_get(t->arena, LIT("x=0"), LIT("y")).p == NULL);
}

/* ---- conversations ---- */

struct talk {
    struct test *t;
    struct http_server server;
    const char *in; /* what the client sends, then it waits for the end */
    struct buf out; /* what it got, Date lines removed */
    unsigned handled;
};

static void handle(struct http_request *rq, void *arg)
{
    struct talk *k = arg;
    struct slice body;
    struct fault why;

    k->handled++;
    if (slice_equal(rq->path, LIT("/ignore"))) {
        http_reply(rq, 200, LIT("text/plain"), LIT("ignored"));
    } else if (slice_equal(rq->path, LIT("/silent"))) {
        return;
    } else if (slice_equal(rq->path, LIT("/stream"))) {
        if (http_reply_begin(rq, 200, SLICE_NONE, UINT64_MAX, &why) == 0 &&
            http_reply_write(rq, LIT("abc"), &why) == 0 &&
            http_reply_write(rq, LIT("defgh"), &why) == 0)
            (void)http_reply_end(rq, &why);
    } else if (http_read_all(rq, &body, &why) < 0) {
        http_reply_read_fault(rq, &why);
    } else {
        bool text = slice_equal(rq->path, LIT("/text"));
        http_reply(rq, 200, text ? LIT("text/plain") : SLICE_NONE, body);
    }
}

static void read_to_end(struct talk *k, struct stream *s)
{
    struct slice some;
    struct fault why;

    for (;;) {
        if (stream_read_some(s, 65536, deadline_in_ms(10000), &some, &why) < 0 || some.n == 0)
            return;
        (void)buf_append(&k->out, some);
    }
}

static void drop_dates(struct talk *k)
{
    struct slice rest = buf_slice(&k->out), line;
    struct buf kept = BUF_INIT(BUF_MAX_DEFAULT);

    while (slice_cut(&rest, '\n', &line)) {
        if (slice_has_prefix(line, LIT("Date: ")))
            continue;
        (void)buf_append(&kept, line);
        if (rest.p != NULL)
            (void)buf_append_char(&kept, '\n');
    }
    buf_free(&k->out);
    k->out = kept;
}

static void run_talk(void *arg)
{
    struct talk *k = arg;
    struct stream *client, *server;
    struct fault why;

    if (stream_pair(&client, &server, &why) < 0) {
        test_fail(k->t, __FILE__, __LINE__, "%s", why.text);
        return;
    }
    http_serve(server, &k->server);
    if (stream_write(client, slice_of(k->in), deadline_in_ms(5000), &why) < 0 ||
        stream_flush(client, deadline_in_ms(5000), &why) < 0)
        test_fail(k->t, __FILE__, __LINE__, "%s", why.text);
    read_to_end(k, client);
    stream_close(&client);
    http_server_drain(&k->server, deadline_in_ms(5000));
    drop_dates(k);
}

static struct talk talk(struct test *t, const char *in)
{
    struct talk k = {.t = t, .in = in, .out = BUF_INIT(BUF_MAX_DEFAULT)};

    k.server.handle = handle;
    k.server.arg = &k;
    k.server.idle_ms = 200;
    k.server.head_ms = 200;
    k.server.stall_ms = 200;
    k.server.body_bytes_max = 100000;
    loop_run_fiber(run_talk, &k);
    return k;
}

#define CLOSE "Connection: close\r\n"

TEST(http, answers_pipelined_requests_in_order)
{
    struct talk k = talk(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                            "chunked\r\n\r\n3;x=y\r\ntwo\r\n00\r\nTrailer: t\r\n\r\n"
                            "HEAD /ignore HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    CHECK_INT(3, k.handled);
    CHECK_SLICE(LIT("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n" CLOSE
                    "\r\n"),
                buf_slice(&k.out));
    buf_free(&k.out);
}

TEST(http, streams_in_chunks_or_until_close)
{
    struct talk k = talk(t, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /stream HTTP/1.0\r\n\r\n");

    CHECK_SLICE(LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n"
                    "HTTP/1.1 200 OK\r\n" CLOSE "\r\nabcdefgh"),
                buf_slice(&k.out));
    buf_free(&k.out);
}

TEST(http, ends_the_connection_on_bad_framing_and_limits)
{
    static const struct {
        const char *in, *status;
        unsigned handled;
    } row[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\ntwo\r\n0\r\n\r\n",
         "400", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\ntwo\r\n0\r\n\r\n",
         "400", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\ntwo\r\n0\r\n\r\n",
         "400", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwoo\r\n0\r\n\r\n",
         "400", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
         "400", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", "413", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", "413", 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", "408", 1}, /* stalls */
        {"GET / HTTP/1.1\r\nHost: a\r\nX: unfinished", "408", 0},
        {"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400", 0},
        {"GET /silent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "500", 1},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct talk k = talk(t, row[i].in);
        struct slice head = slice_sub(buf_slice(&k.out), 9, 3);
        CHECK_ROW_STR(i, row[i].status, head);
        CHECK_ROW(i, slice_find(buf_slice(&k.out), LIT(CLOSE)) > 0);
        CHECK_ROW(i, slice_find(slice_tail(buf_slice(&k.out), 1), LIT("HTTP/1.1 ")) <
                         0); /* one answer */
        CHECK_ROW(i, k.handled == row[i].handled);
        buf_free(&k.out);
    }
}

TEST(http, a_head_too_large_is_431)
{
    AUTO(buf_free) struct buf in = BUF_INIT(BUF_MAX_DEFAULT);
    struct talk k;

    (void)buf_append_cstr(&in, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    while (in.n < HTTP_HEAD_BYTES_MAX + 100)
        (void)buf_append_cstr(&in, "0123456789abcdef");
    k = talk(t, in.p);
    CHECK_SLICE(LIT("431"), slice_sub(buf_slice(&k.out), 9, 3));
    buf_free(&k.out);
}

TEST(http, says_continue_only_when_the_body_is_wanted)
{
    struct talk k =
        talk(t, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" CLOSE
                "\r\nhi");
    struct talk n = talk(
        t, "POST /ignore HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");

    CHECK_SLICE(
        LIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n" CLOSE "\r\nhi"),
        buf_slice(&k.out));
    CHECK_SLICE(LIT("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n" CLOSE
                    "\r\nignored"),
                buf_slice(&n.out));
    buf_free(&k.out);
    buf_free(&n.out);
}

TEST(http, compresses_text_for_who_accepts_it)
{
    AUTO(buf_free) struct buf in = BUF_INIT(BUF_MAX_DEFAULT);
    struct talk k, plain;

    (void)buf_append_cstr(&in, "POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n"
                               "Accept-Encoding: br, gzip\r\n" CLOSE "\r\n");
    for (int i = 0; i < 5000; i++)
        (void)buf_append_cstr(&in, "abcdefgh");
    k = talk(t, in.p);
    CHECK(slice_find(buf_slice(&k.out), LIT("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n")) > 0);
    CHECK(k.out.n < 1000);
    memcpy(in.p + slice_find(buf_slice(&in), LIT("gzip")), "zstd", 4);
    plain = talk(t, in.p);
    CHECK(slice_find(buf_slice(&plain.out), LIT("Content-Encoding")) < 0 && plain.out.n > 40000);
    buf_free(&k.out);
    buf_free(&plain.out);
}

TEST(http, reads_over_a_small_body_nobody_wanted)
{
    struct talk k = talk(t, "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345GET "
                            "/ignore HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n");

    CHECK_INT(2, k.handled);
    buf_free(&k.out);
}
