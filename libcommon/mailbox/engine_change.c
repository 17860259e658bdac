/* engine_change.c - STORE, EXPUNGE, COPY and MOVE on sets of messages.
 *
 * Owns nothing. Called through engine.h. Each call takes one MODSEQ for all it changes (RFC 7162 3.1) and works on the narrow rows
 * only: copying and moving never touch a body. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include "base/time.h"

#define FLAGS_ALL (FLAG_SEEN | FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DELETED | FLAG_DRAFT)

/* ---- store ------------------------------------------------------------------------------------------ */

struct storing {
    struct folder folder;
    enum mailbox_store_mode mode;
    uint32_t flags;
    struct keyword_bits keywords;
    uint64_t unchanged_since;
};

static bool apply_flags(const struct storing *s, struct mailbox_row *row)
{
    struct mailbox_row was = *row;

    switch (s->mode) {
    case STORE_SET:
        row->flags = s->flags;
        row->keywords[0] = s->keywords.w[0];
        row->keywords[1] = s->keywords.w[1];
        break;
    case STORE_ADD:
        row->flags |= s->flags;
        row->keywords[0] |= s->keywords.w[0];
        row->keywords[1] |= s->keywords.w[1];
        break;
    case STORE_REMOVE:
        row->flags &= ~s->flags;
        row->keywords[0] &= ~s->keywords.w[0];
        row->keywords[1] &= ~s->keywords.w[1];
        break;
    }
    return was.flags != row->flags || was.keywords[0] != row->keywords[0] || was.keywords[1] != row->keywords[1];
}

static int save_flags(struct engine *e, int64_t folder, const struct mailbox_row *row, struct fault *why)
{
    return db_run(e, why, "UPDATE messages SET flags=?2,keys0=?3,keys1=?4,modseq=?5 WHERE id=?1",
                  A_INT(MESSAGE_ID(folder, row->uid)), A_INT(row->flags), A_INT(row->keywords[0]),
                  A_INT(row->keywords[1]), A_INT(row->modseq));
}

static int store_rows(struct engine *e, struct storing *s, struct message_list *l, struct arena *in,
                      struct mailbox_stored *out, struct fault *why)
{
    struct uid_set_builder conflicts = uid_set_builder_make(in);

    out->rows = ARENA_ARRAY(in, struct mailbox_row, l->count + 1);
    for (size_t i = 0; i < l->count; i++) {
        struct mailbox_row row = l->list[i].row;
        if (row.modseq > s->unchanged_since) {
            uid_set_add(&conflicts, row.uid);
            continue;
        }
        if (!apply_flags(s, &row))
            continue;
        if (out->row_count == 0)
            out->modseq = next_modseq(e);
        folder_count(&s->folder, &l->list[i].row, -1);
        folder_count(&s->folder, &row, 1);
        row.modseq = out->modseq;
        if (save_flags(e, s->folder.id, &row, why) < 0)
            return -1;
        out->rows[out->row_count++] = row;
    }
    out->conflicts = uid_set_finish(&conflicts);
    if (out->row_count == 0)
        return 0;
    s->folder.highestmodseq = out->modseq;
    return folder_save(e, &s->folder, why);
}

static int store_inside(struct engine *e, uint64_t folder_id, struct uid_set uids, struct storing *s,
                        const struct slice *keywords, size_t keyword_count, struct arena *in,
                        struct mailbox_stored *out, struct fault *why)
{
    struct message_list l;
    bool made = false;

    out->from_modseq = out->modseq = e->state.modseq;
    if (folder_by_id(e, folder_id, &s->folder, why) < 0 ||
        keywords_resolve(e, s->folder.id, keywords, keyword_count, s->mode != STORE_REMOVE, &s->keywords, &made,
                         why) < 0 ||
        messages_load(e, s->folder.id, uids, in, &l, why) < 0 || store_rows(e, s, &l, in, out, why) < 0)
        return -1;
    return made ? keywords_list(e, s->folder.id, in, &out->keywords, &out->keyword_count, why) : 0;
}

