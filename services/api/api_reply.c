/* api_reply.c - answers: JSON with an ETag, text, refusals in one shape, pages with their headers. Suspends for slow clients. */
#include <openssl/sha.h>

#include "api.h"

#include "base/derive.h"
#include "base/encode.h"

#define ANSWER_BYTES_MAX ((size_t)64 << 20)

static const struct slice type_json = LIT("application/json; charset=utf-8");

static bool is_read(const struct api_call *c)
{
    return slice_equal(c->rq->method, LIT("GET")) || slice_equal(c->rq->method, LIT("HEAD"));
}

void api_reply_headers(struct api_call *c)
{
    http_set_header(c->rq, LIT("X-Response-Time"), arena_printf(c->arena, "%.3fms", (double)(clock_now_us() - c->started_us) / 1000));
    if (!is_read(c) && c->auth != API_NOBODY)
        directory_forget(c->api->directory);   /* before the caller can ask for what it has just changed */
}

int api_reply(struct api_call *c, unsigned status, struct slice type, struct slice body)
{
    c->status = status;
    api_reply_headers(c);
    http_reply(c->rq, status, type, body);
    return 0;
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

bool api_reply_unchanged(struct api_call *c, struct slice etag)
{
    if (!is_read(c))
        return false;
    http_set_header(c->rq, LIT("ETag"), arena_printf(c->arena, "W/%.*s", SLICE(etag)));
    if (!is_known(c, etag))
        return false;
    (void)api_reply(c, 304, SLICE_NONE, SLICE_NONE);
    return true;
}

/* Weak: the same answer may be compressed or not. */
static int reply_ok(struct api_call *c, struct slice type, struct slice body)
{
    unsigned char digest[32];
    struct slice etag;

    if (!is_read(c))
        return api_reply(c, 200, type, body);
    (void)SHA256((const unsigned char *)body.p, body.n, digest);   /* OpenSSL's: with the CPU's instructions, 5 times faster than libsodium's */
    etag = arena_printf(c->arena, "\"%.*s\"", SLICE(base64url_encode(c->arena, slice_make(digest, 18))));
    return api_reply_unchanged(c, etag) ? 0 : api_reply(c, 200, type, body);
}

static int append_piece(const char *p, size_t n, void *arg)
{
    return buf_append(arg, slice_make(p, n));
}

static bool wants_pretty(const struct api_call *c)
{
    return json_object_size(c->query) > 0 && api_bool(c, "pretty", false);
}

static int format(struct api_call *c, const json_t *value, struct buf *out)
{
    return json_dump_callback(value, append_piece, out, JSON_ENCODE_ANY | (wants_pretty(c) ? JSON_INDENT(2) : JSON_COMPACT));
}

int api_reply_json(struct api_call *c, json_t *value)
{
    AUTO(json_release) json_t *owned = value;
    AUTO(buf_free) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);

    if (owned == NULL || format(c, owned, &out) < 0)
        return api_refuse(c, 500, "INTERNAL_ERROR");
    return reply_ok(c, type_json, buf_slice(&out));
}

int api_reply_json_text(struct api_call *c, struct slice text)
{
    json_t *value = NULL;
    struct fault ignored;

    if (!wants_pretty(c))
        return reply_ok(c, type_json, text);
    return api_reply_json(c, json_parse(text, text.n, &value, &ignored) < 0 ? NULL : value);
}

int api_reply_text(struct api_call *c, struct slice text)
{
    return reply_ok(c, LIT("text/plain; charset=utf-8"), text);
}

int api_refuse_text(struct api_call *c, unsigned status, const char *key, struct slice message)
{
    AUTO(json_release) json_t *body = json_object();
    AUTO(buf_free) struct buf out = BUF_INIT((size_t)1 << 20);

    c->refused = slice_of(key);
    (void)json_set_int(body, "statusCode", status);
    (void)json_set_slice(body, "error", slice_of(http_status_text(status)));
    (void)json_set_slice(body, "message", message);
    (void)format(c, body, &out);
    return api_reply(c, status, type_json, buf_slice(&out));
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

static void tell_changed(struct api_call *c, const char *kind, const char *id)
{
    struct fault ignored;

    login_forget(c->api->login, slice_of(id));
    directory_forget(c->api->directory);
    if (c->api->redis != NULL)
        (void)redis_publish(c->api->redis, arena_printf(c->arena, "%s:%s", kind, id), LIT("{}"), &ignored);
}

void api_alias_changed(struct api_call *c, const char *alias_id)
{
    tell_changed(c, "alias", alias_id);
}

void api_domain_changed(struct api_call *c, const char *domain_id)
{
    tell_changed(c, "domain", domain_id);
}
