/* engine_read.c - a folder as it is (select, rows) and what happened in it (changes).
 *
 * Owns nothing. Called through engine.h. FAULT_NOT_FOUND when the folder is gone. Every answer is one consistent picture.
 * Never suspends.
 */
#include "mailbox/engine_internal.h"

#define UNSEEN_ROWS_MAX 20000

/* ---- select ---------------------------------------------------------------------------------------- */

/* Every UID below UIDNEXT was given out, so those that are here are all but the vanished ones: 4096 rows at most instead of a row per
 * message. 0: so it is, 1: they do not add up to the folder's count (old ones are forgotten), only the rows can tell.              */
static int uids_by_absence(struct engine *e, const struct folder *f, struct arena *in, struct uid_set *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    struct uid_set_builder gone = uid_set_builder_make(in);
    struct uid_set here = UID_SET_EMPTY;
    int r;

    if (f->vanished_floor > 0)
        return 1;
    if (db_query(e, &q, why, "SELECT first,last FROM vanished WHERE folder=?", A_INT(f->id)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        uid_set_add_range(&gone, (uint32_t)sqlite3_column_int64(q, 0), (uint32_t)sqlite3_column_int64(q, 1));
    if (r < 0)
        return -1;
    if (f->uidnext > 1)
        here = uid_set_subtract(in, uid_set_make(in, 1, f->uidnext - 1), uid_set_finish(&gone));
    if (uid_set_count(here) != (uint64_t)f->messages)
        return 1;
    *out = here;
    return 0;
}

static int uids_by_rows(struct engine *e, const struct folder *f, struct arena *in, struct uid_set *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    struct uid_set_builder b = uid_set_builder_make(in);
    int r;

    if (db_query(e, &q, why, "SELECT id FROM messages WHERE id BETWEEN ? AND ?",
                 A_INT(MESSAGE_ID(f->id, 0)), A_INT(MESSAGE_ID(f->id, UINT32_MAX))) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        uid_set_add(&b, (uint32_t)sqlite3_column_int64(q, 0));
    *out = uid_set_finish(&b);
    return r;
}

/* Only a hint (RFC 9051 has dropped it): left out where it lies behind UNSEEN_ROWS_MAX messages that were seen. */
static int find_unseen(struct engine *e, const struct folder *f, uint32_t *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    *out = 0;
    if (f->unseen == 0)
        return 0;
    if (db_query(e, &q, why, "SELECT id,flags FROM messages WHERE id BETWEEN ? AND ? LIMIT ?", A_INT(MESSAGE_ID(f->id, 0)),
                 A_INT(MESSAGE_ID(f->id, UINT32_MAX)), A_INT(UNSEEN_ROWS_MAX)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        if (!(sqlite3_column_int(q, 1) & FLAG_SEEN)) {
            *out = (uint32_t)sqlite3_column_int64(q, 0);
            return 0;
        }
    return r;
}

static int select_uids(struct engine *e, const struct folder *f, struct arena *in, struct mailbox_view *out, struct fault *why)
{
    int r = uids_by_absence(e, f, in, &out->uids, why);

    if (r < 0 || (r > 0 && uids_by_rows(e, f, in, &out->uids, why) < 0))
        return -1;
    return find_unseen(e, f, &out->first_unseen_uid, why);
}

static int select_inside(struct engine *e, struct slice path, struct arena *in, struct mailbox_view *out,
                         struct fault *why)
{
    struct folder f = { 0 };

    if (folder_by_path(e, path, &f, why) < 0 || folder_describe(e, (uint64_t)f.id, in, &out->folder, why) < 0 ||
        select_uids(e, &f, in, out, why) < 0)
        return -1;
    out->modseq = e->state.modseq;
    return keywords_list(e, f.id, in, &out->keywords, &out->keyword_count, why);
}

int engine_select(struct engine *e, struct slice path, struct arena *in, struct mailbox_view *out, struct fault *why)
{
    struct mailbox_view view = { 0 };
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    r = select_inside(e, path, in, &view, why);
    read_end(e);
    if (r >= 0)
        *out = view;
    return r;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static struct mailbox_row *rows_of(struct message_list l, struct arena *in)
{
    struct mailbox_row *rows = ARENA_ARRAY(in, struct mailbox_row, l.count + 1);

    for (size_t i = 0; i < l.count; i++)
        rows[i] = l.list[i].row;
    return rows;
}

struct row_list { struct mailbox_row *rows; size_t count, cap; };

static void row_add(struct row_list *l, struct arena *in, const struct mailbox_row *row)
{
    if (l->count == l->cap) {
        struct mailbox_row *more = ARENA_ARRAY(in, struct mailbox_row, l->cap * 2);
        memcpy(more, l->rows, l->count * sizeof(*more));
        l->rows = more;
        l->cap *= 2;
    }
    l->rows[l->count++] = *row;
}

static int load_rows(struct engine *e, int64_t folder, struct uid_set uids, struct arena *in, struct row_list *l,
                     struct fault *why)
{
    struct message m;

    for (size_t i = 0; i < uids.count; i++) {
        AUTO(db_reset) sqlite3_stmt *q = NULL;
        int r;
        if (db_query(e, &q, why, "SELECT  " MESSAGE_COLUMNS " FROM messages WHERE id BETWEEN ? AND ?",
                     A_INT(MESSAGE_ID(folder, uids.ranges[i].first)),
                     A_INT(MESSAGE_ID(folder, uids.ranges[i].last))) < 0)
            return -1;
        while ((r = db_step(e, q, why)) > 0) {
            message_read(q, &m);
            row_add(l, in, &m.row);
        }
        if (r < 0)
            return -1;
    }
    return 0;
}

int engine_get_rows(struct engine *e, uint64_t folder_id, struct uid_set uids, struct arena *in,
                    struct mailbox_row **out, size_t *count, struct fault *why)
{
    struct row_list l = { NULL, 0, 64 };
    struct folder f;
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    r = folder_by_id(e, folder_id, &f, why);
    if (r >= 0) {
        uint64_t most = uid_set_count(uids);
        l.cap = (size_t)(most < (uint64_t)f.messages ? most : (uint64_t)f.messages) + 1;
        l.rows = ARENA_ARRAY(in, struct mailbox_row, l.cap);
        r = load_rows(e, f.id, uids, in, &l, why);
    }
    read_end(e);
    if (r >= 0) {
        *out = l.rows;
        *count = l.count;
    }
    return r;
}

/* ---- changes ----------------------------------------------------------------------------------------- */

static int message_compare(const void *a, const void *b)
{
    const struct message *x = a, *y = b;

    return x->row.uid < y->row.uid ? -1 : x->row.uid > y->row.uid;
}

static int changed_rows(struct engine *e, int64_t folder, uint64_t since, struct uid_set within, struct arena *in,
                        struct message_list *l, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    struct message m;
    int r;

    if (db_query(e, &q, why,
                 "SELECT " MESSAGE_COLUMNS " FROM messages INDEXED BY messages_modseq WHERE folder=? AND modseq>?",
                 A_INT(folder), A_INT(since)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0) {
        message_read(q, &m);
        if (within.count == 0 || uid_set_contains(within, m.row.uid))
            message_list_add(l, in, &m);
    }
    if (l->count)
        qsort(l->list, l->count, sizeof(*l->list), message_compare);
    return r;
}

/* All rows and keep what is new enough: for a `since` from long ago the index would visit rows in a bad order. */
static int scanned_rows(struct engine *e, int64_t folder, uint64_t since, struct uid_set within, struct arena *in,
                        struct message_list *l, struct fault *why)
{
    size_t kept = 0;

    if (messages_load(e, folder, within.count ? within : uid_set_make(in, 1, UINT32_MAX), in, l, why) < 0)
        return -1;
    for (size_t i = 0; i < l->count; i++)
        if (l->list[i].row.modseq > since)
            l->list[kept++] = l->list[i];
    l->count = kept;
    return 0;
}

static int missing_uids(struct engine *e, const struct folder *f, struct arena *in, struct uid_set *out,
                        struct fault *why)
{
    struct uid_set here;

    if (uids_by_rows(e, f, in, &here, why) < 0)
        return -1;
    *out = f->uidnext > 1 ? uid_set_subtract(in, uid_set_make(in, 1, f->uidnext - 1), here) : UID_SET_EMPTY;
    return 0;
}

static int vanished_rows(struct engine *e, const struct folder *f, uint64_t since, struct arena *in,
                         struct uid_set *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    struct uid_set_builder b = uid_set_builder_make(in);
    int r;

    if (since < f->vanished_floor)
        return missing_uids(e, f, in, out, why);
    if (db_query(e, &q, why, "SELECT first,last FROM vanished WHERE folder=? AND modseq>?", A_INT(f->id),
                 A_INT(since)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        uid_set_add_range(&b, (uint32_t)sqlite3_column_int64(q, 0), (uint32_t)sqlite3_column_int64(q, 1));
    *out = uid_set_finish(&b);
    return r;
}

static int changes_inside(struct engine *e, uint64_t folder_id, uint64_t since, struct uid_set within,
                          struct arena *in, struct mailbox_changes *out, struct fault *why)
{
    struct message_list l = { NULL, 0, 0 };
    struct folder f;
    int r;

    if (folder_by_id(e, folder_id, &f, why) < 0 || folder_describe(e, folder_id, in, &out->folder, why) < 0)
        return -1;
    if (f.highestmodseq > since) {
        bool most = since < 2 || e->state.modseq - since > (uint64_t)f.messages;
        r = most ? scanned_rows(e, f.id, since, within, in, &l, why)
                 : changed_rows(e, f.id, since, within, in, &l, why);
        if (r < 0 || vanished_rows(e, &f, since, in, &out->vanished, why) < 0)
            return -1;
        if (within.count)
            out->vanished = uid_set_intersect(in, out->vanished, within);
    }
    out->rows = rows_of(l, in);
    out->row_count = l.count;
    out->modseq = e->state.modseq;
    return keywords_list(e, f.id, in, &out->keywords, &out->keyword_count, why);
}

int engine_get_changes(struct engine *e, uint64_t folder_id, uint64_t since_modseq, struct uid_set within,
                       struct arena *in, struct mailbox_changes *out, struct fault *why)
{
    struct mailbox_changes changes = { 0 };
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    r = changes_inside(e, folder_id, since_modseq, within, in, &changes, why);
    read_end(e);
    if (r >= 0)
        *out = changes;
    return r;
}
