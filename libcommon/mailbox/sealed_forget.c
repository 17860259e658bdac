/* sealed_forget.c - items leave the sealed log: drained, purged with their mailbox, put into quarantine; and segments that are mostly gone.
 *
 * Owns nothing beyond struct sealed_log. Called by fe-sqlite from pool threads. Fails with FAULT_DISK_FULL, FAULT_IO. Does not suspend.
 */
#include "mailbox/sealed_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- forgetting ---------------------------------------------------------------------------------- */

static void drop_empty_segments(struct sealed_log *log)
{
    size_t kept = 0;

    for (size_t i = 0; i < log->segment_count; i++) {
        struct sealed_segment *s = &log->segments[i];

        /* the table is in order of numbers: kept > 0 says that an older one stays */
        if (s->live == 0 && s->number != log->current && log->damaged == 0 && !(s->purges && kept > 0))
            (void)unlinkat(log->dir, sealed_segment_name(s->number).s, 0);
        else
            log->segments[kept++] = *s;
    }
    log->segment_count = kept;
}

static int gone_format(struct buf *records, enum sealed_record_type type, uint64_t seq, const unsigned char alias[SEALED_ALIAS],
                       const struct sealed_item *items, size_t count)
{
    unsigned char head[SEALED_HEAD_BYTES];

    for (size_t i = 0; i < count; i++) {
        struct sealed_head h = { .type = type, .id = items[i].id, .seq = seq };

        memcpy(h.alias, alias, SEALED_ALIAS);
        sealed_head_format(&h, 0, head);
        sealed_head_format(&h, sealed_crc(head, SLICE_NONE), head);
        if (buf_append(records, slice_make(head, sizeof(head))) < 0)
            return -1;
    }
    return 0;
}

static int gone_append(struct sealed_log *log, struct slice records, struct fault *why)
{
    if (log->fd < 0)
        return fault_set(why, FAULT_IO, "the sealed log has no segment");
    if (sealed_write_all(log->fd, records, why) < 0) {
        close(log->fd);
        log->fd = -1;
        return -1;
    }
    log->current_bytes += records.n;
    return 0;
}

size_t sealed_gone_take(struct sealed_log *log, struct buf *out)
{
    size_t n;

    pthread_mutex_lock(&log->lock);
    n = buf_append(out, buf_slice(&log->gone)) == 0 ? log->gone.n : 0;
    if (n > 0)
        buf_reset(&log->gone);
    pthread_mutex_unlock(&log->lock);
    return n;
}

void sealed_gone_return(struct sealed_log *log, struct slice records)
{
    pthread_mutex_lock(&log->lock);
    (void)buf_append(&log->gone, records);
    pthread_mutex_unlock(&log->lock);
}

void sealed_flush(struct sealed_log *log)
{
    AUTO(buf_free) struct buf records = BUF_INIT(SEALED_GONE_MAX);

    pthread_mutex_lock(&log->write_lock);
    if (sealed_gone_take(log, &records) > 0 && gone_append(log, buf_slice(&records), NULL) < 0)
        sealed_gone_return(log, buf_slice(&records));
    pthread_mutex_unlock(&log->write_lock);
}

static void index_forget(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS],
                         const struct sealed_item *items, size_t count)
{
    struct sealed_item gone;

    for (size_t i = 0; i < count; i++)
        if (sealed_index_remove(log, alias, &items[i].id, &gone) && gone.external)
            (void)unlinkat(log->dir, sealed_item_name(&items[i].id).s, 0);
    drop_empty_segments(log);
}

void sealed_forget(struct sealed_log *log, struct slice alias_id, const struct sealed_item *items, size_t count)
{
    unsigned char alias[SEALED_ALIAS];

    if (count == 0 || !sealed_alias_parse(alias_id, alias))
        return;
    pthread_mutex_lock(&log->lock);
    /* when the records are lost, the items come again and their ids are recognised */
    ignore_result(gone_format(&log->gone, SEALED_GONE, items[count - 1].seq, alias, items, count));
    index_forget(log, alias, items, count);
    pthread_mutex_unlock(&log->lock);
}

#define PURGE_ITEMS 1000

/* With the write lock: the records are durable before an item is forgotten. */
static int purge_some(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS],
                      const struct sealed_item *items, size_t count, struct fault *why)
{
    AUTO(buf_free) struct buf records = BUF_INIT(BUF_MAX_DEFAULT);

    if (gone_format(&records, SEALED_PURGED, log->last_seq, alias, items, count) < 0)
        return fault_set(why, FAULT_LIMIT, "too many sealed items at once");
    if (log->fd < 0 && sealed_segment_begin(log, why) < 0)
        return -1;
    if (gone_append(log, buf_slice(&records), why) < 0)
        return -1;
    if (fdatasync(log->fd) < 0) {
        (void)fault_errno(why, errno, "sync the sealed log");
        close(log->fd);
        log->fd = -1;
        return -1;
    }
    pthread_mutex_lock(&log->lock);
    sealed_segment_get(log, log->current)->purges = true;
    index_forget(log, alias, items, count);
    pthread_mutex_unlock(&log->lock);
    return 0;
}

int sealed_purge(struct sealed_log *log, struct slice alias_id, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    unsigned char alias[SEALED_ALIAS];
    struct sealed_item *items;
    size_t n;
    int r = 0;

    if (!sealed_alias_parse(alias_id, alias))
        return fault_set(why, FAULT_INVALID, "not an alias id");
    while (r == 0 && (n = sealed_list(log, alias_id, a, PURGE_ITEMS, &items)) > 0) {
        pthread_mutex_lock(&log->write_lock);
        r = purge_some(log, alias, items, n, why);
        pthread_mutex_unlock(&log->write_lock);
        arena_reset(a);
    }
    return r;
}

