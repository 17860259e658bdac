/* engine_fault_test.c - disks that fail, processes that die: what was acknowledged is there, what failed is not, the file opens. */
#include "mailbox/engine_test_util.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint32_t count_messages(struct test *t, struct box *b)
{
    struct mailbox_folder f = { 0 };
    struct fault why = { 0 };

    CHECK_OK(engine_get_folder(b->e, LIT("INBOX"), t->arena, &f, &why), &why);
    return f.messages;
}

/* One group of three appends under a disk that begins to fail at its n-th operation. */
static int append_group(struct test *t, struct box *b, enum fault_kind kind, unsigned n, struct fault *why)
{
    AUTO(engine_body_free) struct engine_body *body = NULL;
    struct engine_message m = { 0 };
    struct mailbox_appended a;
    int r;

    if (engine_body_make(b->e, message_text(t->arena, "group", "body"), &body, why) < 0)
        return -1;
    m.body = body;
    fault_vfs_arm(kind, n);
    r = engine_begin(b->e, why);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = engine_append(b->e, LIT("INBOX"), &m, 1, t->arena, &a, why);
    if (r >= 0)
        r = engine_commit(b->e, why);
    fault_vfs_arm(FAULT_NOTHING, 0);
    if (r < 0)
        engine_abort(b->e);
    return r;
}

TEST(engine_fault, a_failed_commit_leaves_nothing_and_needs_reopening)
{
    static const struct { enum fault_kind kind; enum fault_code want; } row[] = {
        { FAULT_SYNC, FAULT_IO }, { FAULT_WRITE, FAULT_IO }, { FAULT_FULL, FAULT_DISK_FULL }, { FAULT_SHORT_WRITE, FAULT_IO } };
    AUTO(box_free) struct box b;

    REQUIRE(box_new(t, &b));
    for (size_t i = 0; i < COUNT(row); i++) {
        unsigned failed = 0;
        for (unsigned n = 1; n < 60; n++) {
            struct fault why = { 0 };
            uint32_t before = count_messages(t, &b);
            if (append_group(t, &b, row[i].kind, n, &why) >= 0) {
                CHECK_INT(before + 3, count_messages(t, &b));
                break;
            }
            failed++;
            CHECK_ROW(i, why.code == row[i].want);
            CHECK_FAULT(FAULT_UNAVAILABLE, engine_begin(b.e, &why), &why);
            REQUIRE(box_reopen(t, &b));
            CHECK_INT(before, count_messages(t, &b));
        }
        CHECK_ROW(i, failed > 0);
    }
    CHECK(box_verify(t, &b));
}

TEST(engine_fault, reads_go_on_and_writes_wait_until_it_has_recovered)
{
    static const struct { enum fault_kind kind; enum fault_code want; } row[] = {
        { FAULT_SYNC, FAULT_IO }, { FAULT_WRITE, FAULT_IO }, { FAULT_FULL, FAULT_DISK_FULL }, { FAULT_SHORT_WRITE, FAULT_IO } };
    AUTO(box_free) struct box b;

    REQUIRE(box_new(t, &b));
    for (size_t i = 0; i < COUNT(row); i++) {
        unsigned failed = 0;
        for (unsigned n = 1; n < 60; n++) {
            struct fault why = { 0 };
            uint32_t before = count_messages(t, &b);
            if (append_group(t, &b, row[i].kind, n, &why) >= 0)
                break;
            failed++;
            CHECK_INT(before, count_messages(t, &b));
            if (engine_begin(b.e, &why) >= 0) {        /* it failed before there was anything to commit */
                engine_abort(b.e);
                continue;
            }
            fault_vfs_arm(row[i].kind, 1);
            CHECK_ROW(i, engine_recover(b.e, &why) < 0 && why.code == row[i].want);
            CHECK_INT(before, count_messages(t, &b));
            CHECK_FAULT(FAULT_UNAVAILABLE, engine_begin(b.e, &why), &why);
            fault_vfs_arm(FAULT_NOTHING, 0);
            REQUIRE_OK(engine_recover(b.e, &why), &why);
            CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "after", "body"), 0));
            CHECK_INT(before + 1, count_messages(t, &b));
        }
        CHECK_ROW(i, failed > 0);
    }
    CHECK(box_verify(t, &b));
}

