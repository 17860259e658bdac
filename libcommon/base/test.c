/* test.c - the list of tests and what a failure prints; main() stands in test_main.c.
 *
 * Owns the list. Called by test programs. Does not suspend.
 */
#include "base/test_internal.h"

#include <stdarg.h>

static struct test *first, **last = &first;

void test_register(struct test *t)
{
    *last = t;
    last = &t->next;
}

struct test *test_first(void)
{
    return first;
}

struct slice test_slice_self(struct slice s)
{
    return s;
}

void test_fail(struct test *t, const char *file, int line, const char *format, ...)
{
    va_list ap;

    t->failures++;
    if (t->failures > 20)              /* a broken loop must not bury the first message */
        return;
    printf("%s:%d: %s.%s: ", file, line, t->suite, t->name);
    va_start(ap, format);
    (void)vprintf(format, ap);
    va_end(ap);
    printf("\n");
}
