/* model_user.c - see model_user.h. */
#include "store/models.h"

#include "base/encode.h"
#include "store/model.h"

static const struct model_row rows[] = {
    ROW(ID, struct user_doc, id, "_id"),
    ROW(TEXT, struct user_doc, email, "email"),
    ROW(TEXT, struct user_doc, group, "group"),
    ROW(TEXT, struct user_doc, api_token_hash, "api_token_hash"),
    ROW(TEXT, struct user_doc, password_hash, "password_hash"),
    ROW(TEXT, struct user_doc, display_name, "display_name"),
    ROW(TEXT, struct user_doc, given_name, "given_name"),
    ROW(TEXT, struct user_doc, family_name, "family_name"),
    ROW(TEXT, struct user_doc, locale, "locale"),
    ROW(TEXT, struct user_doc, timezone, "timezone"),
    ROW(TEXT, struct user_doc, avatar_url, "avatar_url"),
    ROW(TEXT, struct user_doc, default_forwarding_address, "default_forwarding_address"),
    ROW_IS(BOOL, struct user_doc, has_verified_email, "has_verified_email", true),
    ROW(INT, struct user_doc, max_quota_per_alias, "max_quota_per_alias"),
    ROW(INT, struct user_doc, smtp_limit, "smtp_limit"),
    ROW(BOOL, struct user_doc, is_banned, "is_banned"),
    ROW(DATE, struct user_doc, created_at, "created_at"),
    ROW(DATE, struct user_doc, updated_at, "updated_at"),
};

int user_parse(const json_t *doc, struct arena *in, struct user_doc *out, struct fault *why)
{
    return model_parse(rows, COUNT(rows), doc, in, out, why);
}

static int parse_any(const json_t *doc, struct arena *in, void *out, struct fault *why)
{
    return user_parse(doc, in, out, why);
}

json_t *user_format(const struct user_doc *user)
{
    return model_format(rows, COUNT(rows), user);
}

int user_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
              struct user_doc *out, struct fault *why)
{
    return model_find(st, USERS, store_filter_id(in, id), parse_any, in, until, out, why);
}

int user_find_by_email(struct store *st, struct slice email, struct arena *in,
                       struct deadline until, struct user_doc *out, struct fault *why)
{
    return model_find(st, USERS, store_filter_text(in, "email", arena_lower(in, email)), parse_any,
                      in, until, out, why);
}

struct slice user_token_hash(struct arena *in, struct slice token)
{
    unsigned char digest[32];

    sha256(token, digest);
    return hex_encode(in, slice_make(digest, sizeof(digest)));
}

int user_find_by_token(struct store *st, struct slice token, struct arena *in,
                       struct deadline until, struct user_doc *out, struct fault *why)
{
    struct store_filter *f = store_filter_text(in, "api_token_hash", user_token_hash(in, token));

    if (model_find(st, USERS, f, parse_any, in, until, out, why) < 0)
        return -1;
    return out->is_banned ? fault_set(why, FAULT_NOT_FOUND, "the user of this token is banned") : 0;
}

int user_insert(struct store *st, struct user_doc *user, struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;

    if (user->id[0] == '\0')
        model_id_copy(user->id, slice_of(object_id_new().s));
    user->created_at = user->updated_at = clock_wall_ms();
    doc = user_format(user);
    return store_insert(st, USERS, doc, until, why);
}
