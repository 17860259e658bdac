/* json.c - see json.h.
 *
 * Owns nothing. Called everywhere. Parsing fails with FAULT_INVALID. Does not suspend; jansson recurses at most
 * JSON_MAX_DEPTH deep, which fits a fiber's stack (measured: 2.5 KiB for 64 levels).
 */
#include "base/json.h"

static size_t string_end(struct slice text, size_t at)
{
    while (at < text.n && text.p[at] != '"')
        at += text.p[at] == '\\' ? 2 : 1;
    return at;
}

static bool depth_is_ok(struct slice text)
{
    unsigned depth = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '"')
            i = string_end(text, i + 1);
        else if ((c == '[' || c == '{') && ++depth > JSON_MAX_DEPTH)
            return false;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return true;
}

int json_parse(struct slice text, size_t max_bytes, json_t **out, struct fault *why)
{
    json_error_t error;
    json_t *value;

    if (text.n > max_bytes)
        return fault_set(why, FAULT_INVALID, "JSON of %zu bytes, at most %zu", text.n, max_bytes);
    if (!depth_is_ok(text))
        return fault_set(why, FAULT_INVALID, "JSON nested deeper than %d", JSON_MAX_DEPTH);
    value = json_loadb(text.p != NULL ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL)
        return fault_set(why, FAULT_INVALID, "not JSON at line %d, column %d: %.100s", error.line, error.column,
                         error.text);
    *out = value;
    return 0;
}

static int append_piece(const char *p, size_t n, void *arg)
{
    return buf_append(arg, slice_make(p, n));
}

int json_format(const json_t *value, struct buf *out)
{
    return json_dump_callback(value, append_piece, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0 ? 0 : -1;
}

void json_release(json_t **value)
{
    if (*value != NULL)
        json_decref(*value);
    *value = NULL;
}

struct slice json_get_slice(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return json_is_string(v) ? slice_make(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(object, key);

    return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

bool json_get_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(object, key);

    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

json_t *json_slice(struct slice s)
{
    const char *p = s.p != NULL ? s.p : "";
    json_t *v = json_stringn(p, s.n);
    char *copy;

    if (v != NULL)
        return v;
    copy = malloc(s.n + 1);
    if (copy == NULL)
        abort();
    for (size_t i = 0; i < s.n; i++)
        copy[i] = (unsigned char)p[i] > 126 ? '?' : p[i];
    v = json_stringn(copy, s.n);
    free(copy);
    return v;
}

int json_set_slice(json_t *object, const char *key, struct slice s)
{
    return json_object_set_new(object, key, json_slice(s));
}

int json_set_int(json_t *object, const char *key, int64_t v)
{
    return json_object_set_new(object, key, json_integer(v));
}

int json_set_bool(json_t *object, const char *key, bool v)
{
    return json_object_set_new(object, key, json_boolean(v));
}
