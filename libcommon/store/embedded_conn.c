/* embedded_conn.c - connections to a SQLCipher file, their statements, and what SQLite's errors
 * mean to us.
 *
 * Owns connections. Called by the other embedded_*.c on pool threads; blocks up to BUSY_WAIT_MS for
 * other processes.
 */
#include <errno.h>
#include "store/embedded_internal.h"

/* ---- errors --------------------------------------------------------------------------------- */

static enum fault_code code_of(int extended)
{
    switch (extended & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return FAULT_UNAVAILABLE;
    case SQLITE_FULL:
        return FAULT_DISK_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return FAULT_CORRUPT;
    case SQLITE_CONSTRAINT:
        return FAULT_EXISTS;
    case SQLITE_TOOBIG:
        return FAULT_LIMIT;
    case SQLITE_CANTOPEN:
        return FAULT_UNAVAILABLE;
    default:
        return FAULT_IO;
    }
}

int emb_fault(struct emb_conn *c, struct fault *why, const char *what)
{
    enum fault_code code = code_of(sqlite3_extended_errcode(c->db));

    if (code == FAULT_IO &&
        (sqlite3_system_errno(c->db) == ENOSPC || sqlite3_system_errno(c->db) == EDQUOT))
        code = FAULT_DISK_FULL;
    if (code == FAULT_IO || code == FAULT_CORRUPT)
        c->is_broken = true;
    return fault_set(why, code, "%s: %s (%d)", what, sqlite3_errmsg(c->db),
                     sqlite3_extended_errcode(c->db));
}

/* ---- opening -------------------------------------------------------------------------------- */

/* SQLite's own handler sleeps up to 100 ms between tries; a transaction of ours takes about one, and
 * while two daemons write in turn every nap that outlasts it is time in which nobody writes. */
static int on_busy(void *arg, int tries)
{
    struct emb_conn *c = arg;
    struct timespec nap = {0, 0};
    uint64_t now = clock_now_ms();

    if (tries == 0)
        c->busy_until_ms = now + BUSY_WAIT_MS;
    if (now >= c->busy_until_ms)
        return 0;
    nap.tv_nsec = tries < 20 ? 50000 + (long)random_below(100000) : 1000000 + (long)random_below(500000);
    (void)nanosleep(&nap, NULL);
    return 1;
}

static int set_key(const struct emb_file *f, struct emb_conn *c, struct fault *why)
{
    char text[KEY_HEX + 8];
    int r;

    (void)snprintf(text, sizeof(text), "x'%.*s'", SLICE(secret_slice(f->key)));
    r = sqlite3_key(c->db, text, KEY_HEX + 3);
    memory_wipe(text, sizeof(text));
    return r == SQLITE_OK ? 0 : emb_fault(c, why, "setting the key");
}

/* temp_store: a temporary file would be plain text on disk. */
static const char pragmas[] =
    "PRAGMA cipher_log_level = NONE;"
    "PRAGMA cipher_hmac_algorithm = HMAC_SHA256;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA secure_delete = OFF;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA wal_autocheckpoint = 2000;"
    "PRAGMA journal_size_limit = 33554432;"
    "PRAGMA cache_size = -2048;";

int emb_conn_open(const struct emb_file *f, struct emb_conn *c, struct fault *why)
{
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int r;

    c->is_broken = false;
    if (sqlite3_open_v2(f->path, &c->db, flags, NULL) != SQLITE_OK) {
        r = fault_set(why, FAULT_UNAVAILABLE, "%s: %s", f->path, sqlite3_errmsg(c->db));
        emb_conn_close(c);
        return r;
    }
    (void)sqlite3_busy_handler(c->db, on_busy, c);
    r = set_key(f, c, why);
    if (r == 0)
        r = emb_exec(c, pragmas, why);
    if (r == 0)
        r = emb_exec(c, f->is_log ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL",
                     why);
    if (r < 0)
        emb_conn_close(c);
    return r;
}

void emb_conn_close(struct emb_conn *c)
{
    for (unsigned i = 0; i < STATEMENTS_MAX; i++) {
        (void)sqlite3_finalize(c->statements[i].stmt);
        free(c->statements[i].sql);
        c->statements[i] = (struct emb_statement){NULL, NULL};
    }
    (void)sqlite3_close_v2(c->db);
    c->db = NULL;
}

/* ---- statements ----------------------------------------------------------------------------- */

int emb_exec(struct emb_conn *c, const char *sql, struct fault *why)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : emb_fault(c, why, "store");
}

static struct emb_statement *find_statement(struct emb_conn *c, const char *sql)
{
    for (unsigned i = 0; i < STATEMENTS_MAX; i++)
        if (c->statements[i].sql != NULL &&
            slice_equal(slice_of(c->statements[i].sql), slice_of(sql)))
            return &c->statements[i];
    return NULL;
}

int emb_prepare(struct emb_conn *c, const char *sql, sqlite3_stmt **out, struct fault *why)
{
    struct emb_statement *s = find_statement(c, sql);

    if (s == NULL) {
        s = &c->statements[c->next_victim++ % STATEMENTS_MAX];
        (void)sqlite3_finalize(s->stmt);
        free(s->sql);
        *s = (struct emb_statement){NULL, NULL};
        if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->stmt, NULL) !=
            SQLITE_OK)
            return emb_fault(c, why, "store");
        s->sql = strdup(sql);
        if (s->sql == NULL)
            abort();
    }
    (void)sqlite3_reset(s->stmt);
    (void)sqlite3_clear_bindings(s->stmt);
    *out = s->stmt;
    return 0;
}

void emb_bind_text(sqlite3_stmt *s, int at, struct slice v)
{
    (void)sqlite3_bind_text64(s, at, v.p != NULL ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

struct slice emb_column(sqlite3_stmt *s, int column)
{
    const void *p = sqlite3_column_blob(s, column);

    return slice_make(p, (size_t)sqlite3_column_bytes(s, column));
}

int emb_step(struct emb_conn *c, sqlite3_stmt *s, struct fault *why)
{
    int r = sqlite3_step(s);

    if (r == SQLITE_ROW)
        return 1;
    if (r == SQLITE_DONE) {
        (void)sqlite3_reset(s);
        return 0;
    }
    r = emb_fault(c, why, "store");
    (void)sqlite3_reset(s);
    return r;
}

/* ---- readers -------------------------------------------------------------------------------- */

static struct emb_conn *idle_reader(struct emb_file *f)
{
    struct emb_conn *closed = NULL;

    for (unsigned i = 0; i < READERS_MAX; i++) {
        if (!f->readers[i].is_used && f->readers[i].db != NULL)
            return &f->readers[i];
        if (!f->readers[i].is_used)
            closed = &f->readers[i];
    }
    return closed;
}

int emb_reader_take(struct emb_file *f, struct emb_conn **out, struct fault *why)
{
    struct emb_conn *c;

    pthread_mutex_lock(&f->lock);
    while ((c = idle_reader(f)) == NULL)
        pthread_cond_wait(&f->freed, &f->lock);
    c->is_used = true;
    pthread_mutex_unlock(&f->lock);
    if (c->db == NULL && emb_conn_open(f, c, why) < 0) {
        emb_reader_give(f, &c);
        return -1;
    }
    *out = c;
    return 0;
}

void emb_reader_give(struct emb_file *f, struct emb_conn **c)
{
    if ((*c)->is_broken)
        emb_conn_close(*c);
    (*c)->is_broken = false;
    pthread_mutex_lock(&f->lock);
    (*c)->is_used = false;
    pthread_cond_signal(&f->freed);
    pthread_mutex_unlock(&f->lock);
    *c = NULL;
}
