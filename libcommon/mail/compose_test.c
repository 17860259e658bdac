/* compose_test.c - what is built is what was asked for; nothing smuggled in. Round trips through Python's parser are in tests/api. */
#include "mail/compose.h"

#include "base/buf.h"
#include "base/test.h"
#include "wire/mime.h"

static int gather(void *arg, struct slice bytes, UNUSED struct fault *why)
{
    return buf_append(arg, bytes);
}

static struct slice build(struct test *t, struct compose *m)
{
    AUTO(buf_free) struct buf body = BUF_INIT((size_t)16 << 20);
    struct slice header = SLICE_NONE;
    struct fault why = { .text = "" };

    (void)snprintf(m->boundary, sizeof(m->boundary), "B");
    CHECK_OK(compose_header(m, t->arena, &header, &why), &why);
    CHECK_OK(compose_body(m, gather, &body, &why), &why);
    return arena_concat(t->arena, (const struct slice[]){ header, buf_slice(&body) }, 2);
}

TEST(compose, text_only)
{
    struct compose m = { .from = LIT("a@b.example"), .to = LIT("c@d.example"), .subject = LIT("Hi"), .text = LIT("one\ntwo\n") };

    CHECK_STR("From: a@b.example\r\nTo: c@d.example\r\nSubject: Hi\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n", arena_cstr(t->arena, build(t, &m)));
}

TEST(compose, texts_and_an_attachment)
{
    struct compose_part file = { .filename = LIT("a \"b\".txt"), .type = LIT("text/plain"), .content = LIT("data") };
    struct compose m = { .from = LIT("a@b.example"), .text = LIT("hi"), .html = LIT("<p>h\xc3\xa9</p>"), .attachments = &file, .attachment_count = 1 };
    struct slice all = build(t, &m);

    CHECK_STR("From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"m_B\"\r\n\r\n\r\n--m_B\r\n"
              "Content-Type: multipart/alternative;\r\n boundary=\"a_B\"\r\n\r\n\r\n--a_B\r\nContent-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: 7bit\r\n\r\nhi\r\n--a_B\r\nContent-Type: text/html; charset=utf-8\r\n"
              "Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>h=C3=A9</p>\r\n--a_B--\r\n\r\n--m_B\r\nContent-Type: text/plain;\r\n"
              " name=\"a \\\"b\\\".txt\"\r\nContent-Disposition: attachment;\r\n filename=\"a \\\"b\\\".txt\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
              "ZGF0YQ==\r\n\r\n--m_B--\r\n", arena_cstr(t->arena, all));
}

TEST(compose, refuses_smuggling)
{
    static const char *const bad[] = { "a\r\nBcc: x@y", "a\nb", "a\rb", "\xff" };

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct compose_header own = { LIT("X-Own"), slice_of(bad[i]) };
        struct compose subject = { .from = LIT("a@b"), .subject = slice_of(bad[i]) }, header = { .from = LIT("a@b"), .headers = &own, .header_count = 1 };
        struct slice out;
        struct fault why;

        CHECK_FAULT(FAULT_INVALID, compose_header(&subject, t->arena, &out, &why), &why);
        CHECK_FAULT(FAULT_INVALID, compose_header(&header, t->arena, &out, &why), &why);
        CHECK_FAULT(FAULT_INVALID, compose_address(t->arena, slice_of(bad[i]), LIT("a@b.example"), &out, &why), &why);
    }
}

TEST(compose, lines_stay_short)
{
    char *text = arena_alloc(t->arena, 5001);
    struct compose m = { .from = LIT("a@b.example"), .subject = SLICE_NONE, .text = slice_make(text, 5000) };
    struct slice rest, line;

    for (int encoding = COMPOSE_SHORTEST; encoding <= COMPOSE_BASE64; encoding++)
        for (int kind = 0; kind < 3; kind++) {
            memset(text, kind == 0 ? 'x' : kind == 1 ? '\xe9' : ' ', 5000);
            if (kind == 1)
                for (size_t i = 0; i < 5000; i += 2)
                    memcpy(text + i, "\xc3\xa9", 2);
            m.encoding = (enum compose_encoding)encoding;
            rest = build(t, &m);
            while (slice_cut(&rest, '\n', &line))
                CHECK_ROW((size_t)(encoding * 10 + kind), line.n <= 77);
        }
}

TEST(compose, addresses)
{
    static const struct { const char *name, *address, *want; } rows[] = {
        { "", "a@b.example", "a@b.example" },
        { "Ann B", "a@b.example", "Ann B <a@b.example>" },
        { "B, \"Ann\"", "a@b.example", "\"B, \\\"Ann\\\"\" <a@b.example>" },
        { "J\xc3\xb8rn", "a@b.example", "=?UTF-8?" },
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice out = SLICE_NONE;
        struct fault why;

        CHECK_OK(compose_address(t->arena, slice_of(rows[i].name), slice_of(rows[i].address), &out, &why), &why);
        CHECK_ROW(i, slice_has_prefix_nocase(out, slice_of(rows[i].want)));
    }
}
