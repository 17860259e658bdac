/* timer.h - call something later on the loop thread. Follows the (possibly faked) clock of base/time.h.
 *
 * Owned by the caller, embedded in its struct; timer_stop before that memory goes. Never suspends. Kept in
 * a heap of our own under one libuv timer, so that a hundred thousand idle timers cost little.
 */
#pragma once

#include "base/time.h"

struct timer {
    void (*fn)(struct timer *t);
    void *arg;
    uint64_t at_ms;
    size_t slot;                               /* private: 0 when not running */
};

void timer_init(struct timer *t, void (*fn)(struct timer *t), void *arg);
void timer_start(struct timer *t, struct deadline at);      /* moves it when already running; DEADLINE_NEVER stops it */
void timer_stop(struct timer *t);                           /* harmless when not running */
bool timer_is_running(const struct timer *t);
