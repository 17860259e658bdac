/* imap_render.c - ENVELOPE, BODY and BODYSTRUCTURE from a parsed message.
 *
 * Owns nothing; a small arena per call for decoded values. <0 only when `out` is full. Never suspends.
 */
#include "wire/imap_render.h"

#include "wire/rfc5322.h"

/* ---- strings --------------------------------------------------------------------------------------------------- */

static bool may_be_quoted(struct slice s)
{
    if (s.n > IMAP_QUOTED_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 127 || s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

static void append_quoted(struct slice s, struct buf *out)
{
    (void)buf_append_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            (void)buf_append_char(out, '\\');
        (void)buf_append_char(out, s.p[i]);
    }
    (void)buf_append_char(out, '"');
}

static void append_literal(struct slice s, struct buf *out)
{
    size_t nuls = 0;

    for (size_t i = 0; i < s.n; i++)
        nuls += s.p[i] == '\0';
    (void)buf_printf(out, "{%zu}\r\n", s.n - nuls);
    if (nuls == 0) {
        (void)buf_append(out, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '\0')
            (void)buf_append_char(out, s.p[i]);
}

int imap_render_string(struct slice s, struct buf *out)
{
    if (may_be_quoted(s))
        append_quoted(s, out);
    else
        append_literal(s, out);
    return out->overflowed ? -1 : 0;
}

int imap_render_nstring(struct slice s, struct buf *out)
{
    return s.p ? imap_render_string(s, out) : buf_append_cstr(out, "NIL");
}

static void space_nstring(struct slice s, struct buf *out)
{
    (void)buf_append_char(out, ' ');
    (void)imap_render_nstring(s, out);
}

/* ---- ENVELOPE -------------------------------------------------------------------------------------------------- */

enum { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, MESSAGE_ID, ENVELOPE_COUNT };

static const char *const envelope_names[ENVELOPE_COUNT] = {
    "Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID",
};

static void find_envelope_fields(struct arena *a, struct slice header, struct slice found[ENVELOPE_COUNT])
{
    struct rfc5322_field f;

    while (rfc5322_next_field(&header, &f))
        for (size_t i = 0; i < ENVELOPE_COUNT; i++)
            if (!found[i].p && slice_equal_nocase(f.name, slice_of(envelope_names[i]))) {
                found[i] = rfc5322_unfold(a, f.value);
                break;
            }
}

/* (name adl mailbox host); host NIL marks the ends of a group, so a missing domain is an empty string. */
static void append_address(const struct rfc5322_address *address, struct buf *out)
{
    if (address->kind == ADDRESS_GROUP_BEGIN) {
        (void)buf_append_cstr(out, "(NIL NIL ");
        (void)imap_render_string(address->name, out);
        (void)buf_append_cstr(out, " NIL)");
        return;
    }
    if (address->kind == ADDRESS_GROUP_END) {
        (void)buf_append_cstr(out, "(NIL NIL NIL NIL)");
        return;
    }
    (void)buf_append_char(out, '(');
    (void)imap_render_nstring(address->name, out);
    space_nstring(address->route, out);
    (void)buf_append_char(out, ' ');
    (void)imap_render_string(address->local, out);
    (void)buf_append_char(out, ' ');
    (void)imap_render_string(address->domain, out);
    (void)buf_append_char(out, ')');
}

static void append_addresses(const struct rfc5322_address *list, size_t count, struct buf *out)
{
    (void)buf_append_char(out, ' ');
    if (count == 0) {
        (void)buf_append_cstr(out, "NIL");
        return;
    }
    (void)buf_append_char(out, '(');
    for (size_t i = 0; i < count; i++)
        append_address(&list[i], out);
    (void)buf_append_char(out, ')');
}

int imap_render_envelope(struct slice header, struct buf *out)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice field[ENVELOPE_COUNT] = { { NULL, 0 } };
    struct rfc5322_address *from, *list;
    size_t from_count;

    find_envelope_fields(a, header, field);
    from_count = rfc5322_parse_addresses(a, field[FROM], &from);
    (void)buf_append_char(out, '(');
    (void)imap_render_nstring(field[DATE], out);
    space_nstring(field[SUBJECT], out);
    append_addresses(from, from_count, out);
    for (size_t i = SENDER; i <= BCC; i++) {
        size_t count = rfc5322_parse_addresses(a, field[i], &list);

        if (count == 0 && (i == SENDER || i == REPLY_TO))    /* RFC 9051 7.5.2: the server fills these in */
            append_addresses(from, from_count, out);
        else
            append_addresses(list, count, out);
    }
    space_nstring(field[IN_REPLY_TO], out);
    space_nstring(field[MESSAGE_ID], out);
    (void)buf_append_char(out, ')');
    return out->overflowed ? -1 : 0;
}

/* ---- BODY, BODYSTRUCTURE --------------------------------------------------------------------------------------- */

static void append_pair(struct slice name, struct slice value, struct buf *out)
{
    (void)imap_render_string(name, out);
    (void)buf_append_char(out, ' ');
    (void)imap_render_string(value, out);
}

static void append_extended(const struct mime_param *p, struct buf *out)
{
    AUTO(buf_free) struct buf name = BUF_INIT(BUF_MAX_DEFAULT);

    (void)buf_append(&name, p->name);
    (void)buf_append_char(&name, '*');
    append_pair(buf_slice(&name), p->wire, out);
}

static void append_params(const struct mime_params *params, struct buf *out)
{
    if (params->count == 0) {
        (void)buf_append_cstr(out, "NIL");
        return;
    }
    (void)buf_append_char(out, '(');
    for (size_t i = 0; i < params->count; i++) {
        const struct mime_param *p = &params->list[i];

        if (i)
            (void)buf_append_char(out, ' ');
        if (p->extended)                             /* RFC 2231 6: pieces joined, charset and percents left to the client */
            append_extended(p, out);
        else
            append_pair(p->name, p->value, out);
    }
    (void)buf_append_char(out, ')');
}

static void append_type_params(const struct mime_part *part, struct buf *out)
{
    if (part->params.count == 0 && mime_is_type(part, "text", NULL))    /* RFC 2045 5.2 */
        (void)buf_append_cstr(out, "(\"charset\" \"us-ascii\")");
    else
        append_params(&part->params, out);
}

static void append_disposition(const struct mime_part *part, struct buf *out)
{
    if (part->disposition.n == 0) {
        (void)buf_append_cstr(out, " NIL");
        return;
    }
    (void)buf_append_cstr(out, " (");
    (void)imap_render_string(part->disposition, out);
    (void)buf_append_char(out, ' ');
    append_params(&part->disposition_params, out);
    (void)buf_append_char(out, ')');
}

/* body-fld-dsp body-fld-lang body-fld-loc */
static void append_extension(const struct mime_part *part, struct buf *out)
{
    append_disposition(part, out);
    if (part->language_count == 0) {
        (void)buf_append_cstr(out, " NIL");
    } else {
        (void)buf_append_cstr(out, " (");
        for (size_t i = 0; i < part->language_count; i++) {
            if (i)
                (void)buf_append_char(out, ' ');
            (void)imap_render_string(part->languages[i], out);
        }
        (void)buf_append_char(out, ')');
    }
    space_nstring(part->location, out);
}

static void append_part(const struct mime_part *part, struct slice message, enum imap_body_form form, struct buf *out);

static void append_multipart(const struct mime_part *part, struct slice message, enum imap_body_form form, struct buf *out)
{
    for (const struct mime_part *child = part->first_child; child; child = child->next)
        append_part(child, message, form, out);
    if (!part->first_child)                          /* the grammar wants one: an empty text */
        (void)buf_append_cstr(out, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
    (void)buf_append_char(out, ' ');
    (void)imap_render_string(part->subtype, out);
    if (form == IMAP_BODYSTRUCTURE) {
        (void)buf_append_char(out, ' ');
        append_params(&part->params, out);
        append_extension(part, out);
    }
}

static void append_single(const struct mime_part *part, struct slice message, enum imap_body_form form, struct buf *out)
{
    (void)imap_render_string(part->type, out);
    (void)buf_append_char(out, ' ');
    (void)imap_render_string(part->subtype, out);
    (void)buf_append_char(out, ' ');
    append_type_params(part, out);
    space_nstring(part->id, out);
    space_nstring(part->description, out);
    space_nstring(part->encoding_text, out);
    (void)buf_printf(out, " %zu", part->body_len);
    if (part->kind == MIME_MESSAGE) {
        const struct mime_part *inner = part->first_child;

        (void)buf_append_char(out, ' ');
        (void)imap_render_envelope(slice_sub(message, inner->header_at, inner->header_len), out);
        (void)buf_append_char(out, ' ');
        append_part(inner, message, form, out);
    }
    if (part->kind == MIME_MESSAGE || mime_is_type(part, "text", NULL))
        (void)buf_printf(out, " %u", part->body_lines);
    if (form == IMAP_BODYSTRUCTURE) {
        space_nstring(part->md5, out);
        append_extension(part, out);
    }
}

static void append_part(const struct mime_part *part, struct slice message, enum imap_body_form form, struct buf *out)
{
    (void)buf_append_char(out, '(');
    if (part->kind == MIME_MULTIPART)
        append_multipart(part, message, form, out);
    else
        append_single(part, message, form, out);
    (void)buf_append_char(out, ')');
}

int imap_render_body(const struct mime_part *root, struct slice message, enum imap_body_form form, struct buf *out)
{
    append_part(root, message, form, out);
    return out->overflowed ? -1 : 0;
}
