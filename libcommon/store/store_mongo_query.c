/* store_mongo_query.c - filters, sort orders and updates in MongoDB's language.
 *
 * Owns nothing; cannot fail; pool threads. Every operator written here is ours: values are scalars
 * or data in its place.
 */
#include "store/mongo_internal.h"

static bool has_key(const bson_t *doc, const char *key)
{
    bson_iter_t at;

    return bson_iter_init_find(&at, doc, key);
}

/* ---- filters -------------------------------------------------------------------------------- */

static void append_value(bson_t *to, const char *key, const struct store_value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        (void)bson_append_null(to, key, -1);
        break;
    case VALUE_BOOL:
        (void)bson_append_bool(to, key, -1, v->flag);
        break;
    case VALUE_INT:
        (void)bson_append_int64(to, key, -1, v->number);
        break;
    case VALUE_REAL:
        (void)bson_append_double(to, key, -1, v->real);
        break;
    case VALUE_TEXT:
        mongo_append_text(to, key, v->text);
        break;
    }
}

static void append_list(bson_t *to, const char *key, const struct store_cond *c)
{
    bson_t list;
    char number[24];

    (void)bson_append_array_begin(to, key, -1, &list);
    for (size_t i = 0; i < c->count; i++) {
        (void)snprintf(number, sizeof(number), "%zu", i);
        append_value(&list, number, &c->values[i]);
    }
    (void)bson_append_array_end(to, &list);
}

static void append_pattern(bson_t *to, const struct store_cond *c)
{
    AUTO(buf_free) struct buf pattern = BUF_INIT(STORE_DOC_MAX_BYTES);
    struct slice text = c->values[0].text;

    (void)buf_append_cstr(&pattern, c->op == COND_PREFIX ? "^" : "");
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 128 && !ascii_is_alnum(text.p[i]))
            (void)buf_append_char(&pattern, '\\');
        (void)buf_append_char(&pattern, text.p[i]);
    }
    mongo_append_text(to, "$regex", buf_slice(&pattern));
    (void)bson_append_utf8(to, "$options", -1, c->op == COND_CONTAINS ? "i" : "", -1);
}

static void append_cond(bson_t *to, const struct store_cond *c)
{
    static const char *const names[] = {
        [COND_EQ] = "$eq",   [COND_NE] = "$ne",      [COND_GT] = "$gt",
        [COND_GTE] = "$gte", [COND_LT] = "$lt",      [COND_LTE] = "$lte",
        [COND_IN] = "$in",   [COND_NOT_IN] = "$nin", [COND_EXISTS] = "$exists"};
    bson_t inner;

    (void)bson_append_document_begin(to, c->field, -1, &inner);
    if (c->op == COND_IN || c->op == COND_NOT_IN)
        append_list(&inner, names[c->op], c);
    else if (c->op == COND_PREFIX || c->op == COND_CONTAINS)
        append_pattern(&inner, c);
    else
        append_value(&inner, names[c->op], &c->values[0]);
    (void)bson_append_document_end(to, &inner);
}

/* Upserts take plain equalities at the top, once per field; everything else goes into $and, where a
 * field may come twice. */
static void append_conds(bson_t *to, const struct store_filter *f)
{
    bson_t list = BSON_INITIALIZER, one;
    char number[24];
    unsigned n = 0;

    for (const struct store_cond *c = f->first; c != NULL; c = c->next) {
        if (c->op == COND_EQ && !has_key(to, c->field)) {
            append_value(to, c->field, &c->values[0]);
            continue;
        }
        (void)snprintf(number, sizeof(number), "%u", n++);
        (void)bson_append_document_begin(&list, number, -1, &one);
        append_cond(&one, c);
        (void)bson_append_document_end(&list, &one);
    }
    if (n > 0)
        (void)bson_append_array(to, "$and", -1, &list);
    bson_destroy(&list);
}

static void append_alternatives(bson_t *to, const struct store_filter *f);

static void append_all(bson_t *to, const struct store_filter *f)
{
    append_conds(to, f);
    append_alternatives(to, f);
}

