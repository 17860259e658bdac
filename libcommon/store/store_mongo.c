/* store_mongo.c - the engine for servers that speak the MongoDB wire protocol; a module loaded when
 * STORE_URI asks for it.
 *
 * Owns a pool of connections. store.c calls, on pool threads, several at once. Writes are
 * w:majority, j:true. Neither sessions, retryable writes nor transactions are used, so every
 * compatible server will do. Fails: FAULT_UNAVAILABLE when the server is away, FAULT_EXISTS on a
 * unique index, else by the server's code.
 */
#include "store/mongo_internal.h"

#define SELECTION_MS 5000
#define SOCKET_MS 60000

extern const struct store_driver store_driver_module;

/* ---- errors --------------------------------------------------------------------------------- */

static enum fault_code server_code(uint32_t code)
{
    switch (code) {
    case 11000:
    case 11001:
    case 12582:
        return FAULT_EXISTS;
    case 14031:
        return FAULT_DISK_FULL; /* OutOfDiskSpace */
    case 6:
    case 7:
    case 89:
    case 91:
    case 189:
    case 10107:
    case 11600:
    case 11602:
    case 13435:
    case 13436:
        return FAULT_UNAVAILABLE; /* unreachable, shutting down, no primary */
    case 13:
    case 18:
        return FAULT_DENIED;
    case 2:
    case 9:
    case 14:
    case 28:
    case 40:
    case 57:
    case 16837:
        return FAULT_INVALID;
    case 50:
        return FAULT_TIMEOUT;
    default:
        return FAULT_IO;
    }
}

int mongo_fault(const bson_error_t *error, struct fault *why)
{
    enum fault_code code = FAULT_IO;

    if (error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY ||
        error->domain == MONGOC_ERROR_WRITE_CONCERN || error->domain == MONGOC_ERROR_COLLECTION)
        code = server_code(error->code);
    else if (error->domain == MONGOC_ERROR_SERVER_SELECTION ||
             error->domain == MONGOC_ERROR_STREAM || error->domain == MONGOC_ERROR_CLIENT)
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

/* ---- reads ---------------------------------------------------------------------------------- */

static int find(struct mongo *m, mongoc_client_t *client, struct store_read *r)
{
    AUTO(mongo_collection_close)
    mongoc_collection_t *c = mongo_collection(m, client, r->collection->name);
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

static int run_command(struct mongo *m, mongoc_client_t *client, bson_t *command, bson_t *reply,
                       struct fault *why)
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
    result = run_command(
        m, client,
        BCON_NEW("count", BCON_UTF8(r->collection->name), "query", BCON_DOCUMENT(&filter)), &reply,
        &r->why);
    r->count = mongo_reply_number(&reply, "n");
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
    case READ_FIND:
        result = find(m, client, r);
        break;
    case READ_COUNT:
        result = count(m, client, r);
        break;
    case READ_PING:
        result = ping(m, client, &r->why);
        break;
    default:
        result = mongo_blob_read(m, client, r);
        break;
    }
    mongoc_client_pool_push(m->pool, client);
    return result;
}

/* ---- opening -------------------------------------------------------------------------------- */

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
    if (index->kind == STORE_INDEX_UNIQUE) {
        (void)bson_append_bool(out, "unique", -1, true);
        (void)bson_append_bool(out, "sparse", -1, true);
    }
    bson_destroy(&keys);
}

static int create_indexes(struct mongo *m, mongoc_client_t *client,
                          const struct store_collection *coll, struct fault *why)
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

    if (uri == NULL) { /* the message may quote the password */
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
    mongoc_log_set_handler(NULL, NULL); /* libraries do not log */
    uri = make_uri(options->uri, why);
    if (uri == NULL)
        return -1;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        abort();
    m->database = strdup(mongoc_uri_get_database(uri) != NULL ? mongoc_uri_get_database(uri)
                                                              : "forward-email");
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
