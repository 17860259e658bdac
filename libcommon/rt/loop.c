/* loop.c - the event loop: turns, posts from other threads, and the fresh loops of unit tests.
 *
 * Owns the uv_loop_t, the handles that drive a turn and the queue of posted calls. Called by
 * everything in rt. Only loop_init can fail. Nothing here suspends.
 */
#include "rt/loop.h"

#include <assert.h>
#include <pthread.h>
#include "rt/fiber.h"
#include "rt/loop_internal.h"
#include "rt/offload.h"

#define ROUNDS_PER_TURN 8 /* fibers waking each other, before sockets get a look again */

struct post {
    void (*fn)(void *arg);
    void *arg;
    struct post *next;
};

static struct {
    uv_loop_t uv;
    uv_prepare_t turn;
    uv_idle_t hurry; /* active: the turn after this one comes without waiting */
    uv_async_t async;
    unsigned holds;
    bool is_open, wake;
    pthread_t thread;
    struct loop_task *tasks, **tasks_end;
    pthread_mutex_t lock; /* guards the three below */
    struct post *posts, **posts_end;
    bool takes_posts;
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER};

uv_loop_t *loop_uv(void)
{
    assert(loop.is_open);
    return &loop.uv;
}

bool loop_is_here(void)
{
    return loop.is_open && pthread_equal(loop.thread, pthread_self());
}

static void on_hurry(UNUSED uv_idle_t *handle)
{
    /* being active is its whole job */
}

void loop_wake(void)
{
    loop.wake = true;
    if (!uv_is_active((uv_handle_t *)&loop.hurry))
        uv_idle_start(&loop.hurry, on_hurry);
}

void loop_hold(void)
{
    if (loop.holds++ == 0)
        uv_ref((uv_handle_t *)&loop.async);
}

void loop_release(void)
{
    assert(loop.holds > 0);
    if (--loop.holds == 0)
        uv_unref((uv_handle_t *)&loop.async);
}

void loop_at_turn_end(struct loop_task *task)
{
    if (task->slot != NULL)
        return;
    task->next = NULL;
    task->slot = loop.tasks_end;
    *loop.tasks_end = task;
    loop.tasks_end = &task->next;
    loop_wake();
}

void loop_task_drop(struct loop_task *task)
{
    if (task->slot == NULL)
        return;
    *task->slot = task->next;
    if (task->next != NULL)
        task->next->slot = task->slot;
    else
        loop.tasks_end = task->slot;
    task->slot = NULL;
}

static void run_tasks(void)
{
    struct loop_task *last =
        loop.tasks == NULL ? NULL : CONTAINER_OF(loop.tasks_end, struct loop_task, next);
    struct loop_task *task;

    while ((task = loop.tasks) != NULL) {
        loop_task_drop(task);
        task->fn(task);
        if (task == last) /* what tasks asked for meanwhile waits for the next turn */
            break;
    }
}

static void on_turn(UNUSED uv_prepare_t *handle)
{
    loop.wake = false;
    timers_run_due();
    for (int i = 0; i < ROUNDS_PER_TURN && fibers_are_ready(); i++)
        fibers_run_ready();
    run_tasks();
    timers_before_wait();
    if (loop.wake || fibers_are_ready() || loop.tasks != NULL)
        loop_wake();
    else
        uv_idle_stop(&loop.hurry);
}

static void on_posts(UNUSED uv_async_t *handle)
{
    struct post *first, *next;

    pthread_mutex_lock(&loop.lock);
    first = loop.posts;
    loop.posts = NULL;
    loop.posts_end = &loop.posts;
    pthread_mutex_unlock(&loop.lock);

    for (; first != NULL; first = next) {
        next = first->next;
        first->fn(first->arg);
        free(first);
    }
}

void loop_post(void (*fn)(void *arg), void *arg)
{
    struct post *post = malloc(sizeof *post);
    bool was_empty;

    if (post == NULL)
        abort();
    *post = (struct post){fn, arg, NULL};
    pthread_mutex_lock(&loop.lock);
    assert(loop.takes_posts);
    was_empty = loop.posts == NULL;
    *loop.posts_end = post;
    loop.posts_end = &post->next;
    if (was_empty) /* one wake-up for a batch */
        uv_async_send(&loop.async);
    pthread_mutex_unlock(&loop.lock);
    if (loop_is_here())
        loop_wake();
}

