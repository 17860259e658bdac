/* smtp_test.c - command lines, paths, replies and content as strangers write them. */
#include "base/test.h"
#include "wire/smtp.h"

#define ALL 0x7ffU

TEST(smtp, splits_verb_and_argument)
{
    static const struct {
        const char *line;
        enum smtp_verb verb;
        const char *argument;
    } row[] = {
        {"EHLO example.org", SMTP_EHLO, "example.org"},
        {"mail FROM:<a@b.c>", SMTP_MAIL, "FROM:<a@b.c>"},
        {"QUIT ", SMTP_QUIT, ""},
        {"DATA", SMTP_DATA, ""},
        {"BDAT 12 LAST", SMTP_BDAT, "12 LAST"},
        {"StartTLS", SMTP_STARTTLS, ""},
        {"GET / HTTP/1.1", SMTP_HTTP, "/ HTTP/1.1"},
        {"MAILFROM:<a@b>", SMTP_UNKNOWN, ""},
        {"", SMTP_UNKNOWN, ""},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice argument;

        CHECK_ROW(i, smtp_parse_verb(slice_of(row[i].line), &argument) == row[i].verb);
        CHECK_ROW_STR(i, row[i].argument, argument);
    }
}

TEST(smtp, accepts_addresses_of_rfc5321)
{
    static const struct {
        const char *in;
        bool utf8, ok;
    } row[] = {
        {"jane@example.org", false, true},
        {"j.a-n_e+tag=x@sub.example.org", false, true},
        {"SRS0=abcd=XY=example.org=jane@fwd.example", false, true},
        {"jane@[192.0.2.1]", false, true},
        {"jane@[IPv6:2001:db8::1]", false, true},
        {"jane@xn--bcher-kva.example", false, true},
        {"j\xc3\xbcrgen@b\xc3\xbc" "cher.example", true, true},
        {"j\xc3\xbcrgen@example.org", false, false},
        {"j\xff@example.org", true, false},
        {"jane", false, false},
        {"@example.org", false, false},
        {"jane@", false, false},
        {".jane@example.org", false, false},
        {"jane.@example.org", false, false},
        {"ja..ne@example.org", false, false},
        {"\"ja ne\"@example.org", false, false},
        {"ja ne@example.org", false, false},
        {"jane@example..org", false, false},
        {"jane@-x.org", false, false},
        {"jane@example.org.", false, false},
        {"jane@[192.0.2.400]", false, false},
        {"jane@[", false, false},
        {"a\x01@example.org", false, false},
        {"a@b@example.org", false, false},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct smtp_path path;

        CHECK_ROW(i, smtp_path_parse(slice_of(row[i].in), row[i].utf8, &path) == row[i].ok);
    }
}

