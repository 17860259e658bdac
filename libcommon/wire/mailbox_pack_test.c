/* mailbox_pack_test.c - packed forms: what was packed comes back (also random values), damaged
 * bytes do not. */
#include "base/secret.h"
#include "base/test.h"
#include "wire/mailbox_pack.h"
#include "wire/uid_set.h"

static struct uid_set random_set(struct arena *a, size_t ranges)
{
    struct uid_set_builder b = uid_set_builder_make(a);

    for (size_t i = 0; i < ranges; i++) {
        uint32_t first = (uint32_t)random_below(UINT32_MAX - 1) + 1;
        uid_set_add_range(&b, first,
                          first + (uint32_t)random_below(UINT32_MAX - (uint64_t)first + 1) / 1000);
    }
    return uid_set_finish(&b);
}

TEST(mailbox_pack, uid_sets_come_back)
{
    for (size_t i = 0; i < 200; i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
        struct uid_set set = random_set(t->arena, i % 40), back;

        CHECK_ROW(i, pack_uid_set(&out, set) == 0);
        CHECK_ROW(i, unpack_uid_set(buf_slice(&out), t->arena, &back) && uid_set_equal(set, back));
    }
}

TEST(mailbox_pack, uid_sets_that_are_not_normal_are_refused)
{
    static const struct {
        struct slice in;
        bool good;
    } row[] = {
        {LIT("\0"), true},
        {LIT("\1\1\0"), true},
        {LIT("\1\0\0"), false},     /* UID 0 */
        {LIT("\2\1\0\1\0"), false}, /* 1,2: adjacent */
        {LIT("\2\1\0\2\0"), true},
        {LIT("\1\377\377\377\377\17\0"), true},  /* 4294967295 */
        {LIT("\1\377\377\377\377\17\1"), false}, /* beyond it */
        {LIT("\1\1\0x"), false},                 /* bytes left over */
        {LIT("\377\377\377\177\1\0"), false},    /* a count the bytes cannot hold */
        {LIT(""), false},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct uid_set set;
        CHECK_ROW(i, unpack_uid_set(row[i].in, t->arena, &set) == row[i].good);
    }
}

static struct mailbox_row random_row(uint32_t uid)
{
    return (struct mailbox_row){
        .uid = uid,
        .size = (uint32_t)random_u64(),
        .flags = (uint32_t)random_below(32),
        .modseq = random_u64() >> 1,
        .keywords = {random_u64(), random_u64() >> 32},
        .internal_ms = (int64_t)random_u64(),
        .saved_ms = (int64_t)random_u64(),
    };
}

static bool row_equal(const struct mailbox_row *a, const struct mailbox_row *b)
{
    return a->uid == b->uid && a->size == b->size && a->flags == b->flags &&
           a->modseq == b->modseq && a->keywords[0] == b->keywords[0] &&
           a->keywords[1] == b->keywords[1] && a->internal_ms == b->internal_ms &&
           a->saved_ms == b->saved_ms;
}

TEST(mailbox_pack, changes_come_back_and_cuts_are_noticed)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct mailbox_row rows[50];
    struct slice keywords[] = {LIT("$Forwarded"), LIT("Work")};
    struct mailbox_changes in =
                               {
                                   .modseq = UINT64_MAX >> 1,
                                   .rows = rows,
                                   .row_count = COUNT(rows),
                                   .vanished = random_set(t->arena, 9),
                                   .keywords = keywords,
                                   .keyword_count = 2,
                                   .drain_left = 5,
                                   .folder = {.id = 77,
                                              .path = LIT("A/B"),
                                              .special_use = LIT("\\Sent"),
                                              .subscribed = true,
                                              .exists = true,
                                              .uidvalidity = 5,
                                              .uidnext = UINT32_MAX,
                                              .messages = 50,
                                              .size_bytes = UINT64_MAX},
                               },
                           back;

    for (size_t i = 0; i < COUNT(rows); i++)
        rows[i] = random_row((uint32_t)(i * 1000 + 1 + random_below(1000)));
    REQUIRE(pack_changes(&out, &in) == 0);
    REQUIRE(unpack_changes(buf_slice(&out), t->arena, &back));
    CHECK(back.modseq == in.modseq);
    CHECK_INT(in.drain_left, back.drain_left);
    CHECK_SLICE(LIT("A/B"), back.folder.path);
    CHECK_SLICE(LIT("\\Sent"), back.folder.special_use);
    CHECK(back.folder.subscribed && back.folder.exists && back.folder.size_bytes == UINT64_MAX);
    CHECK(uid_set_equal(in.vanished, back.vanished));
    REQUIRE(back.row_count == COUNT(rows) && back.keyword_count == 2);
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(i, row_equal(&rows[i], &back.rows[i]));
    CHECK_SLICE(LIT("Work"), back.keywords[1]);
    for (size_t cut = 0; cut < out.n; cut++)
        CHECK_ROW(cut, !unpack_changes(slice_head(buf_slice(&out), cut), t->arena, &back));
}

