/* query.c - building filters and sort orders, and copying them for the trip to the engine
 * (see query.h).
 *
 * Owns nothing; never suspends. A builder that is given something wrong notes it; the copy refuses.
 */
#include "store/query.h"

#include "base/json.h"
#include "base/time.h"
#include "store/query_internal.h"
#include "store/store.h"

bool query_field_is_ok(const char *field)
{
    size_t n = 0;

    if (field == NULL || field[0] == '.' || field[0] == '\0')
        return false;
    for (; field[n] != '\0'; n++) {
        char c = field[n];

        if (!ascii_is_alnum(c) && c != '_' && c != '-' && c != '.')
            return false;
        if (c == '.' && (field[n + 1] == '.' || field[n + 1] == '\0'))
            return false;
    }
    return n <= STORE_FIELD_MAX;
}

/* ---- filters -------------------------------------------------------------------------------- */

struct store_filter *store_filter_new(struct arena *in)
{
    struct store_filter *f = ARENA_NEW(in, struct store_filter);

    f->in = in;
    f->last = &f->first;
    f->root = f;
    return f;
}

static struct store_cond *add_cond(struct store_filter *f, const char *field, enum cond_op op,
                                   size_t count)
{
    struct store_cond *c = ARENA_NEW(f->in, struct store_cond);

    if (!query_field_is_ok(field)) {
        f->root->mistake = "a condition on an impossible field name";
        field = "_id";
    }
    c->field = arena_cstr(f->in, slice_of(field));
    c->op = op;
    c->count = count;
    c->values = ARENA_ARRAY(f->in, struct store_value, count > 0 ? count : 1);
    *f->last = c;
    f->last = &c->next;
    return c;
}

static struct store_value text_value(struct arena *in, struct slice s)
{
    return (struct store_value){.kind = VALUE_TEXT, .text = arena_copy(in, s)};
}

struct store_filter *store_filter_text(struct arena *in, const char *field, struct slice value)
{
    struct store_filter *f = store_filter_new(in);

    store_where_text(f, field, STORE_EQ, value);
    return f;
}

struct store_filter *store_filter_id(struct arena *in, struct slice id)
{
    return store_filter_text(in, "_id", id);
}

void store_where_text(struct store_filter *f, const char *field, enum store_op op,
                      struct slice value)
{
    add_cond(f, field, (enum cond_op)op, 1)->values[0] = text_value(f->in, value);
}

void store_where_int(struct store_filter *f, const char *field, enum store_op op, int64_t value)
{
    add_cond(f, field, (enum cond_op)op, 1)->values[0] =
        (struct store_value){.kind = VALUE_INT, .number = value};
}

void store_where_bool(struct store_filter *f, const char *field, bool value)
{
    add_cond(f, field, COND_EQ, 1)->values[0] =
        (struct store_value){.kind = VALUE_BOOL, .flag = value};
}

void store_where_null(struct store_filter *f, const char *field)
{
    add_cond(f, field, COND_EQ, 1)->values[0] = (struct store_value){.kind = VALUE_NULL};
}

void store_where_exists(struct store_filter *f, const char *field, bool exists)
{
    add_cond(f, field, COND_EXISTS, 1)->values[0] =
        (struct store_value){.kind = VALUE_BOOL, .flag = exists};
}

static void add_texts(struct store_filter *f, const char *field, enum cond_op op,
                      const struct slice *values, size_t count)
{
    struct store_cond *c;

    if (count > STORE_VALUES_MAX) {
        f->root->mistake = "a condition with too many values";
        return;
    }
    c = add_cond(f, field, op, count);
    for (size_t i = 0; i < count; i++)
        c->values[i] = text_value(f->in, values[i]);
}

void store_where_in(struct store_filter *f, const char *field, const struct slice *values,
                    size_t count)
{
    add_texts(f, field, COND_IN, values, count);
}

void store_where_not_in(struct store_filter *f, const char *field, const struct slice *values,
                        size_t count)
{
    add_texts(f, field, COND_NOT_IN, values, count);
}

void store_where_prefix(struct store_filter *f, const char *field, struct slice text)
{
    add_texts(f, field, COND_PREFIX, &text, 1);
}

void store_where_contains(struct store_filter *f, const char *field, struct slice text)
{
    add_texts(f, field, COND_CONTAINS, &text, 1);
}

