/* login.c - see login.h.
 *
 * Owns      struct login: cache, failure counters, the mutex that keeps Argon2id at one a time.
 * Called by the protocol daemons for each login. FAULT_DENIED, FAULT_LIMIT, FAULT_UNAVAILABLE. Suspends.
 */
#include "mail/login.h"

#include <arpa/inet.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/map.h"
#include "mail/keys.h"
#include "net/redis.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "store/models.h"

#define FAILURE_WINDOW_MS 3600000
#define FAILURES_KEPT     10000        /* addresses and what they tried, counted in this process */
#define DENIED_AFTER_MS   300          /* a refusal takes at least this: room for several passwords' Argon2id */
#define TOUCH_MS          3600000

struct cached {
    unsigned char tag[32];             /* keyed hash of alias and password */
    struct secret *data_key;
    char wrap_id[25];
    uint64_t until_ms, touched_ms;
};

struct failures { unsigned count; uint64_t until_ms; };

struct login {
    struct login_options options;
    struct map *cache;                 /* alias id and tag, hex -> struct cached */
    struct map *failures;              /* client network -> struct failures */
    struct fiber_mutex hashing;
    unsigned char tag_key[32];
};

struct login *login_new(const struct login_options *options)
{
    struct login *l = calloc(1, sizeof(*l));

    if (l == NULL)
        abort();
    l->options = *options;
    if (l->options.cache_ms == 0)
        l->options.cache_ms = 5 * 60000;
    l->cache = map_new();
    l->failures = map_new();
    fiber_mutex_init(&l->hashing);
    random_bytes(l->tag_key, sizeof(l->tag_key));
    return l;
}

static void cached_free(struct cached *c)
{
    secret_unref(&c->data_key);
    memory_wipe(c, sizeof(*c));
    free(c);
}

static void cache_drop(struct login *l, bool (*wanted)(struct slice key, const struct cached *c, struct slice arg), struct slice arg)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    size_t cursor = 0, n = 0;
    struct slice key, *keys = ARENA_ARRAY(a, struct slice, map_count(l->cache));
    void *value;

    while (map_next(l->cache, &cursor, &key, &value) == 1)
        if (wanted(key, value, arg))
            keys[n++] = arena_copy(a, key);
    for (size_t i = 0; i < n; i++)
        cached_free(map_remove(l->cache, keys[i]));
}

static bool is_of_alias(struct slice key, UNUSED const struct cached *c, struct slice alias_id)
{
    return slice_has_prefix(key, alias_id);
}

static bool is_any(UNUSED struct slice key, UNUSED const struct cached *c, UNUSED struct slice arg)
{
    return true;
}

static bool is_old(UNUSED struct slice key, const struct cached *c, UNUSED struct slice arg)
{
    return c->until_ms <= clock_now_ms();
}

void login_forget(struct login *l, struct slice alias_id)
{
    cache_drop(l, is_of_alias, alias_id);
}

void login_free(struct login **l)
{
    size_t cursor = 0;
    void *value;

    if (*l == NULL)
        return;
    cache_drop(*l, is_any, SLICE_NONE);
    while (map_next((*l)->failures, &cursor, NULL, &value) == 1)
        free(value);
    map_free(&(*l)->cache);
    map_free(&(*l)->failures);
    memory_wipe(*l, sizeof(**l));
    free(*l);
    *l = NULL;
}

/* ---- guessers ------------------------------------------------------------------------------------ */

/* IPv6 hosts own a /64: counting single addresses would count nothing. */
static struct slice client_network(struct arena *a, const char *ip)
{
    unsigned char raw[16];

    if (inet_pton(AF_INET6, ip, raw) != 1)
        return arena_copy(a, slice_of(ip));
    return arena_printf(a, "%.*s::/64", SLICE(hex_encode(a, slice_make(raw, 8))));
}

static bool is_exempt(const struct login *l, const char *ip)
{
    return l->options.exempt_loopback && (strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0);
}

static struct failures *local_failures(struct login *l, struct slice network)
{
    struct failures *f = map_find(l->failures, network);

    if (f != NULL && f->until_ms <= clock_now_ms())
        *f = (struct failures){ 0 };
    return f;
}

static struct slice failure_key(struct arena *a, struct slice network)
{
    return arena_printf(a, "auth_limit_production:%.*s", SLICE(network));
}

