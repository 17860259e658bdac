/* commands.h - the handlers of all IMAP commands; the table in imap_dispatch.c says when each may run.
 *
 * Each parses cmd->args, acts, answers, and returns what the reply function returned. All may suspend.
 */
#pragma once

#include "imap_cmd.h"

/* cmd_basic.c: RFC 9051 6.1, RFC 2971, RFC 5161, RFC 2342 */
int cmd_capability(struct imap_cmd *cmd);
int cmd_noop(struct imap_cmd *cmd) SUSPENDS;
int cmd_logout(struct imap_cmd *cmd);
int cmd_id(struct imap_cmd *cmd);
int cmd_enable(struct imap_cmd *cmd);
int cmd_namespace(struct imap_cmd *cmd);
void imap_put_capabilities(struct imap_session *s);     /* appends to s->out */

/* cmd_login.c: RFC 9051 6.2 */
int cmd_starttls(struct imap_cmd *cmd) SUSPENDS;
int cmd_login(struct imap_cmd *cmd) SUSPENDS;
int cmd_authenticate(struct imap_cmd *cmd) SUSPENDS;

/* cmd_select.c, cmd_close.c: RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2, RFC 7162 3.2.5 */
int cmd_select(struct imap_cmd *cmd) SUSPENDS;
int cmd_examine(struct imap_cmd *cmd) SUSPENDS;
int cmd_close(struct imap_cmd *cmd) SUSPENDS;
int cmd_unselect(struct imap_cmd *cmd) SUSPENDS;

/* cmd_list.c, cmd_status.c, cmd_folder.c, cmd_quota.c: RFC 9051 6.3, RFC 5258, RFC 5819, RFC 6154, RFC 2087 */
int cmd_list(struct imap_cmd *cmd) SUSPENDS;
int cmd_lsub(struct imap_cmd *cmd) SUSPENDS;
int cmd_status(struct imap_cmd *cmd) SUSPENDS;
int cmd_create(struct imap_cmd *cmd) SUSPENDS;
int cmd_delete(struct imap_cmd *cmd) SUSPENDS;
int cmd_rename(struct imap_cmd *cmd) SUSPENDS;
int cmd_subscribe(struct imap_cmd *cmd) SUSPENDS;
int cmd_unsubscribe(struct imap_cmd *cmd) SUSPENDS;
int cmd_getquota(struct imap_cmd *cmd) SUSPENDS;
int cmd_getquotaroot(struct imap_cmd *cmd) SUSPENDS;
int cmd_setquota(struct imap_cmd *cmd);

/* cmd_append.c, cmd_copy.c, cmd_store.c, cmd_expunge.c, cmd_fetch.c, cmd_search.c, cmd_idle.c: RFC 9051 6.3.12, 6.3.13, 6.4 */
int cmd_append(struct imap_cmd *cmd) SUSPENDS;
int cmd_copy(struct imap_cmd *cmd) SUSPENDS;
int cmd_move(struct imap_cmd *cmd) SUSPENDS;
int cmd_store(struct imap_cmd *cmd) SUSPENDS;
int cmd_expunge(struct imap_cmd *cmd) SUSPENDS;
int cmd_fetch(struct imap_cmd *cmd) SUSPENDS;
int cmd_search(struct imap_cmd *cmd) SUSPENDS;
int cmd_idle(struct imap_cmd *cmd) SUSPENDS;
