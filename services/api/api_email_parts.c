/* api_email_parts.c - attachments, alternatives and invitations of a request, to parts of a message; decoded piece by piece as they are sent.
 *
 * Owns      struct email_content: a reader of the spool for an uploaded file (email_contents_free).
 * Fails     with the key of what is wrong, at once or, for bytes that are no base64, while the message is written.
 */
#include "api_email.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)48 << 10)
#define CID_MAX     200
#define TYPE_MAX    200
#define PART_HEADERS_MAX 20

enum coding { CODING_PLAIN, CODING_BASE64, CODING_HEX };

struct email_content {
    struct email_draft *draft;
    enum coding coding;
    struct slice text;                         /* what is left of it */
    unsigned bits, bit_count;
    bool padded;
    char *piece;                               /* PIECE_BYTES, for decoded bytes */
    const struct spool *spool;                 /* or a file: */
    struct spool_reader *reader;
    uint64_t offset, left;
};

/* ---- decoding ------------------------------------------------------------------------------------------------ */

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One digit; a whole byte comes out every now and then. False: no digit. */
static bool decode_digit(struct email_content *k, char c, size_t *n)
{
    unsigned width = k->coding == CODING_HEX ? 4 : 6;
    int v = k->coding == CODING_HEX ? hex_value(c) : base64_value(c);

    if (ascii_is_space(c) || (k->coding == CODING_BASE64 && c == '=')) {
        k->padded = k->padded || c == '=';
        return true;
    }
    if (v < 0 || k->padded)
        return false;
    k->bits = k->bits << width | (unsigned)v;
    k->bit_count += width;
    if (k->bit_count >= 8) {
        k->bit_count -= 8;
        k->piece[(*n)++] = (char)(k->bits >> k->bit_count);
        k->bits &= (1U << k->bit_count) - 1;
    }
    return true;
}

static int decode_piece(struct email_content *k, struct slice *piece, struct fault *why)
{
    size_t n = 0, i = 0;

    for (; i < k->text.n && n < PIECE_BYTES; i++)
        if (!decode_digit(k, k->text.p[i], &n)) {
            k->draft->refusal = "INVALID_CONTENT_ENCODING";
            return fault_set(why, FAULT_INVALID, "content is not in the encoding it claims");
        }
    k->text = slice_tail(k->text, i);
    *piece = slice_make(k->piece, n);
    return 0;
}

static int read_piece(struct email_content *k, struct slice *piece, struct fault *why)
{
    int r = 1;

    if (k->reader == NULL)
        k->reader = spool_reader_new(k->spool, k->offset);
    *piece = SLICE_NONE;
    if (k->left > 0)
        r = spool_reader_next(k->reader, piece, why);
    *piece = slice_head(*piece, k->left < SIZE_MAX ? (size_t)k->left : SIZE_MAX);
    k->left -= piece->n;
    return r < 0 ? -1 : 0;
}

static int pull(void *arg, struct slice *piece, struct fault *why)
{
    struct email_content *k = arg;

    return k->spool != NULL ? read_piece(k, piece, why) : decode_piece(k, piece, why);
}

static bool read_coding(struct slice name, enum coding *out)
{
    static const struct slice plain[] = { LIT("utf-8"), LIT("utf8"), LIT("ascii"), LIT("") };

    *out = slice_equal_nocase(name, LIT("base64")) || slice_equal_nocase(name, LIT("base64url")) ? CODING_BASE64
           : slice_equal_nocase(name, LIT("hex"))                                                ? CODING_HEX
                                                                                                 : CODING_PLAIN;
    for (size_t i = 0; *out == CODING_PLAIN && i < COUNT(plain); i++)
        if (slice_equal_nocase(name, plain[i]))
            return true;
    return *out != CODING_PLAIN;
}

