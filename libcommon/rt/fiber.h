/* fiber.h - code that waits, written top to bottom: a coroutine with its own stack on the loop thread.
 *
 * Owns stacks (64 KiB with a guard page, 256 KiB under sanitizers, pooled, bounded by FIBERS_MAX).
 * A fiber stays on the loop thread. Calls marked SUSPENDS may let others run; every one honours a
 * deadline and returns FAULT_CANCELED once the fiber was cancelled. Nobody kills a fiber.
 */
#pragma once

#include "base/fault.h"
#include "base/time.h"

#define FIBERS_MAX 4096

struct fiber;

/* Starts fn(arg) on a fiber of its own, on the next loop turn. `name` is a literal, for the stall
 * log. FAULT_LIMIT when FIBERS_MAX run already. Detached: ends by itself.                          */
int fiber_start(const char *name, void (*fn)(void *arg), void *arg, struct fault *why) MUST_CHECK;

struct fiber *fiber_self(void);                    /* NULL outside fibers */
void fiber_cancel(struct fiber *f);                /* its suspending calls fail from now on */
bool fiber_is_canceled(void);                      /* asks about the running one */
int fiber_sleep_until(struct deadline until, struct fault *why) SUSPENDS;   /* 0 at `until`; <0 only FAULT_CANCELED */
void fiber_yield(void) SUSPENDS;                   /* lets other ready work run first */

/* Children: a parent does not return before the fibers it started in a group have ended. */
struct fiber_group { struct fiber_link *first; unsigned running; struct fiber *waiter; };
void fiber_group_init(struct fiber_group *g);
int fiber_group_start(struct fiber_group *g, const char *name, void (*fn)(void *arg), void *arg, struct fault *why) MUST_CHECK;
void fiber_group_cancel(struct fiber_group *g);
void fiber_group_join(struct fiber_group *g) SUSPENDS;      /* waits for all, even when cancelled */

/* A lock held across suspending calls; fair (first come, first served). */
struct fiber_mutex { struct fiber *owner; struct fiber_wait *first, *last; };
void fiber_mutex_init(struct fiber_mutex *m);
int fiber_mutex_lock(struct fiber_mutex *m, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
void fiber_mutex_unlock(struct fiber_mutex *m);

/* Something that happens: waiters sleep until it is signalled. Signals are not remembered: check the
 * condition first, in a loop. May be signalled from any code on the loop thread.                     */
struct fiber_event { struct fiber_wait *first, *last; };
void fiber_event_init(struct fiber_event *e);
int fiber_event_wait(struct fiber_event *e, struct deadline until, struct fault *why) SUSPENDS;  /* 0 signalled; FAULT_TIMEOUT, FAULT_CANCELED */
void fiber_event_signal(struct fiber_event *e);    /* wakes one */
void fiber_event_broadcast(struct fiber_event *e); /* wakes all */

/* Counters for /metrics. */
struct fiber_stats { unsigned running, peak, pooled; uint64_t started, switches, stalls; size_t stack_peak_bytes; };
void fiber_get_stats(struct fiber_stats *out);

/* --- for libcommon/rt and libraries with callbacks of their own (curl, hiredis) ---------------- */
/* Suspends the running fiber until fiber_resume(f, value) is called from the loop thread (returns
 * that value), the deadline passes (FIBER_TIMEOUT) or it is cancelled (FIBER_CANCELED). A resume that
 * arrives before the suspend is kept. The caller forgets `f` before it returns.                     */
#define FIBER_TIMEOUT  (-1)
#define FIBER_CANCELED (-2)
int fiber_suspend(struct deadline until) SUSPENDS;
void fiber_resume(struct fiber *f, int value);     /* value >= 0 */
