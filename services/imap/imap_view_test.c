/* imap_view_test.c - message numbers of a walk, replacing a view, and FETCH rows as text. */
#include "base/test.h"
#include "imap_rows.h"
#include "imap_view.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/uid_set.h"

static struct uid_set set_of(struct test *t, const char *text)
{
    struct uid_set set = UID_SET_EMPTY;

    CHECK(text[0] == '\0' || uid_set_parse(slice_of(text), 1, t->arena, &set));
    return set;
}

TEST(imap_view, ranks_in_step)
{
    struct imap_ranker r = imap_ranker_make(set_of(t, "3:5,9,12:20"));
    static const struct { uint32_t uid, want; } row[] = {
        { 1, 0 }, { 3, 1 }, { 5, 3 }, { 6, 0 }, { 9, 4 }, { 10, 0 }, { 12, 5 }, { 20, 13 }, { 21, 0 },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, imap_rank(&r, row[i].uid) == row[i].want);
}

TEST(imap_view, is_replaced_from_its_own_content)
{
    struct slice keywords[] = { LIT("$one"), LIT("$two") };
    struct mailbox_view from = { .folder = { .id = 7, .path = LIT("a/b") }, .modseq = 9, .uids = set_of(t, "1:9"),
                                 .keywords = keywords, .keyword_count = 2 };
    struct imap_view *v = imap_view_new(&from, false, 1);
    struct imap_view_content now = imap_view_content(v);

    now.gone = set_of(t, "2");
    imap_view_set(v, &now);
    now = imap_view_content(v);
    CHECK_SLICE(LIT("1:9"), uid_set_format(now.uids, t->arena));
    CHECK_SLICE(LIT("2"), uid_set_format(now.gone, t->arena));
    CHECK_SLICE(LIT("$two"), v->keywords[1]);
    CHECK_SLICE(LIT("a/b"), v->path);
    imap_view_free(&v);
    imap_view_free(&v);
}

TEST(imap_rows, are_written)
{
    struct slice keywords[] = { LIT("$one"), LIT("two") };
    struct imap_view view = { .keywords = keywords, .keyword_count = 2 };
    struct mailbox_row plain = { .uid = UINT32_MAX, .size = UINT32_MAX, .modseq = UINT64_MAX, .flags = 31, .internal_ms = 1795526311000 };
    struct mailbox_row named = { .uid = 1, .keywords = { 7, 1 } };
    static const struct { bool named; unsigned attrs; const char *want; } row[] = {
        { false, IMAP_FETCH_UID, "* 4294967295 FETCH (UID 4294967295" },
        { false, IMAP_FETCH_UID | IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE | IMAP_FETCH_MODSEQ,
          "* 4294967295 FETCH (UID 4294967295 FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft) INTERNALDATE "
          "\"24-Nov-2026 13:18:31 +0000\" RFC822.SIZE 4294967295 MODSEQ (18446744073709551615)" },
        { true, IMAP_FETCH_FLAGS, "* 4294967295 FETCH (FLAGS ($one two)" },
        { true, 0, "* 4294967295 FETCH (" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(10000);
        CHECK_ROW(i, imap_put_row(&out, UINT32_MAX, row[i].named ? &named : &plain, row[i].attrs, &view) == (row[i].attrs != 0));
        CHECK_ROW_STR(i, row[i].want, buf_slice(&out));
    }
}
