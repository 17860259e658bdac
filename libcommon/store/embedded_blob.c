/* embedded_blob.c - blobs of the embedded engine: a row per blob, a row per chunk of 128 KiB.
 *
 * Owns nothing. Pool threads; puts and removals run inside the caller's transaction. A row whose
 * `bytes` is NULL is a blob still being written; nobody sees it, and a day later the sweep takes
 * it.
 */
#include "store/embedded_internal.h"

#define SWEEP_AFTER_MS 86400000
#define LIST_MAX 1000

static int blob_number(struct emb_conn *c, struct slice id, int64_t *out, struct fault *why)
{
    sqlite3_stmt *s;
    int r;

    if (emb_prepare(c, "SELECT n FROM blobs WHERE id = ?", &s, why) < 0)
        return -1;
    emb_bind_text(s, 1, id);
    r = emb_step(c, s, why);
    if (r < 0)
        return r;
    if (r == 0)
        return fault_set(why, FAULT_NOT_FOUND, "no blob %.*s", SLICE(id));
    *out = sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return 0;
}

static int begin_blob(struct emb_conn *c, const struct store_blob_part *part, int64_t *number,
                      struct fault *why)
{
    sqlite3_stmt *s;

    if (emb_prepare(c, "INSERT INTO blobs(id, bytes, begun_ms) VALUES (?, ?, ?)", &s, why) < 0)
        return -1;
    emb_bind_text(s, 1, slice_of(part->id));
    if (part->finish)
        (void)sqlite3_bind_int64(s, 2, (int64_t)part->total_bytes);
    (void)sqlite3_bind_int64(s, 3, clock_wall_ms());
    if (emb_step(c, s, why) < 0)
        return -1;
    *number = sqlite3_last_insert_rowid(c->db);
    return 0;
}

static int finish_blob(struct emb_conn *c, const struct store_blob_part *part, int64_t number,
                       struct fault *why)
{
    sqlite3_stmt *s;

    if (emb_prepare(c, "UPDATE blobs SET bytes = ? WHERE n = ?", &s, why) < 0)
        return -1;
    (void)sqlite3_bind_int64(s, 1, (int64_t)part->total_bytes);
    (void)sqlite3_bind_int64(s, 2, number);
    return emb_step(c, s, why);
}

static int put_chunks(struct emb_conn *c, const struct store_blob_part *part, int64_t number,
                      struct fault *why)
{
    struct slice rest = part->bytes;
    int64_t key = number * CHUNKS_PER_BLOB + (int64_t)part->first_chunk;
    sqlite3_stmt *s;

    while (rest.n > 0) {
        struct slice chunk = slice_head(rest, STORE_CHUNK_BYTES);

        if (emb_prepare(c, "INSERT INTO chunks(k, data) VALUES (?, ?)", &s, why) < 0)
            return -1;
        (void)sqlite3_bind_int64(s, 1, key++);
        (void)sqlite3_bind_blob64(s, 2, chunk.p, chunk.n, SQLITE_STATIC);
        if (emb_step(c, s, why) < 0)
            return -1;
        rest = slice_tail(rest, chunk.n);
    }
    return 0;
}

int emb_blob_put(struct emb_conn *c, const struct store_blob_part *part, struct fault *why)
{
    int64_t number;
    bool is_first = part->first_chunk == 0;

    if ((is_first ? begin_blob(c, part, &number, why)
                  : blob_number(c, slice_of(part->id), &number, why)) < 0)
        return -1;
    if (put_chunks(c, part, number, why) < 0)
        return -1;
    return part->finish && !is_first ? finish_blob(c, part, number, why) : 0;
}

int emb_blob_remove(struct emb_conn *c, struct slice id, struct fault *why)
{
    struct fault inner;
    sqlite3_stmt *s;
    int64_t number;

    if (blob_number(c, id, &number, &inner) < 0) {
        if (inner.code == FAULT_NOT_FOUND)
            return 0;
        *why = inner;
        return -1;
    }
    if (emb_prepare(c, "DELETE FROM chunks WHERE k >= ? AND k < ?", &s, why) < 0)
        return -1;
    (void)sqlite3_bind_int64(s, 1, number * CHUNKS_PER_BLOB);
    (void)sqlite3_bind_int64(s, 2, (number + 1) * CHUNKS_PER_BLOB);
    if (emb_step(c, s, why) < 0 || emb_prepare(c, "DELETE FROM blobs WHERE n = ?", &s, why) < 0)
        return -1;
    (void)sqlite3_bind_int64(s, 1, number);
    return emb_step(c, s, why);
}

