/* api_openapi.c - the description of the API (OpenAPI 3.1.0, schemas are JSON Schema 2020-12), written from the table that dispatches. Owns nothing; never suspends. */
#include "api.h"

static const char error_schema[] =
    "{\"type\":\"object\",\"required\":[\"statusCode\",\"error\",\"message\"],\"additionalProperties\":false,\"properties\":{"
    "\"statusCode\":{\"type\":\"integer\"},\"error\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"}}}";

/* ---- types ------------------------------------------------------------------------------------------------ */

static json_t *type_schema(enum api_type type)
{
    switch (type) {
    case API_INTEGER: return json_pack("{s:s}", "type", "integer");
    case API_BOOLEAN: return json_pack("{s:s}", "type", "boolean");
    case API_STRINGS: return json_pack("{s:[{s:s},{s:s,s:{s:s}}]}", "anyOf", "type", "string", "type", "array", "items", "type", "string");
    case API_DATE: return json_pack("{s:s}", "type", "string");
    case API_OBJECT: return json_pack("{s:s}", "type", "object");
    case API_ARRAY: return json_pack("{s:s,s:{}}", "type", "array", "items");
    case API_BINARY: return json_pack("{s:s,s:s}", "type", "string", "format", "binary");
    case API_ANY: return json_object();
    case API_STRING: break;
    }
    return json_pack("{s:s}", "type", "string");
}

static json_t *described(const struct api_param *p)
{
    json_t *schema = type_schema(p->type);

    (void)json_object_set_new(schema, "description", json_string(p->help));
    return schema;
}

/* ---- parameters -------------------------------------------------------------------------------------------- */

static void add_parameter(json_t *list, const char *name, const char *in, bool required, json_t *schema, const char *help)
{
    json_t *p = json_pack("{s:s,s:s,s:b,s:o}", "name", name, "in", in, "required", required, "schema", schema);

    if (help != NULL)
        (void)json_object_set_new(p, "description", json_string(help));
    (void)json_array_append_new(list, p);
}

static void add_path_parameters(json_t *list, const char *path)
{
    struct slice rest = slice_of(path), segment;
    char name[64];

    while (slice_cut(&rest, '/', &segment))
        if (segment.n > 1 && segment.p[0] == ':' && slice_copy_cstr(slice_tail(segment, 1), name, sizeof(name)))
            add_parameter(list, name, "path", true, json_pack("{s:s,s:i}", "type", "string", "minLength", 1), NULL);
}

static json_t *parameters(const struct api_route *r)
{
    json_t *list = json_array();

    add_path_parameters(list, r->path);
    for (const struct api_param *p = r->params; p != NULL && p->name != NULL; p++)
        if (p->in_query)
            add_parameter(list, p->name, "query", p->required, type_schema(p->type), p->help);
    if (r->flags & API_PAGED) {
        add_parameter(list, "page", "query", false, json_pack("{s:s,s:i}", "type", "integer", "minimum", 1), "which page, from 1");
        add_parameter(list, "limit", "query", false, json_pack("{s:s,s:i}", "type", "integer", "minimum", 1), "entries of a page");
        add_parameter(list, "sort", "query", false, json_pack("{s:s}", "type", "string"), "a field; with - in front descending");
    }
    return list;
}

static json_t *body_schema(const struct api_route *r, bool *any)
{
    json_t *schema = json_pack("{s:s}", "type", "object"), *properties = json_object(), *required = json_array();

    *any = false;
    for (const struct api_param *p = r->params; p != NULL && p->name != NULL; p++) {
        if (p->in_query)
            continue;
        *any = true;
        (void)json_object_set_new(properties, p->name, described(p));
        if (p->required)
            (void)json_array_append_new(required, json_string(p->name));
    }
    (void)json_object_set_new(schema, "properties", properties);
    if (json_array_size(required) > 0)
        (void)json_object_set_new(schema, "required", required);
    else
        json_decref(required);
    return schema;
}