/* The process dies before it has recovered: what the failed commit left must not be taken for something that was acknowledged by
 * anybody, and what was acknowledged is there.                                                                                  */
TEST(engine_fault, a_log_left_behind_is_settled_at_the_next_open)
{
    const struct engine_options alone = { .mode = ENGINE_WRITE, .alone = true };
    AUTO(box_free) struct box b;
    struct fault why = { 0 };
    char wal[160], kept[160], command[400];

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "acknowledged", "body"), 0));
    (void)snprintf(wal, sizeof(wal), "%s-wal", b.path);
    (void)snprintf(kept, sizeof(kept), "%s-kept", b.path);
    (void)snprintf(command, sizeof(command), "cp %s %s", wal, kept);
    REQUIRE(system(command) == 0);     /* the log as a killed process leaves it */
    engine_close(&b.e);
    REQUIRE(rename(kept, wal) == 0);
    REQUIRE_OK(engine_open(b.path, b.key, &alone, &b.e, &why), &why);
    CHECK_INT(1, count_messages(t, &b));
    (void)snprintf(command, sizeof(command), "%s-shm", b.path);
    CHECK(access(command, F_OK) != 0);
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "more", "body"), 0));
    CHECK(box_verify(t, &b));
}

/* Ten appends in the log of a killed process; one byte of frame `at_frame` changes. What is there after the next open. */
static uint32_t flip_and_open(struct test *t, struct box *b, long from_end, bool *noticed)
{
    const struct engine_options alone = { .mode = ENGINE_WRITE, .alone = true };
    char wal[160], command[700];
    struct fault why = { 0 };
    struct stat st;
    FILE *f;
    int byte;

    (void)snprintf(wal, sizeof(wal), "%s-wal", b->path);
    for (int i = 0; i < 10; i++)
        CHECK(box_append(t, b, "INBOX", message_text(t->arena, "s", "body"), 0));
    (void)snprintf(command, sizeof(command), "cp %s %s-kept && cp %s %s-kept", wal, wal, b->path, b->path);
    if (system(command) != 0)
        return 0;
    engine_close(&b->e);
    (void)snprintf(command, sizeof(command), "mv %s-kept %s && mv %s-kept %s", wal, wal, b->path, b->path);
    if (system(command) != 0 || stat(wal, &st) < 0)
        return 0;
    f = fopen(wal, "r+b");
    if (f == NULL)
        return 0;
    if (from_end > 0) {
        (void)fseek(f, (long)st.st_size - from_end, SEEK_SET);
        byte = fgetc(f);
        (void)fseek(f, (long)st.st_size - from_end, SEEK_SET);
        (void)fputc(byte ^ 1, f);
    }
    (void)fclose(f);
    CHECK_OK(engine_open(b->path, b->key, &alone, &b->e, &why), &why);
    *noticed = b->e != NULL && engine_log_was_damaged(b->e);
    return b->e != NULL ? count_messages(t, b) : 0;
}

TEST(engine_fault, a_log_that_changed_on_the_disk_is_noticed)
{
    AUTO(box_free) struct box b;
    struct mailbox_folder before = { 0 }, after = { 0 };
    struct fault why = { 0 };
    char kept[200];
    bool noticed = true;

    REQUIRE(box_new(t, &b));
    CHECK_INT(10, flip_and_open(t, &b, 0, &noticed));
    CHECK(!noticed);
    REQUIRE_OK(engine_get_folder(b.e, LIT("INBOX"), t->arena, &before, &why), &why);
    CHECK(flip_and_open(t, &b, 12L * ENGINE_PAGE_BYTES, &noticed) < 20);
    CHECK(noticed);
    REQUIRE_OK(engine_get_folder(b.e, LIT("INBOX"), t->arena, &after, &why), &why);
    CHECK(after.uidvalidity > before.uidvalidity);
    (void)snprintf(kept, sizeof(kept), "%s-wal-damaged", b.path);
    CHECK(access(kept, F_OK) == 0);
    CHECK(box_verify(t, &b));
    /* in the last transaction it looks like one that was never finished */
    (void)flip_and_open(t, &b, 100, &noticed);
    CHECK(!noticed);
    CHECK(box_verify(t, &b));
}

