/* sealed_index.c - which items wait for which alias, and what each segment still holds, in memory.
 *
 * Owns the queues and the segment table of a sealed log; callers hold its lock. Cannot fail. Does not suspend.
 */
#include "mailbox/sealed_internal.h"

static struct slice alias_key(const unsigned char alias[SEALED_ALIAS])
{
    return slice_make(alias, SEALED_ALIAS);
}

struct sealed_queue *sealed_queue_find(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS])
{
    return map_find(log->queues, alias_key(alias));
}

static struct sealed_queue *queue_get(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS])
{
    struct sealed_queue *q = sealed_queue_find(log, alias);

    if (q != NULL)
        return q;
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        abort();
    map_set(log->queues, alias_key(alias), q);
    return q;
}

struct sealed_segment *sealed_segment_get(struct sealed_log *log, uint32_t number)
{
    for (size_t i = 0; i < log->segment_count; i++)
        if (log->segments[i].number == number)
            return &log->segments[i];
    log->segments = reallocarray(log->segments, log->segment_count + 1, sizeof(*log->segments));
    if (log->segments == NULL)
        abort();
    log->segments[log->segment_count] = (struct sealed_segment){ .number = number };
    return &log->segments[log->segment_count++];
}

static void queue_room(struct sealed_queue *q)
{
    if (q->end < q->capacity)
        return;
    if (q->first > q->capacity / 2) {
        memmove(q->items, q->items + q->first, (q->end - q->first) * sizeof(*q->items));
        q->end -= q->first;
        q->first = 0;
        return;
    }
    q->capacity = q->capacity == 0 ? 8 : q->capacity * 2;
    q->items = reallocarray(q->items, q->capacity, sizeof(*q->items));
    if (q->items == NULL)
        abort();
}

static void queue_insert(struct sealed_queue *q, const struct sealed_item *item)
{
    size_t at;

    queue_room(q);
    at = q->end;
    while (at > q->first && q->items[at - 1].seq > item->seq)     /* only when a segment was copied forward */
        at--;
    memmove(q->items + at + 1, q->items + at, (q->end - at) * sizeof(*q->items));
    q->items[at] = *item;
    q->end++;
    q->bytes += item->bytes;
}

static struct sealed_item *queue_search(struct sealed_queue *q, const struct sealed_id *id)
{
    for (size_t i = q->first; i < q->end; i++)
        if (memcmp(q->items[i].id.b, id->b, sizeof(id->b)) == 0)
            return &q->items[i];
    return NULL;
}

void sealed_index_add(struct sealed_log *log, const struct sealed_head *h, uint32_t segment, uint64_t offset,
                      uint64_t record_bytes)
{
    struct sealed_segment *s = sealed_segment_get(log, segment);
    struct sealed_item item = {
        .id = h->id, .seq = h->seq, .arrived_ms = h->arrived_ms, .bytes = h->body_bytes + SEALED_HEAD_BYTES,
        .segment = segment, .external = h->type == SEALED_ITEM_EXTERNAL, .offset = offset,
        .record_bytes = record_bytes,
    };

    memcpy(item.mark, h->mark, sizeof(item.mark));
    queue_insert(queue_get(log, h->alias), &item);
    s->live++;
    s->live_bytes += record_bytes;
}

static void segment_lose(struct sealed_log *log, const struct sealed_item *item)
{
    struct sealed_segment *s = sealed_segment_get(log, item->segment);

    s->live--;
    s->live_bytes -= item->record_bytes;
}

bool sealed_index_remove(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS],
                         const struct sealed_id *id, struct sealed_item *out)
{
    struct sealed_queue *q = sealed_queue_find(log, alias);
    struct sealed_item *item = q != NULL ? queue_search(q, id) : NULL;
    size_t at;

    if (item == NULL)
        return false;
    *out = *item;
    q->bytes -= item->bytes;
    segment_lose(log, item);
    at = (size_t)(item - q->items);
    if (at == q->first)                /* the usual case: drained in order */
        q->first++;
    else
        memmove(item, item + 1, (--q->end - at) * sizeof(*item));
    if (q->first == q->end) {
        map_remove(log->queues, alias_key(alias));
        free(q->items);
        free(q);
    }
    return true;
}

void sealed_index_move(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS],
                       const struct sealed_id *id, uint32_t segment, uint64_t offset)
{
    struct sealed_queue *q = sealed_queue_find(log, alias);
    struct sealed_item *item = q != NULL ? queue_search(q, id) : NULL;
    struct sealed_segment *s;

    if (item == NULL)
        return;
    segment_lose(log, item);
    item->segment = segment;
    item->offset = offset;
    s = sealed_segment_get(log, segment);
    s->live++;
    s->live_bytes += item->record_bytes;
}

void sealed_index_free(struct sealed_log *log)
{
    struct slice key;
    size_t cursor = 0;
    void *value;

    while (map_next(log->queues, &cursor, &key, &value) == 1) {
        struct sealed_queue *q = value;

        free(q->items);
        free(q);
    }
    map_free(&log->queues);
    free(log->segments);
}
