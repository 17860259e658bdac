/* work.c - units of work on a mailbox: one at a time on its engine, waiting writes in one transaction with one fsync.
 *
 * Owns      the queue of each box. Called by the actions. Fails with what the engine says; after a failed commit all units of the
 *           group fail, and no write is taken until the engine has recovered; reads go on. Suspends until the unit is done.
 */
#include "sqlite.h"

struct pool_work {
    struct offload offload;
    int (*fn)(void *arg, struct fault *why);
    void *arg;
    int result;
    struct fault why;
};

static void pool_work_run(struct offload *work)
{
    struct pool_work *w = CONTAINER_OF(work, struct pool_work, offload);

    w->result = w->fn(w->arg, &w->why);
}

static void pool_work_discard(struct offload *work)
{
    free(CONTAINER_OF(work, struct pool_work, offload));
}

int pool_run(enum offload_pool pool, int (*fn)(void *arg, struct fault *why), void *arg, struct fault *why)
{
    struct pool_work *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        abort();
    *w = (struct pool_work){ .offload = { .run = pool_work_run, .discard = pool_work_discard }, .fn = fn, .arg = arg };
    /* nobody cancels these fibers and there is no deadline: on return it has run, or was refused at once */
    if (offload_run(pool, &w->offload, DEADLINE_NEVER, why) < 0)
        return -1;
    r = w->result;
    if (r < 0 && why != NULL)
        *why = w->why;
    free(w);
    return r;
}

/* ---- one group of units, on a db thread ------------------------------------------------------------ */

struct group {
    struct engine *engine;
    struct unit *first;
    bool failed;                               /* the commit */
    bool changed;
    uint64_t modseq, used_bytes;
};

/* An error of the disk while writing is not the client's doing and may pass. */
static void soften(struct fault *why)
{
    if (why->code == FAULT_IO)
        why->code = FAULT_UNAVAILABLE;
}

static void run_item(struct engine *e, struct unit *u)
{
    u->result = engine_item_begin(e, &u->why);
    if (u->result < 0)
        return;
    u->result = u->run(e, u->arg, &u->why);
    if (u->result >= 0 && engine_item_commit(e, &u->why) < 0)
        u->result = -1;
    if (u->result < 0) {
        engine_item_abort(e);
        soften(&u->why);
    }
}

static void fail_group(struct unit *first, struct fault *why)
{
    if (why->code != FAULT_DISK_FULL)
        why->code = FAULT_UNAVAILABLE;         /* the sender may try again */
    for (struct unit *u = first; u != NULL; u = u->next) {
        if (u->result < 0)
            continue;
        u->result = -1;
        u->why = *why;
    }
}

static int group_run(void *arg, UNUSED struct fault *unused)
{
    struct group *g = arg;
    struct fault why;
    bool begun = false;

    for (struct unit *u = g->first; u != NULL; u = u->next) {
        if (u->writes && !begun) {
            begun = engine_recover(g->engine, &why) == 0 && engine_begin(g->engine, &why) == 0;
            if (!begun) {
                fail_group(u, &why);
                return 0;
            }
        }
        if (u->writes)
            run_item(g->engine, u);
        else
            u->result = u->run(g->engine, u->arg, &u->why);
    }
    g->failed = begun && engine_commit(g->engine, &why) < 0;
    if (g->failed)
        fail_group(g->first, &why);
    g->changed = begun && !g->failed;
    g->modseq = engine_modseq(g->engine);
    g->used_bytes = engine_used_bytes(g->engine);
    return 0;
}

/* ---- the box's worker --------------------------------------------------------------------------------- */

/* Reads run alone, so that their answers do not wait for an fsync that is not theirs. */
static struct unit *take_group(struct box *b)
{
    struct unit *first = b->first, *last = first;

    b->waiting--;
    while (first->writes && last->next != NULL && last->next->writes) {
        last = last->next;
        b->waiting--;
    }
    b->first = last->next;
    if (b->first == NULL)
        b->last = NULL;
    last->next = NULL;
    return first;
}

struct reopening { struct engine *engine; char path[512]; struct secret *key; };

static int reopen(void *arg, struct fault *why)
{
    struct reopening *r = arg;

    engine_close(&r->engine);
    return engine_open(r->path, r->key, &box_engine, &r->engine, why);
}