void store_where_json(struct store_filter *f, const char *field, enum store_op op,
                      const json_t *value)
{
    struct store_value v = {0};

    switch (value == NULL ? JSON_NULL : json_typeof(value)) {
    case JSON_NULL:
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v = (struct store_value){.kind = VALUE_BOOL, .flag = json_is_true(value)};
        break;
    case JSON_INTEGER:
        v = (struct store_value){.kind = VALUE_INT, .number = json_integer_value(value)};
        break;
    case JSON_REAL:
        v = (struct store_value){.kind = VALUE_REAL, .real = json_real_value(value)};
        break;
    case JSON_STRING:
        v = text_value(f->in, slice_make(json_string_value(value), json_string_length(value)));
        break;
    default:
        f->root->mistake = "a condition on an object or array";
        return;
    }
    add_cond(f, field, (enum cond_op)op, 1)->values[0] = v;
}

struct store_filter *store_filter_or(struct store_filter *f)
{
    struct store_filter *alt = store_filter_new(f->in), **at = &f->alternatives;

    while (*at != NULL)
        at = &(*at)->next;
    *at = alt;
    alt->root = f->root;
    alt->depth = f->depth + 1;
    if (alt->depth > STORE_FILTER_DEPTH)
        f->root->mistake = "alternatives nested too deep";
    return alt;
}

bool query_filter_is_empty(const struct store_filter *f)
{
    return f->first == NULL && f->alternatives == NULL;
}

static void copy_conds(const struct store_filter *from, struct store_filter *to)
{
    for (const struct store_cond *c = from->first; c != NULL; c = c->next) {
        struct store_cond *copy = add_cond(to, c->field, c->op, c->count);

        for (size_t i = 0; i < c->count; i++) {
            copy->values[i] = c->values[i];
            copy->values[i].text = arena_copy(to->in, c->values[i].text);
        }
    }
    for (const struct store_filter *a = from->alternatives; a != NULL; a = a->next)
        copy_conds(a, store_filter_or(to));
}

int query_copy_filter(const struct store_filter *f, struct arena *in, struct store_filter **out,
                      struct fault *why)
{
    struct store_filter *copy = store_filter_new(in);

    if (f != NULL && f->root->mistake != NULL)
        return fault_set(why, FAULT_INVALID, "%s", f->root->mistake);
    if (f != NULL)
        copy_conds(f, copy);
    *out = copy;
    return 0;
}

/* ---- sort ----------------------------------------------------------------------------------- */

const struct store_sort *store_sort_parse(struct arena *in, struct slice text,
                                          const char *const *allowed, const char *otherwise)
{
    struct store_sort *s = ARENA_ARRAY(in, struct store_sort, 2);
    struct slice name = slice_has_prefix(text, LIT("-")) ? slice_tail(text, 1) : text;

    for (; *allowed != NULL; allowed++)
        if (slice_equal(name, slice_of(*allowed)))
            break;
    if (*allowed == NULL) {
        text = slice_of(otherwise);
        name = slice_has_prefix(text, LIT("-")) ? slice_tail(text, 1) : text;
    }
    s[0].field = slice_equal(name, LIT("id")) ? "_id" : arena_cstr(in, name);
    s[0].descending = slice_has_prefix(text, LIT("-"));
    return s;
}

int query_copy_sort(const struct store_sort *s, struct arena *in, struct store_sort **out,
                    struct fault *why)
{
    size_t n = 0;

    while (s != NULL && s[n].field != NULL)
        n++;
    *out = ARENA_ARRAY(in, struct store_sort, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (!query_field_is_ok(s[i].field))
            return fault_set(why, FAULT_INVALID, "sorting by an impossible field name");
        (*out)[i] = (struct store_sort){arena_cstr(in, slice_of(s[i].field)), s[i].descending};
    }
    return 0;
}

/* ---- documents as text ---------------------------------------------------------------------- */

json_t *doc_load(struct slice text)
{
    return json_loadb(text.p != NULL ? text.p : "", text.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
}

const json_t *doc_get(const json_t *doc, const char *path)
{
    struct slice rest = slice_of(path), step;

    while (slice_cut(&rest, '.', &step))
        doc = json_object_getn(doc, step.p, step.n);
    return json_is_null(doc) ? NULL : doc;
}

int doc_dump(const json_t *doc, struct arena *in, struct slice *out, struct fault *why)
{
    char small[4096];                  /* most documents: written once, not counted first */
    size_t n = json_dumpb(doc, small, sizeof(small), JSON_COMPACT | JSON_ENCODE_ANY);
    char *p;

    if (n == 0)
        return fault_set(why, FAULT_INVALID, "a document that cannot be written as JSON");
    if (n > STORE_DOC_MAX_BYTES)
        return fault_set(why, FAULT_LIMIT, "a document of %zu bytes, at most %zu", n,
                         STORE_DOC_MAX_BYTES);
    p = arena_alloc(in, n + 1);
    if (n <= sizeof(small))
        memcpy(p, small, n);
    else
        (void)json_dumpb(doc, p, n, JSON_COMPACT | JSON_ENCODE_ANY);
    *out = slice_make(p, n);
    return 0;
}
