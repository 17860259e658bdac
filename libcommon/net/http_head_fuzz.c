/* http_head_fuzz.c - no bytes crash the head parser; a head that parses points into itself and
 * frames its body in one way. */
#include <assert.h>
#include "net/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    size_t scanned = 0, end = http_head_find_end(in, &scanned), byte_by_byte = 0;

    scanned = 0;
    for (size_t n = 0; n <= size && n < 2048 && byte_by_byte == 0; n++)
        byte_by_byte = http_head_find_end(slice_head(in, n), &scanned);
    if (size < 2048)
        assert(end == byte_by_byte);
    if (end > 0) {
        struct arena *a = arena_new(0);
        struct http_request rq = {.arena = a};
        if (http_head_parse(slice_head(in, end), a, &rq) == 0)
            assert(rq.path.n > 0 && rq.method.n > 0 && rq.header_count <= HTTP_HEADERS_MAX);
        arena_free(&a);
    }
    return 0;
}
