/* store_log.c - log documents: gathered in memory, written together every LOG_FLUSH_MS; nobody
 * waits for them.
 *
 * Owns the waiting documents, bounded by LOGS_WAITING_MAX and LOGS_BYTES_MAX; what comes beyond is
 * counted and dropped. A group that could not be written is dropped and counted too: logs must
 * never fill the memory of a mail server.
 */
#include "store/models.h"
#include "store/store_internal.h"

static const struct store_collection *log_collection(const struct store *st)
{
    for (size_t i = 0; i < st->collection_count; i++)
        if (st->collections[i].is_log)
            return &st->collections[i];
    return NULL;
}

static struct store_write *take_logs(struct store *st)
{
    struct store_write *w = write_new(WRITE_LOGS);
    size_t n = json_array_size(st->log_docs), i;
    json_t *doc;
    struct fault ignored;

    w->collection = log_collection(st);
    w->docs = ARENA_ARRAY(w->in, struct slice, n > 0 ? n : 1);
    w->ids = ARENA_ARRAY(w->in, struct slice, n > 0 ? n : 1);
    json_array_foreach(st->log_docs, i, doc)
    {
        w->ids[w->doc_count] = arena_copy(w->in, json_get_slice(doc, "_id"));
        if (doc_dump(doc, w->in, &w->docs[w->doc_count], &ignored) == 0)
            w->doc_count++;
    }
    (void)json_array_clear(st->log_docs);
    st->log_bytes = 0;
    return w;
}

static int flush_once(struct store *st, struct deadline until, struct fault *why)
{
    AUTO(write_free) struct store_write *w = take_logs(st);
    size_t n = w->doc_count;

    if (write_run(st, &w, until, why) < 0) {
        if (why->code != FAULT_TIMEOUT && why->code != FAULT_CANCELED)
            st->stats.logs_dropped += n;
        return -1;
    }
    return 0;
}

static void run_flush(void *arg)
{
    struct store *st = arg;
    struct fault ignored;

    while (json_array_size(st->log_docs) > 0)
        (void)flush_once(st, DEADLINE_NEVER, &ignored);
    st->log_flushing = false;
    fiber_event_broadcast(&st->idle);
}

static void on_timer(struct timer *timer)
{
    struct store *st = timer->arg;
    struct fault ignored;

    if (st->log_flushing)
        return;
    if (fiber_start("store.logs", run_flush, st, &ignored) < 0) {
        timer_start(&st->log_timer, deadline_in_ms(LOG_FLUSH_MS));
        return;
    }
    st->log_flushing = true;
}

bool store_log(struct store *st, json_t *doc)
{
    if (json_array_size(st->log_docs) >= LOGS_WAITING_MAX || st->log_bytes >= LOGS_BYTES_MAX ||
        log_collection(st) == NULL) {
        json_decref(doc);
        st->stats.logs_dropped++;
        return false;
    }
    if (json_get_slice(doc, "_id").p == NULL)
        (void)json_set_slice(doc, "_id", slice_of(object_id_new().s));
    st->log_bytes += json_dumpb(doc, NULL, 0, JSON_COMPACT);
    (void)json_array_append_new(st->log_docs, doc);
    st->stats.logs++;
    if (!st->log_flushing && !timer_is_running(&st->log_timer))
        timer_start(&st->log_timer, deadline_in_ms(LOG_FLUSH_MS));
    return true;
}

int store_log_flush(struct store *st, struct deadline until, struct fault *why)
{
    while (st->log_flushing)
        if (fiber_event_wait(&st->idle, until, why) < 0)
            return -1;
    while (json_array_size(st->log_docs) > 0)
        if (flush_once(st, until, why) < 0)
            return -1;
    return 0;
}

void log_queue_init(struct store *st)
{
    st->log_docs = json_array();
    timer_init(&st->log_timer, on_timer, st);
}

void log_queue_stop(struct store *st)
{
    struct fault ignored;

    (void)store_log_flush(st, deadline_in_ms(5000), &ignored);
    timer_stop(&st->log_timer);
    while (st->log_flushing)
        fiber_yield();
    json_release(&st->log_docs);
}
