/* api_domain_usage.c - how many aliases domains have, and what their mailboxes take on disk.
 *
 * Owns      nothing beyond the call. Fails with the store's faults; while the mailbox server is away, sizes are those it last told the
 *           documents. Suspends for both. A count for each domain, one search and one question in a thousand mailboxes for all of them.
 */
#include "api_domains.h"

#include "base/map.h"

#define AT_ONCE       1000             /* as many as one question of sizes takes */
#define SIZES_WAIT_MS 2000

struct batch {
    struct slice ids[AT_ONCE], domains[AT_ONCE];
    uint64_t told[AT_ONCE], bytes[AT_ONCE];        /* by the documents, by the mailbox server */
    size_t n;
};

static void add_sizes(struct api_call *c, struct batch *b, const struct map *by_domain)
{
    const uint64_t *bytes = b->bytes;
    struct fault ignored;

    if (b->n > 0 && mailbox_get_sizes(c->api->mailboxes, b->ids, b->n, deadline_earlier(c->until, deadline_in_ms(SIZES_WAIT_MS)), b->bytes, &ignored) < 0)
        bytes = b->told;
    for (size_t i = 0; i < b->n; i++) {
        struct domain_usage *u = map_find(by_domain, b->domains[i]);

        if (u != NULL)
            u->bytes += bytes[i];
    }
}

/* Without this key there never was a password, and so no mailbox. */
static int find_mailboxes(struct api_call *c, const struct slice *ids, size_t count, uint64_t skip, json_t **out, struct fault *why)
{
    struct store_filter *f = store_filter_new(c->arena);
    struct store_page page = { .skip = skip, .limit = AT_ONCE };

    store_where_in(f, "domain", ids, count);
    store_where_exists(f, "sealing_public_key", true);
    return store_find(c->api->store, ALIASES, f, &page, c->until, out, why);
}

static int sum_mailboxes(struct api_call *c, const struct slice *ids, size_t count, const struct map *by_domain, struct fault *why)
{
    struct batch *b = ARENA_NEW(c->arena, struct batch);
    uint64_t skip = 0;

    do {
        AUTO(json_release) json_t *found = NULL;
        json_t *alias;
        size_t i;

        if (find_mailboxes(c, ids, count, skip, &found, why) < 0)
            return -1;
        b->n = 0;
        json_array_foreach(found, i, alias) {
            b->ids[b->n] = json_get_slice(alias, "_id");
            b->domains[b->n] = json_get_slice(alias, "domain");
            b->told[b->n++] = (uint64_t)json_get_int(alias, "storage_used", 0);
        }
        add_sizes(c, b, by_domain);
        skip += b->n;
    } while (b->n == AT_ONCE);
    return 0;
}

static int count_aliases(struct api_call *c, const struct slice *ids, size_t count, struct domain_usage *out, struct fault *why)
{
    for (size_t i = 0; i < count; i++)
        if (store_count(c->api->store, ALIASES, store_filter_text(c->arena, "domain", ids[i]), c->until, &out[i].aliases, why) < 0)
            return -1;
    return 0;
}

int api_domains_usage(struct api_call *c, const struct slice *ids, size_t count, struct domain_usage *out, struct fault *why)
{
    AUTO(map_free) struct map *by_domain = map_new();

    memset(out, 0, count * sizeof(*out));
    for (size_t i = 0; i < count; i++)
        (void)map_set(by_domain, ids[i], &out[i]);
    if (count == 0)
        return 0;
    return count_aliases(c, ids, count, out, why) < 0 || sum_mailboxes(c, ids, count, by_domain, why) < 0 ? -1 : 0;
}
