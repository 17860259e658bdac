/* store_mongo_blob.c - blobs in GridFS's layout (blobs.files, blobs.chunks), each piece with the
 * store's write concern.
 *
 * Owns nothing. Pool threads; fails as the server does. A file without `length` is a blob still
 * being written: nobody sees it, and a day later the sweep takes it.
 */
#include <inttypes.h>
#include "store/mongo_internal.h"

#define FILES "blobs.files"
#define CHUNKS "blobs.chunks"
#define SWEEP_AFTER_MS 86400000
#define LIST_MAX 1000

static int insert(struct mongo *m, mongoc_client_t *client, const char *collection,
                  const bson_t *doc, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, collection);

    return mongo_insert(c, doc, why);
}

static int put_chunk(struct mongo *m, mongoc_client_t *client, const char *id, uint64_t n,
                     struct slice data, struct fault *why)
{
    bson_t doc = BSON_INITIALIZER;
    char key[64];
    int r;

    (void)snprintf(key, sizeof(key), "%s:%08" PRIu64, id, n);
    (void)bson_append_utf8(&doc, "_id", -1, key, -1);
    (void)bson_append_utf8(&doc, "files_id", -1, id, -1);
    (void)bson_append_int32(&doc, "n", -1, (int32_t)n);
    (void)bson_append_binary(&doc, "data", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)data.p,
                             (uint32_t)data.n);
    r = insert(m, client, CHUNKS, &doc, why);
    bson_destroy(&doc);
    return r;
}

static int begin_file(struct mongo *m, mongoc_client_t *client, const struct store_blob_part *part,
                      bool finished, struct fault *why)
{
    bson_t doc = BSON_INITIALIZER;
    int r;

    (void)bson_append_utf8(&doc, "_id", -1, part->id, -1);
    if (finished)
        (void)bson_append_int64(&doc, "length", -1, (int64_t)part->total_bytes);
    (void)bson_append_int32(&doc, "chunkSize", -1, STORE_CHUNK_BYTES);
    (void)bson_append_date_time(&doc, "uploadDate", -1, clock_wall_ms());
    r = insert(m, client, FILES, &doc, why);
    bson_destroy(&doc);
    return r;
}

static int finish_file(struct mongo *m, mongoc_client_t *client, const struct store_blob_part *part,
                       struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, FILES);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(part->id));
    bson_t *update = BCON_NEW("$set", "{", "length", BCON_INT64((int64_t)part->total_bytes), "}");
    bson_error_t error;
    bool ok = mongoc_collection_update_one(c, filter, update, NULL, NULL, &error);

    bson_destroy(filter);
    bson_destroy(update);
    return ok ? 0 : mongo_fault(&error, why);
}

/* The last chunk is there before the file has a length: what can be seen is whole. */
int mongo_blob_put(struct mongo *m, mongoc_client_t *client, const struct store_blob_part *part,
                   struct fault *why)
{
    bool is_first = part->first_chunk == 0, is_small = is_first && part->finish;
    struct slice rest = part->bytes;
    uint64_t n = part->first_chunk;

    if (is_first && !is_small && begin_file(m, client, part, false, why) < 0)
        return -1;
    for (; rest.n > 0; n++) {
        struct slice chunk = slice_head(rest, STORE_CHUNK_BYTES);

        if (put_chunk(m, client, part->id, n, chunk, why) < 0)
            return -1;
        rest = slice_tail(rest, chunk.n);
    }
    if (is_small)
        return begin_file(m, client, part, true, why);
    return part->finish ? finish_file(m, client, part, why) : 0;
}

int mongo_blob_remove(struct mongo *m, mongoc_client_t *client, const char *id, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *files = mongo_collection(m, client, FILES);
    AUTO(mongo_collection_close) mongoc_collection_t *chunks = mongo_collection(m, client, CHUNKS);
    bson_t *file = BCON_NEW("_id", BCON_UTF8(id)), *chunk = BCON_NEW("files_id", BCON_UTF8(id));
    bson_error_t error;
    bool ok = mongoc_collection_delete_one(files, file, NULL, NULL, &error) &&
              mongoc_collection_delete_many(chunks, chunk, NULL, NULL, &error);

    bson_destroy(file);
    bson_destroy(chunk);
    return ok ? 0 : mongo_fault(&error, why);
}

/* ---- reading -------------------------------------------------------------------------------- */

typedef int on_document(void *arg, const bson_t *doc, struct fault *why);

