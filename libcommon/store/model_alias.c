/* model_alias.c - see model_alias.h. Changes of password slots are single updates of the one alias
 * document. */
#include "store/models.h"

#include "store/model.h"

#define CHANGE_TRIES 20

static const struct model_row rows[] = {
    ROW(ID, struct alias_doc, id, "_id"),
    ROW(ID, struct alias_doc, domain, "domain"),
    ROW(ID, struct alias_doc, user, "user"),
    ROW(TEXT, struct alias_doc, name, "name"),
    ROW_IS(BOOL, struct alias_doc, is_enabled, "is_enabled", 1),
    ROW_IS(INT, struct alias_doc, error_code_if_disabled, "error_code_if_disabled", 250),
    ROW_LIST(struct alias_doc, recipients, recipient_count, "recipients", ALIAS_RECIPIENTS_MAX),
    ROW_LIST(struct alias_doc, verified_recipients, verified_recipient_count, "verified_recipients",
             ALIAS_RECIPIENTS_MAX),
    ROW(BOOL, struct alias_doc, has_recipient_verification, "has_recipient_verification"),
    ROW(BOOL, struct alias_doc, has_imap, "has_imap"),
    ROW(BOOL, struct alias_doc, has_pgp, "has_pgp"),
    ROW(TEXT, struct alias_doc, public_key, "public_key"),
    ROW(TEXT, struct alias_doc, sealing_public_key, "sealing_public_key"),
    ROW(JSON, struct alias_doc, wraps, "wraps"),
    ROW(INT, struct alias_doc, wraps_revision, "wraps_revision"),
    ROW(TEXT, struct alias_doc, rotation_to, "rotation_to"),
    ROW(DATE, struct alias_doc, rotation_at, "rotation_at"),
    ROW(TEXT, struct alias_doc, description, "description"),
    ROW_LIST(struct alias_doc, labels, label_count, "labels", ALIAS_LABELS_MAX),
    ROW(INT, struct alias_doc, max_quota, "max_quota"),
    ROW(INT, struct alias_doc, retention, "retention"),
    ROW(INT, struct alias_doc, storage_used, "storage_used"),
    ROW(TEXT, struct alias_doc, storage_location, "storage_location"),
    ROW(JSON, struct alias_doc, vacation_responder, "vacation_responder"),
    ROW(JSON, struct alias_doc, settings, "settings"),
    ROW(DATE, struct alias_doc, created_at, "created_at"),
    ROW(DATE, struct alias_doc, updated_at, "updated_at"),
};

int alias_parse(const json_t *doc, struct arena *in, struct alias_doc *out, struct fault *why)
{
    return model_parse(rows, COUNT(rows), doc, in, out, why);
}

static int parse_any(const json_t *doc, struct arena *in, void *out, struct fault *why)
{
    return alias_parse(doc, in, out, why);
}

json_t *alias_format(const struct alias_doc *alias)
{
    json_t *doc = model_format(rows, COUNT(rows), alias);

    if (json_object_get(doc, "wraps") == NULL)
        (void)json_object_set_new(doc, "wraps", json_array());
    return doc;
}

bool alias_is_catchall(const struct alias_doc *alias)
{
    return slice_equal(alias->name, LIT("*"));
}

bool alias_is_regex(const struct alias_doc *alias)
{
    return slice_has_prefix(alias->name, LIT("/"));
}

int alias_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
               struct alias_doc *out, struct fault *why)
{
    return model_find(st, ALIASES, store_filter_id(in, id), parse_any, in, until, out, why);
}

int alias_find_by_name(struct store *st, struct slice domain_id, struct slice name,
                       struct arena *in, struct deadline until, struct alias_doc *out,
                       struct fault *why)
{
    struct store_filter *f = store_filter_text(in, "domain", domain_id);

    store_where_text(f, "name", STORE_EQ, name);
    return model_find(st, ALIASES, f, parse_any, in, until, out, why);
}

int alias_list_regex(struct store *st, struct slice domain_id, struct arena *in,
                     struct deadline until, struct alias_doc **out, size_t *count,
                     struct fault *why)
{
    AUTO(json_release) json_t *docs = NULL;
    struct store_filter *f = store_filter_text(in, "domain", domain_id);
    struct alias_doc *list;
    json_t *doc;
    size_t i;

    store_where_prefix(f, "name", LIT("/"));
    if (store_find(st, ALIASES, f, NULL, until, &docs, why) < 0)
        return -1;
    list = ARENA_ARRAY(in, struct alias_doc, json_array_size(docs) + 1);
    json_array_foreach(docs, i, doc) if (alias_parse(doc, in, &list[i], why) < 0) return -1;
    *out = list;
    *count = json_array_size(docs);
    return 0;
}

/* The domain must say so before the alias exists: the mail path trusts the flag. */
int alias_mark_domain(struct store *st, const struct alias_doc *alias, struct deadline until,
                      struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);

    if (!alias_is_catchall(alias) && !alias_is_regex(alias))
        return 0;
    store_set_bool(u, alias_is_catchall(alias) ? "has_catchall" : "has_regex", true);
    return store_update(st, DOMAINS, store_filter_id(in, slice_of(alias->domain)), u, STORE_ONE,
                        until, NULL, why);
}

int alias_insert(struct store *st, struct alias_doc *alias, struct deadline until,
                 struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;

    if (alias->id[0] == '\0')
        model_id_copy(alias->id, slice_of(object_id_new().s));
    alias->created_at = alias->updated_at = clock_wall_ms();
    doc = alias_format(alias);
    if (alias_mark_domain(st, alias, until, why) < 0 ||
        store_insert(st, ALIASES, doc, until, why) < 0)
        return -1;
    return alias_mark_domain(st, alias, until, why); /* who deleted another one may have taken it down */
}

