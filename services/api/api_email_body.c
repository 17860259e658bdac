/* api_email_body.c - what came with POST /v1/emails: JSON and forms as everywhere; multipart with files through a spool, in flat memory.
 *
 * Owns      the spool in struct email_body: fields and files one behind the other, read back when all is here.
 * Fails     for what the client did wrong with a refusal. Suspends while the client sends.
 */
#include "api_email.h"

#include "net/multipart.h"

struct field { struct slice name; uint64_t offset, bytes; };

struct upload {
    struct api_call *c;
    struct email_body *body;
    struct field fields[EMAIL_FIELDS_MAX];
    size_t field_count, single_count;
    uint64_t *bytes;                           /* of the part being read */
    bool is_nameless_file;                     /* an input nobody chose a file for */
    const char *refusal;
};

/* ---- a part ------------------------------------------------------------------------------------------------ */

static struct slice header_value(struct slice header, struct slice name)
{
    struct slice line;

    while (slice_cut(&header, '\n', &line))
        if (slice_has_prefix_nocase(line, name) && line.n > name.n && line.p[name.n] == ':')
            return slice_trim(slice_tail(line, name.n + 1));
    return SLICE_NONE;
}

/* filename*=UTF-8''... (RFC 8187) before filename=; browsers send UTF-8 as it is, and %22 for quotes. */
static struct slice file_name(struct arena *a, struct slice disposition, bool *is_file)
{
    struct slice extended = api_header_param(a, disposition, "filename*"), plain = api_header_param(a, disposition, "filename"), name;

    *is_file = extended.p != NULL || plain.p != NULL;
    if (slice_has_prefix_nocase(extended, LIT("UTF-8''")) && http_unescape(a, slice_tail(extended, 7), false, &name))
        plain = name;
    if (!slice_is_utf8(plain) || slice_find_char(plain, '\0') >= 0)
        return SLICE_NONE;
    for (ptrdiff_t slash; (slash = slice_rfind_char(plain, '/')) >= 0 || (slash = slice_rfind_char(plain, '\\')) >= 0;)
        plain = slice_tail(plain, (size_t)slash + 1);
    return plain;
}

static int refuse_part(struct upload *u, const char *key, struct fault *why)
{
    u->refusal = key;
    return fault_set(why, FAULT_INVALID, "%s", key);
}

static int begin_file(struct upload *u, struct slice field, struct slice filename, struct slice header, struct fault *why)
{
    bool single = slice_equal(field, LIT("attachment"));
    struct email_file *f = &u->body->files[u->body->file_count];

    if (!single && !slice_equal(field, LIT("attachments")) && !slice_equal(field, LIT("attachments[]")))
        return refuse_part(u, "UNEXPECTED_FILE", why);
    u->single_count += (size_t)single;
    if (u->single_count > 1 || u->body->file_count == EMAIL_FILES_MAX)
        return refuse_part(u, "TOO_MANY_FILES", why);
    *f = (struct email_file){ .filename = filename, .type = arena_copy(u->c->arena, header_value(header, LIT("Content-Type"))),
                              .offset = spool_size_bytes(u->body->spool) };
    u->body->file_count++;
    u->bytes = &f->bytes;
    return 0;
}

static int begin_part(void *arg, struct slice header, struct fault *why)
{
    struct upload *u = arg;
    struct slice disposition = header_value(header, LIT("Content-Disposition")), name, filename;
    bool is_file;

    name = api_header_param(u->c->arena, disposition, "name");
    filename = file_name(u->c->arena, disposition, &is_file);
    if (!slice_has_prefix_nocase(disposition, LIT("form-data")) || name.n == 0)
        return refuse_part(u, "INVALID_FORM", why);
    u->is_nameless_file = is_file && filename.n == 0;
    if (is_file)
        return begin_file(u, name, filename, header, why);
    if (u->field_count == EMAIL_FIELDS_MAX)
        return refuse_part(u, "INVALID_FORM", why);
    u->fields[u->field_count] = (struct field){ .name = name, .offset = spool_size_bytes(u->body->spool) };
    u->bytes = &u->fields[u->field_count++].bytes;
    return 0;
}

