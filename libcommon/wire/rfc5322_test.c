/* rfc5322_test.c - header fields, address lists, dates, message ids, encoded words. */
#include "wire/rfc5322.h"

#include "base/test.h"
#include "wire/charset.h"

TEST(rfc5322, walks_fields_and_unfolds)
{
    struct slice header = LIT("From x@y Mon\r\nSubject : a\r\n b\r\n\tc\r\nNo colon here\r\n more\r\nTo:\nX-Last: v\r\n\r\nBody: no\r\n");
    static const struct { const char *name, *value; } want[] = {
        { "", "From x@y Mon" }, { "Subject", "a b\tc" }, { "", "No colon here more" }, { "To", "" }, { "X-Last", "v" },
    };
    struct slice rest = header;
    struct rfc5322_field f;
    size_t i = 0;

    while (rfc5322_next_field(&rest, &f)) {
        REQUIRE(i < COUNT(want));
        CHECK_ROW_STR(i, want[i].name, f.name);
        CHECK_ROW_STR(i, want[i].value, rfc5322_unfold(t->arena, f.value));
        i++;
    }
    CHECK_INT(COUNT(want), i);
    CHECK_INT((long long)header.n - 10, rfc5322_header_length(header));
    CHECK_STR("v", rfc5322_get_value(t->arena, header, LIT("x-LAST")));
    CHECK(rfc5322_get_value(t->arena, header, LIT("Body")).p == NULL);
    CHECK_INT(4, rfc5322_header_length(LIT("a:b\n")));
    CHECK_INT(1, rfc5322_header_length(LIT("\nbody")));
    CHECK_INT(0, rfc5322_header_length(SLICE_NONE));
}

static struct slice dump(struct arena *a, struct slice in)
{
    struct rfc5322_address *list;
    size_t count = rfc5322_parse_addresses(a, in, &list);
    struct slice out = LIT("");

    for (size_t i = 0; i < count; i++) {
        struct rfc5322_address *p = &list[i];

        if (p->kind == ADDRESS_GROUP_BEGIN)
            out = arena_printf(a, "%.*s{%.*s:", SLICE(out), SLICE(p->name));
        else if (p->kind == ADDRESS_GROUP_END)
            out = arena_printf(a, "%.*s}", SLICE(out));
        else
            out = arena_printf(a, "%.*s[%s%.*s|%.*s|%.*s|%s%.*s]", SLICE(out), p->name.p ? "" : "-", SLICE(p->name), SLICE(p->route),
                               SLICE(p->local), p->domain.p ? "" : "-", SLICE(p->domain));
    }
    return out;
}

