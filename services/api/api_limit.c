/* api_limit.c - how often somebody may call: in all, and per route and day. Counted in Redis; while it is away nobody is held back.
 *
 * Owns      the memory of who is over the limit, so that a flood costs no trip to Redis.
 * Called by the dispatcher and, for refused credentials, by api_auth.c. Suspends for Redis and, when host names are exempt, for DNS.
 */
#include "api.h"

#define DAY_MS   ((uint64_t)24 * 3600 * 1000)
#define OVER_MAX 4096

static bool is_listed(const char *const *list, struct slice who)
{
    for (; list != NULL && *list != NULL; list++)
        if (slice_equal(slice_of(*list), who))
            return true;
    return false;
}

static struct slice caller(const struct api_call *c)
{
    switch (c->auth) {
    case API_TOKEN: return slice_of(c->user.id);
    case API_ALIAS: return slice_of(c->alias.id);
    case API_CATCHALL: return slice_of(c->domain.id);
    default: return slice_of(c->peer_ip);
    }
}

/* ---- host names of RATELIMIT_ALLOWLIST: the address's name, when the name leads back to the address --------------------------- */

static bool is_name(const char *entry)
{
    return strchr(entry, ':') == NULL && strpbrk(entry, "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ") != NULL;
}

static bool leads_back(struct api_call *c, struct slice name)
{
    enum dns_type type = strchr(c->peer_ip, ':') != NULL ? DNS_AAAA : DNS_A;
    struct dns_answer found;
    struct fault ignored;

    if (dns_query(name, type, c->arena, c->until, &found, &ignored) < 0)
        return false;
    for (size_t i = 0; i < found.count; i++)
        if (found.records[i].type == type && slice_equal(found.records[i].text, slice_of(c->peer_ip)))
            return true;
    return false;
}

static bool fits_name(struct slice name, struct slice entry)
{
    return slice_equal_nocase(name, entry) ||
           (name.n > entry.n && slice_has_suffix_nocase(name, entry) && name.p[name.n - entry.n - 1] == '.');
}

static bool has_exempt_name(struct api_call *c)
{
    const char *const *list = (const char *const *)c->api->config->address_allow;
    struct dns_answer names;
    struct fault ignored;
    bool asked = false;

    for (; list != NULL && *list != NULL; list++) {
        if (!is_name(*list))
            continue;
        if (!asked && dns_reverse(c->peer_ip, c->arena, c->until, &names, &ignored) < 0)
            return false;
        asked = true;
        for (size_t i = 0; i < names.count; i++)
            if (fits_name(names.records[i].text, slice_of(*list)) && leads_back(c, names.records[i].text))
                return true;
    }
    return false;
}

/* ---- who is over ---------------------------------------------------------------------------------------------------------- */

struct over { uint64_t until_ms; };

static void forget_over(struct map *over)
{
    size_t cursor = 0;
    struct slice key;
    void *value;

    while (map_next(over, &cursor, &key, &value) == 1)
        free(value);
}

void api_limit_free(struct api *api)
{
    if (api->over == NULL)
        return;
    forget_over(api->over);
    map_free(&api->over);
}

static void note_over(struct api *api, struct slice who, uint64_t left_ms)
{
    struct over *o = calloc(1, sizeof(*o));

    if (o == NULL)
        abort();
    if (api->over != NULL && map_count(api->over) >= OVER_MAX)
        api_limit_free(api);
    if (api->over == NULL)
        api->over = map_new();
    o->until_ms = clock_now_ms() + left_ms;
    free(map_set(api->over, who, o));
}

/* Milliseconds; 0: not over. */
static uint64_t over_for(struct api *api, struct slice who)
{
    const struct over *o = api->over != NULL ? map_find(api->over, who) : NULL;
    uint64_t now = clock_now_ms();

    if (o == NULL)
        return 0;
    if (o->until_ms > now)
        return o->until_ms - now;
    free(map_remove(api->over, who));
    return 0;
}

/* ---- counting ---------------------------------------------------------------------------------------------------------------- */

