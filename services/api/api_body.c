/* api_body.c - what came with a request, in whichever of three forms: JSON, a form, or multipart fields; one object in the end.
 *
 * Owns      nothing beyond the call. Small bodies are read into its arena, large ones wait in a spool for one of API_BIG_BODIES_MAX
 *           turns. What the client did wrong is refused here. Suspends while the client sends and while a large body waits.
 */
#include "api.h"

#include <stdlib.h>

#include "net/spool.h"
#include "rt/offload.h"

struct body { char *p; size_t n; bool is_large; };   /* is_large: on the heap, freed as soon as it is parsed; else in the arena */

/* ---- the body's bytes ------------------------------------------------------------------------------------------------- */

static size_t bytes_max(const struct api_call *c)
{
    return c->route->body_bytes_max != 0 ? c->route->body_bytes_max : API_BODY_BYTES_MAX;
}

/* Small ones straight into the arena. */
static int read_small(struct api_call *c, struct body *out, struct fault *why)
{
    AUTO(buf_free) struct buf all = BUF_INIT(API_BODY_BYTES_MAX);
    struct slice piece;

    for (;;) {
        if (http_read(c->rq, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        if (buf_append(&all, piece) < 0)
            return fault_set(why, FAULT_LIMIT, "body over %zu bytes", API_BODY_BYTES_MAX);
        if (deadline_is_past(c->until))
            return fault_set(why, FAULT_TIMEOUT, "body not here in time");
    }
    out->p = arena_alloc(c->arena, all.n + 1);
    out->n = all.n;
    if (all.n > 0)
        memcpy(out->p, all.p, all.n);
    return 0;
}

/* ---- large bodies: two at once ----------------------------------------------------------------------------------------- */

int api_big_body_begin(struct api_call *c, struct fault *why)
{
    if (c->holds_big_body)
        return 0;
    while (c->api->big_bodies >= API_BIG_BODIES_MAX)
        if (fiber_event_wait(&c->api->big_done, c->until, why) < 0)
            return -1;
    c->api->big_bodies++;
    c->holds_big_body = true;
    return 0;
}

void api_big_body_end(struct api_call *c)
{
    if (!c->holds_big_body)
        return;
    c->holds_big_body = false;
    c->api->big_bodies--;
    fiber_event_broadcast(&c->api->big_done);
}

static int spool_body(struct api_call *c, struct spool *spool, struct fault *why)
{
    struct slice piece;

    for (;;) {
        if (http_read(c->rq, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            return 0;
        if (spool_append(spool, piece, why) < 0)
            return -1;
    }
}

/* Large ones wait on disk for their turn, however slowly they came: memory holds API_BIG_BODIES_MAX of them. */
static int read_large(struct api_call *c, struct body *out, struct fault *why)
{
    AUTO(spool_free) struct spool *spool = spool_new(c->api->spools);
    struct spool_reader *reader;
    struct slice piece;
    char *to;
    int r;

    if (spool_body(c, spool, why) < 0)
        return -1;
    c->until = deadline_in_ms(c->api->config->timeout_ms);
    if (spool_size_bytes(spool) > API_BODY_BYTES_MAX && api_big_body_begin(c, why) < 0)
        return -1;
    *out = (struct body){ malloc((size_t)spool_size_bytes(spool) + 1), (size_t)spool_size_bytes(spool), true };
    if (out->p == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no memory for a body of %zu bytes", out->n);
    to = out->p;
    reader = spool_reader_new(spool, 0);
    while ((r = spool_reader_next(reader, &piece, why)) > 0) {
        memcpy(to, piece.p, piece.n);
        to += piece.n;
    }
    spool_reader_free(&reader);
    return r;
}

static int read_bytes(struct api_call *c, struct body *out, struct fault *why)
{
    c->rq->body_bytes_max = bytes_max(c);
    if (c->rq->body_bytes == 0)
        return 0;
    if (bytes_max(c) <= API_BODY_BYTES_MAX || c->rq->body_bytes <= API_BODY_BYTES_MAX)
        return read_small(c, out, why);
    return read_large(c, out, why);
}

/* ---- to an object ------------------------------------------------------------------------------------------------------ */

static int refuse(struct api_call *c, unsigned status, const char *key)
{
    (void)api_refuse(c, status, key);
    return 1;
}

struct parsing {                               /* on a thread of its own: tens of megabytes would hold up everybody else */
    struct offload offload;
    struct body text;
    size_t max;
    json_t *value;
    struct fault why;
    int result;
};

static void parsing_run(struct offload *work)
{
    struct parsing *p = (struct parsing *)work;

    p->result = json_parse(slice_make(p->text.p, p->text.n), p->max, &p->value, &p->why);
    free(p->text.p);
    p->text.p = NULL;
}

static void parsing_free(struct offload *work)
{
    struct parsing *p = (struct parsing *)work;

    free(p->text.p);
    json_release(&p->value);
    free(p);
}

/* Takes the text. 0: *out is the value, or NULL when it is no JSON. */
static int parse_aside(struct body *text, size_t max, json_t **out, struct fault *why)
{
    struct parsing *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no memory");
    *p = (struct parsing){ .offload = { .run = parsing_run, .discard = parsing_free }, .text = *text, .max = max };
    text->p = NULL;
    if (offload_run(OFFLOAD_CPU, &p->offload, DEADLINE_NEVER, why) < 0)
        return -1;
    *out = p->result < 0 ? NULL : p->value;
    p->value = NULL;
    parsing_free(&p->offload);
    return 0;
}

static int parse_json(struct api_call *c, struct body *text, struct fault *why)
{
    struct slice all = slice_make(text->p, text->n);
    json_t *body = NULL;

    if (slice_trim(all).n == 0)
        return 0;
    if (text->is_large) {
        if (parse_aside(text, bytes_max(c), &body, why) < 0)
            return -1;
    } else if (json_parse(all, bytes_max(c), &body, why) < 0) {
        why->code = FAULT_NONE;
    }
    if (body == NULL)
        return refuse(c, 400, "INVALID_JSON");
    json_release(&c->body);
    c->body = body;
    return json_is_object(body) ? 0 : refuse(c, 400, "BODY_NOT_AN_OBJECT");
}

static bool may_have_any_body(const struct api_call *c)
{
    return slice_equal(c->rq->method, LIT("GET")) || slice_equal(c->rq->method, LIT("HEAD")) || slice_equal(c->rq->method, LIT("DELETE"));
}

static int parse(struct api_call *c, struct body *body, struct fault *why)
{
    struct slice text = slice_make(body->p, body->n);
    struct slice header = http_request_header(c->rq, LIT("content-type")), rest = header, type = SLICE_NONE;
    bool ok = true;

    if (slice_cut(&rest, ';', &type))
        type = slice_trim(type);
    if (slice_equal_nocase(type, LIT("application/json")) || slice_has_suffix_nocase(type, LIT("+json")))
        return parse_json(c, body, why);
    if (slice_equal_nocase(type, LIT("multipart/form-data")))
        ok = api_multipart_parse(c->arena, api_header_param(c->arena, header, "boundary"), text, c->body);
    else if (type.n == 0 || slice_equal_nocase(type, LIT("application/x-www-form-urlencoded")))
        ok = api_form_parse(c->arena, text, c->body);
    else if (!may_have_any_body(c))
        return refuse(c, 415, "UNSUPPORTED_BODY");
    return ok ? 0 : refuse(c, 400, "INVALID_FORM");
}

static int refuse_read(struct api_call *c, struct fault *why)
{
    enum fault_code code = why->code;

    http_close_after(c->rq);
    if (code != FAULT_LIMIT && code != FAULT_TIMEOUT && code != FAULT_PROTOCOL)
        return -1;
    why->code = FAULT_NONE;
    if (code == FAULT_LIMIT)
        return refuse(c, 413, "BODY_TOO_LARGE");
    return code == FAULT_TIMEOUT ? refuse(c, 408, "TIMED_OUT") : refuse(c, 400, "INVALID_BODY");
}

int api_body_read(struct api_call *c, struct fault *why)
{
    struct body body = { .p = NULL };
    int r;

    if (read_bytes(c, &body, why) < 0)
        r = refuse_read(c, why);
    else
        r = body.n == 0 ? 0 : parse(c, &body, why);
    if (body.is_large)
        free(body.p);
    return r;
}
