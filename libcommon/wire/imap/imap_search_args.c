/* imap_search_args.c - reads search keys into struct search_node.
 *
 * Owns nothing beyond the cursor's arena. Called by imap's cmd_search. OR chains to the right are read in a loop, as
 * clients nest hundreds of them; everything else that nests has a depth. Never suspends.
 */
#include "wire/imap/imap_search_args.h"
#include "wire/uid_set.h"

struct search_parser {
    struct imap_cursor *c;
    struct uid_set uids, saved;
    struct imap_search_args *out;
    size_t keys;
    unsigned depth;
};

static bool take_key(struct search_parser *p, struct search_node **out);

static struct search_node *node_new(struct search_parser *p, enum search_op op)
{
    struct search_node *n = ARENA_NEW(p->c->in, struct search_node);

    n->op = op;
    return n;
}

static struct search_node *node_not(struct search_parser *p, struct search_node *child)
{
    struct search_node *n = node_new(p, SEARCH_NOT);

    n->children = child;
    return n;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------ */

static bool take_text(struct search_parser *p, struct slice *out)
{
    if (!imap_take_space(p->c) || !imap_take_astring(p->c, out))
        return false;
    if (!slice_is_utf8(*out))
        p->out->bad_charset = true;
    return true;
}

static bool take_uids(struct search_parser *p, bool by_uid, struct uid_set *out)
{
    struct slice text;
    struct uid_set set;
    uint32_t star = by_uid ? uid_set_max(p->uids) : (uint32_t)uid_set_count(p->uids);

    if (!imap_take_sequence(p->c, &text))
        return false;
    if (slice_equal(text, LIT("$"))) {
        *out = uid_set_intersect(p->c->in, p->saved, p->uids);
        return true;
    }
    if (!uid_set_parse(text, star, p->c->in, &set))
        return imap_expected(p->c, "malformed sequence set");
    if (!by_uid && uid_set_max(set) > star)
        set = uid_set_intersect(p->c->in, set, uid_set_make(p->c->in, 1, star ? star : 1));
    *out = by_uid ? set : uid_set_from_seqs(p->c->in, p->uids, set);
    return true;
}

/* MODSEQ ["/flags/name" (priv|shared|all)] number: the entry is accepted and, as the RFC allows, means all flags. */
static bool take_modseq(struct search_parser *p, struct search_node *n)
{
    struct slice entry;

    if (!imap_take_space(p->c))
        return false;
    if (imap_peek(p->c, '"')) {
        if (!imap_take_string(p->c, &entry) || !imap_take_space(p->c))
            return false;
        if (!imap_skip_word(p->c, "PRIV") && !imap_skip_word(p->c, "SHARED") && !imap_skip_word(p->c, "ALL"))
            return imap_expected(p->c, "expected priv, shared or all");
        if (!imap_take_space(p->c))
            return false;
    }
    p->out->uses_modseq = true;
    return imap_take_number(p->c, INT64_MAX, &n->number);
}

/* ---- keys with arguments ---------------------------------------------------------------------------------------------- */

enum key_argument { ARG_NONE, ARG_FLAG, ARG_TEXT, ARG_FIELD, ARG_DATE, ARG_SIZE, ARG_SECONDS, ARG_KEYWORD };

struct key_row {
    const char *word;
    enum key_argument argument;
    enum search_op op;
    uint32_t flag;
    const char *field;
    bool negated;
};

static const struct key_row keys[] = {
    { "ALL", ARG_NONE, SEARCH_ALL, 0, NULL, false },
    { "OLD", ARG_NONE, SEARCH_ALL, 0, NULL, false },             /* \Recent is never set */
    { "NEW", ARG_NONE, SEARCH_ALL, 0, NULL, true },
    { "RECENT", ARG_NONE, SEARCH_ALL, 0, NULL, true },
    { "ANSWERED", ARG_FLAG, SEARCH_FLAG, FLAG_ANSWERED, NULL, false },
    { "DELETED", ARG_FLAG, SEARCH_FLAG, FLAG_DELETED, NULL, false },
    { "DRAFT", ARG_FLAG, SEARCH_FLAG, FLAG_DRAFT, NULL, false },
    { "FLAGGED", ARG_FLAG, SEARCH_FLAG, FLAG_FLAGGED, NULL, false },
    { "SEEN", ARG_FLAG, SEARCH_FLAG, FLAG_SEEN, NULL, false },
    { "UNANSWERED", ARG_FLAG, SEARCH_FLAG, FLAG_ANSWERED, NULL, true },
    { "UNDELETED", ARG_FLAG, SEARCH_FLAG, FLAG_DELETED, NULL, true },
    { "UNDRAFT", ARG_FLAG, SEARCH_FLAG, FLAG_DRAFT, NULL, true },
    { "UNFLAGGED", ARG_FLAG, SEARCH_FLAG, FLAG_FLAGGED, NULL, true },
    { "UNSEEN", ARG_FLAG, SEARCH_FLAG, FLAG_SEEN, NULL, true },
    { "KEYWORD", ARG_KEYWORD, SEARCH_KEYWORD, 0, NULL, false },
    { "UNKEYWORD", ARG_KEYWORD, SEARCH_KEYWORD, 0, NULL, true },
    { "BCC", ARG_TEXT, SEARCH_HEADER, 0, "bcc", false },
    { "CC", ARG_TEXT, SEARCH_HEADER, 0, "cc", false },
    { "FROM", ARG_TEXT, SEARCH_HEADER, 0, "from", false },
    { "SUBJECT", ARG_TEXT, SEARCH_HEADER, 0, "subject", false },
    { "TO", ARG_TEXT, SEARCH_HEADER, 0, "to", false },
    { "HEADER", ARG_FIELD, SEARCH_HEADER, 0, NULL, false },
    { "BODY", ARG_TEXT, SEARCH_BODY, 0, NULL, false },
    { "TEXT", ARG_TEXT, SEARCH_TEXT, 0, NULL, false },
    { "BEFORE", ARG_DATE, SEARCH_BEFORE, 0, NULL, false },
    { "ON", ARG_DATE, SEARCH_ON, 0, NULL, false },
    { "SINCE", ARG_DATE, SEARCH_SINCE, 0, NULL, false },
    { "SENTBEFORE", ARG_DATE, SEARCH_SENTBEFORE, 0, NULL, false },
    { "SENTON", ARG_DATE, SEARCH_SENTON, 0, NULL, false },
    { "SENTSINCE", ARG_DATE, SEARCH_SENTSINCE, 0, NULL, false },
    { "LARGER", ARG_SIZE, SEARCH_LARGER, 0, NULL, false },
    { "SMALLER", ARG_SIZE, SEARCH_SMALLER, 0, NULL, false },
    { "OLDER", ARG_SECONDS, SEARCH_OLDER, 0, NULL, false },
    { "YOUNGER", ARG_SECONDS, SEARCH_YOUNGER, 0, NULL, false },
};

static bool take_field(struct search_parser *p, struct search_node *n)
{
    struct slice field;

    if (!take_text(p, &field))
        return false;
    if (field.n == 0)
        return imap_expected(p->c, "empty header field name");
    n->field = arena_lower(p->c->in, field);
    return take_text(p, &n->text);
}

static bool take_argument(struct search_parser *p, const struct key_row *row, struct search_node *n)
{
    switch (row->argument) {
    case ARG_NONE:
        return true;
    case ARG_FLAG:
        n->number = row->flag;
        return true;
    case ARG_KEYWORD:
        return imap_take_space(p->c) && imap_take_atom(p->c, &n->text);
    case ARG_TEXT:
        n->field = slice_of(row->field);
        return take_text(p, &n->text);
    case ARG_FIELD:
        return take_field(p, n);
    case ARG_DATE:
        return imap_take_space(p->c) && imap_take_date(p->c, &n->number);
    case ARG_SIZE:
        return imap_take_space(p->c) && imap_take_number(p->c, INT64_MAX, &n->number);
    case ARG_SECONDS:
        if (!imap_take_space(p->c) || !imap_take_number(p->c, UINT32_MAX, &n->number))
            return false;
        return n->number > 0 || imap_expected(p->c, "an interval of at least one second");
    }
    return false;
}

/* ---- nesting ------------------------------------------------------------------------------------------------------------ */

/* "a b c" up to `close` or the end: all of them. */
static bool take_all_of(struct search_parser *p, char close, struct search_node **out)
{
    struct search_node *first = NULL, **tail = &first, *both;

    do {
        if (!take_key(p, tail))
            return false;
        tail = &(*tail)->next;
    } while (imap_skip(p->c, ' '));
    if (close && !imap_take_char(p->c, close))
        return false;
    if (!first->next) {
        *out = first;
        return true;
    }
    both = node_new(p, SEARCH_AND);
    both->children = first;
    *out = both;
    return true;
}

/* Behind "OR": a, then b; "OR a OR b c" becomes one node with three children. */
static bool take_any_of(struct search_parser *p, struct search_node **out)
{
    struct search_node *any = node_new(p, SEARCH_OR), **tail = &any->children;

    for (;;) {
        if (!imap_take_space(p->c) || !take_key(p, tail) || !imap_take_space(p->c))
            return false;
        tail = &(*tail)->next;
        if (++p->keys > IMAP_SEARCH_KEYS_MAX)
            return imap_expected(p->c, "too many search keys");
        if (!imap_skip_word(p->c, "OR"))
            break;
    }
    *out = any;
    return take_key(p, tail);
}

static bool take_simple(struct search_parser *p, struct search_node **out)
{
    struct search_node *n;

    for (size_t i = 0; i < COUNT(keys); i++)
        if (imap_skip_word(p->c, keys[i].word)) {
            n = node_new(p, keys[i].op);
            *out = keys[i].negated ? node_not(p, n) : n;
            return take_argument(p, &keys[i], n);
        }
    return imap_expected(p->c, "unknown search key");
}

static bool take_any_key(struct search_parser *p, struct search_node **out)
{
    struct imap_cursor *c = p->c;

    if (imap_skip(c, '('))
        return take_all_of(p, ')', out);
    if (imap_skip_word(c, "NOT")) {
        *out = node_not(p, NULL);
        return imap_take_space(c) && take_key(p, &(*out)->children);
    }
    if (imap_skip_word(c, "OR"))
        return take_any_of(p, out);
    if (imap_skip_word(c, "MODSEQ"))
        return take_modseq(p, *out = node_new(p, SEARCH_MODSEQ));
    if (imap_skip_word(c, "UID")) {
        *out = node_new(p, SEARCH_UIDS);
        return imap_take_space(c) && take_uids(p, true, &(*out)->uids);
    }
    if (c->p < c->end && (ascii_is_digit(*c->p) || *c->p == '*' || *c->p == '$')) {
        *out = node_new(p, SEARCH_UIDS);
        return take_uids(p, false, &(*out)->uids);
    }
    return take_simple(p, out);
}

static bool take_key(struct search_parser *p, struct search_node **out)
{
    bool ok;

    if (++p->keys > IMAP_SEARCH_KEYS_MAX)
        return imap_expected(p->c, "too many search keys");
    if (++p->depth > IMAP_NESTING_MAX)
        return imap_expected(p->c, "search program is nested too deep");
    ok = take_any_key(p, out);
    p->depth--;
    return ok;
}

/* ---- the command ---------------------------------------------------------------------------------------------------------- */

static bool take_return(struct imap_cursor *c, struct imap_search_args *out)
{
    static const struct { const char *word; unsigned bit; } row[] = {
        { "MIN", IMAP_RETURN_MIN }, { "MAX", IMAP_RETURN_MAX }, { "ALL", IMAP_RETURN_ALL },
        { "COUNT", IMAP_RETURN_COUNT }, { "SAVE", IMAP_RETURN_SAVE },
    };

    out->has_return = true;
    if (!imap_take_space(c) || !imap_take_char(c, '('))
        return false;
    while (!imap_skip(c, ')')) {
        size_t i = 0;
        while (i < COUNT(row) && !imap_skip_word(c, row[i].word))
            i++;
        if (i == COUNT(row))
            return imap_expected(c, "unknown search result option");
        out->returns |= row[i].bit;
        if (!imap_skip(c, ' ') && !imap_peek(c, ')'))
            return imap_expected(c, "expected )");
    }
    if (out->returns == 0)
        out->returns = IMAP_RETURN_ALL;
    return imap_take_space(c);
}

static bool take_charset(struct imap_cursor *c, struct imap_search_args *out)
{
    struct slice name;

    if (!imap_take_space(c) || !imap_take_astring(c, &name) || !imap_take_space(c))
        return false;
    out->has_charset = true;
    out->bad_charset = !slice_equal_nocase(name, LIT("UTF-8")) && !slice_equal_nocase(name, LIT("US-ASCII"));
    return true;
}

bool imap_take_search_args(struct imap_cursor *c, struct uid_set uids, struct uid_set saved, struct imap_search_args *out)
{
    struct search_parser p = { .c = c, .uids = uids, .saved = saved, .out = out };

    *out = (struct imap_search_args){ 0 };
    if (imap_skip_word(c, "RETURN") && !take_return(c, out))
        return false;
    if (imap_skip_word(c, "CHARSET") && !take_charset(c, out))
        return false;
    return take_all_of(&p, '\0', &out->program) && imap_at_end(c);
}
