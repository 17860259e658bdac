/* fiber_test.c - fibers, timers, groups, mutexes and events; where time matters, on a faked clock.
 */
#include "rt/fiber.h"

#include "base/test.h"
#include "rt/context.h"
#include "rt/loop.h"
#include "rt/timer.h"

#define EPOCH_MS 1700000000000

struct trace {
    struct test *t;
    char text[64];
    size_t n;
    struct fiber_mutex mutex;
    struct fiber_event event;
    struct fiber *fiber;
    int result;
    struct fault why;
    unsigned count;
};

static void note(struct trace *tr, char c)
{
    if (tr->n < sizeof tr->text - 1)
        tr->text[tr->n++] = c;
}

static void start(struct trace *tr, void (*fn)(void *), void *arg)
{
    struct test *t = tr->t;
    struct fault why;

    CHECK_OK(fiber_start("helper", fn, arg, &why), &why);
}

static void yield_often(void)
{
    for (int i = 0; i < 20; i++)
        fiber_yield();
}

/* --- sleeping and the clock ------------------------------------------------------------------- */

static void sleeper(void *arg)
{
    struct trace *tr = arg;

    tr->result = fiber_sleep_until(deadline_in_ms(1000), &tr->why);
    note(tr, 'w');
}

static void clock_driver(void *arg)
{
    struct trace *tr = arg;

    start(tr, sleeper, tr);
    fiber_yield();
    clock_advance(999);
    yield_often();
    note(tr, '-');
    clock_advance(1);
    while (tr->n < 2)
        fiber_yield();
}

TEST(fiber, sleeps_until_the_faked_clock_says_so)
{
    struct trace tr = {.t = t, .result = 1};

    clock_fake(EPOCH_MS);
    loop_run_fiber(clock_driver, &tr);
    CHECK_STR("-w", tr.text);
    CHECK_INT(0, tr.result);
}

/* Nobody is awake but the waiter of the event, and a timer moves the clock for it. */
static void on_poke(struct timer *timer)
{
    (void)timer;
    clock_advance(60000);
}

static void waits_long(void *arg)
{
    struct trace *tr = arg;
    struct test *t = tr->t;
    struct timer poke;

    timer_init(&poke, on_poke, NULL);
    timer_start(&poke, deadline_in_ms(0));
    CHECK(timer_is_running(&poke));
    CHECK_FAULT(FAULT_TIMEOUT, fiber_event_wait(&tr->event, deadline_in_ms(50000), &tr->why),
                &tr->why);
    CHECK(!timer_is_running(&poke));
}

TEST(fiber, advancing_the_clock_wakes_a_sleeping_loop)
{
    struct trace tr = {.t = t};

    clock_fake(EPOCH_MS);
    loop_run_fiber(waits_long, &tr);
}

struct timed {
    struct timer timer;
    struct trace *tr;
    char name;
};

static void on_timed(struct timer *timer)
{
    struct timed *timed = CONTAINER_OF(timer, struct timed, timer);

    note(timed->tr, timed->name);
}

static void heap_driver(void *arg)
{
    struct trace *tr = arg;
    struct timed timed[10];
    const unsigned at[10] = {50, 20, 90, 10, 70, 30, 0, 60, 80, 40};

    for (unsigned i = 0; i < 10; i++) {
        timed[i].tr = tr;
        timed[i].name = (char)('0' + at[i] / 10);
        timer_init(&timed[i].timer, on_timed, NULL);
        timer_start(&timed[i].timer, deadline_in_ms(1 + at[i]));
    }
    timer_stop(&timed[4].timer);
    timer_stop(&timed[4].timer);
    timer_start(&timed[3].timer, deadline_in_ms(75)); /* moved from 10 to 75 */
    while (tr->n < 9) {
        clock_advance(5);
        yield_often();
    }
}

