/* cmd_copy.c - COPY and MOVE by number or UID (RFC 9051 6.4.7, 6.4.8; COPYUID: RFC 4315 3).
 *
 * Own nothing. Called by imap_dispatch.c. Suspend for the mailbox server, which does each in one transaction.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/uid_set.h"

static bool take_args(struct imap_cmd *cmd, struct uid_set *uids, struct slice *to)
{
    return imap_take_uids(cmd, uids) && imap_take_space(&cmd->args) && imap_take_mailbox(&cmd->args, to) &&
           imap_at_end(&cmd->args);
}

static int reply_copy_fault(struct imap_cmd *cmd)
{
    if (cmd->why.code == FAULT_NOT_FOUND)
        return imap_reply_no(cmd, "[TRYCREATE] there is no such mailbox");
    return imap_reply_fault(cmd);
}

static const char *copyuid(struct imap_cmd *cmd, const struct mailbox_copied *done)
{
    struct slice from = uid_set_format(done->from, cmd->arena), to = uid_set_format(done->to, cmd->arena);

    return arena_printf(cmd->arena, "[COPYUID %u %.*s %.*s]", done->uidvalidity, SLICE(from), SLICE(to)).p;
}

/* What was written into the selected folder itself has to be told as new messages. */
static void note_target(struct imap_cmd *cmd, struct slice to, const struct mailbox_copied *done)
{
    struct imap_session *s = cmd->session;

    if (slice_equal(to, s->view->path))
        s->stale = true;
    else
        imap_note_elsewhere(cmd, done->from_modseq, done->modseq);
}

int cmd_copy(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct mailbox_copied done;
    struct uid_set uids;
    struct slice to;

    if (!take_args(cmd, &uids, &to))
        return imap_reply_args(cmd);
    if (uids.count == 0)
        return imap_reply_ok(cmd, "COPY completed, no such messages");
    if (mailbox_copy(s->mailbox, s->view->folder_id, uids, to, cmd->arena, cmd->until, &done, &cmd->why) < 0)
        return reply_copy_fault(cmd);
    note_target(cmd, to, &done);
    if (done.from.count == 0)
        return imap_reply_ok(cmd, "COPY completed, no such messages");
    return imap_reply_printf(cmd, "OK %s COPY completed", copyuid(cmd, &done));
}

int cmd_move(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct mailbox_copied done;
    struct uid_set uids;
    struct slice to;

    if (!take_args(cmd, &uids, &to))
        return imap_reply_args(cmd);
    if (s->view->read_only)
        return imap_reply_no(cmd, "[READ-ONLY] mailbox is selected read-only");
    if (slice_equal(to, s->view->path))
        return imap_reply_no(cmd, "[CANNOT] the messages are there already");
    if (uids.count == 0)
        return imap_reply_ok(cmd, "MOVE completed, no such messages");
    if (mailbox_move(s->mailbox, s->view->folder_id, uids, to, cmd->arena, cmd->until, &done, &cmd->why) < 0)
        return reply_copy_fault(cmd);
    if (done.from.count == 0)
        return imap_reply_ok(cmd, "MOVE completed, no such messages");
    imap_untagged(cmd, "OK %s moved", copyuid(cmd, &done));
    imap_note_gone(cmd, done.from, done.from_modseq, done.modseq);
    imap_sync_due(cmd);
    if ((s->enabled & ENABLED_CONDSTORE) && !s->stale && !s->bye)
        return imap_reply_printf(cmd, "OK [HIGHESTMODSEQ %llu] MOVE completed", (unsigned long long)s->view->highest);
    return imap_reply_ok(cmd, "MOVE completed");
}
