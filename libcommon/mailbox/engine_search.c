/* engine_search.c - SEARCH: a tree of conditions over the messages of a folder.
 *
 * Owns nothing beyond the call. Called through engine.h. FAULT_LIMIT for a tree that is too deep or large. Never suspends.
 *
 * A condition is true, false or not known yet. First every row is judged by what the row itself says; a message whose answer hangs
 * on text is set aside. Those are then judged with the index (engine_index.c), which may say yes or no for a message only where
 * reading it could not say anything else; what is still open is read, decoded and looked at. So the index decides how much is
 * read, never what is found.
 */
#include "mailbox/engine_search.h"

#include "base/time.h"
#include "wire/casefold.h"

#define TREE_DEPTH_MAX   100
#define TREE_NODES_MAX   2000
#define OPEN_WINDOW      20000u       /* messages set aside before they are judged */
#define DAY_MS           86400000LL
#define RANGES_MAX       256u         /* of UIDs, read one by one; more: from the first to the last */

/* ---- preparing the tree -------------------------------------------------------------------------------- */

static int resolve_keyword(struct search *s, struct search_cond *c, struct slice name, struct fault *why)
{
    bool made;

    return keywords_resolve(s->e, s->folder, &name, 1, false, &c->keywords, &made, why);
}

static int fold_text(struct search *s, struct slice in, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf folded = BUF_INIT((size_t)1 << 20);

    if (casefold_utf8(in, &folded) < 0)
        return fault_set(why, FAULT_LIMIT, "search text is too long");
    *out = arena_copy(s->arena, buf_slice(&folded));
    return 0;
}

static int prepare(struct search *s, const struct search_node *n, size_t depth, struct search_cond **out,
                   struct fault *why)
{
    struct search_cond *c = ARENA_NEW(s->arena, struct search_cond), **tail = &c->children;

    if (depth > TREE_DEPTH_MAX || ++s->nodes > TREE_NODES_MAX)
        return fault_set(why, FAULT_LIMIT, "search is too complex");
    c->op = n->op;
    c->number = n->number;
    c->uids = n->uids;
    if (n->op == SEARCH_KEYWORD && resolve_keyword(s, c, n->text, why) < 0)
        return -1;
    if (n->op == SEARCH_HEADER || n->op == SEARCH_BODY || n->op == SEARCH_TEXT) {
        if (fold_text(s, n->text, &c->text, why) < 0 || fold_text(s, n->field, &c->field, why) < 0)
            return -1;
        c->number = s->text_count;
        s->texts[s->text_count++] = c;
    }
    if (n->op >= SEARCH_SENTBEFORE && n->op <= SEARCH_SENTSINCE)
        s->wants_sent = true;
    if (n->op == SEARCH_AND || n->op == SEARCH_OR || n->op == SEARCH_NOT)
        for (const struct search_node *child = n->children; child; child = child->next) {
            if (prepare(s, child, depth + 1, tail, why) < 0)
                return -1;
            tail = &(*tail)->next;
        }
    *out = c;
    return 0;
}

/* ---- judging ---------------------------------------------------------------------------------------------- */

static int64_t day_of(int64_t ms)
{
    return ms / DAY_MS - (ms % DAY_MS < 0);
}

static enum answer as(bool b)
{
    return b ? ANSWER_YES : ANSWER_NO;
}

static enum answer judge_date(const struct search *s, const struct search_cond *c, const struct mailbox_row *row)
{
    int64_t age_s = (s->now_ms - row->internal_ms) / 1000, day = day_of(row->internal_ms), want = (int64_t)c->number;

    switch (c->op) {
    case SEARCH_BEFORE: return as(day < want);
    case SEARCH_ON: return as(day == want);
    case SEARCH_SINCE: return as(day >= want);
    case SEARCH_OLDER: return as(age_s >= want);        /* RFC 5032: older than or exactly that old */
    case SEARCH_YOUNGER: return as(age_s <= want);
    default: return ANSWER_OPEN;
    }
}

static enum answer judge_sent(const struct search_cond *c, const struct candidate *m)
{
    int64_t want = (int64_t)c->number;

