/* store_write.c - writes: those that wait in this process go to the engine together and share its
 * fsync.
 *
 * Owns the queues of a store. A fiber of its own carries groups to the db pool, one at a time, so
 * that neither deadline nor cancellation of a waiter touches a transaction: a waiter that gives up
 * leaves its write to the queue, which frees it. Engines without one_writer get each write by
 * itself. Fails as the engine does, FAULT_UNAVAILABLE when WRITES_MAX wait.
 */
#include "store/store_internal.h"

struct write_trip {
    struct offload work;
    struct store *st;
    struct write_queue *queue; /* that more may be taken from; NULL: none */
    struct store_group group;
};

struct store_write *write_new(enum store_write_kind kind)
{
    struct arena *in = arena_new(0);
    struct store_write *w = ARENA_NEW(in, struct store_write);

    w->in = in;
    w->kind = kind;
    return w;
}

void write_free(struct store_write **w)
{
    struct arena *in;

    if (*w == NULL)
        return;
    json_release(&(*w)->out);
    in = (*w)->in;
    *w = NULL;
    arena_free(&in);
}

static void run_trip(struct offload *work)
{
    struct write_trip *trip = CONTAINER_OF(work, struct write_trip, work);

    trip->st->driver->write(trip->st->engine, &trip->group);
}

static void finish(struct store_write *w)
{
    if (w->is_forgotten) {
        write_free(&w);
        return;
    }
    w->is_done = true;
    fiber_resume(w->waiter, 0);
}

static struct store_write *take_group(struct write_queue *q)
{
    struct store_write *first, *w;
    size_t bytes = 0;
    unsigned n = 1;

    pthread_mutex_lock(&q->lock);
    first = w = q->first;
    while (w != NULL && w->next != NULL && n < GROUP_MAX && bytes < GROUP_BYTES_MAX) {
        bytes += arena_used_bytes(w->in);
        w = w->next;
        n++;
    }
    if (w != NULL) {
        q->first = w->next;
        w->next = NULL;
    }
    if (q->first == NULL)
        q->last = &q->first;
    pthread_mutex_unlock(&q->lock);
    return first;
}

/* While another process had the file's write lock, more has come: it shares the commit. */
static struct store_write *take_more(struct store_group *g)
{
    return take_group(CONTAINER_OF(g, struct write_trip, group)->queue);
}

/* <0: nothing was tried. `queue`: where the write came from, or NULL when it goes alone. */
static int carry(struct store *st, struct write_queue *queue, struct store_write *first, struct fault *why)
{
    struct write_trip trip = {.work = {.run = run_trip},
                              .st = st,
                              .queue = queue,
                              .group = {.first = first, .more = queue != NULL ? take_more : NULL}};

    return offload_run(OFFLOAD_DB, &trip.work, DEADLINE_NEVER, why);
}

static void run_queue(void *arg)
{
    struct write_queue *q = arg;
    struct store *st = q->st;

    while (q->first != NULL) {
        struct store_write *w = take_group(q), *next;
        struct fault why;
        int r = carry(st, q, w, &why);

        st->stats.groups++;
        for (; w != NULL; w = next) {
            next = w->next;
            st->stats.writes++;
            q->waiting--;
            if (r < 0) {
                w->result = r;
                w->why = why;
            }
            finish(w);
        }
    }
    q->is_running = false;
    fiber_event_broadcast(&st->idle);
}

/* Engines that write in parallel: one fiber per write. */
static void run_single(void *arg)
{
    struct store_write *w = arg;
    struct write_queue *q = w->queue;
    struct store *st = q->st;

    if (carry(st, NULL, w, &w->why) < 0)
        w->result = -1;
    st->stats.writes++;
    q->waiting--;
    finish(w);
    fiber_event_broadcast(&st->idle);
}

static int start_writer(struct write_queue *q, struct store_write *w, struct fault *why)
{
    if (!q->st->driver->one_writer) {
        w->queue = q;
        if (fiber_start("store.write", run_single, w, why) < 0)
            return -1;
        q->waiting++;
        return 0;
    }
    if (!q->is_running && fiber_start("store.write", run_queue, q, why) < 0)
        return -1;
    q->is_running = true;
    pthread_mutex_lock(&q->lock);
    *q->last = w;
    q->last = &w->next;
    pthread_mutex_unlock(&q->lock);
    q->waiting++;
    return 0;
}

static int enqueue(struct store *st, struct store_write *w, struct fault *why)
{
    struct write_queue *q =
        w->collection != NULL && w->collection->is_log ? &st->logs : &st->documents;

    if (q->waiting >= WRITES_MAX)
        return fault_set(why, FAULT_UNAVAILABLE, "%d writes wait for the store already",
                         WRITES_MAX);
    return start_writer(q, w, why);
}

