/* api_body.c - what came with a request, in whichever of three forms: JSON, a form, or multipart fields; one object in the end.
 *
 * Owns      nothing beyond the call. Bodies are read whole, with the route's limit. Suspends while the client sends.
 */
#include "api.h"

#define DEPTH_MAX 4                            /* a[b][c][d] */
#define FORM_KEY_MAX 256
#define BOUNDARY_MAX 70                        /* RFC 2046 5.1.1 */

/* ---- forms ------------------------------------------------------------------------------------------------ */

/* "a[b][]" gives "a", "b", ""; false: brackets that do not pair. */
static bool cut_key(struct slice key, struct slice part[DEPTH_MAX], size_t *count)
{
    ptrdiff_t open = slice_find_char(key, '['), close;

    *count = 1;
    part[0] = open < 0 ? key : slice_head(key, (size_t)open);
    key = open < 0 ? SLICE_NONE : slice_tail(key, (size_t)open);
    while (key.n > 0) {
        close = slice_find_char(key, ']');
        if (key.p[0] != '[' || close < 0 || *count == DEPTH_MAX)
            return false;
        part[(*count)++] = slice_sub(key, 1, (size_t)close - 1);
        key = slice_tail(key, (size_t)close + 1);
    }
    return part[0].n > 0;
}

/* A key that comes again makes an array. */
static bool put_value(json_t *object, const char *key, bool is_list, json_t *value)
{
    json_t *there = json_object_get(object, key);

    if (there == NULL && !is_list)
        return json_object_set_new(object, key, value) == 0;
    if (there == NULL)
        return json_object_set_new(object, key, json_pack("[o]", value)) == 0;
    if (json_is_array(there) && json_array_size(there) < API_LIST_MAX)
        return json_array_append_new(there, value) == 0;
    if (json_is_array(there) || json_is_object(there)) {
        json_decref(value);
        return false;
    }
    return json_object_set_new(object, key, json_pack("[Oo]", there, value)) == 0;
}

static json_t *child_of(json_t *object, const char *key)
{
    json_t *child = json_object_get(object, key);

    if (child == NULL) {
        child = json_object();
        (void)json_object_set_new(object, key, child);
    }
    return json_is_object(child) ? child : NULL;
}

bool api_form_put(struct arena *a, json_t *into, struct slice key, struct slice value)
{
    struct slice part[DEPTH_MAX];
    size_t count;
    bool is_list;

    if (key.n > FORM_KEY_MAX || !slice_is_utf8(key) || !slice_is_utf8(value) || slice_find_char(value, '\0') >= 0 || slice_find_char(key, '\0') >= 0 ||
        json_object_size(into) >= API_FORM_KEYS_MAX || !cut_key(key, part, &count))
        return false;
    is_list = count > 1 && part[count - 1].n == 0;
    count -= is_list;
    for (size_t i = 0; i + 1 < count; i++)
        if (part[i].n == 0 || (into = child_of(into, arena_cstr(a, part[i]))) == NULL)
            return false;
    return part[count - 1].n > 0 && put_value(into, arena_cstr(a, part[count - 1]), is_list, json_slice(value));
}

bool api_form_parse(struct arena *a, struct slice text, json_t *into)
{
    struct slice pair, key, value;
    size_t count = 0;

    while (slice_cut(&text, '&', &pair)) {
        ptrdiff_t eq = slice_find_char(pair, '=');

        if (pair.n == 0)
            continue;
        if (++count > API_FORM_KEYS_MAX || !http_unescape(a, eq < 0 ? pair : slice_head(pair, (size_t)eq), true, &key) ||
            !http_unescape(a, eq < 0 ? SLICE_NONE : slice_tail(pair, (size_t)eq + 1), true, &value) || !api_form_put(a, into, key, value))
            return false;
    }
    return true;
}

/* ---- multipart/form-data, fields only (RFC 7578) -------------------------------------------------------------- */

/* name="..." of a Content-Disposition; false: none, or a file. */
static bool field_name(struct slice header, struct slice *name)
{
    ptrdiff_t at = slice_find_nocase(header, LIT("content-disposition:")), quote;
    struct slice line = at < 0 ? SLICE_NONE : slice_tail(header, (size_t)at), end;

    if (!slice_cut(&line, '\r', &end) || slice_find_nocase(end, LIT("filename")) >= 0)
        return false;
    at = slice_find_nocase(end, LIT("name=\""));
    if (at < 0)
        return false;
    *name = slice_tail(end, (size_t)at + 6);
    quote = slice_find_char(*name, '"');
    *name = slice_head(*name, quote < 0 ? 0 : (size_t)quote);
    return name->n > 0;
}

