/* squeeze.c - see squeeze.h. Called by engine_body.c and engine_blob.c, and by fe-sqlite in quiet times. */
#include "mailbox/squeeze.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SPARE_MAX 4                     /* of either kind: as many as pool threads that do this at once */

static _Atomic(ZSTD_CCtx *) spare_in[SPARE_MAX];
static _Atomic(ZSTD_DCtx *) spare_out[SPARE_MAX];

static ZSTD_CCtx *in_take(void)
{
    ZSTD_CCtx *c = NULL;

    for (size_t i = 0; i < SPARE_MAX && c == NULL; i++)
        c = atomic_exchange(&spare_in[i], NULL);
    if (c == NULL && (c = ZSTD_createCCtx()) == NULL)
        abort();
    return c;
}

static void in_give(ZSTD_CCtx *c)
{
    for (size_t i = 0; i < SPARE_MAX && c != NULL; i++) {
        ZSTD_CCtx *none = NULL;
        if (atomic_compare_exchange_strong(&spare_in[i], &none, c))
            c = NULL;
    }
    (void)ZSTD_freeCCtx(c);
}

static ZSTD_DCtx *out_take(void)
{
    ZSTD_DCtx *c = NULL;

    for (size_t i = 0; i < SPARE_MAX && c == NULL; i++)
        c = atomic_exchange(&spare_out[i], NULL);
    if (c == NULL && (c = ZSTD_createDCtx()) == NULL)
        abort();
    return c;
}

static void out_give(ZSTD_DCtx *c)
{
    for (size_t i = 0; i < SPARE_MAX && c != NULL; i++) {
        ZSTD_DCtx *none = NULL;
        if (atomic_compare_exchange_strong(&spare_out[i], &none, c))
            c = NULL;
    }
    (void)ZSTD_freeDCtx(c);
}

size_t squeeze(char *out, size_t room, struct slice in, int level)
{
    ZSTD_CCtx *c = in_take();
    size_t n = ZSTD_compressCCtx(c, out, room, in.p, in.n, level);

    in_give(c);
    return ZSTD_isError(n) || n >= in.n ? 0 : n;
}

bool unsqueeze(char *out, size_t want, struct slice in)
{
    ZSTD_DCtx *c = out_take();
    size_t n = ZSTD_decompressDCtx(c, out, want, in.p, in.n);

    out_give(c);
    return !ZSTD_isError(n) && n == want;
}

void squeeze_release(void)
{
    for (size_t i = 0; i < SPARE_MAX; i++) {
        (void)ZSTD_freeCCtx(atomic_exchange(&spare_in[i], NULL));
        (void)ZSTD_freeDCtx(atomic_exchange(&spare_out[i], NULL));
    }
}
