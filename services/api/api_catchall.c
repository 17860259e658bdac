/* api_catchall.c - catch-all passwords of a domain: they send as any of its addresses and open no mailbox.
 *
 * Owns      nothing. A password is shown once; what stays is a slot with its Argon2id hash (mail/keys.h) in `tokens` of the domain. Suspends for
 *           the store and the cpu pool.
 */
#include "api_domains.h"

#include "account/account_hash.h"
#include "account/password_rule.h"
#include "api_alias.h"

#define CATCHALL_MAX     10
#define DESCRIPTION_MAX  150

static json_t *tokens_of(const json_t *document)
{
    return json_object_get(document, "tokens");
}

static int list_passwords(struct api_call *c, UNUSED struct fault *why)
{
    json_t *list = json_array(), *token;
    size_t i;

    json_array_foreach(tokens_of(c->domain_document), i, token) {
        json_t *o = json_object();

        (void)json_set_slice(o, "id", json_get_slice(token, "id"));
        (void)json_set_slice(o, "description", json_get_slice(token, "description").p != NULL ? json_get_slice(token, "description") : LIT(""));
        (void)json_array_append_new(list, o);
    }
    return api_reply_json(c, list);
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

/* *slot is the caller's. It opens no mailbox: the key it wraps is thrown away. */
static int make_slot(struct api_call *c, const struct secret *password, struct slice description, json_t **slot, struct fault *why)
{
    AUTO(secret_unref) struct secret *nothing = keys_data_key_new();
    struct keys_wrap_options o = { .scope = "smtp", .description = description };

    return account_hash_make(&alias_passwords(c)->hashing, slice_of(c->domain.id), nothing, secret_slice(password), &o, c->until, slot, why);
}

/* Two who come at once do not both get the last place. */
static int push_slot(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *slot)
{
    if (json_array_size(tokens_of(now->document)) >= CATCHALL_MAX)
        return (void)api_refuse(c, 400, "DOMAIN_EXCEEDS_CATCHALL_PASSWORD_LIMIT"), 1;
    store_push(u, "tokens", slot);
    return 0;
}

/* NULL: right. *out is the caller's. */
static const char *read_password(struct api_call *c, struct slice description, struct secret **out)
{
    const json_t *given = json_object_get(c->body, "new_password");
    struct slice known[] = { c->domain.name, c->user.email, c->user.display_name, c->user.given_name, c->user.family_name, description };
    struct slice text = slice_make(json_string_value(given), json_string_length(given));
    enum password_verdict verdict;

    if (given == NULL || json_is_null(given) || (json_is_string(given) && text.n == 0)) {
        *out = keys_password_random();
        return NULL;
    }
    if (!json_is_string(given))
        return "INVALID_PASSWORD_STRENGTH";
    verdict = password_rule_check(text, known, COUNT(known));
    if (verdict == PASSWORD_GOOD)
        *out = secret_new(text);
    return password_rule_key(verdict);
}

static int reply_new(struct api_call *c, const json_t *slot, const struct secret *password, struct slice description)
{
    json_t *o = json_object();

    (void)json_set_slice(o, "id", json_get_slice(slot, "id"));
    (void)json_set_slice(o, "username", arena_printf(c->arena, "*@%.*s", SLICE(c->domain.name)));
    (void)json_set_slice(o, "password", secret_slice(password));
    (void)json_set_slice(o, "description", description.p != NULL ? description : LIT(""));
    return api_reply_json(c, o);
}

static size_t characters(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static int create_password(struct api_call *c, struct fault *why)
{
    struct slice description = api_text(c, "description");
    AUTO(secret_unref) struct secret *password = NULL;
    AUTO(json_release) json_t *slot = NULL;
    const char *wrong;
    int r;

    if (characters(description) > DESCRIPTION_MAX)
        return api_refuse(c, 400, "DESCRIPTION_TOO_LONG");
    if (json_array_size(tokens_of(c->domain_document)) >= CATCHALL_MAX)
        return api_refuse(c, 400, "DOMAIN_EXCEEDS_CATCHALL_PASSWORD_LIMIT");
    wrong = read_password(c, description, &password);
    if (wrong != NULL)
        return api_refuse(c, 400, wrong);
    if (make_slot(c, password, description, &slot, why) < 0)
        return -1;
    if ((r = api_domain_change(c, push_slot, slot, why)) != 0)
        return r < 0 ? -1 : 0;
    log_event(LOG_INFO, "api.catchall.made", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_SLICE("token", json_get_slice(slot, "id")));
    return reply_new(c, slot, password, description);
}

/* ---- taking one back ----------------------------------------------------------------------------------------------- */

static int delete_password(struct api_call *c, struct fault *why)
{
    struct store_filter *f = store_filter_id(c->arena, slice_of(c->domain.id));
    struct store_update *u = store_update_new(c->arena);
    struct fault ignored;
    uint64_t matched;

    store_where_text(f, "tokens.id", STORE_EQ, c->params[1]);
    store_pull_where(u, "tokens", "id", c->params[1]);
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(c->api->store, DOMAINS, f, u, STORE_ONE, c->until, &matched, why) < 0)
        return -1;
    if (matched == 0)
        return api_refuse(c, 404, "INVALID_PASSWORD");
    directory_forget(c->api->directory);
    login_forget(c->api->login, slice_of(c->domain.id));
    if (c->api->redis != NULL)
        (void)redis_publish(c->api->redis, arena_printf(c->arena, "domain:%s", c->domain.id), LIT("{\"reason\":\"password\"}"), &ignored);
    log_event(LOG_INFO, "api.catchall.taken_back", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_SLICE("token", c->params[1]));
    return api_domain_reply(c, why);
}

static const struct api_param create_params[] = {
    { "new_password", API_STRING, false, false, "a strong one without quotes; left out: 24 random characters" },
    { "description", API_STRING, false, false, "what it is for" },
    { .name = NULL },
};

const struct api_route catchall_routes[] = {
    { .method = "GET", .path = "/v1/domains/:domain_id/catch-all-passwords", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN,
      .handle = list_passwords, .answer = "[CatchallPassword]", .operation = "listCatchallPasswords", .summary = "Catch-all passwords, without the passwords." },
    { .method = "POST", .path = "/v1/domains/:domain_id/catch-all-passwords", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .per_day = 100,
      .handle = create_password, .params = create_params, .answer = "NewCatchallPassword", .operation = "createCatchallPassword", .statuses = "409",
      .summary = "Makes a password that sends as any address of the domain; it is shown this once." },
    { .method = "DELETE", .path = "/v1/domains/:domain_id/catch-all-passwords/:token_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN,
      .handle = delete_password, .answer = "Domain", .operation = "deleteCatchallPassword", .summary = "Takes a catch-all password back." },
    { .path = NULL },
};
