/* outbound.h - what fe-smtp and fe-api do alike with a message for the queue: the daily limit, the document, the event.
 *
 * Owns nothing: texts live in the arena given. Used by smtp and api. Suspends for store and Redis where marked.
 *
 * The header's rules are in mail/outbound_header.h. A limit counts messages per user over 24 hours, under one key for both daemons;
 * while Redis is away nobody is limited.
 */
#pragma once

#include "mail/outbound_header.h"
#include "net/redis.h"
#include "store/models.h"

#define OUTBOUND_HEADER_MAX ((size_t)256 << 10)

/* How many messages `user_id` may send in 24 hours: their own smtp_limit, else `per_day`; 0: any number, as for everybody of a domain
 * that an administrator of the installation administers. `domain_id` may be empty: asked for the user alone.                     */
int outbound_limit_find(struct store *st, struct slice user_id, struct slice domain_id, int64_t per_day, struct arena *in, struct deadline until,
                        int64_t *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Whose messages are counted together: the user's, or the domain's when it is nobody's. */
struct slice outbound_counted(const struct login_result *who);
/* Adds `by` (0: only looks) to what they have sent. */
int outbound_count_day(struct redis *r, struct slice counted, int64_t by, struct arena *in, struct redis_counter *out, struct fault *why) MUST_CHECK SUSPENDS;

/* What the header says, into the document: message id, subject, date, decoded fields, size with `body_bytes`. */
void outbound_fill(struct arena *a, const struct outbound_header *h, uint64_t body_bytes, struct email_doc *doc);
/* Wakes the runner; lost without harm. `r` may be NULL. */
void outbound_publish(struct redis *r, struct arena *a, const char *id) SUSPENDS;
