/* api_form.c - forms to the object that JSON would have given: urlencoded pairs and multipart fields, `a[]` and `a[b]` taken apart.
 *
 * Owns nothing: text lives in the arena, values in the object. Called by api_body.c and api_dispatch.c, fuzzed by api_form_fuzz.c. A
 * mistake is false. Never suspends. (application/x-www-form-urlencoded: WHATWG URL 5.1; multipart/form-data: RFC 7578.)
 */
#include "api.h"

#define FORM_DEPTH_MAX      8
#define FORM_NAME_MAX       512u
#define PART_HEADERS_MAX    4096u
#define BOUNDARY_MAX        70u                      /* RFC 2046 5.1.1 */

/* ---- names ---------------------------------------------------------------------------------------------------------- */

struct name { struct slice part[FORM_DEPTH_MAX]; size_t count; };

/* "a[b][]" to "a" "b" "". A bracket that is not closed belongs to the name, as browsers and qs have it. */
static bool split_name(struct slice in, struct name *out)
{
    ptrdiff_t open = slice_find_char(in, '[');
    ptrdiff_t close;

    out->count = 1;
    out->part[0] = in;
    if (open <= 0 || in.p[in.n - 1] != ']')
        return true;
    out->part[0] = slice_head(in, (size_t)open);
    for (in = slice_tail(in, (size_t)open); in.n > 0; in = slice_tail(in, (size_t)close + 1)) {
        close = slice_find_char(in, ']');
        if (in.p[0] != '[' || close < 0 || out->count == FORM_DEPTH_MAX)
            return false;
        out->part[out->count++] = slice_sub(in, 1, (size_t)close - 1);
    }
    return true;
}

static bool is_index(struct slice part)
{
    uint64_t n;

    return part.n == 0 || slice_to_u64(part, API_LIST_MAX, &n);
}

/* ---- values ---------------------------------------------------------------------------------------------------------------- */

static bool append_value(json_t *array, struct slice value)
{
    if (json_array_size(array) >= API_LIST_MAX)
        return false;
    return json_array_append_new(array, json_slice(value)) == 0;
}

/* The last part: a first value is text, a second makes it an array. */
static bool put_value(json_t *object, const char *key, struct slice value)
{
    json_t *there = json_object_get(object, key), *array;

    if (there == NULL) {
        return json_object_set_new(object, key, json_slice(value)) == 0;
    }
    if (json_is_array(there))
        return append_value(there, value);
    if (!json_is_string(there))
        return false;
    array = json_array();
    (void)json_array_append(array, there);
    (void)json_object_set_new(object, key, array);
    return append_value(array, value);
}

static bool put_in_array(json_t *object, const char *key, struct slice value)
{
    json_t *there = json_object_get(object, key), *array;

    if (there == NULL || json_is_string(there)) {
        array = json_array();
        if (there != NULL)
            (void)json_array_append(array, there);
        (void)json_object_set_new(object, key, array);
        there = array;
    }
    return json_is_array(there) && append_value(there, value);
}

static json_t *child_object(json_t *object, const char *key)
{
    json_t *there = json_object_get(object, key);

    if (there == NULL) {
        there = json_object();
        (void)json_object_set_new(object, key, there);
    }
    return json_is_object(there) ? there : NULL;
}

bool api_form_put(struct arena *a, json_t *into, struct slice name, struct slice value)
{
    struct name parts;
    const char *key;

    if (name.n == 0 || name.n > FORM_NAME_MAX || memchr(name.p, '\0', name.n) != NULL || !slice_is_utf8(name) || !slice_is_utf8(value) ||
        (value.n > 0 && memchr(value.p, '\0', value.n) != NULL) || !split_name(name, &parts))
        return false;
    key = arena_cstr(a, parts.part[0]);
    for (size_t i = 1; i < parts.count; i++) {
        if (is_index(parts.part[i]))                 /* a list of values ends the name; lists of objects come as JSON */
            return i + 1 == parts.count && put_in_array(into, key, value);
        into = child_object(into, key);
        if (into == NULL)
            return false;
        key = arena_cstr(a, parts.part[i]);
    }
    return put_value(into, key, value);
}

/* ---- urlencoded ----------------------------------------------------------------------------------------------------------- */

