/* engine_body.c - taking a body in: hash, compression, rendering; large ones as chunks that are staged on the way.
 *
 * Owns struct engine_body. Called by fe-sqlite on pool threads, one thread at a time per body; only engine_body_stage uses a
 * database. FAULT_LIMIT: longer than announced. Never suspends.
 *
 * Chunks are staged in transactions of their own without an fsync each (synchronous=NORMAL): the log is synced as a whole by the
 * commit that makes the message visible. A staged body has no references; one that is never appended dies after some hours.
 */
#include "mailbox/engine_body.h"

#include "base/time.h"
#include "mailbox/squeeze.h"

#define ZSTD_LEVEL        1       /* of text in blocks of 10 KB, 3 takes 28 % longer to save 2.5 % of the bytes */
#define STAGED_LIFE_MS    (6 * 3600 * 1000LL)

int engine_body_new(uint64_t size_max, struct engine_body **out, struct fault *why)
{
    struct engine_body *b;

    if (size_max > ENGINE_MESSAGE_MAX)
        return fault_set(why, FAULT_LIMIT, "message is longer than %llu bytes",
                         (unsigned long long)ENGINE_MESSAGE_MAX);
    b = calloc(1, sizeof(*b));
    if (!b || !(b->hash = EVP_MD_CTX_new()) || EVP_DigestInit_ex(b->hash, EVP_sha256(), NULL) != 1)
        abort();
    b->size_max = size_max;
    buf_init(&b->small, ENGINE_INLINE_MAX);
    buf_init(&b->chunk, ENGINE_CHUNK_BYTES);
    *out = b;
    return 0;
}

void engine_body_free(struct engine_body **bp)
{
    struct engine_body *b = *bp;

    if (!b)
        return;
    EVP_MD_CTX_free(b->hash);
    image_end(&b->image);
    buf_free(&b->small);
    buf_free(&b->packed);
    buf_free(&b->chunk);
    for (size_t i = 0; i < BODY_PENDING_MAX; i++)
        buf_free(&b->pending[i]);
    buf_free(&b->parts);
    buf_free(&b->envelope);
    buf_free(&b->structure);
    buf_free(&b->body);
    buf_free(&b->preview);
    free(b);
    *bp = NULL;
}

uint64_t engine_body_size(const struct engine_body *b)
{
    return b->size;
}

/* ---- chunks -------------------------------------------------------------------------------------------- */

/* `head` bytes are left free in front. Returns the compressed size, or 0 when it is not smaller. */
static size_t compress_into(struct buf *out, struct slice in, size_t head)
{
    size_t bound = ZSTD_compressBound(in.n), n;

    buf_init(out, bound + head);
    if (buf_reserve(out, bound + head) < 0)
        abort();
    n = squeeze(out->p + head, bound, in, ZSTD_LEVEL);
    if (n > 0)
        out->n = n + head;
    return n;
}

static void pack_chunk(struct engine_body *b)
{
    struct buf *out = &b->pending[b->pending_count++];
    struct slice in = buf_slice(&b->chunk);

    if (compress_into(out, in, 1)) {
        out->p[0] = BODY_ZSTD;
    } else {
        out->n = 0;
        (void)buf_append_char(out, BODY_RAW);
        (void)buf_append(out, in);
    }
    buf_reset(&b->chunk);
}

static void write_large(struct engine_body *b, struct slice bytes)
{
    image_write(&b->image, bytes);
    while (bytes.n) {
        struct slice now = slice_head(bytes, ENGINE_CHUNK_BYTES - b->chunk.n);
        (void)buf_append(&b->chunk, now);
        bytes = slice_tail(bytes, now.n);
        if (b->chunk.n == ENGINE_CHUNK_BYTES)
            pack_chunk(b);
    }
}

static int grow_large(struct engine_body *b, struct fault *why)
{
    if (image_begin(&b->image, b->size_max, why) < 0)
        return -1;
    write_large(b, buf_slice(&b->small));
    buf_free(&b->small);
    return 0;
}

