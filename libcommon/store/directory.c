/* directory.c - see directory.h. Entries are documents by key ("d" name, "i" domain-id, "a" domain-id name), or
 * the knowledge that there is none. */
#include "store/directory.h"

#include "base/map.h"
#include "store/models.h"

#define TTL_DEFAULT_MS 1500

struct entry {
    json_t *doc; /* NULL: there is none */
    uint64_t until_ms;
};

struct directory {
    struct store *st;
    uint64_t ttl_ms, generation;
    struct map *entries;
};

struct directory *directory_new(struct store *st, uint64_t ttl_ms)
{
    struct directory *d = calloc(1, sizeof(*d));

    if (d == NULL)
        abort();
    d->st = st;
    d->ttl_ms = ttl_ms > 0 ? ttl_ms : TTL_DEFAULT_MS;
    d->entries = map_new();
    return d;
}

static void entry_free(struct entry *e)
{
    if (e == NULL)
        return;
    json_release(&e->doc);
    free(e);
}

void directory_forget(struct directory *d)
{
    size_t cursor = 0;
    struct slice key;
    void *e;

    while (map_next(d->entries, &cursor, &key, &e) > 0)
        entry_free(e);
    map_free(&d->entries);
    d->entries = map_new();
    d->generation++;
}

void directory_free(struct directory **d)
{
    if (*d == NULL)
        return;
    directory_forget(*d);
    map_free(&(*d)->entries);
    free(*d);
    *d = NULL;
}

static void remember(struct directory *d, struct slice key, json_t *doc)
{
    struct entry *e = calloc(1, sizeof(*e));

    if (e == NULL)
        abort();
    if (map_count(d->entries) >= DIRECTORY_MAX)
        directory_forget(d);
    e->doc = json_incref(doc);
    e->until_ms = clock_now_ms() + d->ttl_ms;
    entry_free(map_set(d->entries, key, e));
}

/* *out is the caller's. */
static int get(struct directory *d, const char *collection, struct slice key,
               const struct store_filter *f, struct deadline until, json_t **out, struct fault *why)
{
    const struct entry *e = map_find(d->entries, key);
    uint64_t generation = d->generation;
    json_t *doc = NULL;

    if (e == NULL || e->until_ms <= clock_now_ms()) {
        if (store_find_one(d->st, collection, f, NULL, until, &doc, why) < 0 &&
            why->code != FAULT_NOT_FOUND)
            return -1;
        if (generation == d->generation) /* nobody said "forget" while we asked */
            remember(d, key, doc);
    } else {
        doc = json_incref(e->doc);
    }
    if (doc == NULL)
        return fault_set(why, FAULT_NOT_FOUND, "no such %s", collection);
    *out = doc;
    return 0;
}

/* A document found; the caller may have it too. */
static json_t *share(json_t *doc, json_t **document)
{
    if (document != NULL)
        *document = json_incref(doc);
    return doc;
}

int directory_name_domain(struct directory *d, struct slice name, struct arena *in,
                          struct deadline until, struct domain_doc *out, json_t **document,
                          struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    struct slice key = arena_printf(in, "d %.*s", SLICE(name));

    if (get(d, DOMAINS, key, store_filter_text(in, "name", name), until, &doc, why) < 0)
        return -1;
    return domain_parse(share(doc, document), in, out, why);
}

int directory_get_domain(struct directory *d, struct slice name, struct arena *in,
                         struct deadline until, struct domain_doc *out, struct fault *why)
{
    return directory_name_domain(d, name, in, until, out, NULL, why);
}

int directory_find_domain(struct directory *d, struct slice id, struct arena *in,
                          struct deadline until, struct domain_doc *out, json_t **document,
                          struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    struct slice key = arena_printf(in, "i %.*s", SLICE(id));

    if (get(d, DOMAINS, key, store_filter_id(in, id), until, &doc, why) < 0)
        return -1;
    return domain_parse(share(doc, document), in, out, why);
}

int directory_find_user(struct directory *d, struct slice token_hash, struct arena *in,
                        struct deadline until, struct user_doc *out, json_t **document,
                        struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    struct slice key = arena_printf(in, "t %.*s", SLICE(token_hash));
    struct store_filter *f = store_filter_text(in, "api_token_hash", token_hash);

    if (get(d, USERS, key, f, until, &doc, why) < 0)
        return -1;
    return user_parse(share(doc, document), in, out, why);
}

int directory_get_alias(struct directory *d, struct slice domain_id, struct slice name,
                        struct arena *in, struct deadline until, struct alias_doc *out,
                        struct fault *why)
{
    AUTO(json_release) json_t *doc = NULL;
    struct slice key = arena_printf(in, "a %.*s %.*s", SLICE(domain_id), SLICE(name));
    struct store_filter *f = store_filter_text(in, "domain", domain_id);

    store_where_text(f, "name", STORE_EQ, name);
    if (get(d, ALIASES, key, f, until, &doc, why) < 0)
        return -1;
    return alias_parse(doc, in, out, why);
}
