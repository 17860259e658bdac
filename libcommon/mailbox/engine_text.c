/* engine_text.c - the text of a message that searching looks at: decoded, then folded.
 *
 * Owns nothing. Called by search and by the index, so that both see the same. Fails when the text outgrows its buffers.
 * Never suspends.
 */
#include "mailbox/engine_search.h"

#include "wire/casefold.h"
#include "wire/mime.h"
#include "wire/mime_text.h"

int search_text_render(struct slice message, struct search_text *out)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(buf_free) struct buf plain = BUF_INIT(SEARCH_TEXT_MAX);
    struct mime_tree tree;

    mime_parse(a, message, &tree);
    if (mime_render_header_text(slice_sub(message, tree.root->header_at, tree.root->header_len), &plain) < 0 ||
        casefold_utf8(buf_slice(&plain), &out->header) < 0)
        return -1;
    buf_reset(&plain);
    if (mime_render_search_text(tree.root, message, MIME_TEXT_BODY, &plain) < 0)
        return -1;
    return casefold_utf8(buf_slice(&plain), &out->body);
}
