/* embedded_read.c - reads of the embedded engine: selections, counted or collected after the
 * matcher has agreed.
 *
 * Owns nothing. Pool threads; each read sees one consistent snapshot (WAL) and takes no lock a
 * writer would wait for.
 */
#include "store/embedded_internal.h"

/* 1: *doc is the next match (owned by the caller), 0: end. */
static int next_match(struct emb_conn *c, sqlite3_stmt *s, const struct store_filter *f,
                      json_t **doc, struct fault *why)
{
    int r;

    while ((r = emb_step(c, s, why)) > 0) {
        *doc = doc_load(emb_column(s, 1));
        if (*doc == NULL)
            return fault_set(why, FAULT_CORRUPT, "document %.*s is damaged",
                             SLICE(emb_column(s, 0)));
        if (match_document(f, *doc))
            return 1;
        json_release(doc);
    }
    return r;
}

static int take_document(struct store_read *r, sqlite3_stmt *s)
{
    json_t *doc;

    if (r->as_text) {
        r->texts[r->text_count++] = arena_copy(r->in, emb_column(s, 1));
        return 0;
    }
    doc = doc_load(emb_column(s, 1));
    if (doc == NULL)
        return fault_set(&r->why, FAULT_CORRUPT, "document %.*s is damaged", SLICE(emb_column(s, 0)));
    return json_array_append_new(r->out, doc);
}

/* SQL decides: nothing is loaded that is not asked for. */
static int find_exact(struct emb_conn *c, struct store_read *r)
{
    sqlite3_stmt *s;
    int got;

    if (emb_select_exact(c, r, &s, &r->why) < 0)
        return -1;
    if (r->as_text)
        r->texts = ARENA_ARRAY(r->in, struct slice, r->limit);
    else
        r->out = json_array();
    while ((got = emb_step(c, s, &r->why)) > 0)
        if (take_document(r, s) < 0) {
            got = -1;
            break;
        }
    (void)sqlite3_reset(s);
    return got;
}

static int count_exact(struct emb_conn *c, struct store_read *r)
{
    sqlite3_stmt *s;

    if (emb_select_exact(c, r, &s, &r->why) < 0 || emb_step(c, s, &r->why) < 0)
        return -1;
    r->count = (uint64_t)sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return 0;
}

static int find(struct emb_conn *c, struct store_read *r)
{
    uint64_t seen = 0;
    sqlite3_stmt *s;
    json_t *doc;
    int got;

    if (emb_is_exact(r->collection, r->filter))
        return find_exact(c, r);
    if (emb_select(c, r->collection, r->filter, r->sort, SLICE_NONE, &s, &r->why) < 0)
        return -1;
    r->out = json_array();
    while (json_array_size(r->out) < r->limit &&
           (got = next_match(c, s, r->filter, &doc, &r->why)) != 0) {
        if (got < 0) {
            (void)sqlite3_reset(s);
            return -1;
        }
        if (seen++ < r->skip)
            json_decref(doc);
        else
            (void)json_array_append_new(r->out, doc);
    }
    (void)sqlite3_reset(s);
    return 0;
}

static int count_all(struct emb_conn *c, struct store_read *r)
{
    char sql[128];
    sqlite3_stmt *s;

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM c_%s", r->collection->name);
    if (emb_prepare(c, sql, &s, &r->why) < 0 || emb_step(c, s, &r->why) < 0)
        return -1;
    r->count = (uint64_t)sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return 0;
}

static int count(struct emb_conn *c, struct store_read *r)
{
    sqlite3_stmt *s;
    json_t *doc;
    int got;

    if (query_filter_is_empty(r->filter))
        return count_all(c, r);
    if (emb_is_exact(r->collection, r->filter))
        return count_exact(c, r);
    if (emb_select(c, r->collection, r->filter, NULL, SLICE_NONE, &s, &r->why) < 0)
        return -1;
    while ((got = next_match(c, s, r->filter, &doc, &r->why)) > 0) {
        json_decref(doc);
        r->count++;
    }
    (void)sqlite3_reset(s);
    return got;
}

int emb_read(void *engine, struct store_read *r)
{
    struct embedded *e = engine;
    struct emb_file *f = r->collection != NULL && r->collection->is_log ? &e->logs : &e->documents;
    struct emb_conn *c;
    int result;

    if (emb_reader_take(f, &c, &r->why) < 0)
        return -1;
    switch (r->kind) {
    case READ_FIND:
        result = find(c, r);
        break;
    case READ_COUNT:
        result = count(c, r);
        break;
    case READ_PING:
        result = emb_exec(c, "SELECT count(*) FROM sqlite_master", &r->why);
        break;
    default:
        result = emb_blob_read(c, r);
        break;
    }
    emb_reader_give(f, &c);
    return result;
}
