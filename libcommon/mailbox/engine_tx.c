/* engine_tx.c - transactions: one fsync for what queued up, a savepoint for each call in it; the mailbox's counters.
 *
 * Owns the row of table state, in memory while a transaction is open. Called by the server through engine.h and by every
 * changing call. A commit that fails leaves frames in the log of which nobody knows whether they are on the disk. SQLite does not count
 * them, so reading goes on; but a successor would, and they would be there again after a crash. So the next thing written is a
 * transaction of no meaning: it takes their place in the log, and only when it is synced (engine_recover) are changes taken
 * again. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include "base/secret.h"
#include "base/time.h"

int state_load(struct engine *e, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(e, &q, why, "SELECT modseq,uidvalidity,folder_id,messages,bytes,body_id FROM state WHERE id=1") < 0)
        return -1;
    r = db_step(e, q, why);
    if (r <= 0)
        return r < 0 ? -1 : fault_set(why, FAULT_CORRUPT, "mailbox has no state");
    e->state.modseq = (uint64_t)sqlite3_column_int64(q, 0);
    e->state.uidvalidity = (uint32_t)sqlite3_column_int64(q, 1);
    e->state.folder_id = (uint32_t)sqlite3_column_int64(q, 2);
    e->state.messages = (uint64_t)sqlite3_column_int64(q, 3);
    e->state.bytes = (uint64_t)sqlite3_column_int64(q, 4);
    e->state.body_id = sqlite3_column_int64(q, 5);
    return 0;
}

int state_save(struct engine *e, struct fault *why)
{
    const struct engine_state *s = &e->state;

    return db_run(e, why, "UPDATE state SET modseq=?,uidvalidity=?,folder_id=?,messages=?,bytes=?,body_id=? WHERE id=1",
                  A_INT(s->modseq), A_INT(s->uidvalidity), A_INT(s->folder_id), A_INT(s->messages),
                  A_INT(s->bytes), A_INT(s->body_id));
}

uint64_t next_modseq(struct engine *e)
{
    return ++e->state.modseq;
}

uint64_t engine_modseq(struct engine *e)
{
    return e->state.modseq;
}

int check_quota(struct engine *e, uint64_t more_bytes, struct fault *why)
{
    if (e->quota && e->state.bytes + e->outside + more_bytes > e->quota)
        return fault_set(why, FAULT_QUOTA, "quota of %llu bytes", (unsigned long long)e->quota);
    return 0;
}

void engine_set_quota(struct engine *e, uint64_t quota_bytes, uint64_t outside_bytes)
{
    e->quota = quota_bytes;
    e->outside = outside_bytes;
}

uint64_t engine_used_bytes(const struct engine *e)
{
    return e->state.bytes;
}

/* ---- levels: 1 is the transaction, those above are savepoints ------------------------------------ */

static const char *const savepoint_sql[ENGINE_LEVELS_MAX + 1] = {
    NULL, "BEGIN IMMEDIATE", "SAVEPOINT a", "SAVEPOINT b", "SAVEPOINT c" };
static const char *const release_sql[ENGINE_LEVELS_MAX + 1] = {
    NULL, "COMMIT", "RELEASE a", "RELEASE b", "RELEASE c" };
static const char *const undo_sql[ENGINE_LEVELS_MAX + 1] = {
    NULL, "ROLLBACK", "ROLLBACK TO a", "ROLLBACK TO b", "ROLLBACK TO c" };

static int level_up(struct engine *e, struct fault *why)
{
    if (db_check(e, why) < 0)
        return -1;
    if (e->unsure)
        return fault_set(why, FAULT_UNAVAILABLE, "a commit has failed before");
    if (e->level == ENGINE_LEVELS_MAX || e->mode != ENGINE_WRITE || e->readers > 0)
        abort();
    if (e->level > 0 && sqlite3_get_autocommit(e->db)) {
        e->unsure = true;             /* a full disk may end the whole transaction behind our back */
        return fault_set(why, FAULT_DISK_FULL, "the transaction was lost");
    }
    if (db_run(e, why, savepoint_sql[e->level + 1]) < 0)
        return -1;
    e->level++;
    if (e->level == 1 && state_load(e, why) < 0) {
        (void)db_run(e, NULL, undo_sql[e->level--]);
        return -1;
    }
    e->saved[e->level] = e->state;
    return 0;
}

static void level_undo(struct engine *e)
{
    e->state = e->saved[e->level];
    if (!sqlite3_get_autocommit(e->db)) {
        (void)sqlite3_exec(e->db, undo_sql[e->level], NULL, NULL, NULL);
        if (e->level > 1)
            (void)sqlite3_exec(e->db, release_sql[e->level], NULL, NULL, NULL);
    } else if (e->level > 1) {
        e->unsure = true;
    }
    e->level--;
}

