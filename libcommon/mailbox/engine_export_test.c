/* engine_export_test.c - mboxrd and Maildir++, and a second handle that only reads. */
#include "mailbox/engine_test_util.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct slice file_text(struct arena *a, const char *path)
{
    int fd = open(path, O_RDONLY);
    char *text = arena_alloc(a, 100000);
    ssize_t n = fd >= 0 ? read(fd, text, 99999) : -1;

    if (fd >= 0)
        (void)close(fd);
    return n < 0 ? SLICE_NONE : slice_make(text, (size_t)n);
}

TEST(engine_export, writes_mboxrd)
{
    AUTO(box_free) struct box b;
    struct fault why = { 0 };
    char path[128];
    int fd;

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", LIT("Subject: a\r\n\r\nFrom here\r\n>From there\r\nno end"), FLAG_SEEN | FLAG_ANSWERED));
    CHECK(box_append(t, &b, "Junk", LIT("Subject: junk\n\nx\n"), 0));
    (void)snprintf(path, sizeof(path), "%s/out.mbox", b.folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    CHECK_OK(engine_export_mbox(b.e, 0, fd, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_export_mbox(b.e, 99, fd, &why), &why);
    (void)close(fd);
    CHECK_STR("From MAILER-DAEMON Tue Nov 14 22:13:20 2023\nSubject: a\nStatus: RO\nX-Status: A\n\n>From here\n>>From there\nno end\n\n"
              "From MAILER-DAEMON Tue Nov 14 22:13:20 2023\nSubject: junk\nStatus: O\nX-Status: \n\nx\n\n",
              arena_cstr(t->arena, file_text(t->arena, path)));
}

TEST(engine_export, writes_maildir)
{
    AUTO(box_free) struct box b;
    struct slice raw = LIT("Subject: a\r\n\r\nbody\r\n");
    struct fault why = { 0 };
    char path[100], name[300];

    REQUIRE(box_new(t, &b));
    CHECK_OK(engine_create_folder(b.e, LIT("A/b.c"), SLICE_NONE, &why), &why);
    CHECK(box_append(t, &b, "INBOX", raw, FLAG_SEEN | FLAG_FLAGGED));
    CHECK(box_append(t, &b, "A/b.c", raw, 0));
    (void)snprintf(path, sizeof(path), "%s/md", b.folder);
    REQUIRE_OK(engine_export_maildir(b.e, path, &why), &why);
    CHECK_FAULT(FAULT_EXISTS, engine_export_maildir(b.e, path, &why), &why);
    (void)snprintf(name, sizeof(name), "%s/cur/1700000000.1.export,S=%zu:2,FS", path, raw.n);
    CHECK_SLICE(raw, file_text(t->arena, name));
    (void)snprintf(name, sizeof(name), "%s/.A.b_c/cur/1700000000.1.export,S=%zu:2,", path, raw.n);
    CHECK_SLICE(raw, file_text(t->arena, name));
}

TEST(engine_reader, sees_commits_of_the_writer)
{
    AUTO(box_free) struct box b;
    struct engine *reader = NULL;
    struct mailbox_view v;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    REQUIRE_OK(engine_open(b.path, b.key, &(struct engine_options){ .mode = ENGINE_READ, .vfs = FAULT_VFS }, &reader, &why), &why);
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    CHECK_OK(engine_select(reader, LIT("INBOX"), t->arena, &v, &why), &why);
    CHECK_INT(1, v.folder.messages);
    REQUIRE_OK(engine_begin(b.e, &why), &why);
    CHECK(engine_create_folder(b.e, LIT("new"), SLICE_NONE, &why) >= 0);
    CHECK_FAULT(FAULT_NOT_FOUND, engine_select(reader, LIT("new"), t->arena, &v, &why), &why);
    REQUIRE_OK(engine_commit(b.e, &why), &why);
    CHECK_OK(engine_select(reader, LIT("new"), t->arena, &v, &why), &why);
    engine_close(&reader);
}

TEST(engine_body, is_staged_and_swept)
{
    AUTO(box_free) struct box b;
    struct engine_body *body = NULL;
    struct slice piece = slice_make(arena_alloc(t->arena, 100000), 100000);
    struct engine_message m = { 0 };
    struct mailbox_appended a;
    struct fault why = { 0 };
    int64_t n = 0;
    int r = 0;

    REQUIRE(box_new(t, &b));
    CHECK_FAULT(FAULT_LIMIT, engine_body_new(ENGINE_MESSAGE_MAX + 1, &body, &why), &why);
    REQUIRE_OK(engine_body_new(1000000, &body, &why), &why);
    for (int i = 0; i < 10 && r >= 0; i++) {
        r = engine_body_write(body, piece, &why);
        if (r > 0)
            r = engine_body_stage(b.e, body, &why);
    }
    CHECK_OK(r, &why);
    CHECK_FAULT(FAULT_LIMIT, engine_body_write(body, LIT("x"), &why), &why);
    CHECK(db_get(b.e, &n, &why, "SELECT count(*) FROM chunks") == 1 && n > 5);
    CHECK_OK(engine_tidy(b.e, 10, &why), &why);
    /* a reopened mailbox has forgotten it, and says so */
    REQUIRE(box_reopen(t, &b));
    CHECK(engine_body_finish(body, &why) >= 0);
    m.body = body;
    CHECK_FAULT(FAULT_UNAVAILABLE, engine_append(b.e, LIT("INBOX"), &m, 1, t->arena, &a, &why), &why);
    REQUIRE_OK(db_run(b.e, &why, "UPDATE bodies SET died=died-70000 WHERE refs=0"), &why);
    CHECK_OK(engine_tidy(b.e, 10, &why), &why);
    CHECK(db_get(b.e, &n, &why, "SELECT count(*) FROM chunks ") == 1 && n == 0);
    engine_body_free(&body);
    CHECK(box_verify(t, &b));
}
