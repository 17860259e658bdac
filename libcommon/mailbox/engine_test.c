/* engine_test.c - life of a mailbox file, folders, messages, contents: each call once right and once wrong. */
#include "mailbox/engine_test_util.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

TEST(engine_open, makes_a_mailbox_with_default_folders)
{
    AUTO(box_free) struct box b;
    struct mailbox_folder *list;
    struct slice public_key;
    struct fault why = { 0 };
    size_t count;

    REQUIRE(box_new(t, &b));
    REQUIRE(box_reopen(t, &b));
    REQUIRE_OK(engine_list_folders(b.e, t->arena, &list, &count, &why), &why);
    CHECK_INT(6, count);
    for (size_t i = 0; i < count; i++)
        CHECK(list[i].exists && list[i].subscribed && list[i].uidvalidity && list[i].uidnext == 1);
    CHECK_STR("INBOX", list[2].path.p);
    CHECK_STR("\\Sent", list[4].special_use.p);
    CHECK_OK(engine_get_public_key(b.e, t->arena, &public_key, &why), &why);
    CHECK_SLICE(secret_slice(b.key), public_key);
    CHECK_OK(engine_check_wrap(b.e, LIT("two"), &why), &why);
    CHECK_FAULT(FAULT_DENIED, engine_check_wrap(b.e, LIT("three"), &why), &why);
    CHECK_OK(engine_set_wraps(b.e, LIT("[\"three\"]"), &why), &why);
    CHECK_FAULT(FAULT_DENIED, engine_check_wrap(b.e, LIT("two"), &why), &why);
    CHECK(box_verify(t, &b));
}

TEST(engine_open, refuses_wrong_keys_and_missing_files)
{
    AUTO(box_free) struct box b;
    AUTO(secret_unref) struct secret *other = secret_random(32);
    struct engine *e = NULL;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    CHECK_FAULT(FAULT_EXISTS, engine_create(b.path, other, SLICE_NONE, LIT("[]"), NULL, &e, &why), &why);
    engine_close(&b.e);
    CHECK_FAULT(FAULT_DENIED, engine_open(b.path, other, NULL, &e, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_open("/tmp/fe-engine-none.sqlite", other, NULL, &e, &why), &why);
    CHECK(access("/tmp/fe-engine-none.sqlite", F_OK) != 0);
    CHECK_OK(engine_open(b.path, b.key, NULL, &b.e, &why), &why);
}

static off_t file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    char c;

    if (fd < 0 || pread(fd, &c, 1, at) != 1)
        abort();
    c ^= 0x20;
    if (pwrite(fd, &c, 1, at) != 1)
        abort();
    (void)close(fd);
}

static void read_everything(struct test *t, struct box *b, struct fault *why)
{
    AUTO(engine_fetch_end) struct engine_fetch *f = NULL;
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    struct mailbox_fetched out;
    struct slice piece;

    if (engine_fetch_begin(b->e, box_folder(t, b, "INBOX"), uid_set_make(t->arena, 1, UINT32_MAX), 15, &all, 1, &f, why) < 0)
        return;
    while (engine_fetch_next(f, t->arena, &out, why) > 0)
        do {
            if (engine_fetch_read(f, &piece, why) < 0)
                return;
        } while (piece.n);
}

