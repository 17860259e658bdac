/* srs_test.c - rewriting there and back, over two forwarders, and what must be refused. */
#include "mail/srs.h"

#include "base/test.h"

#define NOW  1700000000000
#define DAYS(n) ((int64_t)(n) * 86400000)

TEST(srs, there_and_back)
{
    AUTO(secret_unref) struct secret *key = secret_new(LIT("k1"));
    struct slice there = srs_encode(t->arena, key, LIT("jane=x@example.org"), LIT("fwd.test"), NOW), back;

    CHECK(slice_has_prefix(there, LIT("SRS0=")) && slice_has_suffix(there, LIT("=example.org=jane=x@fwd.test")));
    CHECK_INT(SRS_VALID, srs_decode(t->arena, key, there, NOW + DAYS(20), &back));
    CHECK_STR("jane=x@example.org", back);
    CHECK_INT(SRS_FORGED, srs_decode(t->arena, key, there, NOW + DAYS(23), &back));
    CHECK_SLICE(there, srs_encode(t->arena, key, there, LIT("fwd.test"), NOW));
}

TEST(srs, second_forwarder_wraps_once)
{
    AUTO(secret_unref) struct secret *one = secret_new(LIT("k1"));
    AUTO(secret_unref) struct secret *two = secret_new(LIT("k2"));
    AUTO(secret_unref) struct secret *three = secret_new(LIT("k3"));
    struct slice a = srs_encode(t->arena, one, LIT("jane@example.org"), LIT("one.test"), NOW);
    struct slice b = srs_encode(t->arena, two, a, LIT("two.test"), NOW);
    struct slice c = srs_encode(t->arena, three, b, LIT("three.test"), NOW), back;

    CHECK(slice_has_prefix(b, LIT("SRS1=")) && slice_has_prefix(c, LIT("SRS1=")));
    CHECK_INT(SRS_VALID, srs_decode(t->arena, two, b, NOW, &back));
    CHECK_SLICE(a, back);
    CHECK_INT(SRS_VALID, srs_decode(t->arena, three, c, NOW, &back));
    CHECK_SLICE(a, back);
}

TEST(srs, case_changes_on_the_way_are_forgiven_only_in_tag_and_day)
{
    AUTO(secret_unref) struct secret *key = secret_new(LIT("k1"));
    struct slice lower = arena_lower(t->arena, srs_encode(t->arena, key, LIT("jane@example.org"), LIT("fwd.test"), NOW)), back;

    CHECK_INT(SRS_VALID, srs_decode(t->arena, key, lower, NOW, &back));
    lower = arena_lower(t->arena, srs_encode(t->arena, key, LIT("Jane@example.org"), LIT("fwd.test"), NOW));
    CHECK_INT(SRS_FORGED, srs_decode(t->arena, key, lower, NOW, &back));
}

TEST(srs, refuses_and_ignores)
{
    static const struct { const char *in; enum srs_result want; } row[] = {
        { "jane@example.org", SRS_NONE }, { "", SRS_NONE }, { "srs@x", SRS_NONE }, { "SRS0@x.test", SRS_NONE },
        { "SRS0=@x.test", SRS_NONE }, { "SRS0=00000000=AB=a.test=b@x.test", SRS_FORGED }, { "srs1-00000000=a.test==x@x.test", SRS_FORGED },
        { "SRS0=00000000=AB@x.test", SRS_FORGED },
    };
    AUTO(secret_unref) struct secret *key = secret_new(LIT("k1"));
    struct slice back;

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, srs_decode(t->arena, key, slice_of(row[i].in), NOW, &back) == row[i].want);
    CHECK_STR("", srs_encode(t->arena, key, LIT(""), LIT("fwd.test"), NOW));
}
