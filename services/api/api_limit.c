/* api_limit.c - how often somebody may call: in all, and per route and day. Counted in Redis; while it is away nobody is held back.
 *
 * Owns      nothing. Suspends for Redis.
 */
#include "api.h"

#define DAY_MS ((uint64_t)24 * 3600 * 1000)

static bool is_listed(const char *const *list, struct slice who)
{
    for (; list != NULL && *list != NULL; list++)
        if (slice_equal(slice_of(*list), who))
            return true;
    return false;
}

static struct slice caller(const struct api_call *c)
{
    if (c->auth == API_TOKEN)
        return slice_of(c->user.id);
    return c->auth == API_ALIAS ? slice_of(c->alias.id) : slice_of(c->peer_ip);
}

static void set_number(struct api_call *c, const char *name, int64_t value)
{
    http_set_header(c->rq, slice_of(name), arena_printf(c->arena, "%lld", (long long)value));
}

/* 1: refused. */
static int count(struct api_call *c, struct slice key, int64_t most, uint64_t window_ms, bool quiet, struct fault *why)
{
    struct redis_counter counter;
    int64_t left;

    if (redis_count(c->api->redis, key, 1, window_ms, &counter, why) < 0) {
        why->code = FAULT_NONE;
        return 0;
    }
    left = most - counter.count;
    if (quiet && left >= 0)
        return 0;
    set_number(c, "X-RateLimit-Limit", most);
    set_number(c, "X-RateLimit-Remaining", left > 0 ? left : 0);
    set_number(c, "X-RateLimit-Reset", (clock_wall_ms() + (int64_t)counter.left_ms + 999) / 1000);
    if (left >= 0)
        return 0;
    set_number(c, "Retry-After", (int64_t)(counter.left_ms + 999) / 1000);
    (void)api_refuse(c, 429, "RATE_LIMIT_EXCEEDED");
    return 1;
}

static bool route_is_limited(const struct api_call *c)
{
    return c->route->per_day > 0 && !(c->auth == API_TOKEN && slice_equal(c->user.group, LIT("admin")));
}

int api_limit(struct api_call *c, struct fault *why)
{
    const struct api_config *config = c->api->config;
    struct slice who = caller(c);

    if (is_listed((const char *const *)config->ratelimit_deny, who)) {
        (void)api_refuse(c, 403, "BLOCKED");
        return 1;
    }
    if (c->api->redis == NULL || is_listed((const char *const *)config->ratelimit_allow, who) ||
        is_listed((const char *const *)config->address_allow, slice_of(c->peer_ip)))
        return 0;
    /* one set of headers: the route's own limit is the nearer one */
    if (config->ratelimit_max > 0 && !(c->route->flags & API_NO_GLOBAL_LIMIT) &&
        count(c, arena_printf(c->arena, "api_limit:%.*s", SLICE(who)), config->ratelimit_max, config->ratelimit_ms, route_is_limited(c), why) != 0)
        return 1;
    if (!route_is_limited(c) || (c->auth == API_NOBODY && c->route->auth != API_NOBODY))
        return 0;
    return count(c, arena_printf(c->arena, "api_route_limit:%s:%.*s", c->route->operation, SLICE(who)), c->route->per_day, DAY_MS, false, why);
}