int write_run(struct store *st, struct store_write **w, struct deadline until, struct fault *why)
{
    int r = 0;

    (*w)->waiter = fiber_self();
    if (fiber_is_canceled())
        return fault_set(why, FAULT_CANCELED, "canceled");
    if (enqueue(st, *w, why) < 0)
        return -1;
    while (!(*w)->is_done && r >= 0)
        r = fiber_suspend(until);
    if (!(*w)->is_done) {
        (*w)->is_forgotten = true;
        *w = NULL;
        return r == FIBER_CANCELED
                   ? fault_set(why, FAULT_CANCELED, "canceled")
                   : fault_set(why, FAULT_TIMEOUT, "the store did not answer in time");
    }
    if ((*w)->result < 0)
        *why = (*w)->why;
    return (*w)->result;
}

void write_detach(struct store *st, struct store_write *w)
{
    struct fault ignored;

    w->is_forgotten = true;
    if (enqueue(st, w, &ignored) < 0)
        write_free(&w);
}

static bool is_busy(const struct write_queue *q)
{
    return q->is_running || q->waiting > 0;
}

void write_drain(struct store *st)
{
    struct fault ignored;

    while (is_busy(&st->documents) || is_busy(&st->logs))
        if (fiber_event_wait(&st->idle, DEADLINE_NEVER, &ignored) < 0)
            fiber_yield(); /* cancelled: the engine still has our memory */
}

/* ---- the calls ------------------------------------------------------------------------------ */

int insert_prepare(struct store *st, struct store_write *w, const char *collection, json_t *doc,
                   struct fault *why)
{
    struct slice id = json_get_slice(doc, "_id");

    w->collection = store_collection_find(st, collection, why);
    if (w->collection == NULL)
        return -1;
    if (!json_is_object(doc))
        return fault_set(why, FAULT_INVALID, "a document that is no object");
    if (id.p == NULL) {
        (void)json_set_slice(doc, "_id", slice_of(object_id_new().s));
        id = json_get_slice(doc, "_id");
    }
    if (!object_id_is_valid(id))
        return fault_set(why, FAULT_INVALID, "a document whose _id is not 24 hex digits");
    w->id = arena_copy(w->in, id);
    return doc_dump(doc, w->in, &w->doc, why);
}

int store_insert(struct store *st, const char *collection, json_t *doc, struct deadline until,
                 struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_INSERT);

    if (insert_prepare(st, w, collection, doc, why) < 0)
        return -1;
    return write_run(st, &w, until, why);
}

static int prepare(struct store *st, struct store_write *w, const char *collection,
                   const struct store_filter *filter, const struct store_sort *sort, unsigned flags,
                   struct fault *why)
{
    w->collection = store_collection_find(st, collection, why);
    w->flags = flags;
    if (w->collection == NULL || query_copy_filter(filter, w->in, &w->filter, why) < 0)
        return -1;
    return query_copy_sort(sort, w->in, &w->sort, why);
}

int store_update(struct store *st, const char *collection, const struct store_filter *filter,
                 const struct store_update *update, unsigned flags, struct deadline until,
                 uint64_t *matched, struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_UPDATE);
    int r;

    if (prepare(st, w, collection, filter, NULL, flags, why) < 0 ||
        query_copy_update(update, w->in, &w->update, why) < 0)
        return -1;
    r = write_run(st, &w, until, why);
    if (r == 0 && matched != NULL)
        *matched = w->count;
    return r;
}

int store_find_and_modify(struct store *st, const char *collection,
                          const struct store_filter *filter, const struct store_sort *sort,
                          const struct store_update *update, unsigned flags, struct deadline until,
                          json_t **out, struct fault *why)
{
    return store_find_and_modify_along(st, collection, filter, sort, update, flags, NULL, until, out, why);
}

int store_find_and_modify_along(struct store *st, const char *collection,
                                const struct store_filter *filter, const struct store_sort *sort,
                                const struct store_update *update, unsigned flags,
                                struct store_along *along, struct deadline until, json_t **out,
                                struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_MODIFY);
    int r;

    if (along != NULL) {
        along->bytes = SLICE_NONE;
        w->along_field = along->field;
    }
    if (prepare(st, w, collection, filter, sort, flags, why) < 0 ||
        query_copy_update(update, w->in, &w->update, why) < 0)
        return -1;
    r = write_run(st, &w, until, why);
    if (r < 0)
        return r;
    if (w->out == NULL)
        return fault_set(why, FAULT_NOT_FOUND, "no document of %s matches", collection);
    if (along != NULL && w->along.n > 0)
        along->bytes = arena_copy(along->in, w->along);
    *out = w->out;
    w->out = NULL;
    return 0;
}

int store_delete(struct store *st, const char *collection, const struct store_filter *filter,
                 unsigned flags, struct deadline until, uint64_t *deleted, struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_DELETE);
    int r;

    if (prepare(st, w, collection, filter, NULL, flags, why) < 0)
        return -1;
    if (query_filter_is_empty(w->filter))
        return fault_set(why, FAULT_INVALID, "a delete without a condition");
    r = write_run(st, &w, until, why);
    if (r == 0 && deleted != NULL)
        *deleted = w->count;
    return r;
}
