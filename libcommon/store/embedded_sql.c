/* embedded_sql.c - the SQL of the embedded engine: tables, indexes, and selections narrowed by
 * indexes.
 *
 * Owns nothing. Pool threads; fails as SQLite does. A selection may return too much, never too
 * little: match.c decides. Field names come from our own code and are checked by query.c to be
 * letters, digits, '_', '-' and '.'; values are always bound.
 */
#include "store/embedded_internal.h"

#define BINDS_MAX 256

struct select_text {
    struct buf sql;
    const struct store_value *binds[BINDS_MAX];
    int count;
};

static void put_extract(struct buf *b, const char *doc, const char *field)
{
    struct slice rest = slice_of(field), step;

    (void)buf_printf(b, "json_extract(%s,'$", doc);
    while (slice_cut(&rest, '.', &step))
        (void)buf_printf(b, ".\"%.*s\"", SLICE(step));
    (void)buf_append_cstr(b, "')");
}

/* A field that some index has stands in a column of its own. An index on an expression over the document would be written anew with
 * each change of the document, whether or not its value changes; queue documents change several times.                            */
static void put_column(struct buf *b, const char *field)
{
    if (strcmp(field, "_id") == 0)
        (void)buf_append_cstr(b, "id");
    else
        (void)buf_printf(b, "\"k_%s\"", field);
}

size_t emb_key_fields(const struct store_collection *coll, const char *out[EMB_KEYS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < coll->index_count; i++)
        for (size_t k = 0; k < COUNT(coll->indexes[i].fields) && coll->indexes[i].fields[k] != NULL; k++) {
            const char *field = coll->indexes[i].fields[k];
            size_t at = 0;

            while (at < n && strcmp(out[at], field) != 0)
                at++;
            if (at == EMB_KEYS_MAX)
                abort();                       /* our own table of collections */
            if (at == n && strcmp(field, "_id") != 0)
                out[n++] = field;
        }
    return n;
}

void emb_put_insert(struct buf *sql, const struct store_collection *coll)
{
    const char *keys[EMB_KEYS_MAX];
    size_t n = coll->is_log ? 0 : emb_key_fields(coll, keys);

    (void)buf_printf(sql, "INSERT INTO c_%s(doc,id", coll->name);
    for (size_t i = 0; i < n; i++) {
        (void)buf_append_char(sql, ',');
        put_column(sql, keys[i]);
    }
    (void)buf_append_cstr(sql, ") VALUES (?1,?2");
    for (size_t i = 0; i < n; i++) {
        (void)buf_append_char(sql, ',');
        put_extract(sql, "?1", keys[i]);
    }
    (void)buf_append_char(sql, ')');
}

void emb_put_update(struct buf *sql, const struct store_collection *coll, const char *const *changed, size_t count)
{
    (void)buf_printf(sql, "UPDATE c_%s SET doc=?1", coll->name);
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_char(sql, ',');
        put_column(sql, changed[i]);
        (void)buf_append_char(sql, '=');
        put_extract(sql, "?1", changed[i]);
    }
    (void)buf_append_cstr(sql, " WHERE id=?2");
}

static bool is_indexed(const struct store_collection *coll, const char *field)
{
    if (slice_equal(slice_of(field), LIT("_id")))
        return true;
    for (size_t i = 0; i < coll->index_count; i++)
        for (size_t k = 0; k < COUNT(coll->indexes[i].fields) && coll->indexes[i].fields[k] != NULL;
             k++)
            if (slice_equal(slice_of(coll->indexes[i].fields[k]), slice_of(field)))
                return true;
    return false;
}

static void add_bind(struct select_text *s, const struct store_value *v)
{
    s->binds[s->count++] = v;
}

static void add_comparison(struct select_text *s, const struct store_cond *c)
{
    static const char *const operators[] = {
        [COND_EQ] = "=", [COND_GT] = ">", [COND_GTE] = ">=", [COND_LT] = "<", [COND_LTE] = "<="};

    if (c->values[0].kind == VALUE_NULL)
        return;
    (void)buf_append_cstr(&s->sql, " AND ");
    put_column(&s->sql, c->field);
    (void)buf_printf(&s->sql, " %s ?", operators[c->op]);
    add_bind(s, &c->values[0]);
}

static void add_list(struct select_text *s, const struct store_cond *c)
{
    (void)buf_append_cstr(&s->sql, " AND ");
    put_column(&s->sql, c->field);
    (void)buf_append_cstr(&s->sql, " IN (");
    for (size_t i = 0; i < c->count; i++) {
        (void)buf_append_cstr(&s->sql, i == 0 ? "?" : ",?");
        add_bind(s, &c->values[i]);
    }
    (void)buf_append_char(&s->sql, ')');
}