int engine_store(struct engine *e, uint64_t folder_id, struct uid_set uids, enum mailbox_store_mode mode,
                 uint32_t flags, const struct slice *keywords, size_t keyword_count, uint64_t unchanged_since,
                 struct arena *in, struct mailbox_stored *out, struct fault *why)
{
    struct storing s = { .mode = mode, .flags = flags & FLAGS_ALL, .unchanged_since = unchanged_since };
    struct mailbox_stored stored = { 0 };
    int r;

    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, store_inside(e, folder_id, uids, &s, keywords, keyword_count, in, &stored, why), why);
    if (r >= 0)
        *out = stored;
    return r;
}

/* ---- expunge ------------------------------------------------------------------------------------------ */

static int delete_row(struct engine *e, int64_t folder, uint32_t uid, struct fault *why)
{
    return db_run(e, why, "DELETE FROM messages WHERE id=?", A_INT(MESSAGE_ID(folder, uid)));
}

static int expunge_inside(struct engine *e, uint64_t folder_id, struct uid_set uids, struct arena *in,
                          struct mailbox_expunged *out, struct fault *why)
{
    struct uid_set_builder gone = uid_set_builder_make(in);
    struct message_list l = { NULL, 0, 0 };
    struct folder f;

    out->from_modseq = out->modseq = e->state.modseq;
    if (folder_by_id(e, folder_id, &f, why) < 0)
        return -1;
    if (f.deleted > 0 &&
        messages_load(e, f.id, uids.count ? uids : uid_set_make(in, 1, UINT32_MAX), in, &l, why) < 0)
        return -1;
    for (size_t i = 0; i < l.count; i++) {
        const struct mailbox_row *row = &l.list[i].row;
        if (!(row->flags & FLAG_DELETED))
            continue;
        if (delete_row(e, f.id, row->uid, why) < 0 || body_unref(e, l.list[i].body, why) < 0)
            return -1;
        folder_count(&f, row, -1);
        e->state.messages--;
        e->state.bytes -= row->size;
        uid_set_add(&gone, row->uid);
    }
    out->uids = uid_set_finish(&gone);
    if (out->uids.count == 0)
        return 0;
    out->modseq = f.highestmodseq = next_modseq(e);
    if (vanished_add(e, &f, out->uids, out->modseq, why) < 0)
        return -1;
    return folder_save(e, &f, why);
}

int engine_expunge(struct engine *e, uint64_t folder_id, struct uid_set uids, struct arena *in,
                   struct mailbox_expunged *out, struct fault *why)
{
    struct mailbox_expunged expunged = { 0 };
    int r;

    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, expunge_inside(e, folder_id, uids, in, &expunged, why), why);
    if (r >= 0)
        *out = expunged;
    return r;
}

/* ---- copy and move ---------------------------------------------------------------------------------------- */

struct copying {
    struct folder from, to;
    bool same;                        /* one folder: its row is kept in `to` */
    unsigned char keyword_map[128];
    uint64_t modseq;
    int64_t now_ms;
    struct uid_set_builder old, new;
};

static int copy_prepare(struct engine *e, struct copying *c, const struct message_list *l, struct fault *why)
{
    struct keyword_bits used = { { 0, 0 } };

    if ((uint64_t)c->to.uidnext + l->count > UINT32_MAX)
        return fault_set(why, FAULT_LIMIT, "folder has no UIDs left");
    for (size_t i = 0; i < l->count; i++) {
        used.w[0] |= l->list[i].row.keywords[0];
        used.w[1] |= l->list[i].row.keywords[1];
    }
    c->modseq = next_modseq(e);
    c->now_ms = clock_wall_ms();
    return keywords_map(e, c->from.id, c->to.id, used, c->keyword_map, why);
}