TEST(engine_open, finds_a_flipped_byte_in_any_page)
{
    AUTO(box_free) struct box b;
    off_t size;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 30; i++) {
        char *big = arena_alloc(t->arena, 20001);
        for (int j = 0; j < 20000; j++)
            big[j] = (char)('a' + random_below(26));
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "x", big), 0) > 0);
    }
    engine_close(&b.e);
    size = file_size(b.path);
    REQUIRE(size % ENGINE_PAGE_BYTES == 0);
    for (off_t page = 0; page < size / ENGINE_PAGE_BYTES; page++) {
        off_t at = page * ENGINE_PAGE_BYTES + (off_t)random_below(ENGINE_PAGE_BYTES);
        struct fault why = { 0 }, verify = { 0 };
        struct slice report;
        struct engine *e = NULL;
        flip(b.path, at);
        if (engine_open(b.path, b.key, NULL, &e, &why) >= 0) {
            struct box other = { .e = e };
            CHECK_ROW(at, engine_verify(e, t->arena, &report, &verify) < 0 && verify.code == FAULT_CORRUPT);
            read_everything(t, &other, &why);
            engine_close(&e);
        }
        CHECK_ROW(at, why.code == FAULT_NONE || why.code == FAULT_CORRUPT || why.code == FAULT_NOT_FOUND ||
                          why.code == FAULT_UNAVAILABLE);
        CHECK_ROW(at, why.code == FAULT_CORRUPT || verify.code == FAULT_CORRUPT);
        flip(b.path, at);
        CHECK_INT(size, file_size(b.path));
    }
    REQUIRE(box_reopen(t, &b));
    CHECK(box_verify(t, &b));
}

TEST(engine_open, tells_a_damaged_salt_from_a_wrong_key)
{
    AUTO(box_free) struct box b;
    struct engine *e = NULL;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    engine_close(&b.e);
    flip(b.path, 3);
    CHECK_FAULT(FAULT_CORRUPT, engine_open(b.path, b.key, NULL, &e, &why), &why);
    flip(b.path, 3);
    flip(b.path, 5000);
    CHECK_FAULT(FAULT_CORRUPT, engine_open(b.path, b.key, NULL, &e, &why), &why);
}

TEST(engine_open, refuses_a_truncated_file)
{
    AUTO(box_free) struct box b;
    static const off_t cuts[] = { 1, 100, ENGINE_PAGE_BYTES, 3 * ENGINE_PAGE_BYTES };
    off_t size;

    REQUIRE(box_new(t, &b));
    engine_close(&b.e);
    size = file_size(b.path);
    for (size_t i = 0; i < COUNT(cuts); i++) {
        struct engine *e = NULL;
        struct fault why = { 0 };
        REQUIRE(truncate(b.path, i + 1 == COUNT(cuts) ? 5 : size - cuts[i]) == 0);
        CHECK_FAULT(FAULT_CORRUPT, engine_open(b.path, b.key, NULL, &e, &why), &why);
        CHECK(access(b.path, F_OK) == 0);
    }
}

/* ---- folders ------------------------------------------------------------------------------------------------ */

TEST(engine_folder, checks_names)
{
    AUTO(box_free) struct box b;
    static const struct { const char *name; enum fault_code want; } row[] = {
        { "a/b/c", FAULT_NONE }, { "a", FAULT_EXISTS }, { "a/b/c", FAULT_EXISTS }, { "x/", FAULT_NONE },
        { "inbox", FAULT_EXISTS }, { "InBox/sub", FAULT_NONE }, { "", FAULT_INVALID }, { "/", FAULT_INVALID },
        { "/a", FAULT_INVALID }, { "a//b", FAULT_INVALID }, { "a\nb", FAULT_INVALID }, { "\xff", FAULT_INVALID },
        { "\xea\xb0\x80", FAULT_NONE }, { "d//", FAULT_INVALID },
    };

    REQUIRE(box_new(t, &b));
    for (size_t i = 0; i < COUNT(row); i++) {
        struct fault why = { 0 };
        (void)!engine_create_folder(b.e, slice_of(row[i].name), SLICE_NONE, &why);
        CHECK_ROW(i, why.code == row[i].want);
    }
    CHECK(box_folder(t, &b, "INBOX/sub") && box_folder(t, &b, "a/b") && box_folder(t, &b, "x"));
    CHECK(box_verify(t, &b));
}

