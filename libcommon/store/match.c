/* match.c - does a document satisfy a filter? The meaning both engines share (MongoDB's, for what
 * query.h offers).
 *
 * Owns nothing; any thread; cannot fail, never suspends. A path that meets an array goes on in each
 * of its elements, and a condition holds when it holds for one of the values found that way; "not"
 * conditions when it holds for none.
 */
#include "base/json.h"
#include "store/query_internal.h"

static int compare_numbers(const json_t *a, const struct store_value *b)
{
    double x, y;

    if (json_is_integer(a) && b->kind == VALUE_INT)
        return json_integer_value(a) < b->number ? -1 : json_integer_value(a) > b->number;
    x = json_number_value(a);
    y = b->kind == VALUE_INT ? (double)b->number : b->real;
    return x < y ? -1 : x > y;
}

/* False when the types differ: no order between them. */
static bool compare(const json_t *a, const struct store_value *b, int *out)
{
    switch (b->kind) {
    case VALUE_NULL:
        *out = 0;
        return a == NULL || json_is_null(a);
    case VALUE_BOOL:
        *out = (int)json_is_true(a) - (int)b->flag;
        return json_is_boolean(a);
    case VALUE_INT:
    case VALUE_REAL:
        if (!json_is_number(a))
            return false;
        *out = compare_numbers(a, b);
        return true;
    case VALUE_TEXT:
        if (!json_is_string(a))
            return false;
        *out = slice_compare(slice_make(json_string_value(a), json_string_length(a)), b->text);
        return true;
    }
    return false;
}

static bool order_holds(enum cond_op op, int order)
{
    switch (op) {
    case COND_GT:
        return order > 0;
    case COND_GTE:
        return order >= 0;
    case COND_LT:
        return order < 0;
    case COND_LTE:
        return order <= 0;
    default:
        return order == 0;
    }
}

static bool value_holds(const struct store_cond *c, const json_t *v)
{
    struct slice text;
    int order;

    if (c->op == COND_EXISTS)
        return v != NULL;
    if (c->op == COND_PREFIX || c->op == COND_CONTAINS) {
        if (!json_is_string(v))
            return false;
        text = slice_make(json_string_value(v), json_string_length(v));
        return c->op == COND_PREFIX
                   ? slice_has_prefix(text, c->values[0].text)
                   : c->values[0].text.n == 0 || slice_find_nocase(text, c->values[0].text) >= 0;
    }
    for (size_t i = 0; i < c->count; i++)
        if (compare(v, &c->values[i], &order) && order_holds(c->op, order))
            return true;
    return false;
}

static bool leaf_holds(const struct store_cond *c, const json_t *v)
{
    const json_t *element;
    size_t i;

    if (value_holds(c, v))
        return true;
    if (!json_is_array(v))
        return false;
    json_array_foreach((json_t *)(uintptr_t)v, i, element) if (value_holds(c, element)) return true;
    return false;
}

static bool path_holds(const struct store_cond *c, struct slice path, const json_t *v)
{
    struct slice step;
    const json_t *element;
    size_t i;

    if (json_is_array(v)) {
        bool any_object = false;

        json_array_foreach((json_t *)(uintptr_t)v, i, element)
        {
            any_object = any_object || json_is_object(element);
            if (json_is_object(element) && path_holds(c, path, element))
                return true;
        }
        return !any_object && leaf_holds(c, NULL);
    }
    (void)slice_cut(&path, '.', &step);
    v = json_is_object(v) ? json_object_getn(v, step.p, step.n) : NULL;
    return path.n == 0 ? leaf_holds(c, v) : path_holds(c, path, v);
}

static bool cond_holds(const struct store_cond *c, const json_t *doc)
{
    struct store_cond positive = *c;
    struct slice path = slice_of(c->field);

    switch (c->op) {
    case COND_NE:
        positive.op = COND_EQ;
        return !path_holds(&positive, path, doc);
    case COND_NOT_IN:
        positive.op = COND_IN;
        return !path_holds(&positive, path, doc);
    case COND_EXISTS:
        return path_holds(c, path, doc) == c->values[0].flag;
    default:
        return path_holds(c, path, doc);
    }
}

bool match_document(const struct store_filter *f, const json_t *doc)
{
    const struct store_filter *alt = f->alternatives;

    for (const struct store_cond *c = f->first; c != NULL; c = c->next)
        if (!cond_holds(c, doc))
            return false;
    if (alt == NULL)
        return true;
    for (; alt != NULL; alt = alt->next)
        if (match_document(alt, doc))
            return true;
    return false;
}
