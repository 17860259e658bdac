/* arc_test.c - chains sealed hop by hop, checked, bent and checked again. */
#include "mail/arc.h"

#include "base/test.h"

static const char message_header[] = "From: Joe <joe@a.test>\r\nTo: list@b.test\r\nSubject: hi\r\nDKIM-Signature: v=1; d=a.test; b=x\r\n";

struct hop { struct dkim_key *key; struct slice record; };

static void make_hop(struct test *t, struct hop *h, enum dkim_algorithm algorithm)
{
    struct fault why;
    struct slice pem;

    REQUIRE_OK(dkim_key_generate(t->arena, algorithm, 1024, &pem, &why), &why);
    REQUIRE_OK(dkim_key_parse(pem, &h->key, &why), &why);
    REQUIRE_OK(dkim_key_record(h->key, t->arena, &h->record, &why), &why);
}

static struct arc_verdict verify(struct test *t, const struct hop *h, struct slice header, const char *body)
{
    AUTO(arc_verifier_free) struct arc_verifier *v = arc_verifier_new(t->arena, header);

    for (size_t i = 0; i < arc_verifier_count(v); i++)
        arc_verifier_key(v, i, h->record.n ? DKIM_KEY_FOUND : DKIM_KEY_UNKNOWN, h->record);
    arc_verifier_body(v, slice_of(body));
    return *arc_verifier_finish(v);
}

static struct slice seal(struct test *t, const struct hop *h, enum arc_result chain, struct slice header, const char *body)
{
    struct authres_result result = { .method = "spf", .result = "pass", .property_count = 1, .properties = { { "smtp", "mailfrom", LIT("joe@a.test") } } };
    struct arc_seal_options options = { .key = h->key, .domain = LIT("b.test"), .selector = LIT("s"), .authserv_id = LIT("mx.b.test"),
                                        .now_ms = 1700000000000, .chain = chain, .results = &result, .result_count = 1 };
    AUTO(arc_sealer_free) struct arc_sealer *s = arc_sealer_new(&options);
    struct slice fields = SLICE_NONE;
    struct fault why;

    arc_sealer_body(s, slice_of(body));
    CHECK_OK(arc_sealer_finish(s, header, t->arena, &fields, &why), &why);
    return arena_concat(t->arena, (struct slice[]){ fields, header }, 2);
}

static void check_chain(struct test *t, enum dkim_algorithm algorithm)
{
    struct hop h = { NULL, SLICE_NONE };
    struct slice header = slice_of(message_header);
    struct arc_verdict v;

    make_hop(t, &h, algorithm);
    CHECK_INT(ARC_NONE, verify(t, &h, header, "body\r\n").result);
    for (unsigned i = 1; i <= 3; i++) {
        header = seal(t, &h, i == 1 ? ARC_NONE : ARC_PASS, header, "body\r\n");
        v = verify(t, &h, header, "body\r\n");
        CHECK_STR("", slice_of(v.reason));
        CHECK_INT(ARC_PASS, v.result);
        CHECK_INT(i, v.sets);
        CHECK_STR("b.test", v.domain);
        CHECK_STR("b.test", v.seal_domain);
    }
    CHECK_INT(ARC_FAIL, verify(t, &h, header, "other body\r\n").result);
    CHECK_INT(ARC_TEMPERROR, verify(t, &(struct hop){ NULL, SLICE_NONE }, header, "body\r\n").result);
    dkim_key_free(&h.key);
}

TEST(arc, seals_and_verifies_rsa)
{
    check_chain(t, DKIM_RSA_SHA256);
}

TEST(arc, seals_and_verifies_ed25519)
{
    check_chain(t, DKIM_ED25519_SHA256);
}

TEST(arc, notices_what_was_bent)
{
    static const struct { const char *find, *put; } row[] = {
        { "Subject: hi", "Subject: ho" }, { "spf=pass", "spf=fail" }, { "ARC-Seal: i=1", "ARC-Seal: i=3" }, { "cv=pass", "cv=fail" },
        { "cv=none", "cv=pass" }, { "i=2; mx", "i=1; mx" }, { "ARC-Message-Signature: i=1", "X-Message-Signature: i=1" },
    };
    struct hop h = { NULL, SLICE_NONE };
    struct slice header = slice_of(message_header);

    make_hop(t, &h, DKIM_ED25519_SHA256);
    header = seal(t, &h, ARC_NONE, header, "b\r\n");
    header = seal(t, &h, ARC_PASS, header, "b\r\n");
    for (size_t i = 0; i < COUNT(row); i++) {
        ptrdiff_t at = slice_find(header, slice_of(row[i].find));
        struct slice bent;

        CHECK_ROW(i, at >= 0);
        bent = arena_concat(t->arena, (struct slice[]){ slice_head(header, (size_t)at), slice_of(row[i].put),
                                                        slice_tail(header, (size_t)at + strlen(row[i].find)) }, 3);
        CHECK_ROW(i, verify(t, &h, bent, "b\r\n").result == ARC_FAIL);
    }
    dkim_key_free(&h.key);
}

TEST(arc, closes_a_broken_chain_once)
{
    struct hop h = { NULL, SLICE_NONE };
    struct slice header = slice_of(message_header), again;

    make_hop(t, &h, DKIM_ED25519_SHA256);
    header = seal(t, &h, ARC_NONE, header, "b\r\n");
    header = seal(t, &h, ARC_FAIL, header, "changed\r\n");
    CHECK(slice_find(header, LIT("i=2; a=ed25519-sha256; cv=fail")) >= 0);
    CHECK_INT(ARC_FAIL, verify(t, &h, header, "changed\r\n").result);
    again = seal(t, &h, ARC_FAIL, header, "changed\r\n");
    CHECK_SLICE(header, again);
    dkim_key_free(&h.key);
}