static unsigned failures_count(struct login *l, struct slice network, struct arena *a)
{
    const struct failures *f = local_failures(l, network);
    unsigned here = f != NULL ? f->count : 0;
    struct redis_reply reply;
    struct fault ignored;
    uint32_t there = 0;

    if (l->options.redis != NULL &&
        redis_command(l->options.redis, REDIS_ARGV(LIT("GET"), failure_key(a, network)), a, &reply, &ignored) == 0 &&
        reply.kind == REDIS_TEXT && !slice_to_u32(reply.text, 1000000, &there))
        there = 0;
    return there > here ? there : here;
}

static bool failures_are_full(struct login *l)
{
    AUTO(arena_free) struct arena *a = NULL;
    struct slice key, *old;
    size_t cursor = 0, n = 0;
    void *value;

    if (map_count(l->failures) < FAILURES_KEPT)
        return false;
    a = arena_new(0);
    old = ARENA_ARRAY(a, struct slice, map_count(l->failures));
    while (map_next(l->failures, &cursor, &key, &value) == 1)
        if (((struct failures *)value)->until_ms <= clock_now_ms())
            old[n++] = arena_copy(a, key);
    for (size_t i = 0; i < n; i++)
        free(map_remove(l->failures, old[i]));
    return n == 0;
}

static void failures_add(struct login *l, struct slice key)
{
    struct failures *f = local_failures(l, key);

    if (f == NULL && failures_are_full(l))
        return;                        /* Redis still counts */
    if (f == NULL) {
        f = calloc(1, sizeof(*f));
        if (f == NULL)
            abort();
        map_set(l->failures, key, f);
    }
    f->count++;
    f->until_ms = clock_now_ms() + FAILURE_WINDOW_MS;
}

static void failures_note(struct login *l, struct slice network, struct slice username, struct slice password, struct arena *a)
{
    const struct failures *f;
    struct redis_counter counter;
    struct fault ignored;
    unsigned char tag[32];
    struct slice seen;

    /* a client that repeats one wrong password is misconfigured, not guessing: counted once */
    hmac_sha256(slice_make(l->tag_key, 32), arena_printf(a, "%zu:%.*s:%.*s", username.n, SLICE(username), SLICE(password)), tag);
    seen = arena_printf(a, "%.*s %.*s", SLICE(network), SLICE(hex_encode(a, slice_make(tag, 8))));
    f = local_failures(l, seen);
    if (f != NULL && f->count > 0)
        return;
    failures_add(l, network);
    failures_add(l, seen);
    if (l->options.redis != NULL)
        ignore_result(redis_count(l->options.redis, failure_key(a, network), 1, FAILURE_WINDOW_MS, &counter, &ignored));
}

/* From the third failure on: 1 s, 2 s, 4 s, at most 8 s. */
static uint64_t failure_delay_ms(unsigned count)
{
    return count < 3 ? 0 : count >= 6 ? 8000 : (uint64_t)1000 << (count - 3);
}

/* ---- passwords -------------------------------------------------------------------------------------- */

struct hashing {
    struct offload offload;
    bool pretend;
    char alias_id[25];
    json_t *wraps;                     /* a copy: jansson's counters are not shared between threads */
    struct secret *password;
    const char *protocol;
    int64_t now_ms;
    int result;
    struct secret *data_key;
    char wrap_id[25];
    struct fault why;
};

static void hashing_free(struct hashing *h)
{
    json_release(&h->wraps);
    secret_unref(&h->password);
    secret_unref(&h->data_key);
    free(h);
}

static void hashing_discard(struct offload *work)
{
    hashing_free(CONTAINER_OF(work, struct hashing, offload));
}

static void hashing_run(struct offload *work)
{
    struct hashing *h = CONTAINER_OF(work, struct hashing, offload);
    json_t *wrap;
    size_t i, tried = 0;

    h->result = fault_set(&h->why, FAULT_DENIED, "wrong password");
    json_array_foreach(h->wraps, i, wrap) {
        if (!keys_wrap_allows(wrap, h->protocol) || ++tried > WRAPS_MAX)
            continue;
        h->result = keys_wrap_open(slice_of(h->alias_id), wrap, secret_slice(h->password), h->now_ms, &h->data_key, &h->why);
        if (h->result == 0) {
            if (!slice_copy_cstr(json_get_slice(wrap, "id"), h->wrap_id, sizeof(h->wrap_id)))
                h->wrap_id[0] = '\0';
            return;
        }
    }
    if (h->pretend || tried == 0)
        keys_wrap_pretend(secret_slice(h->password));
}

