/* api_account.c - the account itself: by token the person, by mailbox credentials the mailbox with its settings.
 *
 * Owns      nothing. Suspends for the store. Never shown: hashes, tokens, bans.
 */
#include "api.h"

#include "mail/address.h"

#define NAME_MAX_BYTES 200
#define URL_MAX        2000
#define SETTINGS_MAX   ((size_t)256 << 10)
#define FOLDER_MAX     1000

/* ---- a person ------------------------------------------------------------------------------------------------ */

static void set_text(json_t *o, const char *key, struct slice s)
{
    (void)json_set_slice(o, key, s.p != NULL ? s : LIT(""));
}

static void set_text_or_null(json_t *o, const char *key, struct slice s)
{
    if (s.n == 0)
        (void)json_object_set_new(o, key, json_null());
    else
        (void)json_set_slice(o, key, s);
}

json_t *api_user_json(struct api_call *c, const struct user_doc *u)
{
    static const char *const empty[] = { "company_name", "address_line1", "address_line2", "address_city", "address_state", "address_zip", "company_vat" };
    struct slice name = u->display_name.n > 0 ? u->display_name : u->email, locale = u->locale.n > 0 ? u->locale : LIT("en");
    json_t *o = json_pack("{s:s,s:s}", "object", "user", "id", u->id);

    set_text(o, "email", u->email);
    set_text(o, "full_email", u->display_name.n > 0 ? arena_printf(c->arena, "%.*s <%.*s>", SLICE(u->display_name), SLICE(u->email)) : u->email);
    (void)json_object_set_new(o, "plan", json_string("team"));
    set_text(o, "group", u->group);
    set_text(o, "display_name", name);
    set_text(o, "given_name", u->given_name);
    set_text(o, "family_name", u->family_name);
    set_text(o, "avatar_url", u->avatar_url);
    set_text_or_null(o, "default_forwarding_address", u->default_forwarding_address);
    (void)json_object_set_new(o, "receipt_email", json_null());
    (void)json_set_bool(o, "otp_enabled", false);
    (void)json_set_bool(o, "has_newsletter", false);
    set_text(o, "last_locale", locale);
    set_text(o, "locale", locale);
    set_text(o, "timezone", u->timezone.n > 0 ? u->timezone : LIT("UTC"));
    for (size_t i = 0; i < COUNT(empty); i++)
        set_text(o, empty[i], SLICE_NONE);
    (void)json_object_set_new(o, "address_country", json_string("None"));
    (void)json_set_int(o, "max_quota_per_alias", u->max_quota_per_alias > 0 ? u->max_quota_per_alias : (int64_t)c->api->config->quota_bytes);
    api_set_date(o, "created_at", u->created_at);
    api_set_date(o, "updated_at", u->updated_at);
    return o;
}

/* ---- a mailbox -------------------------------------------------------------------------------------------------- */

static int64_t quota_of(const struct api_call *c)
{
    if (!c->alias.has_imap)
        return 0;
    return c->alias.max_quota > 0 ? c->alias.max_quota : c->domain.max_quota_per_alias > 0 ? c->domain.max_quota_per_alias : (int64_t)c->api->config->quota_bytes;
}

/* Every path that clients look at is there, null when unset. */
static json_t *settings_of(const struct api_call *c)
{
    static const char *const folders[] = { "archive_folder", "sent_folder", "drafts_folder", "trash_folder", "junk_folder" };
    const json_t *stored = json_object_get(c->alias_document, "settings"), *mail = json_object_get(stored, "mail");
    json_t *labels = json_object_get(stored, "label_settings"), *defaults = json_object_get(json_object_get(stored, "aliases"), "defaults");
    json_t *out = json_pack("{s:{},s:o,s:{s:o}}", "mail", "label_settings", labels != NULL ? json_incref(labels) : json_object(), "aliases", "defaults",
                            defaults != NULL ? json_incref(defaults) : json_object());

    for (size_t i = 0; i < COUNT(folders); i++) {
        json_t *path = json_object_get(mail, folders[i]);

        (void)json_object_set_new(json_object_get(out, "mail"), folders[i], path != NULL ? json_incref(path) : json_null());
    }
    return out;
}