bool email_text_decode(struct arena *a, struct slice text, struct slice encoding, struct slice *out)
{
    struct email_draft draft = { .refusal = NULL };
    struct email_content k = { .draft = &draft, .text = text };
    size_t n = 0;

    if (!read_coding(encoding, &k.coding))
        return false;
    *out = text;
    if (k.coding == CODING_PLAIN)
        return true;
    k.piece = arena_alloc(a, text.n + 1);
    for (size_t i = 0; i < text.n; i++)
        if (!decode_digit(&k, text.p[i], &n))
            return false;
    *out = slice_make(k.piece, n);
    return true;
}

/* ---- names and types -------------------------------------------------------------------------------------------- */

static struct slice type_of_name(struct slice filename)
{
    static const struct { const char *end, *type; } known[] = {
        { ".pdf", "application/pdf" }, { ".png", "image/png" }, { ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" }, { ".gif", "image/gif" },
        { ".webp", "image/webp" }, { ".svg", "image/svg+xml" }, { ".txt", "text/plain" }, { ".csv", "text/csv" }, { ".html", "text/html" },
        { ".ics", "text/calendar" }, { ".vcf", "text/vcard" }, { ".json", "application/json" }, { ".xml", "application/xml" },
        { ".zip", "application/zip" }, { ".gz", "application/gzip" }, { ".mp3", "audio/mpeg" }, { ".mp4", "video/mp4" }, { ".doc", "application/msword" },
        { ".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
        { ".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
        { ".pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
    };

    for (size_t i = 0; i < COUNT(known); i++)
        if (slice_has_suffix_nocase(filename, slice_of(known[i].end)))
            return slice_of(known[i].type);
    return LIT("application/octet-stream");
}

/* A multipart or a message may not be encoded in base64 (RFC 2045 6.4): it travels as plain bytes of its name. */
static bool is_type(struct slice type)
{
    ptrdiff_t slash = slice_find_char(type, '/');

    for (size_t i = 0; i < type.n; i++)
        if (type.p[i] < 32 || type.p[i] > 126)
            return false;
    return slash > 0 && (size_t)slash + 1 < type.n && type.n <= TYPE_MAX && !slice_has_prefix_nocase(type, LIT("multipart/")) &&
           !slice_has_prefix_nocase(type, LIT("message/"));
}

static struct slice choose_type(struct slice given, struct slice filename)
{
    return is_type(given) ? given : type_of_name(filename);
}

static bool read_cid(struct arena *a, struct slice given, struct slice *out)
{
    given = slice_trim(given);
    if (slice_has_prefix(given, LIT("<")) && slice_has_suffix(given, LIT(">")))
        given = slice_sub(given, 1, given.n - 2);
    for (size_t i = 0; i < given.n; i++)
        if (given.p[i] <= 32 || given.p[i] > 126 || strchr("<>()\"\\", given.p[i]) != NULL)
            return false;
    *out = arena_copy(a, given);
    return given.n <= CID_MAX;
}

/* ---- parts ---------------------------------------------------------------------------------------------------------- */

static struct email_content *content_new(struct api_call *c, struct email_draft *d)
{
    struct email_content *k;

    if (d->contents == NULL)
        d->contents = ARENA_ARRAY(c->arena, struct email_content, 2 * COMPOSE_PARTS_MAX + EMAIL_FILES_MAX);
    k = &d->contents[d->content_count++];
    k->draft = d;
    return k;
}

void email_contents_free(struct email_draft *d)
{
    for (size_t i = 0; i < d->content_count; i++) {
        spool_reader_free(&d->contents[i].reader);
        free(d->contents[i].piece);
        d->contents[i].piece = NULL;
    }
}

/* Decoding needs a buffer only while its part is written; the first piece makes it. */
static int pull_decoded(void *arg, struct slice *piece, struct fault *why)
{
    struct email_content *k = arg;
    int r;

    if (k->piece == NULL && (k->piece = malloc(PIECE_BYTES)) == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no memory");
    r = pull(arg, piece, why);
    if (r < 0 || piece->n == 0) {
        free(k->piece);
        k->piece = NULL;
        *piece = SLICE_NONE;
    }
    return r;
}

static const char *read_content(struct api_call *c, struct email_draft *d, const json_t *from, struct compose_part *out)
{
    const json_t *content = json_object_get(from, "content");
    struct email_content *k;
    enum coding coding;

    if (json_object_get(from, "path") != NULL || json_object_get(from, "href") != NULL || json_object_get(content, "path") != NULL ||
        json_object_get(content, "href") != NULL)
        return "ATTACHMENT_BY_REFERENCE";
    if (!json_is_string(content) || !read_coding(json_get_slice(from, "encoding"), &coding))
        return "INVALID_ATTACHMENT";
    out->content = slice_make(json_string_value(content), json_string_length(content));
    if (coding == CODING_PLAIN)
        return NULL;
    k = content_new(c, d);
    k->coding = coding;
    k->text = out->content;
    out->pull = pull_decoded;
    out->arg = k;
    return NULL;
}

/* More fields of a part; those that say what it is are ours. */
static bool read_part_headers(struct api_call *c, const json_t *headers, struct compose_part *out)
{
    struct compose_header *list = ARENA_ARRAY(c->arena, struct compose_header, PART_HEADERS_MAX);
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)headers, name, value) {
        if (!json_is_string(value) || out->header_count == PART_HEADERS_MAX || slice_has_prefix_nocase(slice_of(name), LIT("Content-")))
            return false;
        list[out->header_count++] = (struct compose_header){ slice_of(name), slice_make(json_string_value(value), json_string_length(value)) };
    }
    out->headers = list;
    return headers == NULL || json_is_null(headers) || json_is_object(headers);
}

static const char *read_part(struct api_call *c, struct email_draft *d, const json_t *from, struct compose_part *out)
{
    const char *wrong;

    *out = (struct compose_part){ .filename = json_get_slice(from, "filename") };
    if (!json_is_object(from))
        return "INVALID_ATTACHMENT";
    wrong = read_content(c, d, from, out);
    if (wrong != NULL)
        return wrong;
    out->type = choose_type(json_get_slice(from, "contentType"), out->filename);
    out->is_inline = slice_equal_nocase(json_get_slice(from, "contentDisposition"), LIT("inline"));
    return read_cid(c->arena, json_get_slice(from, "cid"), &out->cid) && read_part_headers(c, json_object_get(from, "headers"), out) ? NULL : "INVALID_ATTACHMENT";
}

static const char *read_list(struct api_call *c, struct email_draft *d, const char *key, size_t files, struct compose_part **out, size_t *count)
{
    const json_t *list = json_object_get(c->body, key);
    const char *wrong = NULL;
    json_t *one;
    size_t i;

    *out = NULL;
    *count = 0;
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return "ATTACHMENTS_MUST_BE_ARRAY";
    if (json_array_size(list) + files > COMPOSE_PARTS_MAX)
        return "TOO_MANY_FILES";
    *out = ARENA_ARRAY(c->arena, struct compose_part, COMPOSE_PARTS_MAX + 1);
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
        if (wrong == NULL)
            wrong = read_part(c, d, one, &(*out)[(*count)++]);
    return wrong;
}

static void add_file(struct api_call *c, const struct email_body *body, struct email_draft *d, const struct email_file *f, struct compose_part *out)
{
    struct email_content *k = content_new(c, d);

    *k = (struct email_content){ .draft = d, .spool = body->spool, .offset = f->offset, .left = f->bytes };
    *out = (struct compose_part){ .filename = f->filename, .type = choose_type(f->type, f->filename), .pull = pull, .arg = k };
}

/* An invitation: a text alternative, and a file for clients that look only at attachments. */
static const char *read_ical(struct api_call *c, struct email_draft *d)
{
    const json_t *ical = json_object_get(c->body, "icalEvent");
    struct slice method = json_get_slice(ical, "method"), text = json_is_string(ical) ? json_get_slice(c->body, "icalEvent") : json_get_slice(ical, "content");

    if (ical == NULL || json_is_null(ical))
        return NULL;
    if (json_object_get(ical, "path") != NULL || json_object_get(ical, "href") != NULL)
        return "ATTACHMENT_BY_REFERENCE";
    for (size_t i = 0; i < method.n; i++)
        if (!ascii_is_alpha(method.p[i]))
            return "INVALID_ICAL_EVENT";
    if (text.n == 0 || method.n > 20 || !email_text_decode(c->arena, text, json_get_slice(ical, "encoding"), &d->compose.ical))
        return "INVALID_ICAL_EVENT";
    d->compose.ical_method = method;
    return NULL;
}

/* ---- pictures inside the HTML ----------------------------------------------------------------------------------------- */

struct data_url { struct slice before, type, base64; };

/* The next src="data:image/...;base64,..." of *rest, taken off with what stands before it. */
static bool next_data_url(struct slice *rest, struct data_url *out)
{
    size_t from = 0;
    ptrdiff_t at;

    while ((at = slice_find(slice_tail(*rest, from), LIT("data:image/"))) >= 0) {
        size_t begin = from + (size_t)at;
        char quote = begin > 0 ? rest->p[begin - 1] : ' ';
        struct slice url = slice_tail(*rest, begin + 5);
        ptrdiff_t end = quote == '"' || quote == '\'' ? slice_find_char(url, quote) : -1, mark;

        from = begin + 1;
        if (end < 0)
            continue;
        url = slice_head(url, (size_t)end);
        mark = slice_find(url, LIT(";base64,"));
        if (mark < 0 || !is_type(slice_head(url, (size_t)mark)))
            continue;
        *out = (struct data_url){ .before = slice_head(*rest, begin), .type = slice_head(url, (size_t)mark), .base64 = slice_tail(url, (size_t)mark + 8) };
        *rest = slice_tail(*rest, begin + 5 + (size_t)end);
        return true;
    }
    return false;
}

static const char *attach_data_urls(struct api_call *c, struct email_draft *d, struct compose_part *parts, size_t room, size_t *count)
{
    AUTO(buf_free) struct buf html = BUF_INIT(EMAIL_BODY_BYTES_MAX);
    struct slice rest = d->compose.html;
    struct data_url url;

    for (size_t n = 0; next_data_url(&rest, &url); n++) {
        struct email_content *k;

        if (n == room)
            return "TOO_MANY_FILES";
        k = content_new(c, d);
        k->coding = CODING_BASE64;
        k->text = url.base64;
        parts[*count] = (struct compose_part){ .type = url.type, .cid = arena_printf(c->arena, "%s@%s", object_id_new().s, c->api->config->smtp_host),
                                               .is_inline = true, .pull = pull_decoded, .arg = k };
        (void)buf_append(&html, url.before);
        (void)buf_printf(&html, "cid:%.*s", SLICE(parts[*count].cid));
        (*count)++;
    }
    if (html.n == 0)
        return NULL;
    (void)buf_append(&html, rest);
    d->compose.html = arena_copy(c->arena, buf_slice(&html));
    return NULL;
}

const char *email_parts_read(struct api_call *c, const struct email_body *body, struct email_draft *d)
{
    struct compose_part *alternatives, *attachments;
    size_t alternative_count, count;
    const char *wrong = read_list(c, d, "alternatives", 0, &alternatives, &alternative_count);

    if (wrong == NULL)
        wrong = read_list(c, d, "attachments", body->file_count, &attachments, &count);
    if (wrong == NULL)
        wrong = read_ical(c, d);
    if (wrong != NULL)
        return wrong;
    for (size_t i = 0; i < body->file_count; i++)
        add_file(c, body, d, &body->files[i], &attachments[count++]);
    if (api_bool(c, "attachDataUrls", false) && (wrong = attach_data_urls(c, d, attachments, COMPOSE_PARTS_MAX - count, &count)) != NULL)
        return wrong;
    d->compose.alternatives = alternatives;
    d->compose.alternative_count = alternative_count;
    d->compose.attachments = attachments;
    d->compose.attachment_count = count;
    return NULL;
}
