/* api_email_raw.c - POST /v1/emails with `raw`: a complete message; its header made ASCII where people write emoji, its body passed on.
 *
 * Owns nothing; texts live in the call's arena or its body. Refuses what is no message.
 */
#include "api_email.h"

#include "wire/rfc5322.h"

#define GATHER_BYTES ((size_t)32 << 10)

static int refuse(struct api_call *c, const char *key)
{
    (void)api_refuse(c, 400, key);
    return 1;
}

/* ---- the header ------------------------------------------------------------------------------------------------ */

static bool has_addresses(struct slice name)
{
    static const struct slice fields[] = { LIT("From"), LIT("Sender"), LIT("To"), LIT("Cc"), LIT("Bcc"), LIT("Reply-To") };

    for (size_t i = 0; i < COUNT(fields); i++)
        if (slice_equal_nocase(name, fields[i]))
            return true;
    return false;
}

/* Mailboxes and groups again, names as encoded words. */
static bool rewrite_addresses(struct arena *a, struct slice value, struct slice *out)
{
    struct email_addresses list;

    if (!email_addresses_parse(a, rfc5322_unfold(a, value), &list))
        return false;
    *out = list.text;
    return true;
}

/* One field with CRLF; words in UTF-8 become ASCII, parameters of Content-* stay as they are. */
static bool append_field(struct arena *a, const struct rfc5322_field *f, struct buf *out)
{
    struct slice raw = f->raw, line, text;

    if (!slice_is_ascii(f->raw) && f->name.n > 0 && !slice_has_prefix_nocase(f->name, LIT("Content-"))) {
        if (!has_addresses(f->name))
            text = rfc5322_encode_words(a, rfc5322_decode_words(a, f->value));
        else if (!rewrite_addresses(a, f->value, &text))
            return false;
        return buf_printf(out, "%.*s: %.*s\r\n", SLICE(f->name), SLICE(text)) == 0;
    }
    while (slice_cut(&raw, '\n', &line)) {
        if (slice_has_suffix(line, LIT("\r")))
            line = slice_head(line, line.n - 1);
        if (line.n > 998 || (line.n > 0 && (memchr(line.p, '\r', line.n) != NULL || memchr(line.p, '\0', line.n) != NULL)))
            return false;
        if (line.n > 0 && (buf_append(out, line) < 0 || buf_append(out, LIT("\r\n")) < 0))
            return false;
    }
    return true;
}

static bool rewrite_header(struct arena *a, struct slice header, struct slice *out)
{
    AUTO(buf_free) struct buf text = BUF_INIT(OUTBOUND_HEADER_MAX);
    struct rfc5322_field f;

    while (rfc5322_next_field(&header, &f))
        if (f.name.n == 0 || !append_field(a, &f, &text))
            return false;
    if (buf_append(&text, LIT("\r\n")) < 0 || text.n == 2)
        return false;
    *out = arena_copy(a, buf_slice(&text));
    return true;
}

/* ---- who and to whom ------------------------------------------------------------------------------------------------ */

static bool read_field_addresses(struct arena *a, struct slice header, const char *name, struct email_draft *d)
{
    struct rfc5322_field f;
    struct email_addresses list;

    while (rfc5322_next_field(&header, &f)) {
        if (!slice_equal_nocase(f.name, slice_of(name)))
            continue;
        if (!email_addresses_parse(a, rfc5322_unfold(a, f.value), &list) || !email_recipients_add(a, d, &list))
            return false;
    }
    return true;
}

static int read_envelope(struct api_call *c, struct email_draft *d)
{
    static const char *const fields[] = { "To", "Cc", "Bcc" };
    struct slice value = rfc5322_get_value(c->arena, d->header, LIT("Message-ID")), id;
    struct email_addresses from;

    if (!email_addresses_parse(c->arena, rfc5322_get_value(c->arena, d->header, LIT("From")), &from) || from.count != 1)
        return refuse(c, "INVALID_FROM");
    d->from = from.address[0];
    for (size_t i = 0; i < COUNT(fields); i++)
        if (!read_field_addresses(c->arena, d->header, fields[i], d))
            return refuse(c, "INVALID_RECIPIENT_ADDRESS");
    d->is_given_id = rfc5322_next_msgid(&value, &id);
    return 0;
}

int email_raw_read(struct api_call *c, const json_t *raw, struct email_draft *d, UNUSED struct fault *why)
{
    struct slice text = json_is_string(raw) ? slice_make(json_string_value(raw), json_string_length(raw)) : json_get_slice(raw, "content");
    size_t header;

    if (json_object_get(raw, "path") != NULL || json_object_get(raw, "href") != NULL)
        return refuse(c, "ATTACHMENT_BY_REFERENCE");
    if (text.n == 0 || !email_text_decode(c->arena, text, json_get_slice(raw, "encoding"), &text))
        return refuse(c, "INVALID_RAW");
    header = rfc5322_header_length(text);
    if (header > OUTBOUND_HEADER_MAX || !rewrite_header(c->arena, slice_head(text, header), &d->header))
        return refuse(c, "INVALID_RAW");
    d->is_raw = true;
    d->raw = slice_tail(text, header);
    return read_envelope(c, d);
}

/* ---- the body ----------------------------------------------------------------------------------------------------------- */

struct gather { compose_sink sink; void *arg; struct buf out; };

static int put(struct gather *g, struct slice s, struct fault *why)
{
    if (g->out.n + s.n > GATHER_BYTES) {
        if (g->out.n > 0 && g->sink(g->arg, buf_slice(&g->out), why) < 0)
            return -1;
        buf_reset(&g->out);
    }
    if (s.n > GATHER_BYTES)
        return g->sink(g->arg, s, why);
    return buf_append(&g->out, s);
}

/* A line up to CRLF, LF or CR, taken off. */
static struct slice take_line(struct slice *rest)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    size_t n = lf != NULL ? (size_t)(lf - rest->p) : rest->n, next = lf != NULL ? n + 1 : n;
    const char *cr = memchr(rest->p, '\r', n);
    struct slice line;

    if (cr != NULL) {
        n = (size_t)(cr - rest->p);
        next = n + 1 < rest->n && rest->p[n + 1] == '\n' ? n + 2 : n + 1;
    }
    line = slice_head(*rest, n);
    *rest = slice_tail(*rest, next);
    return line;
}

static int write_raw(struct email_draft *d, struct gather *g, struct fault *why)
{
    struct slice rest = d->raw;

    d->is_8bit = !slice_is_ascii(rest);
    while (rest.n > 0) {
        struct slice line = take_line(&rest);

        if (line.n > 0 && put(g, line, why) < 0)
            return -1;
        if (put(g, LIT("\r\n"), why) < 0)
            return -1;
    }
    return g->out.n > 0 ? g->sink(g->arg, buf_slice(&g->out), why) : 0;
}

int email_draft_write(struct email_draft *d, compose_sink sink, void *arg, struct fault *why)
{
    struct gather g = { .sink = sink, .arg = arg, .out = BUF_INIT(GATHER_BYTES * 2) };
    int r;

    if (!d->is_raw)
        return compose_body(&d->compose, sink, arg, why);
    r = write_raw(d, &g, why);
    buf_free(&g.out);
    return r;
}
