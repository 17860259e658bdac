/* imap_name.h - mailbox names: modified UTF-7 (RFC 3501 5.1.3) and UTF-8, and matching of LIST patterns.
 *
 * Owns      nothing; results live in the caller's arena or point into the input.
 * Used by   imap_cursor, imap_format, LIST.
 * Fails     on text that is not the one canonical encoding.
 * Suspends  never.
 */
#pragma once

#include "base/arena.h"

/* To UTF-8. False unless `in` is exactly what imap_name_encode() would write: no needless shifts, no lone surrogates. */
bool imap_name_decode(struct slice in, struct arena *a, struct slice *out) MUST_CHECK;
/* From valid UTF-8. */
struct slice imap_name_encode(struct slice in, struct arena *a);

/* May this be made a folder? No control characters, no empty level, valid UTF-8, IMAP_NAME_MAX. */
bool imap_name_is_acceptable(struct slice path);

/* RFC 9051 6.3.9: * stands for anything, % for anything within a level. INBOX matches in any case. */
bool imap_name_matches(struct slice pattern, struct slice path);
