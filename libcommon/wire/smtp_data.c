/* smtp_data.c - message content on the wire: dot-stuffing both ways (RFC 5321 4.5.2), and the one
 * line end there is.
 *
 * Owns nothing; the small states belong to the caller. Called by net/smtp_server and
 * net/smtp_client. Works in blocks: memchr finds what matters, the rest is passed on untouched.
 * Never suspends.
 */
#include "wire/smtp.h"

/* Offset of the first CR or LF in p[0..n) that is not part of a CRLF pair lying wholly inside; a CR
 * as the very last byte is not judged (its LF may follow). n when all is well. */
static size_t find_bare(const char *p, size_t n)
{
    size_t from = 0;

    while (from < n) {
        const char *lf = memchr(p + from, '\n', n - from);
        size_t end = lf ? (size_t)(lf - p) : n;
        const char *cr = memchr(p + from, '\r', end - from);

        if (cr && (size_t)(cr - p) + 1 != end)
            return (size_t)(cr - p);
        if (lf && !cr)
            return end;
        from = end + 1;
    }
    return n;
}

int smtp_line_check(struct smtp_line_check *c, struct slice in)
{
    if (in.n == 0)
        return 0;
    if (c->cr) {
        if (in.p[0] != '\n')
            return -1;
        in = slice_tail(in, 1);
    }
    c->cr = false;
    if (find_bare(in.p, in.n) < in.n)
        return -1;
    c->cr = in.n > 0 && in.p[in.n - 1] == '\r';
    return 0;
}

bool smtp_line_check_is_clean(const struct smtp_line_check *c)
{
    return !c->cr;
}

/* ---- receiving
 * ----------------------------------------------------------------------------------------------------
 */

enum { LINE_START, INSIDE, INSIDE_CR, START_DOT, START_DOT_CR, ENDED };

/* LINE_START: a dot here is not content. */
static enum smtp_dot at_line_start(struct smtp_dot_decoder *d, struct slice *in)
{
    if (in->p[0] == '.') {
        *in = slice_tail(*in, 1);
        d->state = START_DOT;
    } else {
        d->state = INSIDE;
    }
    return SMTP_DOT_MORE;
}

/* Content up to the next line that begins with a dot, or the end of the block. A CR in last place
 * is held back. */
static enum smtp_dot inside(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece)
{
    size_t from = 0;

    for (;;) {
        const char *lf = memchr(in->p + from, '\n', in->n - from);
        size_t end;

        if (!lf)
            break;
        end = (size_t)(lf - in->p);
        from = end + 1;
        if (end == 0 || lf[-1] != '\r') {
            d->bare = true; /* and no line begins here */
            continue;
        }
        if (from == in->n || in->p[from] == '.') {
            d->state = LINE_START;
            break;
        }
    }
    if (d->state == INSIDE) {
        from = in->n;
        if (in->p[in->n - 1] == '\r') {
            from--;
            d->state = INSIDE_CR;
        }
    }
    *piece = slice_head(*in, from);
    if (d->state == INSIDE_CR)
        from++; /* with the CR held back: one before it would be bare */
    if (find_bare(in->p, from) < from)
        d->bare = true;
    *in = slice_tail(*in, from);
    return piece->n > 0 ? SMTP_DOT_PIECE : SMTP_DOT_MORE;
}

/* A CR was held back: it belongs to a CRLF, or is bare and passed on as it is. */
static enum smtp_dot after_cr(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece)
{
    if (in->p[0] == '\n') {
        *in = slice_tail(*in, 1);
        d->state = LINE_START;
        *piece = LIT("\r\n");
    } else {
        d->state = INSIDE;
        d->bare = true;
        *piece = LIT("\r");
    }
    return SMTP_DOT_PIECE;
}

/* "." at a line's start: the end if CRLF follows, else it was stuffed and is dropped. */
static enum smtp_dot after_dot(struct smtp_dot_decoder *d, struct slice *in)
{
    if (in->p[0] == '\r') {
        *in = slice_tail(*in, 1);
        d->state = START_DOT_CR;
    } else {
        d->state = INSIDE;
    }
    return SMTP_DOT_MORE;
}

static enum smtp_dot after_dot_cr(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece)
{
    if (in->p[0] == '\n') {
        *in = slice_tail(*in, 1);
        d->state = ENDED;
        return SMTP_DOT_END;
    }
    d->state = INSIDE;
    d->bare = true;
    *piece = LIT("\r");
    return SMTP_DOT_PIECE;
}

static enum smtp_dot dot_step(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece)
{
    switch (d->state) {
    case LINE_START:
        return at_line_start(d, in);
    case INSIDE_CR:
        return after_cr(d, in, piece);
    case START_DOT:
        return after_dot(d, in);
    case START_DOT_CR:
        return after_dot_cr(d, in, piece);
    default:
        return inside(d, in, piece);
    }
}

enum smtp_dot smtp_dot_decode(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece)
{
    if (d->state == ENDED)
        return SMTP_DOT_END;
    while (in->n > 0) {
        enum smtp_dot r = dot_step(d, in, piece);

        if (r != SMTP_DOT_MORE)
            return r;
    }
    return SMTP_DOT_MORE;
}

/* ---- sending
 * -------------------------------------------------------------------------------------------------------
 */

/* Bytes up to and with the first LF that has a dot behind it; n when there is none. */
static size_t find_line_dot(const char *p, size_t n)
{
    const char *from = p, *lf;

    while ((lf = memchr(from, '\n', (size_t)(p + n - from))) != NULL) {
        from = lf + 1;
        if (from < p + n && *from == '.')
            return (size_t)(from - p);
    }
    return n;
}

int smtp_dot_encode(struct smtp_dot_encoder *e, struct slice in, struct buf *out)
{
    struct smtp_line_check check = {.cr = e->cr};
    bool inside_line = e->inside;

    if (in.n == 0)
        return 0;
    if (smtp_line_check(&check, in) < 0)
        return -1;
    e->cr = check.cr;
    e->inside = in.p[in.n - 1] != '\n';
    while (in.n > 0) {
        size_t n = find_line_dot(in.p, in.n);

        if (!inside_line && in.p[0] == '.')
            (void)buf_append_char(out, '.');
        (void)buf_append(out, slice_head(in, n));
        inside_line = n == in.n;
        in = slice_tail(in, n);
    }
    return out->overflowed ? -1 : 0;
}

int smtp_dot_finish(struct smtp_dot_encoder *e, struct buf *out)
{
    if (e->cr)
        return -1;
    if (e->inside)
        (void)buf_append(out, LIT("\r\n"));
    (void)buf_append(out, LIT(".\r\n"));
    e->inside = false;
    return out->overflowed ? -1 : 0;
}
