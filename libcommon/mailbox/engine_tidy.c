/* engine_tidy.c - work nobody waits for: bodies without references, old marks, the search index, free pages, the log.
 *
 * Owns nothing. Called by fe-sqlite when a mailbox is quiet. Safe to be killed anywhere. Never suspends.
 */
#include "mailbox/engine_index.h"

#include "base/time.h"

#define DAY_MS           86400000LL
#define PURGE_EVERY_MS   3600000LL
#define DEAD_FOR_MS      60000LL      /* readers of other handles get that long */
#define DRAINED_DAYS     400
#define SWEEP_BODIES     64
#define FREE_PAGES_KEEP  512
#define FREE_PAGES_STEP  512

static int purge_old(struct engine *e, struct fault *why)
{
    int64_t now = clock_wall_ms();
    int r;

    if (now - e->tidied_ms < PURGE_EVERY_MS && now >= e->tidied_ms)
        return 0;
    if (change_begin(e, why) < 0)
        return -1;
    r = db_run(e, why, "DELETE FROM marks WHERE at<?", A_INT(now - ENGINE_MARK_DAYS * DAY_MS));
    if (r >= 0)
        r = db_run(e, why, "DELETE FROM ops WHERE at<?", A_INT(now - ENGINE_OP_DAYS * DAY_MS));
    if (r >= 0)
        r = db_run(e, why, "DELETE FROM drained WHERE at<?", A_INT(now - DRAINED_DAYS * DAY_MS));
    r = change_end(e, r, why);
    if (r >= 0)
        e->tidied_ms = now;
    return r;
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

static int requeue_segment(struct engine *e, int64_t segment, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int64_t docs[SEGMENT_DOCS_MAX];
    size_t count = 0;
    int r;

    if (db_query(e, &q, why, "SELECT docs FROM segments WHERE id=?", A_INT(segment)) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r <= 0 || index_read_docs(db_column(q, 0), docs, &count, why) < 0)
        return r == 0 ? 0 : -1;
    db_reset(&q);
    for (size_t i = 0; i < count; i++)
        if (db_run(e, why, "INSERT OR IGNORE INTO unindexed SELECT id,0 FROM bodies WHERE id=? AND refs>0",
                   A_INT(docs[i])) < 0)
            return -1;
    return db_run(e, why, "DELETE FROM segments WHERE id=?", A_INT(segment));
}

/* The count of living bodies of a segment only decides when to make it anew, so a near miss does no harm. */
static int leave_segment(struct engine *e, int64_t body, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int64_t segment, live;
    int r;

    if (db_query(e, &q, why, "SELECT id,live FROM segments WHERE first<=?1 AND last>=?1 ORDER BY first DESC LIMIT 1",
                 A_INT(body)) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r <= 0)
        return r;
    segment = sqlite3_column_int64(q, 0);
    live = sqlite3_column_int64(q, 1);
    db_reset(&q);
    if (live <= SEGMENT_DOCS_MIN / 4)
        return requeue_segment(e, segment, why);
    return db_run(e, why, "UPDATE segments SET live=live-1 WHERE id=?", A_INT(segment));
}

static int sweep_list(struct engine *e, const int64_t *bodies, size_t count, struct fault *why)
{
    for (size_t i = 0; i < count; i++)
        if (leave_segment(e, bodies[i], why) < 0 || body_delete(e, bodies[i], why) < 0)
            return -1;
    return 0;
}

/* 1: there may be more. */
static int sweep_bodies(struct engine *e, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int64_t bodies[SWEEP_BODIES];
    size_t count = 0;
    int r;

    if (e->fetches > 0)
        return 0;
    if (db_query(e, &q, why, "SELECT id FROM bodies WHERE refs=0 AND died<? LIMIT ?",
                 A_INT(clock_wall_ms() - DEAD_FOR_MS), A_INT(SWEEP_BODIES)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        bodies[count++] = sqlite3_column_int64(q, 0);
    if (r < 0 || count == 0)
        return r;
    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, sweep_list(e, bodies, count, why), why);
    return r < 0 ? -1 : count == SWEEP_BODIES;
}

/* ---- pages ------------------------------------------------------------------------------------------------ */

/* 1: there may be more. */
static int give_pages_back(struct engine *e, struct fault *why)
{
    int64_t pages = 0, unused = 0;

    if (db_get(e, &pages, why, "PRAGMA page_count") < 0 || db_get(e, &unused, why, "PRAGMA freelist_count") < 0)
        return -1;
    if (unused <= FREE_PAGES_KEEP || unused < pages / 8)
        return 0;
    return db_run(e, why, "PRAGMA incremental_vacuum(512)") < 0 ? -1 : unused > FREE_PAGES_KEEP + FREE_PAGES_STEP;
}

int engine_tidy(struct engine *e, unsigned budget_ms, struct fault *why)
{
    uint64_t until = clock_now_ms() + budget_ms;
    int (*const work[])(struct engine *, struct fault *) = { sweep_bodies, give_pages_back };
    bool more = false;
    int r;

    if (db_check(e, why) < 0 || purge_old(e, why) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(work); i++) {
        do
            r = work[i](e, why);
        while (r > 0 && clock_now_ms() < until);
        if (r < 0)
            return -1;
        more = more || r > 0;
    }
    r = engine_index_some(e, clock_now_ms() < until ? (unsigned)(until - clock_now_ms()) : 0, why);
    if (r < 0)
        return -1;
    (void)sqlite3_wal_checkpoint_v2(e->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (more || r > 0)
        return 1;
    (void)sqlite3_db_release_memory(e->db);
    return 0;
}
