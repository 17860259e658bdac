/* query.h - which documents (filter), in which order (sort), and what becomes of them (update), as
 * typed values.
 *
 * Owns      nothing: everything is copied into the caller's arena.
 * Used by   whoever reads or writes documents; the store copies a query before it leaves the fiber.
 * Fails     builders never fail at once: the first mistake is kept and the store call that uses the
 *           query returns it (FAULT_INVALID). A value is text, number, boolean or null, never an
 *           object: nothing that came out of a JSON body can become an operator.
 *
 * Fields are dotted paths ("envelope.from"). As in MongoDB a condition on an array holds when it
 * holds for one of its elements, so "members.user" = x finds the domains x belongs to. Comparisons
 * hold only between values of one type.
 */
#pragma once

#include <jansson.h>
#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

#define STORE_FIELD_MAX 120   /* bytes of a path */
#define STORE_VALUES_MAX 1000 /* values of one store_where_in */
#define STORE_FILTER_DEPTH 4

struct store_filter;
struct store_update;

enum store_op { STORE_EQ, STORE_NE, STORE_GT, STORE_GTE, STORE_LT, STORE_LTE };

/* ---- filters: all conditions of one filter must hold ---------------------------------------- */

struct store_filter *store_filter_new(struct arena *in);
struct store_filter *store_filter_id(struct arena *in, struct slice id); /* _id = id */
struct store_filter *store_filter_text(struct arena *in, const char *field,
                                       struct slice value); /* field = value */
void store_where_text(struct store_filter *f, const char *field, enum store_op op,
                      struct slice value);
void store_where_int(struct store_filter *f, const char *field, enum store_op op, int64_t value);
void store_where_bool(struct store_filter *f, const char *field, bool value);
void store_where_null(struct store_filter *f, const char *field); /* absent or null */
void store_where_exists(struct store_filter *f, const char *field,
                        bool exists); /* null counts as existing */
void store_where_in(struct store_filter *f, const char *field, const struct slice *values,
                    size_t count);
void store_where_not_in(struct store_filter *f, const char *field, const struct slice *values,
                        size_t count);
void store_where_prefix(struct store_filter *f, const char *field,
                        struct slice text); /* exact case */
void store_where_contains(struct store_filter *f, const char *field,
                          struct slice text); /* ASCII case ignored */
/* A scalar from a JSON body; an object or array is the mistake of the filter. */
void store_where_json(struct store_filter *f, const char *field, enum store_op op,
                      const json_t *value);
/* A new alternative: besides its own conditions, f then needs at least one of its alternatives to
 * hold. */
struct store_filter *store_filter_or(struct store_filter *f);

/* ---- updates -------------------------------------------------------------------------------- */

struct store_update *store_update_new(struct arena *in);
void store_set_text(struct store_update *u, const char *field, struct slice value);
void store_set_int(struct store_update *u, const char *field, int64_t value);
void store_set_bool(struct store_update *u, const char *field, bool value);
void store_set_null(struct store_update *u, const char *field);
void store_set_date(struct store_update *u, const char *field,
                    int64_t wall_ms); /* as ISO text, like all dates */
void store_set_json(struct store_update *u, const char *field,
                    const json_t *value); /* any value, as data */
void store_set_on_insert(struct store_update *u, const char *field,
                         const json_t *value); /* only when an upsert inserts */
void store_unset(struct store_update *u, const char *field);
void store_inc(struct store_update *u, const char *field, int64_t by); /* absent counts as 0 */
void store_push(struct store_update *u, const char *field,
                const json_t *value); /* array made when absent */
void store_add_to_set(struct store_update *u, const char *field, struct slice value);
void store_pull_text(struct store_update *u, const char *field,
                     struct slice value); /* elements equal to it */
void store_pull_where(struct store_update *u, const char *array, const char *key,
                      struct slice value); /* objects with key = value */
/* Sets `field` of the first element of `array` whose `key` is `value`; the document must have one,
 * else nothing matches. All of one update name the same element. */
void store_set_element(struct store_update *u, const char *array, const char *key,
                       struct slice value, const char *field, const json_t *to);

/* ---- order ---------------------------------------------------------------------------------- */

struct store_sort {
    const char *field; /* NULL ends the list */
    bool descending;
};
/* "-created_at" or "created_at" if it is among `allowed` (NULL-terminated); else `otherwise`, in
 * the same form. Two rows, for find. */
const struct store_sort *store_sort_parse(struct arena *in, struct slice text,
                                          const char *const *allowed, const char *otherwise);
