/* compose_encode.c - contents as they travel: text in 7bit, quoted-printable or base64, attachments in base64, all with CRLF.
 *
 * Owns      the gathering buffer of a writer. Fails as sink and part readers do.
 */
#include <openssl/evp.h>

#include "mail/compose_internal.h"

#define GATHER_BYTES ((size_t)32 << 10)
#define LINE_7BIT    78
#define QP_LINE      75                        /* and the soft break's "=" */
#define B64_IN       57                        /* bytes of one line of 76 */

/* ---- the sink --------------------------------------------------------------------------------------------- */

static void flush(struct writer *w)
{
    if (w->result == 0 && w->out.n > 0)
        w->result = w->sink(w->arg, buf_slice(&w->out), w->why);
    buf_reset(&w->out);
}

void write_bytes(struct writer *w, struct slice s)
{
    while (s.n > 0 && w->result == 0) {
        struct slice piece = slice_head(s, GATHER_BYTES - w->out.n);

        (void)buf_append(&w->out, piece);
        s = slice_tail(s, piece.n);
        if (w->out.n >= GATHER_BYTES)
            flush(w);
    }
}

void write_text(struct writer *w, const char *format, ...)
{
    AUTO(buf_free) struct buf text = BUF_INIT((size_t)64 << 10);
    va_list ap;

    va_start(ap, format);
    (void)buf_vprintf(&text, format, ap);
    va_end(ap);
    write_bytes(w, buf_slice(&text));
}

int write_end(struct writer *w)
{
    flush(w);
    buf_free(&w->out);
    return w->result;
}

/* ---- base64 ------------------------------------------------------------------------------------------------- */

struct base64 { unsigned char rest[B64_IN]; size_t n; };

static void base64_line(struct writer *w, const unsigned char *in, size_t n)
{
    unsigned char line[80];
    int got = EVP_EncodeBlock(line, in, (int)n);

    write_bytes(w, slice_make(line, (size_t)got));
    write_bytes(w, LIT("\r\n"));
}

static void base64_feed(struct writer *w, struct base64 *b, struct slice in)
{
    while (in.n > 0) {
        size_t take = B64_IN - b->n < in.n ? B64_IN - b->n : in.n;

        memcpy(b->rest + b->n, in.p, take);
        b->n += take;
        in = slice_tail(in, take);
        if (b->n == B64_IN) {
            base64_line(w, b->rest, b->n);
            b->n = 0;
        }
    }
}

static void base64_end(struct writer *w, struct base64 *b)
{
    if (b->n > 0)
        base64_line(w, b->rest, b->n);
    b->n = 0;
}

void write_base64_part(struct writer *w, const struct compose_part *p)
{
    struct base64 b = { .n = 0 };
    struct slice piece = p->content;

    if (w->head_only)
        return;
    if (p->pull == NULL)
        base64_feed(w, &b, piece);
    while (p->pull != NULL && w->result == 0) {
        if (p->pull(p->arg, &piece, w->why) < 0)
            w->result = -1;
        if (w->result < 0 || piece.n == 0)
            break;
        base64_feed(w, &b, piece);
    }
    base64_end(w, &b);
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

/* Takes a line off *rest, whatever ends it: CRLF, LF or CR. False at the end. */
static bool next_line(struct slice *rest, struct slice *line, bool *ended)
{
    size_t i = 0;

    if (rest->n == 0)
        return false;
    while (i < rest->n && rest->p[i] != '\r' && rest->p[i] != '\n')
        i++;
    *line = slice_head(*rest, i);
    *ended = i < rest->n;
    if (i + 1 < rest->n && rest->p[i] == '\r' && rest->p[i + 1] == '\n')
        i++;
    *rest = slice_tail(*rest, *ended ? i + 1 : i);
    return true;
}

static bool is_plain(struct slice text)
{
    struct slice line;
    bool ended;

    while (next_line(&text, &line, &ended)) {
        if (line.n > LINE_7BIT || slice_has_prefix(line, LIT("From ")))
            return false;
        for (size_t i = 0; i < line.n; i++)
            if ((unsigned char)line.p[i] >= 127 || ((unsigned char)line.p[i] < 32 && line.p[i] != '\t'))
                return false;
    }
    return true;
}

static bool qp_is_literal(struct slice line, size_t i)
{
    unsigned char c = (unsigned char)line.p[i];

    if (c == ' ' || c == '\t')                 /* not before the line's end */
        return i + 1 < line.n;
    if ((c == '.' && i == 0) || (c == 'F' && i == 0))          /* gateways that stuff dots, mbox files that stuff From */
        return false;
    return c > 32 && c < 127 && c != '=';
}

static size_t qp_size(struct slice text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += qp_is_literal(text, i) || text.p[i] == '\r' || text.p[i] == '\n' ? 1 : 3;
    return n + n / QP_LINE * 3;
}

static void qp_line(struct writer *w, struct slice line)
{
    size_t column = 0;

    for (size_t i = 0; i < line.n && w->result == 0; i++) {
        bool literal = qp_is_literal(line, i);
        size_t width = literal ? 1 : 3;

        if (column + width > QP_LINE) {
            write_bytes(w, LIT("=\r\n"));
            column = 0;
        }
        if (literal)
            write_bytes(w, slice_sub(line, i, 1));
        else
            write_text(w, "=%02X", (unsigned char)line.p[i]);
        column += width;
    }
}

static void write_qp(struct writer *w, struct slice text)
{
    struct slice line;
    bool ended;

    write_bytes(w, LIT("Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
    while (!w->head_only && next_line(&text, &line, &ended)) {
        qp_line(w, line);
        if (ended)
            write_bytes(w, LIT("\r\n"));
    }
}

static void write_7bit(struct writer *w, struct slice text)
{
    struct slice line;
    bool ended;

    write_bytes(w, LIT("Content-Transfer-Encoding: 7bit\r\n\r\n"));
    while (!w->head_only && next_line(&text, &line, &ended)) {
        write_bytes(w, line);
        if (ended)
            write_bytes(w, LIT("\r\n"));
    }
}

/* Line ends become CRLF first (RFC 2045 6.8: text is canonical before it is encoded). */
static void write_base64_text(struct writer *w, struct slice text)
{
    struct base64 b = { .n = 0 };
    struct slice line;
    bool ended;

    write_bytes(w, LIT("Content-Transfer-Encoding: base64\r\n\r\n"));
    while (!w->head_only && next_line(&text, &line, &ended)) {
        base64_feed(w, &b, line);
        if (ended)
            base64_feed(w, &b, LIT("\r\n"));
    }
    base64_end(w, &b);
}

void write_encoded_text(struct writer *w, struct slice text, enum compose_encoding how)
{
    if (how == COMPOSE_SHORTEST && is_plain(text))
        write_7bit(w, text);
    else if (how == COMPOSE_BASE64 || (how == COMPOSE_SHORTEST && qp_size(text) > (text.n + 2) / 3 * 4 + text.n / B64_IN * 2))
        write_base64_text(w, text);
    else
        write_qp(w, text);
}
