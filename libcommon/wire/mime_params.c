/* mime_params.c - Content-Type, Content-Disposition and their parameters (RFC 2045 5.1, RFC 2183, RFC 2231).
 *
 * Owns nothing; results point into the value or live in the arena. Called by mime.c and through mime.h. Never fails.
 */
#include "wire/charset.h"
#include "wire/mime.h"
#include "wire/rfc5322.h"

#define VALUE_MAX ((size_t)256 << 10)

struct raw_param { struct slice name, value; };

static void skip_comment(struct slice *s)
{
    unsigned depth = 0;

    while (s->n > 0) {
        char c = s->p[0];

        if (c == '\\' && s->n > 1)
            *s = slice_tail(*s, 1);
        else if (c == '(')
            depth++;
        else if (c == ')')
            depth--;
        *s = slice_tail(*s, 1);
        if (depth == 0)
            return;
    }
}

static void skip_cfws(struct slice *s)
{
    for (;;) {
        *s = slice_trim_left(*s);
        if (s->n == 0 || s->p[0] != '(')
            return;
        skip_comment(s);
    }
}

static struct slice take_token(struct slice *s, const char *stop)
{
    size_t n = 0;

    while (n < s->n && !ascii_is_space(s->p[n]) && (s->p[n] == '\0' || !strchr(stop, s->p[n])))
        n++;
    struct slice token = slice_head(*s, n);
    *s = slice_tail(*s, n);
    return token;
}

static struct slice take_quoted(struct arena *a, struct slice *s)
{
    size_t end = 1, n = 0;
    char *copy;

    while (end < s->n && s->p[end] != '"')
        end += s->p[end] == '\\' && end + 1 < s->n ? 2 : 1;
    copy = arena_alloc(a, end);
    for (size_t i = 1; i < end; i++) {
        if (s->p[i] == '\\' && i + 1 < end)
            i++;
        copy[n++] = s->p[i];
    }
    *s = slice_tail(*s, end + 1);
    return slice_make(copy, n);
}

/* Up to ";": senders forget the quotes around names with spaces. A comment is no part of it. */
static struct slice take_bare(struct slice *s)
{
    ptrdiff_t end = slice_find_char(*s, ';');
    struct slice value = end < 0 ? *s : slice_head(*s, (size_t)end);
    ptrdiff_t comment = slice_find(value, LIT(" ("));

    *s = slice_tail(*s, value.n);
    return slice_trim(comment < 0 ? value : slice_head(value, (size_t)comment));
}

/* "; name=value ..." */
static size_t read_raw(struct arena *a, struct slice s, struct raw_param raw[MIME_PARAMS_MAX])
{
    size_t count = 0;

    while (count < MIME_PARAMS_MAX) {
        ptrdiff_t semicolon = slice_find_char(s, ';');
        struct raw_param p;

        if (semicolon < 0)
            break;
        s = slice_tail(s, (size_t)semicolon + 1);
        skip_cfws(&s);
        p.name = take_token(&s, "=;(");
        skip_cfws(&s);
        if (p.name.n == 0 || s.n == 0 || s.p[0] != '=')
            continue;
        s = slice_tail(s, 1);
        skip_cfws(&s);
        p.value = s.n && s.p[0] == '"' ? take_quoted(a, &s) : take_bare(&s);
        raw[count++] = p;
    }
    return count;
}

/* ---- RFC 2231 -------------------------------------------------------------------------------------------------- */

struct piece { struct slice base; uint32_t number; bool numbered, percent; };

/* "name", "name*", "name*0", "name*0*" */
static struct piece read_piece(struct slice name)
{
    struct piece p = { .base = name };
    ptrdiff_t star = slice_find_char(name, '*');
    struct slice tail;

    if (star <= 0)
        return p;
    tail = slice_tail(name, (size_t)star + 1);
    if (slice_has_suffix(tail, LIT("*")) || tail.n == 0) {
        p.percent = true;
        tail = slice_head(tail, tail.n ? tail.n - 1 : 0);
    }
    if (tail.n && !slice_to_u32(tail, MIME_PARAMS_MAX, &p.number))
        return (struct piece){ .base = name };
    p.numbered = tail.n > 0;
    p.base = slice_head(name, (size_t)star);
    return p;
}

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void append_unpercent(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s.p[i + 2]) : -1;

        if (low >= 0) {
            (void)buf_append_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            (void)buf_append_char(out, s.p[i]);
        }
    }
}

static void append_percent(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= 32 || c >= 127 || strchr("%*'()<>@,;:\\\"/[]?=", c))
            (void)buf_printf(out, "%%%02X", c);
        else
            (void)buf_append_char(out, (char)c);
    }
}

/* Cuts "charset'language'" off a first piece. */
static struct slice take_charset(struct slice *value)
{
    ptrdiff_t first = slice_find_char(*value, '\'');
    ptrdiff_t second = first < 0 ? -1 : slice_find_char(slice_tail(*value, (size_t)first + 1), '\'');
    struct slice charset;

    if (second < 0)
        return SLICE_NONE;
    charset = slice_head(*value, (size_t)first);
    *value = slice_tail(*value, (size_t)(first + second) + 2);
    return charset;
}

