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

enum charset_way { WAY_UTF8, WAY_LATIN, WAY_ASCII, WAY_ICONV };

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

static int append_iconv(iconv_t cd, struct slice in, struct buf *out)
{
    char *from = (char *)(uintptr_t)in.p;            /* iconv does not write there */
    size_t left = in.n;
    char piece[PIECE];

    while (left > 0) {
        char *to = piece;
        size_t room = sizeof(piece), before = left;
        size_t r = iconv(cd, &from, &left, &to, &room);
        int err = r == (size_t)-1 ? errno : 0;

        if (append_utf8(slice_make(piece, (size_t)(to - piece)), out) < 0)
            return -1;
        if (err == E2BIG && (left < before || to > piece))
            continue;
        if (err) {
            if (buf_append(out, REPLACEMENT) < 0)
                return -1;
            from++;
            left--;
        }
    }
    return flush_iconv(cd, out);
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
    r = append_iconv(cd, in, out);
    (void)iconv_close(cd);
    return r;
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