    if (!m->sent_known)
        return ANSWER_OPEN;
    if (!m->has_sent_day)
        return ANSWER_NO;
    return as(c->op == SEARCH_SENTBEFORE ? m->sent_day < want
              : c->op == SEARCH_SENTON   ? m->sent_day == want
                                         : m->sent_day >= want);
}

static enum answer judge_children(const struct search *s, const struct search_cond *c, const struct candidate *m)
{
    enum answer stop = c->op == SEARCH_OR ? ANSWER_YES : ANSWER_NO;
    enum answer result = c->op == SEARCH_OR ? ANSWER_NO : ANSWER_YES;

    for (const struct search_cond *child = c->children; child; child = child->next) {
        enum answer a = search_judge(s, child, m);
        if (a == stop)
            return stop;
        if (a == ANSWER_OPEN)
            result = ANSWER_OPEN;
    }
    return result;
}

enum answer search_judge(const struct search *s, const struct search_cond *c, const struct candidate *m)
{
    const struct mailbox_row *row = &m->message.row;
    enum answer a;

    switch (c->op) {
    case SEARCH_ALL: return ANSWER_YES;
    case SEARCH_AND:
    case SEARCH_OR: return judge_children(s, c, m);
    case SEARCH_NOT:
        a = c->children ? search_judge(s, c->children, m) : ANSWER_NO;
        return a == ANSWER_OPEN ? a : as(a == ANSWER_NO);
    case SEARCH_UIDS: return as(uid_set_contains(c->uids, row->uid));
    case SEARCH_FLAG: return as((row->flags & c->number) != 0);
    case SEARCH_KEYWORD:
        return as((row->keywords[0] & c->keywords.w[0]) || (row->keywords[1] & c->keywords.w[1]));
    case SEARCH_LARGER: return as(row->size > c->number);
    case SEARCH_SMALLER: return as(row->size < c->number);
    case SEARCH_MODSEQ: return as(row->modseq >= c->number);
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE: return judge_sent(c, m);
    case SEARCH_HEADER:
    case SEARCH_BODY:
    case SEARCH_TEXT: return m->texts ? (enum answer)m->texts[c->number] : ANSWER_OPEN;
    default: return judge_date(s, c, row);
    }
}

/* ---- text, read and decoded --------------------------------------------------------------------------------- */

/* Lines are "name: value\n", folded. An empty text asks whether the field is there. */
static bool header_has(struct slice header, struct slice field, struct slice text)
{
    struct slice line;

    while (slice_cut(&header, '\n', &line)) {
        if (!slice_has_prefix(line, field) || line.n <= field.n || line.p[field.n] != ':')
            continue;
        line = slice_tail(line, field.n + 1);
        if (line.n && line.p[0] == ' ')
            line = slice_tail(line, 1);
        if (text.n == 0 || slice_find(line, text) >= 0)
            return true;
    }
    return false;
}

bool search_text_matches(const struct search_cond *c, const struct search_text *text)
{
    struct slice header = buf_slice(&text->header), body = buf_slice(&text->body);

    if (c->op == SEARCH_HEADER)
        return header_has(header, c->field, c->text);
    if (c->text.n == 0 || slice_find(body, c->text) >= 0)
        return true;
    return c->op == SEARCH_TEXT && slice_find(header, c->text) >= 0;
}

static int read_and_judge(struct search *s, struct candidate *m, bool *found, struct fault *why)
{
    int r = body_reader_open(&s->reader, m->message.body, why);

    if (r >= 0)
        r = search_scan_body(s, m->texts, why);
    *found = r >= 0 && search_judge(s, s->root, m) == ANSWER_YES;
    return r;
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static void found(struct search *s, const struct mailbox_row *row)
{
    uid_set_add(&s->uids, row->uid);
    if (row->modseq > s->highestmodseq)
        s->highestmodseq = row->modseq;
}

static int load_sent(struct search *s, struct candidate *m, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(s->e, &q, why, "SELECT sent_day FROM rendered WHERE id=?", A_INT(m->message.body)) < 0)
        return -1;
    r = db_step(s->e, q, why);
    m->sent_known = true;
    if (r > 0 && sqlite3_column_type(q, 0) != SQLITE_NULL) {
        m->has_sent_day = true;
        m->sent_day = sqlite3_column_int64(q, 0);
    }
    return r;
}

