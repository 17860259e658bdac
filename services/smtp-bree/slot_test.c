/* slot_test.c - a runner that starts again is who it was; two at once are two. */
#include "base/test.h"
#include "bree.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void child_takes(const char *uri, int answer)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct slice id;
    struct fault why;

    if (slot_take(slice_of(uri), "", in, &id, &why) != 1 || write(answer, id.p, id.n) != (ssize_t)id.n)
        _exit(1);
    pause();                           /* holds it until it is killed */
    _exit(0);
}

TEST(slot, belongs_to_a_process_as_long_as_it_lives)
{
    char folder[] = "/tmp/slot-test-XXXXXX", first[64] = "";
    const char *uri;
    struct slice other, same;
    struct fault why;
    int ends[2];
    pid_t pid;

    REQUIRE(mkdtemp(folder) != NULL && pipe(ends) == 0);
    uri = arena_cstr(t->arena, arena_printf(t->arena, "embedded:%s/store.sqlite", folder));
    pid = fork();
    if (pid == 0)
        child_takes(uri, ends[1]);
    REQUIRE(read(ends[0], first, sizeof(first) - 1) == 16);
    REQUIRE(slot_take(slice_of(uri), "", t->arena, &other, &why) == 1);
    CHECK(!slice_equal(other, slice_of(first)));
    REQUIRE(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    REQUIRE(slot_take(slice_of(uri), "", t->arena, &same, &why) == 1);
    CHECK_STR(first, same);
    CHECK_INT(0, slot_take(LIT("mongodb://127.0.0.1/x"), "", t->arena, &other, &why));
    REQUIRE(slot_take(LIT("mongodb://127.0.0.1/x"), folder, t->arena, &other, &why) == 1);
    CHECK(other.n == 16 + 1 + 8);      /* with the boot's id */
    CHECK_INT(-1, slot_take(LIT("mongodb://127.0.0.1/x"), "/nowhere", t->arena, &other, &why));
}
