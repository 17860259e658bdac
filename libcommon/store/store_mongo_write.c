/* store_mongo_write.c - writes of the MongoDB engine: each document by itself, acknowledged by a
 * majority and its journal.
 *
 * Owns nothing. Pool threads, several at once; fails as the server does. A blob goes before the
 * document that names it.
 */
#include "store/mongo_internal.h"

#define INSERT_TRIES 3

static bool is_there(mongoc_collection_t *c, const bson_t *doc)
{
    bson_t filter = BSON_INITIALIZER;
    mongoc_cursor_t *cursor;
    const bson_t *found;
    bson_iter_t at;
    bool there = false;

    if (bson_iter_init_find(&at, doc, "_id") && bson_append_iter(&filter, "_id", 3, &at)) {
        cursor = mongoc_collection_find_with_opts(c, &filter, NULL, NULL);
        there = mongoc_cursor_next(cursor, &found);
        mongoc_cursor_destroy(cursor);
    }
    bson_destroy(&filter);
    return there;
}

int mongo_insert(mongoc_collection_t *c, const bson_t *doc, struct fault *why)
{
    bson_error_t error;

    for (int tries = 1;; tries++) {
        if (mongoc_collection_insert_one(c, doc, NULL, NULL, &error))
            return 0;
        (void)mongo_fault(&error, why);
        if (tries > 1 && why->code == FAULT_EXISTS && is_there(c, doc))
            return 0;
        if (why->code != FAULT_UNAVAILABLE || tries == INSERT_TRIES)
            return -1;
    }
}

static int insert_text(struct mongo *m, mongoc_client_t *client, const struct store_write *w,
                       struct slice text, struct fault *why)
{
    AUTO(mongo_collection_close)
    mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    AUTO(json_release) json_t *doc = doc_load(text);
    bson_t bson = BSON_INITIALIZER;
    int r;

    if (!mongo_append_members(&bson, doc))
        r = fault_set(why, FAULT_LIMIT, "a document too large for BSON");
    else
        r = mongo_insert(c, &bson, why);
    bson_destroy(&bson);
    return r;
}

static int insert_logs(struct mongo *m, mongoc_client_t *client, const struct store_write *w,
                       struct fault *why)
{
    AUTO(mongo_collection_close)
    mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    bson_t *opts =
        BCON_NEW("ordered", BCON_BOOL(false), "writeConcern", "{", "w", BCON_INT32(1), "}");
    bson_t **docs = ARENA_ARRAY(w->in, bson_t *, w->doc_count + 1);
    bson_error_t error;
    bool ok;

    for (size_t i = 0; i < w->doc_count; i++) {
        AUTO(json_release) json_t *doc = doc_load(w->docs[i]);

        docs[i] = bson_new();
        (void)mongo_append_members(docs[i], doc);
    }
    ok = w->doc_count == 0 ||
         mongoc_collection_insert_many(c, (const bson_t **)docs, w->doc_count, opts, NULL, &error);
    for (size_t i = 0; i < w->doc_count; i++)
        bson_destroy(docs[i]);
    bson_destroy(opts);
    return ok ? 0 : mongo_fault(&error, why);
}

uint64_t mongo_reply_number(const bson_t *reply, const char *key)
{
    bson_iter_t at;

    return bson_iter_init_find(&at, reply, key) ? (uint64_t)bson_iter_as_int64(&at) : 0;
}

static int update(mongoc_collection_t *c, struct store_write *w, const bson_t *filter,
                  const bson_t *change, struct fault *why)
{
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL((w->flags & STORE_UPSERT) != 0)), reply;
    bson_error_t error;
    bool ok = w->flags & STORE_MANY
                  ? mongoc_collection_update_many(c, filter, change, opts, &reply, &error)
                  : mongoc_collection_update_one(c, filter, change, opts, &reply, &error);

    w->count =
        mongo_reply_number(&reply, "matchedCount") + mongo_reply_number(&reply, "upsertedCount");
    bson_destroy(&reply);
    bson_destroy(opts);
    return ok ? 0 : mongo_fault(&error, why);
}

static int take_modified(struct store_write *w, const bson_t *reply)
{
    bson_iter_t at;

    if (bson_iter_init_find(&at, reply, "value") && BSON_ITER_HOLDS_DOCUMENT(&at))
        w->out = mongo_iter_to_json(&at);
    else if (w->flags & STORE_UPSERT)
        w->out = json_null(); /* inserted, and asked for the state before */
    w->count = w->out != NULL;
    return 0;
}