static void append_alternatives(bson_t *to, const struct store_filter *f)
{
    bson_t list, one;
    char number[24];
    unsigned n = 0;

    if (f->alternatives == NULL)
        return;
    (void)bson_append_array_begin(to, "$or", -1, &list);
    for (const struct store_filter *a = f->alternatives; a != NULL; a = a->next, n++) {
        (void)snprintf(number, sizeof(number), "%u", n);
        (void)bson_append_document_begin(&list, number, -1, &one);
        append_all(&one, a);
        (void)bson_append_document_end(&list, &one);
    }
    (void)bson_append_array_end(to, &list);
}

void mongo_filter(const struct store_filter *f, const struct store_update *element, bson_t *out)
{
    char path[2 * STORE_FIELD_MAX + 2];

    if (element != NULL)
        for (const struct store_change *c = element->first; c != NULL; c = c->next)
            if (c->kind == CHANGE_SET_ELEMENT) {
                (void)snprintf(path, sizeof(path), "%s.%s", c->field, c->key);
                if (!has_key(out, path))
                    mongo_append_text(out, path, c->value);
            }
    append_all(out, f);
}

bool mongo_filter_has_id(const struct store_filter *f)
{
    for (const struct store_cond *c = f->first; c != NULL; c = c->next)
        if (c->op == COND_EQ && slice_equal(slice_of(c->field), LIT("_id")))
            return true;
    return false;
}

void mongo_sort(const struct store_sort *s, bson_t *out)
{
    for (; s != NULL && s->field != NULL; s++)
        (void)bson_append_int32(out, s->field, -1, s->descending ? -1 : 1);
    if (!has_key(out, "_id"))
        (void)bson_append_int32(out, "_id", -1, 1);
}

/* ---- updates -------------------------------------------------------------------------------- */

static void append_data(bson_t *to, const char *path, const struct store_change *c)
{
    AUTO(json_release) json_t *value = doc_load(c->json);

    (void)mongo_append(to, path, value);
}

static void append_change(bson_t *to, const struct store_change *c)
{
    char path[2 * STORE_FIELD_MAX + 8];
    bson_t inner;

    switch (c->kind) {
    case CHANGE_UNSET:
        (void)bson_append_bool(to, c->field, -1, true);
        break;
    case CHANGE_INC:
        (void)bson_append_int64(to, c->field, -1, c->by);
        break;
    case CHANGE_ADD_TO_SET:
    case CHANGE_PULL:
        mongo_append_text(to, c->field, c->value);
        break;
    case CHANGE_PULL_WHERE:
        (void)bson_append_document_begin(to, c->field, -1, &inner);
        mongo_append_text(&inner, c->key, c->value);
        (void)bson_append_document_end(to, &inner);
        break;
    case CHANGE_SET_ELEMENT:
        (void)snprintf(path, sizeof(path), "%s.$.%s", c->field, c->member);
        append_data(to, path, c);
        break;
    default:
        append_data(to, c->field, c);
        break;
    }
}

static const char *operator_of(enum change_kind kind)
{
    switch (kind) {
    case CHANGE_SET:
    case CHANGE_SET_ELEMENT:
        return "$set";
    case CHANGE_SET_ON_INSERT:
        return "$setOnInsert";
    case CHANGE_UNSET:
        return "$unset";
    case CHANGE_INC:
        return "$inc";
    case CHANGE_PUSH:
        return "$push";
    case CHANGE_ADD_TO_SET:
        return "$addToSet";
    default:
        return "$pull";
    }
}

void mongo_update(const struct store_update *u, const char *id, bson_t *out)
{
    static const char *const operators[] = {"$set",  "$setOnInsert", "$unset", "$inc",
                                            "$push", "$addToSet",    "$pull"};

    for (size_t i = 0; i < COUNT(operators); i++) {
        bson_t inner = BSON_INITIALIZER;

        for (const struct store_change *c = u->first; c != NULL; c = c->next)
            if (slice_equal(slice_of(operator_of(c->kind)), slice_of(operators[i])))
                append_change(&inner, c);
        if (i == 1 && id != NULL)
            (void)bson_append_utf8(&inner, "_id", -1, id, -1);
        if (!bson_empty(&inner))
            (void)bson_append_document(out, operators[i], -1, &inner);
        bson_destroy(&inner);
    }
}
