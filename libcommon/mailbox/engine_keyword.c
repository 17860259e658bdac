/* engine_keyword.c - keywords of a folder: at most 96 names, each a bit of two 64-bit words.
 *
 * Owns table keywords. Called by store, append and copy. FAULT_LIMIT when all bits are used by messages; a bit no message
 * carries any more is taken for a new name. Names compare without regard to ASCII case (RFC 9051 2.3.2). Never suspends.
 */
#include "mailbox/engine_internal.h"

static bool bit_is_set(struct keyword_bits b, unsigned bit)
{
    return b.w[bit / 64] >> (bit % 64) & 1;
}

static void bit_set(struct keyword_bits *b, unsigned bit)
{
    b->w[bit / 64] |= (uint64_t)1 << (bit % 64);
}

int keywords_list(struct engine *e, int64_t folder, struct arena *in, struct slice **names, size_t *count,
                  struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    *names = ARENA_ARRAY(in, struct slice, MAILBOX_KEYWORDS_MAX);
    *count = 0;
    if (db_query(e, &q, why, "SELECT bit,name FROM keywords WHERE folder=? ORDER BY bit", A_INT(folder)) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0) {
        size_t bit = (size_t)sqlite3_column_int64(q, 0);
        if (bit >= MAILBOX_KEYWORDS_MAX)
            return fault_set(why, FAULT_CORRUPT, "keyword has bit %zu", bit);
        (*names)[bit] = db_copy(q, 1, in);
        *count = bit + 1;             /* unused bits between are empty names */
    }
    return r;
}

static int find_bit(const struct slice *names, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++)
        if (names[i].n && slice_equal_nocase(names[i], name))
            return (int)i;
    return -1;
}

static int used_bits(struct engine *e, int64_t folder, struct keyword_bits *out, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    int r;

    *out = (struct keyword_bits){ { 0, 0 } };
    if (db_query(e, &q, why, "SELECT keys0,keys1 FROM messages WHERE id BETWEEN ? AND ? AND (keys0<>0 OR keys1<>0)",
                 A_INT(MESSAGE_ID(folder, 0)), A_INT(MESSAGE_ID(folder, UINT32_MAX))) < 0)
        return -1;
    while ((r = db_step(e, q, why)) > 0) {
        out->w[0] |= (uint64_t)sqlite3_column_int64(q, 0);
        out->w[1] |= (uint64_t)sqlite3_column_int64(q, 1);
    }
    return r;
}

/* A bit without a name, else one no message has. `keep`: bits this very call is about to set. */
static int choose_bit(struct engine *e, int64_t folder, const struct slice *names, size_t count,
                      struct keyword_bits keep, struct fault *why)
{
    struct keyword_bits used;

    for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
        if (i >= count || names[i].n == 0)
            return (int)i;
    if (used_bits(e, folder, &used, why) < 0)
        return -1;
    for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
        if (!bit_is_set(used, i) && !bit_is_set(keep, i))
            return (int)i;
    return fault_set(why, FAULT_LIMIT, "folder has %d keywords", MAILBOX_KEYWORDS_MAX);
}

static int make_keyword(struct engine *e, int64_t folder, struct slice *names, size_t *count, struct slice name,
                        struct keyword_bits keep, struct fault *why)
{
    int bit;

    if (name.n == 0 || name.n > ENGINE_KEYWORD_MAX)
        return fault_set(why, FAULT_INVALID, "not a keyword");
    bit = choose_bit(e, folder, names, *count, keep, why);
    if (bit < 0 || db_run(e, why, "INSERT OR REPLACE INTO keywords VALUES(?,?,?)", A_INT(folder), A_INT(bit),
                          A_TEXT(name)) < 0)
        return -1;
    names[bit] = name;
    if ((size_t)bit >= *count)
        *count = (size_t)bit + 1;
    return bit;
}

int keywords_resolve(struct engine *e, int64_t folder, const struct slice *names, size_t count, bool make,
                     struct keyword_bits *out, bool *made, struct fault *why)
{
    AUTO(arena_free) struct arena *a = NULL;
    struct slice *known;
    size_t known_count;

    *out = (struct keyword_bits){ { 0, 0 } };
    *made = false;
    if (count == 0)
        return 0;
    a = arena_new(0);
    if (keywords_list(e, folder, a, &known, &known_count, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int bit = find_bit(known, known_count, names[i]);
        if (bit < 0 && make) {
            bit = make_keyword(e, folder, known, &known_count, names[i], *out, why);
            if (bit < 0)
                return -1;
            *made = true;
        }
        if (bit >= 0)
            bit_set(out, (unsigned)bit);
    }
    return 0;
}

int keywords_map(struct engine *e, int64_t from, int64_t to, struct keyword_bits used, unsigned char map[128],
                 struct fault *why)
{
    AUTO(arena_free) struct arena *a = NULL;
    struct slice *source, *target;
    struct keyword_bits kept = { { 0, 0 } };
    size_t source_count, target_count;

    memset(map, 255, 128);
    if (!(used.w[0] | used.w[1]))
        return 0;
    a = arena_new(0);
    if (keywords_list(e, from, a, &source, &source_count, why) < 0 ||
        keywords_list(e, to, a, &target, &target_count, why) < 0)
        return -1;
    for (unsigned i = 0; i < source_count; i++) {
        int bit;
        if (!bit_is_set(used, i) || source[i].n == 0)
            continue;
        bit = find_bit(target, target_count, source[i]);
        if (bit < 0)
            bit = make_keyword(e, to, target, &target_count, source[i], kept, why);
        if (bit < 0)
            return -1;
        bit_set(&kept, (unsigned)bit);
        map[i] = (unsigned char)bit;
    }
    return 0;
}

struct keyword_bits keywords_apply(const unsigned char map[128], struct keyword_bits in)
{
    struct keyword_bits out = { { 0, 0 } };

    if (!(in.w[0] | in.w[1]))
        return out;
    for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
        if (bit_is_set(in, i) && map[i] != 255)
            bit_set(&out, map[i]);
    return out;
}
