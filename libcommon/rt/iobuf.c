/* iobuf.c - see iobuf.h. Owns nothing beyond each buffer; called by stream*.c. */
#include "rt/iobuf.h"

#include <assert.h>

#define FIRST_BYTES ((size_t)4 << 10)

void iobuf_take(struct iobuf *b, size_t n)
{
    assert(n <= iobuf_count(b));
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}

static void grow(struct iobuf *b, size_t least)
{
    size_t cap = b->cap == 0 ? FIRST_BYTES : b->cap, n = iobuf_count(b);
    char *p;

    while (cap - n < least)
        cap *= 2;
    p = malloc(cap);
    if (p == NULL)
        abort();
    if (n > 0)
        memcpy(p, b->p + b->start, n);
    free(b->p);
    *b = (struct iobuf){p, 0, n, cap};
}

size_t iobuf_room(struct iobuf *b, size_t least)
{
    size_t n = iobuf_count(b);

    if (b->cap - b->end >= least)
        return b->cap - b->end;
    /* moving pays only when it frees more than it copies; else small steps would cost a copy each
     */
    if (b->cap - n >= least && n <= b->cap / 2) {
        memmove(b->p, b->p + b->start, n);
        b->start = 0;
        b->end = n;
    } else {
        grow(b, least);
    }
    return b->cap - b->end;
}

void iobuf_add(struct iobuf *b, struct slice bytes)
{
    if (bytes.n == 0)
        return;
    (void)iobuf_room(b, bytes.n);
    memcpy(b->p + b->end, bytes.p, bytes.n);
    b->end += bytes.n;
}

void iobuf_release(struct iobuf *b)
{
    free(b->p);
    *b = (struct iobuf){0};
}
