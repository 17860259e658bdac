/* process.h - what a daemon asks of its process: signals, rights, workers, limits.
 *
 * Owns the signal watchers. Used by service.c. Loop thread only, process_drop_rights and process_fork_workers before loop_init
 * or right after start. Nothing suspends.
 */
#pragma once

#include "base/fault.h"
#include "base/macros.h"

/* SIGTERM and SIGINT call fn (once more each time), and so does, in a worker, the end of its parent; SIGPIPE is ignored. Does not keep the loop alive. */
int process_on_stop(void (*fn)(int signal_number), struct fault *why) MUST_CHECK;
/* When root and `uid` is not "0": setgroups, setgid, setuid to it (same number for the group). */
int process_drop_rights(const char *uid, struct fault *why) MUST_CHECK;
/* No core files, no ptrace by others: memory holds keys. */
void process_hide_memory(void);
/* Forks `count` workers and returns 0 in each of them. The parent stays in here: restarts those that die, passes stop signals
 * on (as user `uid` where it has to), and exits when all have ended: 0 when all ended well.                      */
int process_fork_workers(unsigned count, const char *uid, struct fault *why) MUST_CHECK;
unsigned process_worker_index(void);           /* 0 to WORKERS-1 */
/* Gauges of this process for /metrics: memory, CPU, files, start. */
void process_metrics_register(void);