static int level_down(struct engine *e, struct fault *why)
{
    bool outermost = e->level == 1;

    if (sqlite3_get_autocommit(e->db)) {
        e->unsure = true;
        e->state = e->saved[1];
        e->level = 0;
        return fault_set(why, FAULT_IO, "the transaction was lost");
    }
    if ((outermost && state_save(e, why) < 0) || db_run(e, why, release_sql[e->level]) < 0) {
        level_undo(e);
        if (outermost)
            e->unsure = true;
        return -1;
    }
    e->level--;
    return 0;
}

int change_begin(struct engine *e, struct fault *why)
{
    return level_up(e, why);
}

int change_end(struct engine *e, int r, struct fault *why)
{
    if (r >= 0)
        return level_down(e, why) < 0 ? -1 : r;
    level_undo(e);
    return r;
}

int engine_begin(struct engine *e, struct fault *why)
{
    if (e->batch)
        abort();
    if (level_up(e, why) < 0)
        return -1;
    e->batch = true;
    return 0;
}

int engine_commit(struct engine *e, struct fault *why)
{
    if (!e->batch)
        abort();
    e->batch = false;
    if (db_check(e, why) < 0 || e->unsure) {
        level_undo(e);
        return e->unsure ? fault_set(why, FAULT_DISK_FULL, "the transaction was lost") : -1;
    }
    return level_down(e, why);
}

void engine_abort(struct engine *e)
{
    while (e->level > 0)
        level_undo(e);
    e->batch = false;
}

int engine_item_begin(struct engine *e, struct fault *why)
{
    return level_up(e, why);
}

int engine_item_commit(struct engine *e, struct fault *why)
{
    return level_down(e, why);
}

void engine_item_abort(struct engine *e)
{
    level_undo(e);
}

bool engine_log_was_damaged(const struct engine *e)
{
    return e->log_was_damaged;
}

bool engine_is_broken(const struct engine *e)
{
    return e->broken;
}

int engine_recover(struct engine *e, struct fault *why)
{
    unsigned char anything[16];
    int r;

    if (db_check(e, why) < 0)
        return -1;
    if (!e->unsure || e->level > 0)
        return 0;
    if (e->unsettled && log_settle(e->path, why) < 0)
        return -1;
    e->unsettled = e->unsure = false;
    random_bytes(anything, sizeof(anything));          /* a value that was there already would write nothing */
    r = change_begin(e, why);
    if (r >= 0)
        r = change_end(e, meta_set(e, "recovered", slice_make(anything, sizeof(anything)), why), why);
    if (r < 0)
        e->unsure = true;
    return r < 0 ? -1 : 0;
}

/* ---- reading -------------------------------------------------------------------------------------- */

int read_begin(struct engine *e, struct fault *why)
{
    if (db_check(e, why) < 0)
        return -1;
    if (e->level > 0)
        return 0;
    if (e->readers == 0 && db_run(e, why, "BEGIN") < 0)
        return -1;
    e->readers++;
    e->picture += e->readers == 1;
    if (e->readers == 1 && state_load(e, why) < 0) {
        read_end(e);
        return -1;
    }
    return 0;
}

void read_end(struct engine *e)
{
    if (e->level > 0 || e->readers == 0 || --e->readers > 0)
        return;
    if (!sqlite3_get_autocommit(e->db))
        (void)sqlite3_exec(e->db, "COMMIT", NULL, NULL, NULL);
}

int engine_read_begin(struct engine *e, struct fault *why)
{
    return read_begin(e, why);
}

void engine_read_end(struct engine *e)
{
    read_end(e);
}

/* ---- meta and stored answers ------------------------------------------------------------------------ */

int meta_get(struct engine *e, const char *key, struct arena *in, struct slice *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(e, &q, why, "SELECT value FROM meta WHERE key=?", A_TEXT(slice_of(key))) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r <= 0)
        return r < 0 ? -1 : fault_set(why, FAULT_CORRUPT, "mailbox has no %s", key);
    *out = db_copy(q, 0, in);
    return 0;
}

int meta_set(struct engine *e, const char *key, struct slice value, struct fault *why)
{
    return db_run(e, why, "INSERT INTO meta(key,value) VALUES(?,?) ON CONFLICT DO UPDATE SET value=excluded.value",
                  A_TEXT(slice_of(key)), A_BLOB(value));
}

int engine_op_find(struct engine *e, struct slice op, struct arena *in, struct slice *answer, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(e, &q, why, "SELECT answer FROM ops WHERE op=? AND at>?", A_BLOB(op),
                 A_INT(clock_wall_ms() - ENGINE_OP_DAYS * 86400000LL)) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r > 0)
        *answer = db_copy(q, 0, in);
    return r;
}

int engine_op_save(struct engine *e, struct slice op, struct slice answer, struct fault *why)
{
    int r;

    if (change_begin(e, why) < 0)
        return -1;
    r = db_run(e, why, "INSERT OR REPLACE INTO ops(op,at,answer) VALUES(?,?,?)", A_BLOB(op),
               A_INT(clock_wall_ms()), A_BLOB(answer));
    return change_end(e, r, why);
}