/* Judges what was set aside, in order. */
static int settle(struct search *s, struct fault *why)
{
    if (s->open_count == 0)
        return 0;
    if (s->text_count && index_narrow(s, why) < 0)
        return -1;
    for (size_t i = 0; i < s->open_count; i++) {
        struct candidate *m = &s->open[i];
        enum answer a = search_judge(s, s->root, m);
        bool yes = a == ANSWER_YES;
        if (a == ANSWER_OPEN && read_and_judge(s, m, &yes, why) < 0)
            return -1;
        if (yes)
            found(s, &m->message.row);
    }
    s->open_count = 0;
    arena_reset(s->window);
    return 0;
}

static int set_aside(struct search *s, const struct candidate *m, struct fault *why)
{
    struct candidate *c = &s->open[s->open_count++];

    *c = *m;
    c->texts = arena_alloc(s->window, s->text_count + 1);
    memset(c->texts, ANSWER_OPEN, s->text_count + 1);
    return s->open_count == OPEN_WINDOW ? settle(s, why) : 0;
}

static int judge_range(struct search *s, struct uid_range range, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(s->e, &q, why, "SELECT " MESSAGE_COLUMNS " FROM messages  WHERE id BETWEEN ? AND ?",
                 A_INT(MESSAGE_ID(s->folder, range.first)), A_INT(MESSAGE_ID(s->folder, range.last))) < 0)
        return -1;
    while ((r = db_step(s->e, q, why)) > 0) {
        struct candidate m = { 0 };
        enum answer a;
        message_read(q, &m.message);
        a = search_judge(s, s->root, &m);
        if (a == ANSWER_OPEN && s->wants_sent) {
            if (load_sent(s, &m, why) < 0)
                return -1;
            a = search_judge(s, s->root, &m);
        }
        if (a == ANSWER_YES)
            found(s, &m.message.row);
        if (a == ANSWER_OPEN && set_aside(s, &m, why) < 0)
            return -1;
    }
    return r;
}

/* What the conditions that all must hold say about UIDs: no row outside can be found. */
static void limit_uids(struct search *s, const struct search_cond *c, struct uid_set *within)
{
    if (c->op == SEARCH_UIDS)
        *within = uid_set_intersect(s->arena, *within, c->uids);
    for (const struct search_cond *child = c->op == SEARCH_AND ? c->children : NULL; child; child = child->next)
        limit_uids(s, child, within);
}

static int judge_rows(struct search *s, struct fault *why)
{
    struct uid_set within = uid_set_make(s->arena, 1, UINT32_MAX);

    limit_uids(s, s->root, &within);
    if (within.count > RANGES_MAX)
        within = uid_set_make(s->arena, within.ranges[0].first, within.ranges[within.count - 1].last);
    for (size_t i = 0; i < within.count; i++)
        if (judge_range(s, within.ranges[i], why) < 0)
            return -1;
    return settle(s, why);
}

static int search_inside(struct search *s, uint64_t folder_id, const struct search_node *program, struct fault *why)
{
    struct folder f = { 0 };

    if (folder_by_id(s->e, folder_id, &f, why) < 0)
        return -1;
    s->folder = f.id;
    s->texts = ARENA_ARRAY(s->arena, struct search_cond *, TREE_NODES_MAX + 1);
    s->open = ARENA_ARRAY(s->arena, struct candidate,
                          f.messages < OPEN_WINDOW ? (size_t)f.messages + 1 : OPEN_WINDOW);
    if (prepare(s, program, 1, &s->root, why) < 0)
        return -1;
    return judge_rows(s, why);
}

int engine_search(struct engine *e, uint64_t folder_id, const struct search_node *program, struct arena *in,
                  struct mailbox_found *out, struct fault *why)
{
    AUTO(arena_free) struct arena *arena = arena_new(0);
    AUTO(arena_free) struct arena *window = arena_new(0);
    struct search s = { .e = e, .arena = arena, .window = window, .now_ms = clock_wall_ms(),
                        .uids = uid_set_builder_make(in) };
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    body_reader_init(&s.reader, e);
    r = search_inside(&s, folder_id, program, why);
    body_reader_close(&s.reader);
    read_end(e);
    if (r >= 0)
        *out = (struct mailbox_found){ uid_set_finish(&s.uids), s.highestmodseq };
    return r;
}
