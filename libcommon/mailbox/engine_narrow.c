/* engine_narrow.c - asking the search index: which of the messages set aside can hold the text, and which certainly do.
 *
 * Owns nothing. Called by engine_search.c. FAULT_CORRUPT for a damaged segment. Never suspends.
 *
 * "No" is said when a word-run of the wanted text is in no word of the message. "Yes" is said only when the wanted text is one
 * such run and nothing else. All other answers stay open.
 */
#include "mailbox/engine_index.h"

#include <zstd.h>

#define UNPACKED_MAX ((unsigned long long)128 << 20)

struct doc_set { uint64_t w[SEGMENT_DOCS_MAX * 2 / 64]; };      /* bit doc << 1 | field */

struct narrowing {
    struct search *s;
    struct { int64_t body; uint32_t candidate; } *order;        /* by body */
    int64_t docs[SEGMENT_DOCS_MAX];
    size_t doc_count;
    bool wanted[SEGMENT_DOCS_MAX];
    struct buf terms, lists;
    int64_t segment, lists_of;        /* the segment being asked, and the one whose lists are unpacked */
    uint32_t *hits;                   /* numbers of terms */
    size_t hit_count, hit_cap;
};

int index_unpack(struct slice packed, struct buf *out, struct fault *why)
{
    unsigned long long size = ZSTD_getFrameContentSize(packed.p, packed.n);
    size_t n;

    buf_reset(out);
    out->max = UNPACKED_MAX;
    if (size > UNPACKED_MAX || buf_reserve(out, size + 1) < 0)
        return fault_set(why, FAULT_CORRUPT, "search index is damaged");
    n = ZSTD_decompress(out->p, size, packed.p, packed.n);
    if (ZSTD_isError(n))
        return fault_set(why, FAULT_CORRUPT, "search index does not decompress");
    out->n = n;
    return 0;
}

int index_read_docs(struct slice packed, int64_t docs[SEGMENT_DOCS_MAX], size_t *count, struct fault *why)
{
    uint64_t n, delta;
    int64_t body = 0;

    if (!unpack_varint(&packed, &n) || n > SEGMENT_DOCS_MAX)
        return fault_set(why, FAULT_CORRUPT, "search index is damaged");
    for (size_t i = 0; i < n; i++) {
        if (!unpack_varint(&packed, &delta))
            return fault_set(why, FAULT_CORRUPT, "search index is damaged");
        docs[i] = body += (int64_t)delta;
    }
    *count = n;
    return 0;
}

/* ---- one word-run in one segment --------------------------------------------------------------------------- */

static void add_hit(struct narrowing *n, uint32_t term)
{
    if (n->hit_count == n->hit_cap) {
        n->hit_cap = n->hit_cap ? n->hit_cap * 2 : 1024;
        n->hits = realloc(n->hits, n->hit_cap * sizeof(*n->hits));
        if (!n->hits)
            abort();
    }
    n->hits[n->hit_count++] = term;
}

static uint32_t count_lines(const char *p, const char *end)
{
    uint32_t n = 0;

    while (p < end)
        n += *p++ == '\n';
    return n;
}

static void find_terms(struct narrowing *n, struct slice run)
{
    const char *p = n->terms.p, *end = p + n->terms.n, *counted = p;
    uint32_t line = 0;

    n->hit_count = 0;
    while (p < end && (p = memmem(p, (size_t)(end - p), run.p, run.n))) {
        line += count_lines(counted, p);
        counted = p;
        add_hit(n, line - 1);         /* the text begins with a line end */
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            break;
    }
}

static bool skip_list(struct slice *lists, uint64_t count)
{
    size_t i = 0;

    for (; count && i < lists->n; i++)
        count -= !(lists->p[i] & 0x80);
    *lists = slice_tail(*lists, i);
    return count == 0;
}

static bool take_list(struct slice *lists, uint64_t count, struct doc_set *out)
{
    uint64_t value = 0, delta;

    for (; count; count--) {
        if (!unpack_varint(lists, &delta) || (value += delta) >= SEGMENT_DOCS_MAX * 2)
            return false;
        out->w[value / 64] |= (uint64_t)1 << (value % 64);
    }
    return true;
}

/* Most segments are asked for a word none of their bodies has: then their lists are never read. */
static int load_lists(struct narrowing *n, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (n->lists_of == n->segment)
        return 0;
    if (db_query(n->s->e, &q, why, "SELECT lists FROM segments WHERE id=?", A_INT(n->segment)) < 0)
        return -1;
    r = db_step(n->s->e, q, why);
    if (r <= 0)
        return r < 0 ? -1 : fault_set(why, FAULT_CORRUPT, "search index is damaged");
    n->lists_of = n->segment;
    return index_unpack(db_column(q, 0), &n->lists, why);
}

