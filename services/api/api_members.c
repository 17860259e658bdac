/* api_members.c - members of a domain: their role, and their leaving; whose the aliases are then.
 *
 * Owns      nothing. Suspends for the store and, where aliases go, the mailbox server.
 *
 * Who may be a member stands in one document and is changed only as it was read (api_domain_change), so that two administrators who
 * demote each other at the same moment leave one. Aliases follow in steps that may be repeated: a call that was cut off is made again.
 */
#include "api_domains.h"

#include "api_alias.h"

#define ALIASES_AT_ONCE 200

/* Somebody who can take over; the caller rather than others. */
static const struct domain_member *other_admin(const struct api_call *c, const struct domain_doc *d, struct slice user)
{
    const struct domain_member *found = NULL;

    for (size_t i = 0; i < d->member_count; i++) {
        const struct domain_member *m = &d->members[i];

        if (!m->is_admin || slice_equal(slice_of(m->user), user))
            continue;
        if (found == NULL || strcmp(m->user, c->user.id) == 0)
            found = m;
    }
    return found;
}

enum member_then { MEMBER_ADMIN, MEMBER_NO_ADMIN };

/* 0: the member may become that, or go; 1: refused and answered. */
static int check_leaving(struct api_call *c, const struct domain_doc *d, struct slice user, enum member_then then)
{
    bool left_alone = d->member_count < 2 || (then == MEMBER_NO_ADMIN && other_admin(c, d, user) == NULL);

    if (domain_find_member(d, user) == NULL)
        return (void)api_refuse(c, 404, "INVALID_USER"), 1;
    return left_alone ? ((void)api_refuse(c, 404, "UNKNOWN_ERROR"), 1) : 0;
}

/* ---- whose aliases ------------------------------------------------------------------------------------------------ */

typedef int (*alias_fn)(struct api_call *c, const json_t *alias, const void *arg, struct fault *why) SUSPENDS;

/* `fn` for each alias of the member, in steps. */
static int each_alias(struct api_call *c, struct slice user, alias_fn fn, const void *arg, struct fault *why)
{
    char last[25] = "";
    size_t n = ALIASES_AT_ONCE;

    while (n == ALIASES_AT_ONCE) {
        AUTO(json_release) json_t *found = NULL;
        struct store_filter *f = store_filter_text(c->arena, "domain", slice_of(c->domain.id));
        struct store_page page = { .limit = ALIASES_AT_ONCE };

        store_where_text(f, "user", STORE_EQ, user);
        store_where_text(f, "_id", STORE_GT, slice_of(last));
        if (store_find(c->api->store, ALIASES, f, &page, c->until, &found, why) < 0)
            return -1;
        n = json_array_size(found);
        for (size_t i = 0; i < n; i++) {
            const json_t *alias = json_array_get(found, i);

            if (fn(c, alias, arg, why) < 0)
                return -1;
            ignore_result(slice_copy_cstr(json_get_slice(alias, "_id"), last, sizeof(last)));
        }
    }
    return 0;
}

static int give(struct api_call *c, const json_t *alias, const void *to, struct fault *why)
{
    struct store_update *u = store_update_new(c->arena);

    store_set_text(u, "user", slice_of(to));
    store_set_date(u, "updated_at", clock_wall_ms());
    return store_update(c->api->store, ALIASES, store_filter_id(c->arena, json_get_slice(alias, "_id")), u, STORE_ONE, c->until, NULL, why);
}

/* Names that only an administrator may have: catch-all, patterns, reserved ones. */
static int give_if_reserved(struct api_call *c, const json_t *alias, const void *to, struct fault *why)
{
    struct slice name = json_get_slice(alias, "name");

    if (name.n == 0 || (name.p[0] != '/' && !slice_equal(name, LIT("*")) &&
                        account_alias_check(name, false, c->domain.restricted_alias_names, c->domain.restricted_alias_names_count) == NULL))
        return 0;
    return give(c, alias, to, why);
}