/* ---- killed ---------------------------------------------------------------------------------------------- */

static void child_appends(struct test *t, const char *path, struct secret *key, int acknowledge, unsigned kill_at)
{
    struct box b = { .key = key };
    struct fault why = { 0 };

    fault_vfs_arm(FAULT_NOTHING, 0);
    if (engine_open(path, key, &(struct engine_options){ .vfs = FAULT_VFS }, &b.e, &why) < 0)
        _exit(3);
    fault_vfs_arm(FAULT_KILL, kill_at);
    for (unsigned char i = 0; i < 100; i++) {
        if (box_append(t, &b, "INBOX", message_text(t->arena, "crash", "body"), 0) == 0 || write(acknowledge, &i, 1) != 1)
            _exit(4);
    }
    _exit(0);
}

TEST(engine_fault, what_was_acknowledged_survives_a_kill)
{
    AUTO(box_free) struct box b;
    uint32_t there = 0;

    REQUIRE(box_new(t, &b));
    for (unsigned round = 0; round < 15; round++) {
        char got[128];
        int ends[2], status;
        uint32_t acknowledged = 0;
        ssize_t n;
        pid_t pid;
        engine_close(&b.e);
        REQUIRE(pipe(ends) == 0);
        pid = fork();
        if (pid == 0)
            child_appends(t, b.path, b.key, ends[1], 5 + (unsigned)random_below(300));
        (void)close(ends[1]);
        while ((n = read(ends[0], got, sizeof(got))) > 0)
            acknowledged += (uint32_t)n;
        (void)close(ends[0]);
        REQUIRE(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        REQUIRE(box_reopen(t, &b));
        /* the one that was being acknowledged may be there too */
        CHECK(count_messages(t, &b) == there + acknowledged || count_messages(t, &b) == there + acknowledged + 1);
        there = count_messages(t, &b);
    }
    CHECK(box_verify(t, &b));
}

/* ---- rekey --------------------------------------------------------------------------------------------------- */

TEST(engine_rekey, replaces_the_key)
{
    AUTO(box_free) struct box b;
    AUTO(secret_unref) struct secret *next = secret_random(32);
    struct engine *other = NULL;
    struct slice public_key;
    struct fault why = { 0 };

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    REQUIRE_OK(engine_rekey(&b.e, next, LIT("another public key"), &why), &why);
    CHECK_INT(1, count_messages(t, &b));
    CHECK_OK(engine_get_public_key(b.e, t->arena, &public_key, &why), &why);
    CHECK_SLICE(LIT("another public key"), public_key);
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "c"), 0));
    CHECK(box_verify(t, &b));
    engine_close(&b.e);
    CHECK_FAULT(FAULT_DENIED, engine_open(b.path, b.key, NULL, &other, &why), &why);
    CHECK_OK(engine_open(b.path, next, NULL, &b.e, &why), &why);
}

static int steps_left;

static void die_at_step(const char *step)
{
    (void)step;
    if (--steps_left == 0)
        (void)kill(getpid(), SIGKILL);
}

static void child_rekeys(const char *path, struct secret *old, struct secret *next, int step, unsigned kill_at)
{
    struct engine *e = NULL;
    struct fault why = { 0 };

    fault_vfs_arm(FAULT_NOTHING, 0);
    if (engine_open(path, old, &(struct engine_options){ .vfs = FAULT_VFS }, &e, &why) < 0)
        _exit(3);
    steps_left = step;
    engine_step_hook = step ? die_at_step : NULL;
    if (kill_at)
        fault_vfs_arm(FAULT_KILL, kill_at);
    if (engine_rekey(&e, next, SLICE_NONE, &why) < 0)
        _exit(4);
    engine_close(&e);
    _exit(0);
}

