/* store.h - the documents everybody shares (users, domains, aliases, emails, logs) and blobs, on
 * one of two engines.
 *
 * Owns      the engine's connections; one struct store per process.
 * Used by   all daemons but the mailbox server's hot path; fectl.
 * Threads   the loop thread; suspends where marked (the engine runs on the db pool).
 *
 * Documents are JSON objects with an `_id` of 24 hex digits; dates are ISO text in UTC with
 * milliseconds, so they sort. An invariant lives inside one document: there are no transactions
 * over several, and nothing expires by itself.
 * STORE_URI `embedded:/path/store.sqlite`: one SQLCipher file that all daemons of the machine open;
 * writes waiting in one process share one transaction and one fsync. `mongodb://...`: any server of
 * that wire protocol, through a module.
 * A write that returned 0 is durable. Faults of every call: FAULT_UNAVAILABLE (engine away or
 * busy), FAULT_TIMEOUT, FAULT_CANCELED (after both a write may still happen), FAULT_INVALID (the
 * query), FAULT_DISK_FULL, FAULT_CORRUPT, FAULT_IO.
 */
#pragma once

#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"
#include "store/query.h"

#define STORE_DOC_MAX_BYTES ((size_t)4 << 20)
#define STORE_FIND_MAX 10000 /* documents of one answer */
#define STORE_BLOB_MAX_BYTES ((uint64_t)1 << 30)

struct store;

enum store_index_kind {
    STORE_INDEX,
    STORE_INDEX_UNIQUE, /* documents without the (first) field do not collide */
    /* Most documents are without the field: the engine may leave those out, so nothing sorts by it without asking for a value. */
    STORE_INDEX_SPARSE,
};

struct store_index {
    const char *fields[4]; /* dotted paths of single values, never arrays */
    enum store_index_kind kind;
};

struct store_collection {
    const char *name; /* [a-z_]+ */
    const struct store_index *indexes;
    size_t index_count;
    bool is_log; /* embedded: in the file of its own, not fsynced one by one */
};

struct store_options {
    const char *uri;
    /* embedded: 64 hex digits, mode 0600; made when absent and the store is new */
    const char *key_file;
    const struct store_collection *collections; /* NULL: those of models.h */
    size_t collection_count;
};

/* Opens (embedded: makes when absent) and declares the indexes. FAULT_INVALID: the URI, or a key
 * file others can read; FAULT_CORRUPT: the key does not fit the file. */
int store_open(const struct store_options *options, struct store **out,
               struct fault *why) MUST_CHECK SUSPENDS;
