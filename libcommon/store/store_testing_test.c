/* store_testing_test.c - see store_testing.h. */
#include "store/store_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <unistd.h>
#include "rt/loop.h"

extern char **environ;

static struct {
    char folder[64];
    char database[32];
} place;

static int remove_entry(const char *path, UNUSED const struct stat *st, UNUSED int type,
                        UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void remove_folder(void)
{
    if (place.folder[0] != '\0')
        (void)nftw(place.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

bool scene_is_embedded(void)
{
    return getenv("FE_TEST_STORE_URI") == NULL;
}

void scene_fresh(void)
{
    const char *given = getenv("FE_TEST_PLACE"); /* in a child: the parent's */
    static bool once;

    if (given != NULL) {
        (void)snprintf(place.folder, sizeof(place.folder), "%s", given);
        (void)snprintf(place.database, sizeof(place.database), "%s", getenv("FE_TEST_DATABASE"));
        return;
    }
    remove_folder();
    (void)snprintf(place.folder, sizeof(place.folder), "/tmp/fe-store-test.XXXXXX");
    if (mkdtemp(place.folder) == NULL)
        abort();
    (void)snprintf(place.database, sizeof(place.database), "t%s", object_id_new().s);
    if (!once)
        (void)atexit(remove_folder);
    once = true;
}

static struct slice in_folder(struct arena *in, const char *name)
{
    return arena_printf(in, "%s/%s", place.folder, name);
}

const char *scene_path(void)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/store.sqlite", place.folder);
    return path;
}

static void run_body(void *arg)
{
    void **pair = arg;
    struct scene *s = pair[0];
    void (*body)(struct scene *) = *(void (**)(struct scene *))pair[1];
    struct store_options options = {
        .uri = scene_is_embedded()
                   ? arena_printf(s->in, "embedded:%s", scene_path()).p
                   : arena_printf(s->in, "%s/%s", getenv("FE_TEST_STORE_URI"), place.database).p,
        .key_file = in_folder(s->in, "key").p,
    };
    struct test *t = s->t;
    struct fault why;

    REQUIRE_OK(store_open(&options, &s->st, &why), &why);
    body(s);
    store_close(&s->st);
}

void scene_run(struct test *t, void (*body)(struct scene *s), void *arg)
{
    struct scene s = {.t = t, .in = t->arena, .arg = arg};
    void *pair[2] = {&s, &body};

    if (place.folder[0] == '\0')
        scene_fresh();
    loop_run_fiber(run_body, pair);
}

int scene_spawn(const char *name, int *out)
{
    char program[] = "store_test", only[] = "store_child";
    char *args[] = {program, only, NULL};
    posix_spawn_file_actions_t actions;
    int pipes[2];
    pid_t pid = -1;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -1;
    (void)setenv("FE_TEST_CHILD", name, 1);
    (void)setenv("FE_TEST_PLACE", place.folder, 1);
    (void)setenv("FE_TEST_DATABASE", place.database, 1);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipes[1], 3);
    if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, args, environ) != 0)
        pid = -1;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)unsetenv("FE_TEST_CHILD");
    (void)unsetenv("FE_TEST_PLACE");
    (void)close(pipes[1]);
    *out = pipes[0];
    return (int)pid;
}

size_t scene_read_ids(int fd, char (*ids)[25], size_t max)
{
    size_t n = 0, have = 0;
    ssize_t r;

    while (n < max && (r = read(fd, ids[n] + have, 25 - have)) != 0) {
        if (r < 0 && errno != EINTR)
            break;
        have += r > 0 ? (size_t)r : 0;
        if (have == 25) {
            ids[n++][24] = '\0';
            have = 0;
        }
    }
    return n;
}
