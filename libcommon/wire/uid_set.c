/* uid_set.c - sets of UIDs or of sequence numbers as ascending ranges.
 *
 * Owns nothing beyond the caller's arena. Called by imap, the mailbox engine and the RPC. The only failure
 * is text that is no sequence-set. Never suspends.
 */
#include "wire/uid_set.h"

/* ---- building ---------------------------------------------------------------------------------- */

struct uid_set_builder uid_set_builder_make(struct arena *in)
{
    return (struct uid_set_builder){ .in = in };
}

static void builder_push(struct uid_set_builder *b, struct uid_range r)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 8;
        struct uid_range *more = ARENA_ARRAY(b->in, struct uid_range, cap);
        if (b->count)
            memcpy(more, b->ranges, b->count * sizeof(*more));
        b->ranges = more;
        b->cap = cap;
    }
    b->ranges[b->count++] = r;
}

void uid_set_add_range(struct uid_set_builder *b, uint32_t first, uint32_t last)
{
    struct uid_range r = first <= last ? (struct uid_range){ first, last }
                                       : (struct uid_range){ last, first };
    struct uid_range *tail = b->count ? &b->ranges[b->count - 1] : NULL;

    if (!tail || b->unsorted || r.first > (uint64_t)tail->last + 1) {
        builder_push(b, r);
    } else if (r.first >= tail->first) {
        if (r.last > tail->last)
            tail->last = r.last;
    } else {
        b->unsorted = true;
        builder_push(b, r);
    }
}

void uid_set_add(struct uid_set_builder *b, uint32_t uid)
{
    uid_set_add_range(b, uid, uid);
}

