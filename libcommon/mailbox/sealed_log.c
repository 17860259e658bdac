/* sealed_log.c - the files of the sealed log: segments, one sync per group of items, what waits.
 *
 * Owns      struct sealed_log: the folder, the segment being written, the index.
 * Called by fe-sqlite from pool threads. Fails with FAULT_DISK_FULL, FAULT_IO. Does not suspend.
 *
 * Each start, and each failed sync, goes on in a new segment; what a torn write left behind fails its checksum and is skipped. Only
 * what a failed write or sync may have left is cut off, at once: it was not acknowledged, and a successor that found it whole would
 * take a mark of it for mail that is stored.
 */
#include "mailbox/sealed_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/time.h"

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

struct sealed_name sealed_segment_name(uint32_t number)
{
    struct sealed_name name;

    (void)snprintf(name.s, sizeof(name.s), "log-%010u", number);
    return name;
}

struct sealed_name sealed_item_name(const struct sealed_id *id)
{
    struct sealed_name name = { "item-" };

    for (size_t i = 0; i < sizeof(id->b); i++)
        (void)snprintf(name.s + 5 + 2 * i, 3, "%02x", id->b[i]);
    return name;
}

/* ---- opening: every record head is read once ------------------------------------------------- */

int sealed_read_at(int fd, void *out, size_t n, uint64_t at)
{
    ssize_t r;

    do
        r = pread(fd, out, n, (off_t)at);
    while (r < 0 && errno == EINTR);
    return r == (ssize_t)n ? 0 : -1;
}

static bool record_is_whole(int fd, const unsigned char head[SEALED_HEAD_BYTES], const struct sealed_head *h,
                            uint32_t crc, uint64_t at)
{
    size_t n = h->type == SEALED_ITEM ? (size_t)h->body_bytes : 0;
    char *body = NULL;
    bool whole;

    if (n > 2 * SEALED_INLINE_MAX)
        return false;
    if (n > 0) {
        body = malloc(n);
        if (body == NULL)
            abort();
        if (sealed_read_at(fd, body, n, at + SEALED_HEAD_BYTES) < 0) {
            free(body);
            return false;
        }
    }
    whole = sealed_crc(head, slice_make(body, n)) == crc;
    free(body);
    return whole;
}

static void scan_record(struct sealed_log *log, const struct sealed_head *h, uint32_t segment, uint64_t at,
                        uint64_t bytes)
{
    struct sealed_item gone;

    if (h->seq > log->last_seq)
        log->last_seq = h->seq;
    if (h->type == SEALED_GONE || h->type == SEALED_PURGED) {
        (void)sealed_index_remove(log, h->alias, &h->id, &gone);
        if (h->type == SEALED_PURGED)
            sealed_segment_get(log, segment)->purges = true;
        return;
    }
    /* a copy that compaction made just before a crash: the same id twice, either will do */
    (void)sealed_index_remove(log, h->alias, &h->id, &gone);
    sealed_index_add(log, h, segment, at, bytes);
}

