/* mailbox_pack.c - packed folders, views, changes and fetched messages.
 *
 * Owns nothing. Called by both sides of the RPC. Fails on malformed peer bytes and full buffers.
 * Never suspends.
 */
#include "wire/mailbox_pack.h"

#include "wire/mailbox_pack_internal.h"

/* ---- folders ---- */

enum { FOLDER_SUBSCRIBED = 1, FOLDER_EXISTS = 2 };

void put_folder(struct buf *out, const struct mailbox_folder *f)
{
    (void)buf_put_varint(out, f->id);
    (void)buf_put_bytes(out, f->path);
    (void)buf_put_bytes(out, f->special_use);
    (void)buf_put_varint(out,
                         (f->subscribed ? FOLDER_SUBSCRIBED : 0) | (f->exists ? FOLDER_EXISTS : 0));
    (void)buf_put_varint(out, f->uidvalidity);
    (void)buf_put_varint(out, f->uidnext);
    (void)buf_put_varint(out, f->messages);
    (void)buf_put_varint(out, f->unseen);
    (void)buf_put_varint(out, f->deleted);
    (void)buf_put_varint(out, f->highestmodseq);
    (void)buf_put_varint(out, f->size_bytes);
}

bool take_folder(struct slice *in, struct mailbox_folder *out)
{
    uint32_t bits;

    if (!unpack_varint(in, &out->id) || !unpack_bytes(in, &out->path) ||
        !unpack_bytes(in, &out->special_use) || !take_u32(in, &bits) ||
        bits > (FOLDER_SUBSCRIBED | FOLDER_EXISTS))
        return false;
    out->subscribed = (bits & FOLDER_SUBSCRIBED) != 0;
    out->exists = (bits & FOLDER_EXISTS) != 0;
    return take_u32(in, &out->uidvalidity) && take_u32(in, &out->uidnext) &&
           take_u32(in, &out->messages) && take_u32(in, &out->unseen) &&
           take_u32(in, &out->deleted) && unpack_varint(in, &out->highestmodseq) &&
           unpack_varint(in, &out->size_bytes);
}

int pack_folders(struct buf *out, const struct mailbox_folder *folders, size_t count)
{
    if (count > PACK_FOLDERS_MAX)
        return -1;
    (void)buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++)
        put_folder(out, &folders[i]);
    return put_result(out);
}

bool unpack_folders(struct slice in, struct arena *a, struct mailbox_folder **out, size_t *count)
{
    struct mailbox_folder *folders;
    size_t n;

    if (!take_count(&in, PACK_FOLDERS_MAX, 11, &n))
        return false;
    folders = ARENA_ARRAY(a, struct mailbox_folder, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!take_folder(&in, &folders[i]))
            return false;
    if (in.n > 0)
        return false;
    *out = folders;
    *count = n;
    return true;
}

/* ---- views and changes ---- */

int pack_view(struct buf *out, const struct mailbox_view *view)
{
    put_folder(out, &view->folder);
    (void)buf_put_varint(out, view->modseq);
    if (pack_uid_set(out, view->uids) < 0)
        return -1;
    put_names(out, view->keywords, view->keyword_count);
    (void)buf_put_varint(out, view->first_unseen_uid);
    (void)buf_put_varint(out, view->drain_left);
    return put_result(out);
}

bool unpack_view(struct slice in, struct arena *a, struct mailbox_view *out)
{
    struct mailbox_view v = {0};

    if (!take_folder(&in, &v.folder) || !unpack_varint(&in, &v.modseq) ||
        !take_uid_set(&in, a, &v.uids) ||
        !take_names(&in, a, MAILBOX_KEYWORDS_MAX, &v.keywords, &v.keyword_count) ||
        !take_u32(&in, &v.first_unseen_uid) || !take_u32(&in, &v.drain_left) || in.n > 0)
        return false;
    *out = v;
    return true;
}

int pack_changes(struct buf *out, const struct mailbox_changes *changes)
{
    (void)buf_put_varint(out, changes->modseq);
    put_folder(out, &changes->folder);
    if (pack_rows(out, changes->rows, changes->row_count) < 0 ||
        pack_uid_set(out, changes->vanished) < 0)
        return -1;
    put_names(out, changes->keywords, changes->keyword_count);
    (void)buf_put_varint(out, changes->drain_left);
    return put_result(out);
}

