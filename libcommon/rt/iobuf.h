/* iobuf.h - a stream's buffer: bytes are added at one end and taken at the other; no memory while
 * empty and released.
 *
 * Owns its memory. Loop thread only, never suspends, never fails (out of memory ends the process;
 * users keep to limits).
 */
#pragma once

#include "base/slice.h"

struct iobuf {
    char *p;
    size_t start, end, cap;
};

static inline size_t iobuf_count(const struct iobuf *b)
{
    return b->end - b->start;
}

static inline struct slice iobuf_slice(const struct iobuf *b)
{
    if (b->p == NULL)
        return SLICE_NONE;
    return (struct slice){b->p + b->start, b->end - b->start};
}

/* Drops n bytes from the front. They stay readable where they are until iobuf_room or
 * iobuf_release. */
void iobuf_take(struct iobuf *b, size_t n);
/* Room for at least `least` bytes at the end; moves or grows what is there. Fill it, then add to
 * b->end. */
size_t iobuf_room(struct iobuf *b, size_t least);
void iobuf_add(struct iobuf *b, struct slice bytes);
/* Gives the memory back; contents are lost. */
void iobuf_release(struct iobuf *b);
