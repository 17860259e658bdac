/* store_driver.h - what an engine of the document store has to do; all calls block and run on the
 * db pool.
 *
 * Owns      nothing. store.c calls, store_embedded*.c and the module store_mongo.so implement.
 * Threads   any, several at once; but `write` of an engine with one_writer is called by one thread
 *           at a time per file.
 *
 * A request lives in its own arena and holds copies of everything; results go into the request.
 */
#pragma once

#include "base/json.h"
#include "base/secret.h"
#include "store/query_internal.h"
#include "store/store.h"

#define STORE_CHUNK_BYTES 131072 /* of a blob, as stored */
#define STORE_PIECE_BYTES 262144 /* of a blob, per trip */

enum store_write_kind {
    WRITE_BLOB_ONLY,
    WRITE_INSERT,
    WRITE_UPDATE,
    WRITE_MODIFY,
    WRITE_DELETE,
    WRITE_LOGS,
    WRITE_BLOB_REMOVE
};

/* Part of a blob that goes with a write: chunks from number `first_chunk` on; `finish`: these were
 * the last. */
struct store_blob_part {
    const char *id; /* NULL: none */
    struct slice bytes;
    uint64_t first_chunk, total_bytes;
    bool finish;
};

struct store_write {
    enum store_write_kind kind;
    struct arena *in;
    const struct store_collection *collection;
    struct store_blob_part blob; /* before the rest; BLOB_REMOVE: only the id */
    struct slice id, doc;        /* INSERT */
    struct slice *docs, *ids;    /* LOGS */
    size_t doc_count;
    struct store_filter *filter;
    struct store_sort *sort;
    struct store_update *update;
    unsigned flags;
    const char *along_field; /* MODIFY: the engine may bring the blob named there, in `along`; or NULL */
    /* results */
    int result;
    struct fault why;
    uint64_t count;
    json_t *out;
    struct slice along; /* in `in` */
    /* of store_write.c */
    struct store_write *next;
    struct write_queue *queue;
    struct fiber *waiter;
    bool is_done, is_forgotten;
};

enum store_read_kind {
    READ_FIND,
    READ_COUNT,
    READ_PING,
    READ_BLOB_STAT,
    READ_BLOB,
    READ_BLOB_LIST
};

struct store_read {
    enum store_read_kind kind;
    struct arena *in;
    const struct store_collection *collection;
    struct store_filter *filter;
    struct store_sort *sort;
    uint64_t skip, limit;
    bool as_text; /* FIND: the engine may give `texts` instead of `out` */
    struct slice blob_id; /* BLOB_LIST: after it */
    uint64_t first_chunk, chunk_count; /* BLOB; BLOB_STAT: a blob of at most so many may come along in `bytes` */
    /* results */
    struct fault why;
    json_t *out;        /* FIND: array; BLOB_LIST: array */
    struct slice *texts; /* FIND: documents as JSON text, in `in`; NULL: they are in `out` */
    size_t text_count;
    uint64_t count;     /* COUNT; BLOB_STAT: bytes */
    struct slice bytes; /* BLOB */
};

/* What an engine carries out at once. */
struct store_group {
    struct store_write *first;
    /* From the pool thread, once: those that have come while the engine waited for its turn. The caller appends them. NULL: none. */
    struct store_write *(*more)(struct store_group *g);
};

struct store_driver {
    const char *name;
    bool one_writer; /* group writes; the engine answers a whole list at once */
    int (*open)(const struct store_options *options, void **engine, struct fault *why);
    void (*close)(void **engine);
    /* Carries out the group; fills result and why of each. */
    void (*write)(void *engine, struct store_group *group);
    int (*read)(void *engine, struct store_read *r);
};

extern const struct store_driver store_embedded;
/* The one symbol of a module: const struct store_driver store_driver_module. */
#define STORE_DRIVER_SYMBOL "store_driver_module"
