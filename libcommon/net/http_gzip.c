/* http_gzip.c - whole text answers compressed for clients that accept it.
 *
 * Owns nothing. Called by http_reply.c. When anything is against it the answer goes out as it is. Small
 * bodies are compressed on the loop, larger ones on the cpu pool (suspends).
 */
#include <zlib.h>

#include "net/http_internal.h"
#include "rt/offload.h"

#define GZIP_BYTES_MIN 1024u
#define GZIP_INLINE_MAX ((size_t)32 << 10) /* well under a millisecond on the loop */
#define GZIP_BYTES_MAX (HTTP_GZIP_BYTES_MAX / 2)

struct gzip_work {
    struct offload offload;
    struct buf in, out;
    bool done;
};

static bool gzip_bytes(struct slice in, struct buf *out)
{
    z_stream z = {0};
    int r;

    if (deflateInit2(&z, 5, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    (void)buf_reserve(out, deflateBound(&z, in.n) + 32);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)out->p;
    z.avail_out = (uInt)(out->cap - 1);
    r = deflate(&z, Z_FINISH);
    out->n = z.total_out;
    deflateEnd(&z);
    return r == Z_STREAM_END;
}

static void gzip_run(struct offload *work)
{
    struct gzip_work *g = CONTAINER_OF(work, struct gzip_work, offload);

    g->done = gzip_bytes(buf_slice(&g->in), &g->out);
}

static void gzip_discard(struct offload *work)
{
    struct gzip_work *g = CONTAINER_OF(work, struct gzip_work, offload);

    buf_free(&g->in);
    buf_free(&g->out);
    free(g);
}

static bool gzip_offload(struct slice in, struct buf *out)
{
    struct gzip_work *g = calloc(1, sizeof(*g));
    struct fault why;
    bool done;

    if (g == NULL)
        abort();
    g->offload.run = gzip_run;
    g->offload.discard = gzip_discard;
    buf_init(&g->in, GZIP_BYTES_MAX);
    buf_init(&g->out, 2 * GZIP_BYTES_MAX);
    (void)buf_append(&g->in, in);
    if (offload_run(OFFLOAD_CPU, &g->offload, deadline_in_ms(2000), &why) < 0)
        return false;
    done = g->done;
    *out = g->out;
    g->out = BUF_INIT(0);
    gzip_discard(&g->offload);
    return done;
}

static bool is_text_type(struct slice type)
{
    static const char *const word[] = {"text/", "json", "xml", "javascript", "svg"};

    for (size_t i = 0; i < COUNT(word); i++)
        if (slice_find_nocase(type, slice_of(word[i])) >= 0)
            return true;
    return false;
}

/* A strong one names these very bytes (RFC 9110 8.8.1); a weak one also stands for them compressed. */
static bool has_strong_etag(const struct http_conn *c)
{
    struct slice rest = buf_slice(&c->extra), line;

    while (slice_cut(&rest, '\n', &line))
        if (slice_has_prefix_nocase(line, LIT("ETag:")))
            return !slice_has_prefix(slice_trim(slice_tail(line, 5)), LIT("W/"));
    return false;
}

bool http_try_gzip(struct http_request *rq, struct slice type, struct slice body, struct buf *out)
{
    if (body.n < GZIP_BYTES_MIN || body.n > GZIP_BYTES_MAX || !is_text_type(type))
        return false;
    if (has_strong_etag(rq->conn) || http_has_extra(rq->conn, LIT("Content-Encoding")))
        return false;
    if (!http_request_has_token(rq, LIT("Accept-Encoding"), LIT("gzip")))
        return false;
    if (!(body.n <= GZIP_INLINE_MAX ? gzip_bytes(body, out) : gzip_offload(body, out)))
        return false;
    return out->n < body.n;
}
