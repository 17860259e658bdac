/* body_render.c - what IMAP shows of a message, made once when it comes in; the tree of its parts as a few bytes.
 *
 * Owns nothing. Called by engine_body.c, and by engine_fetch.c for the parts. FAULT_LIMIT when a rendering outgrows its limit.
 * Never suspends.
 */
#include "mailbox/engine_body.h"

#include "wire/imap_render.h"
#include "wire/mime.h"
#include "wire/mime_text.h"
#include "wire/rfc5322.h"

#define RENDERED_MAX      ((size_t)16 << 20)
#define PREVIEW_CHARS     200         /* RFC 8970 4 */
#define DAY_MS            86400000LL

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void read_date(struct engine_body *b, struct slice header, struct arena *a)
{
    struct slice value = rfc5322_get_value(a, header, LIT("Date"));
    int64_t ms;
    int zone = 0;

    /* the day as written, whatever its zone (RFC 9051 6.4.4 SENTON) */
    if (value.p && rfc5322_parse_date(value, &ms, &zone)) {
        b->has_sent_day = true;
        b->sent_day = floor_div(ms + zone * 60000LL, DAY_MS);
    }
}

static void add_lost_lines(const struct engine_body *b, struct mime_part *root)
{
    const struct mime_part *p = root;

    for (; p; p = mime_next_part(p)) {
        uint64_t lost = image_lines_lost(&b->image, p->body_at, p->body_at + p->body_len);
        ((struct mime_part *)(uintptr_t)p)->body_lines += (uint32_t)lost;
    }
}

int body_render(struct engine_body *b, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice message = b->image.p ? image_slice(&b->image) : buf_slice(&b->small);
    struct slice header;
    struct mime_tree tree;

    mime_parse(a, message, &tree);
    if (b->image.punched_count)
        add_lost_lines(b, tree.root);
    header = slice_sub(message, tree.root->header_at, tree.root->header_len);
    buf_init(&b->parts, RENDERED_MAX);
    buf_init(&b->envelope, RENDERED_MAX);
    buf_init(&b->structure, RENDERED_MAX);
    buf_init(&b->body, RENDERED_MAX);
    buf_init(&b->preview, PREVIEW_CHARS * 4);
    if (parts_pack(tree.root, &b->parts) < 0 || imap_render_envelope(header, &b->envelope) < 0 ||
        imap_render_body(tree.root, message, IMAP_BODYSTRUCTURE, &b->structure) < 0 ||
        imap_render_body(tree.root, message, IMAP_BODY, &b->body) < 0)
        return fault_set(why, FAULT_LIMIT, "message structure is too large");
    (void)mime_render_preview(tree.root, message, PREVIEW_CHARS, &b->preview);
    read_date(b, header, a);
    return 0;
}

/* ---- the tree ----------------------------------------------------------------------------------------- */

static uint64_t part_depth(const struct mime_part *p)
{
    uint64_t depth = 0;

    for (; p->parent; p = p->parent)
        depth++;
    return depth;
}

int parts_pack(const struct mime_part *root, struct buf *out)
{
    for (const struct mime_part *p = root; p; p = mime_next_part(p)) {
        (void)buf_put_varint(out, part_depth(p));
        (void)buf_put_varint(out, (uint64_t)p->kind | (uint64_t)p->encoding << 2);
        (void)buf_put_varint(out, p->header_at);
        (void)buf_put_varint(out, p->header_len);
        (void)buf_put_varint(out, p->body_at);
        (void)buf_put_varint(out, p->body_len);
    }
    return out->overflowed ? -1 : 0;
}

static bool unpack_part(struct slice *in, uint64_t *depth, struct mime_part *p)
{
    uint64_t kinds, v[4];

    if (!unpack_varint(in, depth) || !unpack_varint(in, &kinds))
        return false;
    for (size_t i = 0; i < COUNT(v); i++)
        if (!unpack_varint(in, &v[i]))
            return false;
    p->kind = (enum mime_kind)(kinds & 3);
    p->encoding = (enum mime_encoding)(kinds >> 2);
    p->header_at = v[0];
    p->header_len = v[1];
    p->body_at = v[2];
    p->body_len = v[3];
    return true;
}

static void add_child(struct mime_part *parent, struct mime_part *child)
{
    child->parent = parent;
    if (parent->last_child)
        parent->last_child->next = child;
    else
        parent->first_child = child;
    parent->last_child = child;
    parent->child_count++;
}

int parts_unpack(struct slice packed, struct arena *in, struct mime_part **root, struct fault *why)
{
    struct mime_part *path[MIME_DEPTH_MAX + 2] = { NULL };
    uint64_t depth, deepest = 0;
    uint32_t index = 0;

    *root = NULL;
    while (packed.n) {
        struct mime_part *p = ARENA_NEW(in, struct mime_part);
        if (!unpack_part(&packed, &depth, p) || depth >= COUNT(path) || (*root ? depth == 0 : depth != 0) ||
            depth > deepest + 1)
            return fault_set(why, FAULT_CORRUPT, "parts of a message are damaged");
        p->index = index++;
        path[depth] = p;
        deepest = depth;
        if (depth)
            add_child(path[depth - 1], p);
        else
            *root = p;
    }
    return *root ? 0 : fault_set(why, FAULT_CORRUPT, "parts of a message are missing");
}