TEST(engine_folder, deletes_renames_and_subscribes)
{
    AUTO(box_free) struct box b;
    struct mailbox_folder f;
    struct fault why = { 0 };
    uint64_t id;
    uint32_t first;

    REQUIRE(box_new(t, &b));
    REQUIRE_OK(engine_create_folder(b.e, LIT("p/q/r"), SLICE_NONE, &why), &why);
    CHECK(box_append(t, &b, "p/q", message_text(t->arena, "s", "b"), 0));
    REQUIRE_OK(engine_get_folder(b.e, LIT("p/q"), t->arena, &f, &why), &why);
    id = f.id;
    first = f.uidvalidity;
    CHECK_OK(engine_rename_folder(b.e, LIT("p"), LIT("z/y"), &why), &why);
    CHECK_INT(id, box_folder(t, &b, "z/y/q"));
    CHECK_INT(0, box_folder(t, &b, "p"));
    CHECK_FAULT(FAULT_EXISTS, engine_rename_folder(b.e, LIT("z"), LIT("Junk"), &why), &why);
    CHECK_FAULT(FAULT_INVALID, engine_rename_folder(b.e, LIT("z"), LIT("z/y/x"), &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_rename_folder(b.e, LIT("nothing"), LIT("n"), &why), &why);

    CHECK_OK(engine_delete_folder(b.e, LIT("z/y"), &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_get_folder(b.e, LIT("z/y"), t->arena, &f, &why), &why);
    CHECK_INT(id, box_folder(t, &b, "z/y/q"));
    CHECK_OK(engine_delete_folder(b.e, LIT("z/y/q"), &why), &why);
    CHECK_OK(engine_create_folder(b.e, LIT("z/y/q"), SLICE_NONE, &why), &why);
    REQUIRE_OK(engine_get_folder(b.e, LIT("z/y/q"), t->arena, &f, &why), &why);
    CHECK(f.id != id && f.uidvalidity > first && f.messages == 0);
    CHECK_FAULT(FAULT_DENIED, engine_delete_folder(b.e, LIT("inbox"), &why), &why);

    CHECK_OK(engine_subscribe(b.e, LIT("ghost"), true, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_get_folder(b.e, LIT("ghost"), t->arena, &f, &why), &why);
    CHECK_OK(engine_create_folder(b.e, LIT("ghost"), SLICE_NONE, &why), &why);
    REQUIRE_OK(engine_get_folder(b.e, LIT("ghost"), t->arena, &f, &why), &why);
    CHECK(f.subscribed);
    CHECK(box_verify(t, &b));
}

TEST(engine_folder, renaming_inbox_moves_its_messages)
{
    AUTO(box_free) struct box b;
    struct mailbox_view v;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    CHECK_OK(engine_rename_folder(b.e, LIT("INBOX"), LIT("old"), &why), &why);
    REQUIRE_OK(engine_select(b.e, LIT("INBOX"), t->arena, &v, &why), &why);
    CHECK_INT(0, v.folder.messages);
    REQUIRE_OK(engine_select(b.e, LIT("old"), t->arena, &v, &why), &why);
    CHECK_INT(1, v.folder.messages);
    CHECK(box_verify(t, &b));
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

TEST(engine_message, stores_flags_and_keywords)
{
    AUTO(box_free) struct box b;
    struct mailbox_stored s;
    struct mailbox_view v;
    struct slice words[] = { LIT("$Work"), LIT("home") }, again[] = { LIT("$WORK") };
    struct fault why = { 0 };
    uint64_t inbox, before;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 5; i++)
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    inbox = box_folder(t, &b, "INBOX");
    REQUIRE_OK(engine_store(b.e, inbox, uids_of(t, "2:3"), STORE_ADD, FLAG_SEEN | FLAG_DELETED, words, 2, UINT64_MAX, t->arena, &s, &why), &why);
    CHECK_INT(2, s.row_count);
    CHECK_INT(2, s.keyword_count);
    CHECK(s.modseq == s.from_modseq + 1 && s.rows[0].modseq == s.modseq && s.rows[1].keywords[0] == 3);
    before = s.modseq;
    REQUIRE_OK(engine_store(b.e, inbox, uids_of(t, "1:5"), STORE_ADD, 0, again, 1, before - 1, t->arena, &s, &why), &why);
    CHECK_SLICE(LIT("2:3"), uid_set_format(s.conflicts, t->arena));
    CHECK_INT(3, s.row_count);
    CHECK(s.keywords == NULL);
    REQUIRE_OK(engine_store(b.e, inbox, uids_of(t, "1"), STORE_ADD, 0, again, 1, UINT64_MAX, t->arena, &s, &why), &why);
    CHECK(s.row_count == 0 && s.modseq == s.from_modseq);
    REQUIRE_OK(engine_select(b.e, LIT("INBOX"), t->arena, &v, &why), &why);
    CHECK(v.folder.unseen == 3 && v.folder.deleted == 2 && v.first_unseen_uid == 1 && v.keyword_count == 2);
    CHECK(box_verify(t, &b));
}

TEST(engine_message, limits_and_reuses_keywords)
{
    AUTO(box_free) struct box b;
    struct mailbox_stored s;
    struct fault why = { 0 };
    uint64_t inbox;

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    inbox = box_folder(t, &b, "INBOX");
    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        struct slice word = arena_printf(t->arena, "word%d", i);
        CHECK_OK(engine_store(b.e, inbox, uids_of(t, "1"), STORE_ADD, 0, &word, 1, UINT64_MAX, t->arena, &s, &why), &why);
    }
    CHECK_FAULT(FAULT_LIMIT, engine_store(b.e, inbox, uids_of(t, "1"), STORE_ADD, 0, (struct slice[]){ LIT("more") }, 1, UINT64_MAX, t->arena, &s, &why), &why);
    CHECK_OK(engine_store(b.e, inbox, uids_of(t, "1"), STORE_REMOVE, 0, (struct slice[]){ LIT("word95") }, 1, UINT64_MAX, t->arena, &s, &why), &why);
    REQUIRE_OK(engine_store(b.e, inbox, uids_of(t, "1"), STORE_ADD, 0, (struct slice[]){ LIT("more") }, 1, UINT64_MAX, t->arena, &s, &why), &why);
    CHECK_SLICE(LIT("more"), s.keywords[95]);
}

TEST(engine_message, copies_moves_and_expunges)
{
    AUTO(box_free) struct box b;
    struct mailbox_copied c;
    struct mailbox_expunged x;
    struct mailbox_stored s;
    struct mailbox_changes ch;
    struct mailbox_usage u;
    struct mailbox_row *rows;
    struct slice word[] = { LIT("todo") };
    struct fault why = { 0 };
    uint64_t inbox, trash;
    size_t count;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 6; i++)
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "same", "body"), i == 1 ? FLAG_SEEN : 0));
    inbox = box_folder(t, &b, "INBOX");
    trash = box_folder(t, &b, "Trash");
    CHECK_OK(engine_store(b.e, inbox, uids_of(t, "2"), STORE_ADD, 0, word, 1, UINT64_MAX, t->arena, &s, &why), &why);
    REQUIRE_OK(engine_copy(b.e, inbox, uids_of(t, "2,4:5"), LIT("Trash"), t->arena, &c, &why), &why);
    CHECK_SLICE(LIT("2,4:5"), uid_set_format(c.from, t->arena));
    CHECK_SLICE(LIT("1:3"), uid_set_format(c.to, t->arena));
    REQUIRE_OK(engine_get_rows(b.e, trash, uids_of(t, "1:*"), t->arena, &rows, &count, &why), &why);
    REQUIRE(count == 3);
    CHECK(rows[0].flags == FLAG_SEEN && rows[0].keywords[0] == 1 && rows[0].modseq == c.modseq);
    REQUIRE_OK(engine_move(b.e, inbox, uids_of(t, "1:3"), LIT("Trash"), t->arena, &c, &why), &why);
    CHECK_SLICE(LIT("4:6"), uid_set_format(c.to, t->arena));
    CHECK_FAULT(FAULT_NOT_FOUND, engine_move(b.e, inbox, uids_of(t, "4"), LIT("nowhere"), t->arena, &c, &why), &why);
    REQUIRE_OK(engine_get_changes(b.e, inbox, c.from_modseq, UID_SET_EMPTY, t->arena, &ch, &why), &why);
    CHECK_SLICE(LIT("1:3"), uid_set_format(ch.vanished, t->arena));
    CHECK_INT(0, ch.row_count);
    CHECK_OK(engine_store(b.e, trash, uids_of(t, "1,3,5"), STORE_SET, FLAG_DELETED, NULL, 0, UINT64_MAX, t->arena, &s, &why), &why);
    REQUIRE_OK(engine_expunge(b.e, trash, uids_of(t, "1:4"), t->arena, &x, &why), &why);
    CHECK_SLICE(LIT("1,3"), uid_set_format(x.uids, t->arena));
    REQUIRE_OK(engine_expunge(b.e, trash, UID_SET_EMPTY, t->arena, &x, &why), &why);
    CHECK_SLICE(LIT("5"), uid_set_format(x.uids, t->arena));
    REQUIRE_OK(engine_get_usage(b.e, &u, &why), &why);
    CHECK_INT(6, u.messages);
    CHECK(box_verify(t, &b));
}

