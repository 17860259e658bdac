/* time.h - two clocks (monotonic for waiting, wall for dates), deadlines, and dates as mail writes them.
 *
 * Tests may replace both clocks with clock_fake(). Never suspends; safe from any thread, except
 * clock_fake/clock_advance (tests, before threads start or from the loop thread).
 */
#pragma once

#include "base/slice.h"

struct deadline {
    uint64_t at_ms;                    /* monotonic; UINT64_MAX: never */
};

#define DEADLINE_NEVER ((struct deadline){ UINT64_MAX })

uint64_t clock_now_ms(void);           /* monotonic */
uint64_t clock_now_us(void);           /* monotonic */
int64_t clock_wall_ms(void);           /* since 1970, UTC */
struct deadline deadline_in_ms(uint64_t ms);
struct deadline deadline_earlier(struct deadline a, struct deadline b);
bool deadline_is_past(struct deadline d);
uint64_t deadline_left_ms(struct deadline d);      /* 0 when past; UINT64_MAX for never */

void clock_fake(int64_t wall_ms);      /* both clocks stand still from now on */
void clock_advance(uint64_t ms);       /* moves faked clocks; timers fire on the next loop turn */
void clock_real(void);                 /* back to the real clocks; the test program does so after each test */
bool clock_is_fake(void);
/* For libcommon/rt: `fn` runs at the end of clock_fake() and clock_advance(), so that the loop looks at its
 * timers again. One listener; NULL: none.                                                                */
void clock_on_advance(void (*fn)(void));

/* Fixed-size results, NUL-terminated. */
struct date_text { char s[48]; };
struct date_text date_format_iso(int64_t wall_ms);           /* 2026-11-24T13:18:31.000Z */
struct date_text date_format_rfc5322(int64_t wall_ms);       /* Tue, 24 Nov 2026 13:18:31 +0000 */
bool date_parse_iso(struct slice s, int64_t *wall_ms) MUST_CHECK;
