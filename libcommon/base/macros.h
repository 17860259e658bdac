/* macros.h - the few macros every file may use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array)      (sizeof(array) / sizeof((array)[0]))
#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define UNUSED            __attribute__((unused))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))

/* Marks a prototype whose call may switch fibers: after it, look up again what others may have
 * changed, and hold no lock but a fiber_mutex across it. Callers are marked too.               */
#define SUSPENDS

/* AUTO(closer) T x = none; runs closer(&x) when x leaves scope. Closers are harmless on "none". */
#define AUTO(closer) __attribute__((cleanup(closer)))

/* For the rare result of a MUST_CHECK function that really does not matter; gcc takes no (void) for it. */
static inline void ignore_result(UNUSED long result)
{
}
