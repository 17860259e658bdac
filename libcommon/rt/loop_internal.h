/* loop_internal.h - what the files of libcommon/rt share of the loop: one turn and its hooks.
 *
 * A turn: due timers, ready fibers, end-of-turn tasks, then libuv waits for the world. Loop thread
 * only (loop_hold and loop_release too); nothing suspends; nothing fails.
 */
#pragma once

#include <uv.h>
#include "rt/loop.h"

uv_loop_t *loop_uv(void);
bool loop_is_here(void); /* is this the loop thread, between loop_init and loop_deinit? */
void loop_wake(void);    /* the next turn comes without waiting */
void loop_hold(void);    /* work elsewhere will post: do not end for lack of handles */
void loop_release(void);

/* Called once at the end of this turn (of the next, when asked for by a task). Owned by the caller.
 */
struct loop_task {
    void (*fn)(struct loop_task *task);
    struct loop_task *next, **slot; /* slot: what points here; NULL when not asked for */
};
void loop_at_turn_end(struct loop_task *task);
void loop_task_drop(struct loop_task *task);

/* fiber.c */
void fibers_init(void);
bool fibers_are_ready(void);
bool fibers_have_room(void); /* for new connections; the last sixteenth is for those already here */
void fibers_run_ready(void); /* one round: those ready at the call */
void fibers_release(void);   /* frees all stacks, also of fibers that loop_stop() left suspended */

/* timer.c */
int timers_init(void);
void timers_run_due(void);
void timers_before_wait(void);
void timers_release(void);
