/* arena.h - memory with one lifetime: a command, a request, a message.
 *
 * Owned by one fiber or one unit of offloaded work; no arena crosses a thread while in use. Never
 * suspends. Allocation does not fail (out of memory ends the process): check sizes a peer chose first.
 */
#pragma once

#include <stdarg.h>
#include "base/slice.h"

struct arena;

/* An arena whose blocks start at `block_bytes` (0: 4 KiB) and double up to 64 KiB. */
struct arena *arena_new(size_t block_bytes);
void arena_free(struct arena **a);                 /* closer */
void arena_reset(struct arena *a);                 /* frees all but the first block */
size_t arena_used_bytes(const struct arena *a);

void *arena_alloc(struct arena *a, size_t n);      /* zeroed, aligned for any type */
void *arena_alloc_array(struct arena *a, size_t count, size_t size);   /* overflow aborts */
struct slice arena_copy(struct arena *a, struct slice s);              /* NUL behind it, not counted */
char *arena_cstr(struct arena *a, struct slice s);                     /* up to the first NUL */
struct slice arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
struct slice arena_vprintf(struct arena *a, const char *format, va_list ap) PRINTF_LIKE(2, 0);
struct slice arena_lower(struct arena *a, struct slice s);             /* ASCII lower-case copy */
struct slice arena_concat(struct arena *a, const struct slice *parts, size_t count);

#define ARENA_NEW(a, type)          ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_alloc_array((a), (count), sizeof(type)))
