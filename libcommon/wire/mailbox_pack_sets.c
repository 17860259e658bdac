/* mailbox_pack_sets.c - packed UID sets, rows and lists of names.
 *
 * Owns nothing. Called by the other files of mailbox_pack and by both sides of the RPC. Fails on
 * malformed peer bytes and full buffers. Never suspends.
 */
#include "wire/mailbox_pack_internal.h"

bool take_u32(struct slice *in, uint32_t *out)
{
    uint64_t v;

    if (!unpack_varint(in, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

bool take_bool(struct slice *in, bool *out)
{
    uint64_t v;

    if (!unpack_varint(in, &v) || v > 1)
        return false;
    *out = v == 1;
    return true;
}

bool take_count(struct slice *in, uint64_t max, size_t least, size_t *out)
{
    uint64_t v;

    if (!unpack_varint(in, &v) || v > max || v > in->n / least)
        return false;
    *out = (size_t)v;
    return true;
}

/* ---- UID sets: count, then per range the distance from the end of the one before and its length -
 * 1 ---- */

int pack_uid_set(struct buf *out, struct uid_set set)
{
    uint32_t at = 0;

    if (set.count > PACK_RANGES_MAX)
        return -1;
    (void)buf_put_varint(out, set.count);
    for (size_t i = 0; i < set.count; i++) {
        (void)buf_put_varint(out, set.ranges[i].first - at);
        (void)buf_put_varint(out, set.ranges[i].last - set.ranges[i].first);
        at = set.ranges[i].last;
    }
    return put_result(out);
}

bool take_uid_set(struct slice *in, struct arena *a, struct uid_set *out)
{
    struct uid_set set = {NULL, 0};
    uint64_t at = 0;

    if (!take_count(in, PACK_RANGES_MAX, 2, &set.count))
        return false;
    if (set.count > 0)
        set.ranges = ARENA_ARRAY(a, struct uid_range, set.count);
    for (size_t i = 0; i < set.count; i++) {
        uint64_t gap, more;
        if (!unpack_varint(in, &gap) || !unpack_varint(in, &more))
            return false;
        if (gap < (i == 0 ? 1u : 2u) || gap > UINT32_MAX || more > UINT32_MAX ||
            at + gap + more > UINT32_MAX)
            return false;
        set.ranges[i].first = (uint32_t)(at + gap);
        set.ranges[i].last = (uint32_t)(at + gap + more);
        at += gap + more;
    }
    *out = set;
    return true;
}

bool unpack_uid_set(struct slice in, struct arena *a, struct uid_set *out)
{
    struct uid_set set;

    if (!take_uid_set(&in, a, &set) || in.n > 0)
        return false;
    *out = set;
    return true;
}

/* ---- rows: each as differences from the one before ---- */

void put_row(struct buf *out, const struct mailbox_row *row, const struct mailbox_row *before)
{
    (void)buf_put_varint(out, row->uid - before->uid);
    (void)buf_put_varint(out, row->size);
    (void)buf_put_varint(out, row->flags);
    (void)buf_put_svarint(out, (int64_t)(row->modseq - before->modseq));
    (void)buf_put_varint(out, row->keywords[0]);
    (void)buf_put_varint(out, row->keywords[1]);
    (void)buf_put_svarint(out,
                          (int64_t)((uint64_t)row->internal_ms - (uint64_t)before->internal_ms));
    (void)buf_put_svarint(out, (int64_t)((uint64_t)row->saved_ms - (uint64_t)before->saved_ms));
}

bool take_row(struct slice *in, const struct mailbox_row *before, struct mailbox_row *out)
{
    uint32_t gap;
    int64_t modseq, internal, saved;

    if (!take_u32(in, &gap) || gap == 0 || gap > UINT32_MAX - before->uid)
        return false;
    if (!take_u32(in, &out->size) || !take_u32(in, &out->flags) || !unpack_svarint(in, &modseq))
        return false;
    if (!unpack_varint(in, &out->keywords[0]) || !unpack_varint(in, &out->keywords[1]) ||
        out->keywords[1] >> (MAILBOX_KEYWORDS_MAX - 64) != 0)
        return false;
    if (!unpack_svarint(in, &internal) || !unpack_svarint(in, &saved))
        return false;
    out->uid = before->uid + gap;
    out->modseq = before->modseq + (uint64_t)modseq;
    out->internal_ms = (int64_t)((uint64_t)before->internal_ms + (uint64_t)internal);
    out->saved_ms = (int64_t)((uint64_t)before->saved_ms + (uint64_t)saved);
    return true;
}

int pack_rows(struct buf *out, const struct mailbox_row *rows, size_t count)
{
    static const struct mailbox_row zero;
    const struct mailbox_row *before = &zero;

    if (count > PACK_ROWS_MAX)
        return -1;
    (void)buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        put_row(out, &rows[i], before);
        before = &rows[i];
    }
    return put_result(out);
}

bool take_rows(struct slice *in, struct arena *a, struct mailbox_row **out, size_t *count)
{
    static const struct mailbox_row zero;
    const struct mailbox_row *before = &zero;
    struct mailbox_row *rows = NULL;
    size_t n;

    if (!take_count(in, PACK_ROWS_MAX, 8, &n))
        return false;
    if (n > 0)
        rows = ARENA_ARRAY(a, struct mailbox_row, n);
    for (size_t i = 0; i < n; i++) {
        if (!take_row(in, before, &rows[i]))
            return false;
        before = &rows[i];
    }
    *out = rows;
    *count = n;
    return true;
}

bool unpack_rows(struct slice in, struct arena *a, struct mailbox_row **out, size_t *count)
{
    struct mailbox_row *rows;
    size_t n;

    if (!take_rows(&in, a, &rows, &n) || in.n > 0)
        return false;
    *out = rows;
    *count = n;
    return true;
}

/* ---- names: keywords, header fields ---- */

void put_names(struct buf *out, const struct slice *names, size_t count)
{
    (void)buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++)
        (void)buf_put_bytes(out, names[i]);
}

bool take_names(struct slice *in, struct arena *a, size_t max, struct slice **out, size_t *count)
{
    struct slice *names = NULL;
    size_t n;

    if (!take_count(in, max, 1, &n))
        return false;
    if (n > 0)
        names = ARENA_ARRAY(a, struct slice, n);
    for (size_t i = 0; i < n; i++)
        if (!unpack_bytes(in, &names[i]))
            return false;
    *out = names;
    *count = n;
    return true;
}
