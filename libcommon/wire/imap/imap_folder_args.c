/* imap_folder_args.c - arguments of the commands that are about folders.
 *
 * Owns nothing beyond the cursor's arena. Called by imap's commands. Never suspends.
 */
#include "wire/imap/imap_folder_args.h"

struct word_bit {
    const char *word;
    unsigned bit;
};

static bool take_option(struct imap_cursor *c, const struct word_bit *row, size_t count, const char *otherwise, unsigned *out)
{
    for (size_t i = 0; i < count; i++)
        if (imap_skip_word(c, row[i].word)) {
            *out |= row[i].bit;
            return true;
        }
    return imap_expected(c, otherwise);
}

/* ---- STATUS ------------------------------------------------------------------------------------------------------ */

bool imap_take_status_items(struct imap_cursor *c, unsigned *out)
{
    static const struct word_bit row[] = {
        { "MESSAGES", IMAP_STATUS_MESSAGES }, { "RECENT", IMAP_STATUS_RECENT }, { "UIDNEXT", IMAP_STATUS_UIDNEXT },
        { "UIDVALIDITY", IMAP_STATUS_UIDVALIDITY }, { "UNSEEN", IMAP_STATUS_UNSEEN }, { "DELETED", IMAP_STATUS_DELETED },
        { "SIZE", IMAP_STATUS_SIZE }, { "HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ },
        { "APPENDLIMIT", IMAP_STATUS_APPENDLIMIT },
    };

    *out = 0;
    if (!imap_take_char(c, '('))
        return false;
    do {
        if (!take_option(c, row, COUNT(row), "unknown STATUS item", out))
            return false;
    } while (imap_skip(c, ' '));
    return imap_take_char(c, ')');
}

/* ---- LIST -------------------------------------------------------------------------------------------------------- */

static bool take_selection(struct imap_cursor *c, struct imap_list_args *out)
{
    static const struct word_bit row[] = {
        { "SUBSCRIBED", IMAP_LIST_SUBSCRIBED }, { "REMOTE", IMAP_LIST_REMOTE },
        { "RECURSIVEMATCH", IMAP_LIST_RECURSIVEMATCH }, { "SPECIAL-USE", IMAP_LIST_SPECIAL_USE },
    };

    if (!imap_skip(c, '('))
        return true;
    out->extended = true;
    if (!imap_skip(c, ')')) {
        do {
            if (!take_option(c, row, COUNT(row), "unknown LIST selection option", &out->select))
                return false;
        } while (imap_skip(c, ' '));
        if (!imap_take_char(c, ')'))
            return false;
    }
    if ((out->select & IMAP_LIST_RECURSIVEMATCH) && !(out->select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE)))
        return imap_expected(c, "RECURSIVEMATCH does not stand alone");
    return imap_take_space(c);
}

static bool take_patterns(struct imap_cursor *c, struct imap_list_args *out)
{
    bool several = imap_skip(c, '(');

    out->patterns = ARENA_ARRAY(c->in, struct slice, IMAP_PATTERNS_MAX);
    do {
        if (out->pattern_count == IMAP_PATTERNS_MAX)
            return imap_expected(c, "too many patterns");
        if (!imap_take_pattern(c, &out->patterns[out->pattern_count++]))
            return false;
    } while (several && imap_skip(c, ' '));
    out->extended = out->extended || several;
    return !several || imap_take_char(c, ')');
}

static bool take_returns(struct imap_cursor *c, struct imap_list_args *out)
{
    static const struct word_bit row[] = {
        { "SUBSCRIBED", IMAP_LIST_SUBSCRIBED }, { "CHILDREN", IMAP_LIST_CHILDREN },
        { "SPECIAL-USE", IMAP_LIST_SPECIAL_USE }, { "STATUS", IMAP_LIST_STATUS },
    };

    if (!imap_skip_word(c, "RETURN"))
        return imap_expected(c, "expected RETURN");
    out->extended = true;
    if (!imap_take_space(c) || !imap_take_char(c, '('))
        return false;
    if (imap_skip(c, ')'))
        return true;
    do {
        unsigned bit = 0;
        if (!take_option(c, row, COUNT(row), "unknown LIST return option", &bit))
            return false;
        if (bit == IMAP_LIST_STATUS && (!imap_take_space(c) || !imap_take_status_items(c, &out->status_items)))
            return false;
        out->returns |= bit;
    } while (imap_skip(c, ' '));
    return imap_take_char(c, ')');
}

bool imap_take_list_args(struct imap_cursor *c, struct imap_list_args *out)
{
    *out = (struct imap_list_args){ 0 };
    if (!take_selection(c, out) || !imap_take_mailbox(c, &out->reference) || !imap_take_space(c) || !take_patterns(c, out))
        return false;
    if (imap_skip(c, ' ') && !take_returns(c, out))
        return false;
    return imap_at_end(c);
}

