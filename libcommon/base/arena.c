/* arena.c - see arena.h. Blocks in a chain, newest first; large requests get a block of their own.
 *
 * Owns the blocks. Called everywhere. Cannot fail (out of memory aborts). Does not suspend.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <assert.h>

#define BLOCK_LEAST ((size_t)256)
#define BLOCK_USUAL ((size_t)4096)
#define BLOCK_MOST  ((size_t)65536)

struct block {
    struct block *next;
    size_t cap, used;
    alignas(max_align_t) char bytes[];
};

struct arena {
    struct block *newest, *first;
    size_t next_cap;
    size_t used;
};

static struct block *block_new(size_t cap)
{
    struct block *b = malloc(sizeof(*b) + cap);

    if (b == NULL)
        abort();
    b->next = NULL;
    b->cap = cap;
    b->used = 0;
    return b;
}

struct arena *arena_new(size_t block_bytes)
{
    struct arena *a = calloc(1, sizeof(*a));

    if (a == NULL)
        abort();
    a->next_cap = block_bytes == 0 ? BLOCK_USUAL : block_bytes < BLOCK_LEAST ? BLOCK_LEAST : block_bytes;
    return a;
}

void arena_reset(struct arena *a)
{
    while (a->newest != NULL && a->newest != a->first) {
        struct block *b = a->newest;

        a->newest = b->next;
        free(b);
    }
    if (a->first != NULL && a->first->cap > BLOCK_MOST) {      /* one large request must not stay for ever */
        free(a->first);
        a->first = a->newest = NULL;
    }
    if (a->first != NULL)
        a->first->used = 0;
    a->used = 0;
}

void arena_free(struct arena **a)
{
    if (*a == NULL)
        return;
    arena_reset(*a);
    free((*a)->first);
    free(*a);
    *a = NULL;
}

size_t arena_used_bytes(const struct arena *a)
{
    return a->used;
}

static struct block *arena_block(struct arena *a, size_t n)
{
    size_t cap = a->next_cap;
    struct block *b;

    if (n > cap)
        cap = n;
    else if (a->next_cap < BLOCK_MOST)
        a->next_cap *= 2;
    b = block_new(cap);
    b->next = a->newest;
    a->newest = b;
    if (a->first == NULL)
        a->first = b;
    return b;
}

/* Room without zeroing, for copies that fill it anyway. */
static char *arena_room(struct arena *a, size_t n)
{
    size_t need = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct block *b = a->newest;
    char *p;

    if (need < n)
        abort();
    if (b == NULL || b->cap - b->used < need)
        b = arena_block(a, need);
    p = b->bytes + b->used;
    b->used += need;
    a->used += need;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_room(a, n == 0 ? 1 : n);

    memset(p, 0, n == 0 ? 1 : n);
    return p;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n))
        abort();
    return arena_alloc(a, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    char *p = arena_room(a, s.n + 1);

    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return slice_make(p, s.n);
}

char *arena_cstr(struct arena *a, struct slice s)
{
    ptrdiff_t nul = slice_find_char(s, '\0');
    struct slice part = nul >= 0 ? slice_head(s, (size_t)nul) : s;
    char *p = arena_room(a, part.n + 1);

    if (part.n > 0)
        memcpy(p, part.p, part.n);
    p[part.n] = '\0';
    return p;
}

struct slice arena_vprintf(struct arena *a, const char *format, va_list ap)
{
    va_list again;
    char *p;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(n >= 0);
    p = arena_room(a, (size_t)n + 1);
    (void)vsnprintf(p, (size_t)n + 1, format, ap);
    return slice_make(p, (size_t)n);
}

struct slice arena_printf(struct arena *a, const char *format, ...)
{
    struct slice s;
    va_list ap;

    va_start(ap, format);
    s = arena_vprintf(a, format, ap);
    va_end(ap);
    return s;
}

struct slice arena_lower(struct arena *a, struct slice s)
{
    char *p = arena_room(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        p[i] = ascii_lower(s.p[i]);
    p[s.n] = '\0';
    return slice_make(p, s.n);
}

struct slice arena_concat(struct arena *a, const struct slice *parts, size_t count)
{
    size_t n = 0, at = 0;
    char *p;

    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    p = arena_room(a, n + 1);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0)
            memcpy(p + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    p[n] = '\0';
    return slice_make(p, n);
}
