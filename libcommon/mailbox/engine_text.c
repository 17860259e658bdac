/* engine_text.c - the text of a message that searching looks at: decoded, then folded.
 *
 * Owns nothing. Called by search and by the index, so that both see the same. Fails when the text outgrows its buffers.
 * Never suspends.
 */
#include "mailbox/engine_search.h"

#include "mailbox/body_image.h"
#include "wire/casefold.h"
#include "wire/mime.h"
#include "wire/mime_text.h"

static int render_tree(const struct mime_tree *tree, struct slice message, struct search_text *out)
{
    AUTO(buf_free) struct buf plain = BUF_INIT(SEARCH_TEXT_MAX);

    if (mime_render_header_text(slice_sub(message, tree->root->header_at, tree->root->header_len), &plain) < 0 ||
        casefold_utf8(buf_slice(&plain), &out->header) < 0)
        return -1;
    buf_reset(&plain);
    if (mime_render_search_text(tree->root, message, MIME_TEXT_BODY, &plain) < 0)
        return -1;
    return casefold_utf8(buf_slice(&plain), &out->body);
}

int search_text_render(struct slice message, struct search_text *out)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct mime_tree tree;

    mime_parse(a, message, &tree);
    return render_tree(&tree, message, out);
}

/* ---- of a stored body --------------------------------------------------------------------------------- */

static bool lost_text(const struct image *m, const struct mime_tree *tree)
{
    for (const struct mime_part *p = tree->root; p; p = mime_next_part(p))
        if (p->kind == MIME_LEAF && mime_is_type(p, "text", NULL) &&
            image_has_lost(m, p->body_at, p->body_at + p->body_len))
            return true;
    return false;
}

static int read_image(struct body_reader *r, struct image *m, struct fault *why)
{
    struct slice piece;

    for (uint64_t at = 0; at < r->size; at += piece.n) {
        if (body_reader_at(r, at, &piece, why) < 0)
            return -1;
        image_write(m, piece);
    }
    return 0;
}

/* 1: text was among what the image leaves out. */
static int render_image(struct body_reader *r, struct search_text *out, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(image_end) struct image m = { 0 };
    struct mime_tree tree;

    if (image_begin(&m, r->size, why) < 0 || read_image(r, &m, why) < 0)
        return -1;
    mime_parse(a, image_slice(&m), &tree);
    if (lost_text(&m, &tree))
        return 1;
    return render_tree(&tree, image_slice(&m), out) < 0 ? fault_set(why, FAULT_LIMIT, "too much text to search") : 0;
}

int search_text_of_body(struct body_reader *r, struct search_text *out, struct fault *why)
{
    AUTO(buf_free) struct buf whole = BUF_INIT((size_t)ENGINE_MESSAGE_MAX);
    struct slice message;
    int lost;

    if (r->stored != BODY_CHUNKS) {
        if (body_reader_at(r, 0, &message, why) < 0)
            return -1;
    } else {
        lost = render_image(r, out, why);
        if (lost <= 0)
            return lost;
        if (body_reader_range(r, 0, r->size, &whole, why) < 0)
            return -1;
        message = buf_slice(&whole);
    }
    return search_text_render(message, out) < 0 ? fault_set(why, FAULT_LIMIT, "too much text to search") : 0;
}
