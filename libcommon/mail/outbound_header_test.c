/* outbound_header_test.c - what submission demands of a header and what it makes of it. */
#include "base/test.h"
#include "mail/outbound_header.h"

#define NOW 1764000000000LL       /* 2025-11-24 16:00:00 UTC */

static const struct login_result jane = { .name = { "jane", 4 }, .domain = { "example.org", 11 } };
static const struct login_result anyone = { .name = { "*", 1 }, .domain = { "example.org", 11 }, .is_catchall = true };

TEST(outbound_header, wants_the_account_in_from)
{
    static const struct {
        const char *from;
        int code;
    } row[] = {
        {"From: jane@example.org\r\n", 0},
        {"From: \"Jane, D.\" <JANE+news@Example.ORG>\r\n", 0},
        {"From: jane@example.org\r\nFrom: jane@example.org\r\n", 550},
        {"From: jane@example.org, joe@example.org\r\n", 550},
        {"From: joe@example.org\r\n", 550},
        {"From: janet@example.org\r\n", 550},
        {"From: jane@example.org.evil.example\r\n", 550},
        {"From: jane\r\n", 550},
        {"Sender: jane@example.org\r\n", 550},
        {"Date: Thu, 1 Jan 2099 00:00:00 +0000\r\nFrom: jane@example.org\r\n", 550},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct smtp_reply no = SMTP_OK;
        struct outbound_header h;
        int r = outbound_header_prepare(t->arena, arena_printf(t->arena, "%s\r\n", row[i].from), &jane, "mx", NOW, &h, &no);

        CHECK_ROW(i, (r == 0) == (row[i].code == 0) && no.code == row[i].code);
    }
}

static struct slice prepare(struct test *t, const char *header, struct outbound_header *h)
{
    struct smtp_reply no;

    CHECK_INT(0, outbound_header_prepare(t->arena, slice_of(header), &jane, "mx.example", NOW, h, &no));
    return h->text;
}

TEST(outbound_header, adds_what_is_missing_and_hides_bcc)
{
    struct outbound_header h;
    struct slice text = prepare(t, "From: jane@example.org\r\nBcc: a@b.org,\r\n c@d.org\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\r\n", &h);

    CHECK(slice_has_prefix(text, LIT("Date: Mon, 24 Nov 2025 16:00:00 +0000\r\nMessage-ID: <")));
    CHECK(slice_has_suffix(text, LIT("@mx.example>\r\nFrom: jane@example.org\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\r\n")));
    CHECK_SLICE(LIT("h\xc3\xa9"), h.subject);
    CHECK_INT(NOW, h.date_ms);
}

TEST(outbound_header, keeps_what_is_good)
{
    static const char in[] = "Date: Mon, 24 Nov 2025 17:00:00 +0000\r\nMessage-ID: <x@y>\r\nFrom: jane@example.org\r\n\r\n";
    struct outbound_header h;

    CHECK_STR(in, prepare(t, in, &h).p);
    CHECK_SLICE(LIT("x@y"), h.message_id);
    CHECK_INT(NOW + 3600000, h.date_ms);
}

TEST(outbound_header, knows_who_may_send_as_whom)
{
    static const struct { const char *from; bool jane, anyone; } row[] = {
        { "jane@example.org", true, true },
        { "Jane+shop@EXAMPLE.org", true, true },
        { "joe@example.org", false, true },
        { "jane@sub.example.org", false, false },
        { "jane@badexample.org", false, false },
        { "joe@example.org@example.com", false, false },
        { "@example.org", false, false },
        { "", false, false },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        CHECK_ROW(i, outbound_may_send_as(t->arena, slice_of(row[i].from), &jane) == row[i].jane);
        CHECK_ROW(i, outbound_may_send_as(t->arena, slice_of(row[i].from), &anyone) == row[i].anyone);
    }
}
