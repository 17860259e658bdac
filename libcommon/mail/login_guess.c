/* login_guess.c - see login_guess.h.
 *
 * Owns      struct guesses. Called by login.c around each password. Cannot fail: Redis away leaves the counters here.
 * Suspends  for Redis only.
 */
#include "mail/login_guess.h"

#include <arpa/inet.h>

#include "base/encode.h"
#include "base/map.h"
#include "base/secret.h"
#include "net/redis.h"

#define WINDOW_MS 3600000

struct failures { unsigned count; uint64_t until_ms; };

struct guesses {
    struct redis *redis;
    struct map *failures;              /* network, or network and hash of what it tried -> struct failures */
    size_t kept_max;
    unsigned char tag_key[32];
};

struct guesses *guesses_new(struct redis *redis, size_t kept_max)
{
    struct guesses *g = calloc(1, sizeof(*g));

    if (g == NULL)
        abort();
    g->redis = redis;
    g->failures = map_new();
    g->kept_max = kept_max > 0 ? kept_max : GUESSES_KEPT;
    random_bytes(g->tag_key, sizeof(g->tag_key));
    return g;
}

void guesses_free(struct guesses **g)
{
    size_t cursor = 0;
    void *value;

    if (*g == NULL)
        return;
    while (map_next((*g)->failures, &cursor, NULL, &value) == 1)
        free(value);
    map_free(&(*g)->failures);
    memory_wipe(*g, sizeof(**g));
    free(*g);
    *g = NULL;
}

struct slice guesses_network(struct arena *a, const char *ip)
{
    unsigned char raw[16];

    if (inet_pton(AF_INET6, ip, raw) != 1)
        return arena_copy(a, slice_of(ip));
    return arena_printf(a, "%.*s::/64", SLICE(hex_encode(a, slice_make(raw, 8))));
}

static struct failures *find(struct guesses *g, struct slice key)
{
    struct failures *f = map_find(g->failures, key);

    if (f != NULL && f->until_ms <= clock_now_ms())
        *f = (struct failures){ 0 };
    return f;
}

/* Room for one: the expired go, or else the one that would expire next. */
static void make_room(struct guesses *g)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice key, *old = ARENA_ARRAY(a, struct slice, map_count(g->failures)), oldest = SLICE_NONE;
    uint64_t oldest_ms = UINT64_MAX;
    size_t cursor = 0, n = 0;
    void *value;

    while (map_next(g->failures, &cursor, &key, &value) == 1) {
        const struct failures *f = value;

        if (f->until_ms <= clock_now_ms())
            old[n++] = arena_copy(a, key);
        else if (f->until_ms < oldest_ms) {
            oldest = key;
            oldest_ms = f->until_ms;
        }
    }
    if (n == 0 && oldest.n > 0)
        old[n++] = arena_copy(a, oldest);
    for (size_t i = 0; i < n; i++)
        free(map_remove(g->failures, old[i]));
}

static void add(struct guesses *g, struct slice key)
{
    struct failures *f = find(g, key);

    if (f == NULL) {
        if (map_count(g->failures) >= g->kept_max)
            make_room(g);
        f = calloc(1, sizeof(*f));
        if (f == NULL)
            abort();
        map_set(g->failures, key, f);
    }
    f->count++;
    f->until_ms = clock_now_ms() + WINDOW_MS;
}

static struct slice redis_key(struct arena *a, struct slice network)
{
    return arena_printf(a, "auth_limit_production:%.*s", SLICE(network));
}

unsigned guesses_count_here(struct guesses *g, struct slice network)
{
    const struct failures *f = find(g, network);

    return f != NULL ? f->count : 0;
}

unsigned guesses_count(struct guesses *g, struct slice network, struct arena *a)
{
    unsigned here = guesses_count_here(g, network);
    struct redis_reply reply;
    struct fault ignored;
    uint32_t there = 0;

    if (g->redis != NULL && redis_command(g->redis, REDIS_ARGV(LIT("GET"), redis_key(a, network)), a, &reply, &ignored) == 0 &&
        reply.kind == REDIS_TEXT && !slice_to_u32(reply.text, 1000000, &there))
        there = 0;
    return there > here ? there : here;
}

void guesses_note(struct guesses *g, struct slice network, struct slice username, struct slice password, struct arena *a)
{
    const struct failures *f;
    struct redis_counter counter;
    struct fault ignored;
    unsigned char tag[32];
    struct slice seen;

    hmac_sha256(slice_make(g->tag_key, 32), arena_printf(a, "%zu:%.*s:%.*s", username.n, SLICE(username), SLICE(password)), tag);
    seen = arena_printf(a, "%.*s %.*s", SLICE(network), SLICE(hex_encode(a, slice_make(tag, 8))));
    f = find(g, seen);
    if (f != NULL && f->count > 0)
        return;
    add(g, network);
    add(g, seen);
    if (g->redis != NULL)
        ignore_result(redis_count(g->redis, redis_key(a, network), 1, WINDOW_MS, &counter, &ignored));
}

uint64_t guesses_delay_ms(unsigned count)
{
    return count < 3 ? 0 : count >= 6 ? 8000 : (uint64_t)1000 << (count - 3);
}