TEST(timer, fires_in_order_and_can_be_moved_and_stopped)
{
    struct trace tr = {.t = t};

    clock_fake(EPOCH_MS);
    loop_run_fiber(heap_driver, &tr);
    CHECK_STR("023456189", tr.text);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void cancel_it(void *arg)
{
    struct trace *tr = arg;

    fiber_cancel(tr->fiber);
}

static void canceled(void *arg)
{
    struct trace *tr = arg;
    struct test *t = tr->t;

    tr->fiber = fiber_self();
    start(tr, cancel_it, tr);
    CHECK(!fiber_is_canceled());
    CHECK_FAULT(FAULT_CANCELED, fiber_sleep_until(DEADLINE_NEVER, &tr->why), &tr->why);
    CHECK(fiber_is_canceled());
    CHECK_FAULT(FAULT_CANCELED, fiber_event_wait(&tr->event, DEADLINE_NEVER, &tr->why), &tr->why);
    CHECK_FAULT(FAULT_CANCELED, fiber_mutex_lock(&tr->mutex, DEADLINE_NEVER, &tr->why), &tr->why);
    CHECK_FAULT(FAULT_CANCELED, fiber_sleep_until(deadline_in_ms(1), &tr->why), &tr->why);
    fiber_yield();
}

TEST(fiber, cancelled_once_fails_every_wait)
{
    struct trace tr = {.t = t};

    loop_run_fiber(canceled, &tr);
    CHECK(tr.fiber != NULL && fiber_self() == NULL);
}

/* --- suspend and resume ----------------------------------------------------------------------- */

static void resume_it(void *arg)
{
    struct trace *tr = arg;

    fiber_resume(tr->fiber, 7);
}

static void suspends(void *arg)
{
    struct trace *tr = arg;
    struct test *t = tr->t;

    tr->fiber = fiber_self();
    fiber_resume(tr->fiber, 3); /* kept */
    CHECK_INT(3, fiber_suspend(DEADLINE_NEVER));
    start(tr, resume_it, tr);
    CHECK_INT(7, fiber_suspend(DEADLINE_NEVER));
    start(tr, resume_it, tr);
    fiber_yield(); /* resumed while ready: kept too */
    CHECK_INT(7, fiber_suspend(deadline_in_ms(1)));
    CHECK_INT(FIBER_TIMEOUT, fiber_suspend(deadline_in_ms(1)));
    CHECK_INT(FIBER_TIMEOUT, fiber_suspend(deadline_in_ms(0)));
}

TEST(fiber, suspend_returns_what_resume_gave)
{
    struct trace tr = {.t = t};

    loop_run_fiber(suspends, &tr);
}

/* --- mutex ------------------------------------------------------------------------------------ */

struct locker {
    struct trace *tr;
    char name;
    uint64_t wait_ms;
    unsigned rounds;
};

static void lock_and_note(void *arg)
{
    struct locker *l = arg;
    struct fault why;

    for (unsigned i = 0; i < l->rounds; i++) {
        struct deadline until = l->wait_ms == 0 ? DEADLINE_NEVER : deadline_in_ms(l->wait_ms);

        if (fiber_mutex_lock(&l->tr->mutex, until, &why) < 0) {
            note(l->tr, why.code == FAULT_TIMEOUT ? '!' : '?');
            return;
        }
        note(l->tr, l->name);
        fiber_yield();
        fiber_mutex_unlock(&l->tr->mutex);
    }
}

static void mutex_driver(void *arg)
{
    struct trace *tr = arg;
    struct locker a = {tr, 'a', 0, 3}, b = {tr, 'b', 0, 3}, c = {tr, 'c', 0, 3};
    struct fiber_group g;
    struct fault why;

    fiber_group_init(&g);
    tr->result = fiber_group_start(&g, "a", lock_and_note, &a, &why) |
                 fiber_group_start(&g, "b", lock_and_note, &b, &why) |
                 fiber_group_start(&g, "c", lock_and_note, &c, &why);
    fiber_group_join(&g);
}

TEST(fiber_mutex, serves_in_the_order_of_asking)
{
    struct trace tr = {.t = t};

    fiber_mutex_init(&tr.mutex);
    loop_run_fiber(mutex_driver, &tr);
    CHECK_INT(0, tr.result);
    CHECK_STR("abcabcabc", tr.text);
    CHECK(tr.mutex.owner == NULL && tr.mutex.first == NULL);
}

static void mutex_timeout_driver(void *arg)
{
    struct trace *tr = arg;
    struct locker late = {tr, 'l', 10, 1}, patient = {tr, 'p', 0, 1};
    struct fiber_group g;
    struct fault why;

    fiber_group_init(&g);
    tr->result = fiber_mutex_lock(&tr->mutex, DEADLINE_NEVER, &why) |
                 fiber_group_start(&g, "late", lock_and_note, &late, &why) |
                 fiber_group_start(&g, "patient", lock_and_note, &patient, &why);
    fiber_yield();
    clock_advance(11);
    yield_often();
    fiber_mutex_unlock(&tr->mutex);
    fiber_group_join(&g);
}

TEST(fiber_mutex, a_waiter_that_gave_up_does_not_get_it)
{
    struct trace tr = {.t = t};

    clock_fake(EPOCH_MS);
    loop_run_fiber(mutex_timeout_driver, &tr);
    CHECK_STR("!p", tr.text);
}

/* --- events ----------------------------------------------------------------------------------- */

static void wait_event(void *arg)
{
    struct trace *tr = arg;
    struct fault why;

    if (fiber_event_wait(&tr->event, DEADLINE_NEVER, &why) == 0)
        note(tr, 'w');
}

static void event_driver(void *arg)
{
    struct trace *tr = arg;

    fiber_event_signal(&tr->event); /* nobody waits: not remembered */
    for (int i = 0; i < 5; i++)
        start(tr, wait_event, tr);
    yield_often();
    fiber_event_signal(&tr->event);
    yield_often();
    note(tr, '-');
    fiber_event_broadcast(&tr->event);
    yield_often();
}

TEST(fiber_event, signal_wakes_one_and_broadcast_all)
{
    struct trace tr = {.t = t};

    loop_run_fiber(event_driver, &tr);
    CHECK_STR("w-wwww", tr.text);
}

/* A signal and the deadline fall into the same turn: the signal must not be lost. */
static void late_waiter(void *arg)
{
    struct trace *tr = arg;

    tr->result = fiber_event_wait(&tr->event, deadline_in_ms(10), &tr->why);
}

static void race_driver(void *arg)
{
    struct trace *tr = arg;

    start(tr, late_waiter, tr);
    fiber_yield();
    fiber_event_signal(&tr->event);
    clock_advance(10);
    yield_often();
}

TEST(fiber_event, a_signal_wins_over_a_deadline_of_the_same_turn)
{
    struct trace tr = {.t = t, .result = 1};

    clock_fake(EPOCH_MS);
    loop_run_fiber(race_driver, &tr);
    CHECK_INT(0, tr.result);
}

/* --- groups and many fibers ------------------------------------------------------------------- */

static void group_child(void *arg)
{
    struct trace *tr = arg;
    struct fault why;

    (void)fiber_event_wait(&tr->event, DEADLINE_NEVER, &why);
    fiber_yield();
    tr->count++;
}

static void group_driver(void *arg)
{
    struct trace *tr = arg;
    struct test *t = tr->t;
    struct fiber_group g;

    fiber_group_init(&g);
    for (int i = 0; i < 10; i++)
        CHECK_OK(fiber_group_start(&g, "child", group_child, tr, &tr->why), &tr->why);
    fiber_yield();
    fiber_group_cancel(&g);
    fiber_cancel(fiber_self()); /* joins all the same */
    fiber_group_join(&g);
    CHECK_INT(10, tr->count);
}

TEST(fiber_group, join_waits_for_cancelled_children)
{
    struct trace tr = {.t = t};

    loop_run_fiber(group_driver, &tr);
}

static void many_driver(void *arg)
{
    struct trace *tr = arg;
    struct test *t = tr->t;
    struct fiber_group g;
    struct fiber_stats stats;

    fiber_group_init(&g);
    for (int i = 1; i < FIBERS_MAX; i++)
        CHECK_OK(fiber_group_start(&g, "child", group_child, tr, &tr->why), &tr->why);
    CHECK_FAULT(FAULT_LIMIT, fiber_start("one too many", group_child, tr, &tr->why), &tr->why);
    fiber_yield();
    fiber_event_broadcast(&tr->event);
    fiber_group_join(&g);
    CHECK_INT(FIBERS_MAX - 1, tr->count);
    fiber_get_stats(&stats);
    CHECK_INT(1, stats.running);
    CHECK(stats.peak == FIBERS_MAX && stats.pooled > 0 && stats.pooled < FIBERS_MAX);
    CHECK(stats.stack_peak_bytes > 0);
}

TEST(fiber, runs_as_many_as_it_promises_and_refuses_the_next)
{
    struct trace tr = {.t = t};

#ifdef RT_TSAN
    return; /* each stack costs TSan milliseconds */
#endif
    loop_run_fiber(many_driver, &tr);
}

static void count_one(void *arg)
{
    ((struct trace *)arg)->count++;
}

static void starts_and_ends(void *arg)
{
    struct trace *tr = arg;
    struct fiber_group g;
    struct fault why;

    fiber_group_init(&g);
    for (int i = 0; i < 20000; i++) {
        if (fiber_group_start(&g, "brief", count_one, tr, &why) < 0)
            return;
        if (i % 100 == 99)
            fiber_group_join(&g);
    }
    fiber_group_join(&g);
}

TEST(fiber, stacks_are_used_again)
{
    struct trace tr = {.t = t};

    loop_run_fiber(starts_and_ends, &tr);
    CHECK_INT(20000, tr.count);
}
