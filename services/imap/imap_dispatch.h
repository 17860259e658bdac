/* imap_dispatch.h - from the bytes of one command to its handler.
 *
 * Owns the table of commands. Used by imap_session. Suspends as the handler does.
 */
#pragma once

#include "imap_cmd.h"

/* Runs the command whose bytes these are; answers it. < 0: the connection cannot go on. */
int imap_dispatch(struct imap_session *s, struct slice command, struct arena *arena) SUSPENDS;
/* The tag of a command that cannot be run, "*" when it has none. */
struct slice imap_command_tag(struct slice command);
