/* report_test.c - the fields and messages we write about mail: Authentication-Results, Received, notifications. */
#include "base/test.h"
#include "mail/authres.h"
#include "mail/dsn.h"
#include "mail/received.h"
#include "wire/mime.h"
#include "wire/rfc5322.h"

TEST(authres, formats)
{
    struct authres_result r[2] = {
        { .method = "spf", .result = "pass", .reason = LIT("ok (really)\r\nX: y"), .property_count = 1,
          .properties = { { "smtp", "mailfrom", LIT("joe@example.org") } } },
        { .method = "dkim", .result = "fail", .property_count = 3,
          .properties = { { "header", "d", LIT("example.org") }, { "header", "s", SLICE_NONE }, { "header", "b", LIT("a/b\"\r\nEvil: 1") } } },
    };

    CHECK_STR("Authentication-Results: mx.test;\r\n\tspf=pass (ok reallyX: y)\r\n\t smtp.mailfrom=joe@example.org;\r\n"
              "\tdkim=fail\r\n\t header.d=example.org\r\n\t header.b=\"a/b\\\"Evil: 1\"\r\n", authres_format(t->arena, LIT("mx.test"), r, 2));
    CHECK_STR("Authentication-Results: mx.test; none\r\n", authres_format(t->arena, LIT("mx.test"), NULL, 0));
}

TEST(authres, knows_its_own)
{
    static const struct { const char *value; bool ours; } row[] = {
        { " mx.test; spf=pass", true }, { "MX.Test 1; none", true }, { "(c (d)) mx.test(x);", true }, { "\"mx.\\test\"; x", true },
        { "other.test; spf=pass (mx.test)", false }, { "mx.test.evil; none", false }, { "", true }, { " ;", true }, { "\r\n\tmx.test;", true },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, authres_is_from(slice_of(row[i].value), LIT("mx.test")) == row[i].ours);
    CHECK_STR("A: b\r\nAuthentication-Results: other; none\r\n\r\n",
              authres_strip(t->arena, LIT("A: b\r\nauthentication-RESULTS: mx.test;\r\n spf=pass\r\nAuthentication-Results: other; none\r\n\r\n"), LIT("mx.test")));
    CHECK_STR("A: b\r\n", authres_strip(t->arena, LIT("A: b\r\n"), LIT("mx.test")));
}

TEST(received, formats)
{
    struct received r = { .helo = LIT("evil)\r\nX: y"), .ip = LIT("2001:db8::1"), .ptr = LIT("host.example"), .by = LIT("mx.test"), .software = LIT("Suite"),
                          .protocol = LIT("ESMTPS"), .id = LIT("abc"), .recipient = LIT("u@x.test"), .tls_version = LIT("TLSv1.3"),
                          .tls_cipher = LIT("TLS_AES_256_GCM_SHA384"), .now_ms = 0 };

    CHECK_STR("Received: from evil???X:?y ([IPv6:2001:db8::1] host.example)\r\n\tby mx.test (Suite) with ESMTPS id abc\r\n\tfor <u@x.test>\r\n"
              "\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384);\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n", received_format(t->arena, &r));
    r = (struct received){ .by = LIT("s.test"), .protocol = LIT("ESMTPSA") };
    CHECK_STR("Received: by s.test with ESMTPSA;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n", received_format(t->arena, &r));
    CHECK_STR("ESMTPSA", slice_of(received_protocol(true, true, true, false)));
    CHECK_INT(2, received_count(LIT("Received: a\r\nX: y\r\nreceived: b\r\n\r\nReceived: c\r\n")));
}

TEST(dsn, finds_a_status)
{
    static const struct { const char *in, *want; } row[] = {
        { "5.1.1 no such user", "5.1.1" }, { "4.7.650 x", "4.7.650" }, { "5.1.1", "5.1.1" }, { "5.1", "" }, { "3.1.1 x", "" },
        { "5.1.1.1 x", "" }, { "5.1.x", "" }, { "5..1", "" }, { "5.1.1x", "" }, { "", "" }, { "5.1111.1111", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, dsn_find_status(slice_of(row[i].in)));
}

TEST(dsn, is_a_report)
{
    struct dsn_recipient rcpt[2] = {
        { .address = LIT("joe@x.test"), .orcpt = LIT("rfc822;Joe@x.test"), .action = DSN_FAILED, .status = LIT("5.1.1"), .remote_mta = LIT("mx.x.test"),
          .diagnostic = LIT("550 5.1.1 <joe>\r\nno such user"), .is_reply = true, .last_attempt_ms = 1000 },
        { .address = LIT("eve@y.test"), .action = DSN_FAILED, .diagnostic = LIT("retried for the maximum period") },
    };
    struct dsn d = { .from = LIT("mailer-daemon@us.test"), .to = LIT("me@us.test"), .reporting_mta = LIT("smtp.us.test"), .message_id = LIT("1@us.test"),
                     .envid = LIT("QQ1"), .original_id = LIT("orig@us.test"), .queue_id = LIT("abc"), .arrival_ms = 500, .now_ms = 2000,
                     .recipients = rcpt, .recipient_count = 2 };
    struct dsn_text text;
    struct mime_tree tree;
    struct mime_part *status;
    struct slice m;

    dsn_format(t->arena, &d, &text);
    m = arena_concat(t->arena, (struct slice[]){ text.begin, LIT("Subject: original\r\n"), text.end }, 3);
    CHECK(!text.smtputf8);
    mime_parse(t->arena, m, &tree);
    CHECK(mime_is_type(tree.root, "multipart", "report"));
    CHECK_STR("delivery-status", mime_get_param(&tree.root->params, LIT("report-type")));
    REQUIRE(tree.root->child_count == 3);
    status = tree.root->first_child->next;
    CHECK(mime_is_type(status, "message", "delivery-status") && mime_is_type(status->next, "text", "rfc822-headers"));
    CHECK_STR("Original-Envelope-Id: QQ1\r\nReporting-MTA: dns; smtp.us.test\r\nArrival-Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n\r\n"
              "Original-Recipient: rfc822;Joe@x.test\r\nFinal-Recipient: rfc822; joe@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.x.test\r\n"
              "Diagnostic-Code: smtp; 550 5.1.1 <joe>  no such user\r\nLast-Attempt-Date: Thu, 01 Jan 1970 00:00:01 +0000\r\nFinal-Log-ID: abc\r\n\r\n"
              "Final-Recipient: rfc822; eve@y.test\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: X-Local; retried for the maximum period\r\nFinal-Log-ID: abc\r\n",
              slice_sub(m, status->body_at, status->body_len));
    CHECK_STR("Subject: original\r\n", slice_sub(m, status->next->body_at, status->next->body_len));
    CHECK_STR("auto-replied", rfc5322_get_value(t->arena, m, LIT("Auto-Submitted")));
    CHECK_STR("<orig@us.test>", rfc5322_get_value(t->arena, m, LIT("In-Reply-To")));
    CHECK_STR("joe@x.test, eve@y.test", rfc5322_get_value(t->arena, m, LIT("X-Failed-Recipients")));
}
