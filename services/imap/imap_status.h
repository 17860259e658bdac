/* imap_status.h - the STATUS answer, for STATUS and LIST RETURN (STATUS ...). Owns nothing, never suspends. */
#pragma once

#include "imap_cmd.h"

/* `items`: enum imap_status_item. */
void imap_put_status(struct imap_cmd *cmd, const struct mailbox_folder *folder, unsigned items);
