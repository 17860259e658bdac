/* fiber.c - starting, suspending, resuming and ending fibers; the pool of their stacks.
 *
 * Owns every struct fiber (at the top of its stack), the ready queue and the pool. Called by
 * everything that waits. fiber_start fails at FIBERS_MAX; suspending calls fail by deadline or
 * cancellation.
 */
#include "rt/fiber.h"

#include <assert.h>
#include "base/log.h"
#include "rt/fiber_internal.h"
#include "rt/loop_internal.h"

#define POOLED_MAX 128 /* stacks kept for reuse; a touched one holds two to four pages */
#define STALL_MS 50

static struct {
    struct context loop;
    struct fiber *self;
    struct fiber *ready, **ready_end;
    struct fiber *pool;
    struct fiber_link *all;
    struct fiber_stats stats;
    uint64_t turn_began_cpu_ms; /* of this thread: what it computed, whoever else had the CPU */
    uint64_t slice_began_ms; /* coarse clock, when the running fiber was switched to */
} fibers = {.ready_end = &fibers.ready};

struct fiber *fiber_self(void)
{
    return fibers.self;
}

/* --- ready queue ------------------------------------------------------------------------------ */

static void make_ready(struct fiber *f)
{
    f->state = FIBER_READY;
    f->next = NULL;
    *fibers.ready_end = f;
    fibers.ready_end = &f->next;
    loop_wake();
}

bool fibers_are_ready(void)
{
    return fibers.ready != NULL;
}

bool fibers_have_room(void)
{
    return fibers.stats.running < FIBERS_MAX - FIBERS_MAX / 16;
}

static uint64_t coarse_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* cpu_ms is of the whole turn; far below ms, the machine was busy with others or the call blocked. */
static void watch_stall(const char *name)
{
    uint64_t now = coarse_ms(), took = now - fibers.slice_began_ms;

    fibers.slice_began_ms = now;
    if (took < STALL_MS)
        return;
    fibers.stats.stalls++;
    log_event(LOG_WARN, "loop.stall", F_STR("fiber", name), F_INT("ms", took),
              F_INT("cpu_ms", cpu_ms() - fibers.turn_began_cpu_ms));
}

static void recycle(struct fiber *f);

static void run(struct fiber *f)
{
    const char *name = f->name;

    fibers.self = f;
    f->state = FIBER_RUNNING;
    fibers.stats.switches++;
    context_switch(&fibers.loop, f->context);
    fibers.self = NULL;
    if (f->state == FIBER_POOLED)
        recycle(f);
    watch_stall(name);
}

void fibers_run_ready(void)
{
    struct fiber *f = fibers.ready, *next;

    assert(fibers.self == NULL);
    fibers.ready = NULL;
    fibers.ready_end = &fibers.ready;
    fibers.slice_began_ms = coarse_ms();
    fibers.turn_began_cpu_ms = cpu_ms();
    for (; f != NULL; f = next) {
        next = f->next;
        run(f);
    }
}

/* --- stacks ----------------------------------------------------------------------------------- */

static void note_stack_peak(const struct fiber *f)
{
    size_t peak = context_peak_bytes(f->context);

    if (peak > fibers.stats.stack_peak_bytes)
        fibers.stats.stack_peak_bytes = peak;
}

static void link_in(struct fiber_link **first, struct fiber_link *link)
{
    link->next = *first;
    link->slot = first;
    if (*first != NULL)
        (*first)->slot = &link->next;
    *first = link;
}

static void link_out(struct fiber_link *link)
{
    *link->slot = link->next;
    if (link->next != NULL)
        link->next->slot = link->slot;
}

static void destroy(struct fiber *f)
{
    note_stack_peak(f);
    link_out(&f->in_all);
    context_free(f->context); /* *f went with it */
}

static void recycle(struct fiber *f)
{
    fibers.stats.running--;
    if (fibers.stats.pooled >= POOLED_MAX) {
        destroy(f);
        return;
    }
    f->next = fibers.pool;
    fibers.pool = f;
    fibers.stats.pooled++;
}

/* What every stack runs: one fiber after the other, pooled in between. */
static void body(void *arg)
{
    struct fiber *f = arg;

    for (;;) {
        f->fn(f->arg);
        timer_stop(&f->timer);
        if (f->group != NULL) {
            link_out(&f->in_group);
            fiber_group_left(f);
        }
        f->state = FIBER_POOLED;
        context_switch(f->context, &fibers.loop);
    }
}

static void on_deadline(struct timer *timer)
{
    struct fiber *f = timer->arg;

    if (f->state != FIBER_SUSPENDED)
        return;
    f->value = FIBER_TIMEOUT;
    make_ready(f);
}

static struct fiber *take_stack(void)
{
    struct fiber *f = fibers.pool;
    struct context *context;