/* After a damaged record the next one is looked for byte by byte: it begins with the magic and has a good checksum. */
static int scan_segment(struct sealed_log *log, uint32_t number, struct fault *why)
{
    AUTO(fd_close) int fd = openat(log->dir, sealed_segment_name(number).s, O_RDONLY | O_CLOEXEC);
    unsigned char head[SEALED_HEAD_BYTES];
    struct sealed_head h;
    struct stat st;
    uint64_t at = 0;
    uint32_t crc;
    bool lost = false;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fault_errno(why, errno, "open a segment of the sealed log");
    while (sealed_read_at(fd, head, sizeof(head), at) == 0) {
        uint64_t bytes;

        if (!sealed_head_parse(head, &h, &crc) || !record_is_whole(fd, head, &h, crc, at)) {
            log->damaged += lost ? 0 : 1;
            lost = true;
            at++;
            continue;
        }
        lost = false;
        bytes = SEALED_HEAD_BYTES + (h.type == SEALED_ITEM ? h.body_bytes : 0);
        scan_record(log, &h, number, at, bytes);
        at += bytes;
    }
    sealed_segment_get(log, number)->total_bytes = (uint64_t)st.st_size;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static int list_segments(struct sealed_log *log, struct buf *numbers, struct fault *why)
{
    int copy = openat(log->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *e;

    if (d == NULL)
        return fault_errno(why, errno, "list the sealed log");
    while ((e = readdir(d)) != NULL) {
        struct slice name = slice_of(e->d_name);
        uint32_t n;

        if (slice_has_prefix(name, LIT("log-")) && slice_to_u32(slice_tail(name, 4), UINT32_MAX - 1, &n))
            (void)buf_append(numbers, slice_make(&n, sizeof(n)));
    }
    closedir(d);
    if (numbers->n > 0)
        qsort(numbers->p, numbers->n / sizeof(uint32_t), sizeof(uint32_t), compare_numbers);
    return 0;
}

int sealed_segment_begin(struct sealed_log *log, struct fault *why)
{
    const struct sealed_name name = sealed_segment_name(log->current + 1);
    int fd = openat(log->dir, name.s, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return fault_errno(why, errno, "begin a segment of the sealed log");
    if (fsync(log->dir) < 0) {
        (void)fault_errno(why, errno, "sync the folder of the sealed log");
        close(fd);
        (void)unlinkat(log->dir, name.s, 0);       /* else the next try would find it there */
        return -1;
    }
    if (log->fd >= 0)
        close(log->fd);
    log->fd = fd;
    log->current++;
    log->current_bytes = 0;
    pthread_mutex_lock(&log->lock);
    (void)sealed_segment_get(log, log->current);
    pthread_mutex_unlock(&log->lock);
    return 0;
}

/* Files of large items whose record never made it into the log: the sender was not told 250. */
static void remove_orphans(struct sealed_log *log)
{
    AUTO(map_free) struct map *known = map_new();
    struct slice key;
    size_t cursor = 0;
    void *value;
    int copy = openat(log->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *e;

    while (map_next(log->queues, &cursor, &key, &value) == 1) {
        const struct sealed_queue *q = value;

        for (size_t i = q->first; i < q->end; i++)
            if (q->items[i].external)
                map_set(known, slice_of(sealed_item_name(&q->items[i].id).s), log);
    }
    while (d != NULL && (e = readdir(d)) != NULL)
        if (slice_has_prefix(slice_of(e->d_name), LIT("item-")) && map_find(known, slice_of(e->d_name)) == NULL &&
            log->damaged == 0)
            (void)unlinkat(log->dir, e->d_name, 0);
    if (d != NULL)
        closedir(d);
}

int sealed_open(const char *folder, struct sealed_log **out, struct fault *why)
{
    AUTO(sealed_close) struct sealed_log *log = calloc(1, sizeof(*log));
    AUTO(buf_free) struct buf numbers = BUF_INIT(1 << 20);

    if (log == NULL)
        abort();
    log->fd = -1;
    log->dir = -1;
    log->queues = map_new();
    log->gone = BUF_INIT(SEALED_GONE_MAX);
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->write_lock, NULL);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return fault_errno(why, errno, "make %s", folder);
    log->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->dir < 0)
        return fault_errno(why, errno, "open %s", folder);
    if (list_segments(log, &numbers, why) < 0)
        return -1;
    for (size_t i = 0; i < numbers.n / sizeof(uint32_t); i++) {
        uint32_t n;

        memcpy(&n, numbers.p + i * sizeof(n), sizeof(n));
        if (scan_segment(log, n, why) < 0)
            return -1;
        log->current = n;
    }
    remove_orphans(log);
    /* a disk that takes nothing now: what is there can be read, and the first commit tries again */
    if (sealed_segment_begin(log, why) < 0 && why->code != FAULT_DISK_FULL && why->code != FAULT_IO)
        return -1;
    *out = log;
    log = NULL;
    return 0;
}

void sealed_close(struct sealed_log **log)
{
    if (*log == NULL)
        return;
    sealed_flush(*log);
    if ((*log)->fd >= 0)
        close((*log)->fd);
    if ((*log)->dir >= 0)
        close((*log)->dir);
    buf_free(&(*log)->gone);
    sealed_index_free(*log);
    pthread_mutex_destroy(&(*log)->lock);
    pthread_mutex_destroy(&(*log)->write_lock);
    free(*log);
    *log = NULL;
}

uint64_t sealed_damaged_count(const struct sealed_log *log)
{
    return log->damaged;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static uint64_t next_seq(struct sealed_log *log)
{
    uint64_t now = (uint64_t)clock_wall_ms() * 1000;

    log->last_seq = now > log->last_seq ? now : log->last_seq + 1;
    return log->last_seq;
}

struct pending { unsigned char head[SEALED_HEAD_BYTES]; uint64_t at, bytes; };

/* Finishes one writer and appends its record to `group`. */
static int gather(struct sealed_log *log, struct sealed_writer *w, struct pending *p, struct buf *group,
                  struct fault *why)
{
    struct slice body;

    w->head.seq = next_seq(log);
    if (sealed_writer_finish(w, p->head, why) < 0)
        return -1;
    body = w->fd < 0 ? buf_slice(&w->cipher) : SLICE_NONE;
    p->at = log->current_bytes + group->n;
    p->bytes = SEALED_HEAD_BYTES + body.n;
    if (buf_append(group, slice_make(p->head, SEALED_HEAD_BYTES)) < 0 || buf_append(group, body) < 0)
        return fault_set(why, FAULT_LIMIT, "group of sealed items too large");
    return 0;
}

static int group_write(struct sealed_log *log, struct slice group, bool external, struct fault *why)
{
    if (group.n == 0)
        return 0;
    if (external && fsync(log->dir) < 0)
        return fault_errno(why, errno, "sync the folder of the sealed log");
    if (sealed_write_all(log->fd, group, why) < 0)
        return -1;
    if (fdatasync(log->fd) < 0)
        return fault_errno(why, errno, "sync the sealed log");
    log->current_bytes += group.n;
    return 0;
}

static void index_group(struct sealed_log *log, struct sealed_writer **writers, const struct pending *p,
                        const bool *ok, size_t count, uint64_t bytes)
{
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < count; i++) {
        if (!ok[i])
            continue;
        sealed_index_add(log, &writers[i]->head, log->current, p[i].at, p[i].bytes);
        if (writers[i]->fd >= 0)
            close(writers[i]->fd);     /* the file stays: it is named by a durable record now */
        writers[i]->fd = -1;
    }
    sealed_segment_get(log, log->current)->total_bytes += bytes;
    pthread_mutex_unlock(&log->lock);
}

/* Cuts off what may be there without being certain, and never appends to that segment again. */
static void segment_give_up(struct sealed_log *log)
{
    if (log->fd < 0)
        return;
    if (ftruncate(log->fd, (off_t)log->current_bytes) == 0)
        (void)fdatasync(log->fd);      /* if this fails too, a crash may bring back what then is on the disk: whole or skipped */
    close(log->fd);
    log->fd = -1;
}

int sealed_commit(struct sealed_log *log, struct sealed_writer **writers, bool *ok, size_t count, struct fault *why)
{
    AUTO(buf_free) struct buf group = BUF_INIT((size_t)1 << 30);
    struct pending *p = calloc(count, sizeof(*p));
    bool external = false;
    size_t gone;
    int r = 0;

    if (p == NULL)
        abort();
    pthread_mutex_lock(&log->write_lock);
    if (log->fd < 0 || log->current_bytes >= SEALED_SEGMENT_BYTES)
        r = sealed_segment_begin(log, why);
    gone = sealed_gone_take(log, &group);
    for (size_t i = 0; i < count && r == 0; i++) {
        ok[i] = gather(log, writers[i], &p[i], &group, why) == 0;
        external = external || (ok[i] && writers[i]->fd >= 0);
    }
    if (r == 0)
        r = group_write(log, buf_slice(&group), external, why);
    if (r == 0) {
        index_group(log, writers, p, ok, count, group.n);
    } else {
        sealed_gone_return(log, slice_head(buf_slice(&group), gone));
        segment_give_up(log);
    }
    for (size_t i = 0; i < count; i++) {
        ok[i] = ok[i] && r == 0;
        sealed_write_abort(&writers[i]);
    }
    pthread_mutex_unlock(&log->write_lock);
    free(p);
    return r;
}

/* ---- asking ------------------------------------------------------------------------------------ */

static struct sealed_queue *queue_of(struct sealed_log *log, struct slice alias_id)
{
    unsigned char alias[SEALED_ALIAS];

    return sealed_alias_parse(alias_id, alias) ? sealed_queue_find(log, alias) : NULL;
}

size_t sealed_count(struct sealed_log *log, struct slice alias_id)
{
    const struct sealed_queue *q;
    size_t n;

    pthread_mutex_lock(&log->lock);
    q = queue_of(log, alias_id);
    n = q != NULL ? q->end - q->first : 0;
    pthread_mutex_unlock(&log->lock);
    return n;
}

uint64_t sealed_bytes(struct sealed_log *log, struct slice alias_id)
{
    const struct sealed_queue *q;
    uint64_t n;

    pthread_mutex_lock(&log->lock);
    q = queue_of(log, alias_id);
    n = q != NULL ? q->bytes : 0;
    pthread_mutex_unlock(&log->lock);
    return n;
}

bool sealed_has_mark(struct sealed_log *log, struct slice alias_id, struct slice mark)
{
    const struct sealed_queue *q;
    bool found = false;

    if (mark.n != 32)
        return false;
    pthread_mutex_lock(&log->lock);
    q = queue_of(log, alias_id);
    for (size_t i = q != NULL ? q->end : 0; i > (q != NULL ? q->first : 0) && !found; i--)
        found = memcmp(q->items[i - 1].mark, mark.p, 32) == 0;      /* newest first: a retry is recent */
    pthread_mutex_unlock(&log->lock);
    return found;
}

size_t sealed_list(struct sealed_log *log, struct slice alias_id, struct arena *in, size_t max,
                   struct sealed_item **out)
{
    const struct sealed_queue *q;
    size_t n = 0;

    *out = NULL;
    pthread_mutex_lock(&log->lock);
    q = queue_of(log, alias_id);
    if (q != NULL) {
        n = q->end - q->first < max ? q->end - q->first : max;
        *out = ARENA_ARRAY(in, struct sealed_item, n);
        memcpy(*out, q->items + q->first, n * sizeof(**out));
    }
    pthread_mutex_unlock(&log->lock);
    return n;
}
