/* api_aliases.c - /v1/domains/:domain_id/aliases: list, one, deletion; the table of all alias routes.
 *
 * Owns      nothing. A list is one query, a count only when the page does not tell it, one query for owners that are not the caller.
 */
#include "api_alias.h"

struct account_passwords *alias_passwords(struct api_call *c)
{
    static struct account_passwords one;       /* with the lock that keeps Argon2id at one at a time in this process */

    if (one.store == NULL)
        account_passwords_init(&one, c->api->store, c->api->mailboxes);
    return &one;
}

/* ---- list --------------------------------------------------------------------------------------------- */

/* Domains with a great many aliases answer only what an index finds. */
static void where_like(const struct api_call *c, struct store_filter *f, const char *field, struct slice text)
{
    if (c->domain.is_catchall_regex_disabled)
        store_where_text(f, field, STORE_EQ, text);
    else
        store_where_contains(f, field, text);
}

static struct store_filter *list_filter(struct api_call *c)
{
    static const char *const searched[] = { "name", "description", "labels", "recipients" };
    struct store_filter *f = store_filter_text(c->arena, "domain", slice_of(c->domain.id));
    struct slice q = api_text(c, "q"), name = api_text(c, "name"), recipient = api_text(c, "recipient");

    if (!c->is_domain_admin)
        store_where_text(f, "user", STORE_EQ, slice_of(c->user.id));
    for (size_t i = 0; q.n > 0 && i < COUNT(searched); i++)
        where_like(c, store_filter_or(f), searched[i], q);
    if (name.n > 0)
        where_like(c, f, "name", name);
    if (recipient.n > 0)
        where_like(c, f, "recipients", recipient);
    return f;
}

/* A page that is not full says how many there are. */
static int total_of(struct api_call *c, const struct api_page *page, const struct store_filter *f, size_t got, uint64_t *out, struct fault *why)
{
    *out = page->store.skip + got;
    if (got < page->limit && (got > 0 || page->page == 1))
        return 0;
    return store_count(c->api->store, ALIASES, f, c->until, out, why);
}

static int list_aliases(struct api_call *c, struct fault *why)
{
    struct store_filter *f = list_filter(c);
    struct slice *documents, text;
    struct api_page page;
    uint64_t total;
    size_t n;

    api_page_read(c, 1000, 1000, API_EXPOSE("created_at", "updated_at", "name", "is_enabled", "has_imap"), "created_at", &page);
    if (store_find_texts(c->api->store, ALIASES, f, &page.store, c->arena, c->until, &documents, &n, why) < 0 ||
        total_of(c, &page, f, n, &total, why) < 0 || alias_render_list(c, documents, n, &text, why) < 0)
        return -1;
    return api_reply_page_text(c, &page, total, n, text);
}

/* ---- one ------------------------------------------------------------------------------------------------ */

static int get_alias(struct api_call *c, struct fault *why)
{
    struct slice text;

    return alias_render(c, c->alias_document, &text, why) < 0 ? -1 : api_reply_json_text(c, text);
}

static int delete_alias(struct api_call *c, struct fault *why)
{
    struct slice was;

    if (alias_render(c, c->alias_document, &was, why) < 0 || account_alias_remove(alias_passwords(c), slice_of(c->alias.id), c->until, why) < 0)
        return -1;
    api_alias_changed(c, c->alias.id);
    alias_size_forget(c->alias.id);
    return api_reply_json_text(c, was);
}

/* ---- routes ----------------------------------------------------------------------------------------------- */

static const struct api_param list_params[] = {
    { "q", API_STRING, true, false, "part of a name, description, label or recipient" },
    { "name", API_STRING, true, false, "part of the name" },
    { "recipient", API_STRING, true, false, "part of a recipient" },
    { .name = NULL },
};

static const struct api_param body_params[] = {
    { "name", API_STRING, false, false, "local part; * is the catch-all, /.../ a regular expression; omitted on creation: a random one" },
    { "recipients", API_STRINGS, false, false, "e-mail addresses, host names, IP addresses, http(s) URLs; omitted on creation: the caller's address" },
    { "description", API_STRING, false, false, "at most 150 characters; omitted: none, also on update" },
    { "labels", API_STRINGS, false, false, "omitted: none, also on update" },
    { "is_enabled", API_BOOLEAN, false, false, "" },
    { "error_code_if_disabled", API_INTEGER, false, false, "250 swallows mail while disabled, 421 puts off, 550 refuses" },
    { "has_imap", API_BOOLEAN, false, false, "stores mail in a mailbox" },
    { "max_quota", API_STRING, false, false, "\"1 GB\" or bytes, at most the domain's; empty: the domain's (administrators)" },
    { "vacation_responder_start_date", API_DATE, false, false, "kept, not acted upon yet" },
    { "vacation_responder_end_date", API_DATE, false, false, "kept, not acted upon yet" },
    { "vacation_responder_subject", API_STRING, false, false, "at most 100 characters; kept, not acted upon yet" },
    { "vacation_responder_message", API_STRING, false, false, "at most 1000 characters; kept, not acted upon yet" },
    { .name = NULL },
};