int engine_body_write(struct engine_body *b, struct slice bytes, struct fault *why)
{
    if (bytes.n == 0)
        return b->pending_count > 0;
    if (b->finished || bytes.n > b->size_max - b->size)
        return fault_set(why, FAULT_LIMIT, "message is longer than announced");
    if (b->pending_count + bytes.n / ENGINE_CHUNK_BYTES + 3 > BODY_PENDING_MAX)
        return fault_set(why, FAULT_LIMIT, "piece of %zu bytes with %zu chunks waiting", bytes.n, b->pending_count);
    (void)EVP_DigestUpdate(b->hash, bytes.p, bytes.n);
    if (!b->image.p && b->size + bytes.n <= ENGINE_INLINE_MAX) {
        (void)buf_append(&b->small, bytes);
    } else {
        if (!b->image.p && grow_large(b, why) < 0)
            return -1;
        write_large(b, bytes);
    }
    b->size += bytes.n;
    return b->pending_count > 0;
}

static int stage_inside(struct engine *e, struct engine_body *b, int64_t id, struct fault *why)
{
    int64_t until = clock_wall_ms() + STAGED_LIFE_MS;

    if (!b->body_id) {
        e->state.body_id = id;
        if (db_run(e, why, "INSERT INTO bodies(id,fingerprint,digest,size,stored,refs,died) VALUES(?,0,x'',0,?,0,?)",
                   A_INT(id), A_INT(BODY_CHUNKS), A_INT(until)) < 0)
            return -1;
    }
    for (size_t i = 0; i < b->pending_count; i++)
        if (db_run(e, why, "INSERT INTO chunks VALUES(?,?)", A_INT(CHUNK_ID(id, b->chunks_staged + i)),
                   A_BLOB(buf_slice(&b->pending[i]))) < 0)
            return -1;
    return 0;
}

int engine_body_stage(struct engine *e, struct engine_body *b, struct fault *why)
{
    int64_t id = b->body_id;
    int r;

    if (b->pending_count == 0)
        return 0;
    if (e->level > 0 || (b->engine && b->engine != e))
        abort();
    if (db_exec(e, "PRAGMA synchronous=NORMAL", why) < 0)
        return -1;
    r = change_begin(e, why);
    if (r >= 0) {
        if (!id)
            id = e->state.body_id + 1;
        r = change_end(e, stage_inside(e, b, id, why), why);
    }
    if (db_exec(e, "PRAGMA synchronous=FULL", r < 0 ? NULL : why) < 0) {
        e->broken = true;
        return -1;
    }
    if (r < 0)
        return -1;
    b->body_id = id;
    b->engine = e;
    b->chunks_staged += (uint32_t)b->pending_count;
    while (b->pending_count)
        buf_free(&b->pending[--b->pending_count]);
    return 0;
}

int engine_body_finish(struct engine_body *b, struct fault *why)
{
    if (b->finished)
        return b->pending_count > 0;
    b->finished = true;
    (void)EVP_DigestFinal_ex(b->hash, b->digest, NULL);
    if (body_render(b, why) < 0)
        return -1;
    if (b->image.p) {
        image_end(&b->image);
        b->stored = BODY_CHUNKS;
        if (b->chunk.n)
            pack_chunk(b);
        return b->pending_count > 0;
    }
    b->stored = compress_into(&b->packed, buf_slice(&b->small), 0) ? BODY_ZSTD : BODY_RAW;
    if (b->stored == BODY_ZSTD)
        buf_free(&b->small);
    else
        buf_free(&b->packed);
    return 0;
}

int engine_body_make(struct engine *e, struct slice message, struct engine_body **out, struct fault *why)
{
    AUTO(engine_body_free) struct engine_body *b = NULL;
    int r;

    if (!e && message.n > ENGINE_INLINE_MAX)
        return fault_set(why, FAULT_LIMIT, "a body of this size needs its mailbox");
    if (engine_body_new(message.n, &b, why) < 0)
        return -1;
    while (message.n) {
        struct slice now = slice_head(message, ENGINE_CHUNK_BYTES);
        r = engine_body_write(b, now, why);
        if (r < 0 || (r > 0 && engine_body_stage(e, b, why) < 0))
            return -1;
        message = slice_tail(message, now.n);
    }
    r = engine_body_finish(b, why);
    if (r < 0 || (r > 0 && engine_body_stage(e, b, why) < 0))
        return -1;
    *out = b;
    b = NULL;
    return 0;
}

/* ---- storing ------------------------------------------------------------------------------------------- */

static int64_t fingerprint_of(const unsigned char digest[32])
{
    int64_t v;

    memcpy(&v, digest, sizeof(v));
    return v;
}

