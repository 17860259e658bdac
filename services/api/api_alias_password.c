/* api_alias_password.c - POST .../generate-password: the one password of an alias.
 *
 * Owns      the count of wrong current passwords of each alias, in Redis, and here while that is away. Suspends for Argon2id, store and
 *           mailbox server. The order of writes is account_password.h's; a kill at any instant leaves a password that opens.
 */
#include "api_alias.h"

#include "account/password_rule.h"
#include "base/map.h"
#include "mail/address.h"

#define WRONG_MAX        10
#define WRONG_WINDOW_MS  3600000u
#define WRONG_KEPT_MAX   10000
#define PENALISED        (8 + ALIAS_LABELS_MAX)

/* ---- wrong ones ------------------------------------------------------------------------------------------ */

struct wrong { uint64_t count, until_ms; };
static struct map *wrongs;             /* alias id -> struct wrong */

static uint64_t count_here(struct slice alias_id)
{
    struct wrong *w;

    if (wrongs == NULL)
        wrongs = map_new();
    w = map_find(wrongs, alias_id);
    if (w == NULL) {
        if (map_count(wrongs) >= WRONG_KEPT_MAX)
            return 1;                  /* Redis still counts */
        w = calloc(1, sizeof(*w));
        if (w == NULL)
            abort();
        map_set(wrongs, alias_id, w);
    }
    if (w->until_ms <= clock_now_ms())
        *w = (struct wrong){ 0, clock_now_ms() + WRONG_WINDOW_MS };
    return ++w->count;
}

static struct slice wrong_key(struct api_call *c)
{
    return arena_printf(c->arena, "alias_password_wrong:%s", c->alias.id);
}

/* Counted before it is tried, so that many at once are no way around; a right one takes the count back. */
static bool may_try(struct api_call *c)
{
    uint64_t here = count_here(slice_of(c->alias.id));
    struct redis_counter there = { 0 };
    struct fault ignored;

    if (c->api->redis == NULL || redis_count(c->api->redis, wrong_key(c), 1, WRONG_WINDOW_MS, &there, &ignored) < 0)
        return here <= WRONG_MAX;
    return here <= WRONG_MAX && there.count <= WRONG_MAX;
}

static void forget_wrong(struct api_call *c)
{
    struct redis_reply reply;
    struct fault ignored;

    if (wrongs != NULL)
        free(map_remove(wrongs, slice_of(c->alias.id)));
    if (c->api->redis != NULL)
        ignore_result(redis_command(c->api->redis, REDIS_ARGV(LIT("DEL"), wrong_key(c)), c->arena, &reply, &ignored));
}

/* ---- what was asked ----------------------------------------------------------------------------------------- */

struct wish {
    struct slice old, chosen;          /* p NULL: not given */
    bool override, first;
    struct secret *password;           /* the new one */
};

static void wish_free(struct wish *w)
{
    secret_unref(&w->password);
}

/* Untrimmed: a blank at the end is the caller's mistake, not ours to mend. */
static struct slice raw_text(const struct api_call *c, const char *key)
{
    const json_t *v = json_object_get(c->body, key);

