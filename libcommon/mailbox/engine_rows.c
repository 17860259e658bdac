/* engine_rows.c - message rows: read, listed, inserted; vanished UIDs.
 *
 * Owns tables messages and vanished. Called by everything that reads or changes a folder. Fails with the database's error.
 * Never suspends.
 */
#include "mailbox/engine_internal.h"

#define VANISHED_ROWS_MAX 4096        /* of one folder; half of them go when there are more */

void message_read(sqlite3_stmt *q, struct message *out)
{
    out->row = (struct mailbox_row){
        .uid = (uint32_t)sqlite3_column_int64(q, 0),
        .modseq = (uint64_t)sqlite3_column_int64(q, 1),
        .flags = (uint32_t)sqlite3_column_int64(q, 2),
        .size = (uint32_t)sqlite3_column_int64(q, 3),
        .internal_ms = sqlite3_column_int64(q, 4),
        .saved_ms = sqlite3_column_int64(q, 5),
        .keywords = { (uint64_t)sqlite3_column_int64(q, 7), (uint64_t)sqlite3_column_int64(q, 8) },
    };
    out->body = sqlite3_column_int64(q, 6);
}

void message_list_add(struct message_list *l, struct arena *in, const struct message *m)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct message *more = ARENA_ARRAY(in, struct message, cap);
        if (l->count)
            memcpy(more, l->list, l->count * sizeof(*more));
        l->list = more;
        l->cap = cap;
    }
    l->list[l->count++] = *m;
}

int messages_load(struct engine *e, int64_t folder, struct uid_set uids, struct arena *in, struct message_list *out,
                  struct fault *why)
{
    struct message m;

    *out = (struct message_list){ NULL, 0, 0 };
    for (size_t i = 0; i < uids.count; i++) {
        AUTO(db_reset) sqlite3_stmt *q = NULL;
        int r;
        if (db_query(e, &q, why, "SELECT " MESSAGE_COLUMNS " FROM messages WHERE id BETWEEN ? AND ?",
                     A_INT(MESSAGE_ID(folder, uids.ranges[i].first)),
                     A_INT(MESSAGE_ID(folder, uids.ranges[i].last))) < 0)
            return -1;
        while ((r = db_step(e, q, why)) > 0) {
            message_read(q, &m);
            message_list_add(out, in, &m);
        }
        if (r < 0)
            return -1;
    }
    return 0;
}

int message_insert(struct engine *e, int64_t folder, const struct message *m, struct fault *why)
{
    const struct mailbox_row *row = &m->row;

    return db_run(e, why,
                  "INSERT INTO messages(id,folder,modseq,flags,size,internal,saved,body,keys0,keys1)"
                  " VALUES(?,?,?,?,?,?,?,?,?,?)",
                  A_INT(MESSAGE_ID(folder, row->uid)), A_INT(folder), A_INT(row->modseq), A_INT(row->flags),
                  A_INT(row->size), A_INT(row->internal_ms), A_INT(row->saved_ms), A_INT(m->body),
                  A_INT(row->keywords[0]), A_INT(row->keywords[1]));
}

void folder_count(struct folder *f, const struct mailbox_row *row, int sign)
{
    f->messages += sign;
    f->bytes += sign * (int64_t)row->size;
    if (!(row->flags & FLAG_SEEN))
        f->unseen += sign;
    if (row->flags & FLAG_DELETED)
        f->deleted += sign;
}

/* Forgets the older half; below the floor `changes` answers with every UID that is missing. */
static int vanished_trim(struct engine *e, struct folder *f, struct fault *why)
{
    int64_t rows = 0, floor = 0;

    if (db_get(e, &rows, why, "SELECT count(*) FROM vanished WHERE folder=?", A_INT(f->id)) < 0)
        return -1;
    if (rows <= VANISHED_ROWS_MAX)
        return 0;
    if (db_get(e, &floor, why, "SELECT modseq FROM vanished WHERE folder=? ORDER BY modseq LIMIT 1 OFFSET ?",
               A_INT(f->id), A_INT(rows / 2)) < 0 ||
        db_run(e, why, "DELETE FROM vanished WHERE folder=? AND modseq<=?", A_INT(f->id), A_INT(floor)) < 0)
        return -1;
    f->vanished_floor = (uint64_t)floor;
    return 0;
}

int vanished_add(struct engine *e, struct folder *f, struct uid_set uids, uint64_t modseq, struct fault *why)
{
    for (size_t i = 0; i < uids.count; i++)
        if (db_run(e, why, "INSERT INTO vanished(folder,modseq,first,last) VALUES(?,?,?,?)", A_INT(f->id),
                   A_INT(modseq), A_INT(uids.ranges[i].first), A_INT(uids.ranges[i].last)) < 0)
            return -1;
    return modseq % 64 == 0 || uids.count > 64 ? vanished_trim(e, f, why) : 0;
}
