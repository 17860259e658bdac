/* compose.c - see compose.h: header fields, parameters, the tree of parts.
 *
 * Tree: mixed( alternative( text, watch, amp, related( html, its images ), invitation, alternatives ), attachments ), each level only when
 * it has more than one child. Owns nothing.
 */
#include "mail/compose_internal.h"

#include "base/secret.h"
#include "wire/rfc5322.h"

#define HEADER_BYTES_MAX ((size_t)192 << 10)
#define FOLD_AT          76

/* ---- values ------------------------------------------------------------------------------------------------ */

bool is_safe_value(struct slice s)
{
    if (s.n > COMPOSE_VALUE_MAX || !slice_is_utf8(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

/* RFC 5322 2.2: printable ASCII but the colon. */
static bool is_field_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 32 || s.p[i] >= 127 || s.p[i] == ':')
            return false;
    return s.n > 0 && s.n <= 76;
}

static struct slice without_controls(struct arena *a, struct slice s)
{
    char *copy = arena_cstr(a, s);

    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)copy[i] < 32 || copy[i] == 127)
            copy[i] = ' ';
    return slice_make(copy, s.n);
}

/* Folds at blanks; a word that is longer than a line stays whole, up to the 998 that is_safe_value's callers see to. */
static void append_folded(struct buf *out, struct slice value, size_t column)
{
    while (value.n > 0) {
        size_t word = 0;

        while (word < value.n && (value.p[word] == ' ' || value.p[word] == '\t'))
            word++;
        while (word < value.n && value.p[word] != ' ' && value.p[word] != '\t' && value.p[word] != '\n')
            word++;
        if (word < value.n && value.p[word] == '\n')           /* encoded words come folded already */
            word++;
        if (column + word > FOLD_AT && (value.p[0] == ' ' || value.p[0] == '\t') && column > 0) {
            (void)buf_append(out, LIT("\r\n"));
            column = 0;
        }
        (void)buf_append(out, slice_head(value, word));
        column = value.p[word - 1] == '\n' ? 0 : column + word;
        value = slice_tail(value, word);
    }
}

static bool has_long_word(struct slice s)
{
    size_t run = 0;

    for (size_t i = 0; i < s.n; i++) {
        run = s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\n' ? 0 : run + 1;
        if (run > 900)
            return true;
    }
    return false;
}

static int append_raw(struct buf *out, struct slice name, struct slice value, struct fault *why)
{
    if (has_long_word(value))
        return fault_set(why, FAULT_INVALID, "%.*s has a word that does not fit on a line", SLICE(name));
    (void)buf_append(out, name);
    (void)buf_append(out, LIT(": "));
    append_folded(out, value, name.n + 2);
    return buf_append(out, LIT("\r\n")) < 0 ? fault_set(why, FAULT_LIMIT, "the header is longer than %zu bytes", HEADER_BYTES_MAX) : 0;
}

int append_field(struct buf *out, struct arena *a, struct slice name, struct slice value, struct fault *why)
{
    if (!is_field_name(name) || !is_safe_value(value))
        return fault_set(why, FAULT_INVALID, "header %.*s has characters that may not stand there", SLICE(slice_head(name, 60)));
    return append_raw(out, name, rfc5322_encode_words(a, without_controls(a, value)), why);
}

/* ---- addresses ----------------------------------------------------------------------------------------------- */

static bool is_atom_text(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && strchr("!#$%&'*+-/=?^_`{|}~ ", s.p[i]) == NULL)
            return false;
    return true;
}

static struct slice quoted(struct arena *a, struct slice s)
{
    AUTO(buf_free) struct buf out = BUF_INIT(2 * COMPOSE_VALUE_MAX + 8);

    (void)buf_append_char(&out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            (void)buf_append_char(&out, '\\');
        (void)buf_append_char(&out, s.p[i]);
    }
    (void)buf_append_char(&out, '"');
    return arena_copy(a, buf_slice(&out));
}

int compose_address(struct arena *a, struct slice name, struct slice address, struct slice *out, struct fault *why)
{
    struct slice shown;

    if (!is_safe_value(name) || !is_safe_value(address) || slice_find_char(address, '@') <= 0 || slice_find_char(address, ' ') >= 0 ||
        slice_find_char(address, '<') >= 0 || slice_find_char(address, '>') >= 0 || slice_find_char(address, ',') >= 0)
        return fault_set(why, FAULT_INVALID, "not an address");
    if (name.n == 0) {
        *out = address;
        return 0;
    }
    name = without_controls(a, name);
    if (!slice_is_ascii(name) || slice_find(name, LIT("=?")) >= 0)     /* what looks like an encoded word would be decoded, in quotes, too */
        shown = rfc5322_encode_words(a, name);
    else
        shown = is_atom_text(name) ? name : quoted(a, name);
    *out = arena_printf(a, "%.*s <%.*s>", SLICE(shown), SLICE(address));
    return 0;
}

