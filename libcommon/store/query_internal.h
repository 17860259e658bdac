/* query_internal.h - what the builders of query.h build; read by the engines and the matcher.
 *
 * Everything lives in one arena. A query crosses to a thread only as a copy in an arena of its own.
 */
#pragma once

#include "store/query.h"

enum store_value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_REAL, VALUE_TEXT };

struct store_value {
    enum store_value_kind kind;
    bool flag;
    int64_t number;
    double real;
    struct slice text;
};

enum cond_op {
    COND_EQ = STORE_EQ,
    COND_NE,
    COND_GT,
    COND_GTE,
    COND_LT,
    COND_LTE,
    COND_IN,
    COND_NOT_IN,
    COND_EXISTS,
    COND_PREFIX,
    COND_CONTAINS
};

struct store_cond {
    const char *field;
    enum cond_op op;
    struct store_value *values; /* one, but for IN and NOT_IN */
    size_t count;
    struct store_cond *next;
};

struct store_filter {
    struct arena *in;
    struct store_cond *first, **last;
    struct store_filter *alternatives, *next;
    struct store_filter *root; /* the one that keeps the mistake */
    unsigned depth;
    const char *mistake; /* NULL: none */
};

enum change_kind {
    CHANGE_SET,
    CHANGE_SET_ON_INSERT,
    CHANGE_UNSET,
    CHANGE_INC,
    CHANGE_PUSH,
    CHANGE_ADD_TO_SET,
    CHANGE_PULL,
    CHANGE_PULL_WHERE,
    CHANGE_SET_ELEMENT
};

struct store_change {
    enum change_kind kind;
    const char *field;  /* of the document; the array's for SET_ELEMENT */
    const char *key;    /* PULL_WHERE, SET_ELEMENT */
    const char *member; /* SET_ELEMENT: what of the element is set */
    struct slice value; /* text compared (PULL..., ADD_TO_SET, SET_ELEMENT's key) */
    struct slice json;  /* data, as JSON text */
    int64_t by;         /* INC */
    struct store_change *next;
};

struct store_update {
    struct arena *in;
    struct store_change *first, **last;
    const char *mistake;
};

/* Checks (FAULT_INVALID) and copies into `in`. NULL gives an empty filter. */
int query_copy_filter(const struct store_filter *f, struct arena *in, struct store_filter **out,
                      struct fault *why) MUST_CHECK;
int query_copy_update(const struct store_update *u, struct arena *in, struct store_update **out,
                      struct fault *why) MUST_CHECK;
int query_copy_sort(const struct store_sort *s, struct arena *in, struct store_sort **out,
                    struct fault *why) MUST_CHECK;
/* Letters, digits, '_', '-' and single dots, at most STORE_FIELD_MAX. */
bool query_field_is_ok(const char *field);
bool query_filter_is_empty(const struct store_filter *f);

/* Documents we wrote may hold NULs in strings, which json_parse refuses. NULL on damage. */
json_t *doc_load(struct slice text);
/* What stands at a dotted path (not through arrays); borrowed. NULL: nothing, or null. */
const json_t *doc_get(const json_t *doc, const char *path);
/* Into `in`. FAULT_INVALID when it cannot be written as JSON, FAULT_LIMIT past
 * STORE_DOC_MAX_BYTES. */
int doc_dump(const json_t *doc, struct arena *in, struct slice *out, struct fault *why) MUST_CHECK;

/* The matcher and the updater: on jansson values, the meaning both engines share. Any thread. */
bool match_document(const struct store_filter *f, const json_t *doc);
/* Changes `doc`. FAULT_INVALID: a path through something that is no object, a push to what is no
 * array. */
int apply_update(const struct store_update *u, bool inserting, json_t *doc,
                 struct fault *why) MUST_CHECK;
/* What an upsert starts from: the equalities of the filter. */
json_t *apply_seed(const struct store_filter *f);
bool apply_has_element(
    const struct store_update *u,
    const json_t *doc); /* SET_ELEMENT finds its element (or there is none to find) */
