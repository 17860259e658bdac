/* seal.c - one committer for the sealed log: everything that waits goes to disk with one fdatasync.
 *
 * Owns      the queue of finished writers. Called by act_deliver.c and whoever closes a mailbox to deliveries. Fails with FAULT_DISK_FULL, FAULT_IO. Suspends until durable.
 */
#include "sqlite.h"

#define GROUP_MAX 512

struct waiting {
    struct sealed_writer *writer;
    bool ok, done;
    struct fault why;
    struct fiber_event ready;
    struct waiting *next;
};

static struct waiting *first, *last;
static bool committing;

struct group {
    struct sealed_writer *writers[GROUP_MAX];
    bool ok[GROUP_MAX];
    struct waiting *member[GROUP_MAX];
    size_t count;
    struct fault why;                          /* of items that are not ok */
};

static int group_commit(void *arg, UNUSED struct fault *why)
{
    struct group *g = arg;

    ignore_result(sealed_commit(server.sealed, g->writers, g->ok, g->count, &g->why));
    return 0;
}

static void group_take(struct group *g)
{
    g->count = 0;
    while (first != NULL && g->count < GROUP_MAX) {
        g->member[g->count] = first;
        g->writers[g->count] = first->writer;
        g->ok[g->count++] = false;
        first = first->next;
    }
    if (first == NULL)
        last = NULL;
}

static void committer(UNUSED void *arg)
{
    struct group *g = calloc(1, sizeof(*g));

    if (g == NULL)
        abort();
    while (first != NULL) {
        uint64_t started = clock_now_us();

        group_take(g);
        ignore_result(pool_run(OFFLOAD_FILE, group_commit, g, &g->why));  /* each item's own flag tells */
        metric_observe_us(server.group_us, clock_now_us() - started);
        for (size_t i = 0; i < g->count; i++) {
            struct waiting *w = g->member[i];

            sealed_write_abort(&g->writers[i]);        /* only when the pool refused the work */
            w->ok = g->ok[i];
            w->why = g->why;
            w->done = true;
            fiber_event_signal(&w->ready);
        }
    }
    free(g);
    committing = false;
}

int seal_commit(struct sealed_writer **writer, struct fault *why)
{
    struct waiting *w;
    int r = 0;

    if (!committing) {
        if (fiber_start("seal", committer, NULL, why) < 0)
            return -1;
        committing = true;
    }
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        abort();
    w->writer = *writer;
    *writer = NULL;
    fiber_event_init(&w->ready);
    if (last != NULL)
        last->next = w;
    else
        first = w;
    last = w;
    while (!w->done)
        (void)fiber_event_wait(&w->ready, DEADLINE_NEVER, NULL);
    if (!w->ok) {
        *why = w->why;
        r = -1;
    }
    free(w);
    return r;
}

int seal_wait(struct box *b, struct deadline until, struct fault *why)
{
    while (b->sealing > 0)
        if (fiber_event_wait(&b->sealed, until, why) < 0)
            return why->code == FAULT_TIMEOUT ? fault_set(why, FAULT_UNAVAILABLE, "mail is still being stored") : -1;
    return 0;
}