/* Writes what logs wait, closes. Nothing else may be under way. */
void store_close(struct store **st) SUSPENDS;
int store_ping(struct store *st, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
const char *store_engine(const struct store *st); /* "embedded", "mongo" */

/* ---- documents ------------------------------------------------------------------------------- */
/* Collections are named by the literals of models.h. Results are the caller's: json_release. */

/* Gives `doc` an `_id` when it has none. FAULT_EXISTS: a unique index (or the id) has it
 * already. */
int store_insert(struct store *st, const char *collection, json_t *doc, struct deadline until,
                 struct fault *why) MUST_CHECK SUSPENDS;
/* FAULT_NOT_FOUND when there is none. `sort` may be NULL. */
int store_find_one(struct store *st, const char *collection, const struct store_filter *filter,
                   const struct store_sort *sort, struct deadline until, json_t **out,
                   struct fault *why) MUST_CHECK SUSPENDS;

struct store_page {
    const struct store_sort *sort; /* NULL: by _id; ties always by _id */
    uint64_t skip;
    uint64_t limit; /* 0: STORE_FIND_MAX */
};
/* A JSON array. `page` may be NULL. */
int store_find(struct store *st, const char *collection, const struct store_filter *filter,
               const struct store_page *page, struct deadline until, json_t **out,
               struct fault *why) MUST_CHECK SUSPENDS;
/* The same documents as JSON text, each in `in`: for answers that copy values without looking at
 * them. */
int store_find_texts(struct store *st, const char *collection, const struct store_filter *filter,
                     const struct store_page *page, struct arena *in, struct deadline until,
                     struct slice **out, size_t *count, struct fault *why) MUST_CHECK SUSPENDS;
int store_count(struct store *st, const char *collection, const struct store_filter *filter,
                struct deadline until, uint64_t *out, struct fault *why) MUST_CHECK SUSPENDS;

enum store_update_flags {
    STORE_ONE = 0,
    STORE_MANY = 1,   /* all that match; one statement per document, not one transaction over all */
    STORE_UPSERT = 2, /* none matches: insert the filter's equalities plus the update */
    STORE_RETURN_OLD = 4, /* find_and_modify: as it was; default: as it is now */
};
/* *matched (may be NULL): how many documents matched (an upserted one counts). 0 is success. */
int store_update(struct store *st, const char *collection, const struct store_filter *filter,
                 const struct store_update *update, unsigned flags, struct deadline until,
                 uint64_t *matched, struct fault *why) MUST_CHECK SUSPENDS;
/* Changes the first that matches, atomically across fibers and processes. FAULT_NOT_FOUND when none
 * did (with STORE_UPSERT | STORE_RETURN_OLD an insert gives JSON null). */
int store_find_and_modify(struct store *st, const char *collection,
                          const struct store_filter *filter, const struct store_sort *sort,
                          const struct store_update *update, unsigned flags, struct deadline until,
                          json_t **out, struct fault *why) MUST_CHECK SUSPENDS;
/* The same for a document that names a blob: its bytes come along where the engine has them in the same trip and they are few. */
struct store_along {
    const char *field;  /* of the document, with the blob's id */
    struct arena *in;
    struct slice bytes; /* out, in `in`; none: read it with store_blob_open */
};
int store_find_and_modify_along(struct store *st, const char *collection,
                                const struct store_filter *filter, const struct store_sort *sort,
                                const struct store_update *update, unsigned flags,
                                struct store_along *along, struct deadline until, json_t **out,
                                struct fault *why) MUST_CHECK SUSPENDS;
/* One, or with STORE_MANY all that match; a filter without conditions is refused. *deleted may be
 * NULL. */
int store_delete(struct store *st, const char *collection, const struct store_filter *filter,
                 unsigned flags, struct deadline until, uint64_t *deleted,
                 struct fault *why) MUST_CHECK SUSPENDS;

/* ---- blobs: streamed; commit one before the document that names it -------------------------- */

struct store_blob; /* opaque: being written */
struct store_blob *store_blob_new(struct store *st);
/* With a given id, for copying a store; an id that is not 24 hex digits is replaced by a new
 * one. */
struct store_blob *store_blob_new_id(struct store *st, struct slice id);
const char *store_blob_id(const struct store_blob *b); /* 24 hex digits */
/* At most 256 KiB are held back in memory. */
int store_blob_write(struct store_blob *b, struct slice bytes,
                     struct fault *why) MUST_CHECK SUSPENDS;
int store_blob_commit(struct store_blob **b, struct deadline until,
                      struct fault *why) MUST_CHECK SUSPENDS;
/* Commits the blob and inserts the document that names it; embedded: with one fsync. On failure the
 * blob is gone too. */
int store_blob_insert(struct store_blob **b, const char *collection, json_t *doc,
                      struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Closer; what was written is removed without waiting. */
void store_blob_abort(struct store_blob **b);

struct store_reader; /* opaque: being read */
int store_blob_open(struct store *st, struct slice id, struct deadline until,
                    struct store_reader **out, uint64_t *size_bytes,
                    struct fault *why) MUST_CHECK SUSPENDS;
/* The next piece, borrowed until the next call; empty at the end. */
int store_blob_read(struct store_reader *r, struct deadline until, struct slice *piece,
                    struct fault *why) MUST_CHECK SUSPENDS;
void store_blob_close(struct store_reader **r); /* closer */
int store_blob_remove(struct store *st, struct slice id, struct deadline until,
                      struct fault *why) MUST_CHECK SUSPENDS; /* absent: fine */
/* Up to 1000 ids of committed blobs after `after` (empty: from the start), as a JSON array of
 * strings in order. For copying and for the job that removes blobs no document names (committed,
 * then killed). */
int store_blob_list(struct store *st, struct slice after, struct deadline until, json_t **out,
                    struct fault *why) MUST_CHECK SUSPENDS;

/* ---- logs ----------------------------------------------------------------------------------- */

/* Takes `doc` (given an _id) to be written within 200 ms; never waits. False: too much waits
 * already; counted, dropped. */
bool store_log(struct store *st, json_t *doc);
int store_log_flush(struct store *st, struct deadline until,
                    struct fault *why) SUSPENDS; /* at drain */

struct store_stats {
    uint64_t reads, writes, groups, logs, logs_dropped;
};
void store_get_stats(const struct store *st, struct store_stats *out);
