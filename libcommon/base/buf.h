/* buf.h - the only thing that grows: bytes on the heap, with a maximum.
 *
 * Owns its memory. Never suspends. Appending past `max` fails with -1, leaves the contents as they
 * were and sets `overflowed`, so a chain of appends can be checked once at the end. Running out of
 * memory ends the process (see style: small allocations do not fail; sizes are limited before).
 */
#pragma once

#include <stdarg.h>
#include "base/slice.h"

struct buf {
    char *p;              /* always followed by a NUL when not NULL */
    size_t n;
    size_t cap;
    size_t max;
    bool overflowed;
};

#define BUF_MAX_DEFAULT ((size_t)64 << 20)
#define BUF_INIT(limit) ((struct buf){ .max = (limit) })

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);                      /* closer: frees, ready for use again with the same max */
void buf_wipe(struct buf *b);                      /* like buf_free, zeroing first */
void buf_reset(struct buf *b);                     /* empty, memory kept */
int buf_reserve(struct buf *b, size_t more);       /* room for `more` bytes behind n */
int buf_append(struct buf *b, struct slice s);
int buf_append_cstr(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_append_u64(struct buf *b, uint64_t v);     /* decimal */
int buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *b, const char *format, va_list ap) PRINTF_LIKE(2, 0);
void buf_consume(struct buf *b, size_t n);         /* drops the first n bytes */
void buf_truncate(struct buf *b, size_t n);
struct slice buf_slice(const struct buf *b);
/* Hands the memory to the caller, who frees it with free(); *b is empty afterwards. */
char *buf_steal(struct buf *b, size_t *n);

/* Packed binary for frames and rows: LEB128 unsigned, zigzag signed, length-prefixed bytes. */
int buf_put_varint(struct buf *b, uint64_t v);
int buf_put_svarint(struct buf *b, int64_t v);
int buf_put_bytes(struct buf *b, struct slice s);  /* varint length, bytes */
/* Readers take from the front of *in; false (and *in untouched) when short or malformed. */
bool unpack_varint(struct slice *in, uint64_t *out) MUST_CHECK;
bool unpack_svarint(struct slice *in, int64_t *out) MUST_CHECK;
bool unpack_bytes(struct slice *in, struct slice *out) MUST_CHECK;
