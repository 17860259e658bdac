/* dkim_test.c - RFC 6376 and RFC 8463 Appendix A verified, our own signatures there and back, and what must not pass. */
#include "mail/dkim.h"

#include "base/test.h"

#define NOW 1700000000000

static const char rfc8463_signatures[] =
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    " subject : date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
    " date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
    " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
    " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n";

static const char rfc_header[] =
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";

static const char rfc_body[] = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

static const char *const rfc_key[2] = {
    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/"
    "byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
};

TEST(dkim, rfc8463_appendix_a)
{
    struct slice header = arena_printf(t->arena, "%s%s", rfc8463_signatures, rfc_header), body = slice_of(rfc_body);

    for (size_t cut = 0; cut <= body.n; cut++) {
        AUTO(dkim_verifier_free) struct dkim_verifier *v = dkim_verifier_new(t->arena, header, NOW);

        REQUIRE(dkim_verifier_count(v) == 2);
        CHECK_ROW_STR(cut, "brisbane._domainkey.football.example.com", dkim_verifier_key_name(v, 0));
        for (size_t i = 0; i < 2; i++)
            dkim_verifier_key(v, i, DKIM_KEY_FOUND, slice_of(rfc_key[i]));
        dkim_verifier_body(v, slice_head(body, cut));
        dkim_verifier_body(v, slice_tail(body, cut));
        dkim_verifier_finish(v);
        for (size_t i = 0; i < 2; i++)
            CHECK_ROW_STR(cut, "pass", dkim_result_name(dkim_verifier_verdict(v, i)->result));
    }
}

static enum dkim_result verify(struct test *t, struct slice header, struct slice body, struct slice record)
{
    AUTO(dkim_verifier_free) struct dkim_verifier *v = dkim_verifier_new(t->arena, header, NOW);

    if (dkim_verifier_count(v) != 1)
        return DKIM_NEUTRAL;
    dkim_verifier_key(v, 0, DKIM_KEY_FOUND, record);
    dkim_verifier_body(v, body);
    dkim_verifier_finish(v);
    return dkim_verifier_verdict(v, 0)->result;
}

/* simple/simple: every byte counts, also the two blanks in Received */
TEST(dkim, rfc6376_appendix_a)
{
    static const char header[] =
        "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n"
        "      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n"
        "      h=Received : From : To : Subject : Date : Message-ID;\r\n"
        "      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        "      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"
        "      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"
        "      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"
        "      4bmp/YzhwvcubU4=;\r\n"
        "Received: from client1.football.example.com  [192.0.2.1]\r\n"
        "      by submitserver.example.com with SUBMISSION;\r\n"
        "      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n";
    static const char body[] = "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";
    static const char key[] =
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/"
        "RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    struct slice whole = arena_printf(t->arena, "%s%s", header, rfc_header);

    CHECK_STR("pass", dkim_result_name(verify(t, whole, slice_of(body), slice_of(key))));
    CHECK_STR("fail", dkim_result_name(verify(t, whole, slice_of(rfc_body), slice_of(key))));
}

static struct slice sign(struct test *t, const struct dkim_key *key, struct slice header, struct slice body)
{
    struct dkim_sign_options options = { .key = key, .domain = LIT("example.org"), .selector = LIT("s1"), .now_ms = NOW };
    AUTO(dkim_signer_free) struct dkim_signer *s = dkim_signer_new(&options);
    struct slice field = SLICE_NONE;
    struct fault why;

    dkim_signer_body(s, body);
    CHECK_OK(dkim_signer_finish(s, header, t->arena, &field, &why), &why);
    return arena_concat(t->arena, (struct slice[]){ field, header }, 2);
}

TEST(dkim, signs_what_it_verifies_and_notices_changes)
{
    static const struct { const char *header_before, *header_after, *body; enum dkim_result want; } row[] = {
        { "", "", "one  two \r\n\r\n\r\n", DKIM_PASS },
        { "X-Added: on the way\r\n", "", "one two\r\n", DKIM_PASS },        /* relaxed body, unsigned header */
        { "", "", "one twO\r\n", DKIM_FAIL },
        { "From: Mallory <m@evil.test>\r\n", "", "one two\r\n", DKIM_FAIL },
        { "", "Subject: another\r\n", "one two\r\n", DKIM_FAIL },
        { "", "", "one two\r\nmore\r\n", DKIM_FAIL },
    };

    for (int algorithm = 0; algorithm < 2; algorithm++) {
        AUTO(dkim_key_free) struct dkim_key *key = NULL;
        struct slice pem, record, header;
        struct fault why;

        REQUIRE_OK(dkim_key_generate(t->arena, (enum dkim_algorithm)algorithm, 2048, &pem, &why), &why);
        REQUIRE_OK(dkim_key_parse(pem, &key, &why), &why);
        REQUIRE_OK(dkim_key_record(key, t->arena, &record, &why), &why);
        header = sign(t, key, slice_of(rfc_header), LIT("one two\r\n"));
        for (size_t i = 0; i < COUNT(row); i++) {
            struct slice all = arena_printf(t->arena, "%s%.*s%s", row[i].header_before, SLICE(header), row[i].header_after);

            CHECK_ROW_STR(i, dkim_result_name(row[i].want), dkim_result_name(verify(t, all, slice_of(row[i].body), record)));
        }
    }
}

TEST(dkim, empty_bodies)
{
    AUTO(dkim_key_free) struct dkim_key *key = NULL;
    struct slice pem, record, header;
    struct fault why;

    REQUIRE_OK(dkim_key_generate(t->arena, DKIM_ED25519_SHA256, 0, &pem, &why), &why);
    REQUIRE_OK(dkim_key_parse(pem, &key, &why), &why);
    REQUIRE_OK(dkim_key_record(key, t->arena, &record, &why), &why);
    header = sign(t, key, slice_of(rfc_header), LIT(""));
    CHECK_INT(DKIM_PASS, verify(t, header, LIT("\r\n\r\n"), record));
    CHECK_INT(DKIM_FAIL, verify(t, header, LIT("x"), record));
}

TEST(dkim, refuses)
{
    static const struct { const char *signature, *key; const char *want; } row[] = {
        { "v=2; a=rsa-sha256; d=a.test; s=s; h=from; bh=YQ==; b=YQ==", "p=x", "permerror" },
        { "v=1; a=rsa-sha1; d=a.test; s=s; h=from; bh=YQ==; b=YQ==", "p=x", "permerror" },
        { "v=1; a=rsa-sha256; d=a.test; s=s; h=to; bh=YQ==; b=YQ==", "p=x", "permerror" },
        { "v=1; v=1; a=rsa-sha256", "p=x", "permerror" },
        { "v=1; a=rsa-sha256; d=a.test; i=@b.test; s=s; h=from; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=YQ==", "p=x", "permerror" },
        { "v=1; a=rsa-sha256; d=a.test; s=s; x=1; h=from; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=YQ==", "p=x", "fail" },
        { "v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=YQ==", "v=DKIM1; p=", "permerror" },
        { "v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=YQ==", "v=spf1 -all", "permerror" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice header = arena_printf(t->arena, "DKIM-Signature: %s\r\n%s", row[i].signature, rfc_header);

        CHECK_ROW_STR(i, row[i].want, dkim_result_name(verify(t, header, LIT("x\r\n"), slice_of(row[i].key))));
    }
}
