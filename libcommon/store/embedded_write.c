/* embedded_write.c - writes of the embedded engine: a list of them in one transaction, a savepoint
 * each, one fsync.
 *
 * Owns nothing. One pool thread at a time per file. BEGIN IMMEDIATE takes the file's write lock
 * before anything is read, so a find-and-modify is atomic across processes. No write of a list is
 * answered before the COMMIT.
 */
#include "store/embedded_internal.h"

#include <assert.h>

#define MANY_STEP 500 /* documents of one round of an update or delete of many */

/* ---- single documents ----------------------------------------------------------------------- */

static int put_document(struct emb_conn *c, const char *sql, struct slice doc, struct slice id,
                        struct fault *why)
{
    sqlite3_stmt *s;

    if (emb_prepare(c, sql, &s, why) < 0)
        return -1;
    emb_bind_text(s, 1, doc);
    emb_bind_text(s, 2, id);
    return emb_step(c, s, why);
}

static int insert_document(struct emb_conn *c, const struct store_collection *coll, struct slice id,
                           struct slice doc, struct fault *why)
{
    AUTO(buf_free) struct buf sql = BUF_INIT(8192);

    assert(coll != NULL);                   /* only blobs have none */
    emb_put_insert(&sql, coll);
    return put_document(c, sql.p, doc, id, why);
}

/* The indexed values of a document, to see which of them a change touches. */
struct keys {
    const char *field[EMB_KEYS_MAX];
    json_t *value[EMB_KEYS_MAX];
    size_t count;
};

static void keys_take(struct keys *k, const struct store_collection *coll, const json_t *doc)
{
    k->count = emb_key_fields(coll, k->field);
    for (size_t i = 0; i < k->count; i++)
        k->value[i] = json_deep_copy(doc_get(doc, k->field[i]));
}

static void keys_free(struct keys *k)
{
    for (size_t i = 0; i < k->count; i++)
        json_decref(k->value[i]);
    k->count = 0;
}

static int replace_document(struct emb_conn *c, const struct store_collection *coll, const struct keys *before, const json_t *doc,
                            struct slice text, struct fault *why)
{
    AUTO(buf_free) struct buf sql = BUF_INIT(8192);
    const char *changed[EMB_KEYS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < before->count; i++) {
        const json_t *now = doc_get(doc, before->field[i]);

        if ((now != NULL || before->value[i] != NULL) && !json_equal(now, before->value[i]))
            changed[count++] = before->field[i];
    }
    emb_put_update(&sql, coll, changed, count);
    return put_document(c, sql.p, text, json_get_slice(doc, "_id"), why);
}

static int delete_document(struct emb_conn *c, const struct store_collection *coll, struct slice id,
                           struct fault *why)
{
    char sql[128];
    sqlite3_stmt *s;

    (void)snprintf(sql, sizeof(sql), "DELETE FROM c_%s WHERE id = ?", coll->name);
    if (emb_prepare(c, sql, &s, why) < 0)
        return -1;
    emb_bind_text(s, 1, id);
    return emb_step(c, s, why);
}

static int insert_logs(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    for (size_t i = 0; i < w->doc_count; i++)
        if (insert_document(c, w->collection, w->ids[i], w->docs[i], why) < 0)
            return -1;
    return 0;
}

/* ---- those that match ----------------------------------------------------------------------- */

/* Up to `max` matches after `after`, as a JSON array. */
static int collect(struct emb_conn *c, struct store_write *w, struct slice after, size_t max,
                   json_t **out, struct fault *why)
{
    sqlite3_stmt *s;
    json_t *doc;
    int r;

    if (emb_select(c, w->collection, w->filter, w->sort, after, &s, why) < 0)
        return -1;
    *out = json_array();
    while (json_array_size(*out) < max && (r = emb_step(c, s, why)) != 0) {
        doc = r > 0 ? doc_load(emb_column(s, 1)) : NULL;
        if (doc == NULL) {
            r = r < 0 ? r
                      : fault_set(why, FAULT_CORRUPT, "document %.*s is damaged",
                                  SLICE(emb_column(s, 0)));
            (void)sqlite3_reset(s);
            return r;
        }
        if (match_document(w->filter, doc) &&
            (w->update == NULL || apply_has_element(w->update, doc)))
            (void)json_array_append(*out, doc);
        json_decref(doc);
    }
    (void)sqlite3_reset(s);
    return 0;
}

/* When it cannot be had here, whoever wants it finds out why. */
static void bring_blob(struct emb_conn *c, struct store_write *w, const json_t *doc)
{
    const json_t *id = doc_get(doc, w->along_field);
    struct store_read r = { .kind = READ_BLOB_STAT, .in = w->in, .chunk_count = 1 };

    r.blob_id = slice_make(json_string_value(id), json_string_length(id));
    if (r.blob_id.n > 0 && emb_blob_read(c, &r) == 0)
        w->along = r.bytes;
}

static int change_one(struct emb_conn *c, struct store_write *w, json_t *doc, struct fault *why)
{
    AUTO(arena_free) struct arena *in = NULL;
    AUTO(keys_free) struct keys before = { .count = 0 };
    struct slice text;

    if (w->kind == WRITE_DELETE)
        return delete_document(c, w->collection, json_get_slice(doc, "_id"), why);
    if (w->kind == WRITE_MODIFY && (w->flags & STORE_RETURN_OLD))
        w->out = json_deep_copy(doc);
    in = arena_new(0);
    keys_take(&before, w->collection, doc);
    if (apply_update(w->update, false, doc, why) < 0 || doc_dump(doc, in, &text, why) < 0)
        return -1;
    if (w->kind == WRITE_MODIFY && w->out == NULL)
        w->out = json_incref(doc);
    if (w->along_field != NULL)
        bring_blob(c, w, doc);
    return replace_document(c, w->collection, &before, doc, text, why);
}

