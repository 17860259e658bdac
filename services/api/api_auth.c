/* api_auth.c - who calls: an account by its token, or the owner of a mailbox by address and password; and what of a path is theirs.
 *
 * Owns      nothing beyond the call. Suspends for store and login (which slows guessers down and counts them).
 */
#include "api.h"

#include "base/encode.h"
#include "base/secret.h"
#include "mail/idn.h"

#define CREDENTIALS_BYTES_MAX 2048

struct credentials { struct slice user, password; };

static bool read_basic(struct api_call *c, struct credentials *out)
{
    struct slice header = http_request_header(c->rq, LIT("authorization")), plain;
    ptrdiff_t colon;

    if (!slice_has_prefix_nocase(header, LIT("Basic ")) || header.n > CREDENTIALS_BYTES_MAX ||
        !base64_decode(c->arena, slice_trim(slice_tail(header, 6)), &plain))
        return false;
    colon = slice_find_char(plain, ':');
    if (colon <= 0 || memchr(plain.p, '\0', plain.n) != NULL || !slice_is_utf8(plain))
        return false;
    out->user = slice_head(plain, (size_t)colon);
    out->password = slice_tail(plain, (size_t)colon + 1);
    return true;
}

static int refuse_credentials(struct api_call *c, const char *key)
{
    struct fault ignored;

    if (api_limit(c, &ignored) != 0)           /* guesses count against the address */
        return 1;
    if (c->route->auth & API_ALIAS)
        http_set_header(c->rq, LIT("WWW-Authenticate"), LIT("Basic realm=\"forwardemail/api\""));
    (void)api_refuse(c, 401, key);
    return 1;
}

static int refuse(struct api_call *c, unsigned status, const char *key)
{
    (void)api_refuse(c, status, key);
    return 1;
}

/* ---- tokens ------------------------------------------------------------------------------------------------- */

static int by_token(struct api_call *c, struct slice token, struct fault *why)
{
    if (directory_find_user(c->api->directory, user_token_hash(c->arena, token), c->arena, c->until, &c->user, &c->user_document, why) < 0)
        return why->code == FAULT_NOT_FOUND ? refuse_credentials(c, "INVALID_API_TOKEN") : -1;
    c->auth = API_TOKEN;
    if (!c->user.has_verified_email)
        return refuse_credentials(c, "EMAIL_VERIFICATION_REQUIRED");
    if (c->user.is_banned)
        return refuse(c, 403, "ACCOUNT_BANNED");
    return 0;
}

/* ---- mailboxes ------------------------------------------------------------------------------------------------ */

