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

static struct search_node *take_key(struct search_parser *p);       /* NULL: the cursor says why */

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
    bool negated;
    const char *field;
};

static const struct key_row keys[] = {
    { "ALL", ARG_NONE, SEARCH_ALL, 0, false, NULL },
    { "OLD", ARG_NONE, SEARCH_ALL, 0, false, NULL },             /* \Recent is never set */
    { "NEW", ARG_NONE, SEARCH_ALL, 0, true, NULL },
    { "RECENT", ARG_NONE, SEARCH_ALL, 0, true, NULL },
    { "ANSWERED", ARG_FLAG, SEARCH_FLAG, FLAG_ANSWERED, false, NULL },
    { "DELETED", ARG_FLAG, SEARCH_FLAG, FLAG_DELETED, false, NULL },
    { "DRAFT", ARG_FLAG, SEARCH_FLAG, FLAG_DRAFT, false, NULL },
    { "FLAGGED", ARG_FLAG, SEARCH_FLAG, FLAG_FLAGGED, false, NULL },
    { "SEEN", ARG_FLAG, SEARCH_FLAG, FLAG_SEEN, false, NULL },
    { "UNANSWERED", ARG_FLAG, SEARCH_FLAG, FLAG_ANSWERED, true, NULL },
    { "UNDELETED", ARG_FLAG, SEARCH_FLAG, FLAG_DELETED, true, NULL },
    { "UNDRAFT", ARG_FLAG, SEARCH_FLAG, FLAG_DRAFT, true, NULL },
    { "UNFLAGGED", ARG_FLAG, SEARCH_FLAG, FLAG_FLAGGED, true, NULL },
    { "UNSEEN", ARG_FLAG, SEARCH_FLAG, FLAG_SEEN, true, NULL },
    { "KEYWORD", ARG_KEYWORD, SEARCH_KEYWORD, 0, false, NULL },
    { "UNKEYWORD", ARG_KEYWORD, SEARCH_KEYWORD, 0, true, NULL },
    { "BCC", ARG_TEXT, SEARCH_HEADER, 0, false, "bcc" },
    { "CC", ARG_TEXT, SEARCH_HEADER, 0, false, "cc" },
    { "FROM", ARG_TEXT, SEARCH_HEADER, 0, false, "from" },
    { "SUBJECT", ARG_TEXT, SEARCH_HEADER, 0, false, "subject" },
    { "TO", ARG_TEXT, SEARCH_HEADER, 0, false, "to" },
    { "HEADER", ARG_FIELD, SEARCH_HEADER, 0, false, NULL },
    { "BODY", ARG_TEXT, SEARCH_BODY, 0, false, NULL },
    { "TEXT", ARG_TEXT, SEARCH_TEXT, 0, false, NULL },
    { "BEFORE", ARG_DATE, SEARCH_BEFORE, 0, false, NULL },
    { "ON", ARG_DATE, SEARCH_ON, 0, false, NULL },
    { "SINCE", ARG_DATE, SEARCH_SINCE, 0, false, NULL },
    { "SENTBEFORE", ARG_DATE, SEARCH_SENTBEFORE, 0, false, NULL },
    { "SENTON", ARG_DATE, SEARCH_SENTON, 0, false, NULL },
    { "SENTSINCE", ARG_DATE, SEARCH_SENTSINCE, 0, false, NULL },
    { "LARGER", ARG_SIZE, SEARCH_LARGER, 0, false, NULL },
    { "SMALLER", ARG_SIZE, SEARCH_SMALLER, 0, false, NULL },
    { "OLDER", ARG_SECONDS, SEARCH_OLDER, 0, false, NULL },
    { "YOUNGER", ARG_SECONDS, SEARCH_YOUNGER, 0, false, NULL },
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
static struct search_node *take_all_of(struct search_parser *p, char close)
{
    struct search_node *first = take_key(p), *last = first, *both;

    while (last && imap_skip(p->c, ' ')) {
        last->next = take_key(p);
        last = last->next;
    }
    if (!last || (close && !imap_take_char(p->c, close)))
        return NULL;
    if (first == last)
        return first;
    both = node_new(p, SEARCH_AND);
    both->children = first;
    return both;
}

/* Behind "OR": a, then b; "OR a OR b c" becomes one node with three children. */
static struct search_node *take_any_of(struct search_parser *p)
{
    struct search_node *any = node_new(p, SEARCH_OR), **tail = &any->children, *one;

    do {
        if (++p->keys > IMAP_SEARCH_KEYS_MAX) {
            (void)imap_expected(p->c, "too many search keys");
            return NULL;
        }
        if (!imap_take_space(p->c))
            return NULL;
        one = take_key(p);
        if (!one || !imap_take_space(p->c))
            return NULL;
        *tail = one;
        tail = &one->next;
    } while (imap_skip_word(p->c, "OR"));
    one = take_key(p);
    *tail = one;
    return one ? any : NULL;
}

static struct search_node *take_not(struct search_parser *p)
{
    struct search_node *child = imap_take_space(p->c) ? take_key(p) : NULL;

    return child ? node_not(p, child) : NULL;
}

static struct search_node *take_set(struct search_parser *p, bool by_uid)
{
    struct search_node *n = node_new(p, SEARCH_UIDS);

    if (by_uid && !imap_take_space(p->c))
        return NULL;
    return take_uids(p, by_uid, &n->uids) ? n : NULL;
}

static struct search_node *take_simple(struct search_parser *p)
{
    for (size_t i = 0; i < COUNT(keys); i++)
        if (imap_skip_word(p->c, keys[i].word)) {
            struct search_node *n = node_new(p, keys[i].op);
            if (!take_argument(p, &keys[i], n))
                return NULL;
            return keys[i].negated ? node_not(p, n) : n;
        }
    (void)imap_expected(p->c, "unknown search key");
    return NULL;
}

static struct search_node *take_any_key(struct search_parser *p)
{
    struct imap_cursor *c = p->c;

    if (imap_skip(c, '('))
        return take_all_of(p, ')');
    if (imap_skip_word(c, "NOT"))
        return take_not(p);
    if (imap_skip_word(c, "OR"))
        return take_any_of(p);
    if (imap_skip_word(c, "MODSEQ")) {
        struct search_node *n = node_new(p, SEARCH_MODSEQ);
        return take_modseq(p, n) ? n : NULL;
    }
    if (imap_skip_word(c, "UID"))
        return take_set(p, true);
    if (c->p < c->end && (ascii_is_digit(*c->p) || *c->p == '*' || *c->p == '$'))
        return take_set(p, false);
    return take_simple(p);
}

static struct search_node *take_key(struct search_parser *p)
{
    struct search_node *n;

    if (++p->keys > IMAP_SEARCH_KEYS_MAX) {
        (void)imap_expected(p->c, "too many search keys");
        return NULL;
    }
    if (++p->depth > IMAP_NESTING_MAX) {
        (void)imap_expected(p->c, "search program is nested too deep");
        return NULL;
    }
    n = take_any_key(p);
    p->depth--;
    return n;
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
    out->program = take_all_of(&p, '\0');
    return out->program && imap_at_end(c);
}
