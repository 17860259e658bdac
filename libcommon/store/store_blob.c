/* store_blob.c - large bytes beside documents, written and read in pieces of STORE_PIECE_BYTES.
 *
 * Owns struct store_blob and struct store_reader: one piece in memory each. Called by smtp,
 * smtp-bree, jobs. Pieces written before the commit are invisible; if the process dies they are
 * swept when an engine opens a day later. Suspends per piece.
 */
#include <inttypes.h>
#include "store/store_internal.h"

#define PIECE_CHUNKS (STORE_PIECE_BYTES / STORE_CHUNK_BYTES)

struct store_blob {
    struct store *st;
    struct object_id id;
    struct buf held;
    uint64_t chunks_written, total_bytes;
    bool has_failed;
};

struct store_blob *store_blob_new(struct store *st)
{
    struct store_blob *b = calloc(1, sizeof(*b));

    if (b == NULL)
        abort();
    b->st = st;
    b->id = object_id_new();
    buf_init(&b->held, STORE_PIECE_BYTES);
    return b;
}

struct store_blob *store_blob_new_id(struct store *st, struct slice id)
{
    struct store_blob *b = store_blob_new(st);

    if (object_id_is_valid(id))
        ignore_result(slice_copy_cstr(id, b->id.s, sizeof(b->id.s)));
    return b;
}

const char *store_blob_id(const struct store_blob *b)
{
    return b->id.s;
}

static void attach_part(struct store_blob *b, struct store_write *w, bool finish)
{
    w->blob = (struct store_blob_part){
        .id = arena_cstr(w->in, slice_of(b->id.s)),
        .bytes = arena_copy(w->in, buf_slice(&b->held)),
        .first_chunk = b->chunks_written,
        .total_bytes = b->total_bytes,
        .finish = finish,
    };
    b->chunks_written += (b->held.n + STORE_CHUNK_BYTES - 1) / STORE_CHUNK_BYTES;
    buf_reset(&b->held);
}

static int flush_piece(struct store_blob *b, struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_BLOB_ONLY);

    attach_part(b, w, false);
    if (write_run(b->st, &w, DEADLINE_NEVER, why) < 0) {
        b->has_failed = true;
        return -1;
    }
    return 0;
}

int store_blob_write(struct store_blob *b, struct slice bytes, struct fault *why)
{
    while (bytes.n > 0) {
        struct slice piece = slice_head(bytes, STORE_PIECE_BYTES - b->held.n);

        if (b->has_failed)
            return fault_set(why, FAULT_IO, "an earlier piece of the blob failed");
        if (b->total_bytes + piece.n > STORE_BLOB_MAX_BYTES)
            return fault_set(why, FAULT_LIMIT, "a blob of more than %" PRIu64 " bytes",
                             STORE_BLOB_MAX_BYTES);
        if (piece.n == 0) {
            if (flush_piece(b, why) < 0)
                return -1;
            continue;
        }
        (void)buf_append(&b->held, piece);
        b->total_bytes += piece.n;
        bytes = slice_tail(bytes, piece.n);
    }
    return 0;
}

static void blob_free(struct store_blob **b)
{
    buf_free(&(*b)->held);
    free(*b);
    *b = NULL;
}

/* A server that goes away may have done it all: the document may be there, and then its blob must be. */
static bool may_be_done(const struct store *st, const struct fault *why)
{
    if (why->code == FAULT_TIMEOUT || why->code == FAULT_CANCELED)
        return true;
    return !st->driver->one_writer && (why->code == FAULT_UNAVAILABLE || why->code == FAULT_IO);
}

/* Whatever happens, *b is ended. */
static int finish_with(struct store_blob **b, struct store_write **w, struct deadline until,
                       struct fault *why)
{
    int r;

    if ((*b)->has_failed)
        r = fault_set(why, FAULT_IO, "an earlier piece of the blob failed");
    else {
        attach_part(*b, *w, true);
        r = write_run((*b)->st, w, until, why);
    }
    if (r < 0 && !may_be_done((*b)->st, why))
        store_blob_abort(b);
    else
        blob_free(b);
    return r;
}

