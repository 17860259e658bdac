/* query_update.c - building updates, and copying them for the trip to the engine (see query.h).
 *
 * Owns nothing; never suspends. A builder that is given something wrong notes it; the copy refuses.
 */
#include "base/json.h"
#include "base/time.h"
#include "store/query_internal.h"

struct store_update *store_update_new(struct arena *in)
{
    struct store_update *u = ARENA_NEW(in, struct store_update);

    u->in = in;
    u->last = &u->first;
    return u;
}

static struct store_change *add_change(struct store_update *u, enum change_kind kind,
                                       const char *field)
{
    struct store_change *c = ARENA_NEW(u->in, struct store_change);

    if (!query_field_is_ok(field)) {
        u->mistake = "an update of an impossible field name";
        field = "x";
    }
    if (slice_equal(slice_of(field), LIT("_id")))
        u->mistake = "an update of _id";
    c->kind = kind;
    c->field = arena_cstr(u->in, slice_of(field));
    *u->last = c;
    u->last = &c->next;
    return c;
}

/* Takes `value`. */
static void set_data(struct store_update *u, struct store_change *c, json_t *value)
{
    struct fault why;

    if (value == NULL || doc_dump(value, u->in, &c->json, &why) < 0) {
        u->mistake = "an update with a value that is no JSON";
        c->json = LIT("null");
    }
    json_decref(value);
}

void store_set_text(struct store_update *u, const char *field, struct slice value)
{
    set_data(u, add_change(u, CHANGE_SET, field), json_slice(value));
}

void store_set_int(struct store_update *u, const char *field, int64_t value)
{
    set_data(u, add_change(u, CHANGE_SET, field), json_integer(value));
}

void store_set_bool(struct store_update *u, const char *field, bool value)
{
    set_data(u, add_change(u, CHANGE_SET, field), json_boolean(value));
}

void store_set_null(struct store_update *u, const char *field)
{
    set_data(u, add_change(u, CHANGE_SET, field), json_null());
}

void store_set_date(struct store_update *u, const char *field, int64_t wall_ms)
{
    struct date_text date = date_format_iso(wall_ms);

    set_data(u, add_change(u, CHANGE_SET, field), json_string(date.s));
}

void store_set_json(struct store_update *u, const char *field, const json_t *value)
{
    set_data(u, add_change(u, CHANGE_SET, field), json_incref((json_t *)(uintptr_t)value));
}

void store_set_on_insert(struct store_update *u, const char *field, const json_t *value)
{
    set_data(u, add_change(u, CHANGE_SET_ON_INSERT, field),
             json_incref((json_t *)(uintptr_t)value));
}

void store_unset(struct store_update *u, const char *field)
{
    (void)add_change(u, CHANGE_UNSET, field);
}

void store_inc(struct store_update *u, const char *field, int64_t by)
{
    add_change(u, CHANGE_INC, field)->by = by;
}

void store_push(struct store_update *u, const char *field, const json_t *value)
{
    set_data(u, add_change(u, CHANGE_PUSH, field), json_incref((json_t *)(uintptr_t)value));
}

void store_add_to_set(struct store_update *u, const char *field, struct slice value)
{
    add_change(u, CHANGE_ADD_TO_SET, field)->value = arena_copy(u->in, value);
}

void store_pull_text(struct store_update *u, const char *field, struct slice value)
{
    add_change(u, CHANGE_PULL, field)->value = arena_copy(u->in, value);
}

void store_pull_where(struct store_update *u, const char *array, const char *key,
                      struct slice value)
{
    struct store_change *c = add_change(u, CHANGE_PULL_WHERE, array);

    c->key = arena_cstr(u->in, slice_of(key));
    c->value = arena_copy(u->in, value);
    if (!query_field_is_ok(key))
        u->mistake = "an update with an impossible key";
}

void store_set_element(struct store_update *u, const char *array, const char *key,
                       struct slice value, const char *field, const json_t *to)
{
    struct store_change *c = add_change(u, CHANGE_SET_ELEMENT, array);

    c->key = arena_cstr(u->in, slice_of(key));
    c->member = arena_cstr(u->in, slice_of(field));
    c->value = arena_copy(u->in, value);
    set_data(u, c, json_incref((json_t *)(uintptr_t)to));
    if (!query_field_is_ok(key) || !query_field_is_ok(field))
        u->mistake = "an update with an impossible key";
}

int query_copy_update(const struct store_update *u, struct arena *in, struct store_update **out,
                      struct fault *why)
{
    struct store_update *copy = store_update_new(in);

    if (u->mistake != NULL)
        return fault_set(why, FAULT_INVALID, "%s", u->mistake);
    if (u->first == NULL)
        return fault_set(why, FAULT_INVALID, "an update that changes nothing");
    for (const struct store_change *c = u->first; c != NULL; c = c->next) {
        struct store_change *to = add_change(copy, c->kind, c->field);

        to->key = c->key != NULL ? arena_cstr(in, slice_of(c->key)) : NULL;
        to->member = c->member != NULL ? arena_cstr(in, slice_of(c->member)) : NULL;
        to->value = arena_copy(in, c->value);
        to->json = arena_copy(in, c->json);
        to->by = c->by;
    }
    *out = copy;
    return 0;
}