static void on_clock_moved(void)
{
    if (loop_is_here())
        loop_wake();
}

int loop_init(struct fault *why)
{
    int r;

    assert(!loop.is_open);
    r = uv_loop_init(&loop.uv);
    if (r < 0)
        return fault_set(why, FAULT_IO, "uv_loop_init: %s", uv_strerror(r));
    r = uv_async_init(&loop.uv, &loop.async, on_posts);
    if (r < 0) {
        uv_loop_close(&loop.uv);
        return fault_set(why, FAULT_IO, "uv_async_init: %s", uv_strerror(r));
    }
    uv_unref((uv_handle_t *)&loop.async);
    uv_prepare_init(&loop.uv, &loop.turn);
    uv_prepare_start(&loop.turn, on_turn);
    uv_unref((uv_handle_t *)&loop.turn);
    uv_idle_init(&loop.uv, &loop.hurry);
    loop.thread = pthread_self();
    loop.tasks = NULL;
    loop.tasks_end = &loop.tasks;
    loop.holds = 0;
    pthread_mutex_lock(&loop.lock);
    loop.posts = NULL;
    loop.posts_end = &loop.posts;
    loop.takes_posts = true;
    pthread_mutex_unlock(&loop.lock);
    loop.is_open = true;
    timers_init();
    fibers_init();
    clock_on_advance(on_clock_moved);
    return 0;
}

void loop_run(void)
{
    assert(loop_is_here());
    uv_run(&loop.uv, UV_RUN_DEFAULT);
}

void loop_stop(void)
{
    uv_stop(&loop.uv);
}

static void close_handle(uv_handle_t *handle, UNUSED void *arg)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_deinit(void)
{
    if (!loop.is_open)
        return;
    assert(loop_is_here());
    clock_on_advance(NULL);
    offload_shutdown(); /* its threads post: they go first, while posts are taken */
    on_posts(&loop.async);
    timers_release();
    pthread_mutex_lock(&loop.lock);
    loop.takes_posts = false;
    pthread_mutex_unlock(&loop.lock);
    uv_walk(&loop.uv, close_handle, NULL);
    uv_prepare_stop(&loop.turn);
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop.uv) != 0)
        abort();
    fibers_release();
    loop.is_open = false;
}

/* --- for unit tests: a loop that must end by itself ------------------------------------------- */

#define LEAK_TICK_MS 2000

/* Nothing but handles is left and nothing happened for a whole tick: somebody forgot a close. */
static void on_leak_tick(uv_timer_t *tick)
{
    uint64_t *switches_before = tick->data;
    struct fiber_stats now;

    fiber_get_stats(&now);
    if (now.running == 0 && loop.holds == 0 && now.switches == *switches_before) {
        fprintf(stderr, "loop_run_fiber: the fibers have ended, these handles have not:\n");
        uv_print_active_handles(&loop.uv, stderr);
        abort();
    }
    *switches_before = now.switches;
}

static void count_handle(UNUSED uv_handle_t *handle, void *count)
{
    ++*(unsigned *)count;
}

void loop_run_fiber(void (*fn)(void *arg), void *arg)
{
    struct fault why;
    uv_timer_t tick;
    uint64_t switches = UINT64_MAX;
    unsigned before = 0, after = 0;
    struct fiber_stats stats;

    if (loop_init(&why) < 0) {
        fprintf(stderr, "loop_run_fiber: %s\n", why.text);
        abort();
    }
    tick.data = &switches;
    uv_timer_init(&loop.uv, &tick);
    uv_timer_start(&tick, on_leak_tick, LEAK_TICK_MS, LEAK_TICK_MS);
    uv_unref((uv_handle_t *)&tick);
    uv_walk(&loop.uv, count_handle, &before);
    if (fiber_start("test", fn, arg, &why) < 0)
        abort();
    loop_run();
    fiber_get_stats(&stats);
    uv_walk(&loop.uv, count_handle, &after);
    if (stats.running != 0 || after != before) {
        fprintf(stderr, "loop_run_fiber: %u fibers and %u handles left behind\n", stats.running,
                after - before);
        uv_print_all_handles(&loop.uv, stderr);
        abort();
    }
    loop_deinit();
}
