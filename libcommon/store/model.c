/* model.c - see model.h. Owns nothing. Fails with FAULT_CORRUPT on values of the wrong type.
 * Suspends only in model_find. */
#include "store/model.h"

#include "store/query_internal.h"

#define LIST_MAX_DEFAULT 1000

static void *field_at(void *base, size_t offset)
{
    return (char *)base + offset;
}

static const void *const_field_at(const void *base, size_t offset)
{
    return (const char *)base + offset;
}

static struct slice text_of(const json_t *v)
{
    return json_is_string(v) ? slice_make(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

void model_id_copy(char out[25], struct slice id)
{
    if (!object_id_is_valid(id) || !slice_copy_cstr(id, out, 25))
        out[0] = '\0';
}

static bool parse_list(const struct model_row *row, const json_t *v, struct arena *in, void *out)
{
    struct slice **list = field_at(out, row->offset);
    size_t *count = field_at(out, row->count), i;
    size_t most = row->initial > 0 ? (size_t)row->initial : LIST_MAX_DEFAULT;
    const json_t *element;

    *list = NULL;
    *count = 0;
    if (v == NULL)
        return true;
    if (!json_is_array(v) || json_array_size(v) > most)
        return false;
    *list = ARENA_ARRAY(in, struct slice, json_array_size(v) + 1);
    json_array_foreach((json_t *)(uintptr_t)v, i, element)
    {
        if (!json_is_string(element))
            return false;
        (*list)[(*count)++] = arena_copy(in, text_of(element));
    }
    return true;
}

static bool parse_row(const struct model_row *row, const json_t *v, struct arena *in, void *out)
{
    void *at = field_at(out, row->offset);

    switch (row->kind) {
    case MODEL_ID:
        model_id_copy(at, text_of(v));
        return v == NULL || json_is_string(v);
    case MODEL_TEXT:
        *(struct slice *)at = json_is_string(v) ? arena_copy(in, text_of(v)) : SLICE_NONE;
        return v == NULL || json_is_string(v);
    case MODEL_BOOL:
        *(bool *)at = v != NULL ? json_is_true(v) : row->initial != 0;
        return v == NULL || json_is_boolean(v);
    case MODEL_INT:
        *(int64_t *)at = v != NULL ? (int64_t)json_integer_value(v) : row->initial;
        return v == NULL || json_is_integer(v);
    case MODEL_DATE:
        *(int64_t *)at = 0;
        return v == NULL || (json_is_string(v) && date_parse_iso(text_of(v), at));
    case MODEL_LIST:
        return parse_list(row, v, in, out);
    case MODEL_JSON: {
        struct fault ignored;

        *(struct slice *)at = SLICE_NONE;
        return v == NULL || doc_dump(v, in, at, &ignored) == 0;
    }
    }
    return false;
}

int model_parse(const struct model_row *rows, size_t count, const json_t *doc, struct arena *in,
                void *out, struct fault *why)
{
    for (size_t i = 0; i < count; i++)
        if (!parse_row(&rows[i], doc_get(doc, rows[i].path), in, out))
            return fault_set(why, FAULT_CORRUPT, "document %.*s: %s has the wrong type",
                             SLICE(json_get_slice(doc, "_id")), rows[i].path);
    return 0;
}

json_t *model_list(const struct slice *list, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_slice(list[i]));
    return array;
}

json_t *model_json(struct slice text)
{
    return text.n > 0 ? doc_load(text) : NULL;
}

static json_t *format_row(const struct model_row *row, const void *from)
{
    const void *at = const_field_at(from, row->offset);

    switch (row->kind) {
    case MODEL_ID:
        return *(const char *)at != '\0' ? json_string(at) : NULL;
    case MODEL_TEXT:
        return ((const struct slice *)at)->p != NULL ? json_slice(*(const struct slice *)at) : NULL;
    case MODEL_BOOL:
        return json_boolean(*(const bool *)at);
    case MODEL_INT:
        return json_integer(*(const int64_t *)at);
    case MODEL_DATE:
        return *(const int64_t *)at != 0 ? json_string(date_format_iso(*(const int64_t *)at).s)
                                         : NULL;
    case MODEL_LIST:
        return model_list(*(struct slice *const *)at,
                          *(const size_t *)const_field_at(from, row->count));
    case MODEL_JSON:
        return model_json(*(const struct slice *)at);
    }
    return NULL;
}

static void put_at(json_t *doc, const char *path, json_t *value)
{
    struct slice rest = slice_of(path), step;
    json_t *inner;

    (void)slice_cut(&rest, '.', &step);
    if (rest.n == 0) {
        (void)json_object_setn_new(doc, step.p, step.n, value);
        return;
    }
    inner = json_object_getn(doc, step.p, step.n);
    if (inner == NULL) {
        inner = json_object();
        (void)json_object_setn_new(doc, step.p, step.n, inner);
    }
    (void)json_object_setn_new(inner, rest.p, rest.n, value);
}

json_t *model_format(const struct model_row *rows, size_t count, const void *from)
{
    json_t *doc = json_object();

    for (size_t i = 0; i < count; i++) {
        json_t *value = format_row(&rows[i], from);

        if (value != NULL)
            put_at(doc, rows[i].path, value);
    }
    return doc;
}

int model_find(struct store *st, const char *collection, const struct store_filter *filter,
               model_parser *parse, struct arena *in, struct deadline until, void *out,
               struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;

    if (store_find_one(st, collection, filter, NULL, until, &doc, why) < 0)
        return -1;
    return parse(doc, in, out, why);
}
