/* rfc5322.c - walking the header fields of a message, and unfolding their values.
 *
 * Owns nothing; all results point into the header given or into an arena. Never fails, never suspends.
 */
#include "wire/rfc5322.h"

/* Length of the line at s, with its line end; all of s when it has none. */
static size_t line_length(struct slice s)
{
    const char *nl = s.n ? memchr(s.p, '\n', s.n) : NULL;

    return nl ? (size_t)(nl - s.p) + 1 : s.n;
}

static bool line_is_blank(struct slice s)
{
    return s.n > 0 && (s.p[0] == '\n' || (s.n > 1 && s.p[0] == '\r' && s.p[1] == '\n'));
}

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 5322 2.2: printable ASCII without the colon; white space before the colon is obsolete syntax. */
static bool split_name(struct slice line, struct slice *name)
{
    ptrdiff_t colon = slice_find_char(line, ':');
    size_t n;

    if (colon <= 0)
        return false;
    n = (size_t)colon;
    while (n > 0 && is_wsp(line.p[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++)
        if (line.p[i] < 33 || line.p[i] > 126)
            return false;
    *name = slice_head(line, n);
    return n > 0;
}

static struct slice without_line_end(struct slice s)
{
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

bool rfc5322_next_field(struct slice *rest, struct rfc5322_field *out)
{
    struct slice first;
    size_t n;

    if (rest->n == 0 || line_is_blank(*rest)) {
        rest->n = 0;
        return false;
    }
    n = line_length(*rest);
    first = slice_head(*rest, n);
    while (n < rest->n && is_wsp(rest->p[n]))
        n += line_length(slice_tail(*rest, n));

    out->raw = slice_head(*rest, n);
    *rest = slice_tail(*rest, n);
    if (split_name(first, &out->name)) {
        size_t colon = (size_t)slice_find_char(first, ':');

        out->value = without_line_end(slice_tail(out->raw, colon + 1));
    } else {
        out->name = slice_head(out->raw, 0);
        out->value = without_line_end(out->raw);
    }
    return true;
}

bool rfc5322_find_field(struct slice header, struct slice name, struct rfc5322_field *out)
{
    struct rfc5322_field f;

    while (rfc5322_next_field(&header, &f))
        if (slice_equal_nocase(f.name, name)) {
            *out = f;
            return true;
        }
    return false;
}

size_t rfc5322_count_fields(struct slice header, struct slice name)
{
    struct rfc5322_field f;
    size_t count = 0;

    while (rfc5322_next_field(&header, &f))
        count += slice_equal_nocase(f.name, name);
    return count;
}

size_t rfc5322_header_length(struct slice message)
{
    size_t at = 0;

    while (at < message.n) {
        struct slice rest = slice_tail(message, at);

        at += line_length(rest);
        if (line_is_blank(rest))
            return at;
    }
    return message.n;
}

struct slice rfc5322_unfold(struct arena *a, struct slice value)
{
    char *copy;
    size_t n = 0;

    value = slice_trim(value);
    if (value.n == 0 || (!memchr(value.p, '\n', value.n) && !memchr(value.p, '\r', value.n)))
        return value;
    copy = arena_alloc(a, value.n + 1);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != '\r' && value.p[i] != '\n')
            copy[n++] = value.p[i];
    return slice_make(copy, n);
}

struct slice rfc5322_get_value(struct arena *a, struct slice header, struct slice name)
{
    struct rfc5322_field f;

    return rfc5322_find_field(header, name, &f) ? rfc5322_unfold(a, f.value) : SLICE_NONE;
}

bool rfc5322_next_msgid(struct slice *rest, struct slice *out)
{
    ptrdiff_t open, close;

    for (;;) {
        open = slice_find_char(*rest, '<');
        if (open < 0)
            break;
        *rest = slice_tail(*rest, (size_t)open + 1);
        close = slice_find_char(*rest, '>');
        if (close < 0)
            break;
        *out = slice_trim(slice_head(*rest, (size_t)close));
        *rest = slice_tail(*rest, (size_t)close + 1);
        if (out->n > 0)
            return true;
    }
    rest->n = 0;
    return false;
}