/* ---- CREATE ------------------------------------------------------------------------------------------------------- */

static bool take_use(struct imap_cursor *c, struct imap_create_args *out)
{
    static const char *const known[] = { "\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash" };
    size_t count = 0;

    if (!imap_take_char(c, '(') || !imap_skip_word(c, "USE"))
        return imap_expected(c, "unknown CREATE parameter");
    if (!imap_take_space(c) || !imap_take_char(c, '('))
        return false;
    out->bad_use = true;
    while (!imap_skip(c, ')')) {
        const char *from = c->p;
        struct slice name;
        if (!imap_take_char(c, '\\') || !imap_take_atom(c, &name))
            return false;
        name = slice_make(from, (size_t)(c->p - from));
        for (size_t i = 0; i < COUNT(known); i++)
            if (slice_equal_nocase(name, slice_of(known[i]))) {
                out->special_use = slice_of(known[i]);
                out->bad_use = false;
            }
        if (!imap_skip(c, ' ') && !imap_peek(c, ')'))
            return imap_expected(c, "expected )");
        count++;
    }
    out->bad_use = count > 0 && (out->bad_use || count > 1);
    return imap_take_char(c, ')');
}

bool imap_take_create_args(struct imap_cursor *c, struct imap_create_args *out)
{
    *out = (struct imap_create_args){ 0 };
    if (!imap_take_mailbox(c, &out->path))
        return false;
    if (imap_skip(c, ' ') && !take_use(c, out))
        return false;
    return imap_at_end(c);
}

/* ---- SELECT ------------------------------------------------------------------------------------------------------- */

/* "(uidvalidity modseq [known-uids] [(known-sequence-set known-uid-set)])"; the last is a hint we do not need. */
static bool take_qresync(struct imap_cursor *c, struct imap_select_args *out)
{
    struct slice ignored;
    uint64_t uidvalidity;

    out->qresync = true;
    if (!imap_take_space(c) || !imap_take_char(c, '(') || !imap_take_number(c, UINT32_MAX, &uidvalidity) ||
        !imap_take_space(c) || !imap_take_number(c, INT64_MAX, &out->modseq))
        return false;
    out->uidvalidity = (uint32_t)uidvalidity;
    if (imap_skip(c, ' ') && !imap_peek(c, '(')) {
        if (!imap_take_sequence(c, &out->known_uids))
            return false;
        (void)imap_skip(c, ' ');
    }
    if (imap_skip(c, '(')) {
        if (!imap_take_sequence(c, &ignored) || !imap_take_space(c) || !imap_take_sequence(c, &ignored) ||
            !imap_take_char(c, ')'))
            return false;
    }
    return imap_take_char(c, ')');
}

static bool take_select_parameters(struct imap_cursor *c, struct imap_select_args *out)
{
    if (!imap_take_char(c, '('))
        return false;
    do {
        if (imap_skip_word(c, "CONDSTORE"))
            out->condstore = true;
        else if (!imap_skip_word(c, "QRESYNC"))
            return imap_expected(c, "unknown SELECT parameter");
        else if (!take_qresync(c, out))
            return false;
    } while (imap_skip(c, ' '));
    return imap_take_char(c, ')');
}

bool imap_take_select_args(struct imap_cursor *c, struct imap_select_args *out)
{
    *out = (struct imap_select_args){ 0 };
    if (!imap_take_mailbox(c, &out->path))
        return false;
    if (imap_skip(c, ' ') && !take_select_parameters(c, out))
        return false;
    return imap_at_end(c);
}

/* ---- APPEND ------------------------------------------------------------------------------------------------------- */

bool imap_take_append_message(struct imap_cursor *c, struct imap_append_message *out)
{
    struct slice rest;

    *out = (struct imap_append_message){ 0 };
    if (imap_peek(c, '(') && (!imap_take_flags(c, IMAP_FLAGS_LIST, &out->flags) || !imap_take_space(c)))
        return false;
    if (imap_peek(c, '"')) {
        if (!imap_take_date_time(c, &out->internal_ms) || !imap_take_space(c))
            return false;
        out->has_date = true;
    }
    if (imap_skip_word(c, "UTF8")) {
        if (!imap_take_space(c) || !imap_take_char(c, '('))
            return false;
        out->utf8 = true;
    }
    rest = slice_make(c->p, (size_t)(c->end - c->p));
    if (!imap_literal_find(rest, &out->literal) || out->literal.at != 0)
        return imap_expected(c, "expected a message as a literal");
    if (out->utf8 && !out->literal.binary)
        return imap_expected(c, "UTF8 wants a literal8");
    c->p = c->end;
    return true;
}
