/* api_alias_json.c - how an alias looks: one object, or a page of them with one question to the mailbox server at most.
 *
 * Owns      the sizes of mailboxes as they were told within the last minute. Suspends for the store and the mailbox server.
 */
#include "api_alias.h"

#include "base/map.h"

#define SIZE_KEPT_MS   60000
#define SIZES_KEPT_MAX 20000
#define SIZE_WAIT_MS   1000

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

static bool may_store(const struct alias_doc *a)
{
    return a->sealing_public_key.n > 0;
}

void alias_sizes_load(struct api_call *c, const struct alias_doc *list, size_t count)
{
    struct slice *unknown = ARENA_ARRAY(c->arena, struct slice, count + 1);
    uint64_t *bytes = ARENA_ARRAY(c->arena, uint64_t, count + 1);
    struct fault why;
    size_t n = 0;

    for (size_t i = 0; i < count && n < API_LIST_MAX; i++)
        if (may_store(&list[i]) && size_find(slice_of(list[i].id)) == NULL)
            unknown[n++] = slice_of(list[i].id);
    if (n == 0 || mailbox_get_sizes(c->api->mailboxes, unknown, n, deadline_in_ms(SIZE_WAIT_MS), bytes, &why) < 0)
        return;                        /* the last known size will do */
    for (size_t i = 0; i < n; i++)
        size_keep(unknown[i], bytes[i]);
}

void alias_size_forget(const char *alias_id)
{
    if (sizes != NULL)
        free(map_remove(sizes, slice_of(alias_id)));
}

static int64_t size_of(const struct alias_doc *a)
{
    const struct size_kept *k;

    if (!may_store(a))
        return 0;
    k = size_find(slice_of(a->id));
    return k != NULL ? (int64_t)k->bytes : a->storage_used;
}

/* ---- the object ----------------------------------------------------------------------------------------------- */

static void set_null(json_t *o, const char *key)
{
    (void)json_object_set_new(o, key, json_null());
}

static void set_text(json_t *o, const char *key, struct slice s)
{
    (void)json_object_set_new(o, key, s.n == 0 ? json_string("") : json_slice(s));
}

static void set_list(json_t *o, const char *key, const struct slice *list, size_t count)
{
    json_t *out = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(out, json_slice(list[i]));
    (void)json_object_set_new(o, key, out);
}

static bool is_in(const struct slice *list, size_t count, struct slice s)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal(list[i], s))
            return true;
    return false;
}

static void set_pending(json_t *o, const struct alias_doc *a)
{
    json_t *out = json_array();

    for (size_t i = 0; a->has_recipient_verification && i < a->recipient_count; i++)
        if (!is_in(a->verified_recipients, a->verified_recipient_count, a->recipients[i]))
            (void)json_array_append_new(out, json_slice(a->recipients[i]));
    (void)json_object_set_new(o, "pending_recipients", out);
}

static void set_responder(json_t *o, const json_t *document)
{
    static const char *const dates[] = { "start_date", "end_date", "subject", "message" };
    const json_t *stored = json_object_get(document, "vacation_responder");
    json_t *out = json_pack("{s:b}", "is_enabled", json_get_bool(stored, "is_enabled", false));

    for (size_t i = 0; i < COUNT(dates); i++) {
        json_t *v = json_object_get(stored, dates[i]);

        (void)json_object_set_new(out, dates[i], v != NULL ? json_incref(v) : json_null());
    }
    (void)json_object_set_new(o, "vacation_responder", out);
}

static void set_mailbox(json_t *o, const struct alias_doc *a, const json_t *document)
{
    json_t *settings = json_object_get(document, "settings");

    (void)json_set_bool(o, "has_imap", a->has_imap);
    (void)json_set_bool(o, "has_pgp", a->has_pgp);
    if (a->public_key.n > 0)
        set_text(o, "public_key", a->public_key);
    else
        set_null(o, "public_key");
    (void)json_set_bool(o, "has_smime", false);
    set_null(o, "smime_certificate");
    if (a->max_quota > 0)
        (void)json_set_int(o, "max_quota", a->max_quota);
    else
        set_null(o, "max_quota");
    (void)json_set_int(o, "retention", a->retention);
    (void)json_set_int(o, "storage_used", size_of(a));
    set_text(o, "storage_location", a->storage_location.n > 0 ? a->storage_location : LIT("local"));
    set_null(o, "imap_backup_at");
    set_null(o, "last_vacuum_at");
    set_null(o, "emailed_instructions");
    (void)json_object_set_new(o, "storage_thresholds_sent_at", json_object());
    (void)json_object_set_new(o, "settings", json_is_object(settings) ? json_incref(settings) : json_object());
}