static void add_body(json_t *operation, const struct api_route *r)
{
    bool any;
    json_t *schema = body_schema(r, &any);

    if (any)
        (void)json_object_set_new(operation, "requestBody",
                                  json_pack("{s:b,s:{s:{s:O},s:{s:O},s:{s:O}}}", "required", json_object_get(schema, "required") != NULL, "content",
                                            "application/json", "schema", schema, "application/x-www-form-urlencoded", "schema", schema,
                                            "multipart/form-data", "schema", schema));
    json_decref(schema);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

static json_t *reference(struct slice name)
{
    char path[100];

    (void)snprintf(path, sizeof(path), "#/components/schemas/%.*s", SLICE(name));
    return json_pack("{s:s}", "$ref", path);
}

static json_t *answer_content(const char *answer)
{
    struct slice name = slice_of(answer);

    if (slice_equal(name, LIT("text")))
        return json_pack("{s:{s:{s:s}}}", "text/plain", "schema", "type", "string");
    if (slice_equal(name, LIT("object")))
        return json_pack("{s:{s:{s:s}}}", "application/json", "schema", "type", "object");
    if (name.p[0] == '[')
        return json_pack("{s:{s:{s:s,s:o}}}", "application/json", "schema", "type", "array", "items", reference(slice_sub(name, 1, name.n - 2)));
    return json_pack("{s:{s:o}}", "application/json", "schema", reference(name));
}

static void add_error(json_t *responses, struct slice status)
{
    char key[8];
    uint32_t code;

    if (!slice_to_u32(status, 599, &code) || !slice_copy_cstr(status, key, sizeof(key)) || json_object_get(responses, key) != NULL)
        return;
    (void)json_object_set_new(responses, key, json_pack("{s:s,s:{s:{s:o}}}", "description", http_status_text(code), "content", "application/json", "schema",
                                                         reference(LIT("Error"))));
}

static void add_errors(json_t *responses, const char *list)
{
    struct slice rest = slice_of(list), one;

    while (slice_cut(&rest, ' ', &one))
        add_error(responses, one);
}

/* Headers that say where in a list one is. */
static json_t *page_headers(void)
{
    static const struct { const char *name, *type, *help; } row[] = {
        { "X-Page-Count", "integer", "pages in all" }, { "X-Page-Current", "integer", "this page" },
        { "X-Page-Size", "integer", "entries of this page, at least 1" }, { "X-Item-Count", "integer", "entries in all" },
        { "Link", "string", "prev, next, last and first page (RFC 8288)" },
    };
    json_t *headers = json_object();

    for (size_t i = 0; i < COUNT(row); i++)
        (void)json_object_set_new(headers, row[i].name, json_pack("{s:s,s:{s:s}}", "description", row[i].help, "schema", "type", row[i].type));
    return headers;
}

static void add_ok(json_t *responses, const struct api_route *r)
{
    json_t *ok = json_pack("{s:s,s:o}", "description", "OK", "content", answer_content(r->answer));

    if (r->flags & API_PAGED)
        (void)json_object_set_new(ok, "headers", page_headers());
    (void)json_object_set_new(responses, "200", ok);
    if (strcmp(r->method, "GET") == 0)
        (void)json_object_set_new(responses, "304", json_pack("{s:s}", "description", "Not Modified"));
}

static json_t *responses_of(const struct api_route *r)
{
    json_t *responses = json_object();

    add_ok(responses, r);
    add_errors(responses, "400 408 413 429 500 503");
    if (strcmp(r->method, "DELETE") == 0)
        add_errors(responses, "409");
    else if (strcmp(r->method, "GET") != 0)
        add_errors(responses, "409 415");
    if (r->auth != API_NOBODY)
        add_errors(responses, "401 403");
    if (strchr(r->path, ':') != NULL)
        add_errors(responses, "404");
    if (r->statuses != NULL)
        add_errors(responses, r->statuses);
    return responses;
}

/* "/v1/domains/:domain_id/aliases" is about aliases. */
static json_t *tags(const struct api_route *r)
{
    static const char *const known[] = { "aliases", "catch-all-passwords", "invites", "members", "domains", "emails", "logs", "account" };

    for (size_t i = 0; i < COUNT(known); i++)
        if (strstr(r->path, known[i]) != NULL)
            return json_pack("[s]", known[i]);
    return json_pack("[s]", "service");
}

static json_t *security(const struct api_route *r)
{
    json_t *list = json_array();

    if (r->auth & API_TOKEN)
        (void)json_array_append_new(list, json_pack("{s:[]}", "token"));
    if (r->auth & API_ALIAS)
        (void)json_array_append_new(list, json_pack("{s:[]}", "mailbox"));
    return list;
}

/* ---- all ------------------------------------------------------------------------------------------------------------ */

static void add_route(json_t *paths, const struct api_route *r)
{
    json_t *operation = json_pack("{s:o,s:s,s:s,s:o,s:o,s:o}", "tags", tags(r), "operationId", r->operation, "summary", r->summary, "parameters", parameters(r), "responses",
                                  responses_of(r), "security", security(r));
    struct slice rest = slice_of(r->path), segment;
    char path[200] = "", method[8] = "";
    json_t *item;

    while (slice_cut(&rest, '/', &segment)) {
        size_t n = strlen(path);

        if (segment.n > 0)
            (void)snprintf(path + n, sizeof(path) - n, segment.p[0] == ':' ? "/{%.*s}" : "/%.*s", SLICE(segment.p[0] == ':' ? slice_tail(segment, 1) : segment));
    }
    for (size_t i = 0; r->method[i] != '\0' && i + 1 < sizeof(method); i++)
        method[i] = ascii_lower(r->method[i]);
    if (path[0] == '\0')
        (void)snprintf(path, sizeof(path), "/");
    add_body(operation, r);
    item = json_object_get(paths, path);
    if (item == NULL) {
        item = json_object();
        (void)json_object_set_new(paths, path, item);
    }
    (void)json_object_set_new(item, method, operation);
}

static json_t *schemas(void)
{
    json_t *all = json_object(), *part;
    struct fault why;

    for (size_t i = 0; api_schema_lists[i] != NULL; i++)
        if (json_parse(slice_of(api_schema_lists[i]), (size_t)1 << 20, &part, &why) == 0) {
            (void)json_object_update(all, part);
            json_decref(part);
        }
    if (json_parse(slice_of(error_schema), sizeof(error_schema), &part, &why) == 0)
        (void)json_object_set_new(all, "Error", part);
    return all;
}

json_t *api_openapi(const struct api *api)
{
    json_t *paths = json_object();

    for (size_t l = 0; api_route_lists[l] != NULL; l++)
        for (const struct api_route *r = api_route_lists[l]; r->path != NULL; r++)
            add_route(paths, r);
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:s}],s:o,s:{s:o,s:{s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}}}", "openapi", "3.1.0", "info", "title", "REST API",
                     "version", "1.0.0", "description", "Domains, aliases, outbound mail and logs of this installation.", "servers", "url",
                     api->config->api_url, "paths", paths, "components", "schemas", schemas(), "securitySchemes", "token", "type", "http", "scheme", "basic",
                     "description", "the account's API token as user name, no password", "mailbox", "type", "http", "scheme", "basic", "description",
                     "an address and one of its passwords");
}
