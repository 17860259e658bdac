/* engine_internal.h - what the engine's files share: the handle, statements, state, folder and message rows.
 *
 * Owns nothing. Included by engine_*.c and their tests only. Never suspends.
 */
#pragma once

#include <sqlite3.h>
#include "base/arena.h"
#include "base/buf.h"
#include "mailbox/engine.h"
#include "wire/uid_set.h"

/* ---- the handle -------------------------------------------------------------------------------- */

struct engine_state {                 /* row 1 of table state; in memory while a transaction is open */
    uint64_t modseq;                  /* last given */
    uint32_t uidvalidity;             /* last given */
    uint32_t folder_id;               /* last given */
    uint64_t messages, bytes;
    int64_t body_id;                  /* last given: never reused, the search index knows bodies by it */
};

enum { ENGINE_LEVELS_MAX = 4, ENGINE_STATEMENTS_MAX = 256 };

struct engine_statement { const char *sql; sqlite3_stmt *stmt; };

struct engine {
    sqlite3 *db;
    char *path;
    struct secret *data_key;
    enum engine_mode mode;
    const char *vfs;
    bool alone;
    bool broken;                      /* refuses everything until reopened */
    bool unsure;                      /* a commit has failed: refuses changes until engine_recover */
    bool log_was_damaged;
    bool unsettled;                   /* a predecessor's log may not be on the disk as it reads */
    bool batch;                       /* between engine_begin and engine_commit */
    int level;                        /* 0: no transaction; 1: transaction; more: savepoints */
    struct engine_state state;
    struct engine_state saved[ENGINE_LEVELS_MAX + 1];
    int readers;                      /* nested read transactions */
    uint64_t picture;                 /* counts outermost read transactions */
    int fetches;                      /* open engine_fetch: dead bodies stay */
    uint64_t quota, outside;
    int64_t tidied_ms;
    struct engine_statement statements[ENGINE_STATEMENTS_MAX];
    size_t statement_count;
};

/* ---- statements (engine_db.c) ------------------------------------------------------------------ */

