/* drain.c - what the sealed log holds for a mailbox goes into it, in order of arrival, once its key is here.
 *
 * Owns      one fiber a box while something waits. Called when a box is opened and after sealing for an open one, where all that has
 *           arrived goes in together in a calm moment, at the latest after DRAIN_EVERY_MS. A bad item is
 *           quarantined and reported, the rest goes on; a full disk or a broken engine stops the drain for some seconds.
 */
#include "sqlite.h"

#include <stdlib.h>

#define ID_BYTES sizeof(struct sealed_id)

struct batch {
    struct engine *engine;
    struct box *box;
    struct arena *arena;
    struct sealed_item *items;
    struct engine_body **bodies;
    struct engine_delivery *deliveries;
    bool *bad;
    struct fault *bad_why;
    size_t count;
    struct sealed_reader *reader;
    struct drained *done;                      /* of each item, uid 0: not stored now */
    uint64_t modseq, folder_id;
};

struct telling {                               /* what goes to the journal, on a fiber of its own */
    char alias_id[25];
    size_t count;
    struct drained list[];
};

static int feed(struct engine *e, struct sealed_reader *r, struct engine_body *body, struct fault *why)
{
    struct slice piece;
    int more, stage;

    while ((more = sealed_read_next(r, &piece, why)) == 1) {
        stage = engine_body_write(body, piece, why);
        if (stage < 0 || (stage == 1 && engine_body_stage(e, body, why) < 0))
            return -1;
    }
    if (more < 0)
        return -1;
    stage = engine_body_finish(body, why);
    if (stage < 0 || (stage == 1 && engine_body_stage(e, body, why) < 0))
        return -1;
    return 0;
}

/* Everything of the item is read and authenticated before anything of it counts. */
static int item_open(struct batch *b, size_t i, struct fault *why)
{
    struct sealed_opened opened;

    if (sealed_read_begin(server.sealed, slice_of(b->box->alias_id), &b->items[i], &b->box->pair, 1, &b->reader, &opened, why) < 0 ||
        engine_body_new(SEALED_ITEM_MAX, &b->bodies[i], why) < 0)
        return -1;
    b->deliveries[i] = (struct engine_delivery){
        .mark = slice_make(b->items[i].mark, 32), .item_id = slice_make(b->items[i].id.b, ID_BYTES),
        .folder = arena_copy(b->arena, opened.folder), .flags = opened.flags, .arrived_ms = b->items[i].arrived_ms,
    };
    return feed(b->engine, b->reader, b->bodies[i], why);
}

static int deliver_all(struct batch *b, struct fault *why)
{
    struct engine_delivered done;

    if (engine_begin(b->engine, why) < 0)
        return -1;
    for (size_t i = 0; i < b->count; i++) {
        if (b->bad[i])
            continue;
        if (engine_deliver(b->engine, &b->deliveries[i], b->bodies[i], &done, why) < 0) {
            engine_abort(b->engine);
            return -1;
        }
        memcpy(b->done[i].mark, b->items[i].mark, sizeof(b->done[i].mark));
        b->done[i].uid = done.duplicate ? 0 : done.uid;
        b->modseq = done.modseq;
        b->folder_id = done.folder_id;
    }
    return engine_commit(b->engine, why);
}

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        engine_body_free(&b->bodies[i]);
}

static void batch_forget(struct batch *b)
{
    struct slice alias = slice_of(b->box->alias_id);
    struct fault why;

    /* bad ones are put away first: forgetting them again does nothing */
    for (size_t i = 0; i < b->count; i++) {
        if (!b->bad[i])
            continue;
        log_event(LOG_ERROR, "sealed.bad", F_STR("alias", b->box->alias_id), F_FAULT(&b->bad_why[i]),
                  F_STR("kept_in", "sealed/quarantine"));
        if (sealed_quarantine(server.sealed, alias, &b->items[i], &why) < 0)
            log_event(LOG_ERROR, "sealed.quarantine_failed", F_STR("alias", b->box->alias_id), F_FAULT(&why));
    }
    sealed_forget(server.sealed, alias, b->items, b->count);
}

static int open_all(struct batch *b, struct fault *why)
{
    int r = 0;

    for (size_t i = 0; i < b->count && r == 0; i++) {
        b->bad[i] = item_open(b, i, &b->bad_why[i]) < 0;
        if (b->bad[i] && b->bad_why[i].code != FAULT_CORRUPT) {
            *why = b->bad_why[i];              /* the disk, not the item */
            r = -1;
        }
    }
    sealed_read_end(&b->reader);
    return r;
}

