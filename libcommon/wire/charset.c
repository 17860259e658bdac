/* charset.c - charsets by iconv, the common ones without it.
 *
 * Owns an iconv descriptor during a call. <0 only when `out` is full. Never suspends; any thread.
 */
#include "wire/charset.h"

#include <errno.h>
#include <iconv.h>

#define REPLACEMENT LIT("\xEF\xBF\xBD")
#define PIECE 4096

/* Names that mean more than they say (as browsers have agreed), and those iconv spells otherwise. */
static const struct { const char *name, *iconv; } aliases[] = {
    { "gb2312", "GB18030" }, { "gbk", "GB18030" }, { "x-gbk", "GB18030" }, { "gb_2312-80", "GB18030" },
    { "ks_c_5601-1987", "CP949" }, { "ks_c_5601", "CP949" }, { "euc-kr", "CP949" }, { "ksc5601", "CP949" },
    { "shift_jis", "CP932" }, { "shift-jis", "CP932" }, { "sjis", "CP932" }, { "x-sjis", "CP932" }, { "windows-31j", "CP932" },
    { "big5", "BIG5-HKSCS" }, { "x-big5", "BIG5-HKSCS" }, { "iso-8859-8-i", "ISO-8859-8" }, { "iso-8859-9", "CP1254" },
    { "iso-8859-11", "CP874" }, { "tis-620", "CP874" }, { "unicode-1-1-utf-7", "UTF-7" }, { "x-mac-roman", "MACINTOSH" },
    { "x-euc-jp", "EUC-JP" }, { "x-user-defined", "CP1252" }, { "iso-2022-jp", "ISO-2022-JP-3" }, { "cp-850", "CP850" },
};

enum charset_way { WAY_UTF8, WAY_LATIN, WAY_ASCII, WAY_ICONV };       /* WAY_ASCII: unknown */

/* windows-1252, 0x80..0x9F; 0 has no meaning there. */
static const uint16_t latin_high[32] = {
    0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
    0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178,
};

static int append_latin(struct slice in, struct buf *out)
{
    size_t i = 0;

    while (i < in.n) {
        size_t from = i;
        unsigned char c;
        uint32_t u;

        while (i < in.n && (unsigned char)in.p[i] < 128)
            i++;
        if (buf_append(out, slice_sub(in, from, i - from)) < 0)
            return -1;
        if (i == in.n)
            break;
        c = (unsigned char)in.p[i++];
        u = c < 0xA0 ? latin_high[c - 0x80] : c;
        if (u == 0)
            u = 0xFFFD;
        if (u >= 0x800 && buf_append_char(out, (char)(0xE0 | u >> 12)) < 0)
            return -1;
        if (buf_append_char(out, (char)(u >= 0x800 ? 0x80 | (u >> 6 & 0x3F) : 0xC0 | u >> 6)) < 0)
            return -1;
        if (buf_append_char(out, (char)(0x80 | (u & 0x3F))) < 0)
            return -1;
    }
    return 0;
}

/* Length of the longest valid beginning. */
static size_t valid_prefix(const unsigned char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t len;

        if (p[i] < 0x80) {
            i++;
            continue;
        }
        len = p[i] < 0xC2 ? 0 : p[i] < 0xE0 ? 2 : p[i] < 0xF0 ? 3 : p[i] < 0xF5 ? 4 : 0;

        if (len == 0 || len > n - i || !slice_is_utf8(slice_make(p + i, len)))
            break;
        i += len;
    }
    return i;
}

/* UTF-8 as it is, every byte that does not belong replaced. */
static int append_utf8(struct slice in, struct buf *out)
{
    if (slice_is_utf8(in))
        return buf_append(out, in);
    while (in.n > 0) {
        size_t good = valid_prefix((const unsigned char *)in.p, in.n);

        if (buf_append(out, slice_head(in, good)) < 0)
            return -1;
        in = slice_tail(in, good);
        if (in.n == 0)
            break;
        if (buf_append(out, REPLACEMENT) < 0)
            return -1;
        in = slice_tail(in, 1);
    }
    return 0;
}