static const struct raw_param *find_piece(const struct raw_param *raw, size_t count, struct slice base, uint32_t number, struct piece *out)
{
    for (size_t i = 0; i < count; i++) {
        *out = read_piece(raw[i].name);
        if (out->numbered && out->number == number && slice_equal_nocase(out->base, base))
            return &raw[i];
    }
    return NULL;
}

struct joiner { struct buf bytes, wire; struct slice charset; bool percent; };

static void join_piece(struct joiner *j, struct slice value, bool first, bool percent)
{
    if (first && percent) {
        struct slice whole = value;

        j->charset = take_charset(&value);
        j->percent = true;
        (void)buf_append(&j->wire, slice_head(whole, whole.n - value.n));
        if (whole.n == value.n)
            (void)buf_append_cstr(&j->wire, "''");
    }
    if (percent) {
        append_unpercent(value, &j->bytes);
        (void)buf_append(&j->wire, value);
    } else {
        (void)buf_append(&j->bytes, value);
        append_percent(value, &j->wire);
    }
}

static struct mime_param join_pieces(struct arena *a, const struct raw_param *raw, size_t count, const struct raw_param *first, struct piece p)
{
    struct joiner j = { .bytes = BUF_INIT(VALUE_MAX), .wire = BUF_INIT(VALUE_MAX) };
    AUTO(buf_free) struct buf text = BUF_INIT(VALUE_MAX * 3);
    struct mime_param out = { .name = p.base };
    struct slice base = p.base;

    join_piece(&j, first->value, true, p.percent);
    for (uint32_t n = 1; p.numbered; n++) {
        const struct raw_param *next = find_piece(raw, count, base, n, &p);

        if (!next)
            break;
        join_piece(&j, next->value, false, p.percent);
    }
    if (j.percent) {
        (void)charset_to_utf8(j.charset, buf_slice(&j.bytes), &text);
        out.value = arena_copy(a, buf_slice(&text));
        out.wire = arena_copy(a, buf_slice(&j.wire));
        out.extended = true;
    } else {
        out.value = arena_copy(a, buf_slice(&j.bytes));
    }
    buf_free(&j.bytes);
    buf_free(&j.wire);
    return out;
}

static void read_params(struct arena *a, struct slice s, struct mime_params *out)
{
    struct raw_param raw[MIME_PARAMS_MAX];
    size_t count = read_raw(a, s, raw);

    *out = (struct mime_params){ 0 };
    if (count == 0)
        return;
    out->list = ARENA_ARRAY(a, struct mime_param, count);
    for (size_t i = 0; i < count; i++) {
        struct piece p = read_piece(raw[i].name);

        if (!p.numbered && !p.percent)
            out->list[out->count++] = (struct mime_param){ .name = raw[i].name, .value = raw[i].value };
        else if (!p.numbered || p.number == 0)
            out->list[out->count++] = join_pieces(a, raw, count, &raw[i], p);
    }
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

void mime_parse_type(struct arena *a, struct slice value, struct slice *type, struct slice *subtype, struct mime_params *params)
{
    struct slice s = rfc5322_unfold(a, slice_head(value, VALUE_MAX));

    skip_cfws(&s);
    *type = take_token(&s, "/;(");
    skip_cfws(&s);
    *subtype = SLICE_NONE;
    if (s.n && s.p[0] == '/') {
        s = slice_tail(s, 1);
        skip_cfws(&s);
        *subtype = take_token(&s, ";(");
    }
    read_params(a, s, params);
}

void mime_parse_token(struct arena *a, struct slice value, struct slice *token, struct mime_params *params)
{
    struct slice s = rfc5322_unfold(a, slice_head(value, VALUE_MAX));

    skip_cfws(&s);
    *token = take_token(&s, ";(");
    read_params(a, s, params);
}

struct slice mime_get_param(const struct mime_params *params, struct slice name)
{
    struct slice plain = SLICE_NONE;

    for (size_t i = 0; i < params->count; i++) {
        if (!slice_equal_nocase(params->list[i].name, name))
            continue;
        if (params->list[i].extended)
            return params->list[i].value;
        if (!plain.p)
            plain = params->list[i].value;
    }
    return plain;
}

enum mime_encoding mime_parse_encoding(struct slice value)
{
    static const struct { const char *name; enum mime_encoding encoding; } row[] = {
        { "7bit", MIME_7BIT }, { "8bit", MIME_8BIT }, { "binary", MIME_BINARY },
        { "quoted-printable", MIME_QP }, { "base64", MIME_BASE64 },
    };
    struct slice token;

    skip_cfws(&value);
    token = take_token(&value, ";(");
    if (token.n == 0)
        return MIME_7BIT;
    for (size_t i = 0; i < COUNT(row); i++)
        if (slice_equal_nocase(token, slice_of(row[i].name)))
            return row[i].encoding;
    return MIME_UNKNOWN;
}

bool mime_is_type(const struct mime_part *part, const char *type, const char *subtype)
{
    return slice_equal_nocase(part->type, slice_of(type)) && (!subtype || slice_equal_nocase(part->subtype, slice_of(subtype)));
}

struct slice mime_get_filename(struct arena *a, const struct mime_part *part)
{
    struct slice name = mime_get_param(&part->disposition_params, LIT("filename"));

    if (name.n == 0)
        name = mime_get_param(&part->params, LIT("name"));
    return name.n ? rfc5322_decode_words(a, name) : SLICE_NONE;
}
