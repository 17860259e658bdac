/* dkim_fuzz.c - a message: header and body as they come, every signature with a key record cut from the same input. */
#include "mail/dkim.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make(data, size);
    ptrdiff_t blank = slice_find(all, LIT("\r\n\r\n"));
    struct slice header = blank < 0 ? all : slice_head(all, (size_t)blank + 2);
    struct slice body = blank < 0 ? SLICE_NONE : slice_tail(all, (size_t)blank + 4);
    struct arena *a = arena_new(0);
    struct dkim_verifier *v = dkim_verifier_new(a, header, 1700000000000);

    for (size_t i = 0; i < dkim_verifier_count(v); i++)
        if (dkim_verifier_key_name(v, i).n > 0)
            dkim_verifier_key(v, i, DKIM_KEY_FOUND, slice_head(body, 400));
    dkim_verifier_body(v, slice_head(body, body.n / 2));
    dkim_verifier_body(v, slice_tail(body, body.n / 2));
    dkim_verifier_finish(v);
    dkim_verifier_free(&v);
    arena_free(&a);
    return 0;
}
