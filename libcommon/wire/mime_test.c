/* mime_test.c - trees of parts, parameters, sections, decoded text, and what IMAP says about them. */
#include "wire/mime.h"

#include "base/test.h"
#include "wire/imap_render.h"
#include "wire/mime_text.h"
#include "wire/rfc5322.h"

/* "type/subtype(children)" with the body of leaves in brackets. */
static void dump_part(const struct mime_part *p, struct slice m, struct buf *out)
{
    (void)buf_printf(out, "%.*s/%.*s", SLICE(p->type), SLICE(p->subtype));
    if (p->kind == MIME_LEAF) {
        (void)buf_printf(out, "[%.*s]%u", (int)p->body_len, m.p + p->body_at, p->body_lines);
        return;
    }
    (void)buf_append_char(out, '(');
    for (const struct mime_part *c = p->first_child; c; c = c->next) {
        dump_part(c, m, out);
        if (c->next)
            (void)buf_append_char(out, ' ');
    }
    (void)buf_append_char(out, ')');
}

#define MP "Content-Type: multipart/mixed; boundary="

TEST(mime, sees_the_tree)
{
    static const struct { const char *in, *want; } row[] = {
        { "", "text/plain[]0" },
        { "Subject: x", "text/plain[]0" },
        { "Subject: x\r\n\r\nbody\r\n", "text/plain[body\r\n]1" },
        { "\r\nbody", "text/plain[body]0" },
        { MP "b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\nepi\r\n",
          "multipart/mixed(text/plain[one]0 text/html[two]0)" },
        { MP "b\n\n--b\n\none\n\n--b--\n", "multipart/mixed(text/plain[one\n]1)" },
        { MP "b\r\n\r\n--b\r\n\r\n--b\r\n\r\n--b--", "multipart/mixed(text/plain[]0 text/plain[]0)" },
        { MP "b\r\n\r\n--b\r\n--b--\r\n", "multipart/mixed(text/plain[]0)" },
        { MP "b\r\n\r\n--b\r\nContent-Type: a/b\r\n--b--\r\n", "multipart/mixed(a/b[]0)" },
        { MP "b\r\n\r\nnever\r\n", "multipart/mixed()" },
        { MP "b\r\n\r\n--b\r\n\r\nopen end\r\n", "multipart/mixed(text/plain[open end\r\n]1)" },
        { MP "\"b c\" \r\n\r\n--b c  \r\n\r\nx\r\n--b c--  \r\n", "multipart/mixed(text/plain[x]0)" },
        { MP "\r\n\r\n--b\r\n", "text/plain[--b\r\n]1" },
        { "Content-Type: nonsense\r\n\r\nx", "text/plain[x]0" },
        /* the outer delimiter ends the inner multipart that was left open; one boundary begins the other */
        { MP "out\r\n\r\n--out\r\n" MP "outer\r\n\r\n--outer\r\n\r\na\r\n--out\r\n\r\nb\r\n--out--",
          "multipart/mixed(multipart/mixed(text/plain[a]0) text/plain[b]0)" },
        { "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: in\n\nhello\n--d--",
          "multipart/digest(message/rfc822(text/plain[hello]0))" },
        { "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n\nc\n", "message/rfc822(message/rfc822(text/plain[c\n]1))" },
        { "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogYgo=\n", "application/octet-stream[QTogYgo=\n]1" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(10000);
        struct slice m = slice_of(row[i].in);
        struct mime_tree tree;

        mime_parse(t->arena, m, &tree);
        dump_part(tree.root, m, &out);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
    }
}

TEST(mime, keeps_its_limits)
{
    AUTO(buf_free) struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
    AUTO(buf_free) struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
    struct mime_tree tree;

    (void)buf_append_cstr(&b, MP "x\n\n");
    for (size_t i = 0; i < 20000; i++)
        (void)buf_append_cstr(&b, "--x\n\n");
    mime_parse(t->arena, buf_slice(&b), &tree);
    CHECK(tree.truncated);
    CHECK_INT(MIME_PARTS_MAX, tree.part_count);

    buf_reset(&b);
    for (size_t i = 0; i < 1000; i++)
        (void)buf_printf(&b, MP "%04zu\n\n--%04zu\n", i, i);
    mime_parse(t->arena, buf_slice(&b), &tree);
    CHECK(tree.truncated);
    CHECK_INT(MIME_DEPTH_MAX + 1, tree.part_count);
    CHECK_INT(0, imap_render_body(tree.root, buf_slice(&b), IMAP_BODYSTRUCTURE, &out));

    buf_reset(&b);
    for (size_t i = 0; i < 1000; i++)
        (void)buf_append_cstr(&b, "Content-Type: message/rfc822\n\n");
    mime_parse(t->arena, buf_slice(&b), &tree);
    CHECK_INT(MIME_DEPTH_MAX + 1, tree.part_count);
    CHECK_INT(0, imap_render_body(tree.root, buf_slice(&b), IMAP_BODYSTRUCTURE, &out));
}

TEST(mime, reads_parameters)
{
    static const struct { const char *in, *name, *want; } row[] = {
        { "text/plain; charset=us-ascii (Plain text)", "charset", "us-ascii" },
        { "text/plain; charset=\"us-\\\"ascii\"", "charset", "us-\"ascii" },
        { "a/b; (c) x (d) = (e) y ; z=1", "x", "y" },
        { "a/b; name=my file.pdf; z=1", "name", "my file.pdf" },
        /* RFC 2231 3, 4, 4.1 */
        { "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/x\"", "url", "ftp://cs.utk.edu/pub/x" },
        { "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***" },
        { "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
          "title", "This is even more ***fun*** isn't it!" },
        { "a/b; n*1=b; n*0=a; n*3=d", "n", "ab" },
        { "a/b; filename=x; filename*=utf-8''%C3%BC", "filename", "\xC3\xBC" },
        { "a/b; n*=latin%FC", "n", "latin\xC3\xBC" },
        { "a/b; n", "n", "" }, { "a/b; =x; ;;; n=", "n", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice type, subtype;
        struct mime_params params;

        mime_parse_type(t->arena, slice_of(row[i].in), &type, &subtype, &params);
        CHECK_ROW_STR(i, row[i].want, mime_get_param(&params, slice_of(row[i].name)));
    }
}

static const char nested[] =                          /* the shape of RFC 9051 6.4.5.1's example */
    "Subject: top\r\n" MP "o\r\n\r\n"
    "--o\r\n\r\nONE\r\n"
    "--o\r\nContent-Type: application/octet-stream\r\n\r\nTWO\r\n"
    "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: three\r\n" MP "i\r\n\r\n--i\r\n\r\n3.1\r\n--i\r\nX: y\r\n\r\n3.2\r\n--i--\r\n"
    "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: four\r\n\r\n4.1 body\r\n"
    "--o--\r\n";

TEST(mime, finds_sections)
{
    static const struct { const char *path; enum mime_section section; const char *want; } row[] = {
        { "1", MIME_SECTION_ALL, "ONE" }, { "2", MIME_SECTION_ALL, "TWO" },
        { "2", MIME_SECTION_MIME, "Content-Type: application/octet-stream\r\n\r\n" },
        { "3.1", MIME_SECTION_ALL, "3.1" }, { "3.2", MIME_SECTION_ALL, "3.2" }, { "3.2", MIME_SECTION_MIME, "X: y\r\n\r\n" },
        { "4", MIME_SECTION_HEADER, "Subject: four\r\n\r\n" }, { "4", MIME_SECTION_TEXT, "4.1 body" },
        { "4.1", MIME_SECTION_ALL, "4.1 body" }, { "4", MIME_SECTION_ALL, "Subject: four\r\n\r\n4.1 body" },
        { "4.1.1", MIME_SECTION_ALL, NULL }, { "4.2", MIME_SECTION_ALL, NULL }, { "5", MIME_SECTION_ALL, NULL },
        { "1.1", MIME_SECTION_ALL, NULL }, { "0", MIME_SECTION_ALL, NULL }, { "1", MIME_SECTION_HEADER, NULL }, { "", MIME_SECTION_MIME, NULL },
        { "", MIME_SECTION_HEADER, "Subject: top\r\n" MP "o\r\n\r\n" }, { "", MIME_SECTION_ALL, nested },
    };
    struct slice m = slice_of(nested);
    struct mime_tree tree;

    mime_parse(t->arena, m, &tree);
    for (size_t i = 0; i < COUNT(row); i++) {
        uint32_t path[8];
        size_t n = 0, at, length;
        struct slice rest = slice_of(row[i].path), one;
        bool found;

        while (slice_cut(&rest, '.', &one))
            CHECK_ROW(i, slice_to_u32(one, 99, &path[n++]));
        found = mime_find_section(tree.root, path, n, row[i].section, &at, &length, NULL);
        CHECK_ROW(i, found == (row[i].want != NULL));
        if (found)
            CHECK_ROW_STR(i, row[i].want, slice_sub(m, at, length));
    }
}

TEST(mime, numbers_a_simple_message)
{
    struct slice m = LIT("A: b\r\n\r\nbody");
    struct mime_tree tree;
    size_t at, length;

    mime_parse(t->arena, m, &tree);
    REQUIRE(mime_find_section(tree.root, (uint32_t[]){ 1 }, 1, MIME_SECTION_ALL, &at, &length, NULL));
    CHECK_STR("body", slice_sub(m, at, length));
    CHECK(!mime_find_section(tree.root, (uint32_t[]){ 1, 1 }, 2, MIME_SECTION_ALL, &at, &length, NULL));
}

TEST(imap_render, envelope)
{
    static const struct { const char *in, *want; } row[] = {
        { "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nSubject: IMAP4rev2 WG mtg summary and minutes\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
          "To: imap@cac.washington.edu\r\nCc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n",
          "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" "
          "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
          "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) "
          "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")" },
        { "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
        { "Subject: a\"b\\\r\nTo: g:x@y;\r\n", "(NIL \"a\\\"b\\\\\" NIL NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"x\" \"y\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)" },
        { "Subject: J\xC3\xBC\r\nFrom: nobody\r\n", "(NIL {3}\r\nJ\xC3\xBC ((NIL NIL \"nobody\" \"\")) ((NIL NIL \"nobody\" \"\")) ((NIL NIL \"nobody\" \"\")) NIL NIL NIL NIL NIL)" },
        { "Subject:\r\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(10000);

        CHECK_ROW(i, imap_render_envelope(slice_of(row[i].in), &out) == 0);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
    }
}

TEST(imap_render, bodystructure)
{
    static const struct { const char *in, *body, *structure; } row[] = {
        { "A: b\r\n\r\none\r\ntwo\r\n", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2)",
          "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2 NIL NIL NIL NIL)" },
        { MP "b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: image/png; name*=utf-8''%C3%BC\r\nContent-Transfer-Encoding: BASE64\r\nContent-ID: <i@d>\r\n"
          "Content-Disposition: attachment; filename=p.png\r\nContent-Language: en, de\r\n\r\nAAAA\r\n--b--\r\n",
          "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)"
          "(\"image\" \"png\" (\"name*\" \"utf-8''%C3%BC\") \"<i@d>\" NIL \"BASE64\" 4) \"mixed\")",
          "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)"
          "(\"image\" \"png\" (\"name*\" \"utf-8''%C3%BC\") \"<i@d>\" NIL \"BASE64\" 4 NIL (\"attachment\" (\"filename\" \"p.png\")) (\"en\" \"de\") NIL)"
          " \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)" },
        { "Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nhi\r\n",
          "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 18 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) "
          "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1) 3)",
          "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 18 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) "
          "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)" },
        { MP "b\r\n\r\n", "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
          "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(10000);
        struct mime_tree tree;

        mime_parse(t->arena, slice_of(row[i].in), &tree);
        CHECK_ROW(i, imap_render_body(tree.root, slice_of(row[i].in), IMAP_BODY, &out) == 0);
        CHECK_ROW_STR(i, row[i].body, buf_slice(&out));
        buf_reset(&out);
        CHECK_ROW(i, imap_render_body(tree.root, slice_of(row[i].in), IMAP_BODYSTRUCTURE, &out) == 0);
        CHECK_ROW_STR(i, row[i].structure, buf_slice(&out));
    }
}

TEST(mime_text, decodes_whatever_the_cut)
{
    static const struct { enum mime_encoding encoding; const char *in, *want; } row[] = {
        { MIME_QP, "a=3Db=\r\nc  \r\nd\t=20\r\n=E4=zz=", "a=bc\r\nd\t \r\n\xE4=zz" },
        { MIME_QP, "x =  \r\ny \n\n z ", "x y\n\n z" },
        { MIME_QP, "=4", "=4" }, { MIME_QP, "==41", "=A" }, { MIME_QP, "a\rb\r\n", "a\rb\r\n" },
        { MIME_BASE64, "SGVs\r\nbG8s IFdv\ncmxkIQ==\r\n", "Hello, World!" },
        { MIME_BASE64, "SGk=SGk=", "HiHi" }, { MIME_BASE64, "S", "" }, { MIME_BASE64, "****", "" }, { MIME_BASE64, "SG k", "Hi" },
        { MIME_8BIT, "a \r\n=", "a \r\n=" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice in = slice_of(row[i].in);

        for (size_t cut = 0; cut <= in.n; cut++) {
            AUTO(buf_free) struct buf out = BUF_INIT(1000);
            struct mime_decoder d;

            mime_decoder_init(&d, row[i].encoding);
            CHECK_ROW(i, mime_decoder_feed(&d, slice_head(in, cut), &out) == 0);
            CHECK_ROW(i, mime_decoder_feed(&d, slice_tail(in, cut), &out) == 0);
            CHECK_ROW(i, mime_decoder_finish(&d, &out) == 0);
            CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
        }
    }
}

TEST(mime_text, renders_for_search)
{
    struct slice m = LIT("Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n" MP "b\r\n\r\npreamble\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
                         "Content-Transfer-Encoding: quoted-printable\r\n\r\n<b>M=FCller</b>\r\n--b\r\nContent-Type: application/pdf\r\n"
                         "Content-Disposition: attachment; filename*=utf-8''Pr%C3%BCfung.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
                         "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhello\r\n--b--\r\n");
    AUTO(buf_free) struct buf out = BUF_INIT(10000);
    struct mime_tree tree;

    mime_parse(t->arena, m, &tree);
    CHECK_INT(0, mime_render_search_text(tree.root, m, MIME_TEXT_BODY, &out));
    CHECK_STR("<b>M\xC3\xBCller</b>\nPr\xC3\xBC" "fung.pdf\nSubject: inner\nhello\n", buf_slice(&out));
    buf_reset(&out);
    CHECK_INT(0, mime_render_search_text(tree.root, m, MIME_TEXT_ALL, &out));
    CHECK(slice_has_prefix(buf_slice(&out), LIT("Subject: Gr\xC3\xBC\xC3\x9F" "e\nContent-Type: multipart")));
    buf_reset(&out);
    CHECK_INT(0, mime_render_preview(tree.root, m, 4, &out));
    CHECK_STR("hell", buf_slice(&out));
}

TEST(mime_text, strips_html)
{
    AUTO(buf_free) struct buf out = BUF_INIT(10000);

    CHECK_INT(0, mime_strip_html(LIT("<style>p{}</style><p>a&amp;b&#228;&#x20AC;&zz;<b>c</b><!-- x > y --><script>1<2</script>d<open"), &out));
    CHECK_STR("   a&b\xC3\xA4\xE2\x82\xAC&zz;c  d ", buf_slice(&out));
}