struct db_arg { enum { DB_NULL, DB_INT, DB_BLOB, DB_TEXT } kind; int64_t number; struct slice bytes; };
#define A_NULL    ((struct db_arg){ DB_NULL, 0, { NULL, 0 } })
#define A_INT(v)  ((struct db_arg){ DB_INT, (int64_t)(v), { NULL, 0 } })
#define A_BLOB(s) ((struct db_arg){ DB_BLOB, 0, (s) })
#define A_TEXT(s) ((struct db_arg){ DB_TEXT, 0, (s) })
#define DB_ARGS(...) (const struct db_arg[]){ A_NULL, ##__VA_ARGS__ }, \
                     sizeof((const struct db_arg[]){ A_NULL, ##__VA_ARGS__ }) / sizeof(struct db_arg)

/* `sql` is a literal: statements are kept by its address. Never nest two uses of one literal.
 * db_run: executes to the end. db_query: bound and ready for db_step; end it with db_reset.     */
#define db_run(e, why, sql, ...)        db_run_args((e), (why), (sql), DB_ARGS(__VA_ARGS__))
#define db_query(e, out, why, sql, ...) db_query_args((e), (out), (why), (sql), DB_ARGS(__VA_ARGS__))
/* 1: *out is the first column of the first row; 0: no row. */
#define db_get(e, out, why, sql, ...)   db_get_args((e), (out), (why), (sql), DB_ARGS(__VA_ARGS__))

int db_run_args(struct engine *e, struct fault *why, const char *sql, const struct db_arg *args, size_t count);
int db_query_args(struct engine *e, sqlite3_stmt **out, struct fault *why, const char *sql, const struct db_arg *args, size_t count);
int db_get_args(struct engine *e, int64_t *out, struct fault *why, const char *sql, const struct db_arg *args, size_t count);
int db_prepare(struct engine *e, const char *sql, sqlite3_stmt **out, struct fault *why);   /* unbound */
int db_step(struct engine *e, sqlite3_stmt *q, struct fault *why);        /* 1 row, 0 end (reset), <0 fault (reset) */
void db_reset(sqlite3_stmt **q);                                          /* closer */
int db_exec(struct engine *e, const char *sql, struct fault *why);        /* not kept; several statements */
int db_fault(struct engine *e, int rc, struct fault *why, const char *doing);
int db_check(struct engine *e, struct fault *why);                        /* FAULT_UNAVAILABLE when broken */
struct slice db_column(sqlite3_stmt *q, int column);                      /* borrowed until the next step */
struct slice db_copy(sqlite3_stmt *q, int column, struct arena *in);
void db_close(struct engine *e);

/* ---- transactions and state (engine_tx.c) ------------------------------------------------------ */

/* A changing call: transaction of its own, or a savepoint inside one. */
int change_begin(struct engine *e, struct fault *why) MUST_CHECK;
/* Ends what change_begin began: r >= 0 commits, r < 0 undoes. Returns r, or -1 when the commit failed. */
int change_end(struct engine *e, int r, struct fault *why) MUST_CHECK;
/* A consistent picture for several reads; nests. */
int read_begin(struct engine *e, struct fault *why) MUST_CHECK;
void read_end(struct engine *e);
uint64_t next_modseq(struct engine *e);
int check_quota(struct engine *e, uint64_t more_bytes, struct fault *why);
int state_load(struct engine *e, struct fault *why);
int state_save(struct engine *e, struct fault *why);
int meta_get(struct engine *e, const char *key, struct arena *in, struct slice *out, struct fault *why);
int meta_set(struct engine *e, const char *key, struct slice value, struct fault *why);

/* ---- opening (engine_open.c, engine_schema.c) ---------------------------------------------------- */

/* Connects to `path`, keyed and configured; the file may be empty (being made). */
int engine_connect(const char *path, const struct secret *data_key, const struct engine_options *options, bool make,
                   struct engine **out, struct fault *why);
int schema_create(struct engine *e, struct slice public_key, struct slice wraps, struct fault *why);
int directory_sync(const char *path_in_it, struct fault *why);
/* engine_settle.c: writes the log of `path` once more as it reads, and syncs it. */
int log_settle(const char *path, struct fault *why);
/* The same for any file that is open for reading and writing. */
int file_rewrite(int fd, struct fault *why);
int file_copy(const char *path, const char *copy, struct fault *why);
/* engine_wal.c */
int log_is_damaged(const char *path, bool *damaged, struct fault *why);
int log_keep(const char *path, struct fault *why);             /* a copy of the log, at <path>-wal-damaged */
/* Tests: called with the name of each step of rekey and create. NULL normally. */
extern void (*engine_step_hook)(const char *step);
void engine_step(const char *step);

/* ---- folders (engine_folder.c) ------------------------------------------------------------------- */

struct folder {                       /* a row of table folders */
    int64_t id;
    bool present;
    uint32_t uidvalidity, uidnext;
    int64_t messages, unseen, deleted, bytes;
    uint64_t highestmodseq, vanished_floor;
};
/* FAULT_NOT_FOUND when it does not exist or is only a name. */
int folder_by_path(struct engine *e, struct slice path, struct folder *out, struct fault *why) MUST_CHECK;
int folder_by_id(struct engine *e, uint64_t id, struct folder *out, struct fault *why) MUST_CHECK;
int folder_save(struct engine *e, const struct folder *f, struct fault *why) MUST_CHECK;
int folder_describe(struct engine *e, uint64_t id, struct arena *in, struct mailbox_folder *out, struct fault *why);
/* Makes a folder row with new id and UIDVALIDITY, parents too. The name must be normal and not present. */
int folder_make(struct engine *e, struct slice path, struct slice special_use, bool subscribed, struct folder *out, struct fault *why);
/* INBOX in any case, trailing '/' dropped; FAULT_INVALID for what is no name. */
int path_normalise(struct slice path, struct arena *in, struct slice *out, struct fault *why);

/* ---- keywords (engine_keyword.c) ----------------------------------------------------------------- */

struct keyword_bits { uint64_t w[2]; };
int keywords_list(struct engine *e, int64_t folder, struct arena *in, struct slice **names, size_t *count, struct fault *why);
/* Bits of `names` in the folder; unknown ones are made when `make`, else left out. *made says whether one was. */
int keywords_resolve(struct engine *e, int64_t folder, const struct slice *names, size_t count, bool make,
                     struct keyword_bits *out, bool *made, struct fault *why);
/* map[bit of `from`] = bit of `to` or 255. Only the bits in `used` are mapped (and made). */
int keywords_map(struct engine *e, int64_t from, int64_t to, struct keyword_bits used, unsigned char map[128], struct fault *why);
struct keyword_bits keywords_apply(const unsigned char map[128], struct keyword_bits in);

/* ---- message rows (engine_rows.c) ------------------------------------------------------------------ */

struct message { struct mailbox_row row; int64_t body; };
#define MESSAGE_COLUMNS "id,modseq,flags,size,internal,saved,body,keys0,keys1"
#define MESSAGE_ID(folder, uid)   (((int64_t)(folder) << 32) | (int64_t)(uid))
void message_read(sqlite3_stmt *q, struct message *out);
/* Existing messages of `uids` in ascending order; *in_out grows in the arena. */
struct message_list { struct message *list; size_t count, cap; };
void message_list_add(struct message_list *l, struct arena *in, const struct message *m);
int messages_load(struct engine *e, int64_t folder, struct uid_set uids, struct arena *in, struct message_list *out, struct fault *why);
int message_insert(struct engine *e, int64_t folder, const struct message *m, struct fault *why);
void folder_count(struct folder *f, const struct mailbox_row *row, int sign);   /* counters += sign */
int vanished_add(struct engine *e, struct folder *f, struct uid_set uids, uint64_t modseq, struct fault *why);

/* ---- bodies (engine_body*.c, engine_blob.c) -------------------------------------------------------- */

enum { BODY_RAW = 0, BODY_ZSTD = 1, BODY_CHUNKS = 2 };
#define CHUNK_ID(body, n) (((int64_t)(body) << 20) | (int64_t)(n))

int body_store(struct engine *e, struct engine_body *b, int64_t *body_id, struct fault *why);   /* takes a reference */
int body_ref(struct engine *e, int64_t body, struct fault *why);
int body_unref(struct engine *e, int64_t body, struct fault *why);
int body_delete(struct engine *e, int64_t body, struct fault *why);       /* rows of a body nobody refers to */

struct body_reader {                  /* bytes of one body, by position */
    struct engine *e;
    int64_t body;
    uint64_t size;
    int stored;
    int64_t loaded;                   /* chunk in `bytes`; -1: none */
    struct buf bytes;
};
void body_reader_init(struct body_reader *r, struct engine *e);
int body_reader_open(struct body_reader *r, int64_t body, struct fault *why);    /* may be reopened on another body */
/* The bytes from `at` to the end of their chunk (or of the body); borrowed until the next call. */
int body_reader_at(struct body_reader *r, uint64_t at, struct slice *out, struct fault *why);
int body_reader_range(struct body_reader *r, uint64_t at, uint64_t n, struct buf *out, struct fault *why);
void body_reader_close(struct body_reader *r);                            /* closer */

struct mime_part;
struct mime_tree;
int parts_pack(const struct mime_part *root, struct buf *out);
int parts_unpack(struct slice packed, struct arena *in, struct mime_part **root, struct fault *why);

/* ---- search (engine_search.c, engine_index*.c) ------------------------------------------------------- */

struct search_text { struct buf header, body; };      /* folded; header lines are "name: value\n" */
/* What searching looks at, of a whole message. <0: too long for memory. */
int search_text_render(struct slice message, struct search_text *out);
