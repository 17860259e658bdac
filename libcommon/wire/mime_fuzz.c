/* mime_fuzz.c - any bytes as a message: the tree holds together, everything made of it is well-formed.
 *
 * Checks: parts lie inside their parents and in order; a BODYSTRUCTURE has balanced parentheses; decoded text is UTF-8.
 */
#include <assert.h>

#include "wire/imap_render.h"
#include "wire/mime.h"
#include "wire/mime_text.h"

/* Walks rendered text: strings, literals and parentheses. */
static void check_balanced(struct slice s)
{
    int depth = 0;

    while (s.n > 0) {
        char c = s.p[0];
        uint32_t n;

        if (c == '"') {
            size_t i = 1;

            while (i < s.n && s.p[i] != '"')
                i += s.p[i] == '\\' ? 2 : 1;
            assert(i < s.n);
            s = slice_tail(s, i);
        } else if (c == '{') {
            ptrdiff_t close = slice_find_char(s, '}');

            assert(close > 0 && slice_to_u32(slice_sub(s, 1, (size_t)close - 1), UINT32_MAX, &n));
            assert(s.n >= (size_t)close + 3 + n);
            s = slice_tail(s, (size_t)close + 2 + n);
        }
        depth += c == '(';
        depth -= c == ')';
        assert(depth >= 0);
        s = slice_tail(s, 1);
    }
    assert(depth == 0);
}

static void check_tree(const struct mime_tree *tree, struct slice m)
{
    size_t count = 0;

    for (const struct mime_part *p = tree->root; p; p = mime_next_part(p)) {
        assert(p->index == count++);
        assert(p->header_at + p->header_len <= p->body_at);
        assert(p->body_at + p->body_len <= m.n);
        assert(p->body_lines <= p->body_len);
        if (p->parent)
            assert(p->header_at >= p->parent->body_at);
        if (p->parent && p->body_len)
            assert(p->body_at + p->body_len <= p->parent->body_at + p->parent->body_len);
        assert((p->kind == MIME_MESSAGE) <= (p->child_count == 1));
        assert((p->kind == MIME_LEAF) <= (p->child_count == 0));
    }
    assert(count == tree->part_count && count <= MIME_PARTS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(buf_free) struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
    struct slice m = slice_make(data, size);
    struct mime_tree tree;

    mime_parse(a, m, &tree);
    check_tree(&tree, m);
    assert(imap_render_body(tree.root, m, IMAP_BODYSTRUCTURE, &out) == 0);
    check_balanced(buf_slice(&out));
    buf_reset(&out);
    assert(imap_render_envelope(slice_head(m, tree.root->header_len), &out) == 0);
    check_balanced(buf_slice(&out));
    buf_reset(&out);
    assert(mime_render_preview(tree.root, m, 200, &out) == 0);
    assert(slice_is_utf8(buf_slice(&out)));
    for (const struct mime_part *p = tree.root; p; p = mime_next_part(p)) {
        buf_reset(&out);
        assert(mime_decode_text(p, m, &out) == 0);
        assert(slice_is_utf8(buf_slice(&out)));
        (void)mime_get_filename(a, p);
    }
    buf_reset(&out);
    (void)mime_render_search_text(tree.root, m, MIME_TEXT_ALL, &out);
    return 0;
}