TEST(smtp, reads_mail)
{
    static const struct {
        const char *in;
        unsigned offered;
        int code;                         /* 0: accepted */
        const char *from;
        uint64_t size;
    } row[] = {
        {"FROM:<a@b.org>", ALL, 0, "a@b.org", 0},
        {"from: <a@b.org>", ALL, 0, "a@b.org", 0},
        {"FROM:<>", ALL, 0, "", 0},
        {"FROM:<@relay.org,@x.org:a@b.org>", ALL, 0, "a@b.org", 0},
        {"FROM:<a@b.org> SIZE=1234 BODY=8bitmime", ALL, 0, "a@b.org", 1234},
        {"FROM:<a@b.org> RET=HDRS ENVID=QQ+2B1 REQUIRETLS SMTPUTF8", ALL, 0, "a@b.org", 0},
        {"FROM:<a@b.org> AUTH=<>", ALL, 0, "a@b.org", 0},
        {"FROM:<\xc3\xbc@b.org> SMTPUTF8", ALL, 0, "\xc3\xbc@b.org", 0},
        {"FROM:<\xc3\xbc@b.org>", ALL, 553, NULL, 0},
        {"FROM:<a@b.org> RET=HDRS", SMTP_EXT_SIZE, 555, NULL, 0},
        {"FROM:<a@b.org> FOO=1", ALL, 555, NULL, 0},
        {"FROM:<a@b.org> SIZE=12x", ALL, 501, NULL, 0},
        {"FROM:<a@b.org> SIZE=1 SIZE=2", ALL, 501, NULL, 0},
        {"FROM:<a@b.org> BODY=BINARYMIME", ALL, 501, NULL, 0},
        {"FROM:<a@b.org>SIZE=1", ALL, 501, NULL, 0},
        {"FROM:a@b.org", ALL, 501, NULL, 0},
        {"TO:<a@b.org>", ALL, 501, NULL, 0},
        {"FROM:<a@b.org", ALL, 501, NULL, 0},
        {"FROM:<ab.org>", ALL, 553, NULL, 0},
        {"FROM:<a@b.org> ENVID=+0D+0A", ALL, 501, NULL, 0},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct smtp_mail mail;
        struct smtp_reply no = SMTP_OK;
        int r = smtp_parse_mail(slice_of(row[i].in), row[i].offered, t->arena, &mail, &no);

        CHECK_ROW(i, (r == 0) == (row[i].code == 0) && no.code == row[i].code);
        if (r < 0 || row[i].from == NULL)
            continue;
        CHECK_ROW_STR(i, row[i].from, mail.from.address);
        CHECK_ROW(i, mail.size == row[i].size);
    }
}

TEST(smtp, reads_rcpt)
{
    static const struct {
        const char *in;
        int code;
        unsigned notify;
        const char *orcpt;
    } row[] = {
        {"TO:<a@b.org>", 0, 0, ""},
        {"TO:<Postmaster>", 0, 0, ""},
        {"TO:<a@b.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bx@b.org", 0,
         SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY, "rfc822;a+x@b.org"},
        {"TO:<a@b.org> NOTIFY=NEVER", 0, SMTP_NOTIFY_NEVER, ""},
        {"TO:<a@b.org> NOTIFY=NEVER,DELAY", 501, 0, ""},
        {"TO:<a@b.org> NOTIFY=", 501, 0, ""},
        {"TO:<a@b.org> ORCPT=a+2Bx@b.org", 501, 0, ""},
        {"TO:<a@b.org> ORCPT=rfc822;a+2x@b.org", 501, 0, ""},
        {"TO:<a@b.org> SIZE=1", 555, 0, ""},
        {"TO:<>", 553, 0, ""},
        {"TO:<\"a\"@b.org>", 553, 0, ""},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct smtp_rcpt rcpt;
        struct smtp_reply no = SMTP_OK;
        int r = smtp_parse_rcpt(slice_of(row[i].in), ALL, t->arena, &rcpt, &no);

        CHECK_ROW(i, (r == 0) == (row[i].code == 0) && no.code == row[i].code);
        if (r < 0)
            continue;
        CHECK_ROW(i, rcpt.notify == row[i].notify);
        CHECK_ROW_STR(i, row[i].orcpt, rcpt.orcpt);
    }
}

TEST(smtp, reads_bdat)
{
    uint64_t n = 0;
    bool last = true;

    CHECK(smtp_parse_bdat(LIT("12"), &n, &last) == 0 && n == 12 && !last);
    CHECK(smtp_parse_bdat(LIT("0 last"), &n, &last) == 0 && n == 0 && last);
    CHECK(smtp_parse_bdat(LIT(""), &n, &last) < 0);
    CHECK(smtp_parse_bdat(LIT("-1"), &n, &last) < 0);
    CHECK(smtp_parse_bdat(LIT("1 FIRST"), &n, &last) < 0);
    CHECK(smtp_parse_bdat(LIT("99999999999999999999"), &n, &last) < 0);
}

