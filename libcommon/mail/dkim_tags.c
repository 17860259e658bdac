/* dkim_tags.c - see dkim_tags.h.
 *
 * Owns nothing. Called by dkim_verify.c. Refuses malformed lists. Does not suspend.
 */
#include "mail/dkim_tags.h"

#include "base/encode.h"

static bool is_fws(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s)
{
    while (s.n > 0 && is_fws(s.p[0]))
        s = slice_tail(s, 1);
    while (s.n > 0 && is_fws(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool name_is_valid(struct slice name)
{
    if (name.n == 0 || !ascii_is_alpha(name.p[0]))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_alnum(name.p[i]) && name.p[i] != '_')
            return false;
    return true;
}

bool dkim_tags_parse(struct arena *a, struct slice in, struct dkim_tags *out)
{
    struct slice one;

    (void)a;
    out->count = 0;
    while (slice_cut(&in, ';', &one)) {
        ptrdiff_t equals = slice_find_char(one, '=');
        struct slice name;

        if (trim(one).n == 0 && trim(in).n == 0)
            break;                             /* a final semicolon */
        if (equals < 0 || out->count == DKIM_TAGS_MAX)
            return false;
        name = trim(slice_head(one, (size_t)equals));
        if (!name_is_valid(name))
            return false;
        for (size_t i = 0; i < out->count; i++)
            if (slice_equal(out->tag[i].name, name))
                return false;
        out->tag[out->count].name = name;
        out->tag[out->count++].value = trim(slice_tail(one, (size_t)equals + 1));
    }
    return out->count > 0;
}

struct slice dkim_tag(const struct dkim_tags *tags, const char *name)
{
    for (size_t i = 0; i < tags->count; i++)
        if (slice_equal(tags->tag[i].name, slice_of(name)))
            return tags->tag[i].value;
    return SLICE_NONE;
}

bool dkim_base64(struct arena *a, struct slice in, struct slice *out)
{
    char *text = arena_alloc(a, in.n + 4);
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++)
        if (!is_fws(in.p[i]))
            text[n++] = in.p[i];
    return n > 0 && base64_decode(a, slice_make(text, n), out);
}

struct slice dkim_without_b(struct arena *a, struct slice field)
{
    size_t at = (size_t)slice_find_char(field, ':') + 1;

    while (at < field.n) {
        ptrdiff_t semicolon = slice_find_char(slice_tail(field, at), ';');
        size_t end = semicolon < 0 ? field.n : at + (size_t)semicolon;
        struct slice tag = slice_sub(field, at, end - at);
        ptrdiff_t equals = slice_find_char(tag, '=');

        if (equals > 0 && slice_equal(trim(slice_head(tag, (size_t)equals)), LIT("b")))
            return arena_concat(a, (struct slice[]){ slice_head(field, at + (size_t)equals + 1), slice_tail(field, end) }, 2);
        at = end + 1;
    }
    return field;
}
