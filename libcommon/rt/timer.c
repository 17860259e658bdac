/* timer.c - a binary heap of timers under one uv_timer.
 *
 * Owns the heap array, not the timers in it. Called by fiber.c, stream*.c and services. Running out
 * of memory ends the process; nothing else fails, nothing suspends.
 *
 * The clock is base/time.h's, which tests may fake: each turn of the loop compares the heap's top
 * with it. The uv_timer only keeps the loop alive and bounds its sleep; firing early is harmless.
 */
#include "rt/timer.h"

#include <assert.h>
#include "rt/loop_internal.h"

static struct {
    uv_timer_t uv;
    uint64_t armed_for_ms; /* meaningful while uv is active */
    struct timer **heap;   /* slots 1..count; a parent is not later than its children */
    size_t count, capacity;
} timers;

void timer_init(struct timer *t, void (*fn)(struct timer *t), void *arg)
{
    *t = (struct timer){.fn = fn, .arg = arg};
}

bool timer_is_running(const struct timer *t)
{
    return t->slot != 0;
}

static void put(struct timer *t, size_t slot)
{
    timers.heap[slot] = t;
    t->slot = slot;
}

static void sift_up(struct timer *t, size_t slot)
{
    for (; slot > 1 && timers.heap[slot / 2]->at_ms > t->at_ms; slot /= 2)
        put(timers.heap[slot / 2], slot);
    put(t, slot);
}

static void sift_down(struct timer *t, size_t slot)
{
    for (;;) {
        size_t child = slot * 2;

        if (child > timers.count)
            break;
        if (child < timers.count && timers.heap[child + 1]->at_ms < timers.heap[child]->at_ms)
            child++;
        if (timers.heap[child]->at_ms >= t->at_ms)
            break;
        put(timers.heap[child], slot);
        slot = child;
    }
    put(t, slot);
}

/* The turn runs what is due. libuv since 1.45 fires timers at the end of an iteration and may find nothing alive
 * right after: waking keeps the loop until the turn has looked. */
static void on_uv_timer(UNUSED uv_timer_t *handle)
{
    loop_wake();
}

static void arm(void)
{
    uint64_t left = deadline_left_ms((struct deadline){timers.heap[1]->at_ms});

    timers.armed_for_ms = timers.heap[1]->at_ms;
    uv_update_time(loop_uv()); /* else the delay counts from the beginning of the turn */
    uv_timer_start(&timers.uv, on_uv_timer, left, 0);
}

static bool is_armed(void)
{
    return uv_is_active((uv_handle_t *)&timers.uv);
}

static void make_room(void)
{
    if (timers.count + 1 < timers.capacity)
        return;
    timers.capacity = timers.capacity == 0 ? 64 : timers.capacity * 2;
    timers.heap = reallocarray(timers.heap, timers.capacity, sizeof(struct timer *));
    if (timers.heap == NULL)
        abort();
}

void timer_start(struct timer *t, struct deadline at)
{
    assert(loop_is_here());
    timer_stop(t);
    if (at.at_ms == UINT64_MAX)
        return;
    t->at_ms = at.at_ms;
    make_room();
    sift_up(t, ++timers.count);
    if (!is_armed()) /* later changes wait for timers_before_wait, once a turn */
        arm();
}

void timer_stop(struct timer *t)
{
    struct timer *last;
    size_t slot = t->slot;

    if (slot == 0)
        return;
    t->slot = 0;
    last = timers.heap[timers.count--];
    if (last == t)
        return;
    if (slot > 1 && timers.heap[slot / 2]->at_ms > last->at_ms)
        sift_up(last, slot);
    else
        sift_down(last, slot);
}

void timers_run_due(void)
{
    /* a timer that starts itself again for now has its turn in the next turn */
    for (size_t most = timers.count; most > 0 && timers.count > 0; most--) {
        struct timer *t = timers.heap[1];

        if (!deadline_is_past((struct deadline){t->at_ms}))
            return;
        timer_stop(t);
        t->fn(t);
    }
}

void timers_before_wait(void)
{
    if (timers.count == 0) {
        uv_timer_stop(&timers.uv);
        return;
    }
    if (!is_armed() || timers.heap[1]->at_ms < timers.armed_for_ms)
        arm();
}

int timers_init(void)
{
    return uv_timer_init(loop_uv(), &timers.uv);
}

void timers_release(void)
{
    for (size_t i = 1; i <= timers.count; i++)
        timers.heap[i]->slot = 0;
    free(timers.heap);
    timers.heap = NULL;
    timers.count = timers.capacity = 0;
}