TEST(engine_message, forgets_vanished_uids_without_losing_them)
{
    AUTO(box_free) struct box b;
    AUTO(engine_body_free) struct engine_body *body = NULL;
    struct mailbox_stored s;
    struct mailbox_expunged x;
    struct mailbox_changes ch;
    struct mailbox_appended a;
    struct engine_message *many = ARENA_ARRAY(t->arena, struct engine_message, 10000);
    struct uid_set_builder odd = uid_set_builder_make(t->arena);
    struct fault why = { 0 };
    uint64_t inbox, start;

    REQUIRE(box_new(t, &b));
    inbox = box_folder(t, &b, "INBOX");
    REQUIRE_OK(engine_body_make(b.e, message_text(t->arena, "s", "b"), &body, &why), &why);
    for (uint32_t i = 0; i < 10000; i++) {
        many[i] = (struct engine_message){ .body = body, .flags = i % 2 ? FLAG_DELETED : 0 };
        if (i % 2)
            uid_set_add(&odd, i + 1);
    }
    REQUIRE_OK(engine_append(b.e, LIT("INBOX"), many, 10000, t->arena, &a, &why), &why);
    start = a.modseq;
    REQUIRE_OK(engine_expunge(b.e, inbox, UID_SET_EMPTY, t->arena, &x, &why), &why);
    REQUIRE_OK(engine_store(b.e, inbox, uids_of(t, "1"), STORE_ADD, FLAG_DELETED, NULL, 0, UINT64_MAX, t->arena, &s, &why), &why);
    REQUIRE_OK(engine_expunge(b.e, inbox, UID_SET_EMPTY, t->arena, &x, &why), &why);
    uid_set_add(&odd, 1);
    REQUIRE_OK(engine_get_changes(b.e, inbox, start, UID_SET_EMPTY, t->arena, &ch, &why), &why);
    CHECK(uid_set_equal(ch.vanished, uid_set_finish(&odd)));
    CHECK(box_verify(t, &b));
}

