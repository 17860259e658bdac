/* account_remove.c - an alias goes away: first what it stored, then its document, then what its domain says about it.
 *
 * Owns nothing. Called by api. Killed at any instant, it is repeated with the same result. Suspends.
 */
#include "account/account_alias.h"

#define REMOVE_TRIES 10

static const char *flag_of(const struct alias_doc *alias)
{
    return alias_is_catchall(alias) ? "has_catchall" : alias_is_regex(alias) ? "has_regex" : NULL;
}

static int set_flag(struct store *st, const struct alias_doc *alias, bool on, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_update *u = store_update_new(in);

    store_set_bool(u, flag_of(alias), on);
    return store_update(st, DOMAINS, store_filter_id(in, slice_of(alias->domain)), u, STORE_ONE, until, NULL, why);
}

/* Down first, then a look: who inserts another one raises the flag behind the insert, so one of the two sees the other. */
int account_domain_unmark(struct store *st, const struct alias_doc *alias, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_filter *others = store_filter_text(in, "domain", slice_of(alias->domain));
    uint64_t left;

    if (flag_of(alias) == NULL)
        return 0;
    if (alias_is_catchall(alias))
        store_where_text(others, "name", STORE_EQ, LIT("*"));
    else
        store_where_prefix(others, "name", LIT("/"));
    if (set_flag(st, alias, false, until, why) < 0 || store_count(st, ALIASES, others, until, &left, why) < 0)
        return -1;
    return left > 0 ? set_flag(st, alias, true, until, why) : 0;
}

/* Without passwords there has never been a mailbox: installations that only forward have no server to ask. */
static bool may_have_mailbox(const struct alias_doc *alias)
{
    return alias->sealing_public_key.n > 0 || account_has_password(alias);
}

int account_alias_remove(struct account_passwords *p, struct slice alias_id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);

    for (int i = 0; i < REMOVE_TRIES; i++) {
        struct alias_doc alias;

        if (alias_find(p->store, alias_id, in, until, &alias, why) < 0)
            return why->code == FAULT_NOT_FOUND ? 0 : -1;
        if (may_have_mailbox(&alias) && mailbox_delete(p->mailboxes, alias_id, until, why) < 0)
            return -1;
        if (alias_delete(p->store, &alias, until, why) == 0)
            return account_domain_unmark(p->store, &alias, until, why);
        if (why->code != FAULT_CONFLICT)
            return -1;
        arena_reset(in);                       /* its passwords changed meanwhile: there may be a new mailbox */
    }
    return fault_set(why, FAULT_CONFLICT, "the alias keeps changing");
}
