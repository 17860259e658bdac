/* engine_folder.c - folders: names, creation, deletion, renaming, subscription.
 *
 * Owns table folders. Called through engine.h, and by every call that works in a folder. UIDVALIDITY comes from one counter per
 * mailbox that only rises and never lags the clock, so no two folders ever share one and a name never meets an old one again.
 * Never suspends.
 */
#include "mailbox/engine_internal.h"

#include "base/time.h"

/* ---- names ------------------------------------------------------------------------------------------ */

static bool is_clean(struct slice path)
{
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] < 0x20 || path.p[i] == 0x7f)
            return false;
    return slice_is_utf8(path);
}

int path_normalise(struct slice path, struct arena *in, struct slice *out, struct fault *why)
{
    struct slice rest, part;
    size_t depth = 0;

    if (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;                     /* CREATE "a/" announces children (RFC 9051 6.3.4) */
    if (path.n == 0 || path.n > ENGINE_PATH_MAX || !is_clean(path))
        return fault_set(why, FAULT_INVALID, "not a folder name");
    rest = path;
    while (slice_cut(&rest, '/', &part))
        if (part.n == 0 || ++depth > ENGINE_DEPTH_MAX)
            return fault_set(why, FAULT_INVALID, "not a folder name");
    if (path.p[path.n - 1] == '/')
        return fault_set(why, FAULT_INVALID, "not a folder name");
    *out = arena_copy(in, path);
    if (slice_has_prefix_nocase(path, LIT("INBOX")) && (path.n == 5 || path.p[5] == '/')) {
        struct slice pieces[] = { LIT("INBOX"), slice_tail(path, 5) };
        *out = arena_concat(in, pieces, COUNT(pieces));
    }
    return 0;
}

/* The name above: "a/b" of "a/b/c"; empty at the top. */
static struct slice path_parent(struct slice path)
{
    ptrdiff_t at = slice_rfind_char(path, '/');

    return at < 0 ? SLICE_NONE : slice_head(path, (size_t)at);
}

/* ---- rows ------------------------------------------------------------------------------------------- */

#define FOLDER_COLUMNS "id,present,uidvalidity,uidnext,messages,unseen,deleted,bytes,highestmodseq,vanished_floor"

static void folder_read(sqlite3_stmt *q, struct folder *f)
{
    f->id = sqlite3_column_int64(q, 0);
    f->present = sqlite3_column_int(q, 1) != 0;
    f->uidvalidity = (uint32_t)sqlite3_column_int64(q, 2);
    f->uidnext = (uint32_t)sqlite3_column_int64(q, 3);
    f->messages = sqlite3_column_int64(q, 4);
    f->unseen = sqlite3_column_int64(q, 5);
    f->deleted = sqlite3_column_int64(q, 6);
    f->bytes = sqlite3_column_int64(q, 7);
    f->highestmodseq = (uint64_t)sqlite3_column_int64(q, 8);
    f->vanished_floor = (uint64_t)sqlite3_column_int64(q, 9);
}

static int folder_step(struct engine *e, sqlite3_stmt *q, struct folder *out, struct fault *why)
{
    int r = db_step(e, q, why);

    if (r > 0)
        folder_read(q, out);
    return r;
}

/* 1 found (present or not), 0 none. `path` is normal. */
static int folder_find(struct engine *e, struct slice path, struct folder *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;

    if (db_query(e, &q, why, "SELECT " FOLDER_COLUMNS " FROM folders WHERE path=?", A_TEXT(path)) < 0)
        return -1;
    return folder_step(e, q, out, why);
}

static int folder_found(int r, const struct folder *f, struct fault *why)
{
    if (r < 0)
        return -1;
    return r > 0 && f->present ? 0 : fault_set(why, FAULT_NOT_FOUND, "no such folder");
}

int folder_by_path(struct engine *e, struct slice path, struct folder *out, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name;

    if (path_normalise(path, a, &name, NULL) < 0)
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    return folder_found(folder_find(e, name, out, why), out, why);
}

int folder_by_id(struct engine *e, uint64_t id, struct folder *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;

    if (db_query(e, &q, why, "SELECT " FOLDER_COLUMNS " FROM folders WHERE id=?", A_INT(id)) < 0)
        return -1;
    return folder_found(folder_step(e, q, out, why), out, why);
}

int folder_save(struct engine *e, const struct folder *f, struct fault *why)
{
    return db_run(e, why,
                  "UPDATE folders SET uidnext=?2,messages=?3,unseen=?4,deleted=?5,bytes=?6,highestmodseq=?7,"
                  "vanished_floor=?8 WHERE id=?1",
                  A_INT(f->id), A_INT(f->uidnext), A_INT(f->messages), A_INT(f->unseen), A_INT(f->deleted),
                  A_INT(f->bytes), A_INT(f->highestmodseq), A_INT(f->vanished_floor));
}

#define DESCRIBE_COLUMNS \
    "id,path,special_use,subscribed,present,uidvalidity,uidnext,messages,unseen,deleted,highestmodseq,bytes"

static void describe_read(sqlite3_stmt *q, struct arena *in, struct mailbox_folder *out)
{
    *out = (struct mailbox_folder){
        .id = (uint64_t)sqlite3_column_int64(q, 0),
        .path = db_copy(q, 1, in),
        .special_use = db_copy(q, 2, in),
        .subscribed = sqlite3_column_int(q, 3) != 0,
        .exists = sqlite3_column_int(q, 4) != 0,
        .uidvalidity = (uint32_t)sqlite3_column_int64(q, 5),
        .uidnext = (uint32_t)sqlite3_column_int64(q, 6),
        .messages = (uint32_t)sqlite3_column_int64(q, 7),
        .unseen = (uint32_t)sqlite3_column_int64(q, 8),
        .deleted = (uint32_t)sqlite3_column_int64(q, 9),
        .highestmodseq = (uint64_t)sqlite3_column_int64(q, 10),
        .size_bytes = (uint64_t)sqlite3_column_int64(q, 11),
    };
}

int folder_describe(struct engine *e, uint64_t id, struct arena *in, struct mailbox_folder *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(e, &q, why, "SELECT " DESCRIBE_COLUMNS " FROM folders WHERE id=?", A_INT(id)) < 0)
        return -1;
    r = db_step(e, q, why);
    if (r > 0)
        describe_read(q, in, out);
    return r < 0 ? -1 : r == 0 ? fault_set(why, FAULT_NOT_FOUND, "no such folder") : 0;
}

