/* casefold_test.c - folding, and searching without regard to case. */
#include "wire/casefold.h"

#include "base/test.h"

TEST(casefold, folds)
{
    static const struct { const char *in, *want; } row[] = {
        { "Hello, WORLD [@Z{", "hello, world [@z{" },
        { "\xC3\x84\xC3\x96\xC3\x9C\xC3\x9F", "\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F" },
        { "\xE1\xBA\x9E", "\xC3\x9F" },                          /* capital sharp s: simple folding */
        { "\xCE\xA3\xCF\x82", "\xCF\x83\xCF\x83" },              /* both sigmas */
        { "\xE2\x84\xAA", "k" },                                 /* Kelvin */
        { "\xC8\xBA", "\xE2\xB1\xA5" },                          /* grows from two bytes to three */
        { "\xF0\x90\x90\x80", "\xF0\x90\x90\xA8" },              /* Deseret */
        { "\xD0\x9F\xD0\xA0", "\xD0\xBF\xD1\x80" },
        { "A\xFFZ\xC3", "a\xFFz\xC3" },
        { "", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(100);

        CHECK_ROW(i, casefold_utf8(slice_of(row[i].in), &out) == 0);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
    }
}

TEST(casefold, is_idempotent_over_unicode)
{
    size_t changed = 0;

    for (uint32_t c = 0; c < 0x110000; c++) {
        uint32_t f = casefold_codepoint(c);

        changed += f != c;
        if (casefold_codepoint(f) != f)
            test_fail(t, __FILE__, __LINE__, "U+%04X folds twice", c);
    }
    CHECK_INT(1454, changed);
}

TEST(casefold, finds_across_chunks)
{
    AUTO(buf_free) struct buf text = BUF_INIT(100000);

    for (size_t pad = 4080; pad < 4100; pad++) {
        buf_reset(&text);
        for (size_t i = 0; i < pad; i++)
            (void)buf_append_char(&text, 'X');
        (void)buf_append_cstr(&text, "\xC3\x84PFEL und Birnen");
        CHECK_ROW(pad, casefold_contains(buf_slice(&text), LIT("x\xC3\xA4pfel und")));
        CHECK_ROW(pad, !casefold_contains(buf_slice(&text), LIT("\xC3\xA4pfel  und")));
    }
    CHECK(casefold_contains(LIT("abc"), LIT("")));
    CHECK(!casefold_contains(LIT(""), LIT("a")));
}
