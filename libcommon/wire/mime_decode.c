/* mime_decode.c - quoted-printable and base64 (RFC 2045 6.7, 6.8), fed in pieces of any size.
 *
 * Owns nothing. Called through mime_text.h. <0 only when `out` is full. Never suspends.
 */
#include "wire/charset.h"
#include "wire/mime_text.h"

/* ---- base64 ---------------------------------------------------------------------------------------------------- */

#define SKIP 64                          /* not of the alphabet */

static const uint8_t base64_value[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

/* Groups of four letters while they last; returns how many bytes of input they were. */
static size_t decode_groups(const unsigned char *p, size_t n, unsigned char *out)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4, out += 3) {
        uint8_t a = base64_value[p[i]], b = base64_value[p[i + 1]], c = base64_value[p[i + 2]], d = base64_value[p[i + 3]];
        uint32_t v;

        if ((a | b | c | d) & SKIP)
            break;
        v = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
        out[0] = (unsigned char)(v >> 16);
        out[1] = (unsigned char)(v >> 8);
        out[2] = (unsigned char)v;
    }
    return i;
}

static int feed_base64(struct mime_decoder *d, struct slice in, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    unsigned char *to;
    size_t i = 0;

    if (buf_reserve(out, in.n / 4 * 3 + 4) < 0)
        return -1;
    to = (unsigned char *)out->p + out->n;
    while (i < in.n) {
        uint8_t v;

        if (d->count == 0) {
            size_t used = decode_groups(p + i, in.n - i, to);

            i += used;
            to += used / 4 * 3;
            if (i == in.n)
                break;
        }
        v = base64_value[p[i]];
        if (p[i] == '=') {                           /* the end, or of one of several joined pieces */
            d->count = 0;
            d->bits = 0;
        } else if (v != SKIP) {
            d->bits = d->bits << 6 | v;
            d->count += 6;
            if (d->count >= 8) {
                d->count -= 8;
                *to++ = (unsigned char)(d->bits >> d->count);
            }
        }
        i++;
    }
    out->n = (size_t)((char *)to - out->p);
    out->p[out->n] = '\0';
    return 0;
}

/* ---- quoted-printable ------------------------------------------------------------------------------------------ */

enum { QP_TEXT, QP_ESCAPE, QP_DIGIT, QP_CR, QP_SPACE };

static bool is_end_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void release_space(struct mime_decoder *d, struct buf *out)
{
    (void)buf_append(out, slice_make(d->space, d->space_len));
    d->space_len = 0;
}

/* White space at the end of a piece: whether it stays is known when the next byte comes. */
static void hold_space(struct mime_decoder *d, struct slice s, struct buf *out)
{
    if (!d->space_long && d->space_len + s.n > sizeof(d->space)) {
        release_space(d, out);
        d->space_long = true;
    }
    if (d->space_long) {
        (void)buf_append(out, s);
        return;
    }
    memcpy(d->space + d->space_len, s.p, s.n);
    d->space_len += s.n;
}

static size_t end_space(struct slice s)
{
    size_t n = 0;

    while (n < s.n && is_end_space(s.p[s.n - 1 - n]))
        n++;
    return n;
}

/* A piece of a line without "=" and without its line end. */
static void take_text(struct mime_decoder *d, struct slice s, struct buf *out)
{
    size_t tail = end_space(s);

    if (tail < s.n) {
        release_space(d, out);
        d->space_long = false;
        (void)buf_append(out, slice_head(s, s.n - tail));
    }
    if (tail)
        hold_space(d, slice_tail(s, s.n - tail), out);
}

/* RFC 2045 6.7 (3): white space before a line end was added on the way. */
static void end_line(struct mime_decoder *d, struct buf *out)
{
    bool cr = d->space_len && d->space[d->space_len - 1] == '\r';

    d->space_len = 0;
    d->space_long = false;
    (void)buf_append(out, cr ? LIT("\r\n") : LIT("\n"));
}

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte behind a "="; false when it is not part of the escape and must be looked at again. */
static bool step_escape(struct mime_decoder *d, char c, struct buf *out)
{
    int state = d->state;

    d->state = QP_TEXT;
    if (state == QP_DIGIT) {
        if (hex_value(c) >= 0) {
            (void)buf_append_char(out, (char)(hex_value(d->digit) << 4 | hex_value(c)));
            return true;
        }
        (void)buf_append_char(out, '=');
        (void)buf_append_char(out, d->digit);
        return false;
    }
    if (c == '\n')
        return true;
    if (state == QP_CR)
        return false;
    if (c == '\r' || c == ' ' || c == '\t') {
        d->state = c == '\r' ? QP_CR : QP_SPACE;
        return true;
    }
    if (state == QP_ESCAPE && hex_value(c) >= 0) {
        d->digit = c;
        d->state = QP_DIGIT;
        return true;
    }
    (void)buf_append_char(out, '=');
    return false;
}

static int feed_qp(struct mime_decoder *d, struct slice in, struct buf *out)
{
    while (in.n > 0 && !out->overflowed) {
        const char *nl, *eq;
        size_t n;

        if (d->state != QP_TEXT) {
            if (step_escape(d, in.p[0], out))
                in = slice_tail(in, 1);
            continue;
        }
        nl = memchr(in.p, '\n', in.n);
        n = nl ? (size_t)(nl - in.p) : in.n;
        eq = n ? memchr(in.p, '=', n) : NULL;
        if (eq) {
            take_text(d, slice_head(in, (size_t)(eq - in.p)), out);
            release_space(d, out);
            d->space_long = false;
            d->state = QP_ESCAPE;
            in = slice_tail(in, (size_t)(eq - in.p) + 1);
            continue;
        }
        take_text(d, slice_head(in, n), out);
        if (nl)
            end_line(d, out);
        in = slice_tail(in, nl ? n + 1 : n);
    }
    return out->overflowed ? -1 : 0;
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding)
{
    memset(d, 0, sizeof(*d));
    d->encoding = encoding;
}

int mime_decoder_feed(struct mime_decoder *d, struct slice in, struct buf *out)
{
    if (d->encoding == MIME_BASE64)
        return feed_base64(d, in, out);
    if (d->encoding == MIME_QP)
        return feed_qp(d, in, out);
    return buf_append(out, in);
}

int mime_decoder_finish(struct mime_decoder *d, struct buf *out)
{
    if (d->encoding != MIME_QP)
        return 0;
    if (d->state == QP_DIGIT) {
        (void)buf_append_char(out, '=');
        (void)buf_append_char(out, d->digit);
    }
    d->state = QP_TEXT;
    d->space_len = 0;                                /* the end of the body ends its last line */
    return out->overflowed ? -1 : 0;
}

int mime_decode_body(const struct mime_part *part, struct slice message, struct buf *out)
{
    struct mime_decoder d;

    mime_decoder_init(&d, part->encoding);
    if (mime_decoder_feed(&d, slice_sub(message, part->body_at, part->body_len), out) < 0)
        return -1;
    return mime_decoder_finish(&d, out);
}

int mime_decode_text(const struct mime_part *part, struct slice message, struct buf *out)
{
    AUTO(buf_free) struct buf bytes = BUF_INIT(part->body_len + 8);
    struct slice charset = mime_get_param(&part->params, LIT("charset"));

    if (part->encoding != MIME_QP && part->encoding != MIME_BASE64)
        return charset_to_utf8(charset, slice_sub(message, part->body_at, part->body_len), out);
    if (mime_decode_body(part, message, &bytes) < 0)
        return -1;
    return charset_to_utf8(charset, buf_slice(&bytes), out);
}
