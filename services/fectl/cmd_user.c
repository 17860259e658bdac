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

const struct command user_commands[] = {
    { "user", "add", "EMAIL [--admin]", "makes a user and prints its API token, once", true, user_add },
    { "user", "list", "", "users with their ids and groups", true, user_list },
    { NULL, NULL, NULL, NULL, false, NULL },
};
