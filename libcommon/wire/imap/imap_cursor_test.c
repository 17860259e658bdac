/* imap_cursor_test.c - words, strings, names, flags and dates, good and bad. */
#include "base/test.h"
#include "base/buf.h"
#include "wire/imap/imap_cursor.h"
#include "wire/imap/imap_format.h"
#include "wire/imap/imap_name.h"

static struct imap_cursor cursor(struct test *t, const char *text)
{
    return imap_cursor_make(arena_printf(t->arena, "%s\r\n", text), false, t->arena);
}

TEST(imap_cursor, takes_strings)
{
    static const struct { const char *in, *want; } row[] = {
        { "abc]d", "abc]d" }, { "\"a b\"", "a b" }, { "\"a\\\"b\\\\\"", "a\"b\\" }, { "\"\"", "" },
        { "{3}\r\na\nb", "a\nb" }, { "{0+}\r\n", "" }, { "{3-}\r\nx\"y", "x\"y" }, { "\"\xc3\xa4\"", "\xc3\xa4" },
        { "", NULL }, { "\"a", NULL }, { "\"a\\x\"", NULL }, { "{4}\r\nabc", NULL }, { "{a}\r\nabc", NULL },
        { "(x)", NULL }, { "a b", NULL }, { "a(b", NULL }, { "\xc3\xa4", NULL }, { "\"a\\", NULL }, { "\"a\\\"", NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        struct slice out;
        bool ok = imap_take_astring(&c, &out) && imap_at_end(&c);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        CHECK_ROW(i, ok || c.error);
        if (ok)
            CHECK_ROW_STR(i, row[i].want, out);
    }
}

TEST(imap_cursor, takes_mailbox_names)
{
    static const struct { const char *in, *want; } row[] = {
        { "inbox", "INBOX" }, { "Inbox/x", "INBOX/x" }, { "inboxes", "inboxes" }, { "\"Sent Mail\"", "Sent Mail" },
        { "Entw&APw-rfe", "Entw\xc3\xbcrfe" }, { "a&-b", "a&b" }, { "&U,BTFw-", "\xe5\x8f\xb0\xe5\x8c\x97" },
        { "&2D3eAA-", "\xf0\x9f\x98\x80" }, { "\"Entw\xc3\xbcrfe\"", "Entw\xc3\xbcrfe" },
        { "a&b", NULL }, { "&AGE-", NULL }, { "&APw-&APw-", NULL }, { "&2D0-", NULL }, { "&AP-", NULL }, { "&A-", NULL },
        { "\"\xff\"", NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        struct slice out;
        bool ok = imap_take_mailbox(&c, &out) && imap_at_end(&c);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (ok)
            CHECK_ROW_STR(i, row[i].want, out);
    }
}

TEST(imap_cursor, takes_flags)
{
    static const struct { const char *in; bool bare; const char *want; } row[] = {
        { "(\\Seen \\flagged $Forwarded)", false, "(\\Seen \\Flagged $Forwarded)" },
        { "()", false, "()" }, { "(\\Recent)", false, "()" }, { "(a A b)", false, "(a b)" },
        { "\\Deleted x", true, "(\\Deleted x)" }, { "(\\Draft)", true, "(\\Draft)" },
        { "\\Deleted", false, NULL }, { "(\\Bogus)", false, NULL }, { "(a", false, NULL }, { "(a  b)", false, NULL },
        { "(\\)", false, NULL }, { "(\"a\")", false, NULL }, { "", true, NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        struct imap_flags f;
        AUTO(buf_free) struct buf text = BUF_INIT(1000);
        bool ok = imap_take_flags(&c, row[i].bare ? IMAP_FLAGS_LIST_OR_BARE : IMAP_FLAGS_LIST, &f) && imap_at_end(&c);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (!ok)
            continue;
        (void)imap_put_flags(&text, f.flags, (const uint64_t[2]){ (1u << f.keyword_count) - 1, 0 }, f.keywords, f.keyword_count);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&text));
    }
}

TEST(imap_cursor, takes_dates)
{
    static const struct { const char *in; int64_t want; } row[] = {
        { "\"24-Nov-2026 13:18:31 +0000\"", 1795526311000 }, { "\" 1-Jan-1970 00:00:00 +0000\"", 0 },
        { "\"01-Mar-2000 01:30:00 +0130\"", 951868800000 }, { "\"31-Dec-1969 20:00:00 -0400\"", 0 },
        { "\"29-Feb-2024 00:00:00 +0000\"", 1709164800000 },
        { "\"29-Feb-2023 00:00:00 +0000\"", -1 }, { "\"32-Jan-2023 00:00:00 +0000\"", -1 },
        { "\"01-Foo-2023 00:00:00 +0000\"", -1 }, { "\"01-Jan-2023 24:00:00 +0000\"", -1 },
        { "\"01-Jan-2023 00:00:00\"", -1 }, { "\"01-Jan-2023 00:00:00 0000\"", -1 }, { "01-Jan-2023", -1 },
        { "\"00-Jan-2023 00:00:00 +0000\"", -1 },
    };
    uint64_t days;

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        int64_t ms;
        bool ok = imap_take_date_time(&c, &ms) && imap_at_end(&c);
        char text[IMAP_DATE_TIME_BYTES];
        CHECK_ROW(i, ok == (row[i].want >= 0));
        if (!ok)
            continue;
        CHECK_INT(row[i].want, ms);
        CHECK_INT(IMAP_DATE_TIME_BYTES, imap_write_date_time(text, ms) - text);
        c = imap_cursor_make(slice_make(text, sizeof(text)), false, t->arena);
        CHECK_ROW(i, imap_take_date_time(&c, &ms) && ms == row[i].want);
    }
    struct imap_cursor c = cursor(t, "1-Feb-2024");
    CHECK(imap_take_date(&c, &days) && days == 19754);
    c = cursor(t, "\"01-Feb-2024\"");
    CHECK(imap_take_date(&c, &days) && days == 19754 && imap_at_end(&c));
}

TEST(imap_name, matches_patterns)
{
    static const struct { const char *pattern, *path; bool want; } row[] = {
        { "*", "a/b", true }, { "%", "a/b", false }, { "%", "a", true }, { "a/%", "a/b", true }, { "a/%", "a/b/c", false },
        { "a*c", "a/b/c", true }, { "%/%", "a/b", true }, { "%/%", "a", false }, { "inbox", "INBOX", true },
        { "inb%", "INBOX", true }, { "a", "A", false }, { "", "", true }, { "", "a", false }, { "*a*b*", "xxaxxbxx", true },
        { "*a*b*", "xxbxxaxx", false }, { "a%*", "a", true }, { "%b", "a/b", false }, { "*%*%*%x", "aaaaaaaaaaaaaaaaaaaaaay", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, imap_name_matches(slice_of(row[i].pattern), slice_of(row[i].path)) == row[i].want);
}

TEST(imap_name, refuses_what_no_folder_may_be_called)
{
    static const struct { const char *path; bool want; } row[] = {
        { "a", true }, { "a/b", true }, { "\xc3\xa4", true }, { "", false }, { "/a", false }, { "a/", false },
        { "a//b", false }, { "a\tb", false }, { "a*", false }, { "\xff", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, imap_name_is_acceptable(slice_of(row[i].path)) == row[i].want);
}