/* ---- password slots ------------------------------------------------------------------------- */

/* Every change of slots raises wraps_revision: a filter that names it finds what was read, or nothing. */
static void where_revision(struct store_filter *f, int64_t revision)
{
    if (revision == 0) {
        store_where_null(store_filter_or(f), "wraps_revision");
        f = store_filter_or(f);
    }
    store_where_int(f, "wraps_revision", STORE_EQ, revision);
}

static int update_alias(struct store *st, const struct store_filter *f, struct store_update *u,
                        enum fault_code none, struct deadline until, struct fault *why)
{
    uint64_t matched;

    store_set_date(u, "updated_at", clock_wall_ms());
    store_inc(u, "wraps_revision", 1);
    if (store_update(st, ALIASES, f, u, STORE_ONE, until, &matched, why) < 0)
        return -1;
    return matched > 0
               ? 0
               : fault_set(why, none, "the alias is gone, or its passwords changed meanwhile");
}

static int add_wrap_once(struct store *st, struct slice id, const json_t *wrap,
                         struct slice sealing_public_key, size_t max, struct deadline until,
                         struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *doc = NULL;
    struct store_filter *f = store_filter_id(in, id);
    struct store_update *u = store_update_new(in);

    if (store_find_one(st, ALIASES, f, NULL, until, &doc, why) < 0)
        return -1;
    if (json_array_size(json_object_get(doc, "wraps")) >= max)
        return fault_set(why, FAULT_LIMIT, "an alias has at most %zu passwords", max);
    where_revision(f, json_get_int(doc, "wraps_revision", 0));
    store_push(u, "wraps", wrap);
    if (sealing_public_key.n > 0)
        store_set_text(u, "sealing_public_key", sealing_public_key);
    return update_alias(st, f, u, FAULT_CONFLICT, until, why);
}

int alias_add_wrap(struct store *st, struct slice id, const json_t *wrap,
                   struct slice sealing_public_key, size_t max, struct deadline until,
                   struct fault *why)
{
    int r = -1;

    for (int i = 0; i < CHANGE_TRIES && r < 0; i++) {
        r = add_wrap_once(st, id, wrap, sealing_public_key, max, until, why);
        if (r < 0 && why->code != FAULT_CONFLICT)
            return -1;
    }
    return r;
}

int alias_remove_wrap(struct store *st, struct slice id, struct slice wrap_id,
                      struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);
    struct store_filter *f = store_filter_id(in, id);

    store_where_text(f, "wraps.id", STORE_EQ, wrap_id);
    store_pull_where(u, "wraps", "id", wrap_id);
    return update_alias(st, f, u, FAULT_NOT_FOUND, until, why);
}

static bool has_same_ids(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!slice_equal(json_get_slice(json_array_get(a, i), "id"),
                         json_get_slice(json_array_get(b, i), "id")))
            return false;
    return true;
}

struct wraps_change {
    const json_t *before, *after;
    struct slice sealing_public_key, rotation_to;
};

static int change_wraps(struct store *st, struct slice id, const struct wraps_change *c,
                        struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *doc = NULL;
    struct store_filter *f = store_filter_id(in, id);
    struct store_update *u = store_update_new(in);

    if (store_find_one(st, ALIASES, f, NULL, until, &doc, why) < 0)
        return -1;
    if (!has_same_ids(json_object_get(doc, "wraps"), c->before))
        return fault_set(why, FAULT_CONFLICT, "the passwords changed meanwhile");
    where_revision(f, json_get_int(doc, "wraps_revision", 0));
    store_set_json(u, "wraps", c->after);
    if (c->sealing_public_key.n > 0)
        store_set_text(u, "sealing_public_key", c->sealing_public_key);
    if (c->rotation_to.n > 0) {
        store_set_text(u, "rotation_to", c->rotation_to);
        store_set_date(u, "rotation_at", clock_wall_ms());
    } else {
        store_unset(u, "rotation_to");
        store_unset(u, "rotation_at");
    }
    return update_alias(st, f, u, FAULT_CONFLICT, until, why);
}

int alias_replace_wraps(struct store *st, struct slice id, const json_t *before,
                        const json_t *after, struct slice sealing_public_key, struct deadline until,
                        struct fault *why)
{
    const struct wraps_change c = {before, after, sealing_public_key, SLICE_NONE};

    return change_wraps(st, id, &c, until, why);
}

int alias_rotate_wraps(struct store *st, struct slice id, const json_t *before, const json_t *after,
                       struct slice rotation_to, struct deadline until, struct fault *why)
{
    const struct wraps_change c = {before, after, SLICE_NONE, rotation_to};

    return change_wraps(st, id, &c, until, why);
}

int alias_delete(struct store *st, const struct alias_doc *alias, struct deadline until,
                 struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_filter *f = store_filter_id(in, slice_of(alias->id));
    uint64_t deleted;

    where_revision(f, alias->wraps_revision);
    if (store_delete(st, ALIASES, f, STORE_ONE, until, &deleted, why) < 0)
        return -1;
    return deleted > 0 ? 0 : fault_set(why, FAULT_CONFLICT, "the alias changed meanwhile");
}

int alias_touch_wrap(struct store *st, struct slice id, struct slice wrap_id, int64_t now_ms,
                     struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *when = json_string(date_format_iso(now_ms).s);
    struct store_update *u = store_update_new(in);
    uint64_t matched;

    store_set_element(u, "wraps", "id", wrap_id, "last_used_at",
                      when); /* updated_at is the owner's: it stays */
    if (store_update(st, ALIASES, store_filter_id(in, id), u, STORE_ONE, until, &matched, why) < 0)
        return -1;
    return matched > 0 ? 0 : fault_set(why, FAULT_NOT_FOUND, "no such password slot");
}