bool unpack_changes(struct slice in, struct arena *a, struct mailbox_changes *out)
{
    struct mailbox_changes c = {0};

    if (!unpack_varint(&in, &c.modseq) || !take_folder(&in, &c.folder) ||
        !take_rows(&in, a, &c.rows, &c.row_count) || !take_uid_set(&in, a, &c.vanished) ||
        !take_names(&in, a, MAILBOX_KEYWORDS_MAX, &c.keywords, &c.keyword_count) ||
        !take_u32(&in, &c.drain_left) || in.n > 0)
        return false;
    *out = c;
    return true;
}

int pack_stored(struct buf *out, const struct mailbox_stored *stored)
{
    (void)buf_put_varint(out, stored->from_modseq);
    (void)buf_put_varint(out, stored->modseq);
    if (pack_rows(out, stored->rows, stored->row_count) < 0 ||
        pack_uid_set(out, stored->conflicts) < 0)
        return -1;
    put_names(out, stored->keywords, stored->keywords == NULL ? 0 : stored->keyword_count);
    return put_result(out);
}

bool unpack_stored(struct slice in, struct arena *a, struct mailbox_stored *out)
{
    struct mailbox_stored s = {0};

    if (!unpack_varint(&in, &s.from_modseq) || !unpack_varint(&in, &s.modseq) ||
        !take_rows(&in, a, &s.rows, &s.row_count) || !take_uid_set(&in, a, &s.conflicts) ||
        !take_names(&in, a, MAILBOX_KEYWORDS_MAX, &s.keywords, &s.keyword_count) || in.n > 0)
        return false;
    *out = s;
    return true;
}

/* ---- append and fetch ---- */

int pack_append_head(struct buf *out, const struct mailbox_append_head *head)
{
    if (head->keyword_count > MAILBOX_KEYWORDS_MAX)
        return -1;
    (void)buf_put_varint(out, head->size_bytes);
    (void)buf_put_varint(out, head->flags);
    put_names(out, head->keywords, head->keyword_count);
    (void)buf_put_svarint(out, head->internal_ms);
    return put_result(out);
}

bool unpack_append_head(struct slice in, struct arena *a, struct mailbox_append_head *out)
{
    struct mailbox_append_head h = {0};
    struct slice *keywords;

    if (!unpack_varint(&in, &h.size_bytes) || !take_u32(&in, &h.flags) ||
        !take_names(&in, a, MAILBOX_KEYWORDS_MAX, &keywords, &h.keyword_count) ||
        !unpack_svarint(&in, &h.internal_ms) || in.n > 0)
        return false;
    h.keywords = keywords;
    *out = h;
    return true;
}

static const struct mailbox_row no_row;

int pack_fetched(struct buf *out, const struct mailbox_fetched *message, size_t section_count)
{
    AUTO(buf_free) struct buf head = BUF_INIT(PACK_FETCH_HEAD_MAX);

    put_row(&head, &message->row, &no_row);
    (void)buf_put_bytes(&head, message->envelope);
    (void)buf_put_bytes(&head, message->bodystructure);
    (void)buf_put_bytes(&head, message->body);
    (void)buf_put_bytes(&head, message->preview);
    (void)buf_put_varint(&head, section_count);
    for (size_t i = 0; i < section_count; i++) /* 0: no such section; else its size + 1 */
        (void)buf_put_varint(&head,
                             message->sections[i].exists ? message->sections[i].bytes + 1 : 0);
    if (head.overflowed)
        return -1;
    return buf_put_bytes(out, buf_slice(&head));
}

bool unpack_fetched(struct slice head, struct mailbox_fetched *out, size_t *section_count)
{
    struct mailbox_fetched m = {0};
    uint64_t count;

    if (!take_row(&head, &no_row, &m.row) || !unpack_bytes(&head, &m.envelope) ||
        !unpack_bytes(&head, &m.bodystructure) || !unpack_bytes(&head, &m.body) ||
        !unpack_bytes(&head, &m.preview) || !unpack_varint(&head, &count) ||
        count > MAILBOX_SECTIONS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t v;
        if (!unpack_varint(&head, &v))
            return false;
        m.sections[i].exists = v > 0;
        m.sections[i].bytes = v > 0 ? v - 1 : 0;
    }
    if (head.n > 0)
        return false;
    *out = m;
    *section_count = (size_t)count;
    return true;
}