static int delete_alias(struct api_call *c, const json_t *alias, UNUSED const void *arg, struct fault *why)
{
    const char *id = arena_cstr(c->arena, json_get_slice(alias, "_id"));

    if (account_alias_remove(alias_passwords(c), slice_of(id), c->until, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    api_alias_changed(c, id);
    alias_size_forget(id);
    return 0;
}

/* ---- the role ------------------------------------------------------------------------------------------------------ */

struct role { struct slice user; const char *group; };

static int set_role(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *arg)
{
    const struct role *role = arg;
    AUTO(json_release) json_t *group = json_string(role->group);

    if (check_leaving(c, now->domain, role->user, strcmp(role->group, "admin") == 0 ? MEMBER_ADMIN : MEMBER_NO_ADMIN) != 0)
        return 1;
    store_set_element(u, "members", "user", role->user, "group", group);
    return 0;
}

static int update_member(struct api_call *c, struct fault *why)
{
    struct slice group = api_text(c, "group");
    struct role role = { c->params[1], slice_equal(group, LIT("admin")) ? "admin" : "user" };
    const struct domain_member *heir;
    int r;

    if (!slice_equal(group, LIT("admin")) && !slice_equal(group, LIT("user")))
        return api_refuse(c, 400, "INVALID_GROUP");
    if ((r = api_domain_change(c, set_role, &role, why)) != 0)
        return r < 0 ? -1 : 0;
    heir = other_admin(c, &c->domain, role.user);
    if (role.group[0] == 'u' && heir != NULL && each_alias(c, role.user, give_if_reserved, heir->user, why) < 0)
        return -1;
    log_event(LOG_INFO, "api.member.role", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_SLICE("member", role.user), F_STR("group", role.group));
    return api_domain_reply(c, why);
}

/* ---- leaving --------------------------------------------------------------------------------------------------------- */

static int take_out(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *arg)
{
    const struct slice *user = arg;

    if (check_leaving(c, now->domain, *user, MEMBER_NO_ADMIN) != 0)
        return 1;
    store_pull_where(u, "members", "user", *user);
    return 0;
}


static int delete_member(struct api_call *c, struct fault *why)
{
    struct slice user = c->params[1];
    bool leaves = slice_equal(user, slice_of(c->user.id));
    int r;

    if (check_leaving(c, &c->domain, user, MEMBER_NO_ADMIN) != 0)
        return 0;
    /* given before the member goes, so that a call that is cut off can be made again; nothing is deleted before it is certain that they go */
    if (!leaves && each_alias(c, user, give, c->user.id, why) < 0)
        return -1;
    if ((r = api_domain_change(c, take_out, &user, why)) != 0)
        return r < 0 ? -1 : 0;
    if (each_alias(c, user, leaves ? delete_alias : give, c->user.id, why) < 0)     /* of others: what was made meanwhile */
        return -1;
    log_event(LOG_INFO, "api.member.gone", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_SLICE("member", user));
    return api_domain_reply(c, why);
}

static const struct api_param role_params[] = {
    { "group", API_STRING, false, true, "admin or user" },
    { .name = NULL },
};

const struct api_route member_routes[] = {
    { .method = "PUT", .path = "/v1/domains/:domain_id/members/:member_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .per_day = 100,
      .handle = update_member, .params = role_params, .answer = "Domain", .operation = "updateMember", .statuses = "409",
      .summary = "Makes a member an administrator, or no longer one; then the catch-all and patterns they had go to another one." },
    { .method = "DELETE", .path = "/v1/domains/:domain_id/members/:member_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN,
      .handle = delete_member, .answer = "Domain", .operation = "deleteMember", .statuses = "409",
      .summary = "Takes a member out; their aliases become yours. Taking yourself out deletes your aliases with their mailboxes." },
    { .path = NULL },
};
