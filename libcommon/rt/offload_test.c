/* offload_test.c - work that ends, work nobody waits for any more, full queues. */
#include "rt/offload.h"

#include <pthread.h>
#include "base/test.h"
#include "rt/fiber.h"
#include "rt/loop.h"

/* A gate holds pool threads until the test lets them go. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool open;
    unsigned inside;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static void gate_pass(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.inside++;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open)
        pthread_cond_wait(&gate.moved, &gate.lock);
    gate.inside--;
    pthread_mutex_unlock(&gate.lock);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_inside(unsigned n)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.inside < n)
        pthread_cond_wait(&gate.moved, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

struct sum {
    struct offload work;
    int a, b, result;
    unsigned *discards;
    bool gated;
};

static void sum_run(struct offload *work)
{
    struct sum *sum = CONTAINER_OF(work, struct sum, work);

    if (sum->gated)
        gate_pass();
    sum->result = sum->a + sum->b;
}

static void sum_discard(struct offload *work)
{
    struct sum *sum = CONTAINER_OF(work, struct sum, work);

    ++*sum->discards;
    free(sum);
}

static struct sum *sum_new(int a, unsigned *discards, bool gated)
{
    struct sum *sum = calloc(1, sizeof *sum);

    *sum = (struct sum){{.run = sum_run, .discard = sum_discard}, a, 1, 0, discards, gated};
    return sum;
}

struct scene {
    struct test *t;
    unsigned discards, done;
    struct fiber *waiter;
    struct fault why;
};

static void adds(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;

    for (int i = 0; i < 100; i++) {
        struct sum *sum = sum_new(i, &sc->discards, false);

        REQUIRE_OK(offload_run(OFFLOAD_CPU, &sum->work, deadline_in_ms(60000), &sc->why), &sc->why);
        CHECK_INT(i + 1, sum->result);
        free(sum);
        sc->done++;
    }
}

static void adds_in_parallel(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct fiber_group g;

    fiber_group_init(&g);
    for (int i = 0; i < 20; i++)
        REQUIRE_OK(fiber_group_start(&g, "adds", adds, sc, &sc->why), &sc->why);
    fiber_group_join(&g);
}

TEST(offload, results_come_back)
{
    struct scene sc = {.t = t};

    loop_run_fiber(adds_in_parallel, &sc);
    CHECK_INT(2000, sc.done);
    CHECK_INT(0, sc.discards);
}

/* --- giving up -------------------------------------------------------------------------------- */

static void gives_up(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct sum *sum = sum_new(1, &sc->discards, true);

    CHECK_FAULT(FAULT_TIMEOUT, offload_run(OFFLOAD_FILE, &sum->work, deadline_in_ms(10), &sc->why),
                &sc->why);
    CHECK_INT(0, sc->discards); /* still running: discarded when it has ended */
    gate_set(true);
}

static void lets_time_pass(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct fiber_group g;

    fiber_group_init(&g);
    REQUIRE_OK(fiber_group_start(&g, "gives up", gives_up, sc, &sc->why), &sc->why);
    fiber_yield();
    gate_wait_inside(1);
    clock_advance(10);
    fiber_group_join(&g);
}

TEST(offload, running_work_is_discarded_after_it_ended)
{
    struct scene sc = {.t = t};

    gate_set(false);
    clock_fake(1700000000000);
    loop_run_fiber(lets_time_pass, &sc);
    CHECK_INT(1, sc.discards);
}

static void blocks(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct sum *sum = sum_new(1, &sc->discards, true);

    CHECK_OK(offload_run(OFFLOAD_FILE, &sum->work, DEADLINE_NEVER, &sc->why), &sc->why);
    free(sum);
    sc->done++;
}

static void queued(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct sum *sum = sum_new(1, &sc->discards, true);

    sc->waiter = fiber_self();
    CHECK_FAULT(FAULT_CANCELED,
                offload_run(OFFLOAD_FILE, &sum->work, deadline_in_ms(60000), &sc->why), &sc->why);
    CHECK_INT(1, sc->discards); /* had not begun */
}

static void fills(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct offload_stats stats;
    struct fiber_group g;
    struct fault why;

    fiber_group_init(&g);
    REQUIRE_OK(fiber_group_start(&g, "blocks", blocks, sc, &why), &why);
    REQUIRE_OK(fiber_group_start(&g, "blocks", blocks, sc, &why), &why);
    fiber_yield();
    gate_wait_inside(2);
    REQUIRE_OK(fiber_group_start(&g, "queued", queued, sc, &why), &why);
    fiber_yield();

    struct sum *refused = sum_new(1, &sc->discards, false);
    CHECK_FAULT(FAULT_UNAVAILABLE, offload_run(OFFLOAD_FILE, &refused->work, DEADLINE_NEVER, &why),
                &why);
    CHECK_INT(1, sc->discards);
    sc->discards = 0;
    offload_get_stats(OFFLOAD_FILE, &stats);
    CHECK(stats.busy == 2 && stats.queued == 1 && stats.refused == 1);

    fiber_cancel(sc->waiter);
    fiber_yield();
    gate_set(true);
    fiber_group_join(&g);
    CHECK_INT(2, sc->done);
    CHECK_INT(1, sc->discards);
}

TEST(offload, a_full_queue_refuses_and_queued_work_can_be_withdrawn)
{
    struct scene sc = {.t = t};

    gate_set(false);
    offload_configure(OFFLOAD_FILE, 2, 1);
    loop_run_fiber(fills, &sc);
    offload_configure(OFFLOAD_FILE, 2, 1024);
}

/* --- work that is owed ------------------------------------------------------------------------ */

static void owed(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct sum *sum = sum_new(1, &sc->discards, false);

    fiber_cancel(fiber_self());
    CHECK_OK(offload_run(OFFLOAD_DB, &sum->work, DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_INT(2, sum->result);
    sum->result = 0;
    CHECK_FAULT(FAULT_CANCELED, offload_run(OFFLOAD_DB, &sum->work, deadline_in_ms(1000), &sc->why),
                &sc->why);
    CHECK_INT(1, sc->discards);
}

TEST(offload, without_deadline_even_a_cancelled_fiber_waits)
{
    struct scene sc = {.t = t};

    loop_run_fiber(owed, &sc);
}
