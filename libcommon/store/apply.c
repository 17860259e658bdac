/* apply.c - carries out an update on a document in memory, with MongoDB's meaning.
 *
 * Owns nothing; any thread; fails with FAULT_INVALID where a path or a type does not fit; never
 * suspends.
 */
#include "base/json.h"
#include "store/query_internal.h"

/* The object that holds the last step of `path`; made on the way when `make`. NULL: there is none.
 */
static json_t *parent_of(json_t *doc, const char *path, bool make, const char **last,
                         struct fault *why)
{
    struct slice rest = slice_of(path), step;
    json_t *at = doc;

    for (;;) {
        json_t *next;

        (void)slice_cut(&rest, '.', &step);
        if (rest.n == 0)
            break;
        next = json_object_getn(at, step.p, step.n);
        if (next == NULL && make) {
            next = json_object();
            (void)json_object_setn_new(at, step.p, step.n, next);
        }
        if (next == NULL)
            return NULL;
        if (!json_is_object(next)) {
            (void)fault_set(why, FAULT_INVALID, "update of %s: %.*s is no object", path,
                            SLICE(step));
            return NULL;
        }
        at = next;
    }
    *last = step.p;
    return at;
}

static bool text_is(const json_t *v, struct slice want)
{
    return json_is_string(v) &&
           slice_equal(slice_make(json_string_value(v), json_string_length(v)), want);
}

static json_t *at_path(json_t *doc, const char *path)
{
    const char *last;
    struct fault ignored;
    json_t *parent = parent_of(doc, path, false, &last, &ignored);

    return parent != NULL ? json_object_get(parent, last) : NULL;
}

static json_t *find_element(json_t *array, const char *key, struct slice value)
{
    json_t *element;
    size_t i;

    json_array_foreach(array, i, element) if (json_is_object(element) &&
                                              text_is(at_path(element, key), value)) return element;
    return NULL;
}

static int add_to_array(json_t *parent, const char *last, const struct store_change *c,
                        struct fault *why)
{
    json_t *array = json_object_get(parent, last), *element;
    size_t i;

    if (array == NULL) {
        array = json_array();
        (void)json_object_set_new(parent, last, array);
    }
    if (!json_is_array(array))
        return fault_set(why, FAULT_INVALID, "push to %s, which is no array", c->field);
    if (c->kind == CHANGE_PUSH)
        return json_array_append_new(array, doc_load(c->json));
    json_array_foreach(array, i, element) if (text_is(element, c->value)) return 0;
    return json_array_append_new(array, json_slice(c->value));
}

static int pull(json_t *doc, const struct store_change *c)
{
    json_t *array = at_path(doc, c->field);

    for (size_t i = json_array_size(array); i-- > 0;) {
        json_t *element = json_array_get(array, i);
        bool hit = c->kind == CHANGE_PULL
                       ? text_is(element, c->value)
                       : json_is_object(element) && text_is(at_path(element, c->key), c->value);

        if (hit)
            (void)json_array_remove(array, i);
    }
    return 0;
}

static int increment(json_t *parent, const char *last, const struct store_change *c,
                     struct fault *why)
{
    json_t *v = json_object_get(parent, last);
    int64_t sum = 0;

    if (v != NULL && !json_is_integer(v))
        return fault_set(why, FAULT_INVALID, "increment of %s, which is no integer", c->field);
    if (__builtin_add_overflow(json_integer_value(v), c->by, &sum))
        return fault_set(why, FAULT_INVALID, "increment of %s overflows", c->field);
    return json_object_set_new(parent, last, json_integer(sum));
}

static int set_element(json_t *doc, const struct store_change *c, struct fault *why)
{
    json_t *element = find_element(at_path(doc, c->field), c->key, c->value), *parent;
    const char *last;

    if (element == NULL)
        return fault_set(why, FAULT_INVALID, "no element of %s to update", c->field);
    why->code = FAULT_NONE;
    parent = parent_of(element, c->member, true, &last, why);
    return parent == NULL ? -1 : json_object_set_new(parent, last, doc_load(c->json));
}

static int apply_change(json_t *doc, const struct store_change *c, struct fault *why)
{
    bool makes = c->kind != CHANGE_UNSET;
    json_t *parent;
    const char *last;

    if (c->kind == CHANGE_SET_ELEMENT)
        return set_element(doc, c, why);
    if (c->kind == CHANGE_PULL || c->kind == CHANGE_PULL_WHERE)
        return pull(doc, c);
    why->code = FAULT_NONE;
    parent = parent_of(doc, c->field, makes, &last, why);
    if (parent == NULL)
        return makes ? -1 : 0;
    switch (c->kind) {
    case CHANGE_SET:
    case CHANGE_SET_ON_INSERT:
        return json_object_set_new(parent, last, doc_load(c->json));
    case CHANGE_UNSET:
        (void)json_object_del(parent, last);
        return 0;
    case CHANGE_INC:
        return increment(parent, last, c, why);
    default:
        return add_to_array(parent, last, c, why);
    }
}

int apply_update(const struct store_update *u, bool inserting, json_t *doc, struct fault *why)
{
    struct fault inner = {0};

    for (const struct store_change *c = u->first; c != NULL; c = c->next) {
        if (c->kind == CHANGE_SET_ON_INSERT && !inserting)
            continue;
        if (apply_change(doc, c, &inner) < 0)
            return fault_set(why, inner.code != FAULT_NONE ? inner.code : FAULT_INVALID, "%s",
                             inner.code != FAULT_NONE ? inner.text : "update failed");
    }
    return 0;
}

bool apply_has_element(const struct store_update *u, const json_t *doc)
{
    for (const struct store_change *c = u->first; c != NULL; c = c->next)
        if (c->kind == CHANGE_SET_ELEMENT &&
            find_element(at_path((json_t *)(uintptr_t)doc, c->field), c->key, c->value) == NULL)
            return false;
    return true;
}

static json_t *value_to_json(const struct store_value *v)
{
    switch (v->kind) {
    case VALUE_BOOL:
        return json_boolean(v->flag);
    case VALUE_INT:
        return json_integer(v->number);
    case VALUE_REAL:
        return json_real(v->real);
    case VALUE_TEXT:
        return json_slice(v->text);
    default:
        return json_null();
    }
}

json_t *apply_seed(const struct store_filter *f)
{
    json_t *doc = json_object(), *parent;
    struct fault ignored;
    const char *last;

    for (const struct store_cond *c = f->first; c != NULL; c = c->next) {
        if (c->op != COND_EQ || c->values[0].kind == VALUE_NULL)
            continue;
        parent = parent_of(doc, c->field, true, &last, &ignored);
        if (parent != NULL)
            (void)json_object_set_new(parent, last, value_to_json(&c->values[0]));
    }
    return doc;
}
