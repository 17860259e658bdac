/* model_user.h - people who own domains and aliases. Owns nothing; suspends where marked. */
#pragma once

#include "store/store.h"

struct user_doc {
    char id[25];
    struct slice email;          /* lower case, unique */
    struct slice group;          /* "admin" (of the installation) or "user" */
    struct slice api_token_hash; /* hex SHA-256 of the token; absent: none */
    struct slice password_hash;  /* of the web account */
    struct slice display_name, given_name, family_name, locale, timezone;
    struct slice avatar_url, default_forwarding_address;
    bool has_verified_email; /* an account somebody registered for may do nothing before */
    int64_t max_quota_per_alias; /* bytes; 0: the server's default */
    int64_t smtp_limit;          /* messages a day; 0: the server's default */
    bool is_banned;
    int64_t created_at, updated_at; /* wall ms, like every date in these structs */
};

int user_parse(const json_t *doc, struct arena *in, struct user_doc *out,
               struct fault *why) MUST_CHECK;
json_t *user_format(const struct user_doc *user);
int user_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
              struct user_doc *out, struct fault *why) MUST_CHECK SUSPENDS;
int user_find_by_email(struct store *st, struct slice email, struct arena *in,
                       struct deadline until, struct user_doc *out,
                       struct fault *why) MUST_CHECK SUSPENDS;
/* By the token itself. FAULT_NOT_FOUND also for a banned user. */
int user_find_by_token(struct store *st, struct slice token, struct arena *in,
                       struct deadline until, struct user_doc *out,
                       struct fault *why) MUST_CHECK SUSPENDS;
struct slice user_token_hash(struct arena *in, struct slice token);
int user_insert(struct store *st, struct user_doc *user, struct deadline until,
                struct fault *why) MUST_CHECK SUSPENDS; /* fills id and dates */
