/* fiber_sync.c - fibers waiting for one another: groups, mutexes, events.
 *
 * Owns nothing: each fiber has one place to stand in the queue of what it waits for. Whoever wakes
 * a waiter takes it out of the queue first and marks it, so a hand-over is never lost to a deadline
 * or a cancellation that comes in the same turn. Fails by deadline or cancellation only.
 */
#include <assert.h>
#include "rt/fiber_internal.h"

/* --- queues of waiters ------------------------------------------------------------------------ */

static void queue_add(struct fiber_wait **first, struct fiber_wait **last, struct fiber_wait *w)
{
    w->prev = *last;
    w->next = NULL;
    if (*last != NULL)
        (*last)->next = w;
    else
        *first = w;
    *last = w;
}

static void queue_remove(struct fiber_wait **first, struct fiber_wait **last, struct fiber_wait *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        *first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        *last = w->prev;
}

static struct fiber *queue_grant_first(struct fiber_wait **first, struct fiber_wait **last)
{
    struct fiber *f = CONTAINER_OF(*first, struct fiber, wait);

    queue_remove(first, last, &f->wait);
    f->wait.granted = true;
    fiber_resume(f, 0);
    return f;
}

static int queue_wait(struct fiber_wait **first, struct fiber_wait **last, struct deadline until,
                      struct fault *why)
{
    struct fiber_wait *w = &fiber_self()->wait;
    int r = 0;

    if (fiber_is_canceled())
        return fiber_suspend_fault(FIBER_CANCELED, why);
    w->granted = false;
    queue_add(first, last, w);
    while (!w->granted && r >= 0)
        r = fiber_suspend(until);
    if (w->granted)
        return 0;
    queue_remove(first, last, w);
    return fiber_suspend_fault(r, why);
}

/* --- groups ----------------------------------------------------------------------------------- */

void fiber_group_init(struct fiber_group *g)
{
    *g = (struct fiber_group){NULL, 0, NULL};
}

int fiber_group_start(struct fiber_group *g, const char *name, void (*fn)(void *arg), void *arg,
                      struct fault *why)
{
    int r = fiber_launch(g, name, fn, arg, why);

    if (r < 0)
        return r;
    g->running++;
    return 0;
}

void fiber_group_left(struct fiber *f)
{
    struct fiber_group *g = f->group;

    f->group = NULL;
    if (--g->running == 0 && g->waiter != NULL)
        fiber_resume(g->waiter, 0);
}

void fiber_group_cancel(struct fiber_group *g)
{
    for (struct fiber_link *l = g->first; l != NULL; l = l->next)
        fiber_cancel(CONTAINER_OF(l, struct fiber, in_group));
}

void fiber_group_join(struct fiber_group *g)
{
    assert(g->waiter == NULL);
    while (g->running > 0) {
        g->waiter = fiber_self();
        (void)fiber_suspend_firmly(DEADLINE_NEVER);
    }
    g->waiter = NULL;
}

/* --- mutex ------------------------------------------------------------------------------------ */

void fiber_mutex_init(struct fiber_mutex *m)
{
    *m = (struct fiber_mutex){NULL, NULL, NULL};
}

int fiber_mutex_lock(struct fiber_mutex *m, struct deadline until, struct fault *why)
{
    struct fiber *self = fiber_self();
    int r;

    assert(self != NULL && m->owner != self);
    if (m->owner == NULL && !fiber_is_canceled()) {
        m->owner = self;
        return 0;
    }
    r = queue_wait(&m->first, &m->last, until, why);
    assert(r < 0 || m->owner == self); /* the unlocker made us the owner */
    return r;
}

void fiber_mutex_unlock(struct fiber_mutex *m)
{
    assert(m->owner == fiber_self());
    m->owner = m->first != NULL ? queue_grant_first(&m->first, &m->last) : NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

void fiber_event_init(struct fiber_event *e)
{
    *e = (struct fiber_event){NULL, NULL};
}

int fiber_event_wait(struct fiber_event *e, struct deadline until, struct fault *why)
{
    return queue_wait(&e->first, &e->last, until, why);
}

void fiber_event_signal(struct fiber_event *e)
{
    if (e->first != NULL)
        (void)queue_grant_first(&e->first, &e->last);
}

void fiber_event_broadcast(struct fiber_event *e)
{
    struct fiber_wait *last = e->last;

    while (e->first != NULL) {
        bool was_last = e->first == last;

        (void)queue_grant_first(&e->first, &e->last);
        if (was_last)
            break;
    }
}
