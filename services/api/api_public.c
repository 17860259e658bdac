/* api_public.c - what needs no account: the root page for health checks, the test address, the description of the API itself. */
#include "api.h"

#define LABEL_MAX 40

static int root(struct api_call *c, UNUSED struct fault *why)
{
    return api_reply_text(c, LIT("OK"));
}

/* Letters, digits and single dashes. */
static struct slice slug(struct arena *a, struct slice label)
{
    char out[LABEL_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i < label.n && n < LABEL_MAX; i++) {
        if (ascii_is_alnum(label.p[i]))
            out[n++] = ascii_lower(label.p[i]);
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    return n > 0 ? arena_copy(a, slice_make(out, n)) : LIT("test");
}

static int test_address(struct api_call *c, UNUSED struct fault *why)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char tag[11] = "";

    for (size_t i = 0; i + 1 < sizeof(tag); i++)
        tag[i] = letters[random_below(sizeof(letters) - 1)];
    return api_reply_text(c, arena_printf(c->arena, "%.*s+%s@%s", SLICE(slug(c->arena, api_text(c, "label"))), tag, c->api->config->web_host));
}

/* Made once: the table does not change. */
static int openapi(struct api_call *c, UNUSED struct fault *why)
{
    if (c->api->description == NULL)
        c->api->description = api_openapi(c->api);
    return api_reply_json(c, json_incref(c->api->description));
}

static const struct api_param test_params[] = {
    { "label", API_STRING, true, false, "the part before the plus sign" },
    { .name = NULL },
};

const struct api_route public_routes[] = {
    { .method = "GET", .path = "/", .flags = API_NO_GLOBAL_LIMIT, .handle = root, .answer = "text", .operation = "health", .summary = "Answers OK while the server works." },
    { .method = "GET", .path = "/v1/test", .handle = test_address, .params = test_params, .answer = "text", .operation = "getTestAddress",
      .summary = "An address for trying plus-addressing." },
    { .method = "GET", .path = "/openapi.json", .handle = openapi, .answer = "object", .operation = "getDescription", .summary = "This description." },
    { .method = "GET", .path = "/v1/openapi.json", .handle = openapi, .answer = "object", .operation = "getDescriptionOfV1", .summary = "This description." },
    { .path = NULL },
};