bool api_form_parse(struct arena *a, struct slice text, json_t *into)
{
    struct slice pair, name, value;
    unsigned pairs = 0;

    while (slice_cut(&text, '&', &pair)) {
        ptrdiff_t equals = slice_find_char(pair, '=');
        if (pair.n == 0)
            continue;
        name = equals < 0 ? pair : slice_head(pair, (size_t)equals);
        value = equals < 0 ? SLICE_NONE : slice_tail(pair, (size_t)equals + 1);
        if (++pairs > API_FORM_KEYS_MAX || !http_unescape(a, name, true, &name) || !http_unescape(a, value, true, &value) ||
            !api_form_put(a, into, name, value))
            return false;
    }
    return true;
}

/* ---- multipart --------------------------------------------------------------------------------------------------------------- */

/* A quoted string or token at the front of *in, taken off. */
static struct slice take_value(struct arena *a, struct slice *in)
{
    size_t n = 0, out = 0;
    char *text;

    if (in->n == 0 || in->p[0] != '"') {
        while (n < in->n && in->p[n] != ';' && !ascii_is_space(in->p[n]))
            n++;
        text = arena_alloc(a, n + 1);
        memcpy(text, in->p != NULL ? in->p : "", n);
        *in = slice_tail(*in, n);
        return slice_make(text, n);
    }
    text = arena_alloc(a, in->n);
    for (n = 1; n < in->n && in->p[n] != '"'; n++) {
        if (in->p[n] == '\\' && n + 1 < in->n && (in->p[n + 1] == '"' || in->p[n + 1] == '\\'))
            n++;
        text[out++] = in->p[n];
    }
    *in = slice_tail(*in, n + 1);
    return slice_make(text, out);
}

struct slice api_header_param(struct arena *a, struct slice header, const char *name)
{
    ptrdiff_t semicolon = slice_find_char(header, ';'), equals;

    for (; semicolon >= 0; semicolon = slice_find_char(header, ';')) {
        struct slice this;
        header = slice_trim_left(slice_tail(header, (size_t)semicolon + 1));
        equals = slice_find_char(header, '=');
        if (equals < 0)
            break;
        this = slice_trim(slice_head(header, (size_t)equals));
        header = slice_trim_left(slice_tail(header, (size_t)equals + 1));
        struct slice value = take_value(a, &header);
        if (slice_equal_nocase(this, slice_of(name)))
            return value;
    }
    return SLICE_NONE;
}

/* The header lines of a part; what they say of its name. False: no form-data with a name. */
static bool read_part_head(struct arena *a, struct slice head, struct slice *name, bool *is_file)
{
    struct slice line;

    while (slice_cut(&head, '\n', &line)) {
        struct slice rest;
        line = slice_trim(line);
        if (!slice_has_prefix_nocase(line, LIT("Content-Disposition:")))
            continue;
        rest = slice_trim(slice_tail(line, 20));
        *name = api_header_param(a, rest, "name");
        *is_file = api_header_param(a, rest, "filename").p != NULL || api_header_param(a, rest, "filename*").p != NULL;
        return slice_has_prefix_nocase(rest, LIT("form-data")) && name->n > 0;
    }
    return false;
}

static bool read_part(struct arena *a, struct slice part, json_t *into)
{
    ptrdiff_t blank = slice_has_prefix(part, LIT("\r\n")) ? 0 : slice_find(slice_head(part, PART_HEADERS_MAX), LIT("\r\n\r\n"));
    struct slice name;
    bool is_file;

    return blank > 0 && read_part_head(a, slice_head(part, (size_t)blank), &name, &is_file) && !is_file &&
           api_form_put(a, into, name, slice_tail(part, (size_t)blank + 4));
}

bool api_multipart_parse(struct arena *a, struct slice boundary, struct slice text, json_t *into)
{
    struct slice mark = arena_printf(a, "\r\n--%.*s", SLICE(boundary));
    ptrdiff_t at = slice_has_prefix(text, slice_tail(mark, 2)) ? -2 : slice_find(text, mark);
    unsigned pairs = 0;

    if (boundary.n == 0 || boundary.n > BOUNDARY_MAX || at == -1)
        return false;
    for (;;) {
        text = slice_tail(text, (size_t)(at + (ptrdiff_t)mark.n));
        if (slice_has_prefix(text, LIT("--")))
            return true;
        at = slice_find(text, mark);
        if (!slice_has_prefix(text, LIT("\r\n")) || at < 2 || ++pairs > API_FORM_KEYS_MAX || !read_part(a, slice_sub(text, 2, (size_t)at - 2), into))
            return false;                            /* also when the last boundary is missing */
    }
}