TEST(rfc5322, reads_addresses)
{
    static const struct { const char *in, *want; } row[] = {
        { "", "" },
        { "jdoe@example.org", "[-||jdoe|example.org]" },
        { "John Q. Public <jqp@example.org>", "[John Q. Public||jqp|example.org]" },
        { "\"Joe \\\"Q\\\" Public\" <john.q.public@example.com>", "[Joe \"Q\" Public||john.q.public|example.com]" },
        { "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
          "[Mary Smith||mary|x.test][-||jdoe|example.org][Who?||one|y.test]" },
        { "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
          "[-||boss|nil.test][Giant; \"Big\" Box||sysservices|example.net]" },
        { "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
          "{A Group:[Ed Jones||c|a.test][-||joe|where.test][John||jdoe|one.test]}" },
        { "Undisclosed recipients:;", "{Undisclosed recipients:}" },
        /* RFC 5322 A.5, A.6.1, A.6.3 */
        { "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "[Pete||pete|silly.test]" },
        { "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n John <jdoe@one.test> (my dear friend); (the end of the group)",
          "{A Group:[Chris Jones||c|public.example][-||joe|example.org][John||jdoe|one.test]}" },
        { "Mary Smith <@node.test,@relay.test:mary@example.net>, , jdoe@test  . example",
          "[Mary Smith|@node.test,@relay.test|mary|example.net][-||jdoe|test.example]" },
        { "John Doe <jdoe@machine(comment).  example>", "[John Doe||jdoe|machine.example]" },
        { "pete . g @ silly.test (Pete Gee)", "[Pete Gee||pete.g|silly.test]" },
        { "\"quoted local\"@example.org", "[-||quoted local|example.org]" },
        { "user@[192.0.2.1], x@[IPv6:2001:db8::1]", "[-||user|[192.0.2.1]][-||x|[IPv6:2001:db8::1]]" },
        { "a@b <c@d>", "[a@b||c|d]" },
        { "no address", "[-||no address|-]" },
        { "foo bar@x.test", "[-||bar|x.test]" },
        { "Broken <a@b.test", "[Broken||a|b.test]" },
        { "\"open quote <a@b>", "[-||open quote <a@b>|-]" },
        { "=?UTF-8?Q?J=C3=BCrgen?= <j@x.test>", "[=?UTF-8?Q?J=C3=BCrgen?=||j|x.test]" },
        { "J\xC3\xBCrgen <j@x.test>", "[J\xC3\xBCrgen||j|x.test]" },
        { "<>", "[-|||-]" },
        { "g1: a@b, g2: c@d;", "{g1:[-||a|b][-||c|d]}" },
        { ",,;;((", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, dump(t->arena, slice_of(row[i].in)));
}

TEST(rfc5322, bounds_an_address_list)
{
    AUTO(buf_free) struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
    struct rfc5322_address *list;

    for (size_t i = 0; i < 20000; i++)
        (void)buf_append_cstr(&b, "<@,");
    CHECK_INT(RFC5322_ADDRESSES_MAX, rfc5322_parse_addresses(t->arena, buf_slice(&b), &list));
    buf_reset(&b);
    for (size_t i = 0; i < 20000; i++)
        (void)buf_append_cstr(&b, "(");
    CHECK_INT(0, rfc5322_parse_addresses(t->arena, buf_slice(&b), &list));
}

TEST(rfc5322, formats_addresses)
{
    struct rfc5322_address plain = { .local = LIT("a.b"), .domain = LIT("x.test") };
    struct rfc5322_address odd = { .local = LIT("a \"b"), .domain = LIT("x.test") };

    CHECK_STR("a.b@x.test", rfc5322_format_address(t->arena, &plain));
    CHECK_STR("\"a \\\"b\"@x.test", rfc5322_format_address(t->arena, &odd));
}

TEST(rfc5322, reads_dates)
{
    static const struct { const char *in; int64_t want; int zone; } row[] = {
        { "Fri, 21 Nov 1997 09:55:06 -0600", 880127706000, -360 },
        { "Fri,21 Nov 1997 09:55:06 -0600 (CST)", 880127706000, -360 },
        { "21 Nov 97 09:55:06 GMT", 880106106000, 0 },
        { "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)", -27723480000, -210 },
        { "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", -1, 0 },
        { "21 Nov 1997 09:55 EST", 880124100000, -300 },
        { "Mon, 31 Dec 2029 23:59:60 Z", 1893456000000, 0 },
        { "Tue Jul  1 10:52:37 2003", 1057056757000, 0 },
        { "Tue Jul  1 10:52:37 PDT 2003", 1057081957000, -420 },
        { "1-Jul-2003 10:52:37 +0200", 1057049557000, 120 },
        { "29 Feb 2000 00:00:00 +0000", 951782400000, 0 },
        { "29 Feb 1900 00:00:00 +0000", -1, 0 },
        { "31 Apr 2000 00:00:00 +0000", -1, 0 },
        { "0 Jan 2000 00:00:00 +0000", -1, 0 },
        { "yesterday", -1, 0 }, { "", -1, 0 }, { "1 2 3", -1, 0 }, { "Mon", -1, 0 }, { "Jan", -1, 0 }, { "(((", -1, 0 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        int64_t ms = -1;
        int zone = 0;
        bool ok = rfc5322_parse_date(slice_of(row[i].in), &ms, &zone);

        CHECK_ROW(i, ok == (row[i].want != -1));
        CHECK_ROW(i, ms == row[i].want);
        CHECK_ROW(i, zone == row[i].zone);
    }
}

TEST(rfc5322, reads_message_ids)
{
    struct slice rest = LIT("<1@a>\r\n (c) <2@b><>  < 3@c > <open"), id;

    REQUIRE(rfc5322_next_msgid(&rest, &id));
    CHECK_STR("1@a", id);
    REQUIRE(rfc5322_next_msgid(&rest, &id));
    CHECK_STR("2@b", id);
    REQUIRE(rfc5322_next_msgid(&rest, &id));
    CHECK_STR("3@c", id);
    CHECK(!rfc5322_next_msgid(&rest, &id));
}

TEST(rfc5322, decodes_words)
{
    static const struct { const char *in, *want; } row[] = {
        { "plain", "plain" },
        { "=?ISO-8859-1?Q?a?=", "a" },
        { "=?ISO-8859-1?Q?a?= b", "a b" },                       /* RFC 2047 8 */
        { "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
        { "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab" },
        { "=?ISO-8859-1?Q?a_b?=", "a b" },
        { "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b" },
        { "=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <p>", "Patrik F\xC3\xA4ltstr\xC3\xB6m <p>" },
        { "=?utf-8*en?B?w7w=?=", "\xC3\xBC" },
        { "=?UTF-8?B?ww==?= =?UTF-8?B?vA==?=", "\xC3\xBC" },         /* cut inside a character */
        { "=?UTF-8?Q?=C3?= =?UTF-8?Q?=BC?=", "\xC3\xBC" },
        { "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xE6\x97\xA5\xE6\x9C\xAC" },
        { "=?gb2312?B?xOO6ww==?=", "\xE4\xBD\xA0\xE5\xA5\xBD" },
        { "=?koi8-r?B?0NLJ18XU?=", "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82" },
        { "=?nonsense-7?Q?x=E4y?=", "x\xC3\xA4y" },
        { "=?a//TRANSLIT?Q?x?=", "x" },
        { "J\xFCrgen", "J\xC3\xBCrgen" },
        { "=?broken =?UTF-8?Q?ok?= =?x?", "=?broken ok =?x?" },
        { "=?utf-8?Q?a=0D=0Ab=00?=", "a  b" },
        { "=?utf-8?x?abc?=", "=?utf-8?x?abc?=" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, rfc5322_decode_words(t->arena, slice_of(row[i].in)));
}

TEST(rfc5322, encodes_what_it_decodes)
{
    static const char *const row[] = { "plain text", "J\xC3\xBCrgen", "a =?x",
        ("\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC"
         "\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5\xE6\x9C\xAC") };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice encoded = rfc5322_encode_words(t->arena, slice_of(row[i]));

        CHECK_ROW(i, slice_is_ascii(encoded));
        CHECK_ROW_STR(i, row[i], rfc5322_decode_words(t->arena, encoded));
    }
}

TEST(charset, converts)
{
    static const struct { const char *charset, *in, *want; } row[] = {
        { "utf-8", "a\xFF" "b", "a\xEF\xBF\xBD" "b" },
        { "", "caf\xE9", "caf\xC3\xA9" },
        { "us-ascii", "caf\xC3\xA9", "caf\xC3\xA9" },
        { "iso-8859-1", "\x80\x9F\xE9", "\xE2\x82\xAC\xC5\xB8\xC3\xA9" },
        { "windows-1251", "\xCF\xF0", "\xD0\x9F\xD1\x80" },
        { "utf-16le", "", "" },
        { "shift_jis", "\x93\xFA\x96", "\xE6\x97\xA5\xEF\xBF\xBD" },
        { "big5", "\xA4\xA4", "\xE4\xB8\xAD" },
        { "UTF-7", "Hi +AOQ-", "Hi \xC3\xA4" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(1000);

        CHECK_ROW(i, charset_to_utf8(slice_of(row[i].charset), slice_of(row[i].in), &out) == 0);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
    }
    CHECK(charset_is_known(LIT("KOI8-R")) && charset_is_known(LIT("utf-8")));
    CHECK(!charset_is_known(LIT("klingon")) && !charset_is_known(LIT("utf-8//IGNORE")) && !charset_is_known(LIT("")));
}
