/* store_mongo_bson.c - JSON to BSON and back, without extended JSON: "$oid" in somebody's data
 * stays data.
 *
 * Owns nothing. Pool threads; false when a value does not fit a document. Recurses as deep as the
 * JSON, which is bounded.
 */
#include <inttypes.h>
#include "store/mongo_internal.h"

#define DOLLAR "\xef\xbc\x84"
#define DOT "\xef\xbc\x8e"

static void escape_key(const char *key, struct buf *out)
{
    buf_reset(out);
    for (const char *p = key; *p != '\0'; p++) {
        if (*p == '.')
            (void)buf_append_cstr(out, DOT);
        else if (*p == '$' && p == key)
            (void)buf_append_cstr(out, DOLLAR);
        else
            (void)buf_append_char(out, *p);
    }
    if (out->n == 0)
        (void)buf_append_cstr(out, "");
}

static void unescape_key(const char *key, struct buf *out)
{
    struct slice rest = slice_of(key);

    buf_reset(out);
    while (rest.n > 0) {
        bool dollar = out->n == 0 && slice_has_prefix(rest, LIT(DOLLAR)),
             dot = slice_has_prefix(rest, LIT(DOT));

        (void)buf_append_char(out, dollar ? '$' : dot ? '.' : rest.p[0]);
        rest = slice_tail(rest, dollar || dot ? 3 : 1);
    }
    (void)buf_append_cstr(out, "");
}

static bool append_array(bson_t *to, const char *key, const json_t *array)
{
    const json_t *element;
    bson_t inner;
    char number[24];
    bool ok;
    size_t i;

    ok = bson_append_array_begin(to, key, -1, &inner);
    json_array_foreach((json_t *)(uintptr_t)array, i, element)
    {
        (void)snprintf(number, sizeof(number), "%zu", i);
        ok = ok && mongo_append(&inner, number, element);
    }
    return bson_append_array_end(to, &inner) && ok;
}

static bool append_object(bson_t *to, const char *key, const json_t *object)
{
    bson_t inner;
    bool ok =
        bson_append_document_begin(to, key, -1, &inner) && mongo_append_members(&inner, object);

    return bson_append_document_end(to, &inner) && ok;
}

bool mongo_append(bson_t *to, const char *key, const json_t *value)
{
    switch (value == NULL ? JSON_NULL : json_typeof(value)) {
    case JSON_OBJECT:
        return append_object(to, key, value);
    case JSON_ARRAY:
        return append_array(to, key, value);
    case JSON_STRING:
        return bson_append_utf8(to, key, -1, json_string_value(value),
                                (int)json_string_length(value));
    case JSON_INTEGER:
        return bson_append_int64(to, key, -1, json_integer_value(value));
    case JSON_REAL:
        return bson_append_double(to, key, -1, json_real_value(value));
    case JSON_TRUE:
        return bson_append_bool(to, key, -1, true);
    case JSON_FALSE:
        return bson_append_bool(to, key, -1, false);
    default:
        return bson_append_null(to, key, -1);
    }
}

bool mongo_append_members(bson_t *to, const json_t *object)
{
    AUTO(buf_free) struct buf name = BUF_INIT(STORE_DOC_MAX_BYTES * 3);
    const json_t *value;
    const char *key;
    bool ok = true;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        escape_key(key, &name);
        ok = ok && mongo_append(to, name.p != NULL ? name.p : "", value);
    }
    return ok;
}

void mongo_append_text(bson_t *to, const char *key, struct slice text)
{
    (void)bson_append_utf8(to, key, -1, text.p != NULL ? text.p : "", (int)text.n);
}

/* ---- and back ------------------------------------------------------------------------------- */

static json_t *members_to_json(bson_iter_t *at, bool is_array)
{
    AUTO(buf_free) struct buf name = BUF_INIT(STORE_DOC_MAX_BYTES * 3);
    json_t *out = is_array ? json_array() : json_object();

    while (bson_iter_next(at)) {
        json_t *value = mongo_iter_to_json(at);

        if (is_array) {
            (void)json_array_append_new(out, value);
            continue;
        }
        unescape_key(bson_iter_key(at), &name);
        (void)json_object_set_new(out, name.p != NULL ? name.p : "", value);
    }
    return out;
}

static json_t *date_to_json(const bson_iter_t *at)
{
    return json_string(date_format_iso(bson_iter_date_time(at)).s);
}

static json_t *oid_to_json(const bson_iter_t *at)
{
    char hex[25];

    bson_oid_to_string(bson_iter_oid(at), hex);
    return json_string(hex);
}

json_t *mongo_iter_to_json(const bson_iter_t *at)
{
    bson_iter_t inner;
    const char *text;
    uint32_t n = 0;

    switch (bson_iter_type(at)) {
    case BSON_TYPE_UTF8:
        text = bson_iter_utf8(at, &n);
        return json_slice(slice_make(text, n));
    case BSON_TYPE_INT32:
        return json_integer(bson_iter_int32(at));
    case BSON_TYPE_INT64:
        return json_integer(bson_iter_int64(at));
    case BSON_TYPE_DOUBLE:
        return json_real(bson_iter_double(at));
    case BSON_TYPE_BOOL:
        return json_boolean(bson_iter_bool(at));
    case BSON_TYPE_OID:
        return oid_to_json(at);
    case BSON_TYPE_DATE_TIME:
        return date_to_json(at);
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        if (!bson_iter_recurse(at, &inner))
            return json_null();
        return members_to_json(&inner, bson_iter_type(at) == BSON_TYPE_ARRAY);
    default:
        return json_null();
    }
}

json_t *mongo_to_json(const bson_t *doc)
{
    bson_iter_t at;

    return bson_iter_init(&at, doc) ? members_to_json(&at, false) : json_object();
}