int store_blob_commit(struct store_blob **b, struct deadline until, struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_BLOB_ONLY);

    return finish_with(b, &w, until, why);
}

int store_blob_insert(struct store_blob **b, const char *collection, json_t *doc,
                      struct deadline until, struct fault *why)
{
    AUTO(write_free) struct store_write *w = write_new(WRITE_INSERT);

    if (insert_prepare((*b)->st, w, collection, doc, why) < 0) {
        store_blob_abort(b);
        return -1;
    }
    return finish_with(b, &w, until, why);
}

static struct store_write *removal(struct slice id)
{
    struct store_write *w = write_new(WRITE_BLOB_REMOVE);

    w->blob.id = arena_cstr(w->in, id);
    return w;
}

void store_blob_abort(struct store_blob **b)
{
    if (*b == NULL)
        return;
    if ((*b)->chunks_written > 0)
        write_detach((*b)->st, removal(slice_of((*b)->id.s)));
    blob_free(b);
}

int store_blob_remove(struct store *st, struct slice id, struct deadline until, struct fault *why)
{
    AUTO(write_free) struct store_write *w = NULL;

    if (!object_id_is_valid(id))
        return fault_set(why, FAULT_INVALID, "not the id of a blob");
    w = removal(id);
    return write_run(st, &w, until, why);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct store_reader {
    struct store *st;
    struct object_id id;
    uint64_t total_bytes, next_chunk, read_bytes;
    struct store_read *held;
    bool came_along; /* `held` is the first piece, not given out yet */
};

int store_blob_open(struct store *st, struct slice id, struct deadline until,
                    struct store_reader **out, uint64_t *size_bytes, struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_BLOB_STAT);
    struct store_reader *reader;

    if (!object_id_is_valid(id))
        return fault_set(why, FAULT_NOT_FOUND, "not the id of a blob");
    r->blob_id = arena_copy(r->in, id);
    r->chunk_count = PIECE_CHUNKS;
    if (read_run(st, &r, until, why) < 0)
        return -1;
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        abort();
    reader->st = st;
    memcpy(reader->id.s, id.p, id.n); /* 24 digits: checked above; calloc ended them */
    reader->total_bytes = r->count;
    if (size_bytes != NULL)
        *size_bytes = r->count;
    if (r->bytes.n > 0) { /* a small one came along */
        reader->held = r;
        reader->came_along = true;
        r = NULL;
    }
    *out = reader;
    return 0;
}

static int reader_give(struct store_reader *reader, struct slice *piece, struct fault *why)
{
    struct store_read *r = reader->held;

    if (r->bytes.n == 0 || r->bytes.n > reader->total_bytes - reader->read_bytes)
        return fault_set(why, FAULT_CORRUPT, "blob %s has lost bytes", reader->id.s);
    reader->next_chunk += PIECE_CHUNKS;
    reader->read_bytes += r->bytes.n;
    *piece = r->bytes;
    return 0;
}

int store_blob_read(struct store_reader *reader, struct deadline until, struct slice *piece,
                    struct fault *why)
{
    struct store_read *r;

    if (reader->came_along) {
        reader->came_along = false;
        return reader_give(reader, piece, why);
    }
    read_free(&reader->held);
    if (reader->read_bytes == reader->total_bytes) {
        *piece = SLICE_NONE;
        return 0;
    }
    r = read_new(READ_BLOB);
    r->blob_id = arena_copy(r->in, slice_of(reader->id.s));
    r->first_chunk = reader->next_chunk;
    r->chunk_count = PIECE_CHUNKS;
    if (read_run(reader->st, &r, until, why) < 0) {
        read_free(&r);
        return -1;
    }
    reader->held = r;
    return reader_give(reader, piece, why);
}

void store_blob_close(struct store_reader **reader)
{
    if (*reader == NULL)
        return;
    read_free(&(*reader)->held);
    free(*reader);
    *reader = NULL;
}

int store_blob_list(struct store *st, struct slice after, struct deadline until, json_t **out,
                    struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_BLOB_LIST);

    r->blob_id = arena_copy(r->in, after);
    if (read_run(st, &r, until, why) < 0)
        return -1;
    *out = r->out;
    r->out = NULL;
    return 0;
}