/* The owner may be gone while the alias still works: nothing of theirs is needed then. */
static int load_owner(struct api_call *c, const char *id, struct fault *why)
{
    if (id[0] != '\0' && user_find(c->api->store, slice_of(id), c->arena, c->until, &c->user, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    return c->user.is_banned ? refuse(c, 403, "ACCOUNT_BANNED") : 0;
}

/* A login remembered from before counts only while its password is still listed. */
static bool is_still_valid(const struct api_call *c)
{
    const json_t *wraps = json_object_get(c->alias_document, "wraps");
    json_t *wrap;
    size_t i;

    json_array_foreach(wraps, i, wrap)
        if (slice_equal(json_get_slice(wrap, "id"), c->who.wrap_id))
            return c->alias.is_enabled;
    return false;
}

static int load_alias(struct api_call *c, struct fault *why)
{
    struct store_filter *f = store_filter_id(c->arena, slice_of(c->who.alias_id));

    if (store_find_one(c->api->store, ALIASES, f, NULL, c->until, &c->alias_document, why) < 0)
        return -1;
    return alias_parse(c->alias_document, c->arena, &c->alias, why);
}

/* The documents behind the login; a catch-all password has no alias. */
static int load_caller(struct api_call *c, struct fault *why)
{
    if ((!c->who.is_catchall && load_alias(c, why) < 0) ||
        directory_find_domain(c->api->directory, slice_of(c->who.domain_id), c->arena, c->until, &c->domain, &c->domain_document, why) < 0)
        return why->code == FAULT_NOT_FOUND ? refuse_credentials(c, "INVALID_CREDENTIALS") : -1;
    if (!c->who.is_catchall && !is_still_valid(c)) {
        login_forget(c->api->login, slice_of(c->who.alias_id));
        return refuse_credentials(c, "INVALID_CREDENTIALS");
    }
    c->auth = c->who.is_catchall ? API_CATCHALL : API_ALIAS;
    return load_owner(c, c->who.user_id, why);
}

static int check_login(struct api_call *c, const struct credentials *given, struct fault *why)
{
    struct login *l = c->api->login;

    if (c->route->auth & API_CATCHALL)
        return login_check_sender(l, given->user, given->password, c->peer_ip, c->until, c->arena, &c->who, why);
    return login_check(l, given->user, given->password, c->peer_ip, c->until, c->arena, &c->who, why);
}

static int by_password(struct api_call *c, const struct credentials *given, struct fault *why)
{
    if (check_login(c, given, why) == 0)
        return load_caller(c, why);
    if (why->code == FAULT_DENIED || why->code == FAULT_INVALID)
        return refuse_credentials(c, "INVALID_CREDENTIALS");
    if (why->code != FAULT_LIMIT)
        return -1;
    http_set_header(c->rq, LIT("Retry-After"), LIT("3600"));
    return refuse(c, 429, "TOO_MANY_FAILURES");
}

int api_authenticate(struct api_call *c, struct fault *why)
{
    struct credentials given;
    int r;

    if (c->route->auth == API_NOBODY)
        return 0;
    if (!read_basic(c, &given))
        return refuse_credentials(c, "INVALID_API_CREDENTIALS");
    if ((c->route->auth & API_TOKEN) && (given.password.n == 0 || !(c->route->auth & API_ALIAS)))
        r = by_token(c, given.user, why);
    else
        r = by_password(c, &given, why);
    if (r == 0)
        http_know_peer(c->rq);
    if (r >= 0)
        why->code = FAULT_NONE;                /* answered, or none */
    return r;
}

/* ---- what the path names ---------------------------------------------------------------------------------------- */

static int find_domain(struct api_call *c, struct slice wanted, struct fault *why)
{
    struct slice name;

    if (!idn_to_ascii(c->arena, wanted, &name))
        return fault_set(why, FAULT_NOT_FOUND, "no domain name");
    if (object_id_is_valid(name) &&
        directory_find_domain(c->api->directory, name, c->arena, c->until, &c->domain, &c->domain_document, why) == 0)
        return 0;
    return directory_name_domain(c->api->directory, name, c->arena, c->until, &c->domain, &c->domain_document, why);
}

static int load_domain(struct api_call *c, struct fault *why)
{
    const struct domain_member *member;

    if (find_domain(c, c->params[0], why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;
        return refuse(c, 404, "DOMAIN_DOES_NOT_EXIST");
    }
    member = domain_find_member(&c->domain, slice_of(c->user.id));
    if (member == NULL)
        return refuse(c, 404, "DOMAIN_DOES_NOT_EXIST");
    c->is_domain_admin = member->is_admin;
    if ((c->route->flags & API_DOMAIN_ADMIN) && !member->is_admin)
        return refuse(c, 400, "IS_NOT_ADMIN");
    return 0;
}

static int find_alias(struct api_call *c, struct slice wanted, struct fault *why)
{
    struct slice domain = slice_of(c->domain.id);
    struct store_filter *f = store_filter_text(c->arena, "domain", domain);

    if (object_id_is_valid(wanted)) {
        struct store_filter *by_id = store_filter_id(c->arena, wanted);

        store_where_text(by_id, "domain", STORE_EQ, domain);
        if (store_find_one(c->api->store, ALIASES, by_id, NULL, c->until, &c->alias_document, why) == 0)
            return 0;
        if (why->code != FAULT_NOT_FOUND)
            return -1;
    }
    store_where_text(f, "name", STORE_EQ, wanted.p[0] == '/' ? wanted : arena_lower(c->arena, wanted));
    return store_find_one(c->api->store, ALIASES, f, NULL, c->until, &c->alias_document, why);
}

static int load_named_alias(struct api_call *c, struct fault *why)
{
    if (find_alias(c, c->params[1], why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;
        return refuse(c, 404, "ALIAS_DOES_NOT_EXIST");
    }
    if (alias_parse(c->alias_document, c->arena, &c->alias, why) < 0)
        return -1;
    if (!c->is_domain_admin && strcmp(c->alias.user, c->user.id) != 0)
        return refuse(c, 404, "ALIAS_DOES_NOT_EXIST");
    return 0;
}

int api_load_parameters(struct api_call *c, struct fault *why)
{
    int r = 0;

    if (c->route->flags & (API_DOMAIN | API_DOMAIN_ADMIN | API_DOMAIN_ALIAS))
        r = load_domain(c, why);
    if (r == 0 && (c->route->flags & API_DOMAIN_ALIAS))
        r = load_named_alias(c, why);
    if (r == 0)
        why->code = FAULT_NONE;
    return r;
}
