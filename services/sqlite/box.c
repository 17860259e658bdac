/* box.c - mailboxes held open: who may use the key, for how long, and when it is wiped.
 *
 * Owns      the boxes. Called by the actions and by drain.c. Fails with FAULT_DENIED, FAULT_CORRUPT. Suspends for the engine.
 */
#include "sqlite.h"

#include <malloc.h>
#include <sys/stat.h>

#include "mailbox/squeeze.h"

const struct engine_options box_engine = { .mode = ENGINE_WRITE, .alone = true };

void box_path(struct slice alias_id, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%.*s.sqlite", server.storage, SLICE(alias_id));
}

bool box_file_exists(struct slice alias_id, uint64_t *bytes)
{
    char path[512], wal[520];
    struct stat st;

    box_path(alias_id, path, sizeof(path));
    if (stat(path, &st) < 0)
        return false;
    *bytes = (uint64_t)st.st_size;
    (void)snprintf(wal, sizeof(wal), "%s-wal", path);
    if (stat(wal, &st) == 0)
        *bytes += (uint64_t)st.st_size;
    return true;
}

static void idle_close(void *arg);

static void idle_over(struct timer *t)
{
    struct box *b = t->arg;

    if (fiber_start("box-close", idle_close, b, NULL) < 0)
        timer_start(&b->idle, deadline_in_ms(BOX_BUSY_MS));
}

/* ---- tidying: nobody waits for it ------------------------------------------------------------------- */

static int tidy_run(struct engine *e, void *arg, struct fault *why)
{
    int *more = arg;

    *more = engine_tidy(e, TIDY_STEP_MS, why);
    return *more < 0 ? -1 : 0;
}

/* One mailbox at a time, so that the pool stays free for those that somebody waits for; and while any of them is used, tidying
 * leaves nine tenths of the time to it.                                                                                     */
static int tidy_step(struct box *b, int *more, struct fault *why)
{
    uint64_t units = server.units, started;
    int r;

    if (fiber_mutex_lock(&server.tidy_turn, DEADLINE_NEVER, why) < 0)
        return -1;
    started = clock_now_ms();
    r = b->working ? 0 : box_run_alone(b, tidy_run, more, why);
    if (r == 0 && *more == 1 && server.units != units)
        (void)fiber_sleep_until(deadline_in_ms((clock_now_ms() - started) * TIDY_REST), NULL);
    fiber_mutex_unlock(&server.tidy_turn);
    return r;
}

static int trim_run(UNUSED void *arg, UNUSED struct fault *why)
{
    squeeze_release();
    (void)malloc_trim(0);
    return 0;
}

static void trim_fiber(UNUSED void *arg)
{
    struct fault why;

    ignore_result(pool_run(OFFLOAD_CPU, trim_run, NULL, &why));
}

static void trim_due(UNUSED struct timer *t)
{
    server.trim_waits = false;
    ignore_result(fiber_start("trim", trim_fiber, NULL, NULL));
}

/* Pages that quiet mailboxes gave up lie scattered over the heaps; once for all that were tidied within TRIM_AFTER_MS. */
static void trim_later(void)
{
    if (server.trim_waits)
        return;
    server.trim_waits = true;
    timer_init(&server.trim, trim_due, NULL);
    timer_start(&server.trim, deadline_in_ms(TRIM_AFTER_MS));
}

static void tidy_fiber(void *arg)
{
    struct box *b = arg;
    struct fault why;
    int more = 1;

    while (more == 1 && b->engine != NULL && !b->working && !b->draining)
        if (tidy_step(b, &more, &why) < 0)
            break;
    if (more < 0)
        log_event(LOG_WARN, "box.tidy_failed", F_STR("alias", b->alias_id), F_FAULT(&why));
    b->tidying = false;
    if (more == 1 && b->engine != NULL)
        tidy_later(b);                         /* it was interrupted */
    if (more == 0)
        trim_later();
}

static void tidy_due(struct timer *t)
{
    struct box *b = t->arg;

    drain_start(b);                            /* when the disk had stopped it */
    if (b->tidying || b->engine == NULL)
        return;
    b->tidying = fiber_start("tidy", tidy_fiber, b, NULL) == 0;
}

void tidy_later(struct box *b)
{
    timer_start(&b->quiet, deadline_in_ms(TIDY_QUIET_MS));
}

struct box *box_get(struct slice alias_id)
{
    struct box *b = map_find(server.boxes, alias_id);

    if (b != NULL)
        return b;
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        abort();
    ignore_result(slice_copy_cstr(alias_id, b->alias_id, sizeof(b->alias_id)));
    fiber_mutex_init(&b->lock);
    fiber_event_init(&b->sealed);
    timer_init(&b->idle, idle_over, b);
    timer_init(&b->quiet, tidy_due, b);
    drain_init(b);
    map_set(server.boxes, alias_id, b);
    return b;
}

/* Mail on its way into the log, or in it, does not need the key: it waits for the next login. */
static bool may_lock_up(const struct box *b)
{
    return b->sessions == NULL && b->waiting == 0 && !b->working && !b->draining && !b->tidying && b->deleting == 0;
}

static bool is_unused(const struct box *b)
{
    return may_lock_up(b) && b->engine == NULL && !b->pending && b->sealing == 0;
}

/* The time of an open mailbox runs from its last session: mail that keeps coming must not keep the key. */
void box_touch(struct box *b)
{
    if (b->sessions == NULL && (b->engine == NULL || !timer_is_running(&b->idle)))
        timer_start(&b->idle, deadline_in_ms(server.config->key_keep_ms));
}