    return json_is_string(v) && json_string_length(v) > 0 ? slice_make(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

static const char *check_strength(struct api_call *c, struct slice password)
{
    struct slice *known = ARENA_ARRAY(c->arena, struct slice, PENALISED);
    enum password_verdict verdict;
    size_t n = 0;

    known[n++] = c->alias.name;
    known[n++] = c->alias.description;
    known[n++] = c->domain.name;
    known[n++] = c->user.display_name;
    known[n++] = c->user.given_name;
    known[n++] = c->user.family_name;
    known[n++] = c->user.email;
    for (size_t i = 0; i < c->alias.label_count && n < PENALISED; i++)
        known[n++] = c->alias.labels[i];
    verdict = password_rule_check(password, known, n);
    return verdict == PASSWORD_GOOD ? NULL : password_rule_key(verdict);
}

static const char *check_instructions(struct api_call *c)
{
    struct slice to = api_text(c, "emailed_instructions");
    struct address address;

    if (to.n == 0)
        return NULL;
    return address_parse(c->arena, to, &address) ? "EMAILED_INSTRUCTIONS_UNSUPPORTED" : "INVALID_EMAIL";
}

static const char *read_wish(struct api_call *c, struct wish *w)
{
    const char *refused;

    if (alias_is_catchall(&c->alias))
        return "CANNOT_CREATE_TOKEN_FOR_CATCHALL";
    if (alias_is_regex(&c->alias))
        return "CANNOT_CREATE_TOKEN_FOR_REGEX";
    if ((refused = check_instructions(c)) != NULL)
        return refused;
    w->old = raw_text(c, "password");
    w->chosen = raw_text(c, "new_password");
    w->override = api_bool(c, "is_override", false);
    w->first = !account_has_password(&c->alias);
    if (w->override && w->old.n > 0)
        return "ALIAS_OVERRIDE_CANNOT_HAVE_PASSWORD";
    if (!w->first && !w->override && w->old.n == 0)
        return "ALIAS_OVERRIDE_REQUIRED";
    if (w->chosen.n > 0 && (refused = check_strength(c, w->chosen)) != NULL)
        return refused;
    w->password = w->chosen.n > 0 ? secret_new(w->chosen) : keys_password_random();
    return NULL;
}

/* ---- doing it --------------------------------------------------------------------------------------------------- */

static int change(struct api_call *c, const struct wish *w, struct fault *why)
{
    const struct keys_wrap_options options = { .scope = "all", .description = LIT("API") };
    struct account_passwords *p = alias_passwords(c);
    struct slice password = secret_slice(w->password);

    if (w->first)
        return account_password_first(p, &c->alias, password, &options, true, c->until, why);
    if (w->override)
        return account_password_override(p, &c->alias, password, &options, c->until, why);
    return account_password_rotate(p, &c->alias, w->old, password, &options, c->until, why);
}

static int refuse_change(struct api_call *c, struct fault *why)
{
    switch (why->code) {
    case FAULT_DENIED:
        return api_refuse(c, 403, "INVALID_PASSWORD");
    case FAULT_CONFLICT:
        return api_refuse(c, 409, "ALIAS_REKEY_IN_PROGRESS");
    case FAULT_NOT_FOUND:
        return api_refuse(c, 404, "ALIAS_DOES_NOT_EXIST");
    default:
        return -1;
    }
}

/* A password that the caller chose is not repeated after a rotation; one that nobody has seen is. */
static int answer(struct api_call *c, const struct wish *w)
{
    bool rotated = !w->first && !w->override;
    json_t *o = json_object();

    if (rotated)
        (void)json_set_slice(o, "message", slice_of(api_phrase("ALIAS_PASSWORD_CHANGED")));
    if (!rotated || w->chosen.n == 0) {
        (void)json_set_slice(o, "username", arena_printf(c->arena, "%.*s@%.*s", SLICE(c->alias.name), SLICE(c->domain.name)));
        (void)json_set_slice(o, "password", secret_slice(w->password));
    }
    return api_reply_json(c, o);
}

int alias_generate_password(struct api_call *c, struct fault *why)
{
    AUTO(wish_free) struct wish w = { 0 };
    const char *refused = read_wish(c, &w);
    bool rotates;

    if (refused != NULL)
        return api_refuse(c, 400, refused);
    rotates = !w.first && !w.override;
    if (rotates && !may_try(c))
        return api_refuse(c, 403, "ALIAS_RATE_LIMITED");
    if (change(c, &w, why) < 0) {
        if (rotates && why->code != FAULT_DENIED)
            forget_wrong(c);           /* it was right, or never looked at */
        return refuse_change(c, why);
    }
    forget_wrong(c);
    api_alias_changed(c, c->alias.id);
    alias_size_forget(c->alias.id);
    return answer(c, &w);
}
