/* imap_fetch_args.c - the item list and the modifiers of FETCH.
 *
 * Owns nothing beyond the cursor's arena. Called by imap's cmd_fetch. Never suspends.
 */
#include "wire/imap/imap_fetch_args.h"
#include "base/buf.h"
#include "wire/imap/imap_format.h"

#define LABEL_MAX ((size_t)16 << 10)

enum section_form { FORM_BODY, FORM_BINARY };

/* ---- sections --------------------------------------------------------------------------------------------------- */

static bool take_path(struct imap_cursor *c, struct mailbox_section *s, struct buf *label)
{
    while (c->p < c->end && ascii_is_digit(*c->p)) {
        uint64_t number;
        if (!imap_take_number(c, UINT32_MAX, &number))
            return false;
        if (number == 0)
            return imap_expected(c, "parts are numbered from 1");
        if (s->path_len == MAILBOX_SECTION_DEPTH)
            return imap_expected(c, "section is nested too deep");
        s->path[s->path_len++] = (uint32_t)number;
        (void)buf_append_u64(label, number);
        if (!imap_skip(c, '.'))
            return true;
        (void)buf_append_char(label, '.');
        if (c->p < c->end && !ascii_is_alnum(*c->p))
            return imap_expected(c, "malformed section");
    }
    return true;
}

static bool take_fields(struct imap_cursor *c, struct mailbox_section *s, struct buf *label)
{
    if (!imap_take_space(c) || !imap_take_char(c, '('))
        return false;
    (void)buf_append(label, LIT(" ("));
    s->fields = ARENA_ARRAY(c->in, struct slice, IMAP_HEADER_FIELDS_MAX);
    do {
        struct slice name;
        bool atom = true;
        if (!imap_take_astring(c, &name))
            return false;
        if (name.n == 0)
            return imap_expected(c, "empty header field name");
        if (s->field_count == IMAP_HEADER_FIELDS_MAX)
            return imap_expected(c, "too many header fields");
        if (s->field_count > 0)
            (void)buf_append_char(label, ' ');
        s->fields[s->field_count++] = name;
        for (size_t i = 0; i < name.n; i++)
            atom = atom && (imap_is_atom_char(name.p[i]) || name.p[i] == ']');
        if (atom)
            (void)buf_append(label, name);
        else
            (void)imap_put_string(label, name, false);
    } while (imap_skip(c, ' '));
    (void)buf_append_char(label, ')');
    return imap_take_char(c, ')');
}

static bool take_kind(struct imap_cursor *c, struct mailbox_section *s, struct buf *label)
{
    static const struct { const char *word; enum mailbox_section_kind kind; } row[] = {
        { "HEADER.FIELDS.NOT", SECTION_FIELDS_NOT }, { "HEADER.FIELDS", SECTION_FIELDS },
        { "HEADER", SECTION_HEADER }, { "TEXT", SECTION_TEXT }, { "MIME", SECTION_MIME },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice word = slice_of(row[i].word), rest = slice_make(c->p, (size_t)(c->end - c->p));
        if (!slice_has_prefix_nocase(rest, word) || (rest.n > word.n && rest.p[word.n] != ']' && rest.p[word.n] != ' '))
            continue;
        if (row[i].kind == SECTION_MIME && s->path_len == 0)
            return imap_expected(c, "MIME needs a part number");
        c->p += word.n;
        s->kind = row[i].kind;
        (void)buf_append(label, word);
        return s->kind < SECTION_FIELDS || take_fields(c, s, label);
    }
    return imap_expected(c, "unknown section");
}

static bool take_section(struct imap_cursor *c, enum section_form form, struct mailbox_section *s, struct buf *label)
{
    bool dot;

    *s = (struct mailbox_section){ .kind = SECTION_ALL, .length = UINT64_MAX, .decode = form == FORM_BINARY };
    if (!imap_take_char(c, '[') || !take_path(c, s, label))
        return false;
    dot = s->path_len > 0 && c->p[-1] == '.';
    if (imap_peek(c, ']') ? dot : form == FORM_BINARY || (s->path_len > 0 && !dot))
        return imap_expected(c, "malformed section");
    if (!imap_peek(c, ']') && !take_kind(c, s, label))
        return false;
    (void)buf_append_char(label, ']');
    return imap_take_char(c, ']');
}

static bool take_partial(struct imap_cursor *c, struct mailbox_section *s, struct buf *label)
{
    if (!imap_skip(c, '<'))
        return true;
    if (!imap_take_number(c, INT64_MAX, &s->from) || !imap_take_char(c, '.') ||
        !imap_take_number(c, INT64_MAX, &s->length) || !imap_take_char(c, '>'))
        return false;
    if (s->length == 0)
        return imap_expected(c, "a partial fetch of nothing");
    (void)buf_append_char(label, '<');
    (void)buf_append_u64(label, s->from);
    return buf_append_char(label, '>') == 0;
}

static bool add_section(struct imap_cursor *c, struct imap_fetch_args *out, const struct imap_fetch_section *add)
{
    for (size_t i = 0; i < out->section_count; i++)
        if (slice_equal(out->sections[i].label, add->label) &&
            out->sections[i].section.length == add->section.length)
            return true;
    if (out->section_count == MAILBOX_SECTIONS_MAX)
        return imap_expected(c, "too many sections in one FETCH");
    out->sections[out->section_count++] = *add;
    return true;
}

struct section_word {
    const char *word, *label;
    enum section_form form;
    bool peek, size_only;
};

