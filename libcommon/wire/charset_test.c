/* charset_test.c - text in pieces reads as the whole does, wherever it is cut. */
#include "base/test.h"
#include "wire/charset.h"

static void feed_cut(struct charset_stream *s, struct slice in, size_t step, struct buf *out)
{
    while (in.n > 0) {
        struct slice piece = slice_head(in, step);
        (void)charset_stream_feed(s, piece, out);
        in = slice_tail(in, piece.n);
    }
    (void)charset_stream_finish(s, out);
}

TEST(charset, does_not_care_where_text_is_cut)
{
    static const char *const charsets[] = { "utf-8", "us-ascii", "", "klingon", "iso-8859-1", "windows-1252", "iso-8859-2", "koi8-r", "shift_jis",
                                            "euc-kr", "gb2312", "big5", "iso-2022-jp", "utf-16", "utf-16le", "utf-7", "utf-32", "tis-620" };
    static const struct slice texts[] = {
        LIT("plain text"), LIT("h\xC3\xA9llo \xE2\x82\xAC \xF0\x9F\x98\x80 end"), LIT("\xE2\x82"), LIT("\xFF\xFE""a\0b\0\x3D\xD8\0\xDE"), LIT("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80"),
        LIT("\x1B$B$3$s$K$A\x1B(B and \x1B$B"), LIT("\x82\xB1\x82\xF1\x82\xC9\x82"), LIT("\xB0\xA1\xB3\xAA\xFF\xB0"), LIT("+AGEAYg- +2D3eAA- &"), LIT("\xE2(\xA1 \xF0\x9F(\x80 \xE2"), LIT(""),
    };

    for (size_t i = 0; i < COUNT(charsets); i++)
        for (size_t j = 0; j < COUNT(texts); j++) {
            AUTO(buf_free) struct buf whole = BUF_INIT(BUF_MAX_DEFAULT);
            CHECK_INT(0, charset_to_utf8(slice_of(charsets[i]), texts[j], &whole));
            for (size_t step = 1; step <= texts[j].n + 1; step++) {
                AUTO(buf_free) struct buf cut = BUF_INIT(BUF_MAX_DEFAULT);
                struct charset_stream s;
                charset_stream_begin(&s, slice_of(charsets[i]), slice_is_utf8(texts[j]));
                feed_cut(&s, texts[j], step, &cut);
                if (!slice_equal(buf_slice(&whole), buf_slice(&cut)))
                    test_fail(t, __FILE__, __LINE__, "%s, text %zu cut every %zu: other output", charsets[i], j, step);
            }
        }
}

TEST(charset, checks_utf8_in_pieces)
{
    static const struct slice texts[] = { LIT("abc"), LIT("\xE2\x82\xAC\xF0\x9F\x98\x80"), LIT("a\xE2\x82"), LIT("\xE2(\xA1"), LIT("\xED\xA0\x80"), LIT("\xC0\x80"), LIT("\x80"), LIT("\xF4\x90\x80\x80"), LIT("") };

    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t step = 1; step <= texts[i].n + 1; step++) {
            struct utf8_check c = { 0 };
            for (struct slice in = texts[i]; in.n > 0; in = slice_tail(in, step))
                utf8_check_feed(&c, slice_head(in, step));
            CHECK_ROW(i, utf8_check_finish(&c) == slice_is_utf8(texts[i]));
        }
}
