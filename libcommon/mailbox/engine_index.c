/* engine_index.c - filling the search index: segments of the words of bodies, outside every delivery.
 *
 * Owns tables unindexed and segments. Called by engine_tidy and engine_index_some. Fails with the database's error. Never suspends.
 *
 * A new body is queued in `unindexed`; until a segment knows it, searching reads it. Segments are written once and never changed:
 * one whose bodies are mostly gone is dropped and the rest queued again.
 */
#include "mailbox/engine_index.h"

#include <zstd.h>

#include "base/time.h"

#define INDEX_ZSTD_LEVEL 3

bool index_is_word_byte(char c)
{
    static const bool is[256] = { ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
                                  [128 ... 255] = true };

    return is[(unsigned char)c];
}

bool index_next_word(struct slice *rest, struct slice *word)
{
    size_t i = 0, start;

    while (i < rest->n && !index_is_word_byte(rest->p[i]))
        i++;
    start = i;
    while (i < rest->n && index_is_word_byte(rest->p[i]))
        i++;
    *word = slice_sub(*rest, start, i - start);
    *rest = slice_tail(*rest, i);
    return word->n > 0;
}

/* ---- gathering words ------------------------------------------------------------------------------------- */

struct term { uint32_t at, n, last, count; };     /* last: last posting + 1 */
struct posting { uint32_t term, value; };

struct index_builder {
    struct arena *arena;              /* docs only */
    struct buf words;                 /* text of the terms */
    struct term *terms;
    size_t term_count, term_cap;
    uint32_t *slots;                  /* term + 1; 0: free */
    size_t slot_count;
    struct posting *postings;
    size_t posting_count, posting_cap;
    int64_t docs[SEGMENT_DOCS_MAX];
    size_t doc_count;
    size_t text_bytes;
};