static bool take_section_item(struct imap_cursor *c, const struct section_word *word, struct imap_fetch_args *out)
{
    AUTO(buf_free) struct buf label = BUF_INIT(LABEL_MAX);
    struct imap_fetch_section add = { .size_only = word->size_only };

    (void)buf_append_cstr(&label, word->label);
    (void)buf_append_char(&label, '[');
    if (!take_section(c, word->form, &add.section, &label))
        return false;
    if (!word->size_only && !take_partial(c, &add.section, &label))
        return false;
    if (label.overflowed)
        return imap_expected(c, "section is too long");
    add.label = arena_copy(c->in, buf_slice(&label));
    if (!word->peek)
        out->sets_seen = true;
    return add_section(c, out, &add);
}

/* ---- items -------------------------------------------------------------------------------------------------------- */

static bool at_word(const struct imap_cursor *c, const char *word, bool bracket)
{
    struct slice want = slice_of(word), rest = slice_make(c->p, (size_t)(c->end - c->p));

    if (!slice_has_prefix_nocase(rest, want))
        return false;
    if (bracket)
        return rest.n > want.n && rest.p[want.n] == '[';
    return rest.n == want.n || rest.p[want.n] == ' ' || rest.p[want.n] == ')';
}

static bool take_bracketed(struct imap_cursor *c, struct imap_fetch_args *out, bool *done)
{
    static const struct section_word row[] = {
        { "BODY", "BODY", FORM_BODY, false, false },
        { "BODY.PEEK", "BODY", FORM_BODY, true, false },
        { "BINARY", "BINARY", FORM_BINARY, false, false },
        { "BINARY.PEEK", "BINARY", FORM_BINARY, true, false },
        { "BINARY.SIZE", "BINARY.SIZE", FORM_BINARY, true, true },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        if (at_word(c, row[i].word, true)) {
            *done = true;
            c->p += strlen(row[i].word);
            return take_section_item(c, &row[i], out);
        }
    *done = false;
    return true;
}

static bool take_rfc822(struct imap_cursor *c, struct imap_fetch_args *out, bool *done)
{
    static const struct { const char *word; enum mailbox_section_kind kind; bool peek; } row[] = {
        { "RFC822", SECTION_ALL, false }, { "RFC822.HEADER", SECTION_HEADER, true }, { "RFC822.TEXT", SECTION_TEXT, false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        if (at_word(c, row[i].word, false)) {
            struct imap_fetch_section add = { .label = slice_of(row[i].word) };
            add.section = (struct mailbox_section){ .kind = row[i].kind, .length = UINT64_MAX };
            *done = true;
            c->p += add.label.n;
            out->sets_seen = out->sets_seen || !row[i].peek;
            return add_section(c, out, &add);
        }
    *done = false;
    return true;
}

static bool take_item(struct imap_cursor *c, struct imap_fetch_args *out)
{
    static const struct { const char *word; unsigned attr; } row[] = {
        { "FLAGS", IMAP_FETCH_FLAGS }, { "UID", IMAP_FETCH_UID }, { "INTERNALDATE", IMAP_FETCH_INTERNALDATE },
        { "RFC822.SIZE", IMAP_FETCH_SIZE }, { "MODSEQ", IMAP_FETCH_MODSEQ }, { "ENVELOPE", IMAP_FETCH_ENVELOPE },
        { "BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE }, { "BODY", IMAP_FETCH_BODY },
    };
    bool done;

    for (size_t i = 0; i < COUNT(row); i++)
        if (at_word(c, row[i].word, false)) {
            c->p += strlen(row[i].word);
            out->attrs |= row[i].attr;
            return true;
        }
    if (!take_bracketed(c, out, &done) || done)
        return done && !c->error;
    if (!take_rfc822(c, out, &done) || done)
        return done && !c->error;
    return imap_expected(c, "unknown FETCH item");
}

static bool take_macro(struct imap_cursor *c, struct imap_fetch_args *out)
{
    unsigned fast = IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE;

    if (imap_skip_word(c, "FAST"))
        out->attrs |= fast;
    else if (imap_skip_word(c, "ALL"))
        out->attrs |= fast | IMAP_FETCH_ENVELOPE;
    else if (imap_skip_word(c, "FULL"))
        out->attrs |= fast | IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY;
    else
        return false;
    return true;
}

static bool take_items(struct imap_cursor *c, struct imap_fetch_args *out)
{
    if (!imap_skip(c, '('))
        return take_macro(c, out) || take_item(c, out);
    do {
        if (!take_item(c, out))
            return false;
    } while (imap_skip(c, ' '));
    return imap_take_char(c, ')');
}

static bool take_modifiers(struct imap_cursor *c, struct imap_fetch_args *out)
{
    if (!imap_take_char(c, '('))
        return false;
    do {
        if (imap_skip_word(c, "CHANGEDSINCE")) {
            if (!imap_take_space(c) || !imap_take_number(c, INT64_MAX, &out->changedsince))
                return false;
            out->has_changedsince = true;
        } else if (imap_skip_word(c, "VANISHED")) {
            out->vanished = true;
        } else {
            return imap_expected(c, "unknown FETCH modifier");
        }
    } while (imap_skip(c, ' '));
    if (out->vanished && !out->has_changedsince)
        return imap_expected(c, "VANISHED needs CHANGEDSINCE");
    return imap_take_char(c, ')');
}

bool imap_take_fetch_args(struct imap_cursor *c, struct imap_fetch_args *out)
{
    memset(out, 0, sizeof(*out));
    if (!take_items(c, out))
        return false;
    if (imap_skip(c, ' ') && !take_modifiers(c, out))
        return false;
    return imap_at_end(c);
}