TEST(engine_message, keeps_the_quota)
{
    AUTO(box_free) struct box b;
    AUTO(engine_body_free) struct engine_body *body = NULL;
    struct engine_message m = { 0 };
    struct mailbox_appended a;
    struct mailbox_copied c;
    struct engine_delivered d;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    REQUIRE_OK(engine_body_make(b.e, message_text(t->arena, "s", "b"), &body, &why), &why);
    m.body = body;
    engine_set_quota(b.e, engine_body_size(body) * 2 + 10, 10);
    CHECK_OK(engine_append(b.e, LIT("INBOX"), &m, 1, t->arena, &a, &why), &why);
    CHECK_OK(engine_copy(b.e, box_folder(t, &b, "INBOX"), uids_of(t, "1"), LIT("INBOX"), t->arena, &c, &why), &why);
    CHECK_FAULT(FAULT_QUOTA, engine_append(b.e, LIT("INBOX"), &m, 1, t->arena, &a, &why), &why);
    CHECK_FAULT(FAULT_QUOTA, engine_deliver(b.e, &(struct engine_delivery){ .flags = 0 }, body, &d, &why), &why);
    CHECK_OK(engine_deliver(b.e, &(struct engine_delivery){ .item_id = LIT("item") }, body, &d, &why), &why);
    CHECK(box_verify(t, &b));
}