static int docs_with(struct narrowing *n, struct slice run, struct doc_set *out, struct fault *why)
{
    struct slice lists;
    uint32_t term = 0;

    *out = (struct doc_set){ { 0 } };
    find_terms(n, run);
    if (n->hit_count == 0)
        return 0;
    if (load_lists(n, why) < 0)
        return -1;
    lists = buf_slice(&n->lists);
    for (size_t i = 0; i < n->hit_count; i++, term++) {
        uint64_t count;
        for (; term < n->hits[i]; term++)
            if (!unpack_varint(&lists, &count) || !skip_list(&lists, count))
                return fault_set(why, FAULT_CORRUPT, "search index is damaged");
        if (!unpack_varint(&lists, &count) || !take_list(&lists, count, out))
            return fault_set(why, FAULT_CORRUPT, "search index is damaged");
    }
    return 0;
}

/* ---- one condition in one segment ----------------------------------------------------------------------------- */

static bool set_has(const struct doc_set *set, size_t doc, enum index_field field)
{
    size_t bit = doc << 1 | field;

    return set->w[bit / 64] >> (bit % 64) & 1;
}

/* Documents that may hold the condition's text stay in possible[]. */
static int rule_out(struct narrowing *n, const struct search_cond *c, struct slice text, bool *possible,
                    struct fault *why)
{
    struct slice run;
    struct doc_set set;

    while (index_next_word(&text, &run)) {
        if (docs_with(n, run, &set, why) < 0)
            return -1;
        for (size_t d = 0; d < n->doc_count; d++)
            possible[d] = possible[d] && ((c->op != SEARCH_HEADER && set_has(&set, d, INDEX_BODY)) ||
                                          (c->op != SEARCH_BODY && set_has(&set, d, INDEX_HEADER)));
    }
    return 0;
}

static bool is_one_run(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!index_is_word_byte(text.p[i]))
            return false;
    return text.n > 0;
}

static struct candidate *find_candidate(struct narrowing *n, size_t *at, int64_t body)
{
    while (*at < n->s->open_count && n->order[*at].body < body)
        (*at)++;
    if (*at == n->s->open_count || n->order[*at].body != body)
        return NULL;
    return &n->s->open[n->order[(*at)++].candidate];
}

static size_t first_at(const struct narrowing *n, int64_t body)
{
    size_t low = 0, high = n->s->open_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (n->order[mid].body < body)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void answer_docs(struct narrowing *n, const struct search_cond *c, const bool *possible)
{
    unsigned char yes = c->op != SEARCH_HEADER && is_one_run(c->text) ? ANSWER_YES : ANSWER_OPEN;
    struct candidate *m;
    size_t at = first_at(n, n->docs[0]);

    for (size_t d = 0; d < n->doc_count; d++)
        while ((m = find_candidate(n, &at, n->docs[d])))
            m->texts[c->number] = possible[d] ? yes : ANSWER_NO;
}

static int ask_segment(struct narrowing *n, struct fault *why)
{
    struct search *s = n->s;

    for (size_t i = 0; i < s->text_count; i++) {
        bool possible[SEGMENT_DOCS_MAX];
        memset(possible, true, sizeof(possible));
        if (rule_out(n, s->texts[i], s->texts[i]->text, possible, why) < 0 ||
            (s->texts[i]->op == SEARCH_HEADER && rule_out(n, s->texts[i], s->texts[i]->field, possible, why) < 0))
            return -1;
        answer_docs(n, s->texts[i], possible);
    }
    return 0;
}

/* ---- all segments ---------------------------------------------------------------------------------------------- */

static bool holds_any(struct narrowing *n)
{
    size_t at = n->doc_count ? first_at(n, n->docs[0]) : 0;

    for (size_t d = 0; d < n->doc_count; d++)
        if (find_candidate(n, &at, n->docs[d]))
            return true;
    return false;
}

static int compare_order(const void *a, const void *b)
{
    int64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

static void sort_candidates(struct narrowing *n)
{
    n->order = malloc(n->s->open_count * sizeof(*n->order));
    if (!n->order)
        abort();
    for (size_t i = 0; i < n->s->open_count; i++) {
        n->order[i].body = n->s->open[i].message.body;
        n->order[i].candidate = (uint32_t)i;
    }
    qsort(n->order, n->s->open_count, sizeof(*n->order), compare_order);
}

static int ask_segments(struct narrowing *n, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    if (db_query(n->s->e, &q, why, "SELECT docs,terms,id FROM segments WHERE first<=? AND last>=?",
                 A_INT(n->order[n->s->open_count - 1].body), A_INT(n->order[0].body)) < 0)
        return -1;
    while ((r = db_step(n->s->e, q, why)) > 0) {
        if (index_read_docs(db_column(q, 0), n->docs, &n->doc_count, why) < 0)
            return -1;
        if (!holds_any(n))
            continue;
        n->segment = sqlite3_column_int64(q, 2);
        if (index_unpack(db_column(q, 1), &n->terms, why) < 0 || ask_segment(n, why) < 0)
            return -1;
    }
    return r;
}

int index_narrow(struct search *s, struct fault *why)
{
    struct narrowing n = { .s = s };
    int r;

    sort_candidates(&n);
    r = ask_segments(&n, why);
    free(n.order);
    free(n.hits);
    buf_free(&n.terms);
    buf_free(&n.lists);
    return r;
}
