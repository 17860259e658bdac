/* api_dispatch.c - one request from its first header to its answer: headers, CORS, route, who, limits, body, handler, log line.
 *
 * Owns      struct api_call, on the fiber's stack. Nothing fails outwards: every fault becomes an answer. Suspends.
 */
#include "api.h"

#include "base/encode.h"

#define STATUS_UNKNOWN 500

static const struct slice allowed_methods = LIT("GET,HEAD,PUT,POST,DELETE,PATCH");

/* ---- headers that every answer has ---------------------------------------------------------------------- */

static bool is_request_id(struct slice id)
{
    if (id.n == 0 || id.n > API_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++)
        if (!ascii_is_alnum(id.p[i]) && strchr("-_.:", id.p[i]) == NULL)
            return false;
    return true;
}

static void set_common_headers(struct api_call *c)
{
    struct slice given = http_request_header(c->rq, LIT("x-request-id")), origin = http_request_header(c->rq, LIT("origin"));

    c->request_id = is_request_id(given) ? given : arena_copy(c->arena, slice_of(object_id_new().s));
    http_set_header(c->rq, LIT("X-Request-Id"), c->request_id);
    http_set_header(c->rq, LIT("X-Robots-Tag"), LIT("none"));
    http_set_header(c->rq, LIT("X-Content-Type-Options"), LIT("nosniff"));
    http_set_header(c->rq, LIT("Vary"), LIT("Origin"));
    if (origin.n == 0 || origin.n > 300)
        return;
    http_set_header(c->rq, LIT("Access-Control-Allow-Origin"), origin);
    http_set_header(c->rq, LIT("Access-Control-Expose-Headers"),
                    LIT("X-Request-Id,X-Response-Time,X-Page-Count,X-Page-Current,X-Page-Size,X-Item-Count,X-RateLimit-Limit,X-RateLimit-Remaining,"
                        "X-RateLimit-Reset,Retry-After,ETag,Link"));
}

static bool is_preflight(const struct http_request *rq)
{
    return slice_equal(rq->method, LIT("OPTIONS")) && http_request_header(rq, LIT("access-control-request-method")).n > 0;
}

static void answer_preflight(struct api_call *c)
{
    struct slice headers = http_request_header(c->rq, LIT("access-control-request-headers"));

    http_set_header(c->rq, LIT("Access-Control-Allow-Methods"), allowed_methods);
    if (headers.n > 0 && headers.n < 2000)
        http_set_header(c->rq, LIT("Access-Control-Allow-Headers"), headers);
    http_set_header(c->rq, LIT("Access-Control-Max-Age"), LIT("86400"));
    (void)api_reply(c, 204, SLICE_NONE, SLICE_NONE);
}

/* "/v1/domains/?page=2" is "/v1/domains?page=2"; "//host/" must not become another host's address. */
static bool redirect_slash(struct api_call *c)
{
    struct slice path = c->rq->path;

    if (path.n < 2 || path.p[path.n - 1] != '/' || strchr("/\\", path.p[1]) != NULL)
        return false;
    http_set_header(c->rq, LIT("Location"), arena_printf(c->arena, "%.*s%s%.*s", SLICE(slice_head(path, path.n - 1)), c->rq->query.n > 0 ? "?" : "",
                                                         SLICE(c->rq->query)));
    (void)api_reply(c, 301, SLICE_NONE, SLICE_NONE);
    return true;
}

/* ---- faults nobody answered ------------------------------------------------------------------------------ */

static void answer_fault(struct api_call *c, const struct fault *why)
{
    switch (why->code) {
    case FAULT_TIMEOUT:
        (void)api_refuse(c, 408, "TIMED_OUT");
        break;
    case FAULT_UNAVAILABLE:
    case FAULT_DISK_FULL:
    case FAULT_CANCELED:
        http_set_header(c->rq, LIT("Retry-After"), LIT("30"));
        (void)api_refuse(c, 503, "UNAVAILABLE");
        break;
    case FAULT_INVALID:                        /* a value the store does not take */
        (void)api_refuse(c, 400, "INVALID_VALUE");
        break;
    case FAULT_CLOSED:                         /* the client went away inside its body */
        (void)api_refuse(c, 400, "INVALID_BODY");
        break;
    case FAULT_NOT_FOUND:                      /* gone while we looked at it */
        (void)api_refuse(c, 404, "NOT_FOUND");
        break;
    case FAULT_EXISTS:
    case FAULT_CONFLICT:
        (void)api_refuse(c, 409, "CHANGED_MEANWHILE");
        break;
    default:
        (void)api_refuse(c, 500, "INTERNAL_ERROR");
    }
}

