/* cmd_domain.c - fectl domain: domains this installation answers for, with their DKIM key. Suspends for the store. */
#include "fectl.h"

#include "account/domain_name.h"
#include "account/domain_new.h"

static void print_records(struct fectl *f, const struct domain_doc *d)
{
    struct domain_records want;

    domain_records_list(d, "localhost", "forward-email", f->arena, &want);
    printf("domain %s\ndkim_selector %.*s\ndkim_record %.*s TXT %.*s\n", d->id, SLICE(d->dkim_key_selector), SLICE(want.dkim.name),
           SLICE(want.dkim.value));
    printf("verification_record %.*s TXT %.*s\n", SLICE(d->name), SLICE(want.verification));
}

static int domain_add(struct fectl *f, struct fault *why)
{
    const char *owner = fectl_option(f, "--user");
    struct domain_doc d = domain_new(SLICE_NONE);
    struct domain_member member = { .is_admin = true };
    enum dkim_algorithm algorithm = fectl_flag(f, "--ed25519") ? DKIM_ED25519_SHA256 : DKIM_RSA_SHA256;
    struct user_doc user;
    struct slice name;

    if (fectl_argument(f, 0, "the domain", &name, why) < 0)
        return -1;
    if (!domain_name_read(f->arena, name, &d.name))
        return fault_set(why, FAULT_INVALID, "%.*s is not a domain name", SLICE(name));
    if (owner == NULL)
        return fault_set(why, FAULT_INVALID, "--user EMAIL is missing: who owns the domain?");
    if (user_find_by_email(f->store, arena_lower(f->arena, slice_of(owner)), f->arena, fectl_until(), &user, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no user %s", owner) : -1;
    memcpy(member.user, user.id, sizeof(member.user));
    d.members = &member;
    d.member_count = 1;
    d.has_smtp = true;
    if (domain_prepare(&d, algorithm, f->settings.helper_key, f->arena, fectl_until(), why) < 0)
        return -1;
    if (domain_insert(f->store, &d, fectl_until(), why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_EXISTS, "there is a domain %.*s already", SLICE(d.name)) : -1;
    print_records(f, &d);
    return 0;
}

static int domain_list(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    json_t *doc;
    size_t i;

    if (store_find(f->store, DOMAINS, store_filter_new(f->arena), NULL, fectl_until(), &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc)
        printf("%.*s %.*s\n", SLICE(json_get_slice(doc, "_id")), SLICE(json_get_slice(doc, "name")));
    return 0;
}

static int domain_show(struct fectl *f, struct fault *why)
{
    struct domain_doc d;
    struct slice name;

    if (fectl_argument(f, 0, "the domain", &name, why) < 0)
        return -1;
    if (domain_find_by_name(f->store, name, f->arena, fectl_until(), &d, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no domain %.*s", SLICE(name)) : -1;
    print_records(f, &d);
    return 0;
}

/* One update each: who is a member already only changes role. */
static int set_member(struct fectl *f, const struct domain_doc *d, const struct user_doc *user, const char *group, struct fault *why)
{
    AUTO(json_release) json_t *member = json_pack("{s:s,s:s}", "user", user->id, "group", group);
    AUTO(json_release) json_t *role = json_string(group);
    struct store_filter *filter = store_filter_id(f->arena, slice_of(d->id));
    struct store_update *u = store_update_new(f->arena);

    if (domain_find_member(d, slice_of(user->id)) != NULL) {
        store_set_element(u, "members", "user", slice_of(user->id), "group", role);
    } else {
        store_where_text(filter, "members.user", STORE_NE, slice_of(user->id));
        store_push(u, "members", member);
    }
    store_set_date(u, "updated_at", clock_wall_ms());
    return store_update(f->store, DOMAINS, filter, u, STORE_ONE, fectl_until(), NULL, why);
}

static int domain_member_add(struct fectl *f, struct fault *why)
{
    const char *email = fectl_option(f, "--user"), *group = fectl_flag(f, "--admin") ? "admin" : "user";
    struct domain_doc d;
    struct user_doc user;
    struct slice name;

    if (fectl_argument(f, 0, "the domain", &name, why) < 0)
        return -1;
    if (email == NULL)
        return fault_set(why, FAULT_INVALID, "--user EMAIL is missing: who becomes a member?");
    if (domain_find_by_name(f->store, name, f->arena, fectl_until(), &d, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no domain %.*s", SLICE(name)) : -1;
    if (user_find_by_email(f->store, arena_lower(f->arena, slice_of(email)), f->arena, fectl_until(), &user, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no user %s", email) : -1;
    if (set_member(f, &d, &user, group, why) < 0)
        return -1;
    printf("member %s %s\n", user.id, group);
    return 0;
}

const struct command domain_commands[] = {
    { "domain", "add", "NAME --user EMAIL [--ed25519]", "adds a domain with a new DKIM key and prints the DNS records it needs", true, domain_add },
    { "domain", "list", "", "domains with their ids", true, domain_list },
    { "domain", "show", "NAME", "the DNS records of a domain", true, domain_show },
    { "domain", "member", "NAME --user EMAIL [--admin]", "lets a user work with a domain, as admin or not", true, domain_member_add },
    { NULL, NULL, NULL, NULL, false, NULL },
};