    if (f != NULL) {
        fibers.pool = f->next;
        fibers.stats.pooled--;
        return f;
    }
    _Static_assert(sizeof(struct fiber) <= CONTEXT_USER_BYTES, "fits beside the context");
    context = context_new(body, NULL);
    if (context == NULL)
        return NULL;
    f = context_user(context);
    f->context = context;
    context->arg = f;
    link_in(&fibers.all, &f->in_all);
    return f;
}

int fiber_launch(struct fiber_group *group, const char *name, void (*fn)(void *arg), void *arg,
                 struct fault *why)
{
    struct fiber *f;

    assert(loop_is_here());
    if (fibers.stats.running >= FIBERS_MAX)
        return fault_set(why, FAULT_LIMIT, "%d fibers run already", FIBERS_MAX);
    f = take_stack();
    if (f == NULL)
        return fault_set(why, FAULT_LIMIT, "no memory map left for the stack of fiber %s", name);
    fibers.stats.started++;
    if (++fibers.stats.running > fibers.stats.peak)
        fibers.stats.peak = fibers.stats.running;
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    timer_init(&f->timer, on_deadline, f);
    f->in_suspend = f->has_kept = f->cancelable = f->canceled = false;
    f->group = group;
    if (group != NULL)
        link_in(&group->first, &f->in_group);
    make_ready(f);
    return 0;
}

int fiber_start(const char *name, void (*fn)(void *arg), void *arg, struct fault *why)
{
    return fiber_launch(NULL, name, fn, arg, why);
}

void fibers_init(void)
{
    context_init_loop(&fibers.loop);
}

void fibers_release(void)
{
    struct fiber *f;

    while ((f = fibers.pool) != NULL) {
        fibers.pool = f->next;
        fibers.stats.pooled--;
        destroy(f);
    }
    /* loop_stop() may leave fibers suspended for good: a clean exit frees their stacks unseen */
    while (fibers.all != NULL) {
        destroy(CONTAINER_OF(fibers.all, struct fiber, in_all));
        fibers.stats.running--;
    }
    fibers.ready = NULL;
    fibers.ready_end = &fibers.ready;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void leave(struct fiber *f)
{
    context_switch(f->context, &fibers.loop);
}

static int suspend(struct deadline until, bool cancelable)
{
    struct fiber *f = fibers.self;

    assert(f != NULL);
    if (f->has_kept || (cancelable && f->canceled)) {
        bool canceled = cancelable && f->canceled;

        f->has_kept = false;
        return canceled ? FIBER_CANCELED : f->value;
    }
    if (until.at_ms != UINT64_MAX) {
        if (deadline_is_past(until))
            return FIBER_TIMEOUT;
        timer_start(&f->timer, until);
    }
    f->state = FIBER_SUSPENDED;
    f->in_suspend = true;
    f->cancelable = cancelable;
    leave(f);
    f->in_suspend = false;
    timer_stop(&f->timer);
    return f->value;
}

int fiber_suspend(struct deadline until)
{
    return suspend(until, true);
}

int fiber_suspend_firmly(struct deadline until)
{
    return suspend(until, false);
}

int fiber_suspend_fault(int result, struct fault *why)
{
    return result == FIBER_CANCELED ? fault_set(why, FAULT_CANCELED, "canceled")
                                    : fault_set(why, FAULT_TIMEOUT, "timed out");
}

void fiber_resume(struct fiber *f, int value)
{
    assert(value >= 0 && loop_is_here() && f->state != FIBER_POOLED);
    if (f->state == FIBER_SUSPENDED) {
        f->value = value;
        make_ready(f);
    } else if (!f->in_suspend) {
        f->has_kept = true;
        f->value = value;
    } else if (f->value < 0) { /* timed out in this very turn: what it waited for is better news */
        f->value = value;
    }
}

void fiber_yield(void)
{
    struct fiber *f = fibers.self;

    assert(f != NULL);
    make_ready(f);
    leave(f);
}

int fiber_sleep_until(struct deadline until, struct fault *why)
{
    int r = fiber_suspend(until);

    /* nobody else knows of this wait: a resume can only be a stale one */
    while (r >= 0)
        r = fiber_suspend(until);
    return r == FIBER_CANCELED ? fiber_suspend_fault(r, why) : 0;
}

/* --- cancelling and asking -------------------------------------------------------------------- */

void fiber_cancel(struct fiber *f)
{
    f->canceled = true;
    if (f->state == FIBER_SUSPENDED && f->cancelable) {
        f->value = FIBER_CANCELED;
        make_ready(f);
    }
}

bool fiber_is_canceled(void)
{
    return fibers.self != NULL && fibers.self->canceled;
}

void fiber_get_stats(struct fiber_stats *out)
{
    for (struct fiber_link *l = fibers.all; l != NULL; l = l->next)
        note_stack_peak(CONTAINER_OF(l, struct fiber, in_all));
    *out = fibers.stats;
}