static int copy_range(int from, uint64_t at, uint64_t n, int to, struct fault *why)
{
    char block[16384];

    while (n > 0) {
        size_t want = n < sizeof(block) ? (size_t)n : sizeof(block);

        if (sealed_read_at(from, block, want, at) < 0)
            return fault_set(why, FAULT_CORRUPT, "sealed record is cut short");
        if (sealed_write_all(to, slice_make(block, want), why) < 0)
            return -1;
        at += want;
        n -= want;
    }
    return 0;
}

int sealed_quarantine(struct sealed_log *log, struct slice alias_id, const struct sealed_item *item,
                      struct fault *why)
{
    struct sealed_name name = sealed_item_name(&item->id);
    AUTO(fd_close) int from = openat(log->dir, sealed_segment_name(item->segment).s, O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int folder = -1;
    AUTO(fd_close) int to = -1;
    char head_name[80], body_name[80];

    (void)snprintf(head_name, sizeof(head_name), "%s.record", name.s);
    (void)snprintf(body_name, sizeof(body_name), "quarantine/%s.body", name.s);
    if (mkdirat(log->dir, "quarantine", 0700) < 0 && errno != EEXIST)
        return fault_errno(why, errno, "make quarantine/");
    folder = openat(log->dir, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    to = folder < 0 ? -1 : openat(folder, head_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0)
        return fault_errno(why, errno, "quarantine a sealed item");
    if (copy_range(from, item->offset, item->record_bytes, to, why) < 0)
        return -1;
    if (fsync(to) < 0)
        return fault_errno(why, errno, "sync a quarantined item");
    if (item->external && renameat(log->dir, name.s, log->dir, body_name) < 0 && errno != ENOENT)
        return fault_errno(why, errno, "quarantine a large sealed item");
    if (fsync(folder) < 0)
        return fault_errno(why, errno, "sync quarantine/");
    sealed_forget(log, alias_id, item, 1);
    return 0;
}

/* ---- compaction ------------------------------------------------------------------------------------ */

struct move { unsigned char alias[SEALED_ALIAS]; struct sealed_item item; };

static size_t collect_moves(struct sealed_log *log, uint32_t segment, struct buf *moves)
{
    struct slice key;
    size_t cursor = 0, n = 0;
    void *value;

    while (map_next(log->queues, &cursor, &key, &value) == 1) {
        const struct sealed_queue *q = value;

        for (size_t i = q->first; i < q->end; i++) {
            struct move m = { .item = q->items[i] };

            if (q->items[i].segment != segment)
                continue;
            memcpy(m.alias, key.p, SEALED_ALIAS);
            (void)buf_append(moves, slice_make(&m, sizeof(m)));
            n++;
        }
    }
    return n;
}

static int move_records(struct sealed_log *log, struct move *moves, size_t n, struct fault *why)
{
    AUTO(fd_close) int from = openat(log->dir, sealed_segment_name(moves[0].item.segment).s, O_RDONLY | O_CLOEXEC);

    if (from < 0)
        return fault_errno(why, errno, "open a segment of the sealed log");
    for (size_t i = 0; i < n; i++) {
        uint64_t at = log->current_bytes;

        if (copy_range(from, moves[i].item.offset, moves[i].item.record_bytes, log->fd, why) < 0)
            return -1;
        moves[i].item.offset = at;
        log->current_bytes += moves[i].item.record_bytes;
    }
    if (fdatasync(log->fd) < 0)
        return fault_errno(why, errno, "sync the sealed log");
    return 0;
}

static uint32_t worst_segment(struct sealed_log *log)
{
    for (size_t i = 0; i < log->segment_count; i++) {
        const struct sealed_segment *s = &log->segments[i];

        if (s->number != log->current && s->live > 0 && s->live_bytes < s->total_bytes / 4)
            return s->number;
    }
    return 0;
}

static int compact_some(struct sealed_log *log, struct fault *why)
{
    AUTO(buf_free) struct buf moves = BUF_INIT(BUF_MAX_DEFAULT);
    struct move *m;
    uint32_t segment;
    size_t n;

    pthread_mutex_lock(&log->lock);
    segment = worst_segment(log);
    n = segment != 0 ? collect_moves(log, segment, &moves) : 0;
    pthread_mutex_unlock(&log->lock);
    if (n == 0)
        return 0;
    if (sealed_segment_begin(log, why) < 0)   /* of its own, so that a failure here touches no fresh item */
        return -1;
    m = (struct move *)(void *)moves.p;
    if (move_records(log, m, n, why) < 0) {
        close(log->fd);
        log->fd = -1;
        return -1;
    }
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < n; i++)
        sealed_index_move(log, m[i].alias, &m[i].item.id, log->current, m[i].item.offset);
    sealed_segment_get(log, log->current)->total_bytes = log->current_bytes;
    drop_empty_segments(log);
    pthread_mutex_unlock(&log->lock);
    return 0;
}

int sealed_compact(struct sealed_log *log, struct fault *why)
{
    int r;

    pthread_mutex_lock(&log->write_lock);
    r = compact_some(log, why);
    pthread_mutex_unlock(&log->write_lock);
    return r;
}
