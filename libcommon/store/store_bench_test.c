/* store_bench_test.c - how many durable queue inserts a second; runs only with FE_BENCH set (to a
 * number of milliseconds). */
#include "store/store_testing.h"

#define UNTIL deadline_in_ms(60000)

struct bench {
    struct scene *s;
    uint64_t end_ms, done;
};

static void insert_until(void *arg)
{
    struct bench *b = arg;
    struct test *t = b->s->t;
    struct arena *in = arena_new(0);
    char body[4096];
    struct fault why;

    memset(body, 'x', sizeof(body));
    while (clock_now_ms() < b->end_ms) {
        struct email_recipient to = {.address = LIT("b@example.org")};
        struct email_doc email = {.from = LIT("a@example.test"),
                                  .recipients = &to,
                                  .recipient_count = 1,
                                  .subject = LIT("Hello")};
        struct store_blob *blob = store_blob_new(b->s->st);

        CHECK_OK(store_blob_write(blob, slice_make(body, sizeof(body)), &why), &why);
        CHECK_OK(email_enqueue(b->s->st, &email, &blob, UNTIL, &why), &why);
        b->done++;
        arena_reset(in);
    }
    arena_free(&in);
}

static void measure(struct scene *s, unsigned sessions, uint64_t for_ms)
{
    struct bench b = {s, clock_now_ms() + for_ms, 0};
    struct store_stats before, after;
    struct fiber_group group;
    struct fault why;

    store_get_stats(s->st, &before);
    fiber_group_init(&group);
    for (unsigned i = 0; i < sessions; i++)
        if (fiber_group_start(&group, "bench", insert_until, &b, &why) < 0)
            abort();
    fiber_group_join(&group);
    store_get_stats(s->st, &after);
    printf("%s: %u sessions: %.0f durable 4 KiB mails/s, %.1f a transaction\n", store_engine(s->st),
           sessions, (double)b.done * 1000 / (double)for_ms,
           (double)b.done /
               (double)(after.groups > before.groups ? after.groups - before.groups : 1));
}

static void body_bench(struct scene *s)
{
    static const unsigned sessions[] = {1, 4, 16, 64};
    uint64_t for_ms = 2000;

    if (!slice_to_u64(slice_of(getenv("FE_BENCH")), 600000, &for_ms))
        for_ms = 2000;
    for (size_t i = 0; i < COUNT(sessions); i++)
        measure(s, sessions[i], for_ms);
}

TEST(store_bench, durable_inserts)
{
    if (getenv("FE_BENCH") == NULL)
        return;
    scene_fresh();
    scene_run(t, body_bench, NULL);
}