static const struct api_param password_params[] = {
    { "new_password", API_STRING, false, false, "omitted: 24 random characters" },
    { "password", API_STRING, false, false, "the current one: the mailbox is kept" },
    { "is_override", API_BOOLEAN, false, false, "sets a password without knowing the current one and destroys the mailbox" },
    { .name = NULL },
};

#define ALIASES_PATH "/v1/domains/:domain_id/aliases"

const struct api_route alias_routes[] = {
    { .method = "GET", .path = ALIASES_PATH, .auth = API_TOKEN, .flags = API_DOMAIN | API_PAGED, .handle = list_aliases, .params = list_params,
      .answer = "[Alias]", .operation = "listAliases", .summary = "The aliases of a domain; members who are not administrators see their own." },
    { .method = "POST", .path = ALIASES_PATH, .auth = API_TOKEN, .flags = API_DOMAIN, .per_day = 300, .handle = alias_create, .params = body_params,
      .answer = "Alias", .operation = "createAlias", .summary = "Creates an alias.", .statuses = "400" },
    { .method = "GET", .path = ALIASES_PATH "/:alias_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ALIAS, .handle = get_alias,
      .answer = "Alias", .operation = "getAlias", .summary = "One alias, by id or name." },
    { .method = "PUT", .path = ALIASES_PATH "/:alias_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ALIAS, .handle = alias_update,
      .params = body_params, .answer = "Alias", .operation = "updateAlias", .summary = "Changes what is sent; description and labels that are not sent are cleared.",
      .statuses = "400" },
    { .method = "DELETE", .path = ALIASES_PATH "/:alias_id", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ALIAS, .handle = delete_alias,
      .answer = "Alias", .operation = "deleteAlias", .summary = "Deletes an alias with its mailbox." },
    { .method = "POST", .path = ALIASES_PATH "/:alias_id/generate-password", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ALIAS, .per_day = 300,
      .handle = alias_generate_password, .params = password_params, .answer = "GeneratedPassword", .operation = "generateAliasPassword",
      .summary = "The one password of an alias: the first makes its mailbox, a later one replaces it.", .statuses = "400 403 409" },
    { .path = NULL },
};

#define TEXT    "{\"type\":\"string\"}"
#define FLAG    "{\"type\":\"boolean\"}"
#define NUMBER  "{\"type\":\"integer\"}"
#define TEXTS   "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
#define MAYBE   "{\"type\":[\"string\",\"null\"]}"
#define ID      "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{24}$\"}"

const char alias_schemas[] =
    "{\"Alias\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"name\",\"description\",\"labels\",\"is_enabled\",\"error_code_if_disabled\","
    "\"has_recipient_verification\",\"verified_recipients\",\"pending_recipients\",\"recipients\",\"has_imap\",\"has_pgp\",\"public_key\",\"max_quota\","
    "\"retention\",\"storage_used\",\"settings\",\"vacation_responder\",\"user\",\"domain\",\"group\",\"created_at\",\"updated_at\"],\"properties\":{"
    "\"object\":{\"type\":\"string\",\"enum\":[\"alias\"]},\"id\":" ID ",\"name\":" TEXT ",\"description\":" TEXT ",\"labels\":" TEXTS ","
    "\"is_enabled\":" FLAG ",\"error_code_if_disabled\":{\"type\":\"integer\",\"enum\":[250,421,550]},\"has_recipient_verification\":" FLAG ","
    "\"verified_recipients\":" TEXTS ",\"pending_recipients\":" TEXTS ",\"recipients\":" TEXTS ",\"has_imap\":" FLAG ",\"has_pgp\":" FLAG ","
    "\"public_key\":" MAYBE ",\"has_smime\":" FLAG ",\"smime_certificate\":" MAYBE ",\"max_quota\":{\"type\":[\"integer\",\"null\"]},"
    "\"retention\":" NUMBER ",\"storage_used\":" NUMBER ",\"storage_location\":" TEXT ",\"imap_backup_at\":" MAYBE ",\"last_vacuum_at\":" MAYBE ","
    "\"emailed_instructions\":" MAYBE ",\"storage_thresholds_sent_at\":{\"type\":\"object\"},\"settings\":{\"type\":\"object\"},"
    "\"vacation_responder\":{\"type\":\"object\",\"required\":[\"is_enabled\",\"start_date\",\"end_date\",\"subject\",\"message\"],\"properties\":{"
    "\"is_enabled\":" FLAG ",\"start_date\":" MAYBE ",\"end_date\":" MAYBE ",\"subject\":" MAYBE ",\"message\":" MAYBE "}},"
    "\"user\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"email\"],\"properties\":{\"id\":" TEXT ",\"email\":" TEXT "}},"
    "\"domain\":{\"type\":\"object\",\"required\":[\"object\",\"id\",\"name\"],\"properties\":{\"id\":" ID ",\"name\":" TEXT "}},"
    "\"group\":{\"type\":\"string\",\"enum\":[\"admin\",\"user\"]},\"locale\":" TEXT ",\"created_at\":" TEXT ",\"updated_at\":" TEXT "}},"
    "\"GeneratedPassword\":{\"type\":\"object\",\"properties\":{\"username\":" TEXT ",\"password\":" TEXT ",\"message\":" TEXT "}}}";
