/* store_server_test.c - steps of tests/store/mongo.sh around a killed server; without
 * FE_TEST_SERVER_STEP nothing happens. */
#include "store/store_testing.h"

#include "rt/loop.h"

#define UNTIL deadline_in_ms(30000)
#define WRITES 200

static void body_write(struct scene *s)
{
    struct test *t = s->t;
    struct fault why;

    for (int i = 0; i < WRITES; i++) {
        AUTO(json_release)
        json_t *doc = json_pack("{s:o}", "email", json_sprintf("kept%d@example.test", i));

        REQUIRE_OK(store_insert(s->st, USERS, doc, UNTIL, &why), &why);
    }
}

static void body_check(struct scene *s)
{
    struct test *t = s->t;
    struct fault why;
    uint64_t n = 0;

    CHECK_OK(store_count(s->st, USERS, NULL, UNTIL, &n, &why), &why);
    CHECK_INT(WRITES, n);
}

static void open_nothing(void *arg)
{
    struct test *t = arg;
    const struct store_options options = {.uri = getenv("FE_TEST_STORE_URI")};
    struct store *st = NULL;
    struct fault why;

    CHECK_FAULT(FAULT_UNAVAILABLE, store_open(&options, &st, &why), &why);
}

TEST(store_server, step)
{
    struct slice step = slice_of(getenv("FE_TEST_SERVER_STEP"));

    if (slice_equal(step, LIT("write")))
        scene_run(t, body_write, NULL);
    else if (slice_equal(step, LIT("check")))
        scene_run(t, body_check, NULL);
    else if (slice_equal(step, LIT("away")))
        loop_run_fiber(open_nothing, t);
}
