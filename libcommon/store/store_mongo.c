/* store_mongo.c - the engine for servers that speak the MongoDB wire protocol; a module loaded when STORE_URI asks for it.
 *
 * Owns a pool of connections. store.c calls, on pool threads, several at once. Writes are w:majority, j:true. Neither sessions,
 * retryable writes nor transactions are used, so every compatible server will do. Fails: FAULT_UNAVAILABLE when the server is
 * away, FAULT_EXISTS on a unique index, else by the server's code.
 */
#include "store/mongo_internal.h"

#define SELECTION_MS 5000
#define SOCKET_MS    60000

extern const struct store_driver store_driver_module;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static enum fault_code server_code(uint32_t code)
{
    switch (code) {
    case 11000:
    case 11001:
    case 12582: return FAULT_EXISTS;
    case 14031: return FAULT_DISK_FULL;                /* OutOfDiskSpace */
    case 6: case 7: case 89: case 91: case 189: case 10107: case 11600: case 11602: case 13435: case 13436:
        return FAULT_UNAVAILABLE;                      /* unreachable, shutting down, no primary */
    case 13: case 18: return FAULT_DENIED;
    case 2: case 9: case 14: case 28: case 40: case 57: case 16837: return FAULT_INVALID;
    case 50: return FAULT_TIMEOUT;
    default: return FAULT_IO;
    }
}

int mongo_fault(const bson_error_t *error, struct fault *why)
{
    enum fault_code code = FAULT_IO;

    if (error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY || error->domain == MONGOC_ERROR_WRITE_CONCERN
        || error->domain == MONGOC_ERROR_COLLECTION)
        code = server_code(error->code);
    else if (error->domain == MONGOC_ERROR_SERVER_SELECTION || error->domain == MONGOC_ERROR_STREAM || error->domain == MONGOC_ERROR_CLIENT)
        code = FAULT_UNAVAILABLE;
    else if (error->domain == MONGOC_ERROR_BSON || error->domain == MONGOC_ERROR_COMMAND)
        code = FAULT_INVALID;
    return fault_set(why, code, "mongo: %s (%u/%u)", error->message, error->domain, error->code);
}

mongoc_collection_t *mongo_collection(struct mongo *m, mongoc_client_t *client, const char *name)
{
    return mongoc_client_get_collection(client, m->database, name);
}

void mongo_collection_close(mongoc_collection_t **c)
{
    if (*c != NULL)
        mongoc_collection_destroy(*c);
    *c = NULL;
}

/* ---- writes -------------------------------------------------------------------------------------------------------- */

static int insert_text(struct mongo *m, mongoc_client_t *client, const struct store_write *w, struct slice text, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    AUTO(json_release) json_t *doc = doc_load(text);
    bson_t bson = BSON_INITIALIZER;
    bson_error_t error;
    int r;

    if (!mongo_append_members(&bson, doc))
        r = fault_set(why, FAULT_LIMIT, "a document too large for BSON");
    else
        r = mongoc_collection_insert_one(c, &bson, NULL, NULL, &error) ? 0 : mongo_fault(&error, why);
    bson_destroy(&bson);
    return r;
}

static int insert_logs(struct mongo *m, mongoc_client_t *client, const struct store_write *w, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false), "writeConcern", "{", "w", BCON_INT32(1), "}");
    bson_t **docs = (bson_t **)arena_alloc_array(w->in, w->doc_count + 1, sizeof(*docs));
    bson_error_t error;
    bool ok;

    for (size_t i = 0; i < w->doc_count; i++) {
        AUTO(json_release) json_t *doc = doc_load(w->docs[i]);

        docs[i] = bson_new();
        (void)mongo_append_members(docs[i], doc);
    }
    ok = w->doc_count == 0 || mongoc_collection_insert_many(c, (const bson_t **)docs, w->doc_count, opts, NULL, &error);
    for (size_t i = 0; i < w->doc_count; i++)
        bson_destroy(docs[i]);
    bson_destroy(opts);
    return ok ? 0 : mongo_fault(&error, why);
}

static uint64_t reply_number(const bson_t *reply, const char *key)
{
    bson_iter_t at;

    return bson_iter_init_find(&at, reply, key) ? (uint64_t)bson_iter_as_int64(&at) : 0;
}

static int update(mongoc_collection_t *c, struct store_write *w, const bson_t *filter, const bson_t *change, struct fault *why)
{
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL((w->flags & STORE_UPSERT) != 0)), reply;
    bson_error_t error;
    bool ok = w->flags & STORE_MANY ? mongoc_collection_update_many(c, filter, change, opts, &reply, &error)
                                    : mongoc_collection_update_one(c, filter, change, opts, &reply, &error);

    w->count = reply_number(&reply, "matchedCount") + reply_number(&reply, "upsertedCount");
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
        w->out = json_null();          /* inserted, and asked for the state before */
    w->count = w->out != NULL;
    return 0;
}

