/* srs.h - sender rewriting: forwarded mail gets an envelope sender at our domain that leads bounces back, and only those.
 *
 * Owns nothing; results live in the arena. Used by mx (forwards, returning bounces) and smtp-bree. Never suspends.
 *
 * SRS0=HHHHHHHH=TT=domain=local@forwarder and SRS1=HHHHHHHH=domain=<rest>@forwarder: HHHHHHHH are hex digits of an HMAC-SHA-256
 * (written: 8; read: 8 or, from installations that move over, 4), TT the day modulo 1024 in base 32. Valid for SRS_DAYS days.
 */
#pragma once

#include "base/arena.h"
#include "base/secret.h"

#define SRS_DAYS 21

enum srs_result { SRS_NONE, SRS_VALID, SRS_FORGED };

/* `sender` rewritten to an address at `forwarder`; itself when it is empty, has no '@' or is at `forwarder` already. */
struct slice srs_encode(struct arena *a, const struct secret *secret, struct slice sender, struct slice forwarder, int64_t now_ms);
/* SRS_VALID: *original is the address before (one step back for SRS1: again an SRS0 address, at its own domain). SRS_FORGED: looks
 * like one of ours, but the hash is wrong or too old. Tag and day may come back in lower case (RFC 5321 lets nobody, many do). */
enum srs_result srs_decode(struct arena *a, const struct secret *secret, struct slice address, int64_t now_ms, struct slice *original);