/* 1: the same bytes are here already. */
static int find_same(struct engine *e, const struct engine_body *b, int64_t *id, struct fault *why)
{
    return db_get(e, id, why, "SELECT id FROM bodies WHERE fingerprint=? AND digest=? AND size=?",
                  A_INT(fingerprint_of(b->digest)), A_BLOB(slice_make(b->digest, 32)), A_INT(b->size));
}

static int insert_small(struct engine *e, const struct engine_body *b, int64_t *id, struct fault *why)
{
    *id = ++e->state.body_id;
    if (db_run(e, why, "INSERT INTO bodies(id,fingerprint,digest,size,stored,refs,died) VALUES(?,?,?,?,?,1,0)",
               A_INT(*id), A_INT(fingerprint_of(b->digest)), A_BLOB(slice_make(b->digest, 32)), A_INT(b->size),
               A_INT(b->stored)) < 0)
        return -1;
    return db_run(e, why, "INSERT INTO blobs(id,data) VALUES(?,?)", A_INT(*id),
                  A_BLOB(buf_slice(b->stored == BODY_ZSTD ? &b->packed : &b->small)));
}

static int adopt_staged(struct engine *e, const struct engine_body *b, int64_t *id, struct fault *why)
{
    if (b->engine != e || b->pending_count)
        return fault_set(why, FAULT_UNAVAILABLE, "the body is staged elsewhere");
    if (db_run(e, why, "UPDATE bodies SET fingerprint=?2,digest=?3,size=?4,refs=1 WHERE id=?1 AND refs=0",
               A_INT(b->body_id), A_INT(fingerprint_of(b->digest)), A_BLOB(slice_make(b->digest, 32)),
               A_INT(b->size)) < 0)
        return -1;
    if (sqlite3_changes(e->db) != 1)
        return fault_set(why, FAULT_UNAVAILABLE, "the staged body is gone");
    *id = b->body_id;
    return 0;
}

int body_store(struct engine *e, struct engine_body *b, int64_t *body_id, struct fault *why)
{
    int r = find_same(e, b, body_id, why);

    if (!b->finished)
        abort();
    if (r != 0)
        return r < 0 ? -1 : body_ref(e, *body_id, why);
    r = b->stored == BODY_CHUNKS ? adopt_staged(e, b, body_id, why) : insert_small(e, b, body_id, why);
    if (r < 0 || db_run(e, why, "INSERT OR REPLACE INTO rendered VALUES(?,?,?,?,?)", A_INT(*body_id),
                        b->has_sent_day ? A_INT(b->sent_day) : A_NULL, A_BLOB(buf_slice(&b->parts)),
                        A_BLOB(buf_slice(&b->structure)), A_BLOB(buf_slice(&b->body))) < 0 ||
        db_run(e, why, "INSERT OR REPLACE INTO envelopes VALUES(?,?,?)", A_INT(*body_id), A_BLOB(buf_slice(&b->envelope)),
               A_BLOB(buf_slice(&b->preview))) < 0)
        return -1;
    return db_run(e, why, "INSERT OR IGNORE INTO unindexed VALUES(?,0)", A_INT(*body_id));
}

int body_ref(struct engine *e, int64_t body, struct fault *why)
{
    return db_run(e, why, "UPDATE bodies SET refs=refs+1 WHERE id=?", A_INT(body));
}

int body_unref(struct engine *e, int64_t body, struct fault *why)
{
    return db_run(e, why, "UPDATE bodies SET refs=refs-1, died=CASE WHEN refs=1 THEN ?2 ELSE died END WHERE id=?1",
                  A_INT(body), A_INT(clock_wall_ms()));
}

int body_delete(struct engine *e, int64_t body, struct fault *why)
{
    if (db_run(e, why, "DELETE FROM blobs WHERE id=?", A_INT(body)) < 0 ||
        db_run(e, why, "DELETE FROM chunks WHERE id BETWEEN ? AND ?", A_INT(CHUNK_ID(body, 0)),
               A_INT(CHUNK_ID(body + 1, 0) - 1)) < 0 ||
        db_run(e, why, "DELETE FROM rendered WHERE id=?", A_INT(body)) < 0 ||
        db_run(e, why, "DELETE FROM envelopes WHERE id=?", A_INT(body)) < 0 ||
        db_run(e, why, "DELETE FROM unindexed WHERE body=?", A_INT(body)) < 0)
        return -1;
    return db_run(e, why, "DELETE FROM bodies WHERE id=? AND refs=0", A_INT(body));
}
