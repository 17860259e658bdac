/* authres.c - Authentication-Results (RFC 8601), written and removed.
 *
 * Owns nothing. Called by mx. Peer bytes become quoted strings without controls, so no value can end the field. Never fails.
 */
#include "mail/authres.h"

#include "base/buf.h"
#include "wire/rfc5322.h"

#define FIELD_MAX ((size_t)64 << 10)
#define VALUE_MAX 512                    /* of one property; an address may have 320 */

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* RFC 2045 token, and "@" for addresses (RFC 8601 2.2: local-part "@" domain-name stands bare). */
static bool is_bare(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= 32 || c == 127 || strchr("()<>,;:\\\"/[]?=", c))
            return false;
    }
    return s.n > 0;
}

static void append_value(struct buf *out, struct slice s)
{
    s = slice_head(s, VALUE_MAX);
    if (is_bare(s)) {
        (void)buf_append(out, s);
        return;
    }
    (void)buf_append_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 32 || c == 127)
            continue;
        if (c == '"' || c == '\\')
            (void)buf_append_char(out, '\\');
        (void)buf_append_char(out, (char)c);
    }
    (void)buf_append_char(out, '"');
}

static void append_comment(struct buf *out, struct slice s)
{
    s = slice_head(s, VALUE_MAX);
    (void)buf_append_cstr(out, " (");
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 32 && c < 127 && c != '(' && c != ')' && c != '\\')
            (void)buf_append_char(out, (char)c);
    }
    (void)buf_append_char(out, ')');
}

static void append_result(struct buf *out, const struct authres_result *r)
{
    (void)buf_printf(out, ";\r\n\t%s=%s", r->method, r->result);
    if (r->reason.n)
        append_comment(out, r->reason);
    for (size_t i = 0; i < r->property_count; i++) {
        const struct authres_property *p = &r->properties[i];

        if (p->value.n == 0)
            continue;
        (void)buf_printf(out, "\r\n\t %s.%s=", p->type, p->name);
        append_value(out, p->value);
    }
}

struct slice authres_format_value(struct arena *a, struct slice authserv_id, const struct authres_result *results, size_t count)
{
    AUTO(buf_free) struct buf out = BUF_INIT(FIELD_MAX);

    (void)buf_append(&out, authserv_id);
    for (size_t i = 0; i < count; i++)
        append_result(&out, &results[i]);
    if (count == 0)
        (void)buf_append_cstr(&out, "; none");
    return arena_copy(a, buf_slice(&out));
}

struct slice authres_format(struct arena *a, struct slice authserv_id, const struct authres_result *results, size_t count)
{
    return arena_printf(a, "Authentication-Results: %.*s\r\n", SLICE(authres_format_value(a, authserv_id, results, count)));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void skip_cfws(struct slice *s)
{
    unsigned depth = 0;

    while (s->n > 0) {
        char c = s->p[0];

        if (c == '(')
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        else if (depth == 0 && !ascii_is_space(c))
            return;
        *s = slice_tail(*s, c == '\\' && s->n > 1 ? 2 : 1);
    }
}

/* The authserv-id: a token or a quoted string, unquoted into `out`. */
static bool read_id(struct slice *s, struct buf *out)
{
    skip_cfws(s);
    if (s->n && s->p[0] == '"') {
        size_t i = 1;

        for (; i < s->n && s->p[i] != '"'; i++) {
            if (s->p[i] == '\\' && i + 1 < s->n)
                i++;
            (void)buf_append_char(out, s->p[i]);
        }
        *s = slice_tail(*s, i + 1);
        return out->n > 0;
    }
    while (s->n && !ascii_is_space(s->p[0]) && s->p[0] != ';' && s->p[0] != '(') {
        (void)buf_append_char(out, s->p[0]);
        *s = slice_tail(*s, 1);
    }
    return out->n > 0;
}

bool authres_is_from(struct slice value, struct slice authserv_id)
{
    AUTO(buf_free) struct buf id = BUF_INIT(FIELD_MAX);

    return !read_id(&value, &id) || slice_equal_nocase(buf_slice(&id), authserv_id);
}

struct slice authres_strip(struct arena *a, struct slice header, struct slice authserv_id)
{
    AUTO(buf_free) struct buf out = BUF_INIT(header.n);
    struct slice rest = header;
    struct rfc5322_field f;
    size_t fields = 0;

    while (rfc5322_next_field(&rest, &f)) {
        fields += f.raw.n;
        if (!slice_equal_nocase(f.name, LIT("Authentication-Results")) || !authres_is_from(f.value, authserv_id))
            (void)buf_append(&out, f.raw);
    }
    if (out.n == fields)
        return header;
    (void)buf_append(&out, slice_tail(header, fields));    /* the blank line, if it is there */
    return arena_copy(a, buf_slice(&out));
}