int engine_list_folders(struct engine *e, struct arena *in, struct mailbox_folder **out, size_t *count,
                        struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int64_t rows = 0;
    size_t n = 0;
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    r = db_get(e, &rows, why, "SELECT count(*) FROM folders");
    if (r >= 0)
        r = db_query(e, &q, why, "SELECT " DESCRIBE_COLUMNS " FROM folders ORDER BY path");
    *out = ARENA_ARRAY(in, struct mailbox_folder, (size_t)rows + 1);
    while (r >= 0 && (r = db_step(e, q, why)) > 0 && n < (size_t)rows)
        describe_read(q, in, &(*out)[n++]);
    db_reset(&q);
    read_end(e);
    *count = n;
    return r < 0 ? -1 : 0;
}

int engine_get_folder(struct engine *e, struct slice path, struct arena *in, struct mailbox_folder *out,
                      struct fault *why)
{
    struct folder f = { 0 };
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    r = folder_by_path(e, path, &f, why);
    if (r >= 0)
        r = folder_describe(e, (uint64_t)f.id, in, out, why);
    read_end(e);
    return r;
}

/* ---- making ------------------------------------------------------------------------------------------ */

static uint32_t next_uidvalidity(struct engine *e)
{
    int64_t now = clock_wall_ms() / 1000;

    e->state.uidvalidity = now > e->state.uidvalidity ? (uint32_t)now : e->state.uidvalidity + 1;
    return e->state.uidvalidity;
}

