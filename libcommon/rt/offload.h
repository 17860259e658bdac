/* offload.h - blocking work on bounded thread pools; the fiber waits, the loop goes on.
 *
 * Offload a whole unit of work: a trip costs 15-30 us. Work sits in one heap struct that starts with
 * struct offload, holds copies of what it needs, and touches neither loop, fiber, session nor log.
 */
#pragma once

#include "base/fault.h"
#include "base/time.h"

enum offload_pool { OFFLOAD_DB, OFFLOAD_CPU, OFFLOAD_FILE, OFFLOAD_POOL_COUNT };

struct offload {
    void (*run)(struct offload *work);         /* on the pool's thread */
    void (*discard)(struct offload *work);     /* frees it; called only when offload_run failed: on the loop thread,
                                                  after run has ended or will never begin; maybe inside offload_run */
    struct offload *next;                      /* private from here on */
    struct fiber *waiter;
    int state, pool;
};

/* Threads per pool and how much work may wait for one (0: db 4, cpu 2, file 2; 1024); before the first offload_run. */
void offload_configure(enum offload_pool pool, unsigned threads, unsigned queue_max);

/* Runs work->run on the pool. 0 when it has run: the struct is the caller's again. < 0: never touch the
 * struct again, `discard` frees it: FAULT_UNAVAILABLE (queue full), FAULT_TIMEOUT, FAULT_CANCELED.
 * With DEADLINE_NEVER the work is waited for even by a cancelled fiber (a commit whose answer is owed, a
 * rollback): only a full queue can fail it.                                                             */
int offload_run(enum offload_pool pool, struct offload *work, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

struct offload_stats { unsigned threads, busy, queued, queued_peak; uint64_t done, refused; };
void offload_get_stats(enum offload_pool pool, struct offload_stats *out);
void offload_shutdown(void);                   /* waits for running work, joins the threads */