/* ---- parameters (RFC 2231) -------------------------------------------------------------------------------------- */

static bool is_attribute_char(unsigned char c)
{
    return c > 32 && c < 127 && strchr("*'%()<>@,;:\\\"/[]?=", c) == NULL;
}

/* name*0*=UTF-8''..., one piece a line. */
static void append_extended(struct buf *out, const char *name, struct slice value)
{
    unsigned piece = 0;

    for (size_t i = 0; i < value.n; piece++) {
        size_t column = strlen(name) + 16;

        (void)buf_printf(out, ";\r\n %s*%u*=%s", name, piece, piece == 0 ? "UTF-8''" : "");
        for (; i < value.n && column < 70; i++) {
            unsigned char c = (unsigned char)value.p[i];

            if (is_attribute_char(c))
                (void)buf_append_char(out, (char)c);
            else
                (void)buf_printf(out, "%%%02X", c);
            column += is_attribute_char(c) ? 1 : 3;
        }
    }
}

int append_parameter(struct buf *out, struct arena *a, const char *name, struct slice value)
{
    bool short_ascii = slice_is_ascii(value) && value.n <= 60;

    value = without_controls(a, value);
    if (short_ascii)
        return buf_printf(out, ";\r\n %s=%.*s", name, SLICE(quoted(a, value)));
    append_extended(out, name, value);
    return out->overflowed ? -1 : 0;
}

/* ---- the tree ------------------------------------------------------------------------------------------------------ */

static size_t count_related(const struct compose *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->attachment_count; i++)
        n += (size_t)(m->html.p != NULL && m->attachments[i].cid.n > 0);
    return n;
}

static size_t count_texts(const struct compose *m)
{
    return (size_t)(m->text.p != NULL) + (m->watch_html.p != NULL) + (m->amp.p != NULL) + (m->html.p != NULL) + (m->ical.p != NULL) + m->alternative_count;
}

enum shape { SHAPE_EMPTY, SHAPE_SINGLE, SHAPE_ALTERNATIVE };

static enum shape shape_of_texts(const struct compose *m)
{
    size_t n = count_texts(m);

    return n == 0 ? SHAPE_EMPTY : n == 1 ? SHAPE_SINGLE : SHAPE_ALTERNATIVE;
}

static bool is_mixed(const struct compose *m)
{
    size_t attached = m->attachment_count - count_related(m);

    return attached > 1 || (attached > 0 && count_texts(m) > 0);
}

static void write_text_part(struct writer *w, const char *type, struct slice text, enum compose_encoding how)
{
    write_text(w, "Content-Type: %s; charset=utf-8\r\n", type);
    write_encoded_text(w, text, how);
}

static void write_part_headers(struct writer *w, const struct compose_part *p)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(buf_free) struct buf out = BUF_INIT(HEADER_BYTES_MAX);

    (void)buf_printf(&out, "Content-Type: %.*s", SLICE(p->type.n > 0 ? p->type : LIT("application/octet-stream")));
    if (p->filename.n > 0)
        (void)append_parameter(&out, a, "name", p->filename);
    (void)buf_printf(&out, "\r\nContent-Disposition: %s", p->is_inline || p->cid.n > 0 ? "inline" : "attachment");
    if (p->filename.n > 0)
        (void)append_parameter(&out, a, "filename", p->filename);
    (void)buf_append(&out, LIT("\r\n"));
    if (p->cid.n > 0)
        (void)buf_printf(&out, "Content-ID: <%.*s>\r\n", SLICE(p->cid));
    for (size_t i = 0; i < p->header_count && w->result == 0; i++)
        if (append_field(&out, a, p->headers[i].name, p->headers[i].value, w->why) < 0)
            w->result = -1;
    (void)buf_append(&out, LIT("Content-Transfer-Encoding: base64\r\n\r\n"));
    write_bytes(w, buf_slice(&out));
}

static void write_part(struct writer *w, const struct compose_part *p)
{
    write_part_headers(w, p);
    write_base64_part(w, p);
}

static void open_boundary(struct writer *w, const struct compose *m, char level)
{
    write_text(w, "\r\n--%c_%s\r\n", level, m->boundary);
}

static void close_boundary(struct writer *w, const struct compose *m, char level)
{
    write_text(w, "\r\n--%c_%s--\r\n", level, m->boundary);
}

