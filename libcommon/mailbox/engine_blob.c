/* engine_blob.c - reading the bytes of a body by position: whole for small ones, a chunk at a time for large ones.
 *
 * Owns one decompressed piece per reader. Called by fetch, search, export and verify. FAULT_CORRUPT when rows are missing or do
 * not decompress; FAULT_UNAVAILABLE when the body is gone. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include "mailbox/squeeze.h"

void body_reader_init(struct body_reader *r, struct engine *e)
{
    *r = (struct body_reader){ .e = e, .loaded = -1 };
    buf_init(&r->bytes, ENGINE_INLINE_MAX + 1);
}

void body_reader_close(struct body_reader *r)
{
    buf_free(&r->bytes);
}

int body_reader_open(struct body_reader *r, int64_t body, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int got;

    r->loaded = -1;
    if (db_query(r->e, &q, why, "SELECT size,stored FROM bodies WHERE id=?", A_INT(body)) < 0)
        return -1;
    got = db_step(r->e, q, why);
    if (got <= 0)
        return got < 0 ? -1 : fault_set(why, FAULT_UNAVAILABLE, "the body is gone");
    r->body = body;
    r->size = (uint64_t)sqlite3_column_int64(q, 0);
    r->stored = sqlite3_column_int(q, 1);
    return 0;
}

static int unpack_bytes_into(struct body_reader *r, struct slice in, int stored, size_t want, struct fault *why)
{
    buf_reset(&r->bytes);
    if (want > ENGINE_INLINE_MAX || buf_reserve(&r->bytes, want + 1) < 0)
        return fault_set(why, FAULT_CORRUPT, "a body row is too long");
    if (stored == BODY_RAW) {
        if (in.n != want)
            return fault_set(why, FAULT_CORRUPT, "a body row has %zu bytes instead of %zu", in.n, want);
        return buf_append(&r->bytes, in);
    }
    if (!unsqueeze(r->bytes.p, want, in))
        return fault_set(why, FAULT_CORRUPT, "a body row does not decompress");
    r->bytes.n = want;
    return 0;
}

static int load_inline(struct body_reader *r, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int got;

    if (db_query(r->e, &q, why, "SELECT data FROM blobs WHERE id=?", A_INT(r->body)) < 0)
        return -1;
    got = db_step(r->e, q, why);
    if (got <= 0)
        return got < 0 ? -1 : fault_set(why, FAULT_CORRUPT, "the bytes of a body are missing");
    return unpack_bytes_into(r, db_column(q, 0), r->stored, r->size, why);
}

static int load_chunk(struct body_reader *r, uint64_t n, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    uint64_t at = n * ENGINE_CHUNK_BYTES, want = r->size - at;
    struct slice data;
    int got;

    if (db_query(r->e, &q, why, "SELECT data FROM chunks WHERE id=?", A_INT(CHUNK_ID(r->body, n))) < 0)
        return -1;
    got = db_step(r->e, q, why);
    if (got < 0)
        return -1;
    data = got ? db_column(q, 0) : SLICE_NONE;
    if (data.n == 0)
        return fault_set(why, FAULT_CORRUPT, "chunk %llu of a body is missing", (unsigned long long)n);
    return unpack_bytes_into(r, slice_tail(data, 1), data.p[0],
                             want < ENGINE_CHUNK_BYTES ? want : ENGINE_CHUNK_BYTES, why);
}

int body_reader_at(struct body_reader *r, uint64_t at, struct slice *out, struct fault *why)
{
    uint64_t n = r->stored == BODY_CHUNKS ? at / ENGINE_CHUNK_BYTES : 0;
    int got = 0;

    if (at >= r->size) {
        *out = SLICE_NONE;
        return 0;
    }
    if (r->loaded != (int64_t)n) {
        r->loaded = -1;
        got = r->stored == BODY_CHUNKS ? load_chunk(r, n, why) : load_inline(r, why);
        if (got < 0)
            return -1;
        r->loaded = (int64_t)n;
    }
    *out = slice_tail(buf_slice(&r->bytes), at - n * ENGINE_CHUNK_BYTES);
    return 0;
}

int body_reader_range(struct body_reader *r, uint64_t at, uint64_t n, struct buf *out, struct fault *why)
{
    struct slice piece;

    while (n) {
        if (body_reader_at(r, at, &piece, why) < 0)
            return -1;
        piece = slice_head(piece, n);
        if (piece.n == 0)
            return 0;
        if (buf_append(out, piece) < 0)
            return fault_set(why, FAULT_LIMIT, "section is too long for memory");
        at += piece.n;
        n -= piece.n;
    }
    return 0;
}
