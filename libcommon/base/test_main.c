/* test_main.c - runs the registered tests: all, or those named on the command line.
 *
 * Linked into test programs only (cmake/fe.cmake). Exit status 1 when a test failed or none ran. Does not suspend.
 */
#include "base/test_internal.h"
#include "base/time.h"

static bool is_wanted(const struct test *t, int argc, char **argv)
{
    char name[160];

    (void)snprintf(name, sizeof(name), "%s.%s", t->suite, t->name);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], t->suite) == 0 || strstr(name, argv[i]) == name)
            return true;
    return argc < 2;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *t = test_first(); t != NULL; t = t->next) {
        if (!is_wanted(t, argc, argv))
            continue;
        t->arena = arena_new(0);
        t->run(t);
        clock_real();
        arena_free(&t->arena);
        if (t->failures == 0)
            passed++;
        else {
            printf("FAILED %s.%s\n", t->suite, t->name);
            failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
