/* engine_append.c - messages coming in: APPEND, and delivery with its mark.
 *
 * Owns tables marks and drained. Called through engine.h with bodies that are already hashed, packed and rendered, so that the
 * transaction is only rows. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include "base/time.h"

static int append_one(struct engine *e, struct folder *f, const struct engine_message *in_message, uint64_t modseq,
                      struct fault *why)
{
    struct keyword_bits k;
    struct message m = { 0 };
    bool made;

    if (f->uidnext == UINT32_MAX)
        return fault_set(why, FAULT_LIMIT, "folder has no UIDs left");
    if (keywords_resolve(e, f->id, in_message->keywords, in_message->keyword_count, true, &k, &made, why) < 0 ||
        body_store(e, in_message->body, &m.body, why) < 0)
        return -1;
    m.row = (struct mailbox_row){
        .uid = f->uidnext++,
        .size = (uint32_t)engine_body_size(in_message->body),
        .flags = in_message->flags & 31,
        .modseq = modseq,
        .keywords = { k.w[0], k.w[1] },
        .internal_ms = in_message->internal_ms,
        .saved_ms = clock_wall_ms(),
    };
    folder_count(f, &m.row, 1);
    e->state.messages++;
    e->state.bytes += m.row.size;
    return message_insert(e, f->id, &m, why);
}

static int append_to(struct engine *e, struct folder *f, const struct engine_message *messages, size_t count,
                     struct fault *why)
{
    f->highestmodseq = next_modseq(e);
    for (size_t i = 0; i < count; i++)
        if (append_one(e, f, &messages[i], f->highestmodseq, why) < 0)
            return -1;
    return folder_save(e, f, why);
}

static int append_inside(struct engine *e, struct slice path, const struct engine_message *messages, size_t count,
                         struct arena *in, struct mailbox_appended *out, struct fault *why)
{
    struct folder f = { 0 };
    uint64_t bytes = 0;

    out->from_modseq = out->modseq = e->state.modseq;
    for (size_t i = 0; i < count; i++)
        bytes += engine_body_size(messages[i].body);
    if (folder_by_path(e, path, &f, why) < 0 || check_quota(e, bytes, why) < 0)
        return -1;
    out->uidvalidity = f.uidvalidity;
    if (count == 0)
        return 0;
    out->uids = uid_set_make(in, f.uidnext, f.uidnext + (uint32_t)count - 1);
    if (append_to(e, &f, messages, count, why) < 0)
        return -1;
    out->modseq = f.highestmodseq;
    return 0;
}

int engine_append(struct engine *e, struct slice path, const struct engine_message *messages, size_t count,
                  struct arena *in, struct mailbox_appended *out, struct fault *why)
{
    struct mailbox_appended appended = { 0 };
    int r;

    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, append_inside(e, path, messages, count, in, &appended, why), why);
    if (r >= 0)
        *out = appended;
    return r;
}

/* ---- delivery ---------------------------------------------------------------------------------------- */

/* 1: it was here before. */
static int is_duplicate(struct engine *e, const struct engine_delivery *d, struct fault *why)
{
    int64_t one;
    int r = 0;

    if (d->item_id.n)
        r = db_get(e, &one, why, "SELECT 1 FROM drained WHERE item=?", A_BLOB(d->item_id));
    if (r == 0 && d->mark.n)
        r = db_get(e, &one, why, "SELECT 1 FROM marks WHERE mark=? AND at>?", A_BLOB(d->mark),
                   A_INT(clock_wall_ms() - ENGINE_MARK_DAYS * 86400000LL));
    return r;
}

static int remember(struct engine *e, const struct engine_delivery *d, struct fault *why)
{
    int64_t now = clock_wall_ms();

    if (d->mark.n && db_run(e, why, "INSERT OR REPLACE INTO marks VALUES(?,?)", A_BLOB(d->mark), A_INT(now)) < 0)
        return -1;
    if (d->item_id.n &&
        db_run(e, why, "INSERT OR REPLACE INTO drained VALUES(?,?)", A_BLOB(d->item_id), A_INT(now)) < 0)
        return -1;
    return 0;
}

static int delivery_folder(struct engine *e, struct slice path, struct folder *f, struct fault *why)
{
    struct fault missing = { 0 };

    if (path.n && folder_by_path(e, path, f, &missing) == 0)
        return 0;
    if (missing.code != FAULT_NONE && missing.code != FAULT_NOT_FOUND)
        return fault_set(why, missing.code, "%s", missing.text);
    return folder_by_path(e, LIT("INBOX"), f, why);
}

static int deliver_inside(struct engine *e, const struct engine_delivery *d, struct engine_body *body,
                          struct engine_delivered *out, struct fault *why)
{
    struct engine_message m = { .body = body, .flags = d->flags, .internal_ms = d->arrived_ms };
    struct folder f = { 0 };
    int r = is_duplicate(e, d, why);

    out->from_modseq = out->modseq = e->state.modseq;
    if (r != 0) {
        out->duplicate = r > 0;
        /* an item whose mark is known must not come again either */
        return r < 0 ? -1 : d->item_id.n ? remember(e, d, why) : 0;
    }
    if ((d->item_id.n == 0 && check_quota(e, engine_body_size(body), why) < 0) ||
        delivery_folder(e, d->folder, &f, why) < 0)
        return -1;
    out->uid = f.uidnext;
    if (append_to(e, &f, &m, 1, why) < 0)
        return -1;
    out->folder_id = (uint64_t)f.id;
    out->modseq = f.highestmodseq;
    return remember(e, d, why);
}

int engine_deliver(struct engine *e, const struct engine_delivery *d, struct engine_body *body,
                   struct engine_delivered *out, struct fault *why)
{
    struct engine_delivered delivered = { 0 };
    int r;

    if (d->item_id.n > 32 || (d->mark.n && d->mark.n != 32))
        return fault_set(why, FAULT_INVALID, "mark or item id has the wrong length");
    if (change_begin(e, why) < 0)
        return -1;
    r = change_end(e, deliver_inside(e, d, body, &delivered, why), why);
    if (r >= 0)
        *out = delivered;
    return r;
}
