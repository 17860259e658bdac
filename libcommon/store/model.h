/* model.h - documents to structs and back by tables of rows; only for the model_*.c files. Owns
 * nothing; never suspends.
 */
#pragma once

#include "store/store.h"

enum model_kind {
    MODEL_ID,   /* char[25] */
    MODEL_TEXT, /* struct slice; absent: SLICE_NONE */
    MODEL_BOOL,
    MODEL_INT,  /* int64_t */
    MODEL_DATE, /* int64_t wall ms, ISO text in the document; absent: 0 */
    MODEL_LIST, /* struct slice *, and size_t at `count` */
    MODEL_JSON, /* struct slice with the JSON text of any value */
};

struct model_row {
    enum model_kind kind;
    const char *path; /* "envelope.from": one dot at most */
    size_t offset, count;
    int64_t initial; /* BOOL and INT: when absent. LIST: most elements (0: 1000) */
};

#define ROW(kind_, t, f, path_)                                                                    \
    {                                                                                              \
        MODEL_##kind_, path_, offsetof(t, f), 0, 0                                                 \
    }
#define ROW_IS(kind_, t, f, path_, v)                                                              \
    {                                                                                              \
        MODEL_##kind_, path_, offsetof(t, f), 0, v                                                 \
    }
#define ROW_LIST(t, f, n, path_, most)                                                             \
    {                                                                                              \
        MODEL_LIST, path_, offsetof(t, f), offsetof(t, n), most                                    \
    }

/* FAULT_CORRUPT: a value has the wrong type. The struct is overwritten where rows say. */
int model_parse(const struct model_row *rows, size_t count, const json_t *doc, struct arena *in,
                void *out, struct fault *why) MUST_CHECK;
/* Optional values that are absent are left out. */
json_t *model_format(const struct model_row *rows, size_t count, const void *from);
/* One find_one and its parse. */
typedef int model_parser(const json_t *doc, struct arena *in, void *out, struct fault *why);
int model_find(struct store *st, const char *collection, const struct store_filter *filter,
               model_parser *parse, struct arena *in, struct deadline until, void *out,
               struct fault *why) MUST_CHECK SUSPENDS;
/* Lists of strings and raw JSON, for updates. */
json_t *model_list(const struct slice *list, size_t count);
json_t *model_json(struct slice text); /* NULL when empty or not JSON */
void model_id_copy(char out[25], struct slice id);
