/* fiber_internal.h - what fiber.c (running) and fiber_sync.c (waiting for one another) share.
 *
 * Loop thread only.
 */
#pragma once

#include "rt/context.h"
#include "rt/fiber.h"
#include "rt/timer.h"

struct fiber_link {
    struct fiber_link *next, **slot;
};

/* A place in the queue of a mutex or event. */
struct fiber_wait {
    struct fiber_wait *next, *prev;
    bool granted; /* taken out of the queue by whoever woke us */
};

enum fiber_state { FIBER_POOLED, FIBER_READY, FIBER_RUNNING, FIBER_SUSPENDED };

struct fiber {
    struct context *context;
    struct fiber *next; /* in the ready queue or the pool */
    const char *name;
    void (*fn)(void *arg);
    void *arg;
    struct timer timer;
    enum fiber_state state;
    int value;       /* what fiber_suspend will return */
    bool in_suspend; /* READY or SUSPENDED because of fiber_suspend */
    bool has_kept;   /* a resume came before the suspend */
    bool cancelable, canceled;
    struct fiber_group *group;
    struct fiber_link in_group, in_all;
    struct fiber_wait wait;
};

/* fiber_suspend that does not notice cancellation: the waiter owes its wait to somebody. */
int fiber_suspend_firmly(struct deadline until) SUSPENDS;
/* Puts FIBER_TIMEOUT or FIBER_CANCELED into words; returns -1. */
int fiber_suspend_fault(int result, struct fault *why);
/* Starts a fiber as a member of `group` (may be NULL). */
int fiber_launch(struct fiber_group *group, const char *name, void (*fn)(void *arg), void *arg,
                 struct fault *why) MUST_CHECK;
void fiber_group_left(struct fiber *f); /* `f` of a group has ended */
