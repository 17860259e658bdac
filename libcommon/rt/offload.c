/* offload.c - bounded pools of threads for blocking work (see offload.h).
 *
 * Owns the threads, one queue per pool and one list of finished work. offload_run is called by
 * fibers and suspends; it fails when the queue is full, or when the deadline or a cancellation
 * comes before the work has ended.
 *
 * Who may touch a struct offload: its state belongs to the pool's lock, its waiter to the loop
 * thread, the rest to the pool's thread from QUEUED to DONE and to the loop thread before and
 * after.
 */
#include "rt/offload.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include "rt/fiber_internal.h"
#include "rt/loop_internal.h"

#define THREADS_MAX 64
#define QUEUE_DEFAULT 1024

enum work_state { WORK_QUEUED = 1, WORK_RUNNING, WORK_DONE };

struct pool {
    const char *name;
    unsigned threads_max, queue_max;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct offload *first, **last;
    struct offload_stats stats;
    unsigned idle;
    bool stopping;
    pthread_t threads[THREADS_MAX];
};

#define POOL(name_, threads_)                                                                      \
    {                                                                                              \
        .name = (name_), .threads_max = (threads_), .queue_max = QUEUE_DEFAULT,                    \
        .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER                        \
    }

static struct pool pools[OFFLOAD_POOL_COUNT] = {
    [OFFLOAD_DB] = POOL("db", 5),
    [OFFLOAD_CPU] = POOL("cpu", 2),
    [OFFLOAD_FILE] = POOL("file", 2),
};

static struct {
    pthread_mutex_t lock;
    struct offload *first, **last; /* done, the loop does not know yet */
} done = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- the pool's side -------------------------------------------------------------------------- */

/* On the loop thread: wakes who waits for finished work, discards what nobody waits for. */
static void collect(UNUSED void *arg)
{
    struct offload *work, *next;

    pthread_mutex_lock(&done.lock);
    work = done.first;
    done.first = NULL;
    pthread_mutex_unlock(&done.lock);

    for (; work != NULL; work = next) {
        next = work->next;
        loop_release();
        if (work->waiter != NULL)
            fiber_resume(work->waiter, 0);
        else if (work->discard != NULL)
            work->discard(work);
    }
}

static void hand_back(struct offload *work)
{
    bool was_empty;

    work->next = NULL;
    pthread_mutex_lock(&done.lock);
    was_empty = done.first == NULL;
    if (was_empty)
        done.last = &done.first;
    *done.last = work;
    done.last = &work->next;
    pthread_mutex_unlock(&done.lock);
    if (was_empty) /* one post for all that ends until the loop comes by */
        loop_post(collect, NULL);
}

static struct offload *take_work(struct pool *p)
{
    struct offload *work = p->first;

    if (work == NULL)
        return NULL;
    p->first = work->next;
    if (p->first == NULL)
        p->last = &p->first;
    p->stats.queued--;
    p->stats.busy++;
    work->state = WORK_RUNNING;
    return work;
}

static struct offload *wait_for_work(struct pool *p)
{
    while (p->first == NULL && !p->stopping) {
        p->idle++;
        pthread_cond_wait(&p->more, &p->lock);
        p->idle--;
    }
    return take_work(p);
}

/* With the lock held, before and after. The next piece of work that waits already is taken under the
 * lock that ends the one before. */
static void run_all(struct pool *p, struct offload *work)
{
    struct offload *ended;

    pthread_mutex_unlock(&p->lock);
    while (work != NULL) {
        work->run(work);
        pthread_mutex_lock(&p->lock);
        work->state = WORK_DONE;
        p->stats.busy--;
        p->stats.done++;
        ended = work;
        work = take_work(p);
        pthread_mutex_unlock(&p->lock);
        hand_back(ended);
        if (work == NULL)
            pthread_mutex_lock(&p->lock);
    }
}

static void *thread_main(void *arg)
{
    struct pool *p = arg;
    struct offload *work;

    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    while ((work = wait_for_work(p)) != NULL)
        run_all(p, work);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Threads start when work first needs them. Signals are the loop thread's business. */
static void start_thread(struct pool *p)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&p->threads[p->stats.threads], NULL, thread_main, p) == 0)
        p->stats.threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- the fiber's side ------------------------------------------------------------------------- */

