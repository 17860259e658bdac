/* models.c - the collections with their indexes, and marks of forwarded mail (see models.h).
 *
 * Owns nothing. An index stands here because the mail path or a list asks by it; each costs every
 * insert.
 */
#include "store/models.h"

static const struct store_index user_indexes[] = {
    {{"email"}, STORE_INDEX_UNIQUE},
    {{"api_token_hash"}, STORE_INDEX_UNIQUE},
};

static const struct store_index domain_indexes[] = {
    {{"name"}, STORE_INDEX_UNIQUE},
    {{"verification_record"}, STORE_INDEX_UNIQUE},
};

static const struct store_index alias_indexes[] = {
    {{"domain", "name"}, STORE_INDEX_UNIQUE},
    {{"domain", "created_at"}, STORE_INDEX},
    {{"user"}, STORE_INDEX},
};

static const struct store_index email_indexes[] = {
    {{"next_attempt_at"}, STORE_INDEX_SPARSE},
    {{"domain", "created_at"}, STORE_INDEX},
    {{"user", "created_at"}, STORE_INDEX},
    {{"created_at"}, STORE_INDEX},
};

static const struct store_index mark_indexes[] = {
    {{"mark"}, STORE_INDEX_UNIQUE},
    {{"created_at"}, STORE_INDEX},
};

static const struct store_index key_indexes[] = {
    {{"name"}, STORE_INDEX_UNIQUE},
};

static const struct store_index log_indexes[] = {
    {{"domain", "created_at"}, STORE_INDEX},
    {{"created_at"}, STORE_INDEX},
    {{"msg"}, STORE_INDEX_SPARSE},
    {{"mark"}, STORE_INDEX_SPARSE},
};

const struct store_collection models_collections[] = {
    {USERS, user_indexes, COUNT(user_indexes), false},
    {DOMAINS, domain_indexes, COUNT(domain_indexes), false},
    {ALIASES, alias_indexes, COUNT(alias_indexes), false},
    {EMAILS, email_indexes, COUNT(email_indexes), false},
    {MARKS, mark_indexes, COUNT(mark_indexes), false},
    {KEYS, key_indexes, COUNT(key_indexes), false},
    {LOGS, log_indexes, COUNT(log_indexes), true},
};
const size_t models_collection_count = COUNT(models_collections);

int mark_put(struct store *st, struct slice mark, struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *doc = json_object();
    int r;

    (void)json_set_slice(doc, "mark", mark);
    (void)json_set_slice(doc, "created_at", slice_of(date_format_iso(clock_wall_ms()).s));
    r = store_insert(st, MARKS, doc, until, why);
    return r < 0 && why->code == FAULT_EXISTS ? 0 : r;
}

int mark_find(struct store *st, const struct slice *marks, size_t count, bool *found,
              struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *docs = NULL;
    struct store_filter *f = store_filter_new(in);
    json_t *doc;
    size_t k;

    store_where_in(f, "mark", marks, count);
    if (store_find(st, MARKS, f, NULL, until, &docs, why) < 0)
        return -1;
    memset(found, 0, count * sizeof(*found));
    json_array_foreach(docs, k, doc) for (size_t i = 0; i < count; i++) found[i] =
        found[i] || slice_equal(marks[i], json_get_slice(doc, "mark"));
    return 0;
}