/* ---- the request ------------------------------------------------------------------------------------------- */

static bool read_query(struct api_call *c)
{
    return api_form_parse(c->arena, c->rq->query, c->query);
}

/* <0: a fault to answer, 0: answered. */
static int run(struct api_call *c, struct fault *why)
{
    int r;

    c->route = api_route_find(c->arena, c->rq->method, c->rq->path, c->params);
    if (c->route == NULL)                      /* another method of a path, too: as the original has it */
        return api_limit(c, why) != 0 ? 0 : api_refuse(c, 404, "NOT_FOUND");
    if (!read_query(c))
        return api_refuse(c, 400, "INVALID_QUERY");
    if ((r = api_authenticate(c, why)) != 0 || (r = api_limit(c, why)) != 0)
        return r < 0 ? -1 : 0;
    if (!(c->route->flags & API_OWN_BODY) && (r = api_body_read(c, why)) != 0)
        return r < 0 ? -1 : 0;
    if ((r = api_load_parameters(c, why)) != 0)
        return r < 0 ? -1 : 0;
    return c->route->handle(c, why);
}

static void log_request(const struct api_call *c, uint64_t started_us, const struct fault *why)
{
    uint64_t took = clock_now_us() - started_us;
    const char *user = c->user.id[0] != '\0' ? c->user.id : "", *alias = c->auth == API_ALIAS ? c->alias.id : "";

    /* our own health check, every few seconds */
    bool is_health = strncmp(c->peer_ip, "127.", 4) == 0 && user[0] == '\0' && c->route != NULL && strcmp(c->route->path, "/") == 0;

    if (why->code != FAULT_NONE)
        log_event(c->status >= 500 ? LOG_ERROR : LOG_WARN, "api.request", F_SLICE("request", c->request_id), F_SLICE("method", c->rq->method),
                  F_STR("route", c->route != NULL ? c->route->path : ""), F_INT("status", c->status), F_STR("user", user), F_STR("alias", alias),
                  F_STR("ip", c->peer_ip), F_INT("took_us", took), F_FAULT(why));
    else
        log_event(is_health ? LOG_DEBUG : LOG_INFO, "api.request", F_SLICE("request", c->request_id), F_SLICE("method", c->rq->method),
                  F_STR("route", c->route != NULL ? c->route->path : ""), F_INT("status", c->status), F_SLICE("refused", c->refused), F_STR("user", user),
                  F_STR("alias", alias), F_STR("ip", c->peer_ip), F_INT("took_us", took));
}

static void finish(struct api_call *c)
{
    api_big_body_end(c);
    secret_unref(&c->who.data_key);
    json_release(&c->query);
    json_release(&c->body);
    json_release(&c->user_document);
    json_release(&c->domain_document);
    json_release(&c->alias_document);
}

void api_handle(struct http_request *rq, void *arg)
{
    struct api *api = arg;
    struct api_call c = { .api = api, .rq = rq, .arena = rq->arena, .until = deadline_in_ms(api->config->timeout_ms), .query = json_object(),
                          .body = json_object(), .started_us = clock_now_us() };
    struct fault why = { .code = FAULT_NONE };

    (void)snprintf(c.peer_ip, sizeof(c.peer_ip), "%s", http_request_peer(rq)->ip);
    set_common_headers(&c);
    if (is_preflight(rq))
        answer_preflight(&c);
    else if (!redirect_slash(&c) && run(&c, &why) < 0)
        answer_fault(&c, &why);
    else if (c.status == 0)                    /* a handler that did not answer */
        (void)api_refuse(&c, STATUS_UNKNOWN, "INTERNAL_ERROR");
    metric_add(api->requests, 1);
    metric_observe_us(api->took, clock_now_us() - c.started_us);
    log_request(&c, c.started_us, &why);
    finish(&c);
}
