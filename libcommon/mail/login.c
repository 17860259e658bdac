/* login.c - see login.h.
 *
 * Owns      struct login: the cache, the counters of guesses, the mutex that keeps Argon2id at one a time.
 * Called by the protocol daemons for each login. FAULT_DENIED, FAULT_LIMIT, FAULT_UNAVAILABLE. Suspends.
 */
#include "mail/login.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/map.h"
#include "mail/keys.h"
#include "mail/login_guess.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "store/directory.h"
#include "store/models.h"

#define DENIED_AFTER_MS 300            /* a refusal takes a multiple of this: room for several passwords' Argon2id */
#define STORE_MS        15000          /* then what is remembered decides */

struct cached {
    struct secret *data_key;
    char wrap_id[25];
    uint64_t until_ms;
    struct login_result who;           /* for when the store is away; of its slices only `address` counts, kept in `text` */
    char *text;
};

struct login {
    struct login_options options;
    struct map *cache;                 /* id of alias or domain, and keyed hash of the password -> struct cached */
    struct guesses *guesses;
    struct directory *directory;       /* domains */
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
    l->directory = directory_new(options->store, 0);
    l->guesses = guesses_new(options->redis, 0);
    fiber_mutex_init(&l->hashing);
    random_bytes(l->tag_key, sizeof(l->tag_key));
    return l;
}

