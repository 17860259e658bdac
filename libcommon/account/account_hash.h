/* account_hash.h - making and opening password slots on the cpu pool, one at a time: each takes 19 MiB and tens of milliseconds.
 *
 * Owns nothing. Used by account_password.c, account_rotate.c. Loop thread; suspends.
 */
#pragma once

#include "account/account_password.h"

/* The first of `wraps` (JSON array, text) that `password` opens. FAULT_DENIED: none. */
int account_hash_open(struct fiber_mutex *one, struct slice alias_id, struct slice wraps, struct slice password, struct deadline until,
                      struct account_key *out, struct fault *why) MUST_CHECK SUSPENDS;
int account_hash_make(struct fiber_mutex *one, struct slice alias_id, const struct secret *data_key, struct slice password,
                      const struct keys_wrap_options *options, struct deadline until, json_t **out, struct fault *why) MUST_CHECK SUSPENDS;
