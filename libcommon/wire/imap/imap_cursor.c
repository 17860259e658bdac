/* imap_cursor.c - atoms, strings, literals, numbers, mailbox names and flags of a command.
 *
 * Owns nothing beyond the cursor's arena. Called by the commands of imap. Fails on what the grammar of RFC 9051 9
 * does not allow, with few mercies: 8-bit bytes in quoted strings, a bare LF as line end. Never suspends.
 */
#include "wire/imap/imap_cursor.h"
#include "wire/imap/imap_frame.h"
#include "wire/imap/imap_name.h"

struct imap_cursor imap_cursor_make(struct slice command, bool utf8, struct arena *in)
{
    if (command.n > 0 && command.p[command.n - 1] == '\n')
        command.n--;
    if (command.n > 0 && command.p[command.n - 1] == '\r')
        command.n--;
    return (struct imap_cursor){ .p = command.p, .end = command.p + command.n, .in = in, .utf8 = utf8 };
}

bool imap_expected(struct imap_cursor *c, const char *what)
{
    if (!c->error)
        c->error = what;
    return false;
}

/* ---- characters ------------------------------------------------------------------------------------------------- */

bool imap_is_atom_char(char ch)
{
    unsigned char u = (unsigned char)ch;

    return u > 0x20 && u < 0x7f && !strchr("(){%*\"\\]", ch);
}

static bool is_astring_char(char ch)
{
    return imap_is_atom_char(ch) || ch == ']';
}

static bool is_list_char(char ch)
{
    return is_astring_char(ch) || ch == '%' || ch == '*';
}

static bool is_tag_char(char ch)
{
    return is_astring_char(ch) && ch != '+';
}

static bool is_sequence_char(char ch)
{
    return ascii_is_digit(ch) || ch == ':' || ch == ',' || ch == '*' || ch == '$';
}

static bool take_run(struct imap_cursor *c, bool (*is)(char), const char *what, struct slice *out)
{
    const char *from = c->p;

    while (c->p < c->end && is(*c->p))
        c->p++;
    if (c->p == from)
        return imap_expected(c, what);
    *out = slice_make(from, (size_t)(c->p - from));
    return true;
}

bool imap_at_end(struct imap_cursor *c)
{
    return c->p == c->end || imap_expected(c, "unexpected text behind the arguments");
}

bool imap_peek(const struct imap_cursor *c, char want)
{
    return c->p < c->end && *c->p == want;
}

bool imap_skip(struct imap_cursor *c, char want)
{
    if (!imap_peek(c, want))
        return false;
    c->p++;
    return true;
}

bool imap_take_char(struct imap_cursor *c, char want)
{
    if (imap_skip(c, want))
        return true;
    return imap_expected(c, want == '('   ? "expected ("
                            : want == ')' ? "expected )"
                            : want == ' ' ? "missing argument"
                                          : "unexpected character");
}

bool imap_take_space(struct imap_cursor *c)
{
    return imap_take_char(c, ' ');
}

