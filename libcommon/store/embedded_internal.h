/* embedded_internal.h - shared by the files of the embedded engine only (embedded_*.c).
 *
 * One struct emb_file per SQLCipher file: a writer, used by one thread at a time, and readers that
 * open as they are needed. Everything here blocks; pool threads only.
 */
#pragma once

#define SQLITE_HAS_CODEC 1
#include <pthread.h>
#include <sqlcipher/sqlite3.h>
#include "store/store_driver.h"

#define READERS_MAX 8
#define STATEMENTS_MAX 48
#define BUSY_WAIT_MS 10000 /* for another process's transaction */
#define KEY_HEX 64
#define EMB_KEYS_MAX 16 /* indexed fields of a collection */
#define CHUNKS_PER_BLOB 16384 /* chunk key = blob number * this + chunk number */

struct emb_statement {
    char *sql;
    sqlite3_stmt *stmt;
};

struct emb_conn {
    sqlite3 *db; /* NULL: not open */
    struct emb_statement statements[STATEMENTS_MAX];
    unsigned next_victim;
    bool is_used, is_broken;
    uint64_t busy_until_ms;
};

struct emb_file {
    char *path;
    struct secret *key; /* KEY_HEX digits */
    bool is_log;
    pthread_mutex_t write_lock;
    struct emb_conn writer;
    pthread_mutex_t lock; /* guards is_used of readers */
    pthread_cond_t freed;
    struct emb_conn readers[READERS_MAX];
};

struct embedded {
    struct emb_file documents, logs;
    const struct store_collection *collections;
    size_t collection_count;
};

/* embedded_conn.c */
int emb_fault(struct emb_conn *c, struct fault *why,
              const char *what); /* from the last error; marks c broken where it is */
int emb_conn_open(const struct emb_file *f, struct emb_conn *c, struct fault *why) MUST_CHECK;
void emb_conn_close(struct emb_conn *c);
int emb_exec(struct emb_conn *c, const char *sql, struct fault *why) MUST_CHECK;
/* A cached statement, reset and without bindings. */
int emb_prepare(struct emb_conn *c, const char *sql, sqlite3_stmt **out,
                struct fault *why) MUST_CHECK;
void emb_bind_text(sqlite3_stmt *s, int at, struct slice v);
struct slice emb_column(sqlite3_stmt *s, int column);
/* 1 row, 0 done, <0 fault. */
int emb_step(struct emb_conn *c, sqlite3_stmt *s, struct fault *why) MUST_CHECK;
int emb_reader_take(struct emb_file *f, struct emb_conn **out, struct fault *why) MUST_CHECK;
void emb_reader_give(struct emb_file *f, struct emb_conn **c);

/* embedded_key.c: the key of STORE_KEY_FILE; made when absent unless `store_exists`. */
int emb_key_load(const char *path, bool store_exists, struct secret **out,
                 struct fault *why) MUST_CHECK;

/* embedded_sql.c: "SELECT id, doc FROM ..." narrowed by what indexes can decide, in order; the
 * caller matches each row. `after`: only rows whose id is greater (then order is by id). */
int emb_select(struct emb_conn *c, const struct store_collection *coll,
               const struct store_filter *f, const struct store_sort *sort, struct slice after,
               sqlite3_stmt **out, struct fault *why) MUST_CHECK;
/* Does SQL alone decide what matches? Then a read need not load and look at each document, and SQL counts, skips and limits. */
bool emb_is_exact(const struct store_collection *coll, const struct store_filter *f);
int emb_select_exact(struct emb_conn *c, const struct store_read *r, sqlite3_stmt **out,
                     struct fault *why) MUST_CHECK;
/* Fields that indexes have, each once: those stand in columns. */
size_t emb_key_fields(const struct store_collection *coll, const char *out[EMB_KEYS_MAX]);
/* Statements that take the document as ?1 and its id as ?2. `changed`: those of its key fields whose value is another one now. */
void emb_put_insert(struct buf *sql, const struct store_collection *coll);
void emb_put_update(struct buf *sql, const struct store_collection *coll, const char *const *changed, size_t count);
int emb_schema(struct emb_conn *c, const struct embedded *e, bool logs,
               struct fault *why) MUST_CHECK;

/* embedded_blob.c */
int emb_blob_put(struct emb_conn *c, const struct store_blob_part *part,
                 struct fault *why) MUST_CHECK;
int emb_blob_remove(struct emb_conn *c, struct slice id, struct fault *why) MUST_CHECK;
int emb_blob_read(struct emb_conn *c, struct store_read *r) MUST_CHECK;
int emb_blob_sweep(struct emb_conn *c, struct fault *why) MUST_CHECK;

/* embedded_read.c, embedded_write.c */
int emb_read(void *engine, struct store_read *r);
void emb_write(void *engine, struct store_group *group);
