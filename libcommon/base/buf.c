/* buf.c - see buf.h.
 *
 * Owns the memory of each struct buf. Called everywhere. Appends fail only at the buffer's maximum. Does not suspend.
 */
#include "base/buf.h"

#include <assert.h>
#include <sodium.h>

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_free(struct buf *b)
{
    size_t max = b->max;

    free(b->p);
    *b = BUF_INIT(max);
}

void buf_wipe(struct buf *b)
{
    if (b->p != NULL)
        sodium_memzero(b->p, b->cap);
    buf_free(b);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->overflowed = false;
    if (b->p != NULL)
        b->p[0] = '\0';
}

static void buf_grow(struct buf *b, size_t need)
{
    size_t cap = b->cap < 64 ? 64 : b->cap;

    while (cap < need)
        cap += cap / 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    b->p = realloc(b->p, cap);
    if (b->p == NULL)
        abort();
    b->cap = cap;
}

int buf_reserve(struct buf *b, size_t more)
{
    if (more > b->max - b->n) {
        b->overflowed = true;
        return -1;
    }
    if (b->n + more + 1 > b->cap)
        buf_grow(b, b->n + more + 1);
    return 0;
}

int buf_append(struct buf *b, struct slice s)
{
    if (buf_reserve(b, s.n) < 0)
        return -1;
    if (s.n > 0)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    b->p[b->n] = '\0';
    return 0;
}

int buf_append_cstr(struct buf *b, const char *s)
{
    return buf_append(b, slice_of(s));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, slice_make(&c, 1));
}

int buf_append_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    return buf_append(b, slice_make(digits + at, sizeof(digits) - at));
}

int buf_vprintf(struct buf *b, const char *format, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(n >= 0);
    if (buf_reserve(b, (size_t)n) < 0)
        return -1;
    (void)vsnprintf(b->p + b->n, (size_t)n + 1, format, ap);
    b->n += (size_t)n;
    return 0;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = buf_vprintf(b, format, ap);
    va_end(ap);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->n);
    if (n == 0)
        return;
    b->n -= n;
    memmove(b->p, b->p + n, b->n + 1);
}

void buf_truncate(struct buf *b, size_t n)
{
    assert(n <= b->n);
    b->n = n;
    if (b->p != NULL)
        b->p[n] = '\0';
}

struct slice buf_slice(const struct buf *b)
{
    return slice_make(b->p, b->n);
}

char *buf_steal(struct buf *b, size_t *n)
{
    char *p = b->p;

    if (n != NULL)
        *n = b->n;
    b->p = NULL;
    buf_free(b);
    return p;
}

int buf_put_varint(struct buf *b, uint64_t v)
{
    char out[10];
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (char)v;
    return buf_append(b, slice_make(out, n));
}

int buf_put_svarint(struct buf *b, int64_t v)
{
    return buf_put_varint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

int buf_put_bytes(struct buf *b, struct slice s)
{
    if (buf_put_varint(b, s.n) < 0)
        return -1;
    return buf_append(b, s);
}

bool unpack_varint(struct slice *in, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < in->n && i < 10; i++) {
        unsigned char c = (unsigned char)in->p[i];

        if (i == 9 && c > 1)
            return false;
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *out = v;
            *in = slice_tail(*in, i + 1);
            return true;
        }
    }
    return false;
}

bool unpack_svarint(struct slice *in, int64_t *out)
{
    uint64_t v;

    if (!unpack_varint(in, &v))
        return false;
    *out = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
    return true;
}

bool unpack_bytes(struct slice *in, struct slice *out)
{
    struct slice rest = *in;
    uint64_t n;

    if (!unpack_varint(&rest, &n) || n > rest.n)
        return false;
    *out = slice_head(rest, (size_t)n);
    *in = slice_tail(rest, (size_t)n);
    return true;
}
