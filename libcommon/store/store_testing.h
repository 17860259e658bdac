/* store_testing.h - for the *_test.c here: a store to test, on whatever engine is asked for, and
 * processes that share it.
 *
 * Without FE_TEST_STORE_URI the tests run on the embedded engine in a temporary folder; with it
 * (tests/store/mongo.sh) on that server, in a database of their own. One conformance test, two
 * engines.
 */
#pragma once

#include "base/test.h"
#include "rt/fiber.h"
#include "store/models.h"

struct scene {
    struct test *t;
    struct store *st;
    struct arena *in;
    void *arg;
};

/* Opens the store, runs body on a fiber, closes it. The same database for the whole of a test. */
void scene_run(struct test *t, void (*body)(struct scene *s), void *arg);
void scene_fresh(void); /* another, empty database from now on */
bool scene_is_embedded(void);
const char *scene_path(void); /* of the embedded file */

/* Starts this program again to run child `name` on the same database; *out reads what it prints. */
int scene_spawn(const char *name, int *out);
/* Lines of `fd` until its end or `max`; each 24 digits. */
size_t scene_read_ids(int fd, char (*ids)[25], size_t max);
