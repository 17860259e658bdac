/* api_register.c - POST /v1/account: somebody makes an account for themselves, where the operator allows it (API_REGISTRATION_ENABLED).
 *
 * Owns nothing. The token of the answer is shown once: the store keeps its hash. Until has_verified_email is set the account may do
 * nothing. A second account with an address is refused by the store's index, however close both requests come. Suspends for the store
 * and for Argon2id (cpu pool, one at a time).
 */
#include <sodium.h>

#include "api.h"

#include "account/password_rule.h"
#include "base/encode.h"
#include "rt/offload.h"

#define TOKEN_BYTES 24

struct hashing {
    struct offload offload;
    struct secret *password;
    char hash[crypto_pwhash_STRBYTES];
    int result;
};

static struct fiber_mutex one_at_a_time;             /* each takes 64 MiB */

static void hashing_free(struct hashing *h)
{
    secret_unref(&h->password);
    free(h);
}

static void hashing_discard(struct offload *work)
{
    hashing_free(CONTAINER_OF(work, struct hashing, offload));
}

static void hashing_run(struct offload *work)
{
    struct hashing *h = CONTAINER_OF(work, struct hashing, offload);
    struct slice password = secret_slice(h->password);

    h->result = crypto_pwhash_str(h->hash, password.p, password.n, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
}

static int hash_locked(struct api_call *c, struct slice password, struct slice *out, struct fault *why)
{
    struct hashing *h = calloc(1, sizeof(*h));
    int r;

    if (h == NULL)
        abort();
    h->offload.run = hashing_run;
    h->offload.discard = hashing_discard;
    h->password = secret_new(password);
    if (offload_run(OFFLOAD_CPU, &h->offload, c->until, why) < 0)
        return -1;
    r = h->result;
    *out = arena_copy(c->arena, slice_of(h->hash));
    hashing_free(h);
    return r == 0 ? 0 : fault_set(why, FAULT_UNAVAILABLE, "no memory for a password's hash");
}

static int hash(struct api_call *c, struct slice password, struct slice *out, struct fault *why)
{
    int r;

    if (fiber_mutex_lock(&one_at_a_time, c->until, why) < 0)
        return -1;
    r = hash_locked(c, password, out, why);
    fiber_mutex_unlock(&one_at_a_time);
    return r;
}

/* NULL: a good one. */
static const char *read_password(struct api_call *c, struct slice email, struct slice *out)
{
    const json_t *v = json_object_get(c->body, "password");

    if (!json_is_string(v))
        return "PASSWORD_REQUIRED";
    *out = slice_make(json_string_value(v), json_string_length(v));
    return password_rule_key(password_rule_check(*out, &email, 1));
}

static int insert(struct api_call *c, struct slice email, struct slice password, struct slice *token, struct fault *why)
{
    unsigned char raw[TOKEN_BYTES];

    random_bytes(raw, sizeof(raw));
    *token = hex_encode(c->arena, slice_make(raw, sizeof(raw)));
    memory_wipe(raw, sizeof(raw));
    c->user = (struct user_doc){ .email = email, .group = LIT("user"), .api_token_hash = user_token_hash(c->arena, *token) };
    if (hash(c, password, &c->user.password_hash, why) < 0)
        return -1;
    return user_insert(c->api->store, &c->user, c->until, why);
}

static int post_account(struct api_call *c, struct fault *why)
{
    struct slice email, password, token;
    const char *wrong;
    json_t *answer;

    if (!c->api->config->registration_open)
        return api_refuse(c, 403, "REGISTRATION_CLOSED");
    if (!api_email_read(c, api_text(c, "email"), &email))
        return api_refuse(c, 400, "INVALID_EMAIL");
    wrong = read_password(c, email, &password);
    if (wrong != NULL)
        return api_refuse(c, 400, wrong);
    if (insert(c, email, password, &token, why) < 0)
        return why->code == FAULT_EXISTS ? api_refuse(c, 400, "EMAIL_ALREADY_TAKEN") : -1;
    answer = api_user_json(c, &c->user);
    (void)json_set_slice(answer, "api_token", token);
    return api_reply_json(c, answer);
}

static const struct api_param params[] = {
    { "email", API_STRING, false, true, "address of the account" },
    { "password", API_STRING, false, true, "password of the account, one that is not easily guessed" },
    { .name = NULL },
};

const struct api_route register_routes[] = {
    { .method = "POST", .path = "/v1/account", .auth = API_NOBODY, .per_day = 5, .handle = post_account, .params = params, .answer = "NewUser",
      .operation = "createAccount", .summary = "Makes an account, where registration is open. Its token is shown this once.", .statuses = "400 403" },
    { .path = NULL },
};

const char register_schemas[] =
    "{\"NewUser\":{\"allOf\":[{\"$ref\":\"#/components/schemas/User\"},{\"type\":\"object\",\"required\":[\"api_token\"],\"properties\":{"
    "\"api_token\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{48}$\"}}}]}}";