static void cached_free(struct cached *c)
{
    secret_unref(&c->data_key);
    free(c->text);
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

static bool is_of_owner(struct slice key, UNUSED const struct cached *c, struct slice id)
{
    return slice_has_prefix(key, id);
}

static bool is_any(UNUSED struct slice key, UNUSED const struct cached *c, UNUSED struct slice arg)
{
    return true;
}

static bool is_old(UNUSED struct slice key, const struct cached *c, UNUSED struct slice arg)
{
    return c->until_ms <= clock_now_ms();
}

void login_forget(struct login *l, struct slice id)
{
    cache_drop(l, is_of_owner, id);
}

void login_free(struct login **l)
{
    if (*l == NULL)
        return;
    cache_drop(*l, is_any, SLICE_NONE);
    map_free(&(*l)->cache);
    guesses_free(&(*l)->guesses);
    directory_free(&(*l)->directory);
    memory_wipe(*l, sizeof(**l));
    free(*l);
    *l = NULL;
}

static bool is_exempt(const struct login *l, const char *ip)
{
    return l->options.exempt_loopback && (strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0);
}

/* ---- passwords -------------------------------------------------------------------------------------- */

/* Whose passwords are tried: the alias's, and for senders the domain's. */
enum owner_kind { OWNER_ALIAS, OWNER_DOMAIN, OWNER_COUNT };
struct owner {
    char id[25];
    const char *scope;                 /* that a slot must have */
    json_t *wraps;                     /* NULL: none */
};

struct hashing {
    struct offload offload;
    struct owner owners[OWNER_COUNT];  /* their wraps are copies: jansson's counters are not shared between threads */
    struct secret *password;
    int64_t now_ms;
    int result;
    enum owner_kind whose;
    struct secret *data_key;
    char wrap_id[25];
    struct fault why;
};

static void hashing_free(struct hashing *h)
{
    for (int i = 0; i < OWNER_COUNT; i++)
        json_release(&h->owners[i].wraps);
    secret_unref(&h->password);
    secret_unref(&h->data_key);
    free(h);
}

static void hashing_discard(struct offload *work)
{
    hashing_free(CONTAINER_OF(work, struct hashing, offload));
}

/* How many slots were tried; h->result is 0 once one has opened. */
static size_t hashing_try(struct hashing *h, enum owner_kind whose)
{
    const struct owner *o = &h->owners[whose];
    size_t i, tried = 0;
    json_t *wrap;

    json_array_foreach(o->wraps, i, wrap) {
        if (!keys_wrap_allows(wrap, o->scope) || ++tried > WRAPS_MAX)
            continue;
        h->result = keys_wrap_open(slice_of(o->id), wrap, secret_slice(h->password), h->now_ms, &h->data_key, &h->why);
        if (h->result < 0)
            continue;
        h->whose = whose;
        if (!slice_copy_cstr(json_get_slice(wrap, "id"), h->wrap_id, sizeof(h->wrap_id)))
            h->wrap_id[0] = '\0';
        break;
    }
    return tried;
}

static void hashing_run(struct offload *work)
{
    struct hashing *h = CONTAINER_OF(work, struct hashing, offload);

    h->result = fault_set(&h->why, FAULT_DENIED, "wrong password");
    if (hashing_try(h, OWNER_ALIAS) == 0)
        keys_wrap_pretend(secret_slice(h->password));      /* nobody of that name costs as much as somebody */
    if (h->result < 0)
        (void)hashing_try(h, OWNER_DOMAIN);
    if (h->result == 0 && h->whose == OWNER_DOMAIN)
        secret_unref(&h->data_key);                        /* of nothing: what counts is that the slot opened */
}

/* What others from there tried meanwhile counts too, else a guesser sends everything at once. */
static bool may_still_try(struct login *l, struct slice network, struct fault *why)
{
    unsigned failed = network.n > 0 ? guesses_count_here(l->guesses, network) : 0;

    if (failed < LOGIN_FAILURES_MAX)
        return true;
    (void)fault_set(why, FAULT_LIMIT, "%u failed logins from %.*s", failed, SLICE(network));
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

static struct hashing *hashing_new(const struct owner *owners, struct slice password)
{
    struct hashing *h = calloc(1, sizeof(*h));

    if (h == NULL)
        abort();
    h->offload.run = hashing_run;
    h->offload.discard = hashing_discard;
    h->password = secret_new(slice_head(password, SECRET_MAX_BYTES));
    h->now_ms = clock_wall_ms();
    for (int i = 0; i < OWNER_COUNT; i++) {
        h->owners[i] = owners[i];
        h->owners[i].wraps = json_deep_copy(owners[i].wraps);
    }
    return h;
}

/* ---- who ----------------------------------------------------------------------------------------------- */

struct subject {
    struct slice network;              /* whose failures count; none: exempt */
    struct slice name, domain_name;
    bool wants_sender;                 /* catch-all passwords count */
    struct alias_doc alias;
    struct domain_doc domain;
    struct owner owners[OWNER_COUNT];
};

static void subject_free(struct subject *s)
{
    for (int i = 0; i < OWNER_COUNT; i++)
        json_release(&s->owners[i].wraps);
}

static bool split_username(struct arena *a, struct slice username, struct subject *s)
{
    struct slice lower = arena_lower(a, slice_trim(username));
    ptrdiff_t at = slice_rfind_char(lower, '@'), plus;

    if (at <= 0 || lower.n > 320 || !slice_is_utf8(lower))
        return false;
    s->name = slice_head(lower, (size_t)at);
    s->domain_name = slice_tail(lower, (size_t)at + 1);
    plus = slice_find_char(s->name, '+');
    if (plus > 0)
        s->name = slice_head(s->name, (size_t)plus);
    if (slice_equal(s->name, LIT("*")) && !s->wants_sender)
        return false;
    return s->domain_name.n > 0 && s->name.p[0] != '/';
}

static int owner_set(struct owner *o, const char *id, const char *scope, struct slice wraps, struct fault *why)
{
    memcpy(o->id, id, sizeof(o->id));
    o->scope = scope;
    if (wraps.n > 0 && json_parse(wraps, 1 << 20, &o->wraps, why) < 0)
        return fault_set(why, FAULT_CORRUPT, "password slots of %s cannot be read", id);
    return 0;
}

/* A mailbox's password is its alias's, so the domain may be as it was a second ago; a domain's own passwords are looked at as they
 * are. That there is no such domain is never remembered.                                                                   */
static int domain_get(struct login *l, struct subject *s, struct arena *in, struct deadline until, struct fault *why)
{
    if (!s->wants_sender && directory_get_domain(l->directory, s->domain_name, in, until, &s->domain, why) == 0)
        return 0;
    return domain_find_by_name(l->options.store, s->domain_name, in, until, &s->domain, why);
}

/* 0 also when there is nobody of that name: then it has no passwords. */
static int subject_find(struct login *l, struct slice username, struct arena *in, struct deadline until, struct subject *s, struct fault *why)
{
    bool mailbox = !s->wants_sender && strcmp(l->options.protocol, "smtp") != 0;
    struct fault missing;

    if (!split_username(in, username, s))
        return 0;
    if (domain_get(l, s, in, until, &missing) < 0)
        return missing.code == FAULT_NOT_FOUND ? 0 : (*why = missing, -1);
    if (s->wants_sender && owner_set(&s->owners[OWNER_DOMAIN], s->domain.id, "smtp", s->domain.tokens, why) < 0)
        return -1;
    if (alias_find_by_name(l->options.store, slice_of(s->domain.id), s->name, in, until, &s->alias, &missing) < 0)
        return missing.code == FAULT_NOT_FOUND ? 0 : (*why = missing, -1);
    if (!s->alias.is_enabled || (mailbox && !s->alias.has_imap))
        return 0;
    return owner_set(&s->owners[OWNER_ALIAS], s->alias.id, l->options.protocol, s->alias.wraps, why);
}

static struct slice cache_key(struct login *l, struct arena *a, const char *id, struct slice password)
{
    unsigned char tag[32];

    hmac_sha256(slice_make(l->tag_key, 32), password, tag);
    return arena_printf(a, "%s %.*s", id, SLICE(hex_encode(a, slice_make(tag, 32))));
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
static const struct cached *cache_find(struct login *l, struct arena *a, const struct owner *o, struct slice password)
{
    struct slice key;
    struct cached *c;

    if (o->wraps == NULL)
        return NULL;
    key = cache_key(l, a, o->id, password);
    c = map_find(l->cache, key);
    if (c == NULL)
        return NULL;
    if (c->until_ms > clock_now_ms() && wrap_is_live(o->wraps, c->wrap_id))
        return c;
    cached_free(map_remove(l->cache, key));
    return NULL;
}

static void cache_put(struct login *l, struct slice key, const struct hashing *h, const struct login_result *who)
{
    struct cached *c = calloc(1, sizeof(*c)), *was;

    if (c == NULL)
        abort();
    if (map_count(l->cache) >= LOGIN_CACHE_MAX)
        cache_drop(l, is_old, SLICE_NONE);
    if (map_count(l->cache) >= LOGIN_CACHE_MAX)
        cache_drop(l, is_any, SLICE_NONE);
    c->data_key = h->data_key != NULL ? secret_ref(h->data_key) : NULL;
    c->until_ms = clock_now_ms() + l->options.cache_ms;
    ignore_result(slice_copy_cstr(slice_of(h->wrap_id), c->wrap_id, sizeof(c->wrap_id)));
    c->who = *who;
    c->who.data_key = NULL;
    c->text = strndup(who->address.p, who->address.n);
    if (c->text == NULL)
        abort();
    was = map_set(l->cache, key, c);
    if (was != NULL)
        cached_free(was);
}

static void fill_alias(const struct subject *s, struct login_result *out)
{
    out->quota_bytes = (uint64_t)(s->alias.max_quota > 0 ? s->alias.max_quota : s->domain.max_quota_per_alias);
    out->has_imap = s->alias.has_imap;
    memcpy(out->alias_id, s->alias.id, sizeof(out->alias_id));
    memcpy(out->user_id, s->alias.user, sizeof(out->user_id));
}

static void fill_catchall(const struct subject *s, struct login_result *out)
{
    out->is_catchall = true;
    for (size_t i = 0; i < s->domain.member_count && out->user_id[0] == '\0'; i++)
        if (s->domain.members[i].is_admin)
            memcpy(out->user_id, s->domain.members[i].user, sizeof(out->user_id));
}

static void result_fill(const struct subject *s, enum owner_kind whose, const char *wrap_id, struct secret *data_key,
                        struct arena *in, struct login_result *out)
{
    *out = (struct login_result){
        .address = arena_printf(in, "%.*s@%.*s", SLICE(s->name), SLICE(s->domain_name)), .name = s->name, .domain = s->domain_name,
        .wrap_id = arena_copy(in, slice_of(wrap_id)), .data_key = data_key != NULL ? secret_ref(data_key) : NULL,
        .has_smtp = s->domain.has_smtp && !s->domain.is_smtp_suspended,
    };
    memcpy(out->domain_id, s->domain.id, sizeof(out->domain_id));
    if (whose == OWNER_ALIAS)
        fill_alias(s, out);
    else
        fill_catchall(s, out);
}

static int password_check(struct login *l, const struct subject *s, struct slice password, struct deadline until, struct arena *in,
                          struct login_result *out, struct fault *why)
{
    const struct cached *c = NULL;
    struct fault ignored;
    struct hashing *h;
    int r;

    for (int i = 0; i < OWNER_COUNT; i++) {
        c = cache_find(l, in, &s->owners[i], password);
        if (c != NULL) {
            result_fill(s, (enum owner_kind)i, c->wrap_id, c->data_key, in, out);
            return 0;
        }
    }
    h = hashing_new(s->owners, password);
    if (hash(l, h, s->network, until, why) < 0)
        return -1;
    r = h->result;
    if (r == 0) {
        result_fill(s, h->whose, h->wrap_id, h->data_key, in, out);
        cache_put(l, cache_key(l, in, s->owners[h->whose].id, password), h, out);
        if (h->whose == OWNER_ALIAS)
            ignore_result(alias_touch_wrap(l->options.store, slice_of(s->alias.id), slice_of(h->wrap_id), clock_wall_ms(), until, &ignored));
    } else {
        *why = h->why;
    }
    hashing_free(h);
    return r;
}

/* The document store does not answer: who was let in a moment ago still is. Whoever changes a password or switches an alias off does
 * it in the store and says so by an event, which drops what is here. Nobody can send without the store, so this is for mailboxes.  */
static bool answer_without_store(struct login *l, const struct subject *s, struct slice password, struct arena *in, struct login_result *out)
{
    struct slice address = arena_printf(in, "%.*s@%.*s", SLICE(s->name), SLICE(s->domain_name)), key;
    size_t cursor = 0;
    void *value;

    while (!s->wants_sender && map_next(l->cache, &cursor, &key, &value) == 1) {
        const struct cached *c = value;

        if (c->who.is_catchall || !slice_equal(slice_of(c->text), address) || c->until_ms <= clock_now_ms() ||
            !slice_equal(key, cache_key(l, in, c->who.alias_id, password)))
            continue;
        *out = c->who;
        out->address = address;
        out->name = s->name;
        out->domain = s->domain_name;
        out->wrap_id = arena_copy(in, slice_of(c->wrap_id));
        out->data_key = secret_ref(c->data_key);
        return true;
    }
    return false;
}

static bool store_is_away(const struct fault *why)
{
    return why->code == FAULT_UNAVAILABLE || why->code == FAULT_TIMEOUT || why->code == FAULT_IO;
}

/* An answer that comes sooner for a name with fewer passwords, or none, would tell who exists. */
static int deny(struct login *l, struct slice network, struct slice username, struct slice password, uint64_t begun_ms,
                struct arena *a, struct fault *why)
{
    struct fault ignored;
    uint64_t periods;

    if (network.n > 0)
        guesses_note(l->guesses, network, username, password, a);
    periods = (clock_now_ms() - begun_ms) / DENIED_AFTER_MS + 1;
    if (fiber_sleep_until((struct deadline){ begun_ms + periods * DENIED_AFTER_MS }, &ignored) < 0)
        *why = ignored;
    return -1;
}

static int check(struct login *l, struct subject *s, struct slice username, struct slice password, const char *peer_ip,
                 struct deadline until, struct arena *in, struct login_result *out, struct fault *why)
{
    unsigned failed = 0;
    uint64_t begun_ms;

    if (!is_exempt(l, peer_ip)) {
        s->network = guesses_network(in, peer_ip);
        failed = guesses_count(l->guesses, s->network, in);
    }
    if (failed >= LOGIN_FAILURES_MAX)
        return fault_set(why, FAULT_LIMIT, "%u failed logins from %s", failed, peer_ip);
    if (fiber_sleep_until(deadline_in_ms(guesses_delay_ms(failed)), why) < 0)
        return -1;
    begun_ms = clock_now_ms();
    if (subject_find(l, username, in, deadline_earlier(until, deadline_in_ms(STORE_MS)), s, why) < 0)
        return store_is_away(why) && answer_without_store(l, s, password, in, out) ? 0 : -1;
    if (password_check(l, s, password, until, in, out, why) == 0)
        return 0;
    return why->code == FAULT_DENIED ? deny(l, s->network, username, password, begun_ms, in, why) : -1;
}

int login_check(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until,
                struct arena *in, struct login_result *out, struct fault *why)
{
    AUTO(subject_free) struct subject s = { .wants_sender = false };

    return check(l, &s, username, password, peer_ip, until, in, out, why);
}

int login_check_sender(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until,
                       struct arena *in, struct login_result *out, struct fault *why)
{
    AUTO(subject_free) struct subject s = { .wants_sender = true };

    return check(l, &s, username, password, peer_ip, until, in, out, why);
}