static int modify(mongoc_collection_t *c, struct store_write *w, const bson_t *filter, const bson_t *change, struct fault *why)
{
    mongoc_find_and_modify_opts_t *opts = mongoc_find_and_modify_opts_new();
    unsigned flags = (w->flags & STORE_UPSERT ? MONGOC_FIND_AND_MODIFY_UPSERT : 0) | (w->flags & STORE_RETURN_OLD ? 0 : MONGOC_FIND_AND_MODIFY_RETURN_NEW);
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

static int remove_documents(mongoc_collection_t *c, struct store_write *w, const bson_t *filter, struct fault *why)
{
    bson_error_t error;
    bson_t reply;
    bool ok = w->flags & STORE_MANY ? mongoc_collection_delete_many(c, filter, NULL, &reply, &error)
                                    : mongoc_collection_delete_one(c, filter, NULL, &reply, &error);

    w->count = reply_number(&reply, "deletedCount");
    bson_destroy(&reply);
    return ok ? 0 : mongo_fault(&error, why);
}

static int change_matching(struct mongo *m, mongoc_client_t *client, struct store_write *w, struct fault *why)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, w->collection->name);
    bson_t filter = BSON_INITIALIZER, change = BSON_INITIALIZER;
    struct object_id id = object_id_new();
    int r;

    mongo_filter(w->filter, w->update, &filter);
    if (w->update != NULL)
        mongo_update(w->update, (w->flags & STORE_UPSERT) && !mongo_filter_has_id(w->filter) ? id.s : NULL, &change);
    switch (w->kind) {
    case WRITE_UPDATE: r = update(c, w, &filter, &change, why); break;
    case WRITE_MODIFY: r = modify(c, w, &filter, &change, why); break;
    default: r = remove_documents(c, w, &filter, why); break;
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

    if (r < 0 && w->blob.id != NULL && w->why.code != FAULT_UNAVAILABLE && w->why.code != FAULT_IO
        && mongo_blob_remove(m, client, w->blob.id, &ignored) < 0)
        return r;                      /* left for the job that removes blobs without a document */
    return r;
}

static int write_one(struct mongo *m, mongoc_client_t *client, struct store_write *w)
{
    if (w->kind == WRITE_BLOB_REMOVE)
        return mongo_blob_remove(m, client, w->blob.id, &w->why);
    if (w->blob.id != NULL && mongo_blob_put(m, client, &w->blob, &w->why) < 0)
        return -1;
    switch (w->kind) {
    case WRITE_BLOB_ONLY: return 0;
    case WRITE_INSERT: return insert_with_blob(m, client, w);
    case WRITE_LOGS: return insert_logs(m, client, w, &w->why);
    default: return change_matching(m, client, w, &w->why);
    }
}

static void mongo_write(void *engine, struct store_write *first)
{
    struct mongo *m = engine;
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);

    for (struct store_write *w = first; w != NULL; w = w->next)
        w->result = write_one(m, client, w);
    mongoc_client_pool_push(m->pool, client);
}

/* ---- reads ------------------------------------------------------------------------------------------------------------ */

static int find(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    AUTO(mongo_collection_close) mongoc_collection_t *c = mongo_collection(m, client, r->collection->name);
    bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    mongoc_cursor_t *cursor;
    bson_error_t error;
    const bson_t *doc;
    int result = 0;

    mongo_filter(r->filter, NULL, &filter);
    mongo_sort(r->sort, &sort);
    (void)bson_append_document(&opts, "sort", -1, &sort);
    (void)bson_append_int64(&opts, "limit", -1, (int64_t)r->limit);
    (void)bson_append_int64(&opts, "skip", -1, (int64_t)r->skip);
    cursor = mongoc_collection_find_with_opts(c, &filter, &opts, NULL);
    r->out = json_array();
    while (mongoc_cursor_next(cursor, &doc))
        (void)json_array_append_new(r->out, mongo_to_json(doc));
    if (mongoc_cursor_error(cursor, &error))
        result = mongo_fault(&error, &r->why);
    mongoc_cursor_destroy(cursor);
    bson_destroy(&filter);
    bson_destroy(&sort);
    bson_destroy(&opts);
    return result;
}

static int run_command(struct mongo *m, mongoc_client_t *client, bson_t *command, bson_t *reply, struct fault *why)
{
    bson_error_t error;
    bool ok = mongoc_client_command_simple(client, m->database, command, NULL, reply, &error);

    bson_destroy(command);
    return ok ? 0 : mongo_fault(&error, why);
}

static int count(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    bson_t filter = BSON_INITIALIZER, reply;
    int result;

    mongo_filter(r->filter, NULL, &filter);
    result = run_command(m, client, BCON_NEW("count", BCON_UTF8(r->collection->name), "query", BCON_DOCUMENT(&filter)), &reply, &r->why);
    r->count = reply_number(&reply, "n");
    bson_destroy(&reply);
    bson_destroy(&filter);
    return result;
}

static int ping(struct mongo *m, mongoc_client_t *client, struct fault *why)
{
    bson_t reply;
    int r = run_command(m, client, BCON_NEW("ping", BCON_INT32(1)), &reply, why);

    bson_destroy(&reply);
    return r;
}

