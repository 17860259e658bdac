/* imap_format.h - values as IMAP text, appended to a buf (strings, names, flags) or written at a pointer (hot rows).
 *
 * Owns      nothing. Used by imap. Fails only when the buf is full.
 * Suspends  never.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "wire/mailbox_types.h"

/* Quoted when it may be, else a literal; 8-bit text is quoted only when `utf8` (RFC 6855 3, RFC 9051). */
int imap_put_string(struct buf *out, struct slice s, bool utf8);
/* A folder path as the client wants it: UTF-8, or modified UTF-7; always quoted or a literal. */
int imap_put_mailbox(struct buf *out, struct slice path, bool utf8, struct arena *scratch);

/* "(\Seen $Forwarded)". Bits of row->keywords name `keywords`. */
int imap_put_flags(struct buf *out, uint32_t flags, const uint64_t bits[2], const struct slice *keywords, size_t keyword_count);

/* Hot path: write without checks, return the end. Room needed: 20 bytes for a number, 28 for a date. */
#define IMAP_DATE_TIME_BYTES 28
char *imap_write_u64(char *p, uint64_t v);
char *imap_write_date_time(char *p, int64_t ms);         /* "\"24-Nov-2026 13:18:31 +0000\"" */
/* The system flags without parentheses: "\Seen \Flagged", from a table. */
struct slice imap_system_flags_text(uint32_t flags);
