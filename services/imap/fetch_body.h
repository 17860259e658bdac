/* fetch_body.h - FETCH of what is not in a row: envelopes, structures and bytes of messages.
 *
 * Owns nothing. Used by cmd_fetch.c. Suspends for each message and while the peer is slow.
 */
#pragma once

#include "imap_cmd.h"
#include "wire/imap/imap_fetch_args.h"

/* < 0: cmd->why, or session->broken when an answer had to be cut off in the middle. */
int imap_fetch_bodies(struct imap_cmd *cmd, struct uid_set uids, const struct imap_fetch_args *args) SUSPENDS;