static json_t *mailbox_json(struct api_call *c)
{
    json_t *o = json_pack("{s:s,s:s}", "object", "alias", "id", c->alias.id);

    set_text(o, "name", c->alias.name);
    set_text(o, "email", arena_printf(c->arena, "%.*s@%.*s", SLICE(c->alias.name), SLICE(c->domain.name)));
    set_text(o, "domain_id", slice_of(c->domain.id));
    set_text(o, "domain_name", c->domain.name);
    (void)json_set_int(o, "storage_used", c->alias.has_imap ? c->alias.storage_used : 0);
    (void)json_set_int(o, "storage_quota", quota_of(c));
    (void)json_set_bool(o, "has_imap", c->alias.has_imap);
    (void)json_set_bool(o, "has_pgp", c->alias.has_pgp);
    set_text_or_null(o, "public_key", c->alias.public_key);
    (void)json_set_bool(o, "has_smime", false);
    (void)json_object_set_new(o, "smime_certificate", json_null());
    (void)json_set_bool(o, "has_wkd_disabled", false);
    set_text(o, "locale", LIT("en"));
    (void)json_object_set_new(o, "settings", settings_of(c));
    api_set_date(o, "created_at", c->alias.created_at);
    api_set_date(o, "updated_at", c->alias.updated_at);
    return o;
}

static int get_account(struct api_call *c, UNUSED struct fault *why)
{
    return api_reply_json(c, c->auth == API_ALIAS ? mailbox_json(c) : api_user_json(c, &c->user));
}

/* ---- changing a person ---------------------------------------------------------------------------------------------- */

static bool is_web_url(struct slice s)
{
    return (slice_has_prefix_nocase(s, LIT("https://")) || slice_has_prefix_nocase(s, LIT("http://"))) && s.n < URL_MAX && s.n > 10 &&
           slice_is_utf8(s) && slice_find_char(s, ' ') < 0;
}

bool api_email_read(struct api_call *c, struct slice given, struct slice *out)
{
    struct address a;

    if (given.n == 0 || given.n > 254 || !address_parse(c->arena, given, &a) || a.is_literal)
        return false;
    *out = arena_printf(c->arena, "%.*s@%.*s", SLICE(arena_lower(c->arena, a.local)), SLICE(a.domain));
    return true;
}

/* Only strings count, as in the original; returns false when absent or something else. */
static bool string_of(const struct api_call *c, const char *key, struct slice *out)
{
    const json_t *v = json_object_get(c->body, key);

    *out = v != NULL && json_is_string(v) ? slice_trim(slice_make(json_string_value(v), json_string_length(v))) : SLICE_NONE;
    return out->p != NULL;
}

/* At most NAME_MAX_BYTES, whole characters. */
static struct slice short_name(struct slice s)
{
    struct slice cut = slice_head(s, NAME_MAX_BYTES);

    while (cut.n > 0 && cut.n < s.n && ((unsigned char)s.p[cut.n] & 0xC0) == 0x80)
        cut.n--;
    return cut;
}

/* 0: fine, 1: refused. */
static int read_changes(struct api_call *c, struct store_update *u)
{
    struct slice s;

    if (string_of(c, "email", &s)) {
        if (!api_email_read(c, s, &s))
            return api_refuse(c, 400, "INVALID_EMAIL") + 1;
        store_set_text(u, "email", s);
    }
    if (string_of(c, "given_name", &s))
        store_set_text(u, "given_name", short_name(s));
    if (string_of(c, "family_name", &s))
        store_set_text(u, "family_name", short_name(s));
    if (string_of(c, "avatar_url", &s)) {
        if (s.n > 0 && !is_web_url(s))
            return api_refuse(c, 400, "INVALID_URL") + 1;
        store_set_text(u, "avatar_url", s);
    }
    if (string_of(c, "default_forwarding_address", &s)) {
        if (s.n > 0 && !api_email_read(c, s, &s))
            return api_refuse(c, 400, "INVALID_EMAIL") + 1;
        store_set_text(u, "default_forwarding_address", s);
    }
    return 0;
}

