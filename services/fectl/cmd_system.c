/* cmd_system.c - fectl status, config, store: is everything there, and moving the documents. Suspends. */
#include "fectl.h"

#include <sodium.h>

#include "base/encode.h"

static int system_status(struct fectl *f, struct fault *why)
{
    struct fault trouble;
    bool store_ok = store_ping(f->store, deadline_in_ms(5000), &trouble) == 0, mailboxes_ok;

    printf("store %s: %s\n", store_engine(f->store), store_ok ? "up" : trouble.text);
    mailboxes_ok = mailbox_server_ping(fectl_mailboxes(f), deadline_in_ms(5000), &trouble) == 0;
    printf("mailbox server %s:%u: %s\n", f->settings.sqlite_host, f->settings.sqlite_port, mailboxes_ok ? "up" : trouble.text);
    return store_ok && mailboxes_ok ? 0 : fault_set(why, FAULT_UNAVAILABLE, "not everything is up");
}

static int config_check(struct fectl *f, UNUSED struct fault *why)
{
    printf("settings of fectl are fine (store %s)\nfor a daemon: fe-NAME --check-config\n", f->settings.store_uri);
    return 0;
}

/* ---- store copy --------------------------------------------------------------------------------------- */

#define COPY_PAGE 500

static int copy_blob(struct store *from, struct store *to, struct slice id, struct fault *why);

static int insert_all(struct store *to, const char *collection, json_t *docs, struct fault *why)
{
    json_t *doc;
    size_t i;

    json_array_foreach(docs, i, doc) {
        if (store_insert(to, collection, doc, fectl_until(), why) == 0)
            continue;
        if (why->code == FAULT_EXISTS)
            return fault_set(why, FAULT_EXISTS, "the target has documents already (%s); copy into an empty store", collection);
        return -1;
    }
    return 0;
}

static int copy_collection(struct fectl *f, struct store *from, struct store *to, const char *collection, uint64_t *count, struct fault *why)
{
    struct slice after = SLICE_NONE;

    for (*count = 0;;) {
        AUTO(json_release) json_t *docs = NULL;
        struct store_filter *filter = store_filter_new(f->arena);
        struct store_page page = { .limit = COPY_PAGE };

        if (after.n > 0)
            store_where_text(filter, "_id", STORE_GT, after);
        if (store_find(from, collection, filter, &page, fectl_until(), &docs, why) < 0)
            return -1;
        if (json_array_size(docs) == 0)
            return 0;
        after = arena_copy(f->arena, json_get_slice(json_array_get(docs, json_array_size(docs) - 1), "_id"));
        *count += json_array_size(docs);
        if (insert_all(to, collection, docs, why) < 0)
            return -1;
    }
}

static int copy_blob(struct store *from, struct store *to, struct slice id, struct fault *why)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    AUTO(store_blob_abort) struct store_blob *b = store_blob_new_id(to, id);
    struct slice piece;
    uint64_t size;

    if (store_blob_open(from, id, fectl_until(), &r, &size, why) < 0)
        return -1;
    for (;;) {
        if (store_blob_read(r, fectl_until(), &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            return store_blob_commit(&b, fectl_until(), why);
        if (store_blob_write(b, piece, why) < 0)
            return -1;
    }
}

static int copy_blobs(struct fectl *f, struct store *from, struct store *to, uint64_t *count, struct fault *why)
{
    struct slice after = SLICE_NONE;

    for (*count = 0;;) {
        AUTO(json_release) json_t *ids = NULL;
        json_t *id;
        size_t i;

        if (store_blob_list(from, after, fectl_until(), &ids, why) < 0)
            return -1;
        if (json_array_size(ids) == 0)
            return 0;
        json_array_foreach(ids, i, id) {
            after = arena_copy(f->arena, slice_of(json_string_value(id)));
            if (copy_blob(from, to, after, why) < 0)
                return -1;
            (*count)++;
        }
    }
}

static int open_uri(struct fectl *f, const char *uri, struct store **out, struct fault *why)
{
    struct store_options options = { .uri = uri, .key_file = f->settings.store_key_file };

    return store_open(&options, out, why);
}

static int copy_all(struct fectl *f, struct store *from, struct store *to, struct fault *why)
{
    uint64_t count;

    /* blobs before the documents that name them */
    if (copy_blobs(f, from, to, &count, why) < 0)
        return -1;
    printf("blobs %llu\n", (unsigned long long)count);
    for (size_t i = 0; i < models_collection_count; i++) {
        if (copy_collection(f, from, to, models_collections[i].name, &count, why) < 0)
            return -1;
        printf("%s %llu\n", models_collections[i].name, (unsigned long long)count);
    }
    return 0;
}

static int store_copy(struct fectl *f, struct fault *why)
{
    struct store *from = NULL, *to = NULL;
    int r;

    if (f->argc != 2)
        return fault_set(why, FAULT_INVALID, "two store URIs are needed: from and to");
    r = open_uri(f, f->argv[0], &from, why);
    if (r == 0)
        r = open_uri(f, f->argv[1], &to, why);
    if (r == 0)
        r = copy_all(f, from, to, why);
    store_close(&to);
    store_close(&from);
    return r;
}

/* ---- store dump: text that is equal exactly when two stores hold the same ------------------------------------ */

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
    printf("blob %.*s %llu %.*s\n", SLICE(id), (unsigned long long)size, SLICE(hex_encode(f->arena, slice_make(digest, 32))));
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
        json_array_foreach(ids, i, id) {
            after = arena_copy(f->arena, slice_of(json_string_value(id)));
            if (dump_blob(f, st, after, why) < 0)
                return -1;
        }
    }
}

static int dump_page(struct fectl *f, struct store *st, const char *collection, struct slice *after, struct fault *why)
{
    AUTO(json_release) json_t *docs = NULL;
    struct store_filter *filter = store_filter_new(f->arena);
    struct store_page page = { .limit = COPY_PAGE };
    json_t *doc;
    size_t i;

    if (after->n > 0)
        store_where_text(filter, "_id", STORE_GT, *after);
    if (store_find(st, collection, filter, &page, fectl_until(), &docs, why) < 0)
        return -1;
    json_array_foreach(docs, i, doc) {
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
    r = open_uri(f, f->argv[0], &st, why);
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

const struct command system_commands[] = {
    { "system", "status", "", "are the store and the mailbox server up", true, system_status },
    { "config", "check", "", "checks the settings", false, config_check },
    { "store", "dump", "URI", "prints all documents and the digests of all blobs, for comparing (it shows what the store holds)", false, store_dump },
    { "store", "copy", "FROM_URI TO_URI", "copies all documents and blobs into an empty store", false, store_copy },
    { NULL, NULL, NULL, NULL, false, NULL },
};
