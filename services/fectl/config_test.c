/* config_test.c - how an .env is read and names are compared. */
#include "config_file.h"
#include "config_names.h"

#include <unistd.h>
#include "base/test.h"

static void read_text(struct test *t, const char *text, struct config_file *f, struct buf *mistakes)
{
    char path[] = "/tmp/fectl-env-XXXXXX";
    int fd = mkstemp(path);
    struct fault why;

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    CHECK_OK(config_file_read(path, t->arena, f, mistakes, &why), &why);
    (void)unlink(path);
}

TEST(config_file, reads_what_compose_reads)
{
    static const struct { const char *line, *value, *mistake; } row[] = {
        { "A=b", "b", "" }, { "  export A = b c  ", "b c", "" }, { "A=b # c", "b", "" }, { "A=b#c", "b#c", "" }, { "A=", "", "" },
        { "A='b $c # d'", "b $c # d", "" }, { "A=\"b \\\"c\\\\\" # d", "b \"c\\", "" },
        { "A=`x`", "`x`", "" }, { "# A=b", NULL, "" }, { "", NULL, "" },
        { "A", NULL, "line 1: \"A\" is no NAME=value and no comment (#)\n" },
        { "1A=b", NULL, "line 1: \"1A\" is no NAME=value and no comment (#)\n" },
        { "A='b", NULL, "line 1: A: the quote is not closed on this line\n" },
        { "A=b$c", "b$c", "line 1: A: Compose replaces what follows a $; put the value between single quotes\n" },
        { "A=b\nA=c", "c", "line 2: A: is also in line 1; keep one\n" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf mistakes = BUF_INIT(4096);
        struct config_file f;
        const struct setting *s;

        read_text(t, row[i].line, &f, &mistakes);
        s = config_file_find(&f, LIT("A"));
        CHECK_ROW(i, (s == NULL) == (row[i].value == NULL));
        if (s != NULL && row[i].value != NULL)
            CHECK_ROW_STR(i, row[i].value, s->value.p);
        CHECK_ROW_STR(i, row[i].mistake, mistakes.n > 0 ? mistakes.p : "");
    }
}

TEST(config_names, knows_the_original_and_what_is_near)
{
    static const struct { const char *a, *b; unsigned want; } row[] = {
        { "MX_PORT", "MX_PORT", 0 }, { "MX_PROT", "MX_PORT", 1 }, { "MX_POR", "MX_PORT", 1 }, { "MXX_PORTS", "MX_PORT", 2 }, { "", "AB", 2 }, { "AB", "CD", 2 },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, config_name_distance(slice_of(row[i].a), slice_of(row[i].b)) == row[i].want);
    CHECK(config_is_original_name(LIT("STRIPE_SECRET_KEY")));
    CHECK(config_is_original_name(LIT("WEB_URL")));
    CHECK(!config_is_original_name(LIT("WEB_URLS")));
}