/* Takes filter and opts. */
static int each(struct mongo *m, mongoc_client_t *client, const char *collection, bson_t *filter,
                bson_t *opts, on_document *fn, void *arg, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, collection);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, opts, NULL);
    const bson_t *doc;
    bson_error_t error;
    int r = 0;

    while (r == 0 && mongoc_cursor_next(cursor, &doc))
        r = fn(arg, doc, why);
    if (r == 0 && mongoc_cursor_error(cursor, &error))
        r = mongo_fault(&error, why);
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
    bson_destroy(opts);
    return r;
}

static int take_length(void *arg, const bson_t *doc, UNUSED struct fault *why)
{
    struct store_read *r = arg;
    bson_iter_t at;

    if (bson_iter_init_find(&at, doc, "length")) {
        r->count = (uint64_t)bson_iter_as_int64(&at);
        r->limit = 1; /* found */
    }
    return 0;
}

static int read_stat(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    bson_t *filter =
        BCON_NEW("_id", BCON_UTF8(r->blob_id.p), "length", "{", "$exists", BCON_BOOL(true), "}");

    r->limit = 0;
    if (each(m, client, FILES, filter, bson_new(), take_length, r, &r->why) < 0)
        return -1;
    return r->limit == 1 ? 0
                         : fault_set(&r->why, FAULT_NOT_FOUND, "no blob %.*s", SLICE(r->blob_id));
}

static int take_chunk(void *arg, const bson_t *doc, struct fault *why)
{
    struct store_read *r = arg;
    bson_iter_t at;
    bson_subtype_t subtype;
    const uint8_t *data;
    uint32_t n = 0;

    if (!bson_iter_init_find(&at, doc, "data") || !BSON_ITER_HOLDS_BINARY(&at))
        return fault_set(why, FAULT_CORRUPT, "a chunk without data");
    bson_iter_binary(&at, &subtype, &n, &data);
    if (r->bytes.n + n > r->chunk_count * STORE_CHUNK_BYTES)
        return fault_set(why, FAULT_CORRUPT, "a chunk that is too large");
    memcpy((char *)(uintptr_t)r->bytes.p + r->bytes.n, data, n);
    r->bytes.n += n;
    return 0;
}

static int read_chunks(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    char first[64], last[64];

    (void)snprintf(first, sizeof(first), "%.*s:%08" PRIu64, SLICE(r->blob_id), r->first_chunk);
    (void)snprintf(last, sizeof(last), "%.*s:%08" PRIu64, SLICE(r->blob_id),
                   r->first_chunk + r->chunk_count);
    r->bytes = slice_make(arena_alloc(r->in, r->chunk_count * STORE_CHUNK_BYTES), 0);
    return each(m, client, CHUNKS,
                BCON_NEW("_id", "{", "$gte", BCON_UTF8(first), "$lt", BCON_UTF8(last), "}"),
                BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}"), take_chunk, r, &r->why);
}

static int take_id(void *arg, const bson_t *doc, UNUSED struct fault *why)
{
    bson_iter_t at;

    if (bson_iter_init_find(&at, doc, "_id"))
        (void)json_array_append_new(arg, mongo_iter_to_json(&at));
    return 0;
}

static int read_list(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    bson_t *filter = BCON_NEW("_id", "{", "$gt", BCON_UTF8(r->blob_id.p), "}", "length", "{",
                              "$exists", BCON_BOOL(true), "}");
    bson_t *opts = BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "limit", BCON_INT64(LIST_MAX));

    r->out = json_array();
    return each(m, client, FILES, filter, opts, take_id, r->out, &r->why);
}

int mongo_blob_read(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    switch (r->kind) {
    case READ_BLOB_STAT:
        return read_stat(m, client, r);
    case READ_BLOB:
        return read_chunks(m, client, r);
    default:
        return read_list(m, client, r);
    }
}

int mongo_blob_sweep(struct mongo *m, mongoc_client_t *client, struct fault *why)
{
    AUTO(json_release) json_t *ids = json_array();
    bson_t *filter = BCON_NEW("length", "{", "$exists", BCON_BOOL(false), "}", "uploadDate", "{",
                              "$lt", BCON_DATE_TIME(clock_wall_ms() - SWEEP_AFTER_MS), "}");
    json_t *id;
    size_t i;

    if (each(m, client, FILES, filter, BCON_NEW("limit", BCON_INT64(LIST_MAX)), take_id, ids, why) <
        0)
        return -1;
    json_array_foreach(ids, i, id) if (json_is_string(id) &&
                                       mongo_blob_remove(m, client, json_string_value(id), why) <
                                           0) return -1;
    return 0;
}