TEST(engine_message, delivers_once_per_mark_and_item)
{
    AUTO(box_free) struct box b;
    AUTO(engine_body_free) struct engine_body *body = NULL;
    struct engine_delivery d = { .mark = LIT("0123456789abcdef0123456789abcdef"), .folder = LIT("none") };
    struct engine_delivered out;
    struct fault why = { 0 };
    struct slice answer;

    REQUIRE(box_new(t, &b));
    REQUIRE_OK(engine_body_make(b.e, message_text(t->arena, "s", "b"), &body, &why), &why);
    REQUIRE_OK(engine_deliver(b.e, &d, body, &out, &why), &why);
    CHECK(!out.duplicate && out.uid == 1 && out.folder_id == box_folder(t, &b, "INBOX"));
    d.item_id = LIT("item 1");
    REQUIRE_OK(engine_deliver(b.e, &d, body, &out, &why), &why);
    CHECK(out.duplicate);
    d.mark = SLICE_NONE;
    REQUIRE_OK(engine_deliver(b.e, &d, body, &out, &why), &why);
    CHECK(out.duplicate);
    d.item_id = LIT("item 2");
    d.folder = LIT("Junk");
    REQUIRE_OK(engine_deliver(b.e, &d, body, &out, &why), &why);
    CHECK(!out.duplicate && out.folder_id == box_folder(t, &b, "Junk"));

    CHECK_INT(0, engine_op_find(b.e, LIT("0123456789abcdef"), t->arena, &answer, &why));
    CHECK_OK(engine_op_save(b.e, LIT("0123456789abcdef"), LIT("{}"), &why), &why);
    CHECK_INT(1, engine_op_find(b.e, LIT("0123456789abcdef"), t->arena, &answer, &why));
    CHECK_SLICE(LIT("{}"), answer);
    CHECK(box_verify(t, &b));
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static const char parts_message[] =
    "Subject: parts\r\nX-One: 1\r\nx-two: 2\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "preamble\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "caf=C3=A9=\r\n bar\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: inner\r\n\r\ninner body\r\n--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: application/x\r\n\r\n"
    "aGVs\r\nbG8=\r\n--b--\r\n";

TEST(engine_fetch, gives_sections)
{
    AUTO(box_free) struct box b;
    struct slice fields[] = { LIT("subject"), LIT("X-TWO") };
    const struct { struct mailbox_section s; const char *want; } row[] = {
        { { .kind = SECTION_ALL, .length = UINT64_MAX }, parts_message },
        { { .kind = SECTION_ALL, .from = 9, .length = 5 }, "parts" },
        { { .kind = SECTION_ALL, .from = 9000, .length = 5 }, "" },
        { { .kind = SECTION_FIELDS, .fields = fields, .field_count = 2, .length = UINT64_MAX }, "Subject: parts\r\nx-two: 2\r\n\r\n" },
        { { .kind = SECTION_FIELDS, .fields = fields, .field_count = 2, .from = 2, .length = 3 }, "bje" },
        { { .kind = SECTION_FIELDS_NOT, .fields = fields, .field_count = 2, .length = 10 }, "X-One: 1\r\n" },
        { { .kind = SECTION_ALL, .path = { 1 }, .path_len = 1, .length = UINT64_MAX }, "caf=C3=A9=\r\n bar" },
        { { .kind = SECTION_MIME, .path = { 1 }, .path_len = 1, .length = 24 }, "Content-Type: text/plain" },
        { { .kind = SECTION_ALL, .path = { 1 }, .path_len = 1, .decode = true, .length = UINT64_MAX }, "caf\xc3\xa9 bar" },
        { { .kind = SECTION_ALL, .path = { 3 }, .path_len = 1, .decode = true, .length = UINT64_MAX }, "hello" },
        { { .kind = SECTION_ALL, .path = { 3 }, .path_len = 1, .decode = true, .from = 1, .length = 3 }, "ell" },
        { { .kind = SECTION_HEADER, .path = { 2 }, .path_len = 1, .length = UINT64_MAX }, "Subject: inner\r\n\r\n" },
        { { .kind = SECTION_TEXT, .path = { 2 }, .path_len = 1, .length = UINT64_MAX }, "inner body" },
        { { .kind = SECTION_ALL, .path = { 2, 1 }, .path_len = 2, .length = UINT64_MAX }, "inner body" },
        { { .kind = SECTION_ALL, .path = { 4 }, .path_len = 1, .length = UINT64_MAX }, NULL },
    };

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", slice_of(parts_message), 0));
    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_SLICE(i, slice_of(row[i].want), box_read(t, &b, "INBOX", 1, &row[i].s));
}

TEST(engine_fetch, gives_items_of_what_exists)
{
    AUTO(box_free) struct box b;
    AUTO(engine_fetch_end) struct engine_fetch *f = NULL;
    struct mailbox_fetched out;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 3; i++)
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "hi", "b"), 0));
    REQUIRE_OK(engine_fetch_begin(b.e, box_folder(t, &b, "INBOX"), uids_of(t, "2:9"), ITEM_ENVELOPE | ITEM_BODYSTRUCTURE | ITEM_PREVIEW, NULL, 0, &f, &why), &why);
    REQUIRE(engine_fetch_next(f, t->arena, &out, &why) == 1);
    CHECK_INT(2, out.row.uid);
    CHECK(slice_find(out.envelope, LIT("\"hi\"")) > 0 && slice_find_nocase(out.bodystructure, LIT("\"plain\"")) > 0);
    CHECK(slice_has_prefix(out.preview, LIT("b")) && out.body.n == 0);
    REQUIRE(engine_fetch_next(f, t->arena, &out, &why) == 1);
    CHECK_INT(3, out.row.uid);
    CHECK_INT(0, engine_fetch_next(f, t->arena, &out, &why));
}

