/* watch.h - which container was killed by hand and has to be started again: the rules, without a socket.
 *
 * Owns its table of WATCH_MAX containers; no heap, no clock of its own (times are given). Never suspends, never fails: an event that
 * is none of what it waits for changes nothing.
 *
 * Docker applies no restart policy after `docker kill`. Its events tell the cases apart:
 *   docker kill      kill (signal 9), die                      -> start again
 *   docker stop      kill (15, later 9), die, stop             -> somebody's wish: leave it
 *   docker rm -f     kill (9), die, destroy                    -> gone
 *   a crash          die                                       -> the restart policy's business
 */
#pragma once

#include "base/slice.h"

#define WATCH_MAX       64             /* containers at once between their kill and their start; more are left alone */
#define WATCH_ID_MAX    64             /* hexadecimal digits */
#define WATCH_NAME_MAX  64
#define WATCH_GRACE_MS  1500           /* after die: for the stop or destroy that would show it was meant */
#define WATCH_AGAIN_MS  5000           /* after a start that failed, */
#define WATCH_TRIES     12             /* that often */

struct watch_entry {
    char id[WATCH_ID_MAX + 1];         /* "" : free */
    char service[WATCH_NAME_MAX + 1];  /* its name in the compose file */
    unsigned tries;
    uint64_t due_ms;                   /* UINT64_MAX: has not died yet */
};

struct watch {
    struct watch_entry entry[WATCH_MAX];
    int64_t seen_ns;                   /* time of the last event, as Docker counts; 0: none yet */
};

/* A line of Docker's GET /events. False when it is not one. */
bool watch_event(struct watch *w, struct slice line, uint64_t now_ms) MUST_CHECK;
/* The container that has been due for longest, or NULL. Borrowed until the next call. */
struct watch_entry *watch_due(struct watch *w, uint64_t now_ms);
uint64_t watch_next_ms(const struct watch *w);         /* when something will be due; UINT64_MAX: nothing */
/* It runs, or is gone: forgotten. */
void watch_done(struct watch_entry *e);
/* Its start failed. False: it was tried often enough, and is forgotten. */
bool watch_again(struct watch_entry *e, uint64_t now_ms);
