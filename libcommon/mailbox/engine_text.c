/* engine_text.c - the text of a message that searching looks at: decoded, then folded.
 *
 * Owns nothing. Called by search and by the index, so that both see the same. Fails when the text outgrows its buffers.
 * A stored body is read piece by piece, so that 50 MB of text cost no 50 MB of memory. Never suspends.
 */
#include "mailbox/engine_search.h"

#include "mailbox/body_image.h"
#include "wire/casefold.h"
#include "wire/charset.h"
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

/* ---- of a stored body, a piece at a time ---------------------------------------------------------------- */

#define PIECE_BYTES ((uint64_t)64 << 10)

struct text_reading {
    struct body_reader *r;
    struct image image;
    text_put put;
    void *arg;
    struct buf scratch, plain, folded;
};

static int too_much(struct fault *why)
{
    return fault_set(why, FAULT_LIMIT, "too much text to search");
}

/* Folds what is in `plain` and hands it on. */
static int put_plain(struct text_reading *t, enum text_place where, struct fault *why)
{
    int r = casefold_utf8(buf_slice(&t->plain), &t->folded);

    r = r < 0 ? too_much(why) : t->put(t->arg, where, buf_slice(&t->folded), why);
    buf_reset(&t->plain);
    buf_reset(&t->folded);
    return r;
}

/* Text of the body: handed on once it is worth it, so that a hundred thousand parts are no hundred thousand pieces. */
static int put_body(struct text_reading *t, struct fault *why)
{
    return t->plain.n >= PIECE_BYTES ? put_plain(t, TEXT_BODY, why) : 0;
}

static int read_image(struct text_reading *t, struct fault *why)
{
    struct slice piece;

    for (uint64_t at = 0; at < t->r->size; at += piece.n) {
        if (body_reader_at(t->r, at, &piece, why) < 0)
            return -1;
        image_write(&t->image, piece);
    }
    return 0;
}

/* Some bytes of the body at `at`, before `end`: from the image where it has them. */
static int read_piece(struct text_reading *t, uint64_t at, uint64_t end, struct slice *out, struct fault *why)
{
    uint64_t n = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;

    *out = slice_sub(image_slice(&t->image), at, n);
    if (!image_has_lost(&t->image, at, at + n))
        return 0;
    if (body_reader_at(t->r, at, out, why) < 0)
        return -1;
    *out = slice_head(*out, n);
    return out->n > 0 ? 0 : fault_set(why, FAULT_CORRUPT, "a body is shorter than its parts");
}

/* Is the decoded part UTF-8? Only an unknown charset makes it a question. */
static int part_is_utf8(struct text_reading *t, const struct mime_part *p, bool *is_utf8, struct fault *why)
{
    struct utf8_check check = { 0 };
    struct mime_decoder d;
    struct slice piece;

    mime_decoder_init(&d, p->encoding);
    for (uint64_t at = p->body_at, end = at + p->body_len; at < end; at += piece.n) {
        if (read_piece(t, at, end, &piece, why) < 0)
            return -1;
        buf_reset(&t->scratch);
        if (mime_decoder_feed(&d, piece, &t->scratch) < 0)
            return too_much(why);
        utf8_check_feed(&check, buf_slice(&t->scratch));
    }
    buf_reset(&t->scratch);
    if (mime_decoder_finish(&d, &t->scratch) < 0)
        return too_much(why);
    utf8_check_feed(&check, buf_slice(&t->scratch));
    *is_utf8 = utf8_check_finish(&check);
    return 0;
}

static int put_decoded(struct text_reading *t, struct charset_stream *cs, struct fault *why)
{
    if (charset_stream_feed(cs, buf_slice(&t->scratch), &t->plain) < 0)
        return too_much(why);
    buf_reset(&t->scratch);
    return put_body(t, why);
}

