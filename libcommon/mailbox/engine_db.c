/* engine_db.c - statements: prepared once per handle, bound from typed arguments, errors as faults.
 *
 * Owns the handle's prepared statements. Called by the engine's files. Every call may fail with the
 * database's error; damage and failed commits make the handle refuse everything. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include <errno.h>

int db_check(struct engine *e, struct fault *why)
{
    if (e->broken)
        return fault_set(why, FAULT_UNAVAILABLE, "mailbox handle must be opened again");
    return 0;
}

/* SQLCipher reports a page whose HMAC is wrong as SQLITE_NOTADB on page 1 and elsewhere as out of memory or as a
 * plain error, because the pager only learns that the codec gave no page.                                     */
int db_fault(struct engine *e, int rc, struct fault *why, const char *doing)
{
    enum fault_code code = FAULT_IO;

    switch (rc & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_NOMEM:
    case SQLITE_ERROR:
        code = FAULT_CORRUPT;
        e->broken = true;
        break;
    case SQLITE_FULL:
        code = FAULT_DISK_FULL;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = FAULT_UNAVAILABLE;
        break;
    case SQLITE_TOOBIG:
        code = FAULT_LIMIT;
        break;
    default:
        if (sqlite3_system_errno(e->db) == ENOSPC || sqlite3_system_errno(e->db) == EDQUOT)
            code = FAULT_DISK_FULL;
        break;
    }
    return fault_set(why, code, "%s: %s (%d)", doing, sqlite3_errmsg(e->db), rc);
}

static size_t statement_slot(struct engine *e, const char *sql)
{
    size_t i = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 32;

    for (i %= ENGINE_STATEMENTS_MAX; e->statements[i].sql && e->statements[i].sql != sql;)
        i = (i + 1) % ENGINE_STATEMENTS_MAX;
    return i;
}

int db_prepare(struct engine *e, const char *sql, sqlite3_stmt **out, struct fault *why)
{
    struct engine_statement *s;
    int rc;

    if (db_check(e, why) < 0)
        return -1;
    s = &e->statements[statement_slot(e, sql)];
    if (!s->sql) {
        if (e->statement_count >= ENGINE_STATEMENTS_MAX * 3 / 4)
            abort();                  /* a literal per call site: the table is too small for the code */
        rc = sqlite3_prepare_v3(e->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->stmt, NULL);
        if (rc != SQLITE_OK)
            return db_fault(e, rc, why, sql);
        s->sql = sql;
        e->statement_count++;
    }
    *out = s->stmt;
    return 0;
}

static void bind_one(sqlite3_stmt *q, int i, const struct db_arg *a)
{
    static const char none[1];        /* a NULL pointer would bind NULL */
    const char *p = a->bytes.p ? a->bytes.p : none;

    switch (a->kind) {
    case DB_NULL: (void)sqlite3_bind_null(q, i); break;
    case DB_INT:  (void)sqlite3_bind_int64(q, i, a->number); break;
    case DB_BLOB: (void)sqlite3_bind_blob64(q, i, p, a->bytes.n, SQLITE_STATIC); break;
    case DB_TEXT: (void)sqlite3_bind_text64(q, i, p, a->bytes.n, SQLITE_STATIC, SQLITE_UTF8); break;
    }
}

int db_query_args(struct engine *e, sqlite3_stmt **out, struct fault *why, const char *sql,
                  const struct db_arg *args, size_t count)
{
    if (db_prepare(e, sql, out, why) < 0)
        return -1;
    for (size_t i = 1; i < count; i++)          /* args[0] only makes the array non-empty */
        bind_one(*out, (int)i, &args[i]);
    return 0;
}

int db_step(struct engine *e, sqlite3_stmt *q, struct fault *why)
{
    int rc = sqlite3_step(q);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE)
        (void)db_fault(e, rc, why, sqlite3_sql(q));
    (void)sqlite3_reset(q);
    return rc == SQLITE_DONE ? 0 : -1;
}

void db_reset(sqlite3_stmt **q)
{
    if (*q)
        (void)sqlite3_reset(*q);
    *q = NULL;
}

int db_run_args(struct engine *e, struct fault *why, const char *sql, const struct db_arg *args, size_t count)
{
    sqlite3_stmt *q;
    int r;

    if (db_query_args(e, &q, why, sql, args, count) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        ;
    return r;
}

int db_get_args(struct engine *e, int64_t *out, struct fault *why, const char *sql, const struct db_arg *args,
                size_t count)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query_args(e, &q, why, sql, args, count) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r > 0)
        *out = sqlite3_column_int64(q, 0);
    return r;
}

int db_exec(struct engine *e, const char *sql, struct fault *why)
{
    int rc;

    if (db_check(e, why) < 0)
        return -1;
    rc = sqlite3_exec(e->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : db_fault(e, rc, why, sql);
}

struct slice db_column(sqlite3_stmt *q, int column)
{
    const void *p = sqlite3_column_blob(q, column);

    return slice_make(p, (size_t)sqlite3_column_bytes(q, column));
}

struct slice db_copy(sqlite3_stmt *q, int column, struct arena *in)
{
    return arena_copy(in, db_column(q, column));
}

void db_close(struct engine *e)
{
    for (size_t i = 0; i < ENGINE_STATEMENTS_MAX; i++)
        (void)sqlite3_finalize(e->statements[i].stmt);
    (void)sqlite3_close_v2(e->db);
    e->db = NULL;
}