bool api_multipart_parse(struct arena *a, struct slice boundary, struct slice text, json_t *into)
{
    struct slice delimiter = arena_printf(a, "\r\n--%.*s", SLICE(boundary)), part, name;
    struct slice rest = arena_concat(a, (const struct slice[]){ LIT("\r\n"), text }, 2);
    ptrdiff_t at = slice_find(rest, delimiter), blank;
    size_t count = 0;

    while (at >= 0) {
        rest = slice_tail(rest, (size_t)at + delimiter.n);
        if (slice_has_prefix(rest, LIT("--")))
            return true;
        at = slice_find(rest, delimiter);
        if (at < 0 || ++count > API_FORM_KEYS_MAX || !slice_has_prefix(rest, LIT("\r\n")))
            return false;
        part = slice_head(rest, (size_t)at);
        blank = slice_find(part, LIT("\r\n\r\n"));
        if (blank < 0 || !field_name(slice_head(part, (size_t)blank + 2), &name) || !api_form_put(a, into, name, slice_tail(part, (size_t)blank + 4)))
            return false;
    }
    return false;
}

/* ---- the body ---------------------------------------------------------------------------------------------------- */

static struct slice boundary_of(struct arena *a, struct slice type)
{
    ptrdiff_t at = slice_find_nocase(type, LIT("boundary="));
    struct slice rest = at < 0 ? SLICE_NONE : slice_tail(type, (size_t)at + 9), value = SLICE_NONE;

    if (slice_has_prefix(rest, LIT("\"")))
        rest = slice_tail(rest, 1);
    while (value.n < rest.n && strchr("\"; ,\t", rest.p[value.n]) == NULL)
        value = slice_head(rest, value.n + 1);
    return value.n > BOUNDARY_MAX ? SLICE_NONE : arena_copy(a, value);
}

static int refuse(struct api_call *c, unsigned status, const char *key)
{
    (void)api_refuse(c, status, key);
    return 1;
}

static int parse_json(struct api_call *c, struct slice text, struct fault *why)
{
    json_t *body = NULL;

    if (json_parse(text, c->rq->body_bytes_max, &body, why) < 0) {
        why->code = FAULT_NONE;
        return refuse(c, 400, "INVALID_JSON");
    }
    json_release(&c->body);
    c->body = body;
    return json_is_object(body) ? 0 : refuse(c, 400, "BODY_NOT_AN_OBJECT");
}

static bool type_is(struct slice type, const char *name)
{
    struct slice first = type, head;

    return slice_cut(&first, ';', &head) && slice_equal_nocase(slice_trim(head), slice_of(name));
}

static int parse(struct api_call *c, struct slice type, struct slice text, struct fault *why)
{
    if (type_is(type, "application/json"))
        return parse_json(c, text, why);
    if (type_is(type, "multipart/form-data"))
        return api_multipart_parse(c->arena, boundary_of(c->arena, type), text, c->body) ? 0 : refuse(c, 400, "INVALID_FORM");
    if (type.n == 0 || type_is(type, "application/x-www-form-urlencoded"))
        return api_form_parse(c->arena, text, c->body) ? 0 : refuse(c, 400, "INVALID_FORM");
    return 0;                                  /* of another type: not for us, as the original has it */
}

int api_body_read(struct api_call *c, struct fault *why)
{
    struct slice text;
    unsigned status;

    c->rq->body_bytes_max = c->route->body_bytes_max > 0 ? c->route->body_bytes_max : API_BODY_BYTES_MAX;
    if (c->rq->body_bytes == 0)
        return 0;
    if (http_read_all(c->rq, &text, why) < 0) {
        if (why->code == FAULT_CLOSED || why->code == FAULT_CANCELED)
            return -1;
        status = why->code == FAULT_LIMIT ? 413 : why->code == FAULT_TIMEOUT ? 408 : 400;
        http_close_after(c->rq);
        why->code = FAULT_NONE;
        return refuse(c, status, status == 413 ? "BODY_TOO_LARGE" : status == 408 ? "TIMED_OUT" : "INVALID_BODY");
    }
    return text.n == 0 ? 0 : parse(c, http_request_header(c->rq, LIT("content-type")), text, why);
}