/* Kills at the named steps first, then at every k-th disk operation, until a child comes through. */
static bool kill_one(struct test *t, struct box *b, struct secret **current, int step, unsigned kill_at, bool *done)
{
    AUTO(secret_unref) struct secret *next = secret_random(32);
    struct fault why = { 0 }, second = { 0 };
    int status;
    pid_t pid;

    engine_close(&b->e);
    pid = fork();
    if (pid == 0)
        child_rekeys(b->path, *current, next, step, kill_at);
    if (waitpid(pid, &status, 0) != pid)
        return false;
    *done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (engine_open(b->path, *current, NULL, &b->e, &why) < 0) {
        if (engine_open(b->path, next, NULL, &b->e, &second) < 0) {
            test_fail(t, __FILE__, __LINE__, "neither key opens: %s; %s", why.text, second.text);
            return false;
        }
        secret_unref(current);
        *current = secret_ref(next);
    }
    CHECK_INT(20, count_messages(t, b));
    return box_verify(t, b);
}

TEST(engine_rekey, killed_anywhere_leaves_one_key_that_opens)
{
    AUTO(box_free) struct box b;
    char leftover[128];
    bool done = false;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 20; i++)
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "rekey"), 0));
    for (int step = 1; step < 10 && !done; step++)
        REQUIRE(kill_one(t, &b, &b.key, step, 0, &done));
    CHECK(done);
    done = false;
    for (unsigned n = 1; n < 400 && !done; n += 1 + (unsigned)random_below(6))
        REQUIRE(kill_one(t, &b, &b.key, 0, n, &done));
    CHECK(done);
    (void)snprintf(leftover, sizeof(leftover), "%s.rekey", b.path);
    CHECK(access(leftover, F_OK) != 0);
}

TEST(engine_rekey, failing_disk_keeps_the_old_key)
{
    AUTO(box_free) struct box b;

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    for (unsigned n = 1; n < 100; n += 3) {
        AUTO(secret_unref) struct secret *next = secret_random(32);
        struct fault why = { 0 };
        int r;
        fault_vfs_arm(FAULT_FULL, n);
        r = engine_rekey(&b.e, next, SLICE_NONE, &why);
        fault_vfs_arm(FAULT_NOTHING, 0);
        if (r >= 0)
            break;
        REQUIRE(box_reopen(t, &b));
        CHECK_INT(1, count_messages(t, &b));
    }
    CHECK(b.e != NULL);
}

TEST(engine_rekey, snapshots)
{
    AUTO(box_free) struct box b;
    struct engine *copy = NULL;
    struct mailbox_folder before, after;
    struct fault why = { 0 };
    struct slice report;
    char to[128];

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", "b"), 0));
    (void)snprintf(to, sizeof(to), "%s/copy.sqlite", b.folder);
    REQUIRE_OK(engine_snapshot(b.e, to, &why), &why);
    CHECK_FAULT(FAULT_EXISTS, engine_snapshot(b.e, to, &why), &why);
    REQUIRE_OK(engine_open(to, b.key, NULL, &copy, &why), &why);
    CHECK_OK(engine_verify(copy, t->arena, &report, &why), &why);
    REQUIRE_OK(engine_get_folder(copy, LIT("INBOX"), t->arena, &before, &why), &why);
    CHECK_OK(engine_restored(copy, &why), &why);
    REQUIRE_OK(engine_get_folder(copy, LIT("INBOX"), t->arena, &after, &why), &why);
    CHECK(after.uidvalidity > before.uidvalidity && after.messages == 1);
    CHECK_OK(engine_verify(copy, t->arena, &report, &why), &why);
    engine_close(&copy);
}