static int range_compare(const void *a, const void *b)
{
    const struct uid_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void builder_normalise(struct uid_set_builder *b)
{
    size_t kept = 0;

    qsort(b->ranges, b->count, sizeof(*b->ranges), range_compare);
    for (size_t i = 1; i < b->count; i++) {
        struct uid_range *tail = &b->ranges[kept];
        if (b->ranges[i].first > (uint64_t)tail->last + 1)
            b->ranges[++kept] = b->ranges[i];
        else if (b->ranges[i].last > tail->last)
            tail->last = b->ranges[i].last;
    }
    b->count = kept + 1;
    b->unsorted = false;
}

struct uid_set uid_set_finish(struct uid_set_builder *b)
{
    if (b->unsorted)
        builder_normalise(b);
    return (struct uid_set){ b->ranges, b->count };
}

struct uid_set uid_set_make(struct arena *in, uint32_t first, uint32_t last)
{
    struct uid_set_builder b = uid_set_builder_make(in);

    uid_set_add_range(&b, first, last);
    return uid_set_finish(&b);
}

struct uid_set uid_set_copy(struct arena *in, struct uid_set set)
{
    struct uid_set out = { NULL, set.count };

    if (set.count) {
        out.ranges = ARENA_ARRAY(in, struct uid_range, set.count);
        memcpy(out.ranges, set.ranges, set.count * sizeof(*set.ranges));
    }
    return out;
}

/* ---- text -------------------------------------------------------------------------------------- */

/* Takes nz-number or `*` off the front; *number is 0 for a `*` that stands for nothing. */
static bool take_number(struct slice *text, uint32_t star, uint32_t *number)
{
    size_t n = 0;

    if (text->n && text->p[0] == '*') {
        *number = star;
        *text = slice_tail(*text, 1);
        return true;
    }
    while (n < text->n && n < 11 && ascii_is_digit(text->p[n]))
        n++;
    if (n == 0 || text->p[0] == '0' || !slice_to_u32(slice_head(*text, n), UINT32_MAX, number))
        return false;
    *text = slice_tail(*text, n);
    return true;
}

static bool take_element(struct slice *text, uint32_t star, struct uid_set_builder *b)
{
    uint32_t first, last;

    if (!take_number(text, star, &first))
        return false;
    last = first;
    if (text->n && text->p[0] == ':') {
        *text = slice_tail(*text, 1);
        if (!take_number(text, star, &last))
            return false;
    }
    if (first && last)
        uid_set_add_range(b, first, last);
    return true;
}

bool uid_set_parse(struct slice text, uint32_t star, struct arena *in, struct uid_set *out)
{
    struct uid_set_builder b = uid_set_builder_make(in);

    for (size_t elements = 0; elements < UID_SET_RANGES_MAX; elements++) {
        if (!take_element(&text, star, &b))
            return false;
        if (text.n == 0) {
            *out = uid_set_finish(&b);
            return true;
        }
        if (text.p[0] != ',')
            return false;
        text = slice_tail(text, 1);
    }
    return false;
}

static char *put_u32(char *p, uint32_t v)
{
    char digits[10];
    int n = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *p++ = digits[--n];
    return p;
}

#define RANGE_TEXT_MAX 22             /* two numbers, a colon, a comma */

static char *put_range(char *p, struct uid_range r, bool comma)
{
    if (comma)
        *p++ = ',';
    p = put_u32(p, r.first);
    if (r.last != r.first) {
        *p++ = ':';
        p = put_u32(p, r.last);
    }
    return p;
}

struct slice uid_set_format(struct uid_set set, struct arena *in)
{
    char *text = arena_alloc(in, set.count * RANGE_TEXT_MAX + 1), *p = text;

    for (size_t i = 0; i < set.count; i++)
        p = put_range(p, set.ranges[i], i > 0);
    return slice_make(text, (size_t)(p - text));
}

int uid_set_append_text(struct uid_set set, struct buf *out)
{
    char text[RANGE_TEXT_MAX];

    for (size_t i = 0; i < set.count; i++) {
        size_t n = (size_t)(put_range(text, set.ranges[i], i > 0) - text);
        if (buf_append(out, slice_make(text, n)) < 0)
            return -1;
    }
    return 0;
}

/* ---- questions --------------------------------------------------------------------------------- */

static uint64_t range_count(struct uid_range r)
{
    return (uint64_t)r.last - r.first + 1;
}

uint64_t uid_set_count(struct uid_set set)
{
    uint64_t n = 0;

    for (size_t i = 0; i < set.count; i++)
        n += range_count(set.ranges[i]);
    return n;
}

/* Index of the first range that ends at or after `uid`; set.count when there is none. */
static size_t find_range(struct uid_set set, uint32_t uid)
{
    size_t low = 0, high = set.count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set.ranges[mid].last < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool uid_set_contains(struct uid_set set, uint32_t uid)
{
    size_t i = find_range(set, uid);

    return i < set.count && set.ranges[i].first <= uid;
}

bool uid_set_equal(struct uid_set a, struct uid_set b)
{
    return a.count == b.count &&
           (a.count == 0 || memcmp(a.ranges, b.ranges, a.count * sizeof(*a.ranges)) == 0);
}

uint32_t uid_set_max(struct uid_set set)
{
    return set.count ? set.ranges[set.count - 1].last : 0;
}

uint64_t uid_set_rank(struct uid_set set, uint32_t uid)
{
    uint64_t before = 0;
    size_t at = find_range(set, uid);

    if (at == set.count || set.ranges[at].first > uid)
        return 0;
    for (size_t i = 0; i < at; i++)
        before += range_count(set.ranges[i]);
    return before + (uid - set.ranges[at].first) + 1;
}

uint32_t uid_set_nth(struct uid_set set, uint64_t nth)
{
    if (nth == 0)
        return 0;
    for (size_t i = 0; i < set.count; i++) {
        uint64_t n = range_count(set.ranges[i]);
        if (nth <= n)
            return set.ranges[i].first + (uint32_t)(nth - 1);
        nth -= n;
    }
    return 0;
}

/* ---- algebra ----------------------------------------------------------------------------------- */

struct uid_set uid_set_union(struct arena *in, struct uid_set a, struct uid_set b)
{
    struct uid_set_builder out = uid_set_builder_make(in);
    size_t i = 0, j = 0;

    while (i < a.count || j < b.count) {
        bool from_a = j == b.count || (i < a.count && a.ranges[i].first <= b.ranges[j].first);
        struct uid_range r = from_a ? a.ranges[i++] : b.ranges[j++];
        uid_set_add_range(&out, r.first, r.last);
    }
    return uid_set_finish(&out);
}

struct uid_set uid_set_intersect(struct arena *in, struct uid_set a, struct uid_set b)
{
    struct uid_set_builder out = uid_set_builder_make(in);
    size_t i = 0, j = 0;

    while (i < a.count && j < b.count) {
        struct uid_range x = a.ranges[i], y = b.ranges[j];
        uint32_t first = x.first > y.first ? x.first : y.first;
        uint32_t last = x.last < y.last ? x.last : y.last;
        if (first <= last)
            uid_set_add_range(&out, first, last);
        if (x.last < y.last)
            i++;
        else
            j++;
    }
    return uid_set_finish(&out);
}

struct uid_set uid_set_subtract(struct arena *in, struct uid_set a, struct uid_set b)
{
    struct uid_set_builder out = uid_set_builder_make(in);
    size_t j = 0;

    for (size_t i = 0; i < a.count; i++) {
        uint64_t first = a.ranges[i].first, last = a.ranges[i].last;
        while (j < b.count && b.ranges[j].last < first)
            j++;
        for (size_t k = j; k < b.count && b.ranges[k].first <= last && first <= last; k++) {
            if (b.ranges[k].first > first)
                uid_set_add_range(&out, (uint32_t)first, b.ranges[k].first - 1);
            if ((uint64_t)b.ranges[k].last + 1 > first)
                first = (uint64_t)b.ranges[k].last + 1;
        }
        if (first <= last)
            uid_set_add_range(&out, (uint32_t)first, (uint32_t)last);
    }
    return uid_set_finish(&out);
}

struct uid_set uid_set_from_seqs(struct arena *in, struct uid_set uids, struct uid_set seqs)
{
    struct uid_set_builder out = uid_set_builder_make(in);
    uint64_t seq = 1;                 /* of the first member of uids.ranges[i] */
    size_t j = 0;

    for (size_t i = 0; i < uids.count && j < seqs.count; i++) {
        uint64_t end = seq + range_count(uids.ranges[i]) - 1;
        while (j < seqs.count && seqs.ranges[j].first <= end) {
            uint64_t from = seqs.ranges[j].first > seq ? seqs.ranges[j].first : seq;
            uint64_t to = seqs.ranges[j].last < end ? seqs.ranges[j].last : end;
            if (from <= to)
                uid_set_add_range(&out, uids.ranges[i].first + (uint32_t)(from - seq),
                                  uids.ranges[i].first + (uint32_t)(to - seq));
            if (seqs.ranges[j].last > end)
                break;
            j++;
        }
        seq = end + 1;
    }
    return uid_set_finish(&out);
}

struct uid_set uid_set_to_seqs(struct arena *in, struct uid_set uids, struct uid_set some)
{
    struct uid_set_builder out = uid_set_builder_make(in);
    uint64_t seq = 1;
    size_t j = 0;

    for (size_t i = 0; i < uids.count && j < some.count; i++) {
        struct uid_range r = uids.ranges[i];
        while (j < some.count && some.ranges[j].first <= r.last) {
            uint32_t from = some.ranges[j].first > r.first ? some.ranges[j].first : r.first;
            uint32_t to = some.ranges[j].last < r.last ? some.ranges[j].last : r.last;
            if (from <= to)
                uid_set_add_range(&out, (uint32_t)(seq + from - r.first),
                                  (uint32_t)(seq + to - r.first));
            if (some.ranges[j].last > r.last)
                break;
            j++;
        }
        seq += range_count(r);
    }
    return uid_set_finish(&out);
}

/* ---- walking ----------------------------------------------------------------------------------- */

struct uid_set_iter uid_set_iterate(struct uid_set set)
{
    return (struct uid_set_iter){ set, 0, set.count ? set.ranges[0].first : 0 };
}

bool uid_set_next(struct uid_set_iter *i, uint32_t *uid)
{
    if (i->range >= i->set.count)
        return false;
    *uid = (uint32_t)i->next;
    if (i->next++ == i->set.ranges[i->range].last && ++i->range < i->set.count)
        i->next = i->set.ranges[i->range].first;
    return true;
}

struct uid_index uid_index_make(struct arena *in, struct uid_set set)
{
    struct uid_index x = { set, ARENA_ARRAY(in, uint64_t, set.count + 1), 0 };

    for (size_t i = 0; i < set.count; i++) {
        x.before[i] = x.count;
        x.count += range_count(set.ranges[i]);
    }
    return x;
}

uint64_t uid_index_rank(const struct uid_index *x, uint32_t uid)
{
    size_t i = find_range(x->set, uid);

    if (i == x->set.count || x->set.ranges[i].first > uid)
        return 0;
    return x->before[i] + (uid - x->set.ranges[i].first) + 1;
}

uint32_t uid_index_nth(const struct uid_index *x, uint64_t nth)
{
    size_t low = 0, high = x->set.count;

    if (nth == 0 || nth > x->count)
        return 0;
    while (high - low > 1) {          /* the last range with before < nth */
        size_t mid = low + (high - low) / 2;
        if (x->before[mid] < nth)
            low = mid;
        else
            high = mid;
    }
    return x->set.ranges[low].first + (uint32_t)(nth - 1 - x->before[low]);
}
