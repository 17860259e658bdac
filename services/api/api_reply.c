/* api_reply.c - answers: JSON with an ETag, text, refusals in one shape, pages with their headers. Suspends for slow clients. */
#include "api.h"

#include "base/derive.h"
#include "base/encode.h"

#define ANSWER_BYTES_MAX ((size_t)64 << 20)

static const struct slice type_json = LIT("application/json; charset=utf-8");

static void set_times(struct api_call *c)
{
    http_set_header(c->rq, LIT("X-Response-Time"), arena_printf(c->arena, "%.3fms", (double)(clock_now_us() - c->started_us) / 1000));
}

static void reply(struct api_call *c, unsigned status, struct slice type, struct slice body)
{
    c->status = status;
    set_times(c);
    http_reply(c->rq, status, type, body);
}

static bool is_read(const struct api_call *c)
{
    return slice_equal(c->rq->method, LIT("GET")) || slice_equal(c->rq->method, LIT("HEAD"));
}

/* RFC 9110 13.1.2: weak comparison, "*" is any. */
static bool is_known(const struct api_call *c, struct slice etag)
{
    struct slice rest = http_request_header(c->rq, LIT("if-none-match")), one;

    while (slice_cut(&rest, ',', &one)) {
        one = slice_trim(one);
        if (slice_has_prefix(one, LIT("W/")))
            one = slice_tail(one, 2);
        if (slice_equal(one, LIT("*")) || slice_equal(one, etag))
            return true;
    }
    return false;
}

static void reply_tagged(struct api_call *c, struct slice type, struct slice body)
{
    unsigned char digest[32];
    struct slice etag;

    sha256(body, digest);
    etag = arena_printf(c->arena, "\"%.*s\"", SLICE(base64url_encode(c->arena, slice_make(digest, 18))));
    http_set_header(c->rq, LIT("ETag"), etag);
    if (is_known(c, etag))
        reply(c, 304, SLICE_NONE, SLICE_NONE);
    else
        reply(c, 200, type, body);
}

int api_reply_json(struct api_call *c, json_t *value)
{
    AUTO(json_release) json_t *owned = value;
    AUTO(buf_free) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);

    if (value == NULL || json_format(value, &out) < 0)
        return api_refuse(c, 500, "INTERNAL_ERROR");
    if (is_read(c))
        reply_tagged(c, type_json, buf_slice(&out));
    else
        reply(c, 200, type_json, buf_slice(&out));
    return 0;
}

int api_reply_text(struct api_call *c, struct slice text)
{
    if (is_read(c) && (c->route->flags & API_DOMAIN) == 0)
        reply_tagged(c, LIT("text/plain; charset=utf-8"), text);
    else
        reply(c, 200, LIT("text/plain; charset=utf-8"), text);
    return 0;
}

int api_refuse_text(struct api_call *c, unsigned status, const char *key, struct slice message)
{
    AUTO(json_release) json_t *body = json_object();
    AUTO(buf_free) struct buf out = BUF_INIT((size_t)1 << 20);

    c->refused = slice_of(key);
    (void)json_set_int(body, "statusCode", status);
    (void)json_set_slice(body, "error", slice_of(http_status_text(status)));
    (void)json_set_slice(body, "message", message);
    (void)json_format(body, &out);
    reply(c, status, type_json, buf_slice(&out));
    return 0;
}

int api_refuse(struct api_call *c, unsigned status, const char *key)
{
    return api_refuse_text(c, status, key, slice_of(api_phrase(key)));
}

struct slice api_date(struct arena *a, int64_t wall_ms)
{
    return wall_ms == 0 ? SLICE_NONE : arena_copy(a, slice_of(date_format_iso(wall_ms).s));
}

void api_set_date(json_t *object, const char *key, int64_t wall_ms)
{
    if (wall_ms == 0)
        (void)json_object_set_new(object, key, json_null());
    else
        (void)json_set_slice(object, key, slice_of(date_format_iso(wall_ms).s));
}

void api_alias_changed(struct api_call *c, const char *alias_id)
{
    struct fault ignored;

    login_forget(c->api->login, slice_of(alias_id));
    directory_forget(c->api->directory);
    if (c->api->redis != NULL)
        (void)redis_publish(c->api->redis, arena_printf(c->arena, "alias:%s", alias_id), LIT("{}"), &ignored);
}
