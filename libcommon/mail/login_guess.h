/* login_guess.h - who failed to sign in how often: counters per client network that expire after an hour.
 *
 * Owns      the counters of this process; Redis has those of all processes.
 * Used by   login.c.
 * Threads   the loop thread; suspends for Redis where marked, and fails open without it.
 */
#pragma once

#include "base/arena.h"
#include "base/time.h"

#define GUESSES_KEPT 10000             /* networks and what they tried, counted in this process */

struct guesses;                        /* opaque */
struct redis;

/* `kept_max` 0: GUESSES_KEPT. When so many live counters are there, the one that would expire next makes room. */
struct guesses *guesses_new(struct redis *redis, size_t kept_max);
void guesses_free(struct guesses **g);
/* What is counted together: an IPv4 address, or the /64 that an IPv6 host owns. */
struct slice guesses_network(struct arena *a, const char *ip);
/* Failures of the last hour: the larger of what this process and Redis know. */
unsigned guesses_count(struct guesses *g, struct slice network, struct arena *a) SUSPENDS;
/* As this process knows it, without waiting. */
unsigned guesses_count_here(struct guesses *g, struct slice network);
/* Counts a wrong password. The same one again is a misconfigured client, not a guess: counted once. */
void guesses_note(struct guesses *g, struct slice network, struct slice username, struct slice password, struct arena *a) SUSPENDS;
/* How long the next try waits: from the third failure on 1 s, 2 s, 4 s, at most 8 s. */
uint64_t guesses_delay_ms(unsigned count);