static int modify(mongoc_collection_t *c, struct store_write *w, const bson_t *filter,
                  const bson_t *change, struct fault *why)
{
    mongoc_find_and_modify_opts_t *opts = mongoc_find_and_modify_opts_new();
    unsigned flags = (w->flags & STORE_UPSERT ? MONGOC_FIND_AND_MODIFY_UPSERT : 0) |
                     (w->flags & STORE_RETURN_OLD ? 0 : MONGOC_FIND_AND_MODIFY_RETURN_NEW);
    bson_t sort = BSON_INITIALIZER, reply;
    bson_error_t error;
    bool ok;

    mongo_sort(w->sort, &sort);
    (void)mongoc_find_and_modify_opts_set_update(opts, change);
    (void)mongoc_find_and_modify_opts_set_sort(opts, &sort);
    (void)mongoc_find_and_modify_opts_set_flags(opts, (mongoc_find_and_modify_flags_t)flags);
    ok = mongoc_collection_find_and_modify_with_opts(c, filter, opts, &reply, &error);
    if (ok)
        (void)take_modified(w, &reply);
    bson_destroy(&reply);
    bson_destroy(&sort);
    mongoc_find_and_modify_opts_destroy(opts);
    return ok ? 0 : mongo_fault(&error, why);
}

static int remove_documents(mongoc_collection_t *c, struct store_write *w, const bson_t *filter,
                            struct fault *why)
{
    bson_error_t error;
    bson_t reply;
    bool ok = w->flags & STORE_MANY ? mongoc_collection_delete_many(c, filter, NULL, &reply, &error)
                                    : mongoc_collection_delete_one(c, filter, NULL, &reply, &error);

    w->count = mongo_reply_number(&reply, "deletedCount");
    bson_destroy(&reply);
    return ok ? 0 : mongo_fault(&error, why);
}

static int change_matching(struct mongo *m, mongoc_client_t *client, struct store_write *w,
                           struct fault *why)
{
    AUTO(mongo_collection_close)
    mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    bson_t filter = BSON_INITIALIZER, change = BSON_INITIALIZER;
    struct object_id id = object_id_new();
    int r;

    mongo_filter(w->filter, w->update, &filter);
    if (w->update != NULL)
        mongo_update(w->update,
                     (w->flags & STORE_UPSERT) && !mongo_filter_has_id(w->filter) ? id.s : NULL,
                     &change);
    switch (w->kind) {
    case WRITE_UPDATE:
        r = update(c, w, &filter, &change, why);
        break;
    case WRITE_MODIFY:
        r = modify(c, w, &filter, &change, why);
        break;
    default:
        r = remove_documents(c, w, &filter, why);
        break;
    }
    bson_destroy(&filter);
    bson_destroy(&change);
    return r;
}

/* The blob goes first; when its document is refused, nobody will ever name it. */
static int insert_with_blob(struct mongo *m, mongoc_client_t *client, struct store_write *w)
{
    struct fault ignored;
    int r = insert_text(m, client, w, w->doc, &w->why);

    if (r < 0 && w->blob.id != NULL && w->why.code != FAULT_UNAVAILABLE &&
        w->why.code != FAULT_IO && mongo_blob_remove(m, client, w->blob.id, &ignored) < 0)
        return r; /* left for the job that removes blobs without a document */
    return r;
}

static int write_one(struct mongo *m, mongoc_client_t *client, struct store_write *w)
{
    if (w->kind == WRITE_BLOB_REMOVE)
        return mongo_blob_remove(m, client, w->blob.id, &w->why);
    if (w->blob.id != NULL && mongo_blob_put(m, client, &w->blob, &w->why) < 0)
        return -1;
    switch (w->kind) {
    case WRITE_BLOB_ONLY:
        return 0;
    case WRITE_INSERT:
        return insert_with_blob(m, client, w);
    case WRITE_LOGS:
        return insert_logs(m, client, w, &w->why);
    default:
        return change_matching(m, client, w, &w->why);
    }
}

void mongo_write(void *engine, struct store_group *group)
{
    struct mongo *m = engine;
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);

    for (struct store_write *w = group->first; w != NULL; w = w->next)
        w->result = write_one(m, client, w);
    mongoc_client_pool_push(m->pool, client);
}
