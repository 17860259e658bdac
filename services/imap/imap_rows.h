/* imap_rows.h - the part of a FETCH answer that comes from a row; the hot path of FETCH 1:* (UID FLAGS).
 *
 * Owns nothing. Used by imap_sync and FETCH. Never suspends.
 */
#pragma once

#include "base/buf.h"
#include "rpc/mailbox.h"

struct imap_view;

/* "* 7 FETCH (UID 9 FLAGS (\Seen)" without the closing parenthesis; attrs of rows only. False: nothing inside yet. */
bool imap_put_row(struct buf *out, uint32_t seq, const struct mailbox_row *row, unsigned attrs, const struct imap_view *view);
