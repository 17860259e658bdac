/* multipart_fuzz.c - uploads from strangers: the boundary is the first line. Cut in any way, the parts are the same. */
#include "net/multipart.h"

#include <assert.h>

static int on_part(void *arg, struct slice header, UNUSED struct fault *why)
{
    assert(header.n <= MULTIPART_HEADER_MAX);
    return buf_printf(arg, "[%zu|", header.n);
}

static int on_data(void *arg, struct slice bytes, UNUSED struct fault *why)
{
    return buf_append(arg, bytes);
}

static int on_end(void *arg, UNUSED struct fault *why)
{
    return buf_append_char(arg, ']');
}

static int feed(struct slice in, size_t piece, struct slice boundary, struct buf *out)
{
    static const struct multipart_handlers handlers = { on_part, on_data, on_end };
    struct multipart m;
    struct fault why;
    int r = multipart_init(&m, boundary, &handlers, out, &why);

    while (r == 0 && in.n > 0) {
        r = multipart_feed(&m, slice_head(in, piece), &why);
        in = slice_tail(in, piece);
    }
    if (r == 0)
        r = multipart_finish(&m, &why);
    multipart_deinit(&m);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice in = slice_make(data, n), boundary = SLICE_NONE;
    struct buf whole = BUF_INIT(1 << 22), cut = BUF_INIT(1 << 22);
    int r;

    (void)slice_cut(&in, '\n', &boundary);
    r = feed(in, in.n + 1, boundary, &whole);
    assert(feed(in, 1 + n % 7, boundary, &cut) == r);
    assert(r < 0 || slice_equal(buf_slice(&whole), buf_slice(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
