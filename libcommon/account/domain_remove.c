/* domain_remove.c - see domain_remove.h.
 *
 * Owns nothing. Fails with the faults of store and mailbox server; then part of the aliases may be gone, and the domain is still there.
 */
#include "account/domain_remove.h"

#include "base/json.h"

#define ALIASES_AT_ONCE 200

static int switch_off(const struct domain_remove_options *o, struct slice id, struct arena *a, struct deadline until, struct fault *why)
{
    struct store_update *u = store_update_new(a);

    store_set_bool(u, "is_enabled", false);
    store_set_date(u, "updated_at", clock_wall_ms());
    return store_update(o->passwords->store, ALIASES, store_filter_id(a, id), u, STORE_ONE, until, NULL, why);
}

static int remove_alias(const struct domain_remove_options *o, const json_t *alias, struct arena *a, struct deadline until, struct fault *why)
{
    struct slice id = json_get_slice(alias, "_id");

    if (switch_off(o, id, a, until, why) < 0)
        return -1;
    if (o->alias_gone != NULL)
        o->alias_gone(o->arg, arena_cstr(a, id));
    return account_alias_remove(o->passwords, id, until, why);
}

/* 1: there may be more, 0: none is left. */
static int remove_some(const struct domain_remove_options *o, const char *domain_id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(json_release) json_t *found = NULL;
    struct store_page page = { .limit = ALIASES_AT_ONCE };
    json_t *alias;
    size_t i;

    if (store_find(o->passwords->store, ALIASES, store_filter_text(a, "domain", slice_of(domain_id)), &page, until, &found, why) < 0)
        return -1;
    json_array_foreach(found, i, alias)
        if (remove_alias(o, alias, a, until, why) < 0)
            return -1;
    return json_array_size(found) > 0;
}

static int remove_aliases(const struct domain_remove_options *o, const char *domain_id, struct deadline until, struct fault *why)
{
    int r;

    do
        r = remove_some(o, domain_id, until, why);
    while (r > 0);
    return r;
}

int domain_remove(const struct domain_remove_options *o, const char *domain_id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    uint64_t deleted;

    if (remove_aliases(o, domain_id, until, why) < 0 ||
        store_delete(o->passwords->store, DOMAINS, store_filter_id(a, slice_of(domain_id)), STORE_ONE, until, &deleted, why) < 0)
        return -1;
    if (deleted == 0)
        return fault_set(why, FAULT_NOT_FOUND, "no domain %s", domain_id);
    return remove_aliases(o, domain_id, until, why);           /* one that was added meanwhile */
}