TEST(mailbox_pack, view_and_stored_come_back)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct mailbox_view view = {.folder = {.id = 1, .path = LIT("INBOX"), .exists = true},
                                .modseq = 9,
                                .uids = random_set(t->arena, 3),
                                .first_unseen_uid = 4},
                        view_back;
    struct mailbox_stored stored = {.from_modseq = 8,
                                    .modseq = 9,
                                    .conflicts = random_set(t->arena, 2)},
                          stored_back;

    REQUIRE(pack_view(&out, &view) == 0 && unpack_view(buf_slice(&out), t->arena, &view_back));
    CHECK(uid_set_equal(view.uids, view_back.uids) && view_back.first_unseen_uid == 4 &&
          view_back.modseq == 9);
    buf_reset(&out);
    REQUIRE(pack_stored(&out, &stored) == 0 &&
            unpack_stored(buf_slice(&out), t->arena, &stored_back));
    CHECK(uid_set_equal(stored.conflicts, stored_back.conflicts) && stored_back.keywords == NULL);
    CHECK_INT(9, stored_back.modseq);
}

TEST(mailbox_pack, sections_come_back)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct slice fields[] = {LIT("subject"), LIT("from")};
    const struct mailbox_section in[] = {
        {.kind = SECTION_ALL, .length = UINT64_MAX},
        {.kind = SECTION_FIELDS,
         .path = {2, 1},
         .path_len = 2,
         .fields = fields,
         .field_count = 2,
         .from = 3,
         .length = 9},
        {.kind = SECTION_ALL, .path = {1}, .path_len = 1, .decode = true, .length = 10},
    };
    struct mailbox_section *back;
    size_t n;

    REQUIRE(pack_sections(&out, in, COUNT(in)) == 0);
    REQUIRE(unpack_sections(buf_slice(&out), t->arena, &back, &n) && n == COUNT(in));
    CHECK(back[0].length == UINT64_MAX && back[0].path_len == 0);
    CHECK(back[1].path[1] == 1 && back[1].field_count == 2 && back[1].from == 3);
    CHECK_SLICE(LIT("from"), back[1].fields[1]);
    CHECK(back[2].decode);
    CHECK(!unpack_sections(LIT("\1\7\0\0\0\0\0"), t->arena, &back, &n)); /* no such kind */
    CHECK(pack_sections(&out, in, MAILBOX_SECTIONS_MAX + 1) < 0);
}

static struct search_node *nest(struct arena *a, unsigned depth)
{
    struct search_node *node = ARENA_NEW(a, struct search_node);

    node->op = depth > 1 ? SEARCH_NOT : SEARCH_ALL;
    if (depth > 1)
        node->children = nest(a, depth - 1);
    return node;
}

TEST(mailbox_pack, search_trees_come_back_up_to_their_depth)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct search_node text = {
        .op = SEARCH_HEADER, .field = LIT("subject"), .text = LIT("gr\303\274n")};
    struct search_node flag = {.op = SEARCH_FLAG, .number = FLAG_SEEN, .next = &text};
    struct search_node both = {.op = SEARCH_OR, .children = &flag};
    struct search_node *back;

    REQUIRE(pack_search(&out, &both) == 0 && unpack_search(buf_slice(&out), t->arena, &back));
    CHECK(back->op == SEARCH_OR && back->children->op == SEARCH_FLAG &&
          back->children->number == FLAG_SEEN);
    CHECK_SLICE(LIT("subject"), back->children->next->field);
    CHECK_SLICE(LIT("gr\303\274n"), back->children->next->text);
    CHECK(back->children->next->next == NULL);

    buf_reset(&out);
    CHECK(pack_search(&out, nest(t->arena, PACK_SEARCH_DEPTH_MAX)) == 0);
    CHECK(unpack_search(buf_slice(&out), t->arena, &back));
    CHECK(pack_search(&out, nest(t->arena, PACK_SEARCH_DEPTH_MAX + 1)) < 0);
    CHECK(!unpack_search(LIT("\3\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0"), t->arena,
                         &back)); /* NOT with two children */
}

TEST(mailbox_pack, fetch_and_append_heads_come_back)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct mailbox_fetched in = {.row = random_row(12),
                                 .envelope = LIT("(NIL)"),
                                 .preview = LIT("hi")},
                           back;
    struct slice keyword = LIT("$Junk"), whole, head;
    struct mailbox_append_head append = {.size_bytes = 50u << 20,
                                         .flags = FLAG_DRAFT,
                                         .keywords = &keyword,
                                         .keyword_count = 1,
                                         .internal_ms = -5},
                               append_back;
    size_t sections;

    in.sections[0].exists = true;
    in.sections[2].exists = true;
    in.sections[2].bytes = UINT64_MAX - 1;
    REQUIRE(pack_fetched(&out, &in, 3) == 0);
    whole = buf_slice(&out);
    REQUIRE(unpack_bytes(&whole, &head) && whole.n == 0 && unpack_fetched(head, &back, &sections));
    CHECK(row_equal(&in.row, &back.row) && sections == 3);
    CHECK(back.sections[0].exists && back.sections[0].bytes == 0 && !back.sections[1].exists);
    CHECK(back.sections[2].bytes == UINT64_MAX - 1);
    CHECK_SLICE(in.envelope, back.envelope);
    CHECK_SLICE(in.preview, back.preview);

    buf_reset(&out);
    REQUIRE(pack_append_head(&out, &append) == 0 &&
            unpack_append_head(buf_slice(&out), t->arena, &append_back));
    CHECK(append_back.size_bytes == 50u << 20 && append_back.flags == FLAG_DRAFT &&
          append_back.internal_ms == -5);
    CHECK_SLICE(keyword, append_back.keywords[0]);
}
