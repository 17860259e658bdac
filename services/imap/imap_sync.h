/* imap_sync.h - telling a session what others changed in its selected folder (RFC 9051 7.4.1, 7.5; RFC 7162 3.2.10).
 *
 * Owns      nothing. Used by imap_cmd (before each tagged answer), IDLE, and commands that change messages.
 * Threads   the loop thread; suspends where marked.
 */
#pragma once

#include "imap_cmd.h"
#include "rpc/mailbox.h"

/* Looks for changes and tells them when there is a reason to: an event, a gap, a reconnect, or long ago. Then what a
 * command had to hold back, when cmd lets message numbers change. A mailbox server that is away is no failure here.  */
void imap_sync_due(struct imap_cmd *cmd) SUSPENDS;

/* After a change of our own: state went from -> to. With somebody else's changes in between, the gap is read at the end. */
void imap_note_change(struct imap_cmd *cmd, uint64_t from, uint64_t to);
void imap_note_elsewhere(struct imap_cmd *cmd, uint64_t from, uint64_t to);     /* in another folder of the mailbox */
/* The same for messages that are gone by it. */
void imap_note_gone(struct imap_cmd *cmd, struct uid_set uids, uint64_t from, uint64_t to);
/* New names of keywords came with an answer: takes them over and tells FLAGS. */
void imap_note_keywords(struct imap_cmd *cmd, const struct slice *keywords, size_t count);

/* "* n FETCH (...)" for rows of the view. `attrs`: enum imap_fetch_attr. */
void imap_tell_rows(struct imap_cmd *cmd, const struct mailbox_row *rows, size_t count, unsigned attrs) SUSPENDS;
/* UID and MODSEQ as this client wants them in FETCH answers it didn't ask for. */
unsigned imap_unasked_attrs(const struct imap_cmd *cmd);
void imap_tell_flags(struct imap_cmd *cmd);             /* FLAGS and PERMANENTFLAGS */
