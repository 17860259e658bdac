/* context.h - stacks and the switch between them, announced to ASan, TSan and Valgrind.
 *
 * Owns stacks (a struct context sits at the top of each, guard page at the bottom). Used by fiber.c
 * only. Only context_new can fail. Loop thread only.
 */
#pragma once

#include "base/macros.h"

#if defined(__SANITIZE_ADDRESS__)
#define RT_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_ASAN 1
#elif __has_feature(thread_sanitizer)
#define RT_TSAN 1
#endif
#endif

#if defined(RT_ASAN) || defined(RT_TSAN)
#define STACK_BYTES ((size_t)256 << 10)
#else
#define STACK_BYTES ((size_t)64 << 10)
#endif

struct context {
    void *sp;         /* where it stands while switched away */
    void *fake_stack; /* ASan's */
    void *tsan_fiber;
    char *stack; /* lowest usable byte; NULL for the loop's own */
    size_t stack_bytes;
    unsigned valgrind_id;
    void (*entry)(void *arg); /* never returns */
    void *arg;
};

/* Bytes for the caller at the top of each stack, beside the context. */
#define CONTEXT_USER_BYTES 512

/* NULL when the system has no more mappings. The first switch to it calls entry(arg). */
struct context *context_new(void (*entry)(void *arg), void *arg);
void *context_user(struct context *c); /* CONTEXT_USER_BYTES, zeroed at context_new */
void context_free(struct context *c);
/* Bytes of stack the deepest call has touched so far, in whole pages. */
size_t context_peak_bytes(const struct context *c);

void context_init_loop(struct context *loop); /* the thread's own stack, before the first switch */
/* Leaves `from` and goes on in `to`; returns when something switches back to `from`. */
void context_switch(struct context *from, struct context *to);
