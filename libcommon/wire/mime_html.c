/* mime_html.c - the readable text of HTML, for previews: no parser, a walk that drops tags and decodes entities.
 *
 * Owns nothing. Called through mime_text.h. <0 only when `out` is full. Never suspends.
 */
#include "wire/mime_text.h"

#define NAME_MAX_BYTES 12

static void append_codepoint(uint32_t c, struct buf *out)
{
    char s[4];
    size_t n = 0;

    if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        c = 0xFFFD;
    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xC0 | c >> 6);
    } else if (c < 0x10000) {
        s[n++] = (char)(0xE0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    } else {
        s[n++] = (char)(0xF0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    }
    if (c >= 0x80)
        s[n++] = (char)(0x80 | (c & 0x3F));
    (void)buf_append(out, slice_make(s, n));
}

static bool read_number(struct slice s, uint32_t *out)
{
    bool hex = s.n > 1 && (s.p[0] == 'x' || s.p[0] == 'X');
    uint32_t v = 0;

    if (hex)
        s = slice_tail(s, 1);
    if (s.n == 0 || s.n > 8)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        uint32_t digit = ascii_is_digit(c) ? (uint32_t)(c - '0') : hex && c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 99;

        if (digit == 99)
            return false;
        v = v * (hex ? 16 : 10) + digit;
    }
    *out = v;
    return true;
}

/* "&name;" at the start of s; 0 when it is none. */
static size_t read_entity(struct slice s, uint32_t *out)
{
    static const struct { const char *name; uint32_t c; } names[] = {
        { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' }, { "nbsp", ' ' }, { "copy", 0xA9 },
        { "reg", 0xAE }, { "euro", 0x20AC }, { "hellip", 0x2026 }, { "mdash", 0x2014 }, { "ndash", 0x2013 }, { "lsquo", 0x2018 },
        { "rsquo", 0x2019 }, { "ldquo", 0x201C }, { "rdquo", 0x201D }, { "bull", 0x2022 }, { "middot", 0xB7 }, { "zwnj", ' ' },
        { "auml", 0xE4 }, { "ouml", 0xF6 }, { "uuml", 0xFC }, { "Auml", 0xC4 }, { "Ouml", 0xD6 }, { "Uuml", 0xDC }, { "szlig", 0xDF },
        { "eacute", 0xE9 }, { "egrave", 0xE8 }, { "agrave", 0xE0 }, { "ccedil", 0xE7 }, { "shy", ' ' }, { "laquo", 0xAB }, { "raquo", 0xBB },
    };
    ptrdiff_t end = slice_find_char(slice_head(s, NAME_MAX_BYTES), ';');
    struct slice name;

    if (end < 2)
        return 0;
    name = slice_sub(s, 1, (size_t)end - 1);
    if (name.p[0] == '#')
        return read_number(slice_tail(name, 1), out) ? (size_t)end + 1 : 0;
    for (size_t i = 0; i < COUNT(names); i++)
        if (slice_equal(name, slice_of(names[i].name))) {
            *out = names[i].c;
            return (size_t)end + 1;
        }
    return 0;
}

static struct slice tag_name(struct slice tag)
{
    size_t n = 0;

    while (n < tag.n && n < NAME_MAX_BYTES && ascii_is_alnum(tag.p[n]))
        n++;
    return slice_head(tag, n);
}

static bool is_inline(struct slice name)
{
    static const char *const names[] = { "a", "b", "i", "u", "em", "strong", "span", "font", "small", "big", "sub", "sup", "code", "s" };

    for (size_t i = 0; i < COUNT(names); i++)
        if (slice_equal_nocase(name, slice_of(names[i])))
            return true;
    return false;
}

/* Bytes of what stands between a <script>, <style> or <title> and its end; 0 for other tags. */
static size_t skipped_content(struct slice name, struct slice rest)
{
    static const struct { struct slice name, end; } skipped[] = {
        { LIT("script"), LIT("</script") }, { LIT("style"), LIT("</style") }, { LIT("title"), LIT("</title") },
    };

    for (size_t i = 0; i < COUNT(skipped); i++)
        if (slice_equal_nocase(name, skipped[i].name)) {
            ptrdiff_t end = slice_find_nocase(rest, skipped[i].end);

            return end < 0 ? rest.n : (size_t)end;
        }
    return 0;
}

/* A tag or comment; rest starts behind "<". */
static void skip_tag(struct slice *rest, struct buf *out)
{
    bool closing = rest->n && rest->p[0] == '/';
    struct slice name;
    ptrdiff_t end;

    if (slice_has_prefix(*rest, LIT("!--"))) {
        end = slice_find(*rest, LIT("-->"));
        *rest = slice_tail(*rest, end < 0 ? rest->n : (size_t)end + 3);
        return;
    }
    name = tag_name(slice_tail(*rest, closing));
    if (!is_inline(name))
        (void)buf_append_char(out, ' ');
    end = slice_find_char(*rest, '>');
    *rest = slice_tail(*rest, end < 0 ? rest->n : (size_t)end + 1);
    if (!closing)
        *rest = slice_tail(*rest, skipped_content(name, *rest));
}

int mime_strip_html(struct slice html, struct buf *out)
{
    struct slice rest = html;

    while (rest.n > 0 && !out->overflowed) {
        size_t n = 0, used;
        uint32_t c;

        while (n < rest.n && rest.p[n] != '<' && rest.p[n] != '&')
            n++;
        (void)buf_append(out, slice_head(rest, n));
        rest = slice_tail(rest, n);
        if (rest.n == 0)
            break;
        if (rest.p[0] == '<') {
            rest = slice_tail(rest, 1);
            skip_tag(&rest, out);
        } else if ((used = read_entity(rest, &c)) > 0) {
            append_codepoint(c, out);
            rest = slice_tail(rest, used);
        } else {
            (void)buf_append_char(out, '&');
            rest = slice_tail(rest, 1);
        }
    }
    return out->overflowed ? -1 : 0;
}