static void add_prefix(struct select_text *s, const struct store_cond *c)
{
    (void)buf_append_cstr(&s->sql, " AND ");
    put_column(&s->sql, c->field);
    (void)buf_append_cstr(&s->sql, " >= ?");
    add_bind(s, &c->values[0]);
}

static void add_condition(struct select_text *s, const struct store_collection *coll,
                          const struct store_cond *c)
{
    if (!is_indexed(coll, c->field) || c->count == 0 || (size_t)s->count + c->count > BINDS_MAX - 2)
        return;
    switch (c->op) {
    case COND_EQ:
    case COND_GT:
    case COND_GTE:
    case COND_LT:
    case COND_LTE:
        add_comparison(s, c);
        break;
    case COND_IN:
        add_list(s, c);
        break;
    case COND_PREFIX:
        add_prefix(s, c);
        break;
    default:
        break;
    }
}

static void add_order(struct select_text *s, const struct store_collection *coll, const struct store_sort *sort)
{
    (void)buf_append_cstr(&s->sql, " ORDER BY ");
    for (; sort != NULL && sort->field != NULL; sort++) {
        if (is_indexed(coll, sort->field))
            put_column(&s->sql, sort->field);
        else
            put_extract(&s->sql, "doc", sort->field);
        (void)buf_append_cstr(&s->sql, sort->descending ? " DESC, " : ", ");
    }
    (void)buf_append_cstr(&s->sql, "id");
}

static void bind_value(sqlite3_stmt *stmt, int at, const struct store_value *v)
{
    switch (v->kind) {
    case VALUE_BOOL:
        (void)sqlite3_bind_int(stmt, at, v->flag ? 1 : 0);
        break;
    case VALUE_INT:
        (void)sqlite3_bind_int64(stmt, at, v->number);
        break;
    case VALUE_REAL:
        (void)sqlite3_bind_double(stmt, at, v->real);
        break;
    case VALUE_TEXT:
        emb_bind_text(stmt, at, v->text);
        break;
    default:
        break;
    }
}

/* Fields of indexes are single values, so SQL's "=" between texts is the matcher's. A NUL would end a text for SQL. */
bool emb_is_exact(const struct store_collection *coll, const struct store_filter *f)
{
    int count = 0;

    if (f->alternatives != NULL)
        return false;
    for (const struct store_cond *c = f->first; c != NULL; c = c->next)
        if (c->op != COND_EQ || c->values[0].kind != VALUE_TEXT || !is_indexed(coll, c->field) ||
            slice_find_char(c->values[0].text, '\0') >= 0 || ++count > BINDS_MAX - 2)
            return false;
    return true;
}

static void put_exact(struct select_text *s, const struct store_read *r)
{
    (void)buf_printf(&s->sql, "SELECT %s FROM c_%s WHERE 1",
                     r->kind == READ_COUNT ? "count(*)" : "id, doc", r->collection->name);
    for (const struct store_cond *c = r->filter->first; c != NULL; c = c->next)
        add_comparison(s, c);
    if (r->kind == READ_COUNT)
        return;
    add_order(s, r->collection, r->sort);
    (void)buf_append_cstr(&s->sql, " LIMIT ? OFFSET ?");
}

int emb_select_exact(struct emb_conn *c, const struct store_read *r, sqlite3_stmt **out,
                     struct fault *why)
{
    struct select_text *s = calloc(1, sizeof(*s));
    int result;

    if (s == NULL)
        abort();
    buf_init(&s->sql, 65536);
    put_exact(s, r);
    result = emb_prepare(c, s->sql.p, out, why);
    for (int i = 0; result == 0 && i < s->count; i++)
        bind_value(*out, i + 1, s->binds[i]);
    if (result == 0 && r->kind != READ_COUNT) {
        (void)sqlite3_bind_int64(*out, s->count + 1, (sqlite3_int64)r->limit);
        (void)sqlite3_bind_int64(*out, s->count + 2, (sqlite3_int64)r->skip);
    }
    buf_free(&s->sql);
    free(s);
    return result;
}

int emb_select(struct emb_conn *c, const struct store_collection *coll,
               const struct store_filter *f, const struct store_sort *sort, struct slice after,
               sqlite3_stmt **out, struct fault *why)
{
    struct select_text *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        abort();
    buf_init(&s->sql, 65536);
    (void)buf_printf(&s->sql, "SELECT id, doc FROM c_%s WHERE 1", coll->name);
    for (const struct store_cond *cond = f->first; cond != NULL; cond = cond->next)
        add_condition(s, coll, cond);
    if (after.p != NULL)
        (void)buf_append_cstr(&s->sql, " AND id > ?");
    add_order(s, coll, after.p != NULL ? NULL : sort);
    r = emb_prepare(c, s->sql.p, out, why);
    for (int i = 0; r == 0 && i < s->count; i++)
        bind_value(*out, i + 1, s->binds[i]);
    if (r == 0 && after.p != NULL)
        emb_bind_text(*out, s->count + 1, after);
    buf_free(&s->sql);
    free(s);
    return r;
}