static void write_html(struct writer *w, const struct compose *m)
{
    if (count_related(m) == 0) {
        write_text_part(w, "text/html", m->html, m->encoding);
        return;
    }
    write_text(w, "Content-Type: multipart/related; type=\"text/html\";\r\n boundary=\"r_%s\"\r\n\r\n", m->boundary);
    if (w->head_only)
        return;
    open_boundary(w, m, 'r');
    write_text_part(w, "text/html", m->html, m->encoding);
    for (size_t i = 0; i < m->attachment_count; i++)
        if (m->attachments[i].cid.n > 0) {
            open_boundary(w, m, 'r');
            write_part(w, &m->attachments[i]);
        }
    close_boundary(w, m, 'r');
}

static void write_ical(struct writer *w, const struct compose *m)
{
    write_text(w, "Content-Type: text/calendar; charset=utf-8; method=%.*s\r\n", SLICE(m->ical_method.n > 0 ? m->ical_method : LIT("PUBLISH")));
    write_encoded_text(w, m->ical, COMPOSE_BASE64);
}

/* One child of the alternative level, the i-th that is there; false: no more. */
static bool write_alternative(struct writer *w, const struct compose *m, size_t i)
{
    if (m->text.p != NULL && i-- == 0)
        write_text_part(w, "text/plain", m->text, m->encoding);
    else if (m->watch_html.p != NULL && i-- == 0)
        write_text_part(w, "text/watch-html", m->watch_html, m->encoding);
    else if (m->amp.p != NULL && i-- == 0)
        write_text_part(w, "text/x-amp-html", m->amp, m->encoding);
    else if (m->html.p != NULL && i-- == 0)
        write_html(w, m);
    else if (m->ical.p != NULL && i-- == 0)
        write_ical(w, m);
    else if (i < m->alternative_count)
        write_part(w, &m->alternatives[i]);
    else
        return false;
    return true;
}

static void write_texts(struct writer *w, const struct compose *m)
{
    if (shape_of_texts(m) == SHAPE_EMPTY) {
        write_text_part(w, "text/plain", LIT(""), COMPOSE_SHORTEST);
        return;
    }
    if (shape_of_texts(m) == SHAPE_SINGLE) {
        (void)write_alternative(w, m, 0);
        return;
    }
    write_text(w, "Content-Type: multipart/alternative;\r\n boundary=\"a_%s\"\r\n\r\n", m->boundary);
    if (w->head_only)
        return;
    for (size_t i = 0; i < count_texts(m); i++) {
        open_boundary(w, m, 'a');
        (void)write_alternative(w, m, i);
    }
    close_boundary(w, m, 'a');
}

static void write_attached(struct writer *w, const struct compose *m)
{
    for (size_t i = 0; i < m->attachment_count; i++) {
        if (m->html.p != NULL && m->attachments[i].cid.n > 0)
            continue;
        if (is_mixed(m))
            open_boundary(w, m, 'm');
        write_part(w, &m->attachments[i]);
    }
}

/* The top part with its header lines. */
static void write_top(struct writer *w, const struct compose *m)
{
    if (!is_mixed(m)) {
        if (m->attachment_count > count_related(m))
            write_attached(w, m);
        else
            write_texts(w, m);
        return;
    }
    write_text(w, "Content-Type: multipart/mixed;\r\n boundary=\"m_%s\"\r\n\r\n", m->boundary);
    if (w->head_only)
        return;
    if (count_texts(m) > 0) {
        open_boundary(w, m, 'm');
        write_texts(w, m);
    }
    write_attached(w, m);
    close_boundary(w, m, 'm');
}

/* ---- header and body apart -------------------------------------------------------------------------------------------- */

#define TOP_HEAD_MAX ((size_t)200 << 10)

static int head_sink(void *arg, struct slice bytes, struct fault *why)
{
    return buf_append(arg, bytes) < 0 ? fault_set(why, FAULT_LIMIT, "the header is too long") : 0;
}

static int top_head(const struct compose *m, struct buf *out, struct fault *why)
{
    struct writer w = { .sink = head_sink, .arg = out, .out = BUF_INIT((size_t)64 << 10), .why = why, .head_only = true };

    write_top(&w, m);
    return write_end(&w);
}

struct body_sink {                             /* what comes behind the top part's header, and a line end at the end */
    compose_sink sink;
    void *arg;
    struct buf head;
    bool in_body;
    char last;
};

static int give(struct body_sink *b, struct slice bytes, struct fault *why)
{
    if (bytes.n == 0)
        return 0;
    b->last = bytes.p[bytes.n - 1];
    return b->sink(b->arg, bytes, why);
}

