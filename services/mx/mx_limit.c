/* mx_limit.c - see mx_limit.h. IPv6 addresses count by their /64: a host has that many.
 *
 * Owns one map from address to a small counter. What can fail: Redis, then the process's own count
 * decides. Suspends in enter only.
 */
#include "mx_limit.h"

#include <arpa/inet.h>

#include "base/map.h"

#define WINDOW_MS 180000u

struct mx_limit {
    struct redis *redis;
    int64_t max;
    const char *const *exempt;
    struct map *open; /* key -> int64_t * */
};

struct mx_limit *mx_limit_new(struct redis *redis, int64_t max, const char *const *exempt)
{
    struct mx_limit *l = calloc(1, sizeof(*l));

    if (l == NULL)
        abort();
    l->redis = redis;
    l->max = max;
    l->exempt = exempt;
    l->open = map_new();
    return l;
}

void mx_limit_free(struct mx_limit **l)
{
    size_t cursor = 0;
    struct slice key;
    void *count;

    if (*l == NULL)
        return;
    while (map_next((*l)->open, &cursor, &key, &count))
        free(count);
    map_free(&(*l)->open);
    free(*l);
    *l = NULL;
}

struct address_key {
    char s[80];
};

static struct address_key key_of(const char *ip)
{
    struct address_key key;
    unsigned char v6[16];
    char text[INET6_ADDRSTRLEN];

    if (inet_pton(AF_INET6, ip, v6) == 1) {
        memset(v6 + 8, 0, 8);
        ip = inet_ntop(AF_INET6, v6, text, sizeof(text)) ? text : ip;
    }
    (void)snprintf(key.s, sizeof(key.s), "concurrent_mx:%s", ip);
    return key;
}

static bool is_exempt(const struct mx_limit *l, const char *ip)
{
    for (const char *const *e = l->exempt; e && *e; e++)
        if (slice_equal(slice_of(*e), slice_of(ip)))
            return true;
    return false;
}

static int64_t count_here(struct mx_limit *l, struct slice key, int64_t by)
{
    int64_t *count = map_find(l->open, key);

    if (count == NULL) {
        count = calloc(1, sizeof(*count));
        if (count == NULL)
            abort();
        (void)map_set(l->open, key, count);
    }
    *count += by;
    by = *count;
    if (by <= 0) {
        (void)map_remove(l->open, key);
        free(count);
    }
    return by;
}

bool mx_limit_enter(struct mx_limit *l, struct mx_conn *c, const char *ip)
{
    struct address_key key = key_of(ip);
    struct redis_counter counter;
    struct fault why;
    int64_t count;

    if (is_exempt(l, ip) || l->max == 0)
        return true;
    c->counted = true;
    count = count_here(l, slice_of(key.s), 1);
    if (l->redis && redis_count(l->redis, slice_of(key.s), 1, WINDOW_MS, &counter, &why) == 0) {
        c->counted_in_redis = true;
        count = counter.count;
    }
    return count <= l->max;
}

void mx_limit_leave(struct mx_limit *l, struct mx_conn *c, const char *ip)
{
    struct address_key key = key_of(ip);
    struct fault why;

    if (!c->counted)
        return;
    (void)count_here(l, slice_of(key.s), -1);
    if (c->counted_in_redis) /* a counter that expired meanwhile stays away */
        (void)redis_tell(l->redis,
                         REDIS_ARGV(LIT("EVAL"),
                                    LIT("if redis.call('EXISTS',KEYS[1])==1 then return "
                                        "redis.call('DECR',KEYS[1]) end"),
                                    LIT("1"), slice_of(key.s)),
                         &why);
    c->counted = c->counted_in_redis = false;
}