/* What others from there tried meanwhile counts too, else a guesser sends everything at once. */
static bool may_still_try(struct login *l, struct slice network, struct fault *why)
{
    const struct failures *f = network.n > 0 ? local_failures(l, network) : NULL;

    if (f == NULL || f->count < LOGIN_FAILURES_MAX)
        return true;
    (void)fault_set(why, FAULT_LIMIT, "%u failed logins from %.*s", f->count, SLICE(network));
    return false;
}

/* One at a time in this process: each takes 19 MiB. On success the caller notes the outcome before it waits again. */
static int hash(struct login *l, struct hashing *h, struct slice network, struct deadline until, struct fault *why)
{
    int r = -1;

    if (fiber_mutex_lock(&l->hashing, until, why) < 0) {
        hashing_free(h);
        return -1;
    }
    if (may_still_try(l, network, why))
        r = offload_run(OFFLOAD_CPU, &h->offload, until, why);
    else
        hashing_free(h);
    fiber_mutex_unlock(&l->hashing);
    return r;
}

static struct hashing *hashing_new(const struct login *l, struct slice password)
{
    struct hashing *h = calloc(1, sizeof(*h));

    if (h == NULL)
        abort();
    h->offload.run = hashing_run;
    h->offload.discard = hashing_discard;
    h->password = secret_new(slice_head(password, SECRET_MAX_BYTES));
    h->protocol = l->options.protocol;
    h->now_ms = clock_wall_ms();
    h->pretend = true;
    h->wraps = json_array();
    return h;
}

/* ---- who ----------------------------------------------------------------------------------------------- */

struct subject {
    struct slice network;              /* whose failures count; none: exempt */
    struct alias_doc alias;
    struct domain_doc domain;
    json_t *wraps;
    bool usable;
};

static void subject_free(struct subject *s)
{
    json_release(&s->wraps);
}

static bool split_username(struct arena *a, struct slice username, struct slice *name, struct slice *domain)
{
    struct slice lower = arena_lower(a, slice_trim(username));
    ptrdiff_t at = slice_rfind_char(lower, '@'), plus;

    if (at <= 0 || lower.n > 320 || !slice_is_utf8(lower))
        return false;
    *name = slice_head(lower, (size_t)at);
    *domain = slice_tail(lower, (size_t)at + 1);
    plus = slice_find_char(*name, '+');
    if (plus > 0)
        *name = slice_head(*name, (size_t)plus);
    return domain->n > 0 && !slice_equal(*name, LIT("*")) && name->p[0] != '/';
}

/* 0 also when there is nobody of that name: then s->usable is false. */
static int subject_find(struct login *l, struct slice name, struct slice domain, struct arena *in, struct deadline until,
                        struct subject *s, struct fault *why)
{
    bool mailbox = strcmp(l->options.protocol, "smtp") != 0;

    if (domain_find_by_name(l->options.store, domain, in, until, &s->domain, why) < 0 ||
        alias_find_by_name(l->options.store, slice_of(s->domain.id), name, in, until, &s->alias, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    if (s->alias.wraps.n > 0 && json_parse(s->alias.wraps, 1 << 20, &s->wraps, why) < 0)
        return fault_set(why, FAULT_CORRUPT, "password slots of alias %s cannot be read", s->alias.id);
    s->usable = s->alias.is_enabled && s->wraps != NULL && (!mailbox || s->alias.has_imap);
    return 0;
}

static struct slice cache_key(struct login *l, struct arena *a, const char *alias_id, struct slice password)
{
    unsigned char tag[32];

    hmac_sha256(slice_make(l->tag_key, 32), password, tag);
    return arena_printf(a, "%s %.*s", alias_id, SLICE(hex_encode(a, slice_make(tag, 32))));
}

static bool wrap_is_live(const json_t *wraps, const char *wrap_id)
{
    json_t *wrap;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)wraps, i, wrap) {
        struct slice expires = json_get_slice(wrap, "expires_at");
        int64_t at;

        if (slice_equal(json_get_slice(wrap, "id"), slice_of(wrap_id)))
            return expires.n == 0 || (date_parse_iso(expires, &at) && at > clock_wall_ms());
    }
    return false;
}

/* A password seen a moment ago costs no Argon2id; its slot must still be in the document. */
static struct cached *cache_find(struct login *l, struct slice key, const struct subject *s)
{
    struct cached *c = map_find(l->cache, key);

    if (c == NULL)
        return NULL;
    if (c->until_ms > clock_now_ms() && wrap_is_live(s->wraps, c->wrap_id))
        return c;
    cached_free(map_remove(l->cache, key));
    return NULL;
}