static int insert_row(struct engine *e, struct slice path, struct slice special_use, bool subscribed, bool present,
                      struct folder *f, struct fault *why)
{
    *f = (struct folder){ .id = ++e->state.folder_id, .present = present, .uidnext = 1,
                          .uidvalidity = present ? next_uidvalidity(e) : 0, .highestmodseq = e->state.modseq };
    return db_run(e, why, "INSERT INTO folders VALUES(?,?,?,?,?,?,1,0,0,0,0,?,0)", A_INT(f->id), A_TEXT(path),
                  A_TEXT(special_use), A_INT(subscribed), A_INT(present), A_INT(f->uidvalidity),
                  A_INT(f->highestmodseq));
}

int folder_make(struct engine *e, struct slice path, struct slice special_use, bool subscribed, struct folder *out,
                struct fault *why)
{
    struct slice parent = path_parent(path);
    struct folder f;
    int64_t was_subscribed = 0, rows = 0;
    int r;

    if (db_get(e, &rows, why, "SELECT count(*) FROM folders WHERE 1") < 0)
        return -1;
    if (rows >= ENGINE_FOLDERS_MAX)
        return fault_set(why, FAULT_LIMIT, "mailbox has %d folders", ENGINE_FOLDERS_MAX);
    r = parent.n ? folder_find(e, parent, &f, why) : 1;
    if (r < 0 || ((r == 0 || (parent.n && !f.present)) &&
                  folder_make(e, parent, SLICE_NONE, false, &f, why) < 0))
        return -1;
    /* a name without a folder keeps its subscription; the folder gets a new id, so nobody takes it for the old one */
    if (db_get(e, &was_subscribed, why, "SELECT subscribed FROM folders WHERE path=? AND present=0", A_TEXT(path)) < 0 ||
        db_run(e, why, "DELETE FROM folders WHERE path=? AND present=0", A_TEXT(path)) < 0)
        return -1;
    return insert_row(e, path, special_use, subscribed || was_subscribed, true, out, why);
}

static int create_checked(struct engine *e, struct slice path, struct slice special_use, struct fault *why)
{
    struct folder f = { 0 };
    int r = folder_find(e, path, &f, why);

    if (r < 0)
        return -1;
    if (r > 0 && f.present)
        return fault_set(why, FAULT_EXISTS, "folder exists");
    return folder_make(e, path, special_use, false, &f, why);
}

int engine_create_folder(struct engine *e, struct slice path, struct slice special_use, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name;

    if (path_normalise(path, a, &name, why) < 0 || change_begin(e, why) < 0)
        return -1;
    return change_end(e, create_checked(e, name, special_use, why), why);
}

