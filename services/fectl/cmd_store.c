/* cmd_store.c - fectl store: copy everything from one document store into an empty other one, then
 * compare; dump as text.
 *
 * Owns both stores for the run. Fails when the target holds documents or anything differs
 * afterwards; the source is only read. Daemons should be stopped: what they write meanwhile may or
 * may not be copied. Suspends per page and piece.
 */
#include "fectl.h"

#include <sodium.h>
#include "base/encode.h"

#define COPY_PAGE 500

struct copy {
    struct fectl *f;
    struct store *from, *to;
    uint64_t documents, blobs, bytes;
};

typedef int on_page(struct copy *c, const char *collection, json_t *docs, struct fault *why);

/* Calls fn with all documents of the source, a page at a time, in the order of their ids. */
static int each_page(struct copy *c, const char *collection, on_page *fn, struct fault *why)
{
    char after[25] = "";

    for (;;) {
        AUTO(arena_free) struct arena *in = arena_new(0);
        AUTO(json_release) json_t *docs = NULL;
        struct store_filter *filter = store_filter_new(in);
        struct store_page page = {.limit = COPY_PAGE};

        if (after[0] != '\0')
            store_where_text(filter, "_id", STORE_GT, slice_of(after));
        if (store_find(c->from, collection, filter, &page, fectl_until(), &docs, why) < 0)
            return -1;
        if (json_array_size(docs) == 0)
            return 0;
        if (!slice_copy_cstr(json_get_slice(json_array_get(docs, json_array_size(docs) - 1), "_id"),
                             after, sizeof(after)))
            return fault_set(why, FAULT_CORRUPT, "a document of %s without a proper id",
                             collection);
        if (fn(c, collection, docs, why) < 0)
            return -1;
    }
}

static int insert_page(struct copy *c, const char *collection, json_t *docs, struct fault *why)
{
    json_t *doc;
    size_t i;

    json_array_foreach(docs, i, doc)
    {
        if (store_insert(c->to, collection, doc, fectl_until(), why) < 0)
            return why->code == FAULT_EXISTS
                       ? fault_set(why, FAULT_EXISTS,
                                   "%s: the target has it already; copy into an empty store",
                                   collection)
                       : -1;
        c->documents++;
    }
    return 0;
}

static int compare_page(struct copy *c, const char *collection, json_t *docs, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *copies = NULL;
    struct store_filter *filter = store_filter_new(in);
    struct slice *ids = ARENA_ARRAY(in, struct slice, json_array_size(docs));
    struct store_page page = {.limit = COPY_PAGE};

    for (size_t i = 0; i < json_array_size(docs); i++)
        ids[i] = json_get_slice(json_array_get(docs, i), "_id");
    store_where_in(filter, "_id", ids, json_array_size(docs));
    if (store_find(c->to, collection, filter, &page, fectl_until(), &copies, why) < 0)
        return -1;
    return json_equal(docs, copies)
               ? 0
               : fault_set(why, FAULT_CORRUPT, "%s: the copy differs between %.*s and %.*s",
                           collection, SLICE(ids[0]), SLICE(ids[json_array_size(docs) - 1]));
}