static void cache_put(struct login *l, struct slice key, const struct hashing *h)
{
    struct cached *c = calloc(1, sizeof(*c)), *was;

    if (c == NULL)
        abort();
    if (map_count(l->cache) >= LOGIN_CACHE_MAX)
        cache_drop(l, is_old, SLICE_NONE);
    if (map_count(l->cache) >= LOGIN_CACHE_MAX)
        cache_drop(l, is_any, SLICE_NONE);
    c->data_key = secret_ref(h->data_key);
    c->until_ms = clock_now_ms() + l->options.cache_ms;
    ignore_result(slice_copy_cstr(slice_of(h->wrap_id), c->wrap_id, sizeof(c->wrap_id)));
    was = map_set(l->cache, key, c);
    if (was != NULL)
        cached_free(was);
}

static void result_fill(const struct subject *s, struct slice name, struct slice domain, struct slice wrap_id,
                        struct secret *data_key, struct arena *in, struct login_result *out)
{
    *out = (struct login_result){
        .address = arena_printf(in, "%.*s@%.*s", SLICE(name), SLICE(domain)), .name = name, .domain = domain,
        .wrap_id = arena_copy(in, wrap_id), .data_key = secret_ref(data_key),
        .quota_bytes = (uint64_t)(s->alias.max_quota > 0 ? s->alias.max_quota : s->domain.max_quota_per_alias),
        .has_imap = s->alias.has_imap, .has_smtp = s->domain.has_smtp && !s->domain.is_smtp_suspended,
    };
    memcpy(out->alias_id, s->alias.id, sizeof(out->alias_id));
    memcpy(out->domain_id, s->domain.id, sizeof(out->domain_id));
    memcpy(out->user_id, s->alias.user, sizeof(out->user_id));
}

static int password_check(struct login *l, const struct subject *s, struct slice name, struct slice domain, struct slice password,
                          struct deadline until, struct arena *in, struct login_result *out, struct fault *why)
{
    struct slice key = cache_key(l, in, s->alias.id, password);
    const struct cached *c = s->usable ? cache_find(l, key, s) : NULL;
    struct fault ignored;
    struct hashing *h;
    int r;

    if (c != NULL) {
        result_fill(s, name, domain, slice_of(c->wrap_id), c->data_key, in, out);
        return 0;
    }
    h = hashing_new(l, password);
    if (s->usable) {
        memcpy(h->alias_id, s->alias.id, sizeof(h->alias_id));
        h->pretend = false;
        json_release(&h->wraps);
        h->wraps = json_deep_copy(s->wraps);
    }
    if (hash(l, h, s->network, until, why) < 0)
        return -1;
    r = h->result;
    if (r == 0) {
        cache_put(l, key, h);
        result_fill(s, name, domain, slice_of(h->wrap_id), h->data_key, in, out);
        ignore_result(alias_touch_wrap(l->options.store, slice_of(s->alias.id), slice_of(h->wrap_id), clock_wall_ms(), until, &ignored));
    } else {
        *why = h->why;
    }
    hashing_free(h);
    return r;
}

/* An answer that comes sooner for a name with fewer passwords, or none, would tell who exists. */
static int deny(struct login *l, struct slice network, struct slice username, struct slice password, uint64_t begun_ms,
                struct arena *a, struct fault *why)
{
    struct fault ignored;

    if (network.n > 0)
        failures_note(l, network, username, password, a);
    if (fiber_sleep_until((struct deadline){ begun_ms + DENIED_AFTER_MS }, &ignored) < 0)
        *why = ignored;
    return -1;
}

int login_check(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until,
                struct arena *in, struct login_result *out, struct fault *why)
{
    AUTO(subject_free) struct subject s = { .network = is_exempt(l, peer_ip) ? SLICE_NONE : client_network(in, peer_ip) };
    struct slice name = SLICE_NONE, domain = SLICE_NONE;
    unsigned failed = s.network.n == 0 ? 0 : failures_count(l, s.network, in);
    uint64_t begun_ms;

    if (failed >= LOGIN_FAILURES_MAX)
        return fault_set(why, FAULT_LIMIT, "%u failed logins from %s", failed, peer_ip);
    if (fiber_sleep_until(deadline_in_ms(failure_delay_ms(failed)), why) < 0)
        return -1;
    begun_ms = clock_now_ms();
    if (split_username(in, username, &name, &domain) && subject_find(l, name, domain, in, until, &s, why) < 0)
        return -1;
    if (password_check(l, &s, name, domain, password, until, in, out, why) == 0)
        return 0;
    return why->code == FAULT_DENIED ? deny(l, s.network, username, password, begun_ms, in, why) : -1;
}