static int renew_all(struct engine *e, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct mailbox_folder *list;
    size_t count;

    if (engine_list_folders(e, a, &list, &count, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (list[i].exists && db_run(e, why, "UPDATE folders SET uidvalidity=? WHERE id=?",
                                     A_INT(next_uidvalidity(e)), A_INT(list[i].id)) < 0)
            return -1;
    return 0;
}

int engine_restored(struct engine *e, struct fault *why)
{
    if (change_begin(e, why) < 0)
        return -1;
    return change_end(e, renew_all(e, why), why);
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* Whether something lives below `path`: names from "path/" up to, not including, "path0" ('0' follows '/'). */
static int has_children(struct engine *e, struct slice path, struct arena *a, bool *out, struct fault *why)
{
    int64_t one;
    int r = db_get(e, &one, why, "SELECT 1 FROM folders WHERE path>? AND path<? LIMIT 1",
                   A_TEXT(arena_printf(a, "%.*s/", SLICE(path))), A_TEXT(arena_printf(a, "%.*s0", SLICE(path))));

    *out = r > 0;
    return r;
}

/* Names that are neither folders nor subscribed nor parents go, from `path` upwards. */
static int prune(struct engine *e, struct slice path, struct arena *a, struct fault *why)
{
    struct folder f;
    bool children = false;
    int64_t subscribed = 0;

    for (; path.n; path = path_parent(path)) {
        int r = folder_find(e, path, &f, why);
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        if (f.present || has_children(e, path, a, &children, why) < 0 || children)
            return f.present || children ? 0 : -1;
        if (db_get(e, &subscribed, why, "SELECT subscribed FROM folders WHERE id=?", A_INT(f.id)) < 0)
            return -1;
        if (subscribed)
            return 0;
        if (db_run(e, why, "DELETE FROM folders WHERE id=?", A_INT(f.id)) < 0)
            return -1;
    }
    return 0;
}

static int drop_messages(struct engine *e, const struct folder *f, struct fault *why)
{
    int64_t now = clock_wall_ms();

    if (db_run(e, why,
               "UPDATE bodies SET refs=refs-m.n, died=CASE WHEN refs=m.n THEN ?3 ELSE died END FROM"
               " (SELECT body,count(*) AS n FROM messages WHERE id BETWEEN ?1 AND ?2 GROUP BY body) AS m"
               " WHERE bodies.id=m.body",
               A_INT(MESSAGE_ID(f->id, 0)), A_INT(MESSAGE_ID(f->id, UINT32_MAX)), A_INT(now)) < 0 ||
        db_run(e, why, "DELETE FROM messages WHERE id BETWEEN ? AND ?", A_INT(MESSAGE_ID(f->id, 0)),
               A_INT(MESSAGE_ID(f->id, UINT32_MAX))) < 0 ||
        db_run(e, why, "DELETE FROM vanished WHERE folder=?", A_INT(f->id)) < 0)
        return -1;
    e->state.messages -= (uint64_t)f->messages;
    e->state.bytes -= (uint64_t)f->bytes;
    (void)next_modseq(e);
    return db_run(e, why, "DELETE FROM keywords WHERE folder=?", A_INT(f->id));
}

static int delete_checked(struct engine *e, struct slice path, struct arena *a, struct fault *why)
{
    struct folder f;

    if (folder_found(folder_find(e, path, &f, why), &f, why) < 0)
        return -1;
    if (slice_equal(path, LIT("INBOX")))
        return fault_set(why, FAULT_DENIED, "INBOX cannot be deleted");
    if (drop_messages(e, &f, why) < 0 ||
        db_run(e, why, "UPDATE folders SET present=0,special_use='',uidvalidity=0,uidnext=1,messages=0,unseen=0,"
                       "deleted=0,bytes=0 WHERE id=?", A_INT(f.id)) < 0)
        return -1;
    return prune(e, path, a, why);
}

int engine_delete_folder(struct engine *e, struct slice path, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name;

    if (path_normalise(path, a, &name, why) < 0)
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    if (change_begin(e, why) < 0)
        return -1;
    return change_end(e, delete_checked(e, name, a, why), why);
}

int engine_subscribe(struct engine *e, struct slice path, bool on, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name;
    struct folder f;
    int r;

    if (path_normalise(path, a, &name, why) < 0 || change_begin(e, why) < 0)
        return -1;
    r = folder_find(e, name, &f, why);
    if (r == 0 && on)
        r = insert_row(e, name, SLICE_NONE, true, false, &f, why);
    else if (r > 0)
        r = db_run(e, why, "UPDATE folders SET subscribed=? WHERE id=?", A_INT(on), A_INT(f.id));
    if (r >= 0 && !on)
        r = prune(e, name, a, why);
    return change_end(e, r, why);
}

/* ---- renaming ------------------------------------------------------------------------------------------- */

/* RFC 9051 6.3.6: INBOX stays, empty; its messages move to the new folder. */
static int rename_inbox(struct engine *e, struct slice to, struct arena *a, struct fault *why)
{
    struct mailbox_copied moved;
    struct folder inbox, target;

    if (folder_make(e, to, SLICE_NONE, false, &target, why) < 0 ||
        folder_by_path(e, LIT("INBOX"), &inbox, why) < 0)
        return -1;
    return engine_move(e, (uint64_t)inbox.id, uid_set_make(a, 1, UINT32_MAX), to, a, &moved, why);
}

struct renaming { struct slice from, to; };

static int collect_renames(struct engine *e, struct slice from, struct slice to, struct arena *a,
                           struct renaming **out, size_t *count, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    size_t n = 0;
    int r;

    *out = ARENA_ARRAY(a, struct renaming, ENGINE_FOLDERS_MAX + 1);
    if (db_query(e, &q, why, "SELECT path FROM folders WHERE path=?1 OR (path>?2 AND path<?3)", A_TEXT(from),
                 A_TEXT(arena_printf(a, "%.*s/", SLICE(from))),
                 A_TEXT(arena_printf(a, "%.*s0", SLICE(from)))) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0 && n < ENGINE_FOLDERS_MAX) {
        struct slice old = db_copy(q, 0, a), pieces[] = { to, slice_tail(old, from.n) };
        (*out)[n++] = (struct renaming){ old, arena_concat(a, pieces, COUNT(pieces)) };
    }
    *count = n;
    return r;
}

static int rename_one(struct engine *e, const struct renaming *one, struct arena *a, struct fault *why)
{
    struct folder there = { 0 };
    struct slice normal;
    int r;

    if (path_normalise(one->to, a, &normal, why) < 0)
        return -1;
    r = folder_find(e, one->to, &there, why);
    if (r < 0)
        return -1;
    if (r > 0 && there.present)
        return fault_set(why, FAULT_EXISTS, "folder exists");
    if (r > 0 && db_run(e, why, "DELETE FROM folders WHERE id=?1", A_INT(there.id)) < 0)
        return -1;
    return db_run(e, why, "UPDATE folders SET path=? WHERE path=?", A_TEXT(one->to), A_TEXT(one->from));
}

static int rename_checked(struct engine *e, struct slice from, struct slice to, struct arena *a, struct fault *why)
{
    struct folder f = { 0 }, parent_row = { 0 };
    struct slice parent = path_parent(to);
    struct renaming *list;
    size_t count;
    bool children = false;
    int r = folder_find(e, to, &f, why);

    if (r < 0)
        return -1;
    if (r > 0 && f.present)
        return fault_set(why, FAULT_EXISTS, "folder exists");
    if (slice_has_prefix(to, from) && to.n > from.n && to.p[from.n] == '/' && !slice_equal(from, LIT("INBOX")))
        return fault_set(why, FAULT_INVALID, "a folder cannot move below itself");
    r = folder_find(e, from, &f, why);
    if (r < 0 || has_children(e, from, a, &children, why) < 0)
        return -1;
    if (r == 0 || (!f.present && !children))
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    if (slice_equal(from, LIT("INBOX")))
        return rename_inbox(e, to, a, why);
    r = parent.n ? folder_find(e, parent, &parent_row, why) : 1;
    if (r < 0 || ((r == 0 || (parent.n && !parent_row.present)) &&
                  folder_make(e, parent, SLICE_NONE, false, &parent_row, why) < 0) ||
        collect_renames(e, from, to, a, &list, &count, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (rename_one(e, &list[i], a, why) < 0)
            return -1;
    return prune(e, path_parent(from), a, why);
}

int engine_rename_folder(struct engine *e, struct slice from, struct slice to, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice old, new;

    if (path_normalise(from, a, &old, NULL) < 0)
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    if (path_normalise(to, a, &new, why) < 0 || change_begin(e, why) < 0)
        return -1;
    return change_end(e, rename_checked(e, old, new, a, why), why);
}
