/* multipart_test.c - parts of a form, whole and byte by byte; what is malformed or over a limit. */
#include "base/test.h"
#include "net/multipart.h"

struct seen { struct buf text; };

static int on_part(void *arg, struct slice header, UNUSED struct fault *why)
{
    struct seen *s = arg;

    return buf_printf(&s->text, "[%.*s|", SLICE(header));
}

static int on_data(void *arg, struct slice bytes, UNUSED struct fault *why)
{
    return buf_append(&((struct seen *)arg)->text, bytes);
}

static int on_end(void *arg, UNUSED struct fault *why)
{
    return buf_append_char(&((struct seen *)arg)->text, ']');
}

static const struct multipart_handlers handlers = { on_part, on_data, on_end };

static int feed(struct slice in, size_t piece, struct slice boundary, struct seen *s, struct fault *why)
{
    struct multipart m;
    int r = multipart_init(&m, boundary, &handlers, s, why);

    while (r == 0 && in.n > 0) {
        r = multipart_feed(&m, slice_head(in, piece), why);
        in = slice_tail(in, piece);
    }
    if (r == 0)
        r = multipart_finish(&m, why);
    multipart_deinit(&m);
    return r;
}

TEST(multipart, takes_parts)
{
    static const struct { const char *in, *want; } rows[] = {
        { "--B\r\nA: b\r\n\r\nbody\r\n--B--\r\n", "[A: b|body]" },
        { "preamble\r\n--B\r\nA: b\r\n\r\n\r\n--B\r\n\r\n\r\nx\r\n\r\n--B--epilogue", "[A: b|][|\r\nx\r\n]" },
        { "--B \t\r\nA: b\r\nC: d\r\n\r\n\r\n--Bx\r\n--B-\r\n--\r\n--B--", "[A: b\r\nC: d|\r\n--Bx\r\n--B-\r\n--]" },
        { "--B--", "" },
        { "--B\r\n\r\n\r\r\n\r\n--\r\n-\r\n--B--", "[|\r\r\n\r\n--\r\n-]" },
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t piece = 1; piece < 64; piece++) {
            struct seen s = { .text = BUF_INIT(1 << 16) };
            struct fault why = { .text = "" };

            CHECK_OK(feed(slice_of(rows[i].in), piece, LIT("B"), &s, &why), &why);
            CHECK_ROW_STR(i, rows[i].want, buf_slice(&s.text));
            buf_free(&s.text);
        }
}

TEST(multipart, refuses_what_is_none)
{
    static const char *const rows[] = { "", "--B", "--B\r\n", "--B\r\nA: b\r\n\r\nbody", "--B\r\nA: b\r\n\r\nbody\r\n--B", "--C\r\n\r\nx\r\n--C--", "x--B--" };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen s = { .text = BUF_INIT(1 << 16) };
        struct fault why = { .text = "" };

        CHECK_FAULT(FAULT_PROTOCOL, feed(slice_of(rows[i]), 3, LIT("B"), &s, &why), &why);
        buf_free(&s.text);
    }
}

TEST(multipart, has_limits)
{
    static char boundary[MULTIPART_BOUNDARY_MAX + 1];
    struct seen s = { .text = BUF_INIT(1 << 20) };
    AUTO(buf_free) struct buf in = BUF_INIT(1 << 20);
    struct fault why = { .text = "" };

    memset(boundary, 'b', sizeof(boundary));
    CHECK_FAULT(FAULT_INVALID, feed(LIT("x"), 1, slice_make(boundary, sizeof(boundary)), &s, &why), &why);
    CHECK_FAULT(FAULT_INVALID, feed(LIT("x"), 1, SLICE_NONE, &s, &why), &why);
    (void)buf_append(&in, LIT("--B\r\nA: "));
    while (in.n < MULTIPART_HEADER_MAX + 10)
        (void)buf_append_char(&in, 'x');
    CHECK_FAULT(FAULT_LIMIT, feed(buf_slice(&in), 1000, LIT("B"), &s, &why), &why);
    buf_reset(&in);
    for (unsigned i = 0; i <= MULTIPART_PARTS_MAX; i++)
        (void)buf_append(&in, LIT("\r\n--B\r\n\r\nx"));
    CHECK_FAULT(FAULT_LIMIT, feed(buf_slice(&in), 1000, LIT("B"), &s, &why), &why);
    buf_free(&s.text);
}