TEST(smtp, xtext_there_and_back)
{
    struct slice in = LIT("a b+c=d\xc3\xbc;e@f"), out;

    CHECK_STR("a+20b+2Bc+3Dd+C3+BC;e@f", smtp_xtext_encode(in, t->arena).p);
    CHECK(smtp_xtext_decode(smtp_xtext_encode(in, t->arena), t->arena, &out));
    CHECK_SLICE(in, out);
    CHECK(!smtp_xtext_decode(LIT("a b"), t->arena, &out));
    CHECK(!smtp_xtext_decode(LIT("a+2"), t->arena, &out));
    CHECK(!smtp_xtext_decode(LIT("a+0a"), t->arena, &out));
}

TEST(smtp, reads_replies)
{
    int code = 0;
    bool more = true;
    struct slice text;

    CHECK(smtp_parse_reply_line(LIT("250-SIZE 100"), &code, &more, &text) && code == 250 && more);
    CHECK_SLICE(LIT("SIZE 100"), text);
    CHECK(smtp_parse_reply_line(LIT("250"), &code, &more, &text) && !more && text.n == 0);
    CHECK(!smtp_parse_reply_line(LIT("25"), &code, &more, &text));
    CHECK(!smtp_parse_reply_line(LIT("650 x"), &code, &more, &text));
    CHECK(!smtp_parse_reply_line(LIT("2500 x"), &code, &more, &text));

    text = LIT("5.1.1 no such user");
    CHECK_SLICE(LIT("5.1.1"), smtp_cut_enhanced(550, &text));
    CHECK_SLICE(LIT("no such user"), text);
    text = LIT("4.1.1 x");
    CHECK_SLICE(LIT(""), smtp_cut_enhanced(550, &text));
    text = LIT("5.1 x");
    CHECK_SLICE(LIT(""), smtp_cut_enhanced(550, &text));
    text = LIT("5.1.12345");
    CHECK_SLICE(LIT(""), smtp_cut_enhanced(550, &text));
}

TEST(smtp, a_reply_is_one_line)
{
    AUTO(buf_free) struct buf out = BUF_INIT(4096);
    struct smtp_reply r = SMTP_REPLY(550, "5.1.1", "a\r\n250 b\tc");

    smtp_format_reply(&r, true, &out);
    CHECK_SLICE(LIT("550 5.1.1 a  250 b c\r\n"), buf_slice(&out));
    buf_reset(&out);
    smtp_format_reply(&r, false, &out);
    CHECK_SLICE(LIT("550 a  250 b c\r\n"), buf_slice(&out));
}

/* ---- content ------------------------------------------------------------------------------------------------------- */

struct decoded {
    struct buf text;
    bool ended, bare;
    size_t left;
};

static void decode(struct decoded *d, struct slice a, struct slice b)
{
    struct smtp_dot_decoder dot = {0};
    struct slice block[2] = {a, b}, piece;

    d->text = BUF_INIT(1 << 20);
    d->ended = false;
    d->left = 0;
    for (int i = 0; i < 2; i++) {
        enum smtp_dot r = SMTP_DOT_MORE;

        if (d->ended) {
            d->left += block[i].n;
            continue;
        }
        while ((r = smtp_dot_decode(&dot, &block[i], &piece)) == SMTP_DOT_PIECE)
            (void)buf_append(&d->text, piece);
        d->ended = r == SMTP_DOT_END;
        d->left += block[i].n;
    }
    d->bare = dot.bare;
}

