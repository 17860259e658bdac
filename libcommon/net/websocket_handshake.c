/* websocket_handshake.c - the HTTP upgrade to WebSocket, both sides (RFC 6455 4).
 *
 * Owns nothing. Called by api and rpc. Fails on requests and answers that are no upgrade. Suspends
 * for the network.
 */
#include <openssl/evp.h>

#include "base/encode.h"
#include "base/secret.h"
#include "net/websocket_internal.h"

#define ANSWER_LINE_MAX 8192u
#define ANSWER_LINES_MAX 100

/* RFC 6455 1.3: SHA-1 of the key and a constant, in base64. */
static struct slice accept_value(struct arena *in, struct slice key)
{
    const struct slice parts[] = {key, LIT("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")};
    struct slice text = arena_concat(in, parts, COUNT(parts));
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(text.p, text.n, digest, &n, EVP_sha1(), NULL) != 1)
        abort();
    return base64_encode(in, slice_make(digest, n));
}

/* ---- server ---- */

bool websocket_is_upgrade(const struct http_request *rq)
{
    struct slice key = http_request_header(rq, LIT("Sec-WebSocket-Key"));
    struct slice raw;

    return slice_equal(rq->method, LIT("GET")) && rq->version >= 11 && rq->body_bytes == 0 &&
           http_request_has_token(rq, LIT("Upgrade"), LIT("websocket")) &&
           http_request_has_token(rq, LIT("Connection"), LIT("upgrade")) &&
           base64_decode(rq->arena, key, &raw) && raw.n == 16;
}

int websocket_accept(struct http_request *rq, const struct websocket_options *options,
                     struct websocket **out, struct fault *why)
{
    struct stream *s;

    if (!slice_equal(http_request_header(rq, LIT("Sec-WebSocket-Version")), LIT("13"))) {
        http_set_header(rq, LIT("Sec-WebSocket-Version"), LIT("13"));
        http_set_header(rq, LIT("Upgrade"), LIT("websocket"));
        http_reply(rq, 426, LIT("text/plain"), LIT("WebSocket version 13 only\n"));
        return fault_set(why, FAULT_PROTOCOL, "websocket: no upgrade to version 13");
    }
    if (!websocket_is_upgrade(rq)) {
        http_reply(rq, 400, LIT("text/plain"), LIT("malformed WebSocket upgrade\n"));
        return fault_set(why, FAULT_PROTOCOL, "websocket: malformed upgrade");
    }
    http_set_header(rq, LIT("Sec-WebSocket-Accept"),
                    accept_value(rq->arena, http_request_header(rq, LIT("Sec-WebSocket-Key"))));
    if (http_upgrade(rq, LIT("websocket"), &s, why) < 0)
        return -1;
    *out = websocket_new(s, options, false);
    return 0;
}

/* ---- client ---- */

static int send_request(struct stream *s, const struct websocket_target *target, struct slice key,
                        struct deadline until, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(65536);
    struct slice path = target->path.n > 0 ? target->path : LIT("/");
    int r;

    (void)buf_printf(
        &out,
        "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.*s\r\n",
        SLICE(path), SLICE(target->host), SLICE(key));
    for (size_t i = 0; i < target->header_count; i++)
        (void)buf_printf(&out, "%.*s: %.*s\r\n", SLICE(target->headers[i].name),
                         SLICE(target->headers[i].value));
    (void)buf_append(&out, LIT("\r\n"));
    if (out.overflowed)
        return fault_set(why, FAULT_INVALID, "websocket: too many headers");
    r = stream_write(s, buf_slice(&out), until, why);
    buf_wipe(&out); /* Authorization was in it */
    return r;
}

static int check_status(struct slice line, struct fault *why)
{
    struct slice status = slice_sub(line, 9, 3);

    if (!slice_has_prefix(line, LIT("HTTP/1.1 ")))
        return fault_set(why, FAULT_PROTOCOL, "websocket: no HTTP/1.1 answer");
    if (slice_equal(status, LIT("401")) || slice_equal(status, LIT("403")))
        return fault_set(why, FAULT_DENIED, "websocket: upgrade answered with %.*s", SLICE(status));
    if (!slice_equal(status, LIT("101")))
        return fault_set(why,
                         status.n == 3 && status.p[0] == '5' ? FAULT_UNAVAILABLE : FAULT_PROTOCOL,
                         "websocket: upgrade answered with %.*s", SLICE(status));
    return 0;
}

struct answer_seen {
    bool upgrade, connection, accept, wanted;
};

static void look_at_header(struct slice line, const struct websocket_target *target,
                           struct slice accept, struct answer_seen *seen)
{
    ptrdiff_t colon = slice_find_char(line, ':');
    struct slice name = colon < 0 ? line : slice_head(line, (size_t)colon);
    struct slice value = colon < 0 ? SLICE_NONE : slice_trim(slice_tail(line, (size_t)colon + 1));

    if (slice_equal_nocase(name, LIT("Upgrade")) && slice_equal_nocase(value, LIT("websocket")))
        seen->upgrade = true;
    if (slice_equal_nocase(name, LIT("Connection")) &&
        slice_find_nocase(value, LIT("upgrade")) >= 0)
        seen->connection = true;
    if (slice_equal_nocase(name, LIT("Sec-WebSocket-Accept")) && slice_equal(value, accept))
        seen->accept = true;
    if (target->want_header.n > 0 && slice_equal_nocase(name, target->want_header) &&
        slice_equal(value, target->want_value))
        seen->wanted = true;
}

static int read_answer(struct stream *s, const struct websocket_target *target, struct slice accept,
                       struct deadline until, struct fault *why)
{
    struct answer_seen seen = {.wanted = target->want_header.n == 0};
    struct slice line;

    if (stream_read_line(s, ANSWER_LINE_MAX, until, &line, why) < 0 || check_status(line, why) < 0)
        return -1;
    for (int i = 0; i < ANSWER_LINES_MAX; i++) {
        if (stream_read_line(s, ANSWER_LINE_MAX, until, &line, why) < 0)
            return -1;
        if (line.n == 0) {
            if (seen.upgrade && seen.connection && seen.accept && seen.wanted)
                return 0;
            return fault_set(why, FAULT_PROTOCOL, "websocket: answer is no upgrade as asked");
        }
        look_at_header(line, target, accept, &seen);
    }
    return fault_set(why, FAULT_PROTOCOL, "websocket: answer has too many headers");
}

int websocket_connect(struct stream **s, const struct websocket_target *target,
                      const struct websocket_options *options, struct deadline until,
                      struct websocket **out, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    unsigned char nonce[16];
    struct slice key;

    random_bytes(nonce, sizeof(nonce));
    key = base64_encode(in, slice_make(nonce, sizeof(nonce)));
    if (send_request(*s, target, key, until, why) < 0 ||
        read_answer(*s, target, accept_value(in, key), until, why) < 0)
        return -1;
    *out = websocket_new(*s, options, true);
    *s = NULL;
    return 0;
}