static int put_person(struct api_call *c, struct fault *why)
{
    struct store_update *u = store_update_new(c->arena);

    if (read_changes(c, u) != 0)
        return 0;
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(c->api->store, USERS, store_filter_id(c->arena, slice_of(c->user.id)), u, STORE_ONE, c->until, NULL, why) < 0)
        return why->code == FAULT_EXISTS ? api_refuse(c, 400, "EMAIL_ALREADY_TAKEN") : -1;
    directory_forget(c->api->directory);
    if (user_find(c->api->store, slice_of(c->user.id), c->arena, c->until, &c->user, why) < 0)
        return -1;
    return api_reply_json(c, api_user_json(c, &c->user));
}

/* ---- changing a mailbox's settings --------------------------------------------------------------------------------------- */

static bool is_keyword(const char *key)
{
    if (!ascii_is_alnum(key[0]) && key[0] != '\\' && key[0] != '$')
        return false;
    for (const char *p = key + 1; *p != '\0'; p++)
        if (!ascii_is_alnum(*p) && strchr("_.-", *p) == NULL)
            return false;
    return strlen(key) <= 100;
}

static bool is_colour(const json_t *v)
{
    struct slice s = slice_make(json_string_value(v), json_string_length(v));

    if (v == NULL || json_is_null(v))
        return true;
    if (!json_is_string(v) || (s.n != 7 && s.n != 9) || s.p[0] != '#')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!ascii_is_digit(s.p[i]) && strchr("abcdef", ascii_lower(s.p[i])) == NULL)
            return false;
    return true;
}

static bool labels_are_right(const json_t *labels)
{
    const char *key;
    json_t *value;

    if (!json_is_object(labels))
        return false;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
        if (!is_keyword(key) || !json_is_object(value) || !is_colour(json_object_get(value, "color")))
            return false;
    return true;
}

static const char *merge_mail(const json_t *mail, struct store_update *u, struct arena *a)
{
    static const char *const folders[] = { "archive_folder", "sent_folder", "drafts_folder", "trash_folder", "junk_folder" };

    for (size_t i = 0; i < COUNT(folders); i++) {
        const json_t *v = json_object_get(mail, folders[i]);
        struct slice s = slice_make(json_string_value(v), json_string_length(v));

        if (v == NULL)
            continue;
        if (!json_is_null(v) && (!json_is_string(v) || slice_trim(s).n == 0 || s.n > FOLDER_MAX))
            return "SETTINGS_FOLDER_INVALID";
        store_set_json(u, arena_cstr(a, arena_printf(a, "settings.mail.%s", folders[i])), v);
    }
    return NULL;
}

static const char *merge_settings(struct api_call *c, const json_t *s, struct store_update *u)
{
    const json_t *labels = json_object_get(s, "label_settings"), *aliases = json_object_get(s, "aliases");
    const json_t *defaults = json_object_get(aliases, "defaults");
    AUTO(buf_free) struct buf text = BUF_INIT(SETTINGS_MAX);

    if (!json_is_object(s) || json_format(s, &text) < 0)
        return "SETTINGS_INVALID";
    if (labels != NULL && !labels_are_right(labels))
        return "SETTINGS_LABEL_KEYWORD_INVALID";
    if (defaults != NULL && !json_is_object(defaults))
        return "SETTINGS_ALIASES_DEFAULTS_MUST_BE_OBJECT";
    if (labels != NULL)
        store_set_json(u, "settings.label_settings", labels);
    if (defaults != NULL)
        store_set_json(u, "settings.aliases.defaults", defaults);
    return merge_mail(json_object_get(s, "mail"), u, c->arena);
}

static int put_mailbox(struct api_call *c, struct fault *why)
{
    struct store_update *u = store_update_new(c->arena);
    const json_t *settings = json_object_get(c->body, "settings");
    const char *wrong = settings != NULL ? merge_settings(c, settings, u) : NULL;
    struct store_filter *f = store_filter_id(c->arena, slice_of(c->alias.id));

    if (wrong != NULL)
        return api_refuse(c, 400, wrong);
    store_set_date(u, "updated_at", clock_wall_ms());
    json_release(&c->alias_document);
    if (store_find_and_modify(c->api->store, ALIASES, f, NULL, u, STORE_ONE, c->until, &c->alias_document, why) < 0 ||
        alias_parse(c->alias_document, c->arena, &c->alias, why) < 0)
        return -1;
    return api_reply_json(c, mailbox_json(c));
}