static int skip_head(void *arg, struct slice bytes, struct fault *why)
{
    struct body_sink *b = arg;
    ptrdiff_t end;

    if (b->in_body)
        return give(b, bytes, why);
    if (buf_append(&b->head, bytes) < 0)
        return fault_set(why, FAULT_LIMIT, "the header is too long");
    end = slice_find(buf_slice(&b->head), LIT("\r\n\r\n"));
    if (end < 0)
        return 0;
    b->in_body = true;
    return give(b, slice_tail(buf_slice(&b->head), (size_t)end + 4), why);
}

int compose_body(const struct compose *m, compose_sink sink, void *arg, struct fault *why)
{
    struct body_sink b = { .sink = sink, .arg = arg, .head = BUF_INIT(TOP_HEAD_MAX) };
    struct writer w = { .sink = skip_head, .arg = &b, .out = BUF_INIT((size_t)64 << 10), .why = why };
    int r;

    write_top(&w, m);
    r = write_end(&w);
    if (r == 0 && b.last != '\n')
        r = sink(arg, LIT("\r\n"), why);
    buf_free(&b.head);
    return r;
}

/* ---- what stands in a part's header as it is ---------------------------------------------------------------------- */

/* RFC 2045 5.1: type/subtype, maybe with parameters, in printable ASCII. */
static bool is_type(struct slice s)
{
    ptrdiff_t slash = slice_find_char(s, '/');

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 32 || s.p[i] > 126)
            return false;
    return s.n == 0 || (slash > 0 && (size_t)slash + 1 < s.n && s.n <= COMPOSE_TYPE_MAX);
}

static bool is_word(struct slice s, size_t most)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 32 || s.p[i] > 126 || s.p[i] == '<' || s.p[i] == '>' || s.p[i] == ';' || s.p[i] == '"')
            return false;
    return s.n <= most;
}

static int check_parts(const struct compose_part *parts, size_t count, struct fault *why)
{
    if (count > COMPOSE_PARTS_MAX)
        return fault_set(why, FAULT_LIMIT, "more than %d parts", COMPOSE_PARTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!is_type(parts[i].type) || !is_word(parts[i].cid, COMPOSE_CID_MAX) || !is_safe_value(parts[i].filename) || parts[i].filename.n > COMPOSE_NAME_MAX)
            return fault_set(why, FAULT_INVALID, "part %zu has a name, type or id that may not stand in a header", i + 1);
    return 0;
}

static int append_given(const struct compose *m, struct buf *out, struct fault *why)
{
    const struct { const char *name; struct slice value; } fields[] = {
        { "From", m->from }, { "Sender", m->sender }, { "To", m->to }, { "Cc", m->cc }, { "Reply-To", m->reply_to }, { "In-Reply-To", m->in_reply_to },
        { "References", m->references }, { "Message-ID", m->message_id }, { "Date", m->date },
    };

    for (size_t i = 0; i < COUNT(fields); i++)
        if (fields[i].value.n > 0 && append_raw(out, slice_of(fields[i].name), fields[i].value, why) < 0)
            return -1;
    return 0;
}

int compose_header(const struct compose *m, struct arena *a, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(HEADER_BYTES_MAX * 2);

    if (!is_word(m->ical_method, COMPOSE_CID_MAX))
        return fault_set(why, FAULT_INVALID, "not a method");
    if (check_parts(m->attachments, m->attachment_count, why) < 0 || check_parts(m->alternatives, m->alternative_count, why) < 0)
        return -1;
    if (append_given(m, &text, why) < 0 || (m->subject.p != NULL && append_field(&text, a, LIT("Subject"), m->subject, why) < 0))
        return -1;
    for (size_t i = 0; i < m->header_count; i++)
        if (append_field(&text, a, m->headers[i].name, m->headers[i].value, why) < 0)
            return -1;
    (void)buf_append(&text, LIT("MIME-Version: 1.0\r\n"));
    if (top_head(m, &text, why) < 0)
        return -1;
    if (text.n > HEADER_BYTES_MAX || text.overflowed)
        return fault_set(why, FAULT_LIMIT, "the header is longer than %zu bytes", HEADER_BYTES_MAX);
    *out = arena_copy(a, buf_slice(&text));
    return 0;
}

void compose_boundary(struct compose *m)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    for (size_t i = 0; i < COMPOSE_BOUNDARY_BYTES; i++)
        m->boundary[i] = letters[random_below(sizeof(letters) - 1)];
    m->boundary[COMPOSE_BOUNDARY_BYTES] = '\0';
}
