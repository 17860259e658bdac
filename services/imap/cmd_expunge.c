/* cmd_expunge.c - EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, RFC 4315 2.1), CLOSE (6.4.1) and UNSELECT (6.4.2).
 *
 * Own nothing. Called by imap_dispatch.c. Suspend for the deletion.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/uid_set.h"

/* With CONDSTORE the answer names the state after it (RFC 7162 3.2.7), unless others' changes are still to be told. */
static int reply_expunged(struct imap_cmd *cmd, const char *text)
{
    struct imap_session *s = cmd->session;

    imap_sync_due(cmd);
    if (!s->bye && (s->enabled & ENABLED_CONDSTORE) && !s->stale)
        return imap_reply_printf(cmd, "OK [HIGHESTMODSEQ %llu] %s", (unsigned long long)s->view->highest, text);
    return imap_reply_ok(cmd, text);
}

int cmd_expunge(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct uid_set within = s->view->uids;
    struct mailbox_expunged done;

    if (cmd->by_uid && (!imap_take_uids(cmd, &within) || !imap_at_end(&cmd->args)))
        return imap_reply_args(cmd);
    if (s->view->read_only)
        return imap_reply_no(cmd, "[READ-ONLY] mailbox is selected read-only");
    if (within.count == 0)
        return imap_reply_ok(cmd, "EXPUNGE completed, nothing to do");
    if (mailbox_expunge(s->mailbox, s->view->folder_id, within, cmd->arena, cmd->until, &done, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    imap_note_gone(cmd, done.uids, done.from_modseq, done.modseq);
    return reply_expunged(cmd, "EXPUNGE completed");
}

int cmd_close(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct mailbox_expunged done = { 0 };
    bool told_all = s->view->gone.count == 0;

    if (!s->view->read_only && s->view->uids.count > 0) {
        if (mailbox_expunge(s->mailbox, s->view->folder_id, s->view->uids, cmd->arena, cmd->until, &done, &cmd->why) < 0)
            return imap_reply_fault(cmd);
        told_all = told_all && done.uids.count > 0 && done.from_modseq == s->view->modseq;
    }
    imap_session_unselect(s);
    if ((s->enabled & ENABLED_CONDSTORE) && told_all && done.modseq)
        return imap_reply_printf(cmd, "OK [HIGHESTMODSEQ %llu] CLOSE completed", (unsigned long long)done.modseq);
    return imap_reply_ok(cmd, "CLOSE completed");
}

int cmd_unselect(struct imap_cmd *cmd)
{
    imap_session_unselect(cmd->session);
    return imap_reply_ok(cmd, "UNSELECT completed");
}
