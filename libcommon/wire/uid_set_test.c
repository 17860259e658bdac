/* uid_set_test.c - text forms (RFC 9051 9), and the algebra against a plain array of bools. */
#include "base/test.h"
#include "base/secret.h"
#include "wire/uid_set.h"

TEST(uid_set, parses_what_the_rfc_allows)
{
    static const struct { const char *in; uint32_t star; const char *want; } row[] = {
        { "1", 9, "1" },
        { "7:5", 9, "5:7" },
        { "2:*", 9, "2:9" },
        { "*", 9, "9" },
        { "12:*", 9, "9:12" },
        { "*:3", 9, "3:9" },
        { "5,1:2,3,9:8", 9, "1:3,5,8:9" },
        { "1:5,2:3,4:9", 9, "1:9" },
        { "4294967295,1", 9, "1,4294967295" },
        { "1:*", 0, "" },
        { "*,4", 0, "4" },
        { "1:4294967295,7", 9, "1:4294967295" },
        { "", 9, NULL }, { "0", 9, NULL }, { "01", 9, NULL }, { "1,", 9, NULL }, { ",1", 9, NULL },
        { "1:", 9, NULL }, { ":1", 9, NULL }, { "1:2:3", 9, NULL }, { "4294967296", 9, NULL },
        { "99999999999999999999", 9, NULL }, { "1 ", 9, NULL }, { "a", 9, NULL }, { "$", 9, NULL },
        { "1**", 9, NULL }, { "-1", 9, NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct uid_set set;
        bool ok = uid_set_parse(slice_of(row[i].in), row[i].star, t->arena, &set);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (ok && row[i].want)
            CHECK_ROW_SLICE(i, slice_of(row[i].want), uid_set_format(set, t->arena));
    }
}

#define WORLD 64u

static struct uid_set random_set(struct arena *in, bool member[WORLD])
{
    struct uid_set_builder b = uid_set_builder_make(in);

    memset(member, 0, WORLD);
    for (uint64_t n = random_below(12); n > 0; n--) {
        uint32_t first = 1 + (uint32_t)random_below(WORLD - 1);
        uint32_t last = first + (uint32_t)random_below(6);
        if (last >= WORLD)
            last = WORLD - 1;
        uid_set_add_range(&b, first, last);
        for (uint32_t u = first; u <= last; u++)
            member[u] = true;
    }
    return uid_set_finish(&b);
}

static bool same(struct uid_set set, const bool member[WORLD])
{
    uint32_t previous_last = 0;

    for (size_t i = 0; i < set.count; i++) {
        if (set.ranges[i].first > set.ranges[i].last ||
            (i && set.ranges[i].first <= previous_last + 1))
            return false;
        previous_last = set.ranges[i].last;
    }
    for (uint32_t u = 1; u < WORLD; u++)
        if (uid_set_contains(set, u) != member[u])
            return false;
    return true;
}

static void check_rank(struct test *t, struct uid_set set, const bool member[WORLD])
{
    struct uid_index x = uid_index_make(t->arena, set);
    struct uid_set_iter i = uid_set_iterate(set);
    uint64_t rank = 0;
    uint32_t uid;

    for (uint32_t u = 1; u < WORLD; u++) {
        uint64_t want = member[u] ? ++rank : 0;
        CHECK_INT(want, uid_set_rank(set, u));
        CHECK_INT(want, uid_index_rank(&x, u));
        if (!member[u])
            continue;
        CHECK_INT(u, uid_set_nth(set, rank));
        CHECK_INT(u, uid_index_nth(&x, rank));
        CHECK(uid_set_next(&i, &uid) && uid == u);
    }
    CHECK(!uid_set_next(&i, &uid));
    CHECK_INT(rank, uid_set_count(set));
    CHECK_INT(0, uid_index_nth(&x, rank + 1));
    CHECK_INT(0, uid_set_nth(set, 0));
}

TEST(uid_set, algebra_equals_arrays)
{
    bool a[WORLD], b[WORLD], want[WORLD], seqs[WORLD];

    for (int round = 0; round < 500; round++) {
        struct uid_set x = random_set(t->arena, a), y = random_set(t->arena, b), parsed;
        uint32_t seq = 0;
        for (uint32_t u = 0; u < WORLD; u++)
            want[u] = a[u] || b[u];
        CHECK(same(uid_set_union(t->arena, x, y), want));
        for (uint32_t u = 0; u < WORLD; u++)
            want[u] = a[u] && b[u];
        CHECK(same(uid_set_intersect(t->arena, x, y), want));
        for (uint32_t u = 0; u < WORLD; u++)
            want[u] = a[u] && !b[u];
        CHECK(same(uid_set_subtract(t->arena, x, y), want));
        check_rank(t, x, a);

        memset(seqs, 0, sizeof(seqs));
        memset(want, 0, sizeof(want));
        for (uint32_t u = 1; u < WORLD; u++) {
            if (!a[u])
                continue;
            seq++;
            if (b[u])
                seqs[seq] = true;
            if (b[seq])
                want[u] = true;
        }
        CHECK(same(uid_set_to_seqs(t->arena, x, y), seqs));
        CHECK(same(uid_set_from_seqs(t->arena, x, y), want));
        if (x.count) {
            REQUIRE(uid_set_parse(uid_set_format(x, t->arena), 1, t->arena, &parsed));
            CHECK(uid_set_equal(x, parsed));
        }
        arena_reset(t->arena);
    }
}

TEST(uid_set, holds_at_the_edge_of_32_bits)
{
    struct uid_set all = uid_set_make(t->arena, 1, UINT32_MAX);
    struct uid_set last = uid_set_make(t->arena, UINT32_MAX, UINT32_MAX);

    CHECK_INT(UINT32_MAX, uid_set_count(all));
    CHECK(uid_set_equal(all, uid_set_union(t->arena, last, all)));
    CHECK_SLICE(LIT("1:4294967294"),
                uid_set_format(uid_set_subtract(t->arena, all, last), t->arena));
    CHECK_INT(UINT32_MAX, uid_set_nth(all, UINT32_MAX));
    CHECK(uid_set_equal(last, uid_set_from_seqs(t->arena, all, last)));
}