int emb_blob_sweep(struct emb_conn *c, struct fault *why)
{
    char id[25] = "";
    sqlite3_stmt *s;
    int r;

    for (;;) {
        if (emb_prepare(c, "SELECT id FROM blobs WHERE bytes IS NULL AND begun_ms < ? LIMIT 1", &s,
                        why) < 0)
            return -1;
        (void)sqlite3_bind_int64(s, 1, clock_wall_ms() - SWEEP_AFTER_MS);
        r = emb_step(c, s, why);
        if (r <= 0)
            return r;
        r = slice_copy_cstr(emb_column(s, 0), id, sizeof(id))
                ? 0
                : fault_set(why, FAULT_CORRUPT, "a blob without a proper id");
        (void)sqlite3_reset(s);
        if (r < 0 || emb_exec(c, "BEGIN IMMEDIATE", why) < 0)
            return -1;
        if (emb_blob_remove(c, slice_of(id), why) < 0 || emb_exec(c, "COMMIT", why) < 0)
            return -1;
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Chunks first.. of blob `number` into r->bytes, which has room for `room` bytes. */
static int read_rows(struct emb_conn *c, struct store_read *r, int64_t number, size_t room)
{
    int64_t first = number * CHUNKS_PER_BLOB + (int64_t)r->first_chunk;
    char *p = arena_alloc(r->in, room);
    size_t n = 0;
    sqlite3_stmt *s;
    int got;

    if (emb_prepare(c, "SELECT data FROM chunks WHERE k >= ? AND k < ? ORDER BY k", &s, &r->why) <
        0)
        return -1;
    (void)sqlite3_bind_int64(s, 1, first);
    (void)sqlite3_bind_int64(s, 2, first + (int64_t)r->chunk_count);
    while ((got = emb_step(c, s, &r->why)) > 0) {
        struct slice chunk = emb_column(s, 0);

        if (chunk.n > room - n) {
            (void)sqlite3_reset(s);
            return fault_set(&r->why, FAULT_CORRUPT, "a chunk that is too large");
        }
        memcpy(p + n, chunk.p, chunk.n);
        n += chunk.n;
    }
    r->bytes = slice_make(p, n);
    return got;
}

/* Its size; and all its bytes in the same trip when it is small. */
static int read_stat(struct emb_conn *c, struct store_read *r)
{
    sqlite3_stmt *s;
    int64_t number;
    int got;

    if (emb_prepare(c, "SELECT bytes, n FROM blobs WHERE id = ? AND bytes IS NOT NULL", &s,
                    &r->why) < 0)
        return -1;
    emb_bind_text(s, 1, r->blob_id);
    got = emb_step(c, s, &r->why);
    if (got == 0)
        return fault_set(&r->why, FAULT_NOT_FOUND, "no blob %.*s", SLICE(r->blob_id));
    if (got < 0)
        return -1;
    r->count = (uint64_t)sqlite3_column_int64(s, 0);
    number = sqlite3_column_int64(s, 1);
    (void)sqlite3_reset(s);
    if (r->count == 0 || r->count > r->chunk_count * STORE_CHUNK_BYTES)
        return 0;
    return read_rows(c, r, number, (size_t)r->count);
}

static int read_chunks(struct emb_conn *c, struct store_read *r)
{
    int64_t number;

    if (blob_number(c, r->blob_id, &number, &r->why) < 0)
        return -1;
    return read_rows(c, r, number, r->chunk_count * STORE_CHUNK_BYTES);
}

static int read_list(struct emb_conn *c, struct store_read *r)
{
    sqlite3_stmt *s;
    int got;

    if (emb_prepare(c,
                    "SELECT id FROM blobs WHERE id > ? AND bytes IS NOT NULL ORDER BY id LIMIT ?",
                    &s, &r->why) < 0)
        return -1;
    emb_bind_text(s, 1, r->blob_id);
    (void)sqlite3_bind_int(s, 2, LIST_MAX);
    r->out = json_array();
    while ((got = emb_step(c, s, &r->why)) > 0)
        (void)json_array_append_new(r->out, json_slice(emb_column(s, 0)));
    return got;
}

int emb_blob_read(struct emb_conn *c, struct store_read *r)
{
    switch (r->kind) {
    case READ_BLOB_STAT:
        return read_stat(c, r);
    case READ_BLOB:
        return read_chunks(c, r);
    default:
        return read_list(c, r);
    }
}
