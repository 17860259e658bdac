/* dkim_keyring.c - see dkim_keyring.h. */
#include "mail/dkim_keyring.h"

#include "base/map.h"
#include "base/time.h"
#include "mail/dkim_internal.h"
#include "mail/field_crypt.h"

struct entry {
    struct dkim_key *key;
    uint64_t until_ms;
};

struct dkim_keyring {
    const struct secret *helper_key;
    struct map *entries;                       /* "domain id encrypted text" -> struct entry */
};

struct dkim_keyring *dkim_keyring_new(const struct secret *helper_key)
{
    struct dkim_keyring *r = calloc(1, sizeof(*r));

    if (r == NULL)
        abort();
    r->helper_key = helper_key;
    r->entries = map_new();
    return r;
}

static void entry_free(struct entry *e)
{
    if (e == NULL)
        return;
    dkim_key_free(&e->key);
    free(e);
}

static void forget_all(struct dkim_keyring *r)
{
    size_t cursor = 0;
    struct slice key;
    void *e;

    while (map_next(r->entries, &cursor, &key, &e) > 0)
        entry_free(e);
    map_free(&r->entries);
    r->entries = map_new();
}

void dkim_keyring_free(struct dkim_keyring **r)
{
    if (*r == NULL)
        return;
    forget_all(*r);
    map_free(&(*r)->entries);
    free(*r);
    *r = NULL;
}

static int open_key(const struct dkim_keyring *r, struct arena *a, const char *domain_id, struct slice encrypted, struct dkim_key **out, struct fault *why)
{
    struct slice pem;
    char label[64];
    int done;

    (void)snprintf(label, sizeof(label), "dkim %s", domain_id);
    if (field_decrypt(a, r->helper_key, label, encrypted, &pem, why) < 0)
        return -1;
    done = dkim_key_parse(pem, out, why);
    memory_wipe((char *)(uintptr_t)pem.p, pem.n);
    return done;
}

static struct entry *remember(struct dkim_keyring *r, struct slice name, struct dkim_key *key)
{
    struct entry *e = calloc(1, sizeof(*e));

    if (e == NULL)
        abort();
    if (map_count(r->entries) >= DKIM_KEYRING_MAX)
        forget_all(r);
    *e = (struct entry){ key, clock_now_ms() + DKIM_KEYRING_MS };
    entry_free(map_set(r->entries, name, e));
    return e;
}

int dkim_keyring_get(struct dkim_keyring *r, const char *domain_id, struct slice encrypted, struct dkim_key **out, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name = arena_printf(a, "%s %.*s", domain_id, SLICE(encrypted));
    struct entry *e = map_find(r->entries, name);
    struct dkim_key *key;

    if (e == NULL || e->until_ms <= clock_now_ms()) {
        if (open_key(r, a, domain_id, encrypted, &key, why) < 0)
            return -1;
        e = remember(r, name, key);
    }
    *out = dkim_key_again(e->key);
    return 0;
}