static int put_part_with(struct text_reading *t, const struct mime_part *p, struct charset_stream *cs, struct fault *why)
{
    struct mime_decoder d;
    struct slice piece;
    int r = 0;

    buf_reset(&t->scratch);
    mime_decoder_init(&d, p->encoding);
    for (uint64_t at = p->body_at, end = at + p->body_len; r == 0 && at < end; at += piece.n) {
        if (read_piece(t, at, end, &piece, why) < 0)
            return -1;
        if (mime_decoder_feed(&d, piece, &t->scratch) < 0)
            return too_much(why);
        r = put_decoded(t, cs, why);
    }
    if (r != 0)
        return r;
    if (mime_decoder_finish(&d, &t->scratch) < 0)
        return too_much(why);
    r = put_decoded(t, cs, why);
    if (r != 0)
        return r;
    if (charset_stream_finish(cs, &t->plain) < 0)
        return too_much(why);
    (void)buf_append_char(&t->plain, '\n');
    return put_body(t, why);
}

static int put_part(struct text_reading *t, const struct mime_part *p, struct fault *why)
{
    AUTO(charset_stream_end) struct charset_stream cs = { 0 };
    struct slice charset = mime_get_param(&p->params, LIT("charset"));
    bool is_utf8 = false;

    if (charset_is_guessed(charset) && part_is_utf8(t, p, &is_utf8, why) < 0)
        return -1;
    charset_stream_begin(&cs, charset, is_utf8);
    return put_part_with(t, p, &cs, why);
}

/* The same order as mime_render_search_text(), which renders what else there is between the texts. */
static int put_tree(struct text_reading *t, const struct mime_tree *tree, struct fault *why)
{
    struct slice message = image_slice(&t->image);
    int r;

    if (mime_render_header_text(slice_sub(message, tree->root->header_at, tree->root->header_len), &t->plain) < 0)
        return too_much(why);
    r = put_plain(t, TEXT_HEADER, why);
    for (const struct mime_part *p = tree->root; r == 0 && p; p = mime_next_part(p)) {
        if (mime_render_part_head(tree->root, p, message, &t->plain) < 0)
            return too_much(why);
        r = mime_is_searched(p) ? put_part(t, p, why) : put_body(t, why);
    }
    if (r == 0)
        r = put_plain(t, TEXT_BODY, why);
    return r < 0 ? r : 0;
}

/* A large body costs its header, the pages of its image, and a piece. */
static int read_large(struct text_reading *t, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct mime_tree tree;

    if (read_image(t, why) < 0)
        return -1;
    mime_parse(a, image_slice(&t->image), &tree);
    return put_tree(t, &tree, why);
}

/* A small one is rendered whole. */
static int read_small(struct body_reader *r, text_put put, void *arg, struct fault *why)
{
    struct search_text text = { BUF_INIT(SEARCH_TEXT_MAX), BUF_INIT(SEARCH_TEXT_MAX) };
    struct slice message;
    int got = body_reader_at(r, 0, &message, why);

    if (got >= 0 && search_text_render(message, &text) < 0)
        got = too_much(why);
    if (got >= 0)
        got = put(arg, TEXT_HEADER, buf_slice(&text.header), why);
    if (got == 0)
        got = put(arg, TEXT_BODY, buf_slice(&text.body), why);
    buf_free(&text.header);
    buf_free(&text.body);
    return got < 0 ? got : 0;
}

int search_text_read(struct body_reader *r, text_put put, void *arg, struct fault *why)
{
    struct text_reading t = { .r = r, .put = put, .arg = arg, .scratch = BUF_INIT(SEARCH_TEXT_MAX),
                              .plain = BUF_INIT(SEARCH_TEXT_MAX), .folded = BUF_INIT(SEARCH_TEXT_MAX) };
    int got;

    if (r->stored != BODY_CHUNKS)
        return read_small(r, put, arg, why);
    if (image_begin(&t.image, r->size, why) < 0)
        return -1;
    got = read_large(&t, why);
    image_end(&t.image);
    buf_free(&t.scratch);
    buf_free(&t.plain);
    buf_free(&t.folded);
    return got;
}

static int gather(void *arg, enum text_place where, struct slice folded, struct fault *why)
{
    struct search_text *out = arg;

    return buf_append(where == TEXT_HEADER ? &out->header : &out->body, folded) < 0 ? too_much(why) : 0;
}

int search_text_of_body(struct body_reader *r, struct search_text *out, struct fault *why)
{
    return search_text_read(r, gather, out, why);
}
