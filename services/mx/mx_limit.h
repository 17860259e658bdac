/* mx_limit.h - how many connections one address may hold open: counted in Redis, and in this process while Redis is away.
 *
 * Owns the counters. Called by mx_policy.c (enter) and mx_session.c (leave). Fails open.
 */
#pragma once

#include "mx.h"

struct mx_limit *mx_limit_new(struct redis *redis, int64_t max, const char *const *exempt);
void mx_limit_free(struct mx_limit **l);
/* False: too many. Whatever the answer, mx_limit_leave follows at the end of the connection. */
bool mx_limit_enter(struct mx_limit *l, struct mx_conn *c, const char *ip) SUSPENDS;
void mx_limit_leave(struct mx_limit *l, struct mx_conn *c, const char *ip);