/* Always objects: typed clients fail on bare ids. */
static void set_owners(json_t *o, const struct alias_doc *a, struct slice email, const struct domain_doc *d)
{
    json_t *user = json_pack("{s:s,s:s}", "object", "user", "id", a->user), *domain = json_pack("{s:s,s:s}", "object", "domain", "id", d->id);

    set_text(user, "email", email);
    (void)json_object_set_new(o, "user", user);
    set_text(domain, "name", d->name);
    (void)json_object_set_new(o, "domain", domain);
}

json_t *alias_json(struct api_call *c, const struct alias_doc *a, const json_t *document, const struct domain_doc *d, struct slice email)
{
    const struct domain_member *me = domain_find_member(d, slice_of(c->user.id));
    json_t *o = json_pack("{s:s,s:s}", "object", "alias", "id", a->id);

    set_text(o, "name", a->name);
    set_text(o, "description", a->description);
    set_list(o, "labels", a->labels, a->label_count);
    (void)json_set_bool(o, "is_enabled", a->is_enabled);
    (void)json_set_int(o, "error_code_if_disabled", a->error_code_if_disabled);
    (void)json_set_bool(o, "has_recipient_verification", a->has_recipient_verification);
    set_list(o, "verified_recipients", a->verified_recipients, a->verified_recipient_count);
    set_pending(o, a);
    set_list(o, "recipients", a->recipients, a->recipient_count);
    set_mailbox(o, a, document);
    set_responder(o, document);
    set_owners(o, a, email, d);
    (void)json_object_set_new(o, "group", json_string(me != NULL && me->is_admin ? "admin" : "user"));
    (void)json_object_set_new(o, "locale", json_string("en"));
    api_set_date(o, "created_at", a->created_at);
    api_set_date(o, "updated_at", a->updated_at);
    return o;
}

/* ---- their owners ------------------------------------------------------------------------------------------------ */

struct slice alias_owner_email(struct api_call *c, const struct alias_doc *a)
{
    struct user_doc owner;
    struct fault why;

    if (strcmp(a->user, c->user.id) == 0)
        return c->user.email;
    if (a->user[0] == '\0' || user_find(c->api->store, slice_of(a->user), c->arena, c->until, &owner, &why) < 0)
        return SLICE_NONE;
    return owner.email;
}

int alias_owners_load(struct api_call *c, const struct alias_doc *list, size_t count, struct map **emails, struct fault *why)
{
    AUTO(map_free) struct map *seen = map_new();
    AUTO(json_release) json_t *found = NULL;
    struct store_filter *f = store_filter_new(c->arena);
    struct slice *ids = ARENA_ARRAY(c->arena, struct slice, count + 1);
    size_t n = 0, i;
    json_t *doc;

    *emails = map_new();
    for (i = 0; i < count; i++) {
        struct slice id = slice_of(list[i].user);

        if (id.n == 0 || slice_equal(id, slice_of(c->user.id)) || map_find(seen, id) != NULL)
            continue;
        map_set(seen, id, seen);
        ids[n++] = id;
    }
    if (n == 0)
        return 0;
    store_where_in(f, "_id", ids, n);
    if (store_find(c->api->store, USERS, f, NULL, c->until, &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc) {
        struct slice *email = ARENA_NEW(c->arena, struct slice);

        *email = arena_copy(c->arena, json_get_slice(doc, "email"));
        map_set(*emails, json_get_slice(doc, "_id"), email);
    }
    return 0;
}

json_t *api_alias_json(struct api_call *c, const struct alias_doc *a, const json_t *document, const struct domain_doc *d)
{
    alias_sizes_load(c, a, 1);
    return alias_json(c, a, document, d, alias_owner_email(c, a));
}