/* Lower-case name iconv may see; false when it holds what no charset's name does ("//" would be an iconv option). */
static bool clean_name(struct slice charset, char name[CHARSET_NAME_MAX])
{
    charset = slice_trim(charset);
    if (charset.n == 0 || charset.n >= CHARSET_NAME_MAX)
        return false;
    for (size_t i = 0; i < charset.n; i++) {
        char c = ascii_lower(charset.p[i]);

        if (!ascii_is_alnum(c) && !strchr("-_.:+", c))
            return false;
        name[i] = c;
    }
    name[charset.n] = '\0';
    return strcmp(name, "internal") != 0 && strcmp(name, "wchar_t") != 0;
}

static enum charset_way find_way(struct slice charset, char name[CHARSET_NAME_MAX])
{
    static const char *const ascii[] = { "us-ascii", "ascii", "ansi_x3.4-1968", "iso-ir-6", "unknown-8bit", "x-unknown" };
    static const char *const latin[] = { "iso-8859-1", "latin1", "iso8859-1", "iso_8859-1", "windows-1252", "cp1252" };

    if (!clean_name(charset, name))
        return WAY_ASCII;
    if (strcmp(name, "utf-8") == 0 || strcmp(name, "utf8") == 0)
        return WAY_UTF8;
    for (size_t i = 0; i < COUNT(ascii); i++)
        if (strcmp(name, ascii[i]) == 0)
            return WAY_ASCII;
    for (size_t i = 0; i < COUNT(latin); i++)
        if (strcmp(name, latin[i]) == 0)
            return WAY_LATIN;
    for (size_t i = 0; i < COUNT(aliases); i++)
        if (strcmp(name, aliases[i].name) == 0) {
            (void)snprintf(name, CHARSET_NAME_MAX, "%s", aliases[i].iconv);
            break;
        }
    return WAY_ICONV;
}

/* Some decoders hold the last character back, to see whether a combining one follows. */
static int flush_iconv(iconv_t cd, struct buf *out)
{
    char piece[64], *to = piece;
    size_t room = sizeof(piece);

    (void)iconv(cd, NULL, NULL, &to, &room);
    return append_utf8(slice_make(piece, (size_t)(to - piece)), out);
}

/* Takes all of `in`, or, when more is to come (`rest` is not NULL), all but the beginning of a last character. */
static int append_iconv(iconv_t cd, struct slice in, struct buf *out, struct slice *rest)
{
    char *from = (char *)(uintptr_t)in.p;            /* iconv does not write there */
    size_t left = in.n;
    char piece[PIECE];

    if (rest)
        *rest = SLICE_NONE;

    while (left > 0) {
        char *to = piece;
        size_t room = sizeof(piece), before = left;
        size_t r = iconv(cd, &from, &left, &to, &room);
        int err = r == (size_t)-1 ? errno : 0;

        if (append_utf8(slice_make(piece, (size_t)(to - piece)), out) < 0)
            return -1;
        if (err == E2BIG && (left < before || to > piece))
            continue;
        if (err == EINVAL && rest) {
            *rest = slice_make(from, left);
            return 0;
        }
        if (err) {
            if (buf_append(out, REPLACEMENT) < 0)
                return -1;
            from++;
            left--;
        }
    }
    return rest ? 0 : flush_iconv(cd, out);
}

int charset_to_utf8(struct slice charset, struct slice in, struct buf *out)
{
    char name[CHARSET_NAME_MAX];
    enum charset_way way = find_way(charset, name);
    iconv_t cd;
    int r;

    if (way == WAY_UTF8)
        return append_utf8(in, out);
    if (way == WAY_LATIN)
        return append_latin(in, out);
    cd = way == WAY_ICONV ? iconv_open("UTF-8", name) : (iconv_t)-1;
    if (cd == (iconv_t)-1)
        return slice_is_utf8(in) ? buf_append(out, in) : append_latin(in, out);
    r = append_iconv(cd, in, out, NULL);
    (void)iconv_close(cd);
    return r;
}

/* ---- in pieces ------------------------------------------------------------------------------------------------------ */

/* Bytes at the end that may be the beginning of a character. */
static size_t unfinished_utf8(struct slice in)
{
    for (size_t back = 1; back <= 3 && back <= in.n; back++) {
        unsigned char c = (unsigned char)in.p[in.n - back];
        size_t len = c < 0xC2 || c > 0xF4 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

        if (len > 0)
            return len > back ? back : 0;
        if (c < 0x80)
            return 0;
    }
    return 0;
}

