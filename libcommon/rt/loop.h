/* loop.h - the process's one event loop.
 *
 * Owns the libuv loop; the only thread that runs fibers is the one in loop_run(). Nothing here
 * suspends. Only libcommon/rt sees libuv.
 */
#pragma once

#include "base/fault.h"
#include "base/macros.h"

int loop_init(struct fault *why) MUST_CHECK;       /* once per process, before anything else of rt */
/* Runs until loop_stop(), or until nothing is left to wait for. */
void loop_run(void);
void loop_stop(void);                              /* from the loop thread */
void loop_deinit(void);                            /* closes what is left; for tests and clean exits */
/* Runs fn(arg) on the loop thread soon. The one call here that any thread may make. */
void loop_post(void (*fn)(void *arg), void *arg);

/* Runs `fn` on a fiber in a fresh loop and returns when it and all it started have ended: how unit
 * tests use rt. Leaves no handle behind (asserts that).                                            */
void loop_run_fiber(void (*fn)(void *arg), void *arg);