static int batch_run(struct engine *e, void *arg, struct fault *why)
{
    struct batch *b = arg;

    b->engine = e;
    if (open_all(b, why) < 0 || deliver_all(b, why) < 0)
        return -1;
    batch_forget(b);
    return 0;
}

/* Items of about DRAIN_BYTES, at least one. */
static size_t batch_size(const struct sealed_item *items, size_t n)
{
    uint64_t bytes = 0;
    size_t i = 0;

    while (i < n && (i == 0 || bytes + items[i].bytes <= DRAIN_BYTES))
        bytes += items[i++].bytes;
    return i;
}

/* The journal may have to open the document store: not while the owner waits for the rest of the mail. */
static void tell_fiber(void *arg)
{
    struct telling *t = arg;

    journal_drained(t->alias_id, t->list, t->count);
    free(t);
}

static void tell(const struct batch *b)
{
    struct telling *t = calloc(1, sizeof(*t) + b->count * sizeof(t->list[0]));
    struct fault why;

    if (t == NULL)
        return;
    memcpy(t->alias_id, b->box->alias_id, sizeof(t->alias_id));
    for (size_t i = 0; i < b->count; i++)
        if (b->done[i].uid != 0)
            t->list[t->count++] = b->done[i];
    if (fiber_start("journal", tell_fiber, t, &why) < 0)
        free(t);
}

/* 1: more, 0: nothing waits any more, <0: stopped. */
static int drain_some(struct box *box, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct batch b = { .box = box, .arena = a };
    int r;

    b.count = sealed_list(server.sealed, slice_of(box->alias_id), a, DRAIN_ITEMS, &b.items);
    if (b.count == 0)
        return 0;
    b.count = batch_size(b.items, b.count);
    b.bodies = ARENA_ARRAY(a, struct engine_body *, b.count);
    b.deliveries = ARENA_ARRAY(a, struct engine_delivery, b.count);
    b.bad = ARENA_ARRAY(a, bool, b.count);
    b.done = ARENA_ARRAY(a, struct drained, b.count);
    b.bad_why = ARENA_ARRAY(a, struct fault, b.count);
    r = box_run_alone(box, batch_run, &b, why);
    batch_free(&b);
    if (r < 0)
        return -1;
    metric_add(server.drained, b.count);
    box_publish(box, b.modseq, b.folder_id);
    tell(&b);
    return 1;
}

/* ---- fresh mail -------------------------------------------------------------------------------------------
 *
 * What one commit of a mailbox costs hardly depends on how many messages it takes in. So while mail keeps coming it is gathered, and
 * goes in when a mailbox has waited for DRAIN_EVERY_MS; as soon as none is under way, that is at once for a single one, all goes in. */

static void drain_now(struct box *b, bool backlog);

static struct box *take_turn(void)
{
    struct drain_turns *t = &server.turns;
    struct box *b = t->first;

    t->first = b->next_pending;
    if (t->first == NULL)
        t->last = NULL;
    b->pending = false;
    return b;
}

static void take_turns(void)
{
    struct drain_turns *t = &server.turns;

    while (t->first != NULL && t->running < DRAINS_AT_ONCE && (deadline_is_past(t->calm) || deadline_is_past(t->first->drain_by))) {
        struct box *b = take_turn();

        box_touch(b);
        if (b->draining)
            continue;
        drain_now(b, false);
        b->has_turn = b->draining;
        t->running += b->draining;
    }
    if (t->first != NULL && t->running < DRAINS_AT_ONCE)
        timer_start(&t->timer, deadline_earlier(t->calm, t->first->drain_by));
}

static void turns_due(UNUSED struct timer *t)
{
    take_turns();
}

void drain_soon(struct box *b)
{
    struct drain_turns *t = &server.turns;

    if (b->engine == NULL || b->pending)
        return;
    b->pending = true;
    b->next_pending = NULL;
    b->drain_by = deadline_in_ms(DRAIN_EVERY_MS);
    if (t->last != NULL)
        t->last->next_pending = b;
    else
        t->first = b;
    t->last = b;
    take_turns();
}

void drain_delivery_begun(void)
{
    server.turns.sealing++;
    server.turns.calm = DEADLINE_NEVER;
}