static struct slice large_message(struct arena *a, size_t attachment)
{
    char *p = arena_alloc(a, attachment + 400);
    size_t n = (size_t)snprintf(p, 400, "Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r\n\r\nhello there\r\n"
                                        "--xx\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    size_t end = n + attachment;

    while (n + 78 < end) {
        for (int i = 0; i < 76; i++)
            p[n++] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random_below(64)];
        p[n++] = '\r';
        p[n++] = '\n';
    }
    n += (size_t)snprintf(p + n, 30, "--xx--\r\n");
    return slice_make(p, n);
}

TEST(engine_fetch, streams_large_bodies)
{
    AUTO(box_free) struct box b;
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    struct mailbox_section second = { .kind = SECTION_ALL, .path = { 2 }, .path_len = 1, .decode = true, .length = UINT64_MAX };
    struct slice m = large_message(t->arena, 3000000), got;
    AUTO(engine_fetch_end) struct engine_fetch *f = NULL;
    struct mailbox_fetched out;
    struct fault why = { 0 };
    uint64_t lines;

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", m, 0));
    REQUIRE(box_reopen(t, &b));
    got = box_read(t, &b, "INBOX", 1, &all);
    CHECK(slice_equal(m, got));
    got = box_read(t, &b, "INBOX", 1, &second);
    CHECK(got.n > 2100000);
    second.from = 1000000;
    second.length = 10;
    CHECK(slice_equal(slice_sub(got, 1000000, 10), box_read(t, &b, "INBOX", 1, &second)));
    /* lines that the parser never saw are counted */
    REQUIRE_OK(engine_fetch_begin(b.e, box_folder(t, &b, "INBOX"), uids_of(t, "1"), ITEM_BODYSTRUCTURE, NULL, 0, &f, &why), &why);
    REQUIRE(engine_fetch_next(f, t->arena, &out, &why) == 1);
    lines = (3000000 - 1) / 78;
    CHECK(slice_find(out.bodystructure, arena_printf(t->arena, " %llu ", (unsigned long long)lines * 78 - 2)) > 0);
    CHECK(box_append(t, &b, "Junk", m, 0));
    CHECK(box_verify(t, &b));
}

