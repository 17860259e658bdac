/* imap_name.c - modified UTF-7 both ways, and LIST patterns.
 *
 * Owns nothing. Called by imap_cursor and LIST. A name that is not canonical is refused, so that two spellings never
 * mean one folder. Matching costs pattern times name, whatever the wildcards. Never suspends.
 */
#include "wire/imap/imap_name.h"
#include "base/buf.h"
#include "wire/imap/imap_cursor.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* ---- encoding ------------------------------------------------------------------------------------------------------- */

static uint32_t take_code_point(const unsigned char **p)
{
    const unsigned char *s = *p;
    unsigned more = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    uint32_t cp = more == 0 ? s[0] : s[0] & (0x3fu >> more);

    for (unsigned i = 1; i <= more; i++)
        cp = cp << 6 | (s[i] & 0x3fu);
    *p += more + 1;
    return cp;
}

struct shift {                          /* the base64 run being written */
    char *to;
    uint32_t bits;
    unsigned count;
};

static void shift_put(struct shift *s, uint32_t unit)
{
    s->bits = s->bits << 16 | unit;
    s->count += 16;
    while (s->count >= 6) {
        s->count -= 6;
        *s->to++ = alphabet[s->bits >> s->count & 63];
    }
}

static char *encode_run(const unsigned char **p, const unsigned char *end, char *to)
{
    struct shift s = { .to = to };

    *s.to++ = '&';
    while (*p < end && (**p < 0x20 || **p > 0x7e)) {
        uint32_t cp = take_code_point(p);
        if (cp >= 0x10000) {
            shift_put(&s, 0xd800 + ((cp - 0x10000) >> 10));
            cp = 0xdc00 + ((cp - 0x10000) & 0x3ff);
        }
        shift_put(&s, cp);
    }
    if (s.count)
        *s.to++ = alphabet[s.bits << (6 - s.count) & 63];
    *s.to++ = '-';
    return s.to;
}

struct slice imap_name_encode(struct slice in, struct arena *a)
{
    const unsigned char *p = (const unsigned char *)in.p, *end = p + in.n;
    char *out = arena_alloc(a, in.n * 5 + 1), *to = out;      /* one control byte becomes "&AAo-" */

    while (p < end) {
        if (*p < 0x20 || *p > 0x7e) {
            to = encode_run(&p, end, to);
            continue;
        }
        *to++ = (char)*p;
        if (*p++ == '&')
            *to++ = '-';
    }
    return slice_make(out, (size_t)(to - out));
}

/* ---- decoding ------------------------------------------------------------------------------------------------------- */

static char *put_code_point(char *to, uint32_t cp)
{
    if (cp < 0x80) {
        *to++ = (char)cp;
        return to;
    }
    if (cp < 0x800) {
        *to++ = (char)(0xc0 | cp >> 6);
    } else {
        if (cp < 0x10000) {
            *to++ = (char)(0xe0 | cp >> 12);
        } else {
            *to++ = (char)(0xf0 | cp >> 18);
            *to++ = (char)(0x80 | (cp >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (cp >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (cp & 0x3f));
    return to;
}

/* The run between & and -; false on a character outside the alphabet or a lone surrogate. */
static bool decode_run(struct slice run, char **to)
{
    uint32_t bits = 0, high = 0;
    unsigned count = 0;

    for (size_t i = 0; i < run.n; i++) {
        const char *at = run.p[i] ? strchr(alphabet, run.p[i]) : NULL;
        uint32_t unit;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        count += 6;
        if (count < 16)
            continue;
        count -= 16;
        unit = bits >> count & 0xffff;
        if (unit >= 0xd800 && unit < 0xdc00) {
            if (high)
                return false;
            high = unit;
        } else if (unit >= 0xdc00 && unit < 0xe000) {
            if (!high)
                return false;
            *to = put_code_point(*to, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
            high = 0;
        } else {
            if (high)
                return false;
            *to = put_code_point(*to, unit);
        }
    }
    return high == 0;
}

bool imap_name_decode(struct slice in, struct arena *a, struct slice *out)
{
    char *text = arena_alloc(a, in.n * 2 + 1), *to = text;
    struct slice rest = in;

    while (rest.n > 0) {
        ptrdiff_t end;
        if (*rest.p != '&') {
            *to++ = *rest.p;
            rest = slice_tail(rest, 1);
            continue;
        }
        rest = slice_tail(rest, 1);
        end = slice_find_char(rest, '-');
        if (end < 0)
            return false;
        if (end == 0)
            *to++ = '&';
        else if (!decode_run(slice_head(rest, (size_t)end), &to))
            return false;
        rest = slice_tail(rest, (size_t)end + 1);
    }
    *out = slice_make(text, (size_t)(to - text));
    return slice_is_utf8(*out) && slice_equal(imap_name_encode(*out, a), in);
}

/* ---- what may be a name ----------------------------------------------------------------------------------------------- */

bool imap_name_is_acceptable(struct slice path)
{
    if (path.n == 0 || path.n > IMAP_NAME_MAX || !slice_is_utf8(path))
        return false;
    if (path.p[0] == '/' || path.p[path.n - 1] == '/' || slice_find(path, LIT("//")) >= 0)
        return false;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char u = (unsigned char)path.p[i];
        if (u < 0x20 || u == 0x7f || u == '%' || u == '*')
            return false;
    }
    return true;
}

/* ---- patterns --------------------------------------------------------------------------------------------------------- */

/* One step of all partial matches at once: reached[i] says that pattern[0..i) matches what was read so far. */
static void match_step(struct slice pattern, bool *reached, char ch, bool nocase)
{
    bool next = false;

    for (size_t i = 0; i <= pattern.n; i++) {
        bool now = next;
        next = false;
        if (reached[i] && i < pattern.n) {
            char want = pattern.p[i];
            if (want == '*' || (want == '%' && ch != '/'))
                now = true;
            else
                next = want == ch || (nocase && ascii_lower(want) == ascii_lower(ch));
        }
        reached[i] = now;
    }
}

/* A wildcard also matches nothing. */
static void match_close(struct slice pattern, bool *reached)
{
    for (size_t i = 0; i < pattern.n; i++)
        if (reached[i] && (pattern.p[i] == '*' || pattern.p[i] == '%'))
            reached[i + 1] = true;
}

static bool matches(struct slice pattern, struct slice path, bool nocase)
{
    bool reached[IMAP_NAME_MAX + 2] = { true };

    match_close(pattern, reached);
    for (size_t i = 0; i < path.n; i++) {
        match_step(pattern, reached, path.p[i], nocase);
        match_close(pattern, reached);
    }
    return reached[pattern.n];
}

bool imap_name_matches(struct slice pattern, struct slice path)
{
    if (pattern.n > IMAP_NAME_MAX)
        return false;
    return matches(pattern, path, slice_equal(path, LIT("INBOX")));
}