static void set_number(struct api_call *c, const char *name, int64_t value)
{
    http_set_header(c->rq, slice_of(name), arena_printf(c->arena, "%lld", (long long)value));
}

static void set_headers(struct api_call *c, int64_t most, int64_t left, uint64_t left_ms)
{
    set_number(c, "X-RateLimit-Limit", most);
    set_number(c, "X-RateLimit-Remaining", left > 0 ? left : 0);
    set_number(c, "X-RateLimit-Reset", (clock_wall_ms() + (int64_t)left_ms + 999) / 1000);
}

static int refuse(struct api_call *c, int64_t most, uint64_t left_ms)
{
    set_headers(c, most, 0, left_ms);
    set_number(c, "Retry-After", (int64_t)(left_ms + 999) / 1000);
    (void)api_refuse(c, 429, "RATE_LIMIT_EXCEEDED");
    return 1;
}

static bool is_unlimited(const struct api_call *c, struct slice who)
{
    const struct api_config *config = c->api->config;

    return c->api->redis == NULL || is_listed((const char *const *)config->ratelimit_allow, who) ||
           is_listed((const char *const *)config->address_allow, slice_of(c->peer_ip));
}

static bool route_is_limited(const struct api_call *c)
{
    if (c->route == NULL || c->route->per_day == 0 || (c->auth == API_NOBODY && c->route->auth != API_NOBODY))
        return false;
    return !(c->auth == API_TOKEN && slice_equal(c->user.group, LIT("admin")));
}

/* Routes that count for themselves; whoever is not let in counts there, too. */
static bool is_exempt_route(const struct api_call *c)
{
    return c->route != NULL && (c->route->flags & API_NO_GLOBAL_LIMIT) && (c->auth != API_NOBODY || c->route->auth == API_NOBODY);
}

/* 1: refused. One set of headers goes out: that of the route's own limit where there is one. */
static int count_all(struct api_call *c, struct slice who, struct fault *why)
{
    const struct api_config *config = c->api->config;
    struct redis_counter counter;
    uint64_t over_ms = over_for(c->api, who);

    if (config->ratelimit_max == 0 || is_exempt_route(c))
        return 0;
    if (over_ms > 0)
        return refuse(c, config->ratelimit_max, over_ms);
    if (redis_count(c->api->redis, arena_printf(c->arena, "api_limit:%.*s", SLICE(who)), 1, config->ratelimit_ms, &counter, why) < 0) {
        why->code = FAULT_NONE;
        return 0;
    }
    if (counter.count > config->ratelimit_max && !has_exempt_name(c)) {
        note_over(c->api, who, counter.left_ms);
        return refuse(c, config->ratelimit_max, counter.left_ms);
    }
    if (!route_is_limited(c))
        set_headers(c, config->ratelimit_max, config->ratelimit_max - counter.count, counter.left_ms);
    return 0;
}

static int count_route(struct api_call *c, struct slice who, struct fault *why)
{
    struct slice key = arena_printf(c->arena, "api_route_limit:%s:%.*s", c->route->operation, SLICE(who));
    struct redis_counter counter;

    if (redis_count(c->api->redis, key, 1, DAY_MS, &counter, why) < 0) {
        why->code = FAULT_NONE;
        return 0;
    }
    if (counter.count > c->route->per_day && !has_exempt_name(c))
        return refuse(c, c->route->per_day, counter.left_ms);
    set_headers(c, c->route->per_day, (int64_t)c->route->per_day - counter.count, counter.left_ms);
    return 0;
}

int api_limit(struct api_call *c, struct fault *why)
{
    struct slice who = caller(c);

    if (is_listed((const char *const *)c->api->config->ratelimit_deny, who) ||
        is_listed((const char *const *)c->api->config->ratelimit_deny, slice_of(c->peer_ip))) {
        (void)api_refuse(c, 403, "BLOCKED");
        return 1;
    }
    if (is_unlimited(c, who))
        return 0;
    if (count_all(c, who, why) != 0)
        return 1;
    return route_is_limited(c) ? count_route(c, who, why) : 0;
}