/* A handle that met damage is of no more use. */
static void box_reopen(struct box *b)
{
    struct reopening r = { .engine = b->engine, .key = b->key };
    struct fault why;

    box_path(slice_of(b->alias_id), r.path, sizeof(r.path));
    if (pool_run(OFFLOAD_DB, reopen, &r, &why) < 0) {
        log_event(LOG_ERROR, "box.reopen_failed", F_STR("alias", b->alias_id), F_FAULT(&why));
        secret_unref(&b->key);
    } else {
        log_event(LOG_WARN, "box.reopened", F_STR("alias", b->alias_id));
    }
    b->engine = r.engine;
}

static void group_finish(struct unit *first)
{
    struct unit *next;

    for (struct unit *u = first; u != NULL; u = next) {
        next = u->next;                        /* its owner may be gone after the signal */
        u->done = true;
        fiber_event_signal(&u->ready);
    }
}

static void group_refuse(struct unit *first, enum fault_code code, const char *text)
{
    for (struct unit *u = first; u != NULL; u = u->next) {
        u->result = -1;
        (void)fault_set(&u->why, code, "%s", text);
    }
}

static void box_work_once(struct box *b)
{
    struct group g = { .first = take_group(b) };
    uint64_t started = clock_now_us();
    struct fault why;

    if (fiber_mutex_lock(&b->lock, DEADLINE_NEVER, &why) < 0) {
        group_refuse(g.first, FAULT_UNAVAILABLE, "mailbox is closing");
        group_finish(g.first);
        return;
    }
    server.units++;
    g.engine = b->engine;
    if (g.engine == NULL)
        group_refuse(g.first, FAULT_CLOSED, "mailbox is locked");
    else if (pool_run(OFFLOAD_DB, group_run, &g, &why) < 0)
        group_refuse(g.first, FAULT_UNAVAILABLE, "too much to do");
    if (g.failed)
        log_event(LOG_ERROR, "box.commit_failed", F_STR("alias", b->alias_id), F_FAULT(&g.first->why));
    if (b->engine != NULL && engine_is_broken(b->engine))
        box_reopen(b);
    fiber_mutex_unlock(&b->lock);
    if (g.changed) {
        b->used_bytes = g.used_bytes;
        tidy_later(b);
        metric_observe_us(server.group_us, clock_now_us() - started);
        box_publish(b, g.modseq, 0);
    }
    group_finish(g.first);
}

static void box_work(void *arg)
{
    struct box *b = arg;

    while (b->first != NULL)
        box_work_once(b);
    b->working = false;
    box_touch(b);
}

int box_run(struct box *b, bool writes, unit_fn fn, void *arg, struct fault *why)
{
    struct unit u = { .run = fn, .arg = arg, .writes = writes };

    if (b->waiting >= BOX_WAITING_MAX)
        return fault_set(why, FAULT_UNAVAILABLE, "too much waits for this mailbox");
    if (!b->working) {
        if (fiber_start("box", box_work, b, why) < 0)
            return -1;
        b->working = true;
    }
    fiber_event_init(&u.ready);
    if (b->last != NULL)
        b->last->next = &u;
    else
        b->first = &u;
    b->last = &u;
    b->waiting++;
    while (!u.done)
        (void)fiber_event_wait(&u.ready, DEADLINE_NEVER, NULL);
    if (u.result < 0)
        *why = u.why;
    return u.result;
}

struct alone { struct engine *engine; unit_fn fn; void *arg; uint64_t used_bytes; };

static int alone_run(void *arg, struct fault *why)
{
    struct alone *a = arg;

    int r = engine_recover(a->engine, why) < 0 ? -1 : a->fn(a->engine, a->arg, why);

    if (r < 0)
        soften(why);
    a->used_bytes = engine_used_bytes(a->engine);
    return r;
}

int box_run_alone(struct box *b, unit_fn fn, void *arg, struct fault *why)
{
    struct alone a = { .fn = fn, .arg = arg, .used_bytes = b->used_bytes };
    int r;

    if (fiber_mutex_lock(&b->lock, DEADLINE_NEVER, why) < 0)
        return -1;
    a.engine = b->engine;
    r = a.engine == NULL ? fault_set(why, FAULT_CLOSED, "mailbox is locked") : pool_run(OFFLOAD_DB, alone_run, &a, why);
    if (a.engine != NULL)
        b->used_bytes = a.used_bytes;
    if (a.engine != NULL && engine_is_broken(a.engine))
        box_reopen(b);
    fiber_mutex_unlock(&b->lock);
    return r;
}
