/* rfc5322_words.c - encoded words (RFC 2047), both ways.
 *
 * Owns nothing; results live in the arena. Called through rfc5322.h. Never fails, never suspends. Lenient where senders are:
 * words may touch other text, hold spaces or be longer than 75 characters.
 */
#include "base/encode.h"
#include "wire/charset.h"
#include "wire/rfc5322.h"

#define TEXT_MAX ((size_t)4 << 20)

struct word {
    struct slice charset, text;
    char encoding;                       /* 'b' or 'q' */
    size_t length;                       /* of the whole "=?...?=" */
};

struct decoder {
    struct buf out;
    struct buf bytes;                    /* decoded, of adjacent words in one charset: a character may be cut between them */
    struct slice charset;
};

static bool cut_to(struct slice *rest, char c, struct slice *out)
{
    ptrdiff_t at = slice_find_char(*rest, c);

    if (at < 0)
        return false;
    *out = slice_head(*rest, (size_t)at);
    *rest = slice_tail(*rest, (size_t)at + 1);
    return true;
}

/* "=?charset*lang?B?text?=" at the start of s. The charset is short, so a "?" far away is none of ours. */
static bool parse_word(struct slice s, struct word *w)
{
    struct slice rest = slice_tail(s, 2), encoding, bare;
    struct slice near = slice_head(rest, CHARSET_NAME_MAX * 2);
    ptrdiff_t end;

    if (!cut_to(&near, '?', &w->charset) || w->charset.n == 0)
        return false;
    rest = slice_tail(rest, w->charset.n + 1);
    if (rest.n < 3 || rest.p[1] != '?')
        return false;
    encoding = slice_head(rest, 1);
    w->encoding = ascii_lower(encoding.p[0]);
    if (w->encoding != 'b' && w->encoding != 'q')
        return false;
    rest = slice_tail(rest, 2);
    end = slice_find_char(rest, '?');
    if (end < 0 || (size_t)end + 1 >= rest.n || rest.p[end + 1] != '=')
        return false;
    w->text = slice_head(rest, (size_t)end);
    w->length = (size_t)(w->text.p + w->text.n + 2 - s.p);
    bare = w->charset;
    if (cut_to(&bare, '*', &w->charset))             /* RFC 2231 5: a language behind the charset */
        return w->charset.n > 0;
    return true;
}

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decode_q(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        int high = c == '=' && i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text.p[i + 2]) : -1;

        if (c == '_') {
            c = ' ';
        } else if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        (void)buf_append_char(out, c);
    }
}

static void decode_b(struct slice text, struct buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        uint32_t v;

        if (c >= 'A' && c <= 'Z')
            v = (uint32_t)(c - 'A');
        else if (c >= 'a' && c <= 'z')
            v = (uint32_t)(c - 'a') + 26;
        else if (c >= '0' && c <= '9')
            v = (uint32_t)(c - '0') + 52;
        else if (c == '+' || c == '/')
            v = c == '+' ? 62 : 63;
        else if (c == '=')                           /* some join padded pieces: start afresh */
            v = bits = count = 0;
        else
            continue;
        if (c == '=')
            continue;
        bits = bits << 6 | v;
        count += 6;
        if (count >= 8) {
            count -= 8;
            (void)buf_append_char(out, (char)(bits >> count & 0xFF));
        }
    }
}

static void flush_bytes(struct decoder *d)
{
    if (d->bytes.n)
        (void)charset_to_utf8(d->charset, buf_slice(&d->bytes), &d->out);
    buf_reset(&d->bytes);
}

static void add_word(struct decoder *d, const struct word *w)
{
    if (d->bytes.n && !slice_equal_nocase(d->charset, w->charset))
        flush_bytes(d);
    d->charset = w->charset;
    if (w->encoding == 'q')
        decode_q(w->text, &d->bytes);
    else
        decode_b(w->text, &d->bytes);
}

static void add_text(struct decoder *d, struct slice text)
{
    flush_bytes(d);
    (void)charset_to_utf8(SLICE_NONE, text, &d->out);
}

static bool is_all_space(struct slice s)
{
    return slice_trim(s).n == 0;
}

static void decode_value(struct decoder *d, struct slice value)
{
    size_t text_from = 0, at = 0;
    bool after_word = false;

    while (at < value.n) {
        struct slice rest = slice_tail(value, at);
        const char *mark = memmem(rest.p, rest.n, "=?", 2);
        struct slice text;
        struct word w;

        if (!mark)
            break;
        at = (size_t)(mark - value.p);
        if (!parse_word(slice_tail(value, at), &w)) {
            at += 2;
            continue;
        }
        text = slice_sub(value, text_from, at - text_from);
        if (text.n && !(after_word && is_all_space(text)))     /* RFC 2047 6.2: space between words is not shown */
            add_text(d, text);
        add_word(d, &w);
        after_word = true;
        at += w.length;
        text_from = at;
    }
    if (text_from < value.n)
        add_text(d, slice_tail(value, text_from));
    flush_bytes(d);
}

struct slice rfc5322_decode_words(struct arena *a, struct slice value)
{
    struct decoder d = { .out = BUF_INIT(TEXT_MAX), .bytes = BUF_INIT(TEXT_MAX) };
    struct slice out;
    char *p;

    value = rfc5322_unfold(a, slice_head(value, TEXT_MAX));
    decode_value(&d, value);
    out = arena_copy(a, buf_slice(&d.out));
    p = (char *)(uintptr_t)out.p;                    /* our own copy */
    for (size_t i = 0; i < out.n; i++)
        if ((unsigned char)p[i] < 32 || p[i] == 127)
            p[i] = ' ';
    buf_free(&d.out);
    buf_free(&d.bytes);
    return slice_trim(out);
}

#define WORD_BYTES 45                                /* 60 characters of base64, 72 with the frame (RFC 2047 2: 75) */

struct slice rfc5322_encode_words(struct arena *a, struct slice utf8)
{
    AUTO(buf_free) struct buf out = BUF_INIT(TEXT_MAX * 2);
    bool plain = utf8.n == 0 || memmem(utf8.p, utf8.n, "=?", 2) == NULL;

    for (size_t i = 0; plain && i < utf8.n; i++)
        plain = utf8.p[i] >= 32 && utf8.p[i] < 127;
    if (plain)
        return utf8;
    utf8 = slice_head(utf8, TEXT_MAX);
    while (utf8.n > 0) {
        size_t take = utf8.n < WORD_BYTES ? utf8.n : WORD_BYTES;

        while (take < utf8.n && take > WORD_BYTES - 4 && ((unsigned char)utf8.p[take] & 0xC0) == 0x80)
            take--;
        if (out.n)
            (void)buf_append_cstr(&out, "\r\n ");
        (void)buf_printf(&out, "=?UTF-8?B?%.*s?=", SLICE(base64_encode(a, slice_head(utf8, take))));
        utf8 = slice_tail(utf8, take);
    }
    return arena_copy(a, buf_slice(&out));
}
