/* api_alias_write.c - creating and changing aliases.
 *
 * Owns      nothing. A name is unique in its domain by the store's index, whoever comes at once. Suspends for the store.
 */
#include "api_alias.h"

static int refuse_body(struct api_call *c, const char *key, struct slice detail)
{
    if (detail.n == 0)
        return api_refuse(c, 400, key);
    return api_refuse_text(c, 400, key, arena_printf(c->arena, "%s (%.*s)", api_phrase(key), SLICE(slice_head(detail, 200))));
}

int alias_create(struct api_call *c, struct fault *why)
{
    struct alias_doc a = { .is_enabled = true, .error_code_if_disabled = 250 };
    AUTO(json_release) json_t *document = NULL;
    struct slice detail = SLICE_NONE, text;
    const char *refused = alias_read_body(c, ALIAS_CREATE, &a, &detail);

    if (refused != NULL)
        return refuse_body(c, refused, detail);
    memcpy(a.domain, c->domain.id, sizeof(a.domain));
    memcpy(a.user, c->user.id, sizeof(a.user));
    if (alias_insert(c->api->store, &a, c->until, why) < 0)
        return why->code == FAULT_EXISTS ? api_refuse(c, 400, "ALIAS_ALREADY_EXISTS") : -1;
    document = alias_format(&a);
    return alias_render(c, document, &text, why) < 0 ? -1 : api_reply_json_text(c, text);
}

/* ---- changing ---------------------------------------------------------------------------------------------- */

static json_t *texts(const struct slice *list, size_t count)
{
    json_t *out = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(out, json_slice(list[i]));
    return out;
}

static void set_list(struct store_update *u, const char *field, const struct slice *list, size_t count)
{
    AUTO(json_release) json_t *value = texts(list, count);

    store_set_json(u, field, value);
}

static void set_responder(struct store_update *u, struct slice text)
{
    AUTO(json_release) json_t *value = NULL;
    struct fault ignored;

    if (text.n > 0 && json_parse(text, 65536, &value, &ignored) == 0)
        store_set_json(u, "vacation_responder", value);
}

static struct store_update *update_of(struct api_call *c, const struct alias_doc *a)
{
    struct store_update *u = store_update_new(c->arena);

    store_set_text(u, "name", a->name);
    set_list(u, "recipients", a->recipients, a->recipient_count);
    store_set_text(u, "description", a->description.n > 0 ? a->description : LIT(""));
    set_list(u, "labels", a->labels, a->label_count);
    store_set_bool(u, "is_enabled", a->is_enabled);
    store_set_int(u, "error_code_if_disabled", a->error_code_if_disabled);
    store_set_bool(u, "has_imap", a->has_imap);
    store_set_int(u, "max_quota", a->max_quota);
    set_responder(u, a->vacation_responder);
    store_set_date(u, "updated_at", clock_wall_ms());
    return u;
}

static int save(struct api_call *c, const struct alias_doc *a, json_t **document, struct fault *why)
{
    struct store_filter *f = store_filter_id(c->arena, slice_of(a->id));

    store_where_text(f, "domain", STORE_EQ, slice_of(c->domain.id));
    if (alias_mark_domain(c->api->store, a, c->until, why) < 0 ||
        store_find_and_modify(c->api->store, ALIASES, f, NULL, update_of(c, a), STORE_ONE, c->until, document, why) < 0)
        return -1;
    if (slice_equal(a->name, c->alias.name))
        return 0;
    if (alias_mark_domain(c->api->store, a, c->until, why) < 0)
        return -1;
    return account_domain_unmark(c->api->store, &c->alias, c->until, why);
}

int alias_update(struct api_call *c, struct fault *why)
{
    struct alias_doc a = c->alias;
    AUTO(json_release) json_t *document = NULL;
    struct slice detail = SLICE_NONE, text;
    const char *refused = alias_read_body(c, ALIAS_UPDATE, &a, &detail);

    if (refused != NULL)
        return refuse_body(c, refused, detail);
    if (a.recipient_count == 0 && !a.has_imap)
        return api_refuse(c, 400, "ALIAS_MUST_HAVE_ONE_RECIPIENT");
    if (save(c, &a, &document, why) < 0) {
        if (why->code == FAULT_EXISTS)
            return api_refuse(c, 400, "ALIAS_ALREADY_EXISTS");
        return why->code == FAULT_NOT_FOUND ? api_refuse(c, 404, "ALIAS_DOES_NOT_EXIST") : -1;
    }
    api_alias_changed(c, a.id);
    return alias_render(c, document, &text, why) < 0 ? -1 : api_reply_json_text(c, text);
}
