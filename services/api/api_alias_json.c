/* api_alias_json.c - aliases as objects, with what stands elsewhere: addresses of their owners, sizes of their mailboxes.
 *
 * Owns      the sizes that were told within the last minute. Suspends for the store and the mailbox server.
 */
#include "api_alias.h"

#include "base/map.h"

#define SIZE_KEPT_MS    60000
#define SIZES_KEPT_MAX  20000
#define SIZE_WAIT_MS    1000
#define ANSWER_MAX      ((size_t)64 << 20)

/* ---- what mailboxes take ---------------------------------------------------------------------------------- */

struct size_kept { uint64_t bytes, until_ms; };
static struct map *sizes;              /* alias id -> struct size_kept */

static void sizes_forget(void)
{
    size_t cursor = 0;
    void *value;

    while (sizes != NULL && map_next(sizes, &cursor, NULL, &value) == 1)
        free(value);
    map_free(&sizes);
}

static const struct size_kept *size_find(struct slice id)
{
    const struct size_kept *k = sizes != NULL ? map_find(sizes, id) : NULL;

    return k != NULL && k->until_ms > clock_now_ms() ? k : NULL;
}

static void size_keep(struct slice id, uint64_t bytes)
{
    struct size_kept *k;

    if (sizes != NULL && map_count(sizes) >= SIZES_KEPT_MAX)
        sizes_forget();
    if (sizes == NULL)
        sizes = map_new();
    k = map_find(sizes, id);
    if (k == NULL) {
        k = calloc(1, sizeof(*k));
        if (k == NULL)
            abort();
        map_set(sizes, id, k);
    }
    *k = (struct size_kept){ bytes, clock_now_ms() + SIZE_KEPT_MS };
}

void alias_size_forget(const char *alias_id)
{
    if (sizes != NULL)
        free(map_remove(sizes, slice_of(alias_id)));
}

/* Who never had a password has no mailbox. */
static bool may_store(const struct alias_text *a)
{
    return alias_text_plain(a->sealing_public_key).n > 0;
}

static void load_sizes(struct api_call *c, const struct alias_text *list, size_t count)
{
    struct slice *unknown = ARENA_ARRAY(c->arena, struct slice, count + 1);
    uint64_t *bytes;
    struct fault why;
    size_t n = 0;

    for (size_t i = 0; i < count && n < API_LIST_MAX; i++)
        if (may_store(&list[i]) && size_find(alias_text_plain(list[i].id)) == NULL)
            unknown[n++] = alias_text_plain(list[i].id);
    if (n == 0)
        return;
    bytes = ARENA_ARRAY(c->arena, uint64_t, n);
    if (mailbox_get_sizes(c->api->mailboxes, unknown, n, deadline_in_ms(SIZE_WAIT_MS), bytes, &why) < 0)
        return;                        /* the size in the document will do */
    for (size_t i = 0; i < n; i++)
        size_keep(unknown[i], bytes[i]);
}

static int64_t size_of(const struct alias_text *a)
{
    const struct size_kept *k;
    uint64_t stored;

    if (!may_store(a))
        return 0;
    k = size_find(alias_text_plain(a->id));
    if (k != NULL)
        return (int64_t)k->bytes;
    return slice_to_u64(a->storage_used, INT64_MAX, &stored) ? (int64_t)stored : 0;
}

/* ---- their owners ------------------------------------------------------------------------------------------------ */

static struct slice json_text(struct arena *a, struct slice s)
{
    AUTO(buf_free) struct buf out = BUF_INIT(65536);
    AUTO(json_release) json_t *list = json_array();

    (void)json_array_append_new(list, json_slice(s));
    (void)json_format(list, &out);
    return arena_copy(a, slice_sub(buf_slice(&out), 1, out.n - 2));
}

static void keep_email(struct api_call *c, struct map *emails, struct slice id, struct slice email)
{
    struct slice *kept = ARENA_NEW(c->arena, struct slice);

    *kept = json_text(c->arena, email);
    map_set(emails, id, kept);
}

static int load_owners(struct api_call *c, const struct alias_text *list, size_t count, struct map *emails, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    struct store_filter *f = store_filter_new(c->arena);
    struct slice *ids = ARENA_ARRAY(c->arena, struct slice, count + 1), none = LIT("\"\"");
    size_t n = 0, i;
    json_t *doc;

    keep_email(c, emails, slice_of(c->user.id), c->user.email);
    for (i = 0; i < count; i++) {
        struct slice id = alias_text_plain(list[i].user);

        if (id.n == 0 || map_find(emails, id) != NULL)
            continue;
        ids[n++] = id;
        map_set(emails, id, memcpy(ARENA_NEW(c->arena, struct slice), &none, sizeof(none)));
    }
    if (n == 0)
        return 0;
    store_where_in(f, "_id", ids, n);
    if (store_find(c->api->store, USERS, f, NULL, c->until, &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc)
        keep_email(c, emails, json_get_slice(doc, "_id"), json_get_slice(doc, "email"));
    return 0;
}

/* ---- objects --------------------------------------------------------------------------------------------------------- */

static struct alias_context context_of(struct api_call *c)
{
    return (struct alias_context){
        .domain = arena_printf(c->arena, "{\"object\":\"domain\",\"id\":\"%s\",\"name\":%.*s}", c->domain.id, SLICE(json_text(c->arena, c->domain.name))),
        .group = c->is_domain_admin ? LIT("\"admin\"") : LIT("\"user\""),
    };
}

static int render(struct api_call *c, const struct alias_text *list, size_t count, bool as_array, struct slice *out, struct fault *why)
{
    AUTO(map_free) struct map *emails = map_new();
    AUTO(buf_free) struct buf text = BUF_INIT(ANSWER_MAX);
    struct alias_context x = context_of(c);

    if (load_owners(c, list, count, emails, why) < 0)
        return -1;
    load_sizes(c, list, count);
    if (as_array)
        (void)buf_append_char(&text, '[');
    for (size_t i = 0; i < count; i++) {
        const struct slice *email = map_find(emails, alias_text_plain(list[i].user));

        if (i > 0)
            (void)buf_append_char(&text, ',');
        alias_text_write(&text, &list[i], &x, email != NULL ? *email : SLICE_NONE, size_of(&list[i]));
    }
    if (as_array)
        (void)buf_append_char(&text, ']');
    if (text.overflowed)
        return fault_set(why, FAULT_LIMIT, "the list is too large");
    *out = arena_copy(c->arena, buf_slice(&text));
    return 0;
}

int alias_render_list(struct api_call *c, const struct slice *documents, size_t count, struct slice *out, struct fault *why)
{
    struct alias_text *list = ARENA_ARRAY(c->arena, struct alias_text, count + 1);

    for (size_t i = 0; i < count; i++)
        if (alias_text_read(documents[i], &list[i], why) < 0)
            return -1;
    return render(c, list, count, true, out, why);
}

int alias_render(struct api_call *c, const json_t *document, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(STORE_DOC_MAX_BYTES);
    struct alias_text a;

    if (json_format(document, &text) < 0)
        return fault_set(why, FAULT_CORRUPT, "a document of an alias is damaged");
    if (alias_text_read(buf_slice(&text), &a, why) < 0)
        return -1;
    return render(c, &a, 1, false, out, why);
}