static int put_account(struct api_call *c, struct fault *why)
{
    if (c->auth == API_ALIAS)
        return put_mailbox(c, why);
    if (json_object_get(c->body, "settings") != NULL)
        return api_refuse(c, 401, "SETTINGS_ALIAS_AUTH_REQUIRED");
    return put_person(c, why);
}

static int delete_token(struct api_call *c, struct fault *why)
{
    struct store_update *u = store_update_new(c->arena);

    store_unset(u, "api_token_hash");
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(c->api->store, USERS, store_filter_id(c->arena, slice_of(c->user.id)), u, STORE_ONE, c->until, NULL, why) < 0)
        return -1;
    directory_forget(c->api->directory);
    return api_reply_json(c, json_pack("{s:b}", "api_token_disabled", true));
}

/* ---- routes ------------------------------------------------------------------------------------------------------------ */

static const struct api_param put_params[] = {
    { "email", API_STRING, false, false, "new address of the account (token)" },
    { "given_name", API_STRING, false, false, "(token)" },
    { "family_name", API_STRING, false, false, "(token)" },
    { "avatar_url", API_STRING, false, false, "(token)" },
    { "default_forwarding_address", API_STRING, false, false, "empty: none (token)" },
    { "settings", API_ANY, false, false, "merged path by path (mailbox)" },
    { .name = NULL },
};

const struct api_route account_routes[] = {
    { .method = "GET", .path = "/v1/account", .auth = API_TOKEN | API_ALIAS, .handle = get_account, .answer = "Account", .operation = "getAccount",
      .summary = "The account (token), or the mailbox with its settings (address and password)." },
    { .method = "PUT", .path = "/v1/account", .auth = API_TOKEN | API_ALIAS, .handle = put_account, .params = put_params, .answer = "Account",
      .operation = "updateAccount", .summary = "Changes what is sent: of the account, or the settings of a mailbox." },
    { .method = "DELETE", .path = "/v1/account/api-token", .auth = API_TOKEN, .per_day = 10, .handle = delete_token, .answer = "TokenDisabled",
      .operation = "disableToken", .summary = "Disables the API token that makes this call." },
    { .path = NULL },
};

const char account_schemas[] =
    "{\"User\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"email\",\"plan\",\"created_at\",\"updated_at\"],\"properties\":{"
    "\"object\":{\"type\":\"string\",\"enum\":[\"user\"]},\"id\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{24}$\"},\"email\":{\"type\":\"string\"},"
    "\"plan\":{\"type\":\"string\"},\"group\":{\"type\":\"string\"},\"display_name\":{\"type\":\"string\"},\"max_quota_per_alias\":{\"type\":\"integer\"},"
    "\"created_at\":{\"type\":\"string\"},\"updated_at\":{\"type\":\"string\"}}},"
    "\"Mailbox\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"name\",\"email\",\"domain_id\",\"storage_used\",\"storage_quota\",\"settings\"],"
    "\"properties\":{\"object\":{\"type\":\"string\",\"enum\":[\"alias\"]},\"id\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{24}$\"},"
    "\"email\":{\"type\":\"string\"},\"storage_used\":{\"type\":\"integer\"},\"storage_quota\":{\"type\":\"integer\"},\"has_imap\":{\"type\":\"boolean\"},"
    "\"settings\":{\"type\":\"object\",\"required\":[\"mail\",\"label_settings\",\"aliases\"]}}},"
    "\"Account\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/User\"},{\"$ref\":\"#/components/schemas/Mailbox\"}]},"
    "\"TokenDisabled\":{\"type\":\"object\",\"required\":[\"api_token_disabled\"],\"properties\":{\"api_token_disabled\":{\"type\":\"boolean\"}}}}";
