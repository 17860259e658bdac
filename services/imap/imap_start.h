/* imap_start.h - opens and closes what fe-imap needs of others: store, mailbox server, Redis, logins.
 *
 * Used by main.c. imap_start suspends while the store opens.
 */
#pragma once

#include "imap_server.h"

/* `server` holds the certificates already. */
int imap_start(struct imap_server *server, const struct imap_config *config, struct fault *why) MUST_CHECK SUSPENDS;
void imap_stop(struct imap_server *server);
