/* cmd_user.c - fectl user: people who own domains; the first one administers the installation. Suspends for the store. */
#include "fectl.h"

#include "base/encode.h"

static int user_add(struct fectl *f, struct fault *why)
{
    bool admin = fectl_flag(f, "--admin");
    struct user_doc user = { .group = admin ? LIT("admin") : LIT("user"), .has_verified_email = true };
    unsigned char raw[24];
    struct slice token;

    if (fectl_argument(f, 0, "the e-mail address", &user.email, why) < 0)
        return -1;
    random_bytes(raw, sizeof(raw));
    token = hex_encode(f->arena, slice_make(raw, sizeof(raw)));
    user.api_token_hash = user_token_hash(f->arena, token);
    if (user_insert(f->store, &user, fectl_until(), why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_EXISTS, "there is a user %.*s already", SLICE(user.email)) : -1;
    /* the only time it is shown: the store keeps a hash */
    printf("user %s\napi_token %.*s\n", user.id, SLICE(token));
    return 0;
}

static int user_list(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    json_t *doc;
    size_t i;

    if (store_find(f->store, USERS, store_filter_new(f->arena), NULL, fectl_until(), &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc)
        printf("%.*s %.*s %.*s\n", SLICE(json_get_slice(doc, "_id")), SLICE(json_get_slice(doc, "email")), SLICE(json_get_slice(doc, "group")));
    return 0;
}

/* An account that somebody registered for may act from now on. */
static int user_verify(struct fectl *f, struct fault *why)
{
    struct store_update *u = store_update_new(f->arena);
    struct slice email;
    uint64_t matched;

    if (fectl_argument(f, 0, "the e-mail address", &email, why) < 0)
        return -1;
    store_set_bool(u, "has_verified_email", true);
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(f->store, USERS, store_filter_text(f->arena, "email", arena_lower(f->arena, email)), u, STORE_ONE, fectl_until(), &matched, why) < 0)
        return -1;
    return matched > 0 ? 0 : fault_set(why, FAULT_NOT_FOUND, "there is no user %.*s", SLICE(email));
}

const struct command user_commands[] = {
    { "user", "add", "EMAIL [--admin]", "makes a user and prints its API token, once", true, user_add },
    { "user", "verify", "EMAIL", "confirms the address of an account that registered by the API: it may act then", true, user_verify },
    { "user", "list", "", "users with their ids and groups", true, user_list },
    { NULL, NULL, NULL, NULL, false, NULL },
};
