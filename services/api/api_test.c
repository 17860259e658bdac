/* api_test.c - forms to objects, paths to routes, values of a call. */
#include "api.h"

#include "base/test.h"

/* ---- forms ------------------------------------------------------------------------------------------------ */

static struct slice form(struct arena *a, bool multipart, const char *text)
{
    AUTO(json_release) json_t *object = json_object();
    AUTO(buf_free) struct buf out = BUF_INIT(1 << 20);
    bool ok = multipart ? api_multipart_parse(a, LIT("B"), slice_of(text), object) : api_form_parse(a, slice_of(text), object);

    if (!ok)
        return LIT("refused");
    (void)json_format(object, &out);
    return arena_copy(a, buf_slice(&out));
}

TEST(api_form, gives_what_json_would_have)
{
    static const struct { const char *in, *want; } row[] = {
        { "", "{}" },
        { "a=1", "{\"a\":\"1\"}" },
        { "a", "{\"a\":\"\"}" },
        { "&&a=1&", "{\"a\":\"1\"}" },
        { "a=x+y%20%C3%A9", "{\"a\":\"x y é\"}" },
        { "a=1&a=2&a=3", "{\"a\":[\"1\",\"2\",\"3\"]}" },
        { "a[]=1", "{\"a\":[\"1\"]}" },
        { "a%5B%5D=1&a%5B%5D=2", "{\"a\":[\"1\",\"2\"]}" },
        { "a=1&a[]=2", "{\"a\":[\"1\",\"2\"]}" },
        { "a[0]=1&a[1]=2", "{\"a\":[\"1\",\"2\"]}" },
        { "a[b]=1&a[c][]=2", "{\"a\":{\"b\":\"1\",\"c\":[\"2\"]}}" },
        { "a[b]=1&a[b]=2", "{\"a\":{\"b\":[\"1\",\"2\"]}}" },
        { "a[b=1", "{\"a[b\":\"1\"}" },
        { "a=1=2", "{\"a\":\"1=2\"}" },
        { "a=1&a[b]=2", "refused" },
        { "a[b]=1&a=2", "refused" },
        { "a[b]=1&a[]=2", "refused" },
        { "a[]=1&a[b]=2", "refused" },
        { "a[][b]=1", "refused" },
        { "a[b]c]=1", "refused" },
        { "=1", "refused" },
        { "a=%00", "refused" },
        { "a%00b=1", "refused" },
        { "a=%FF", "refused" },
        { "a=%4", "refused" },
        { "a[b][c][d][e][f][g][h]=1", "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":\"1\"}}}}}}}}" },
        { "a[b][c][d][e][f][g][h][i]=1", "refused" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, form(t->arena, false, row[i].in));
}

#define PART(disposition, value) "--B\r\nContent-Disposition: " disposition "\r\n\r\n" value "\r\n"

TEST(api_form, takes_multipart_fields)
{
    static const struct { const char *in, *want; } row[] = {
        { PART("form-data; name=\"a\"", "1") "--B--\r\n", "{\"a\":\"1\"}" },
        { "preamble\r\n" PART("form-data; name=\"a\"", "1") "--B--", "{\"a\":\"1\"}" },
        { PART("form-data; name=a", "x\r\ny") PART("form-data; name=\"b[]\"", "") "--B--", "{\"a\":\"x\\r\\ny\",\"b\":[\"\"]}" },
        { PART("form-data; name=\"filename\"", "1") "--B--", "{\"filename\":\"1\"}" },
        { PART("form-data; name=\"a \\\"q\\\"\"", "1") "--B--", "{\"a \\\"q\\\"\":\"1\"}" },
        { "--B\r\nX-Other: y\r\ncontent-disposition: FORM-DATA; NAME=\"a\"\r\n\r\n1\r\n--B--", "{\"a\":\"1\"}" },
        { "--B--\r\n", "{}" },
        { PART("form-data; name=\"a\"", "1"), "refused" },
        { PART("form-data; name=\"a\"; filename=\"x\"", "1") "--B--", "refused" },
        { PART("form-data; name=\"a\"; filename*=UTF-8''x", "1") "--B--", "refused" },
        { PART("attachment; name=\"a\"", "1") "--B--", "refused" },
        { PART("form-data", "1") "--B--", "refused" },
        { PART("form-data; name=\"a\"", "\xff") "--B--", "refused" },
        { "--B\r\n\r\n1\r\n--B--", "refused" },
        { "--C--", "refused" },
        { "", "refused" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, form(t->arena, true, row[i].in));
}

TEST(api_form, counts)
{
    AUTO(json_release) json_t *many = json_object(), *list = json_object();
    AUTO(buf_free) struct buf keys = BUF_INIT(1 << 20), values = BUF_INIT(1 << 20);

    for (unsigned i = 0; i < API_FORM_KEYS_MAX; i++) {
        (void)buf_printf(&keys, "k%u=1&", i);
        (void)buf_printf(&values, "a[]=%u&", i);
    }
    CHECK(api_form_parse(t->arena, buf_slice(&keys), many));
    CHECK(api_form_parse(t->arena, buf_slice(&values), list));
    CHECK_INT(API_LIST_MAX, json_array_size(json_object_get(list, "a")));
    (void)buf_append_cstr(&keys, "k=1");
    CHECK(!api_form_parse(t->arena, buf_slice(&keys), many));
    CHECK(!api_form_put(t->arena, list, LIT("a[]"), LIT("one more")));
}

/* ---- paths --------------------------------------------------------------------------------------------------- */

static struct slice found(struct arena *a, const char *method, const char *path)
{
    struct slice params[API_PARAMS_MAX] = { 0 };
    const struct api_route *r = api_route_find(a, slice_of(method), slice_of(path), params);

    return r == NULL ? LIT("none") : arena_printf(a, "%s %.*s %.*s", r->operation, SLICE(params[0]), SLICE(params[1]));
}

TEST(api_match, knows_its_routes)
{
    static const struct { const char *method, *path, *want; } row[] = {
        { "GET", "/", "health  " },
        { "HEAD", "/", "health  " },
        { "GET", "/v1/account", "getAccount  " },
        { "PUT", "/v1/account", "updateAccount  " },
        { "GET", "/v1/%61ccount", "getAccount  " },
        { "POST", "/", "none" },
        { "get", "/v1/account", "none" },
        { "GET", "", "none" },
        { "GET", "*", "none" },
        { "GET", "v1/account", "none" },
        { "GET", "/v1/account/", "none" },
        { "GET", "//v1/account", "none" },
        { "GET", "/v1//account", "none" },
        { "GET", "/v1/account/more", "none" },
        { "GET", "/v1/accoun%t", "none" },
        { "GET", "/v1/account%00", "none" },
        { "GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18", "none" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, found(t->arena, row[i].method, row[i].path));
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static struct api_call call_with(struct arena *a, const char *body, const char *query)
{
    struct api_call c = { .arena = a };
    json_error_t ignored;

    c.body = json_loads(body, 0, &ignored);
    c.query = json_loads(query, 0, &ignored);
    return c;
}

static void call_free(struct api_call *c)
{
    json_release(&c->body);
    json_release(&c->query);
}

TEST(api_args, booleans_as_clients_write_them)
{
    AUTO(call_free) struct api_call c = call_with(t->arena, "{\"a\":true,\"b\":\"Yes\",\"c\":1,\"d\":\"on\",\"e\":0,\"f\":\"2\",\"g\":\"\",\"h\":false,\"i\":[true]}", "{\"z\":\"T\"}");

    CHECK(api_bool(&c, "a", false) && api_bool(&c, "b", false) && api_bool(&c, "c", false) && api_bool(&c, "d", false) && api_bool(&c, "z", false));
    CHECK(!api_bool(&c, "e", true) && !api_bool(&c, "f", true) && !api_bool(&c, "g", true) && !api_bool(&c, "h", true) && !api_bool(&c, "i", true));
    CHECK(api_bool(&c, "absent", true) && !api_bool(&c, "absent", false));
}

TEST(api_args, bytes)
{
    static const struct { const char *in; int64_t want; } row[] = {
        { "{\"q\":\"1 GB\"}", (int64_t)1 << 30 },
        { "{\"q\":\"500mb\"}", (int64_t)500 << 20 },
        { "{\"q\":1024}", 1024 },
        { "{\"q\":\"1.5 kb\"}", 1536 },
        { "{\"q\":\"0\"}", 0 },
        { "{\"q\":\"-1\"}", -1 },
        { "{\"q\":\"1 gib\"}", -1 },
        { "{\"q\":\"gb\"}", -1 },
        { "{\"q\":\"\"}", -1 },
        { "{\"q\":\"1e3\"}", -1 },
        { "{\"q\":\"1.2.3 kb\"}", -1 },
        { "{\"q\":[1]}", -1 },
        { "{\"q\":\"99999999999999999999 pb\"}", -1 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(call_free) struct api_call c = call_with(t->arena, row[i].in, "{}");
        uint64_t got = 0;
        bool ok = api_bytes(&c, "q", &got);
        CHECK_ROW(i, ok == (row[i].want >= 0));
        CHECK_ROW(i, !ok || got == (uint64_t)row[i].want);
    }
}

TEST(api_args, whole_numbers)
{
    static const struct { const char *in; bool ok; int64_t want; } row[] = {
        { "{\"n\":7}", true, 7 }, { "{\"n\":\"7\"}", true, 7 }, { "{\"n\":\"-7\"}", true, -7 }, { "{\"n\":7.0}", true, 7 }, { "{}", true, 5 },
        { "{\"n\":7.5}", false, 0 }, { "{\"n\":\"7x\"}", false, 0 }, { "{\"n\":11}", false, 0 }, { "{\"n\":-11}", false, 0 }, { "{\"n\":\"\"}", false, 0 },
        { "{\"n\":1e300}", false, 0 }, { "{\"n\":\"9223372036854775808\"}", false, 0 }, { "{\"n\":true}", false, 0 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(call_free) struct api_call c = call_with(t->arena, row[i].in, "{}");
        int64_t got = 0;
        bool ok = api_int(&c, "n", -10, 10, 5, &got);
        CHECK_ROW(i, ok == row[i].ok);
        CHECK_ROW(i, !ok || got == row[i].want);
    }
}

TEST(api_args, lists_of_texts)
{
    static const struct { const char *in, *want; } row[] = {
        { "{\"l\":\"a, b\\nc  d,,\"}", "a|b|c|d|" },
        { "{\"l\":[\" a \",\"\",\"b c\",7]}", "a|b c|7|" },
        { "{\"l\":[]}", "" }, { "{\"l\":{}}", "" }, { "{}", "" }, { "{\"l\":null}", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(call_free) struct api_call c = call_with(t->arena, row[i].in, "{}");
        struct slice *list, all = SLICE_NONE;
        size_t n = api_strings(&c, "l", &list);
        for (size_t k = 0; k < n; k++)
            all = arena_printf(t->arena, "%.*s%.*s|", SLICE(all), SLICE(list[k]));
        CHECK_ROW_STR(i, row[i].want, all);
    }
}