void drain_delivery_ended(void)
{
    struct drain_turns *t = &server.turns;
    bool alone = clock_now_ms() - t->ended_ms > DRAIN_EVERY_MS;

    t->ended_ms = clock_now_ms();
    if (--t->sealing > 0)
        return;
    t->calm = deadline_in_ms(alone ? 0 : DRAIN_CALM_MS);
    take_turns();
}

/* ---- a drain ------------------------------------------------------------------------------------------------ */

static void drain_end(struct box *b, int r, size_t items, uint64_t started_us, const struct fault *why)
{
    if (r < 0)
        log_event(LOG_WARN, "drain.stopped", F_STR("alias", b->alias_id), F_FAULT(why));
    else if (b->drains_backlog)
        log_event(LOG_INFO, "drain.done", F_STR("alias", b->alias_id), F_INT("items", items),
                  F_INT("took_us", clock_now_us() - started_us));
    b->draining = false;
    fiber_event_broadcast(&b->drained);
    if (b->has_turn) {
        b->has_turn = false;
        server.turns.running--;
        take_turns();
    }
    if (r < 0)
        timer_start(&b->quiet, deadline_in_ms(DRAIN_AGAIN_MS));
    else
        tidy_later(b);
    box_touch(b);
}

static void drain_fiber(void *arg)
{
    struct box *b = arg;
    size_t before = sealed_count(server.sealed, slice_of(b->alias_id));
    uint64_t started = clock_now_us();
    struct fault why;
    int r;

    while ((r = b->engine != NULL ? drain_some(b, &why) : 0) == 1) {
        b->drain_rounds++;
        fiber_event_broadcast(&b->drained);
    }
    drain_end(b, r, before, started, &why);
}

static void drain_now(struct box *b, bool backlog)
{
    struct fault why;

    if (b->draining || b->engine == NULL || sealed_count(server.sealed, slice_of(b->alias_id)) == 0)
        return;
    b->drains_backlog = backlog;
    b->draining = fiber_start("drain", drain_fiber, b, &why) == 0;
    if (!b->draining)
        log_event(LOG_WARN, "drain.not_started", F_STR("alias", b->alias_id), F_FAULT(&why));
}

void drain_start(struct box *b)
{
    drain_now(b, true);
}

void drain_init(struct box *b)
{
    fiber_event_init(&b->drained);
}

/* ---- waiting for it ----------------------------------------------------------------------------------- */

void drain_catch_up(struct box *b)
{
    struct deadline until = deadline_in_ms(DRAIN_WAIT_MS);
    size_t waiting = b->engine != NULL ? sealed_count(server.sealed, slice_of(b->alias_id)) : 0;
    unsigned rounds = b->drain_rounds;

    if (waiting == 0 || waiting > DRAIN_ITEMS)
        return;
    rounds += b->draining ? 2 : 1;             /* the one under way may have begun before */
    drain_now(b, false);
    while (b->draining && (int)(rounds - b->drain_rounds) > 0)
        if (fiber_event_wait(&b->drained, until, NULL) < 0)
            return;
}

int drain_all(struct box *b, struct deadline until, struct fault *why)
{
    drain_now(b, false);
    while (b->draining)
        if (fiber_event_wait(&b->drained, until, why) < 0)
            return why->code == FAULT_TIMEOUT ? fault_set(why, FAULT_UNAVAILABLE, "sealed mail is still being stored") : -1;
    return 0;
}

/* ---- segments that are mostly gone --------------------------------------------------------------------- */

static int compact_run(UNUSED void *arg, struct fault *why)
{
    sealed_flush(server.sealed);
    return sealed_compact(server.sealed, why);
}

static void compact_fiber(UNUSED void *arg)
{
    struct fault why;

    if (pool_run(OFFLOAD_FILE, compact_run, NULL, &why) < 0)
        log_event(LOG_WARN, "sealed.compact_failed", F_FAULT(&why));
    timer_start(&server.compact, deadline_in_ms(COMPACT_EVERY_MS));
}

static void compact_due(struct timer *t)
{
    if (fiber_start("compact", compact_fiber, NULL, NULL) < 0)
        timer_start(t, deadline_in_ms(COMPACT_EVERY_MS));
}

void drain_timers_start(void)
{
    server.turns.calm = DEADLINE_NEVER;
    timer_init(&server.turns.timer, turns_due, NULL);
    timer_init(&server.compact, compact_due, NULL);
    timer_start(&server.compact, deadline_in_ms(COMPACT_EVERY_MS));
}
