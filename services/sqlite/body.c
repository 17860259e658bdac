/* body.c - a message body on its way into a mailbox: hashed and compressed on the cpu pool, staged in the file when large.
 *
 * Owns nothing. Called by act_append.c and act_deliver.c. Fails with what the engine says. Suspends.
 */
#include "sqlite.h"

struct feeding { struct engine_body *body; struct slice bytes; int result; };

static int write_run(void *arg, struct fault *why)
{
    struct feeding *f = arg;

    f->result = engine_body_write(f->body, f->bytes, why);
    return f->result < 0 ? -1 : 0;
}

static int finish_run(void *arg, struct fault *why)
{
    struct feeding *f = arg;

    f->result = engine_body_finish(f->body, why);
    return f->result < 0 ? -1 : 0;
}

static int stage_run(struct engine *e, void *arg, struct fault *why)
{
    return engine_body_stage(e, arg, why);
}

static int feed_step(struct body_feed *f, int (*fn)(void *arg, struct fault *why), struct slice bytes, struct fault *why)
{
    struct feeding step = { .body = f->body, .bytes = bytes };

    if (pool_run(OFFLOAD_CPU, fn, &step, why) < 0)
        return -1;
    return step.result == 1 ? box_run_alone(f->box, stage_run, f->body, why) : 0;
}

int body_feed_write(struct body_feed *f, struct slice bytes, struct fault *why)
{
    return bytes.n == 0 ? 0 : feed_step(f, write_run, bytes, why);
}

int body_feed_finish(struct body_feed *f, struct fault *why)
{
    return feed_step(f, finish_run, SLICE_NONE, why);
}