static bool enqueue(struct pool *p, struct offload *work)
{
    bool fits, wake;

    work->next = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->first == NULL)
        p->last = &p->first;
    /* what an idle thread will take at once does not count as waiting */
    fits = p->stats.queued < p->queue_max + p->idle + (p->threads_max - p->stats.threads);
    if (fits && p->stats.queued >= p->idle && p->stats.threads < p->threads_max)
        start_thread(p);
    fits = fits && p->stats.threads > 0;
    if (fits) {
        work->state = WORK_QUEUED;
        *p->last = work;
        p->last = &work->next;
        if (++p->stats.queued > p->stats.queued_peak)
            p->stats.queued_peak = p->stats.queued;
    } else {
        p->stats.refused++;
    }
    wake = fits && p->idle > 0;
    pthread_mutex_unlock(&p->lock);
    if (wake) /* after the lock: whoever wakes wants it */
        pthread_cond_signal(&p->more);
    return fits;
}

/* Takes work that has not begun back out of the queue. Returns the state it was found in. */
static enum work_state withdraw(struct pool *p, struct offload *work)
{
    enum work_state found;

    pthread_mutex_lock(&p->lock);
    found = (enum work_state)work->state;
    if (found == WORK_QUEUED) {
        struct offload **at = &p->first;

        while (*at != work)
            at = &(*at)->next;
        *at = work->next;
        if (*at == NULL)
            p->last = at;
        p->stats.queued--;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static void discard(struct offload *work)
{
    if (work->discard != NULL)
        work->discard(work);
}

/* The waiter gives up with `r`. 0: the work has ended after all and is the waiter's. */
static int give_up(struct offload *work, int r, struct fault *why)
{
    switch (withdraw(&pools[work->pool], work)) {
    case WORK_DONE: /* collect() is on its way here */
        (void)fiber_suspend_firmly(DEADLINE_NEVER);
        return 0;
    case WORK_RUNNING:
        work->waiter = NULL; /* collect() discards it */
        break;
    case WORK_QUEUED:
        loop_release();
        discard(work);
        break;
    }
    return fiber_suspend_fault(r, why);
}

int offload_run(enum offload_pool pool, struct offload *work, struct deadline until,
                struct fault *why)
{
    struct pool *p = &pools[pool];
    bool firmly = until.at_ms == UINT64_MAX;
    int r;

    assert(fiber_self() != NULL);
    if (!firmly && fiber_is_canceled()) {
        discard(work);
        return fiber_suspend_fault(FIBER_CANCELED, why);
    }
    work->waiter = fiber_self();
    work->pool = (int)pool;
    if (!enqueue(p, work)) {
        discard(work);
        return fault_set(why, FAULT_UNAVAILABLE, "%s pool: %u waiting already", p->name,
                         p->queue_max);
    }
    loop_hold();
    r = firmly ? fiber_suspend_firmly(until) : fiber_suspend(until);
    return r < 0 ? give_up(work, r, why) : 0;
}

/* --- start and end ---------------------------------------------------------------------------- */

void offload_configure(enum offload_pool pool, unsigned threads, unsigned queue_max)
{
    struct pool *p = &pools[pool];

    assert(p->stats.threads == 0);
    if (threads > 0)
        p->threads_max = threads < THREADS_MAX ? threads : THREADS_MAX;
    if (queue_max > 0)
        p->queue_max = queue_max;
}

void offload_get_stats(enum offload_pool pool, struct offload_stats *out)
{
    pthread_mutex_lock(&pools[pool].lock);
    *out = pools[pool].stats;
    pthread_mutex_unlock(&pools[pool].lock);
}

void offload_shutdown(void)
{
    for (struct pool *p = pools; p < pools + OFFLOAD_POOL_COUNT; p++) {
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        pthread_cond_broadcast(&p->more);
        pthread_mutex_unlock(&p->lock);
        for (unsigned i = 0; i < p->stats.threads; i++)
            pthread_join(p->threads[i], NULL);
        p->stats.threads = 0;
        p->stopping = false;
    }
}