static void box_free(struct box *b)
{
    map_remove(server.boxes, slice_of(b->alias_id));
    timer_stop(&b->idle);
    timer_stop(&b->quiet);
    free(b);
}

static int close_engine(void *arg, UNUSED struct fault *why)
{
    struct engine *e = arg;

    engine_close(&e);
    return 0;
}

void box_lock_up(struct box *b)
{
    struct engine *e = b->engine;
    struct fault why;

    b->engine = NULL;
    secret_unref(&b->key);
    sealing_pair_wipe(&b->pair);
    if (e != NULL && pool_run(OFFLOAD_DB, close_engine, e, &why) < 0)
        log_event(LOG_ERROR, "box.close_failed", F_STR("alias", b->alias_id), F_FAULT(&why));
}

static void close_again(struct box *b)
{
    if (b->sessions == NULL)
        timer_start(&b->idle, deadline_in_ms(BOX_BUSY_MS));
}

static void idle_close(void *arg)
{
    struct box *b = arg;
    struct fault why;

    if (fiber_mutex_lock(&b->lock, deadline_in_ms(1000), &why) < 0) {
        close_again(b);
        return;
    }
    if (may_lock_up(b))
        box_lock_up(b);
    fiber_mutex_unlock(&b->lock);
    if (is_unused(b))
        box_free(b);
    else
        close_again(b);
}

/* ---- opening -------------------------------------------------------------------------------------- */

struct opening { char path[512]; struct secret *key; struct engine *engine; uint64_t used_bytes; };

static int open_engine(void *arg, struct fault *why)
{
    struct opening *o = arg;

    if (engine_open(o->path, o->key, &box_engine, &o->engine, why) < 0)
        return -1;
    o->used_bytes = engine_used_bytes(o->engine);
    return 0;
}

static int box_open_engine(struct box *b, struct slice key, struct fault *why)
{
    struct opening o = { .key = secret_new(key) };
    int r;

    box_path(slice_of(b->alias_id), o.path, sizeof(o.path));
    r = pool_run(OFFLOAD_DB, open_engine, &o, why);
    if (r < 0) {
        secret_unref(&o.key);
        if (why->code == FAULT_NOT_FOUND)      /* its document says there is one: never made anew */
            return fault_set(why, FAULT_CORRUPT, "the mailbox file is missing");
        return -1;
    }
    b->engine = o.engine;
    b->used_bytes = o.used_bytes;
    b->key = o.key;
    derive_sealing_pair(key, &b->pair);
    memcpy(b->sealing_key, b->pair.public_key, sizeof(b->sealing_key));
    b->knows_key = true;
    if (engine_log_was_damaged(o.engine))
        log_event(LOG_ERROR, "box.log_damaged", F_STR("alias", b->alias_id), F_STR("kept_in", o.path),
                  F_STR("what", "the end of its log was changed on the disk: the last changes before the kill are lost"));
    tidy_later(b);                             /* what a process before this one left undone */
    return 0;
}

static int check_wrap(struct engine *e, void *arg, struct fault *why)
{
    const struct slice *wrap_id = arg;

    return engine_check_wrap(e, *wrap_id, why);
}

int box_unlock(struct box *b, struct slice key, struct slice wrap_id, struct fault *why)
{
    int r = 0;

    if (fiber_mutex_lock(&b->lock, deadline_in_ms(30000), why) < 0)
        return -1;
    if (b->deleting > 0)
        r = fault_set(why, FAULT_UNAVAILABLE, "the mailbox is being deleted");
    else if (b->engine == NULL)
        r = box_open_engine(b, key, why);
    else if (!secret_equal(secret_slice(b->key), key))
        r = fault_set(why, FAULT_DENIED, "another key");
    fiber_mutex_unlock(&b->lock);
    if (r < 0) {
        box_touch(b);
        return -1;
    }
    if (box_run(b, false, check_wrap, &wrap_id, why) < 0) {
        box_touch(b);
        return -1;
    }
    drain_start(b);
    return 0;
}

void box_lock_all_out(struct box *b, struct session *but)
{
    struct session *next;

    for (struct session *s = b->sessions; s != NULL; s = next) {
        next = s->next;
        if (s != but && s->handle != NULL)
            rpc_session_end(s->handle);
    }
}

static bool is_listed(const json_t *list, const char *text)
{
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, item)
        if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
            return true;
    return false;
}

void box_lock_out_revoked(struct box *b, const json_t *live, struct session *but)
{
    struct session *next;

    for (struct session *s = b->sessions; s != NULL; s = next) {
        next = s->next;
        if (s != but && s->handle != NULL && !is_listed(live, s->wrap_id))
            rpc_session_end(s->handle);
    }
}

void box_publish(const struct box *b, uint64_t modseq, uint64_t folder_id)
{
    char channel[40], payload[96];

    if (server.redis == NULL)
        return;
    (void)snprintf(channel, sizeof(channel), "mbox:%s", b->alias_id);
    (void)snprintf(payload, sizeof(payload), "{\"modseq\":%llu,\"folder\":%llu}", (unsigned long long)modseq,
                   (unsigned long long)folder_id);
    ignore_result(redis_publish(server.redis, slice_of(channel), slice_of(payload), NULL));   /* lost: sessions poll */
}

void boxes_close(struct deadline until)
{
    size_t cursor = 0;
    void *value;

    while (map_next(server.boxes, &cursor, NULL, &value) == 1) {
        struct box *b = value;
        struct fault why;

        if (fiber_mutex_lock(&b->lock, until, &why) < 0)
            continue;
        box_lock_up(b);
        fiber_mutex_unlock(&b->lock);
    }
}
