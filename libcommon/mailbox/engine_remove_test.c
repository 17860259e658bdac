/* engine_remove_test.c - removing a mailbox: killed at any step it is either whole or gone, and the next one starts clean. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailbox/engine_test_util.h"

static int steps_left;

static void die_at_step(UNUSED const char *step)
{
    if (--steps_left == 0)
        (void)kill(getpid(), SIGKILL);
}

static bool exists(const struct box *b, const char *suffix)
{
    char name[160];

    (void)snprintf(name, sizeof(name), "%s%s", b->path, suffix);
    return access(name, F_OK) == 0;
}

/* A mailbox whose newest mail is only in its log, as a killed server leaves it. */
static void leave_open(const struct box *b)
{
    struct fault why;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct engine *e = NULL;

        if (engine_open(b->path, b->key, NULL, &e, &why) < 0 || engine_create_folder(e, LIT("Newest"), SLICE_NONE, &why) < 0)
            _exit(3);
        (void)kill(getpid(), SIGKILL);
    }
    if (waitpid(pid, &status, 0) != pid)
        abort();
}

static void remove_killed_at(const char *path, int step)
{
    pid_t pid = fork();
    struct fault why;
    int status;

    if (pid == 0) {
        steps_left = step;
        engine_step_hook = die_at_step;
        _exit(engine_remove_begin(path, &why) < 0 || engine_remove_end(path, &why) < 0);
    }
    if (waitpid(pid, &status, 0) != pid)
        abort();
}

TEST(engine_remove, killed_anywhere_is_whole_or_gone)
{
    for (int step = 1; step <= 4; step++) {
        AUTO(box_free) struct box b;
        struct mailbox_folder folder;
        struct fault why;

        REQUIRE(box_new(t, &b));
        engine_close(&b.e);
        leave_open(&b);
        CHECK_ROW(step, exists(&b, "-wal"));
        remove_killed_at(b.path, step);
        CHECK_ROW(step, !exists(&b, ""));      /* the first step is behind the rename */
        CHECK_ROW(step, engine_remove_is_begun(b.path) == (step < 4));
        CHECK_FAULT(FAULT_NOT_FOUND, engine_open(b.path, b.key, NULL, &b.e, &why), &why);
        REQUIRE_OK(engine_remove_begin(b.path, &why), &why);
        REQUIRE_OK(engine_remove_end(b.path, &why), &why);
        CHECK_ROW(step, !exists(&b, "-wal") && !exists(&b, "-shm") && !exists(&b, ENGINE_TOMBSTONE));
        REQUIRE_OK(engine_create(b.path, b.key, LIT("0123456789abcdef0123456789abcdef"), LIT("[]"), NULL, &b.e, &why), &why);
        CHECK_FAULT(FAULT_NOT_FOUND, engine_get_folder(b.e, LIT("Newest"), t->arena, &folder, &why), &why);
    }
}

TEST(engine_remove, a_log_left_behind_never_meets_a_new_mailbox)
{
    AUTO(box_free) struct box b;
    struct fault why;

    REQUIRE(box_new(t, &b));
    engine_close(&b.e);
    leave_open(&b);
    REQUIRE(unlink(b.path) == 0);              /* by somebody's hand */
    CHECK_FAULT(FAULT_EXISTS, engine_create(b.path, b.key, LIT("0123456789abcdef0123456789abcdef"), LIT("[]"), NULL, &b.e, &why), &why);
    REQUIRE_OK(engine_remove_begin(b.path, &why), &why);
    REQUIRE_OK(engine_remove_end(b.path, &why), &why);
    REQUIRE_OK(engine_create(b.path, b.key, LIT("0123456789abcdef0123456789abcdef"), LIT("[]"), NULL, &b.e, &why), &why);
}