bool imap_skip_word(struct imap_cursor *c, const char *upper)
{
    struct slice want = slice_of(upper), have = slice_make(c->p, (size_t)(c->end - c->p));

    if (!slice_has_prefix_nocase(have, want) || (have.n > want.n && imap_is_atom_char(have.p[want.n])))
        return false;
    c->p += want.n;
    return true;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

bool imap_take_tag(struct imap_cursor *c, struct slice *out)
{
    return take_run(c, is_tag_char, "expected a tag", out);
}

bool imap_take_atom(struct imap_cursor *c, struct slice *out)
{
    return take_run(c, imap_is_atom_char, "expected an atom", out);
}

static bool take_quoted(struct imap_cursor *c, struct slice *out)
{
    const char *p = ++c->p;
    bool escapes = false;
    char *to;

    while (p < c->end && *p != '"') {
        if (*p == '\r' || *p == '\n' || *p == '\0')
            return imap_expected(c, "line end or NUL in a quoted string");
        if (*p == '\\') {
            escapes = true;
            p++;
        }
        p++;
    }
    if (p >= c->end)
        return imap_expected(c, "quoted string without its end");
    *out = slice_make(c->p, (size_t)(p - c->p));
    c->p = p + 1;
    if (!escapes)
        return true;
    to = arena_alloc(c->in, out->n + 1);
    p = out->p;
    *out = slice_make(to, 0);
    for (const char *end = c->p - 1; p < end; p++) {
        if (*p == '\\' && *++p != '"' && *p != '\\')
            return imap_expected(c, "only \" and \\ may be escaped");
        to[out->n++] = *p;
    }
    return true;
}

static bool take_literal(struct imap_cursor *c, struct slice *out)
{
    struct slice rest = slice_make(c->p, (size_t)(c->end - c->p));
    ptrdiff_t lf = slice_find_char(rest, '\n');
    struct slice line = slice_head(rest, lf < 0 ? 0 : (size_t)lf);
    struct imap_literal literal;

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (!imap_literal_find(line, &literal) || literal.at != 0)
        return imap_expected(c, "malformed literal");
    rest = slice_tail(rest, (size_t)lf + 1);
    if (literal.bytes > rest.n)
        return imap_expected(c, "literal is cut short");
    *out = slice_head(rest, (size_t)literal.bytes);
    c->p = out->p + out->n;
    if (out->n > 0 && memchr(out->p, '\0', out->n))
        return imap_expected(c, "NUL in a literal");
    return true;
}

bool imap_take_string(struct imap_cursor *c, struct slice *out)
{
    if (imap_peek(c, '"'))
        return take_quoted(c, out);
    if (imap_peek(c, '{') || (imap_peek(c, '~') && c->end - c->p > 1 && c->p[1] == '{'))
        return take_literal(c, out);
    return imap_expected(c, "expected a string");
}

bool imap_take_astring(struct imap_cursor *c, struct slice *out)
{
    if (imap_peek(c, '"') || imap_peek(c, '{'))
        return imap_take_string(c, out);
    return take_run(c, is_astring_char, "expected a string or an atom", out);
}

bool imap_take_nstring(struct imap_cursor *c, struct slice *out)
{
    if (imap_skip_word(c, "NIL")) {
        *out = SLICE_NONE;
        return true;
    }
    return imap_take_string(c, out);
}

bool imap_take_number(struct imap_cursor *c, uint64_t most, uint64_t *out)
{
    struct slice digits;

    if (!take_run(c, ascii_is_digit, "expected a number", &digits))
        return false;
    return slice_to_u64(digits, most, out) || imap_expected(c, "number out of range");
}

bool imap_take_sequence(struct imap_cursor *c, struct slice *out)
{
    return take_run(c, is_sequence_char, "expected a sequence set", out);
}

/* ---- mailbox names ------------------------------------------------------------------------------------------------ */

static struct slice normalise_inbox(struct imap_cursor *c, struct slice path)
{
    struct slice inbox = LIT("INBOX");

    if (!slice_has_prefix_nocase(path, inbox) || (path.n > inbox.n && path.p[inbox.n] != '/') ||
        slice_has_prefix(path, inbox))
        return path;
    return arena_concat(c->in, (const struct slice[]){ inbox, slice_tail(path, inbox.n) }, 2);
}

static bool decode_name(struct imap_cursor *c, struct slice raw, struct slice *out)
{
    if (raw.n > (size_t)IMAP_NAME_MAX * 3)
        return imap_expected(c, "mailbox name is too long");
    if (!c->utf8 && slice_is_ascii(raw)) {
        if (!imap_name_decode(raw, c->in, out))
            return imap_expected(c, "mailbox name is not modified UTF-7");
    } else {
        if (!slice_is_utf8(raw))
            return imap_expected(c, "mailbox name is not UTF-8");
        *out = raw;
    }
    if (out->n > IMAP_NAME_MAX)
        return imap_expected(c, "mailbox name is too long");
    return true;
}

bool imap_take_mailbox(struct imap_cursor *c, struct slice *out)
{
    struct slice raw;

    if (!imap_take_astring(c, &raw) || !decode_name(c, raw, out))
        return false;
    *out = normalise_inbox(c, *out);
    return true;
}

bool imap_take_pattern(struct imap_cursor *c, struct slice *out)
{
    struct slice raw;
    bool quoted = imap_peek(c, '"') || imap_peek(c, '{');

    if (!(quoted ? imap_take_string(c, &raw) : take_run(c, is_list_char, "expected a pattern", &raw)))
        return false;
    return decode_name(c, raw, out);
}

/* ---- flags ---------------------------------------------------------------------------------------------------------- */

static bool take_system_flag(struct imap_cursor *c, struct imap_flags *out)
{
    static const struct { const char *name; uint32_t bit; } row[] = {
        { "SEEN", FLAG_SEEN },   { "ANSWERED", FLAG_ANSWERED }, { "FLAGGED", FLAG_FLAGGED },
        { "DELETED", FLAG_DELETED }, { "DRAFT", FLAG_DRAFT },   { "RECENT", 0 },
    };
    struct slice name;

    if (!imap_take_atom(c, &name))
        return false;
    for (size_t i = 0; i < COUNT(row); i++)
        if (slice_equal_nocase(name, slice_of(row[i].name))) {
            out->flags |= row[i].bit;
            return true;
        }
    return imap_expected(c, "unknown system flag");
}

static bool take_keyword(struct imap_cursor *c, struct imap_flags *out)
{
    struct slice name;

    if (!imap_take_atom(c, &name))
        return false;
    if (name.n > IMAP_KEYWORD_MAX)
        return imap_expected(c, "keyword is too long");
    for (size_t i = 0; i < out->keyword_count; i++)
        if (slice_equal_nocase(out->keywords[i], name))
            return true;
    if (out->keyword_count == IMAP_KEYWORDS_MAX)
        return imap_expected(c, "too many keywords");
    if (!out->keywords)
        out->keywords = ARENA_ARRAY(c->in, struct slice, IMAP_KEYWORDS_MAX);
    out->keywords[out->keyword_count++] = name;
    return true;
}

bool imap_take_flags(struct imap_cursor *c, enum imap_flag_form form, struct imap_flags *out)
{
    struct imap_flags all = { 0 };
    bool list = imap_skip(c, '(');

    if (!list && form == IMAP_FLAGS_LIST)
        return imap_expected(c, "expected a list of flags");
    if (!(list && imap_skip(c, ')'))) {
        do {
            if (!(imap_skip(c, '\\') ? take_system_flag(c, &all) : take_keyword(c, &all)))
                return false;
        } while (imap_skip(c, ' '));
        if (list && !imap_take_char(c, ')'))
            return false;
    }
    *out = all;
    return true;
}