bool charset_is_guessed(struct slice charset)
{
    struct charset_stream s;
    bool guessed;

    charset_stream_begin(&s, charset, true);
    guessed = s.guessed;
    charset_stream_end(&s);
    return guessed;
}

void charset_stream_begin(struct charset_stream *s, struct slice charset, bool is_utf8)
{
    char name[CHARSET_NAME_MAX];
    iconv_t cd;

    *s = (struct charset_stream){ .way = (int)find_way(charset, name) };
    if (s->way == WAY_ICONV) {
        cd = iconv_open("UTF-8", name);
        if (cd == (iconv_t)-1)
            s->way = WAY_ASCII;
        else
            s->cd = cd;
    }
    s->guessed = s->way == WAY_ASCII;
    if (s->guessed)
        s->way = is_utf8 ? WAY_UTF8 : WAY_LATIN;
}

void charset_stream_end(struct charset_stream *s)
{
    if (s->cd)
        (void)iconv_close(s->cd);
    s->cd = NULL;
    s->held_count = 0;
}

static void hold(struct charset_stream *s, struct slice rest)
{
    if (rest.n > 0)
        memmove(s->held, rest.p, rest.n);
    s->held_count = rest.n;
}

/* One piece without anything held before it. */
static int feed_piece(struct charset_stream *s, struct slice in, struct buf *out)
{
    struct slice rest;
    size_t keep;

    if (s->way == WAY_LATIN)
        return append_latin(in, out);
    if (s->way == WAY_ICONV) {
        if (append_iconv(s->cd, in, out, &rest) < 0)
            return -1;
        if (rest.n > sizeof(s->held))            /* no character is that long */
            return append_iconv(s->cd, rest, out, NULL);
        hold(s, rest);
        return 0;
    }
    keep = unfinished_utf8(in);
    if (append_utf8(slice_head(in, in.n - keep), out) < 0)
        return -1;
    hold(s, slice_tail(in, in.n - keep));
    return 0;
}

int charset_stream_feed(struct charset_stream *s, struct slice in, struct buf *out)
{
    while (s->held_count > 0 && in.n > 0) {      /* byte by byte until the character is whole */
        char joined[sizeof(s->held) + 1];
        size_t n = s->held_count + 1;

        memcpy(joined, s->held, s->held_count);
        joined[s->held_count] = in.p[0];
        s->held_count = 0;
        in = slice_tail(in, 1);
        if (feed_piece(s, slice_make(joined, n), out) < 0)
            return -1;
    }
    return in.n > 0 ? feed_piece(s, in, out) : 0;
}

int charset_stream_finish(struct charset_stream *s, struct buf *out)
{
    struct slice held = slice_make(s->held, s->held_count);
    int r = 0;

    if (s->way == WAY_ICONV)
        r = append_iconv(s->cd, held, out, NULL);
    else if (s->way == WAY_UTF8)
        r = append_utf8(held, out);
    charset_stream_end(s);
    return r;
}

void utf8_check_feed(struct utf8_check *c, struct slice in)
{
    while (!c->bad && in.n > 0) {
        char joined[8];
        size_t n = c->held_count, keep;
        struct slice all = in;

        if (n > 0) {                             /* what was held, with a few bytes more */
            size_t take = in.n < 3 ? in.n : 3;
            memcpy(joined, c->held, n);
            memcpy(joined + n, in.p, take);
            all = slice_make(joined, n + take);
            in = slice_tail(in, take);
        } else {
            in = SLICE_NONE;
        }
        keep = unfinished_utf8(all);
        c->bad = !slice_is_utf8(slice_head(all, all.n - keep));
        memcpy(c->held, all.p + all.n - keep, keep);
        c->held_count = keep;
    }
}

bool utf8_check_finish(const struct utf8_check *c)
{
    return !c->bad && c->held_count == 0;
}

bool charset_is_known(struct slice charset)
{
    char name[CHARSET_NAME_MAX];
    enum charset_way way;
    iconv_t cd;

    if (!clean_name(charset, name))
        return false;
    way = find_way(charset, name);
    if (way != WAY_ICONV)
        return true;
    cd = iconv_open("UTF-8", name);
    if (cd == (iconv_t)-1)
        return false;
    (void)iconv_close(cd);
    return true;
}