/* ---- tables --------------------------------------------------------------------------------- */

static int create_index(struct emb_conn *c, const char *collection, const struct store_index *index,
                        struct fault *why)
{
    AUTO(buf_free) struct buf sql = BUF_INIT(4096);
    size_t count = 0;

    while (count < COUNT(index->fields) && index->fields[count] != NULL)
        count++;
    (void)buf_printf(&sql, "CREATE %sINDEX IF NOT EXISTS \"i_%s%s", index->kind == STORE_INDEX_UNIQUE ? "UNIQUE " : "",
                     collection, index->kind == STORE_INDEX_UNIQUE ? "_u" : "");
    for (size_t i = 0; i < count; i++)
        (void)buf_printf(&sql, "_%s", index->fields[i]);
    (void)buf_printf(&sql, "\" ON c_%s(", collection);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            (void)buf_append_char(&sql, ',');
        put_column(&sql, index->fields[i]);
    }
    (void)buf_append_cstr(&sql, ")");
    if (index->kind == STORE_INDEX_SPARSE && count > 0) {
        (void)buf_append_cstr(&sql, " WHERE ");
        put_column(&sql, index->fields[0]);
        (void)buf_append_cstr(&sql, " IS NOT NULL");
    }
    return emb_exec(c, sql.p, why);
}

static int has_column(struct emb_conn *c, const struct store_collection *coll, const char *field, struct fault *why)
{
    AUTO(buf_free) struct buf sql = BUF_INIT(4096);
    sqlite3_stmt *s;
    int r;

    (void)buf_printf(&sql, "SELECT 1 FROM pragma_table_xinfo('c_%s') WHERE name='k_%s'", coll->name, field);
    if (emb_prepare(c, sql.p, &s, why) < 0)
        return -1;
    r = emb_step(c, s, why);
    (void)sqlite3_reset(s);
    return r;
}

/* Log documents never change, so their columns need not be stored beside them. */
static int add_column(struct emb_conn *c, const struct store_collection *coll, const char *field, struct fault *why)
{
    AUTO(buf_free) struct buf sql = BUF_INIT(4096);

    (void)buf_printf(&sql, "ALTER TABLE c_%s ADD COLUMN ", coll->name);
    put_column(&sql, field);
    if (coll->is_log) {
        (void)buf_append_cstr(&sql, " AS (");
        put_extract(&sql, "doc", field);
        (void)buf_append_cstr(&sql, ") VIRTUAL");
        return emb_exec(c, sql.p, why);
    }
    (void)buf_printf(&sql, ";UPDATE c_%s SET ", coll->name);
    put_column(&sql, field);
    (void)buf_append_char(&sql, '=');
    put_extract(&sql, "doc", field);
    return emb_exec(c, sql.p, why);
}

static int create_columns(struct emb_conn *c, const struct store_collection *coll, struct fault *why)
{
    const char *keys[EMB_KEYS_MAX];
    size_t n = emb_key_fields(coll, keys);

    for (size_t i = 0; i < n; i++) {
        int there = has_column(c, coll, keys[i], why);

        if (there < 0 || (there == 0 && add_column(c, coll, keys[i], why) < 0))
            return -1;
    }
    return 0;
}

static int create_collection(struct emb_conn *c, const struct store_collection *coll,
                             struct fault *why)
{
    char sql[256];

    (void)snprintf(
        sql, sizeof(sql),
        "CREATE TABLE IF NOT EXISTS c_%s(id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL)",
        coll->name);
    if (emb_exec(c, sql, why) < 0 || create_columns(c, coll, why) < 0)
        return -1;
    for (size_t i = 0; i < coll->index_count; i++)
        if (create_index(c, coll->name, &coll->indexes[i], why) < 0)
            return -1;
    return 0;
}

int emb_schema(struct emb_conn *c, const struct embedded *e, bool logs, struct fault *why)
{
    if (emb_exec(c, "BEGIN IMMEDIATE", why) < 0)
        return -1;
    for (size_t i = 0; i < e->collection_count; i++)
        if (e->collections[i].is_log == logs && create_collection(c, &e->collections[i], why) < 0)
            return -1;
    if (!logs &&
        emb_exec(c,
                 "CREATE TABLE IF NOT EXISTS blobs(n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, "
                 "bytes INTEGER, begun_ms INTEGER NOT NULL);"
                 "CREATE TABLE IF NOT EXISTS chunks(k INTEGER PRIMARY KEY, data BLOB NOT NULL)",
                 why) < 0)
        return -1;
    return emb_exec(c, "COMMIT", why);
}