static const struct {
    const char *wire, *content;
    bool ends, bare;
    size_t left;
} dots[] = {
    {"a\r\nb\r\n.\r\n", "a\r\nb\r\n", true, false, 0},
    {".\r\n", "", true, false, 0},
    {"\r\n.\r\n", "\r\n", true, false, 0},
    {"..\r\n...x\r\n.\r\nQUIT\r\n", ".\r\n..x\r\n", true, false, 6},
    {".a\r\n.\r\n", "a\r\n", true, false, 0},
    {"a.\r\n.\r\n", "a.\r\n", true, false, 0},
    {"a\r\n", "a\r\n", false, false, 0},
    /* RFC 5321 2.3.8, 4.1.1.4: none of these ends the data, all are refused */
    {"a\n.\nMAIL\r\n.\r\n", "a\n.\nMAIL\r\n", true, true, 0},
    {"a\n.\r\nMAIL\r\n.\r\n", "a\n.\r\nMAIL\r\n", true, true, 0},
    {"a\r.\rMAIL\r\n.\r\n", "a\r.\rMAIL\r\n", true, true, 0},
    {"a\r\n.\rMAIL\r\n.\r\n", "a\r\n\rMAIL\r\n", true, true, 0},
    {"a\r.\r\nMAIL\r\n.\r\n", "a\r.\r\nMAIL\r\n", true, true, 0},
    {"a\r\n.\nMAIL\r\n.\r\n", "a\r\n\nMAIL\r\n", true, true, 0},
    {"a\r\r\n.\r\n", "a\r\r\n", true, true, 0},
    {"a\r\n.\r\r\nx\r\n.\r\n", "a\r\n\r\r\nx\r\n", true, true, 0},
    {"\n.\r\n", "\n.\r\n", false, true, 0},
};

TEST(smtp, decodes_content_wherever_the_network_cut)
{
    for (size_t i = 0; i < COUNT(dots); i++) {
        struct slice in = slice_of(dots[i].wire);

        for (size_t cut = 0; cut <= in.n; cut++) {
            struct decoded d;

            decode(&d, slice_head(in, cut), slice_tail(in, cut));
            CHECK_ROW(i, d.ended == dots[i].ends && d.bare == dots[i].bare);
            CHECK_ROW(i, d.left == dots[i].left);
            CHECK_ROW_STR(i, dots[i].content, buf_slice(&d.text));
            buf_free(&d.text);
        }
    }
}

TEST(smtp, encodes_content_wherever_the_block_was_cut)
{
    static const struct {
        const char *content, *wire;       /* wire NULL: refused */
    } row[] = {
        {"", ".\r\n"},
        {"a\r\n", "a\r\n.\r\n"},
        {"a", "a\r\n.\r\n"},
        {".", "..\r\n.\r\n"},
        {".\r\n..\r\na.\r\n", "..\r\n...\r\na.\r\n.\r\n"},
        {"a\n", NULL},
        {"a\r", NULL},
        {"a\n.\r\nb\r\n", NULL},
        {"a\r.\rb\r\n", NULL},
        {"a\r\r\n", NULL},
        {"\n", NULL},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice in = slice_of(row[i].content);

        for (size_t cut = 0; cut <= in.n; cut++) {
            AUTO(buf_free) struct buf out = BUF_INIT(4096);
            struct smtp_dot_encoder e = {0};
            bool ok = smtp_dot_encode(&e, slice_head(in, cut), &out) == 0 &&
                      smtp_dot_encode(&e, slice_tail(in, cut), &out) == 0 &&
                      smtp_dot_finish(&e, &out) == 0;

            CHECK_ROW(i, ok == (row[i].wire != NULL));
            if (ok)
                CHECK_ROW_STR(i, row[i].wire, buf_slice(&out));
        }
    }
}

TEST(smtp, line_check_follows_chunks)
{
    struct smtp_line_check c = {0};

    CHECK(smtp_line_check(&c, LIT("a\r")) == 0 && !smtp_line_check_is_clean(&c));
    CHECK(smtp_line_check(&c, LIT("")) == 0);
    CHECK(smtp_line_check(&c, LIT("\nb")) == 0 && smtp_line_check_is_clean(&c));
    CHECK(smtp_line_check(&c, LIT("\n")) < 0);
    c.cr = true;
    CHECK(smtp_line_check(&c, LIT("x")) < 0);
}
