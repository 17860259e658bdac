/* cmd_folder.c - CREATE (RFC 9051 6.3.4, RFC 6154 3), DELETE (6.3.5), RENAME (6.3.6), SUBSCRIBE (6.3.7), UNSUBSCRIBE (6.3.8).
 *
 * Own nothing. Called by imap_dispatch.c. Each suspends once, for the mailbox server.
 */
#include "commands.h"
#include "imap_session.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_name.h"

/* Clients say "a/" for a folder that is to have others below; here every folder may. */
static struct slice without_last_slash(struct slice path)
{
    return path.n > 1 && path.p[path.n - 1] == '/' ? slice_head(path, path.n - 1) : path;
}

int cmd_create(struct imap_cmd *cmd)
{
    struct imap_create_args args;

    if (!imap_take_create_args(&cmd->args, &args))
        return imap_reply_args(cmd);
    args.path = without_last_slash(args.path);
    if (args.bad_use)
        return imap_reply_no(cmd, "[USEATTR] that special use is not supported");
    if (!imap_name_is_acceptable(args.path))
        return imap_reply_no(cmd, "[CANNOT] no folder can have this name");
    if (mailbox_create_folder(cmd->session->mailbox, args.path, args.special_use, cmd->until, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    return imap_reply_ok(cmd, "CREATE completed");
}

static bool take_one_path(struct imap_cmd *cmd, struct slice *path)
{
    return imap_take_mailbox(&cmd->args, path) && imap_at_end(&cmd->args);
}

int cmd_delete(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct slice path;

    if (!take_one_path(cmd, &path))
        return imap_reply_args(cmd);
    if (slice_equal(path, LIT("INBOX")))
        return imap_reply_no(cmd, "[CANNOT] INBOX stays");
    if (mailbox_delete_folder(s->mailbox, path, cmd->until, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    if (s->view && slice_equal(path, s->view->path)) {
        imap_untagged(cmd, "OK [CLOSED] the selected mailbox was deleted");
        imap_session_unselect(s);
    }
    return imap_reply_ok(cmd, "DELETE completed");
}

int cmd_rename(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct slice from, to;

    if (!imap_take_mailbox(&cmd->args, &from) || !imap_take_space(&cmd->args) || !take_one_path(cmd, &to))
        return imap_reply_args(cmd);
    to = without_last_slash(to);
    if (!imap_name_is_acceptable(to))
        return imap_reply_no(cmd, "[CANNOT] no folder can have this name");
    if (mailbox_rename_folder(s->mailbox, from, to, cmd->until, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    if (s->view)
        s->stale = true;                /* INBOX gives its messages away */
    return imap_reply_ok(cmd, "RENAME completed");
}

int cmd_subscribe(struct imap_cmd *cmd)
{
    struct slice path;

    if (!take_one_path(cmd, &path))
        return imap_reply_args(cmd);
    if (!imap_name_is_acceptable(path))
        return imap_reply_no(cmd, "[CANNOT] no folder can have this name");
    if (mailbox_subscribe(cmd->session->mailbox, path, true, cmd->until, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    return imap_reply_ok(cmd, "SUBSCRIBE completed");
}

int cmd_unsubscribe(struct imap_cmd *cmd)
{
    struct slice path;

    if (!take_one_path(cmd, &path))
        return imap_reply_args(cmd);
    if (mailbox_subscribe(cmd->session->mailbox, path, false, cmd->until, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    return imap_reply_ok(cmd, "UNSUBSCRIBE completed");
}