static int copy_blob(struct copy *c, struct slice id, struct fault *why)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    AUTO(store_blob_abort) struct store_blob *b = store_blob_new_id(c->to, id);
    struct slice piece;
    uint64_t size;

    if (store_blob_open(c->from, id, fectl_until(), &r, &size, why) < 0)
        return -1;
    for (;;) {
        if (store_blob_read(r, fectl_until(), &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        if (store_blob_write(b, piece, why) < 0)
            return -1;
    }
    c->blobs++;
    c->bytes += size;
    return store_blob_commit(&b, fectl_until(), why);
}

/* Both engines cut blobs into the same pieces. */
static int compare_blob(struct copy *c, struct slice id, struct fault *why)
{
    AUTO(store_blob_close) struct store_reader *one = NULL;
    AUTO(store_blob_close) struct store_reader *two = NULL;
    struct slice a, b;

    if (store_blob_open(c->from, id, fectl_until(), &one, NULL, why) < 0 ||
        store_blob_open(c->to, id, fectl_until(), &two, NULL, why) < 0)
        return -1;
    do {
        if (store_blob_read(one, fectl_until(), &a, why) < 0 ||
            store_blob_read(two, fectl_until(), &b, why) < 0)
            return -1;
        if (!slice_equal(a, b))
            return fault_set(why, FAULT_CORRUPT, "the copy of blob %.*s differs", SLICE(id));
    } while (a.n > 0);
    return 0;
}

static int each_blob(struct copy *c, int (*fn)(struct copy *c, struct slice id, struct fault *why),
                     struct fault *why)
{
    char after[25] = "";

    for (;;) {
        AUTO(json_release) json_t *ids = NULL;
        json_t *id;
        size_t i;

        if (store_blob_list(c->from, slice_of(after), fectl_until(), &ids, why) < 0)
            return -1;
        if (json_array_size(ids) == 0)
            return 0;
        json_array_foreach(ids, i, id)
        {
            if (!slice_copy_cstr(slice_of(json_string_value(id)), after, sizeof(after)))
                return fault_set(why, FAULT_CORRUPT, "a blob without a proper id");
            if (fn(c, slice_of(after), why) < 0)
                return -1;
        }
    }
}

static int count_same(struct copy *c, const char *collection, struct fault *why)
{
    uint64_t from, to;

    if (store_count(c->from, collection, NULL, fectl_until(), &from, why) < 0 ||
        store_count(c->to, collection, NULL, fectl_until(), &to, why) < 0)
        return -1;
    printf("%s %llu\n", collection, (unsigned long long)to);
    return from == to ? 0
                      : fault_set(why, FAULT_CORRUPT, "%s: %llu documents, %llu in the copy",
                                  collection, (unsigned long long)from, (unsigned long long)to);
}

static int copy_all(struct copy *c, struct fault *why)
{
    /* blobs before the documents that name them */
    if (each_blob(c, copy_blob, why) < 0)
        return -1;
    for (size_t i = 0; i < models_collection_count; i++)
        if (each_page(c, models_collections[i].name, insert_page, why) < 0)
            return -1;
    if (each_blob(c, compare_blob, why) < 0)
        return -1;
    for (size_t i = 0; i < models_collection_count; i++)
        if (each_page(c, models_collections[i].name, compare_page, why) < 0 ||
            count_same(c, models_collections[i].name, why) < 0)
            return -1;
    printf("blobs %llu (%llu bytes)\ncopied and compared: %llu documents\n",
           (unsigned long long)c->blobs, (unsigned long long)c->bytes,
           (unsigned long long)c->documents);
    return 0;
}

static int open_uri(const char *uri, const char *key_file, struct store **out, struct fault *why)
{
    struct store_options options = {.uri = uri, .key_file = key_file};

    return store_open(&options, out, why);
}

static int store_copy(struct fectl *f, struct fault *why)
{
    const char *to_key = fectl_option(f, "--to-key-file");
    struct copy c = {.f = f};
    int r;

    if (f->argc != 2)
        return fault_set(why, FAULT_INVALID, "two store URIs are needed: from and to");
    r = open_uri(f->argv[0], f->settings.store_key_file, &c.from, why);
    if (r == 0)
        r = open_uri(f->argv[1], to_key != NULL ? to_key : f->settings.store_key_file, &c.to, why);
    if (r == 0)
        r = copy_all(&c, why);
    store_close(&c.to);
    store_close(&c.from);
    return r;
}

/* ---- store dump: text that is equal exactly when two stores hold the same ------------------- */

static int dump_blob(struct fectl *f, struct store *st, struct slice id, struct fault *why)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    crypto_hash_sha256_state state;
    unsigned char digest[32];
    struct slice piece;
    uint64_t size;

    if (store_blob_open(st, id, fectl_until(), &r, &size, why) < 0)
        return -1;
    crypto_hash_sha256_init(&state);
    do {
        if (store_blob_read(r, fectl_until(), &piece, why) < 0)
            return -1;
        crypto_hash_sha256_update(&state, (const unsigned char *)piece.p, piece.n);
    } while (piece.n > 0);
    crypto_hash_sha256_final(&state, digest);
    printf("blob %.*s %llu %.*s\n", SLICE(id), (unsigned long long)size,
           SLICE(hex_encode(f->arena, slice_make(digest, 32))));
    return 0;
}

static int dump_blobs(struct fectl *f, struct store *st, struct fault *why)
{
    struct slice after = SLICE_NONE;

    for (;;) {
        AUTO(json_release) json_t *ids = NULL;
        json_t *id;
        size_t i;

        if (store_blob_list(st, after, fectl_until(), &ids, why) < 0)
            return -1;
        if (json_array_size(ids) == 0)
            return 0;
        json_array_foreach(ids, i, id)
        {
            after = arena_copy(f->arena, slice_of(json_string_value(id)));
            if (dump_blob(f, st, after, why) < 0)
                return -1;
        }
    }
}

static int dump_page(struct fectl *f, struct store *st, const char *collection, struct slice *after,
                     struct fault *why)
{
    AUTO(json_release) json_t *docs = NULL;
    struct store_filter *filter = store_filter_new(f->arena);
    struct store_page page = {.limit = COPY_PAGE};
    json_t *doc;
    size_t i;

    if (after->n > 0)
        store_where_text(filter, "_id", STORE_GT, *after);
    if (store_find(st, collection, filter, &page, fectl_until(), &docs, why) < 0)
        return -1;
    json_array_foreach(docs, i, doc)
    {
        char *text = json_dumps(doc, JSON_SORT_KEYS | JSON_COMPACT);

        printf("%s %s\n", collection, text);
        free(text);
        *after = arena_copy(f->arena, json_get_slice(doc, "_id"));
    }
    return json_array_size(docs) > 0;
}

static int store_dump(struct fectl *f, struct fault *why)
{
    struct store *st = NULL;
    int r;

    if (f->argc != 1)
        return fault_set(why, FAULT_INVALID, "one store URI is needed");
    r = open_uri(f->argv[0], f->settings.store_key_file, &st, why);
    if (r == 0)
        r = dump_blobs(f, st, why);
    for (size_t i = 0; i < models_collection_count && r == 0; i++) {
        struct slice after = SLICE_NONE;
        int more;

        while ((more = dump_page(f, st, models_collections[i].name, &after, why)) == 1)
            continue;
        r = more;
    }
    store_close(&st);
    return r;
}

const struct command store_commands[] = {
    {"store", "dump", "URI",
     "prints all documents and the digests of all blobs, for comparing (it shows what the store "
     "holds)",
     false, store_dump},
    {"store", "copy", "FROM_URI TO_URI [--to-key-file FILE]",
     "copies all documents and blobs into an empty store, then compares", false, store_copy},
    {NULL, NULL, NULL, NULL, false, NULL},
};