static int copy_row(struct engine *e, struct copying *c, const struct message *m, struct fault *why)
{
    struct message n = *m;
    struct keyword_bits k = { { m->row.keywords[0], m->row.keywords[1] } };

    k = keywords_apply(c->keyword_map, k);
    n.row.uid = c->to.uidnext++;
    n.row.modseq = c->modseq;
    n.row.saved_ms = c->now_ms;
    n.row.keywords[0] = k.w[0];
    n.row.keywords[1] = k.w[1];
    folder_count(&c->to, &n.row, 1);
    uid_set_add(&c->old, m->row.uid);
    uid_set_add(&c->new, n.row.uid);
    return message_insert(e, c->to.id, &n, why);
}

enum copy_kind { COPY_KEEP, COPY_MOVE };

static int copy_rows(struct engine *e, struct copying *c, const struct message_list *l, enum copy_kind kind,
                     struct fault *why)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct message *m = &l->list[i];
        if (copy_row(e, c, m, why) < 0)
            return -1;
        if (kind == COPY_KEEP) {
            e->state.messages++;
            e->state.bytes += m->row.size;
            if (body_ref(e, m->body, why) < 0)
                return -1;
        } else {
            folder_count(c->same ? &c->to : &c->from, &m->row, -1);
            if (delete_row(e, c->from.id, m->row.uid, why) < 0)
                return -1;
        }
    }
    return 0;
}

static int copy_finish(struct engine *e, struct copying *c, enum copy_kind kind, struct fault *why)
{
    struct folder *source = c->same ? &c->to : &c->from;

    c->to.highestmodseq = c->modseq;
    if (kind == COPY_MOVE) {
        source->highestmodseq = c->modseq;
        if (vanished_add(e, source, uid_set_finish(&c->old), c->modseq, why) < 0 ||
            (!c->same && folder_save(e, source, why) < 0))
            return -1;
    }
    return folder_save(e, &c->to, why);
}

static int copy_inside(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path,
                       enum copy_kind kind, struct arena *in, struct mailbox_copied *out, struct fault *why)
{
    struct copying c = { .old = uid_set_builder_make(in), .new = uid_set_builder_make(in) };
    struct message_list l;
    uint64_t bytes = 0;

    out->from_modseq = out->modseq = e->state.modseq;
    if (folder_by_id(e, folder_id, &c.from, why) < 0 || folder_by_path(e, to_path, &c.to, why) < 0 ||
        messages_load(e, c.from.id, uids, in, &l, why) < 0)
        return -1;
    out->uidvalidity = c.to.uidvalidity;
    if (l.count == 0)
        return 0;
    c.same = c.from.id == c.to.id;
    for (size_t i = 0; i < l.count; i++)
        bytes += l.list[i].row.size;
    if ((kind == COPY_KEEP && check_quota(e, bytes, why) < 0) || copy_prepare(e, &c, &l, why) < 0 ||
        copy_rows(e, &c, &l, kind, why) < 0 || copy_finish(e, &c, kind, why) < 0)
        return -1;
    out->from = uid_set_finish(&c.old);
    out->to = uid_set_finish(&c.new);
    out->modseq = c.modseq;
    return 0;
}

static int copy_or_move(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path,
                        enum copy_kind kind, struct arena *in, struct mailbox_copied *out, struct fault *why)
{
    struct mailbox_copied copied = { 0 };
    int r;

    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, copy_inside(e, folder_id, uids, to_path, kind, in, &copied, why), why);
    if (r >= 0)
        *out = copied;
    return r;
}

int engine_copy(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in,
                struct mailbox_copied *out, struct fault *why)
{
    return copy_or_move(e, folder_id, uids, to_path, COPY_KEEP, in, out, why);
}

int engine_move(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in,
                struct mailbox_copied *out, struct fault *why)
{
    return copy_or_move(e, folder_id, uids, to_path, COPY_MOVE, in, out, why);
}
