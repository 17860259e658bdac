/* account_alias_test.c - rules for names and recipients, good and bad rows. */
#include "account/account_alias.h"

#include "base/test.h"

TEST(account_alias, names)
{
    static const struct { const char *given, *normal, *admin, *member; } row[] = {
        { "Jane.Doe", "jane.doe", NULL, NULL },
        { "  o'hara  ", "o'hara", NULL, NULL },
        { "j\xc3\xbcrgen", "j\xc3\xbcrgen", NULL, NULL },
        { "a_b-c=d/e", "a_b-c=d/e", NULL, NULL },
        { "*", "*", NULL, "CATCHALL_ADMIN_REQUIRED" },
        { "***", "*", NULL, "CATCHALL_ADMIN_REQUIRED" },
        { "/^Sales\\+(.*)$/gi", "/^Sales\\+(.*)$/gi", NULL, "CATCHALL_ADMIN_REQUIRED" },
        { "/a/", "/a/", NULL, "CATCHALL_ADMIN_REQUIRED" },
        { "/(/", "/(/", "INVALID_REGEX", "INVALID_REGEX" },
        { "/a/q", "/a/q", "INVALID_REGEX", "INVALID_REGEX" },
        { "//", "//", "INVALID_REGEX", "INVALID_REGEX" },
        { "/a", "/a", "INVALID_REGEX", "INVALID_REGEX" },
        { "!off", "!off", "ALIAS_NAME_EXCLAMATION", "ALIAS_NAME_EXCLAMATION" },
        { "a+b", "a+b", "ALIAS_WITH_PLUS_UNSUPPORTED", "ALIAS_WITH_PLUS_UNSUPPORTED" },
        { "", "", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { ".a", ".a", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a.", "a.", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a..b", "a..b", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a b", "a b", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a@b", "a@b", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a*", "a*", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a\"b", "a\"b", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "a\xff", "a\xff", "INVALID_LOCAL_PART", "INVALID_LOCAL_PART" },
        { "Root", "root", NULL, "RESERVED_WORD_ADMIN_REQUIRED" },
        { "hostmaster", "hostmaster", NULL, "RESERVED_WORD_ADMIN_REQUIRED" },
        { "mine", "mine", NULL, "RESERVED_WORD_ADMIN_REQUIRED" },
    };
    const struct slice reserved = LIT("Mine");

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice name = account_alias_normal(t->arena, slice_of(row[i].given));

        CHECK_ROW_STR(i, row[i].normal, name);
        CHECK_ROW_SLICE(i, slice_of(row[i].admin), slice_of(account_alias_check(name, true, &reserved, 1)));
        CHECK_ROW_SLICE(i, slice_of(row[i].member), slice_of(account_alias_check(name, false, &reserved, 1)));
    }
}

TEST(account_alias, random_names_are_allowed)
{
    for (int i = 0; i < 200; i++)
        CHECK(account_alias_check(account_alias_random_name(t->arena), false, NULL, 0) == NULL);
}

TEST(account_alias, one_recipient)
{
    static const struct { const char *given; enum recipient_kind kind; const char *normal; } row[] = {
        { " Jane@Example.COM ", RECIPIENT_EMAIL, "jane@example.com" },
        { "jane+Tag@example.com", RECIPIENT_EMAIL, "jane+tag@example.com" },
        { "$1@example.com", RECIPIENT_EMAIL, "$1@example.com" },
        { "a@b\xc3\xbc" "cher.example", RECIPIENT_EMAIL, "a@xn--bcher-kva.example" },
        { "Mail.Example.com", RECIPIENT_HOST, "mail.example.com" },
        { "192.0.2.7", RECIPIENT_IP, "192.0.2.7" },
        { "2001:DB8::1", RECIPIENT_IP, "2001:db8::1" },
        { "https://Hook.example/Path?Q=1", RECIPIENT_URL, "https://Hook.example/Path?Q=1" },
        { "HTTP://[::1]:8080/", RECIPIENT_URL, "HTTP://[::1]:8080/" },
        { "", RECIPIENT_NONE, NULL }, { "nobody", RECIPIENT_NONE, NULL }, { "@example.com", RECIPIENT_NONE, NULL },
        { "a@", RECIPIENT_NONE, NULL }, { "a@localhost", RECIPIENT_NONE, NULL }, { "a@[192.0.2.1]", RECIPIENT_NONE, NULL },
        { "1.2.3", RECIPIENT_NONE, NULL }, { "1.2.3.4.5", RECIPIENT_NONE, NULL }, { "-a.example", RECIPIENT_NONE, NULL },
        { "a..example", RECIPIENT_NONE, NULL }, { "ftp://a.example/", RECIPIENT_NONE, NULL }, { "https://", RECIPIENT_NONE, NULL },
        { "https://a.example/<script>", RECIPIENT_NONE, NULL }, { "https:///x", RECIPIENT_NONE, NULL }, { "a b@example.com", RECIPIENT_NONE, NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice out;

        CHECK_ROW(i, account_recipient_parse(t->arena, slice_of(row[i].given), &out) == row[i].kind);
        if (row[i].normal != NULL)
            CHECK_ROW_STR(i, row[i].normal, out);
    }
}

TEST(account_alias, recipients)
{
    const struct slice given[] = { LIT("A@x.example"), LIT("a@X.example"), LIT("192.0.2.1"), LIT("b@x.example"), LIT("no") };
    struct slice *out, bad = SLICE_NONE;
    bool only_mail = true;
    size_t n = 0;

    CHECK(account_recipients_parse(t->arena, given, 4, 3, &out, &n, &only_mail, &bad) == NULL);
    CHECK(n == 3 && !only_mail);
    CHECK_STR("a@x.example", out[0]);
    CHECK_STR("EXCEEDED_UNIQUE_COUNT", account_recipients_parse(t->arena, given, 4, 2, &out, &n, NULL, &bad));
    CHECK_STR("INVALID_RECIPIENT", account_recipients_parse(t->arena, given, 5, 9, &out, &n, NULL, &bad));
    CHECK_STR("no", bad);
    CHECK(account_recipients_parse(t->arena, given, 2, 1, &out, &n, &only_mail, &bad) == NULL);
    CHECK(n == 1 && only_mail);
}