static int upsert(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    AUTO(json_release) json_t *doc = apply_seed(w->filter);
    struct slice text;

    if (json_get_slice(doc, "_id").p == NULL)
        (void)json_set_slice(doc, "_id", slice_of(object_id_new().s));
    if (apply_update(w->update, true, doc, why) < 0 || doc_dump(doc, w->in, &text, why) < 0)
        return -1;
    if (insert_document(c, w->collection, json_get_slice(doc, "_id"), text, why) < 0)
        return -1;
    w->count = 1;
    if (w->kind == WRITE_MODIFY)
        w->out = w->flags & STORE_RETURN_OLD ? json_null() : json_incref(doc);
    return 0;
}

static int change_round(struct emb_conn *c, struct store_write *w, json_t *found, char last[25],
                        struct fault *why)
{
    json_t *doc;
    size_t i;

    json_array_foreach(found, i, doc)
    {
        if (!slice_copy_cstr(json_get_slice(doc, "_id"), last, 25))
            return fault_set(why, FAULT_CORRUPT, "a document without a proper _id");
        if (change_one(c, w, doc, why) < 0)
            return -1;
        w->count++;
    }
    return 0;
}

static int change_matching(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    bool many = (w->flags & STORE_MANY) != 0 && w->kind != WRITE_MODIFY;
    size_t max = many ? MANY_STEP : 1;
    char last[25] = "";

    for (bool more = true; more;) {
        AUTO(json_release) json_t *found = NULL;
        int r = collect(c, w, many ? slice_of(last) : SLICE_NONE, max, &found, why);

        if (r < 0 || change_round(c, w, found, last, why) < 0)
            return -1;
        more = many && json_array_size(found) == max;
    }
    return w->count == 0 && (w->flags & STORE_UPSERT) ? upsert(c, w, why) : 0;
}

/* ---- lists of writes ------------------------------------------------------------------------ */

static int write_one(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    if (w->kind == WRITE_BLOB_REMOVE)
        return emb_blob_remove(c, slice_of(w->blob.id), why);
    if (w->blob.id != NULL && emb_blob_put(c, &w->blob, why) < 0)
        return -1;
    switch (w->kind) {
    case WRITE_BLOB_ONLY:
        return 0;
    case WRITE_INSERT:
        return insert_document(c, w->collection, w->id, w->doc, why);
    case WRITE_LOGS:
        return insert_logs(c, w, why);
    default:
        return change_matching(c, w, why);
    }
}

/* A statement without result, compiled once per connection. */
static int run_sql(struct emb_conn *c, const char *sql, struct fault *why)
{
    sqlite3_stmt *s;

    return emb_prepare(c, sql, &s, why) < 0 ? -1 : emb_step(c, s, why);
}

static int write_savepoint(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    struct fault second;

    if (run_sql(c, "SAVEPOINT w", why) < 0)
        return -1;
    w->result = write_one(c, w, &w->why);
    if (w->result < 0) {
        json_release(&w->out);
        if (sqlite3_get_autocommit(c->db) || c->is_broken ||
            run_sql(c, "ROLLBACK TO w", &second) < 0) {
            *why = w->why; /* SQLite gave the whole transaction up */
            return -1;
        }
    }
    return run_sql(c, "RELEASE w", why);
}

/* The only one of its transaction needs no savepoint: when it fails all is rolled back. */
static int write_alone(struct emb_conn *c, struct store_write *w, struct fault *why)
{
    w->result = write_one(c, w, why);
    return w->result;
}

/* What has come while we waited for the file's write lock joins, so that other processes' transactions make ours larger, not later. */
static void group_join(struct store_group *g)
{
    struct store_write *w = g->first;

    while (w->next != NULL)
        w = w->next;
    if (g->more != NULL)
        w->next = g->more(g);
}

static int write_transaction(struct emb_conn *c, struct store_group *group, struct fault *why)
{
    struct store_write *first = group->first;

    if (run_sql(c, "BEGIN IMMEDIATE", why) < 0)
        return -1;
    group_join(group);
    if (first->next == NULL && write_alone(c, first, why) < 0)
        return -1;
    for (struct store_write *w = first; w != NULL && first->next != NULL; w = w->next)
        if (write_savepoint(c, w, why) < 0)
            return -1;
    return run_sql(c, "COMMIT", why);
}

static void fail_all(struct store_write *first, const struct fault *why)
{
    for (struct store_write *w = first; w != NULL; w = w->next) {
        w->result = -1;
        w->why = *why;
        json_release(&w->out);
    }
}

void emb_write(void *engine, struct store_group *group)
{
    struct embedded *e = engine;
    struct store_write *first = group->first;
    struct emb_file *f =
        first->collection != NULL && first->collection->is_log ? &e->logs : &e->documents;
    struct emb_conn *c = &f->writer;
    struct fault why, ignored;

    pthread_mutex_lock(&f->write_lock);
    if (c->db == NULL && emb_conn_open(f, c, &why) < 0) {
        fail_all(first, &why);
    } else if (write_transaction(c, group, &why) < 0) {
        if (!sqlite3_get_autocommit(c->db) && emb_exec(c, "ROLLBACK", &ignored) < 0)
            c->is_broken = true;
        if (c->is_broken) /* after a failed fsync the handle's idea of the file is worth nothing */
            emb_conn_close(c);
        fail_all(first, &why);
    }
    pthread_mutex_unlock(&f->write_lock);
}
