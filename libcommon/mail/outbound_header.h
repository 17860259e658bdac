/* outbound_header.h - the header of a submitted message: who it says it is from, and what is added or taken out (RFC 6409 8).
 *
 * Owns nothing: texts live in the arena given. Used by smtp and api. Pure; never suspends.
 */
#pragma once

#include "mail/login.h"
#include "wire/smtp.h"

#define OUTBOUND_AHEAD_MAX_DAYS 30              /* Date may schedule a message that far ahead */

struct outbound_header {
    struct slice text;                        /* the header to store, with the blank line */
    struct slice message_id;                  /* without brackets */
    struct slice subject;                     /* decoded to UTF-8 */
    int64_t date_ms;                          /* when to send: Date when it is ahead, else now */
};

/* Checks and edits `header` (up to and with its blank line, or without one). -1: *refusal says why not. */
int outbound_header_prepare(struct arena *a, struct slice header, const struct login_result *who, const char *host, int64_t now_ms,
                          struct outbound_header *out, struct smtp_reply *refusal) MUST_CHECK;

/* Is `address` the account's, in any case and with any +tag; with a catch-all password, any of the domain? */
bool outbound_may_send_as(struct arena *a, struct slice address, const struct login_result *who);
