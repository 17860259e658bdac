/* mime_text.c - the text of whole messages: for searching, and the first line or two for previews.
 *
 * Owns nothing. Called by the mailbox engine. <0 only when `out` is full. Never suspends.
 */
#include "wire/mime_text.h"

#include "wire/rfc5322.h"

int mime_render_header_text(struct slice header, struct buf *out)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct rfc5322_field f;

    while (rfc5322_next_field(&header, &f)) {
        if (f.name.n) {
            (void)buf_append(out, f.name);
            (void)buf_append(out, LIT(": "));
        }
        (void)buf_append(out, rfc5322_decode_words(a, f.value));
        (void)buf_append_char(out, '\n');
        arena_reset(a);
    }
    return out->overflowed ? -1 : 0;
}

static void append_filename(const struct mime_part *part, struct buf *out)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name = mime_get_filename(a, part);

    if (name.n == 0)
        return;
    (void)buf_append(out, name);
    (void)buf_append_char(out, '\n');
}

int mime_render_part_head(const struct mime_part *root, const struct mime_part *part, struct slice message, struct buf *out)
{
    if (part != root && part->parent && part->parent->kind == MIME_MESSAGE)
        (void)mime_render_header_text(slice_sub(message, part->header_at, part->header_len), out);
    append_filename(part, out);
    return out->overflowed ? -1 : 0;
}

bool mime_is_searched(const struct mime_part *part)
{
    return part->kind == MIME_LEAF && mime_is_type(part, "text", NULL);
}

int mime_render_search_text(const struct mime_part *root, struct slice message, enum mime_text_scope scope, struct buf *out)
{
    for (const struct mime_part *part = root; part; part = mime_next_part(part)) {
        if (part == root && scope == MIME_TEXT_ALL)
            (void)mime_render_header_text(slice_sub(message, part->header_at, part->header_len), out);
        (void)mime_render_part_head(root, part, message, out);
        if (mime_is_searched(part)) {
            (void)mime_decode_text(part, message, out);
            (void)buf_append_char(out, '\n');
        }
        if (out->overflowed)
            return -1;
    }
    return 0;
}

/* ---- preview --------------------------------------------------------------------------------------------------- */

#define PREVIEW_SOURCE_MAX ((size_t)64 << 10)        /* enough of a body to find some readable characters in */

static bool is_shown_text(const struct mime_part *part, const char *subtype)
{
    return part->kind == MIME_LEAF && mime_is_type(part, "text", subtype) &&
           !slice_equal_nocase(part->disposition, LIT("attachment"));
}

static const struct mime_part *find_text(const struct mime_part *root, const char *subtype)
{
    for (const struct mime_part *part = root; part; part = mime_next_part(part))
        if (is_shown_text(part, subtype))
            return part;
    return NULL;
}

/* Characters, white space of any length as one space. */
static void append_joined(struct slice text, size_t chars, struct buf *out)
{
    bool space = false;
    size_t start = out->n;

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c <= 32 || c == 127) {
            space = out->n > start;
            continue;
        }
        if ((c & 0xC0) != 0x80) {
            if (chars < 1u + space)
                return;
            chars -= 1u + space;
            if (space)
                (void)buf_append_char(out, ' ');
            space = false;
        }
        (void)buf_append_char(out, (char)c);
    }
}

int mime_render_preview(const struct mime_part *root, struct slice message, size_t chars, struct buf *out)
{
    AUTO(buf_free) struct buf text = BUF_INIT(PREVIEW_SOURCE_MAX * 4);
    AUTO(buf_free) struct buf plain = BUF_INIT(PREVIEW_SOURCE_MAX * 4);
    const struct mime_part *part = find_text(root, "plain");
    bool html = false;
    struct mime_part head;

    if (!part) {
        part = find_text(root, "html");
        html = true;
    }
    if (!part)
        return 0;
    head = *part;
    if (head.body_len > PREVIEW_SOURCE_MAX)
        head.body_len = PREVIEW_SOURCE_MAX;
    (void)mime_decode_text(&head, message, &text);
    if (html)
        (void)mime_strip_html(buf_slice(&text), &plain);
    append_joined(html ? buf_slice(&plain) : buf_slice(&text), chars, out);
    return out->overflowed ? -1 : 0;
}
