/* imap_format.c - strings, mailbox names, flags and numbers in IMAP's forms.
 *
 * Owns a constant table of the 32 combinations of system flags. Called by imap's replies. Never suspends.
 */
#include "wire/imap/imap_format.h"
#include "wire/imap/imap_name.h"

#define QUOTED_MAX 1024u                /* longer strings go as literals */

static bool may_be_quoted(struct slice s, bool utf8)
{
    if (s.n > QUOTED_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char u = (unsigned char)s.p[i];
        if (u == '\r' || u == '\n' || u == 0 || (u >= 0x80 && !utf8))
            return false;
    }
    return !utf8 || slice_is_utf8(s);
}

static int put_quoted(struct buf *out, struct slice s)
{
    (void)buf_append_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            (void)buf_append_char(out, '\\');
        (void)buf_append_char(out, s.p[i]);
    }
    return buf_append_char(out, '"');
}

int imap_put_string(struct buf *out, struct slice s, bool utf8)
{
    if (may_be_quoted(s, utf8))
        return put_quoted(out, s);
    (void)buf_append_char(out, '{');
    (void)buf_append_u64(out, s.n);
    (void)buf_append(out, LIT("}\r\n"));
    return buf_append(out, s);
}

int imap_put_mailbox(struct buf *out, struct slice path, bool utf8, struct arena *scratch)
{
    return imap_put_string(out, utf8 ? path : imap_name_encode(path, scratch), utf8);
}

#define S "\\Seen "
#define A "\\Answered "
#define F "\\Flagged "
#define D "\\Deleted "
#define DR "\\Draft "
#define ROW(text) { (text), sizeof(text) - 1 }
/* in the order of the bits of enum mailbox_flag; each name is followed by a space, which the last loses */
static const struct slice system_flags[32] = {
    ROW(""),         ROW(S),          ROW(A),          ROW(S A),          ROW(F),          ROW(S F),
    ROW(A F),        ROW(S A F),      ROW(D),          ROW(S D),          ROW(A D),        ROW(S A D),
    ROW(F D),        ROW(S F D),      ROW(A F D),      ROW(S A F D),      ROW(DR),         ROW(S DR),
    ROW(A DR),       ROW(S A DR),     ROW(F DR),       ROW(S F DR),       ROW(A F DR),     ROW(S A F DR),
    ROW(D DR),       ROW(S D DR),     ROW(A D DR),     ROW(S A D DR),     ROW(F D DR),     ROW(S F D DR),
    ROW(A F D DR),   ROW(S A F D DR),
};

struct slice imap_system_flags_text(uint32_t flags)
{
    struct slice text = system_flags[flags & 31];

    return text.n ? slice_head(text, text.n - 1) : text;
}

int imap_put_flags(struct buf *out, uint32_t flags, const uint64_t bits[2], const struct slice *keywords, size_t keyword_count)
{
    struct slice text = imap_system_flags_text(flags);
    bool any = text.n > 0;

    (void)buf_append_char(out, '(');
    (void)buf_append(out, text);
    for (size_t word = 0; word < 2; word++)
        for (uint64_t left = bits[word]; left; left &= left - 1) {
            size_t i = word * 64 + (size_t)__builtin_ctzll(left);
            if (i >= keyword_count)
                break;
            if (any)
                (void)buf_append_char(out, ' ');
            (void)buf_append(out, keywords[i]);
            any = true;
        }
    return buf_append_char(out, ')');
}

char *imap_write_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n)
        *p++ = digits[--n];
    return p;
}
