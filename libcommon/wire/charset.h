/* charset.h - any charset a mail names, as UTF-8.
 *
 * Owns      nothing that outlives a call.
 * Used by   rfc5322, mime_text.
 * Fails     never: an unknown charset is read as UTF-8, or windows-1252 where that is not valid; bytes that mean nothing
 *           become U+FFFD. Safe on any thread.
 * Suspends  never.
 */
#pragma once

#include "base/buf.h"

#define CHARSET_NAME_MAX 64

/* Appends `in` as UTF-8. <0 only when `out` is full. */
int charset_to_utf8(struct slice charset, struct slice in, struct buf *out);
/* Whether the name means something here (IMAP SEARCH CHARSET). */
bool charset_is_known(struct slice charset);