TEST(engine_fetch, keeps_every_byte)
{
    static const size_t sizes[] = { 0, 1, 2, 5000, ENGINE_CHUNK_BYTES, ENGINE_INLINE_MAX - 1, ENGINE_INLINE_MAX, ENGINE_INLINE_MAX + 1,
                                    3 * ENGINE_CHUNK_BYTES - 1, 3 * ENGINE_CHUNK_BYTES, 3 * ENGINE_CHUNK_BYTES + 1 };
    static const char *const odd[] = { "\n", "\r\n\r\n", "a\nb\rc\r\n", ":\n \n\n", "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n", "X: \xff\xfe\r\n\r\n\x80" };
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    AUTO(box_free) struct box b;
    uint32_t uid;

    REQUIRE(box_new(t, &b));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *p = arena_alloc(t->arena, sizes[i] + 1);
        random_bytes(p, i % 2 ? sizes[i] : sizes[i] / 2);
        uid = box_append(t, &b, "INBOX", slice_make(p, sizes[i]), 0);
        CHECK_ROW(i, slice_equal(slice_make(p, sizes[i]), box_read(t, &b, "INBOX", uid, &all)));
    }
    for (size_t i = 0; i < COUNT(odd); i++) {
        uid = box_append(t, &b, "INBOX", slice_of(odd[i]), 0);
        CHECK_ROW_SLICE(i, slice_of(odd[i]), box_read(t, &b, "INBOX", uid, &all));
    }
    CHECK(box_verify(t, &b));
}

TEST(engine_fetch, sweeps_what_nobody_holds)
{
    AUTO(box_free) struct box b;
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    AUTO(engine_fetch_end) struct engine_fetch *f = NULL;
    struct mailbox_fetched out;
    struct mailbox_expunged x;
    struct fault why = { 0 };
    struct slice piece;
    int64_t rows = 0;
    size_t got = 0;

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", large_message(t->arena, 600000), FLAG_DELETED));
    REQUIRE_OK(engine_fetch_begin(b.e, box_folder(t, &b, "INBOX"), uids_of(t, "1"), 0, &all, 1, &f, &why), &why);
    REQUIRE(engine_fetch_next(f, t->arena, &out, &why) == 1);
    REQUIRE_OK(engine_expunge(b.e, box_folder(t, &b, "INBOX"), UID_SET_EMPTY, t->arena, &x, &why), &why);
    REQUIRE_OK(db_run(b.e, &why, "UPDATE bodies SET died=1"), &why);
    CHECK_OK(engine_tidy(b.e, 100, &why), &why);
    do {
        REQUIRE_OK(engine_fetch_read(f, &piece, &why), &why);
        got += piece.n;
    } while (piece.n);
    CHECK_INT(out.row.size, got);
    engine_fetch_end(&f);
    CHECK_OK(engine_tidy(b.e, 100, &why), &why);
    CHECK_INT(1, db_get(b.e, &rows, &why, "SELECT (SELECT count(*) FROM bodies)+(SELECT count(*) FROM chunks)"));
    CHECK_INT(0, rows);
    CHECK(box_verify(t, &b));
}