static int take_bytes(void *arg, struct slice bytes, struct fault *why)
{
    struct upload *u = arg;

    *u->bytes += bytes.n;
    return spool_append(u->body->spool, bytes, why);
}

static int end_part(void *arg, UNUSED struct fault *why)
{
    struct upload *u = arg;

    if (u->is_nameless_file && *u->bytes == 0)
        u->body->file_count--;
    return 0;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static int receive(struct upload *u, struct fault *why)
{
    static const struct multipart_handlers handlers = { .part = begin_part, .data = take_bytes, .end = end_part };
    struct http_request *rq = u->c->rq;
    struct multipart m;
    struct slice piece;
    int r;

    if (multipart_init(&m, api_header_param(u->c->arena, http_request_header(rq, LIT("content-type")), "boundary"), &handlers, u, why) < 0)
        return refuse_part(u, "INVALID_FORM", why);
    while ((r = http_read(rq, &piece, why)) == 0 && piece.n > 0)
        if ((r = multipart_feed(&m, piece, why)) < 0)
            break;
    if (r == 0)
        r = multipart_finish(&m, why);
    multipart_deinit(&m);
    return r;
}

static int read_field(struct upload *u, const struct field *f, struct fault *why)
{
    struct spool_reader *reader = spool_reader_new(u->body->spool, f->offset);
    char *to = arena_alloc(u->c->arena, (size_t)f->bytes + 1), *at = to;
    size_t left = (size_t)f->bytes;
    struct slice piece;
    int r = 1;

    while (left > 0 && (r = spool_reader_next(reader, &piece, why)) > 0) {
        piece = slice_head(piece, left);
        memcpy(at, piece.p, piece.n);
        at += piece.n;
        left -= piece.n;
    }
    spool_reader_free(&reader);
    if (r < 0)
        return -1;
    return api_form_put(u->c->arena, u->c->body, f->name, slice_make(to, (size_t)f->bytes)) ? 0 : refuse_part(u, "INVALID_FORM", why);
}

static int read_fields(struct upload *u, struct fault *why)
{
    uint64_t all = 0;

    for (size_t i = 0; i < u->field_count; i++)
        all += u->fields[i].bytes;
    if (all > API_BODY_BYTES_MAX && api_big_body_begin(u->c, why) < 0)
        return -1;
    for (size_t i = 0; i < u->field_count; i++)
        if (read_field(u, &u->fields[i], why) < 0)
            return -1;
    return 0;
}

/* 1: answered. */
static int refuse(struct upload *u, struct fault *why)
{
    struct api_call *c = u->c;
    enum fault_code code = why->code;

    http_close_after(c->rq);
    if (u->refusal == NULL && code != FAULT_LIMIT && code != FAULT_PROTOCOL && code != FAULT_TIMEOUT)
        return -1;
    why->code = FAULT_NONE;
    if (u->refusal != NULL)
        (void)api_refuse(c, 400, u->refusal);
    else if (code == FAULT_TIMEOUT)
        (void)api_refuse(c, 408, "TIMED_OUT");
    else if (code == FAULT_LIMIT)
        (void)api_refuse(c, 413, "BODY_TOO_LARGE");
    else
        (void)api_refuse(c, 400, "INVALID_FORM");
    return 1;
}

int email_body_read(struct api_call *c, struct email_body *out, struct fault *why)
{
    struct slice type = http_request_header(c->rq, LIT("content-type"));
    struct upload *u;

    if (!slice_has_prefix_nocase(slice_trim(type), LIT("multipart/form-data")))
        return api_body_read(c, why);
    u = ARENA_NEW(c->arena, struct upload);
    u->c = c;
    u->body = out;
    c->rq->body_bytes_max = EMAIL_BODY_BYTES_MAX;
    out->spool = spool_new(c->api->spools);
    if (receive(u, why) < 0)
        return refuse(u, why);
    c->until = deadline_in_ms(c->api->config->timeout_ms);
    return read_fields(u, why) < 0 ? refuse(u, why) : 0;
}

void email_body_free(struct email_body **b)
{
    if (*b != NULL)
        spool_free(&(*b)->spool);
    *b = NULL;
}
