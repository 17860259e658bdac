/* body_image_test.c - the parser must see the same tree in an image as in the message, whatever the image has given back. */
#include "mailbox/body_image.h"

#include "base/buf.h"
#include "base/test.h"
#include "wire/mime.h"

#define LARGE ((size_t)600 << 10)

struct row { const char *before, *filler, *after; bool loses; };

static const struct row rows[] = {
    { "Subject: x\r\n\r\n", "plain text, 8 bits \xff\r\n", "end", true },
    { "Subject: x\r\n\r\nNote: a first line like a field\r\n\r\n", "then text: all of it\r\n", "", true },
    { "Subject: x\r\n\r\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n", "\r\n", true },
    { "Subject: x\r\n\r\n", "no line end at all ", "", true },
    { "Subject: x\r\n", "X-Field: a header without end\r\n", "\r\nbody\r\n", false },
    { "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\n", "text\r\n\r\nX: y\r\n", "--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\nafter\r\n", true },
    { "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n",
      "deep\r\n", "--i--\r\n--b\r\n\r\nlast\r\n--b--\r\n", true },
    { "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n", "X-Long: field\r\n", "\r\n\r\nbody\r\n", false },
    { "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n", "--b no delimiter but it might be\r\ntext\r\n", "--b--\r\n", false },
    { "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n", "--b\r\n\r\na short part\r\n", "--b--\r\n", false },
};

static struct slice build(struct test *t, const struct row *r)
{
    struct buf b = BUF_INIT(LARGE * 2);
    struct slice out;

    (void)buf_append_cstr(&b, r->before);
    while (b.n < LARGE)
        (void)buf_append_cstr(&b, r->filler);
    (void)buf_append_cstr(&b, r->after);
    out = arena_copy(t->arena, buf_slice(&b));
    buf_free(&b);
    return out;
}

static void check_same(struct test *t, size_t row, struct slice message, const struct image *m)
{
    struct mime_tree want, got;
    const struct mime_part *w, *g;

    mime_parse(t->arena, message, &want);
    mime_parse(t->arena, image_slice(m), &got);
    CHECK_ROW(row, want.part_count == got.part_count);
    for (w = want.root, g = got.root; w && g; w = mime_next_part(w), g = mime_next_part(g)) {
        uint64_t lost = image_lines_lost(m, g->body_at, g->body_at + g->body_len);
        CHECK_ROW(row, w->kind == g->kind && w->header_at == g->header_at && w->header_len == g->header_len);
        CHECK_ROW(row, w->body_at == g->body_at && w->body_len == g->body_len);
        CHECK_ROW(row, w->body_lines == g->body_lines + lost);
        CHECK_ROW_SLICE(row, w->subtype, g->subtype);
    }
    CHECK_ROW(row, !w && !g);
}

TEST(body_image, same_tree)
{
    static const size_t pieces[] = { 4093, 65536, LARGE * 2 };
    struct fault why;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice message = build(t, &rows[i]);
        for (size_t k = 0; k < COUNT(pieces); k++) {
            AUTO(image_end) struct image m = { 0 };
            struct slice rest = message;
            REQUIRE_OK(image_begin(&m, message.n, &why), &why);
            while (rest.n) {
                image_write(&m, slice_head(rest, pieces[k]));
                rest = slice_tail(rest, pieces[k] < rest.n ? pieces[k] : rest.n);
            }
            check_same(t, i, message, &m);
            if (pieces[k] < LARGE)             /* what comes at once is looked at once, at its end */
                CHECK_ROW(i, image_has_lost(&m, 0, message.n) == rows[i].loses);
        }
    }
}