static void *grow(void *p, size_t *cap, size_t size)
{
    *cap = *cap ? *cap * 2 : 4096;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

static void builder_init(struct index_builder *b)
{
    *b = (struct index_builder){ .slot_count = (size_t)1 << 16 };
    buf_init(&b->words, (size_t)64 << 20);
    b->slots = calloc(b->slot_count, sizeof(*b->slots));
    if (!b->slots)
        abort();
}

static void builder_free(struct index_builder *b)
{
    buf_free(&b->words);
    free(b->terms);
    free(b->slots);
    free(b->postings);
}

static uint64_t word_hash(struct slice w)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < w.n; i++)
        h = (h ^ (unsigned char)w.p[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static struct slice term_word(const struct index_builder *b, const struct term *t)
{
    return slice_sub(buf_slice(&b->words), t->at, t->n);
}

static void rehash(struct index_builder *b)
{
    free(b->slots);
    b->slot_count *= 2;
    b->slots = calloc(b->slot_count, sizeof(*b->slots));
    if (!b->slots)
        abort();
    for (size_t i = 0; i < b->term_count; i++) {
        size_t at = word_hash(term_word(b, &b->terms[i])) & (b->slot_count - 1);
        while (b->slots[at])
            at = (at + 1) & (b->slot_count - 1);
        b->slots[at] = (uint32_t)i + 1;
    }
}

static uint32_t find_term(struct index_builder *b, struct slice word)
{
    size_t at = word_hash(word) & (b->slot_count - 1);

    while (b->slots[at]) {
        if (slice_equal(term_word(b, &b->terms[b->slots[at] - 1]), word))
            return b->slots[at] - 1;
        at = (at + 1) & (b->slot_count - 1);
    }
    if (b->term_count == b->term_cap)
        b->terms = grow(b->terms, &b->term_cap, sizeof(*b->terms));
    b->terms[b->term_count] = (struct term){ (uint32_t)b->words.n, (uint32_t)word.n, 0, 0 };
    (void)buf_append(&b->words, word);
    b->slots[at] = (uint32_t)++b->term_count;
    if (b->term_count * 2 > b->slot_count)
        rehash(b);
    return (uint32_t)b->term_count - 1;
}

static void add_words(struct index_builder *b, struct slice text, uint32_t posting)
{
    struct slice word;

    while (index_next_word(&text, &word)) {
        uint32_t t = find_term(b, word);
        if (b->terms[t].last == posting + 1)
            continue;
        b->terms[t].last = posting + 1;
        b->terms[t].count++;
        if (b->posting_count == b->posting_cap)
            b->postings = grow(b->postings, &b->posting_cap, sizeof(*b->postings));
        b->postings[b->posting_count++] = (struct posting){ t, posting };
    }
}

static bool is_worth_it(struct slice text)
{
    struct slice word;

    while (index_next_word(&text, &word))
        if (word.n > INDEX_WORD_MAX)
            return false;
    return true;
}

/* ---- packing a segment ------------------------------------------------------------------------------------- */

static int compare_terms(const void *x, const void *y, void *builder)
{
    const struct index_builder *b = builder;
    const uint32_t *i = x, *j = y;

    return slice_compare(term_word(b, &b->terms[*i]), term_word(b, &b->terms[*j]));
}

static void compress(const struct buf *in, struct buf *out)
{
    size_t bound = ZSTD_compressBound(in->n), n;

    buf_init(out, bound);
    if (buf_reserve(out, bound) < 0)
        abort();
    n = ZSTD_compress(out->p, bound, in->p, in->n, INDEX_ZSTD_LEVEL);
    if (ZSTD_isError(n))
        abort();
    out->n = n;
}

/* Where each term's postings begin once they are grouped by term; they keep the order of documents. */
static uint32_t *group_postings(struct index_builder *b)
{
    uint32_t *start = calloc(b->term_count + 1, sizeof(*start)), *next, *values, at = 0;

    next = malloc((b->term_count + 1) * sizeof(*next));
    values = calloc(b->posting_count + 1, sizeof(*values));
    if (!start || !next || !values)
        abort();
    for (size_t i = 0; i < b->term_count; i++) {
        start[i] = next[i] = at;
        at += b->terms[i].count;
    }
    for (size_t i = 0; i < b->posting_count; i++)
        values[next[b->postings[i].term]++] = b->postings[i].value;
    for (size_t i = 0; i < b->posting_count; i++)
        b->postings[i].value = values[i];
    free(next);
    free(values);
    return start;
}

static void pack_terms(struct index_builder *b, struct buf *terms, struct buf *lists)
{
    uint32_t *order = malloc((b->term_count + 1) * sizeof(*order)), *start = group_postings(b);

    if (!order)
        abort();
    for (size_t i = 0; i < b->term_count; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, b->term_count, sizeof(*order), compare_terms, b);
    (void)buf_append_char(terms, '\n');
    for (size_t i = 0; i < b->term_count; i++) {
        const struct term *t = &b->terms[order[i]];
        uint32_t previous = 0;
        (void)buf_append(terms, term_word(b, t));
        (void)buf_append_char(terms, '\n');
        (void)buf_put_varint(lists, t->count);
        for (uint32_t k = 0; k < t->count; k++) {
            uint32_t v = b->postings[start[order[i]] + k].value;
            (void)buf_put_varint(lists, v - previous);
            previous = v;
        }
    }
    free(order);
    free(start);
}

static int write_segment(struct engine *e, struct index_builder *b, struct fault *why)
{
    AUTO(buf_free) struct buf plain_terms = BUF_INIT((size_t)128 << 20), plain_lists = BUF_INIT((size_t)128 << 20);
    AUTO(buf_free) struct buf docs = BUF_INIT(SEGMENT_DOCS_MAX * 10 + 10), terms = { 0 }, lists = { 0 };
    int64_t previous = 0;
    int r;

    pack_terms(b, &plain_terms, &plain_lists);
    compress(&plain_terms, &terms);
    compress(&plain_lists, &lists);
    (void)buf_put_varint(&docs, b->doc_count);
    for (size_t i = 0; i < b->doc_count; i++) {
        (void)buf_put_varint(&docs, (uint64_t)(b->docs[i] - previous));
        previous = b->docs[i];
    }
    if (change_begin(e, why) < 0)
        return -1;
    r = db_run(e, why, "INSERT INTO segments(first,last,live,docs,terms,lists) VALUES(?,?,?,?,?,?)",
               A_INT(b->docs[0]), A_INT(b->docs[b->doc_count - 1]), A_INT(b->doc_count), A_BLOB(buf_slice(&docs)),
               A_BLOB(buf_slice(&terms)), A_BLOB(buf_slice(&lists)));
    for (size_t i = 0; r >= 0 && i < b->doc_count; i++)
        r = db_run(e, why, "DELETE FROM unindexed WHERE body=?1", A_INT(b->docs[i]));
    return change_end(e, r, why);
}

/* ---- one step --------------------------------------------------------------------------------------------------- */

static int skip_body(struct engine *e, int64_t body, struct fault *why)
{
    if (change_begin(e, why) < 0)
        return -1;
    return change_end(e, db_run(e, why, "UPDATE unindexed SET skip=1 WHERE body=?", A_INT(body)), why);
}

static int add_body(struct engine *e, struct index_builder *b, struct body_reader *reader, int64_t body,
                    struct fault *why)
{
    struct search_text text = { BUF_INIT(INDEX_TEXT_MAX), BUF_INIT(INDEX_TEXT_MAX) };
    struct fault inner = { 0 };
    bool fits = body_reader_open(reader, body, &inner) >= 0 && search_text_of_body(reader, &text, &inner) >= 0;

    if (!fits && inner.code != FAULT_LIMIT) {
        buf_free(&text.header);
        buf_free(&text.body);
        return fault_set(why, inner.code, "%s", inner.text);
    }
    fits = fits && is_worth_it(buf_slice(&text.header)) && is_worth_it(buf_slice(&text.body));
    if (fits) {
        uint32_t doc = (uint32_t)b->doc_count;
        b->docs[b->doc_count++] = body;
        add_words(b, buf_slice(&text.body), doc << 1 | INDEX_BODY);
        add_words(b, buf_slice(&text.header), doc << 1 | INDEX_HEADER);
        b->text_bytes += text.body.n + text.header.n;
    }
    buf_free(&text.header);
    buf_free(&text.body);
    return fits ? 0 : skip_body(e, body, why);
}

static int queued_bodies(struct engine *e, int64_t out[SEGMENT_DOCS_MAX], size_t *count, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    *count = 0;
    if (db_query(e, &q, why, "SELECT body FROM unindexed WHERE skip=0 ORDER BY body LIMIT ?",
                 A_INT(SEGMENT_DOCS_MAX)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0)
        out[(*count)++] = sqlite3_column_int64(q, 0);
    return r;
}

/* 1: a segment was made. */
static int index_step(struct engine *e, struct fault *why)
{
    int64_t bodies[SEGMENT_DOCS_MAX];
    struct body_reader reader;
    struct index_builder b;
    size_t count;
    int r = 0;

    if (queued_bodies(e, bodies, &count, why) < 0)
        return -1;
    if (count < SEGMENT_DOCS_MIN)
        return 0;
    builder_init(&b);
    body_reader_init(&reader, e);
    for (size_t i = 0; r >= 0 && i < count && b.text_bytes < SEGMENT_TEXT_MAX; i++)
        r = add_body(e, &b, &reader, bodies[i], why);
    body_reader_close(&reader);
    if (r >= 0 && b.doc_count)
        r = write_segment(e, &b, why);
    builder_free(&b);
    return r < 0 ? -1 : 1;
}

int engine_index_some(struct engine *e, unsigned budget_ms, struct fault *why)
{
    uint64_t until = clock_now_ms() + budget_ms;
    int r;

    do
        r = index_step(e, why);
    while (r > 0 && clock_now_ms() < until);
    return r;
}