static int mongo_read(void *engine, struct store_read *r)
{
    struct mongo *m = engine;
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);
    int result;

    switch (r->kind) {
    case READ_FIND: result = find(m, client, r); break;
    case READ_COUNT: result = count(m, client, r); break;
    case READ_PING: result = ping(m, client, &r->why); break;
    default: result = mongo_blob_read(m, client, r); break;
    }
    mongoc_client_pool_push(m->pool, client);
    return result;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

static void describe_index(const struct store_index *index, bson_t *out)
{
    bson_t keys = BSON_INITIALIZER;
    char name[4 * STORE_FIELD_MAX + 8] = "fe";

    for (size_t i = 0; i < COUNT(index->fields) && index->fields[i] != NULL; i++) {
        size_t n = strlen(name);

        (void)bson_append_int32(&keys, index->fields[i], -1, 1);
        (void)snprintf(name + n, sizeof(name) - n, "_%s", index->fields[i]);
    }
    (void)bson_append_document(out, "key", -1, &keys);
    (void)bson_append_utf8(out, "name", -1, name, -1);
    if (index->unique) {
        (void)bson_append_bool(out, "unique", -1, true);
        (void)bson_append_bool(out, "sparse", -1, true);
    }
    bson_destroy(&keys);
}

static int create_indexes(struct mongo *m, mongoc_client_t *client, const struct store_collection *coll, struct fault *why)
{
    bson_t *command = BCON_NEW("createIndexes", BCON_UTF8(coll->name)), list, one, reply;
    char number[24];
    int r;

    (void)bson_append_array_begin(command, "indexes", -1, &list);
    for (size_t i = 0; i < coll->index_count; i++) {
        (void)snprintf(number, sizeof(number), "%zu", i);
        (void)bson_append_document_begin(&list, number, -1, &one);
        describe_index(&coll->indexes[i], &one);
        (void)bson_append_document_end(&list, &one);
    }
    (void)bson_append_array_end(command, &list);
    r = run_command(m, client, command, &reply, why);
    bson_destroy(&reply);
    return r;
}

static void set_default_ms(mongoc_uri_t *uri, const char *option, int32_t ms)
{
    if (!mongoc_uri_has_option(uri, option))
        (void)mongoc_uri_set_option_as_int32(uri, option, ms);
}

static mongoc_uri_t *make_uri(const char *text, struct fault *why)
{
    bson_error_t error;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &error);
    mongoc_write_concern_t *concern;

    if (uri == NULL) {                 /* the message may quote the password */
        (void)fault_set(why, FAULT_INVALID, "STORE_URI: not a valid MongoDB connection string");
        return NULL;
    }
    concern = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(concern, SOCKET_MS);
    mongoc_write_concern_set_journal(concern, true);
    mongoc_uri_set_write_concern(uri, concern);
    mongoc_write_concern_destroy(concern);
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    set_default_ms(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, SELECTION_MS);
    set_default_ms(uri, MONGOC_URI_CONNECTTIMEOUTMS, SELECTION_MS);
    set_default_ms(uri, MONGOC_URI_SOCKETTIMEOUTMS, SOCKET_MS);
    return uri;
}

static void mongo_close(void **engine)
{
    struct mongo *m = *engine;

    if (m == NULL)
        return;
    if (m->pool != NULL)
        mongoc_client_pool_destroy(m->pool);
    free(m->database);
    free(m);
    *engine = NULL;
}

static int prepare(struct mongo *m, const struct store_options *options, struct fault *why)
{
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);
    int r = 0;

    for (size_t i = 0; r == 0 && i < options->collection_count; i++)
        if (options->collections[i].index_count > 0)
            r = create_indexes(m, client, &options->collections[i], why);
    if (r == 0)
        r = mongo_blob_sweep(m, client, why);
    mongoc_client_pool_push(m->pool, client);
    return r;
}

static int mongo_open(const struct store_options *options, void **engine, struct fault *why)
{
    mongoc_uri_t *uri;
    struct mongo *m;
    int r;

    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);                /* libraries do not log */
    uri = make_uri(options->uri, why);
    if (uri == NULL)
        return -1;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        abort();
    m->database = strdup(mongoc_uri_get_database(uri) != NULL ? mongoc_uri_get_database(uri) : "forward-email");
    m->pool = mongoc_client_pool_new(uri);
    mongoc_uri_destroy(uri);
    *engine = m;
    if (m->pool == NULL || m->database == NULL) {
        mongo_close(engine);
        return fault_set(why, FAULT_INVALID, "STORE_URI: this build of libmongoc cannot use it");
    }
    (void)mongoc_client_pool_set_error_api(m->pool, MONGOC_ERROR_API_VERSION_2);
    r = prepare(m, options, why);
    if (r < 0)
        mongo_close(engine);
    return r;
}

const struct store_driver store_driver_module = {
    .name = "mongo",
    .open = mongo_open,
    .close = mongo_close,
    .write = mongo_write,
    .read = mongo_read,
};
