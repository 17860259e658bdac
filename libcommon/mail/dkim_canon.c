/* dkim_canon.c - see dkim_canon.h.
 *
 * Owns nothing but digests. Called by dkim_sign.c and dkim_verify.c. Cannot fail. Does not suspend.
 */
#include "mail/dkim_canon.h"

void dkim_body_init(struct dkim_body *b, bool relaxed, uint64_t limit)
{
    *b = (struct dkim_body){ .md = EVP_MD_CTX_new(), .relaxed = relaxed, .line_empty = true, .limit = limit };
    if (b->md == NULL || EVP_DigestInit_ex(b->md, EVP_sha256(), NULL) != 1)
        abort();
}

void dkim_body_free(struct dkim_body *b)
{
    EVP_MD_CTX_free(b->md);
    b->md = NULL;
}

static void hash(struct dkim_body *b, const char *p, size_t n)
{
    uint64_t room = b->limit - b->hashed;
    size_t take = n < room ? n : (size_t)room;

    b->bytes += n;
    if (take > 0)
        (void)EVP_DigestUpdate(b->md, p, take);
    b->hashed += take;
}

/* Something visible follows: the lines and spaces held back count after all. */
static void release(struct dkim_body *b)
{
    for (; b->blank_lines > 0; b->blank_lines--)
        hash(b, "\r\n", 2);
    if (b->space)
        hash(b, " ", 1);
    b->space = false;
}

static void line_end(struct dkim_body *b)
{
    b->space = false;                  /* relaxed: white space at the end of a line goes */
    if (b->line_empty)
        b->blank_lines++;
    else
        hash(b, "\r\n", 2);
    b->line_empty = true;
}

static bool is_held(const struct dkim_body *b, char c)
{
    return c == '\r' || c == '\n' || (b->relaxed && (c == ' ' || c == '\t'));
}

void dkim_body_add(struct dkim_body *b, struct slice in)
{
    size_t i = 0;

    while (i < in.n) {
        size_t from = i;

        if (b->cr && in.p[i] != '\n') {        /* a bare CR is content */
            release(b);
            hash(b, "\r", 1);
            b->line_empty = false;
        }
        if (in.p[i] == '\n' && b->cr) {
            b->cr = false;
            line_end(b);
            i++;
            continue;
        }
        b->cr = in.p[i] == '\r';
        if (b->cr) {
            i++;
            continue;
        }
        if (b->relaxed && (in.p[i] == ' ' || in.p[i] == '\t')) {
            b->space = true;
            i++;
            continue;
        }
        if (in.p[i] == '\n')                   /* a bare LF is content too */
            i++;
        while (i < in.n && !is_held(b, in.p[i]))
            i++;
        release(b);
        hash(b, in.p + from, i - from);
        b->line_empty = false;
    }
}

void dkim_body_end(struct dkim_body *b, unsigned char digest[32])
{
    if (b->cr) {
        release(b);
        hash(b, "\r", 1);
        b->line_empty = false;
    }
    /* a last line without its end gets one; an empty body is one CRLF (3.4.3), relaxed (3.4.4) nothing */
    if (!b->line_empty || (!b->relaxed && b->bytes == 0))
        hash(b, "\r\n", 2);
    (void)EVP_DigestFinal_ex(b->md, digest, NULL);
}

/* ---- header ------------------------------------------------------------------------------------- */

static size_t field_end(struct slice header, size_t at)
{
    for (;;) {
        ptrdiff_t lf = slice_find_char(slice_tail(header, at), '\n');

        if (lf < 0)
            return header.n;
        at += (size_t)lf + 1;
        if (at >= header.n || (header.p[at] != ' ' && header.p[at] != '\t'))
            return at;
    }
}

size_t dkim_fields(struct arena *a, struct slice header, struct dkim_field **out)
{
    size_t at = 0, n = 0, count = 0;

    for (size_t i = 0; i < header.n; i = field_end(header, i))
        count++;
    *out = ARENA_ARRAY(a, struct dkim_field, count);
    while (at < header.n) {
        size_t end = field_end(header, at);
        struct slice raw = slice_sub(header, at, end - at);
        ptrdiff_t colon = slice_find_char(raw, ':');

        at = end;
        if (slice_has_suffix(raw, LIT("\r\n")))
            raw.n -= 2;
        else if (slice_has_suffix(raw, LIT("\n")))
            raw.n -= 1;
        if (colon <= 0)
            continue;
        (*out)[n].raw = raw;
        (*out)[n++].name = slice_trim_right(slice_head(raw, (size_t)colon));
    }
    return n;
}

static void append_relaxed(struct buf *out, struct slice raw)
{
    size_t colon = (size_t)slice_find_char(raw, ':');
    struct slice name = slice_trim_right(slice_head(raw, colon)), value = slice_trim(slice_tail(raw, colon + 1));
    bool space = false;

    for (size_t i = 0; i < name.n; i++)
        (void)buf_append_char(out, ascii_lower(name.p[i]));
    (void)buf_append_char(out, ':');
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];

        if (c == '\r' || c == '\n')
            continue;
        if (c == ' ' || c == '\t') {
            space = true;
            continue;
        }
        if (space)
            (void)buf_append_char(out, ' ');
        space = false;
        (void)buf_append_char(out, c);
    }
}

void dkim_field_append(struct buf *out, struct slice raw, bool relaxed, bool last)
{
    if (relaxed)
        append_relaxed(out, raw);
    else
        (void)buf_append(out, raw);
    if (!last)
        (void)buf_append_cstr(out, "\r\n");
}
