/* cmd_quota.c - GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 2087): one root "" for the whole mailbox, STORAGE in KiB.
 *
 * Own nothing. Called by imap_dispatch.c. Suspend for the counters. Sealed mail that waits counts as used.
 */
#include "commands.h"
#include "imap_session.h"
#include "wire/imap/imap_format.h"

static int put_quota(struct imap_cmd *cmd)
{
    struct mailbox_usage usage;

    if (mailbox_get_usage(cmd->session->mailbox, cmd->until, &usage, &cmd->why) < 0)
        return -1;
    if (usage.bytes_quota == 0)
        imap_untagged(cmd, "QUOTA \"\" ()");
    else
        imap_untagged(cmd, "QUOTA \"\" (STORAGE %llu %llu)", (unsigned long long)((usage.bytes_used + usage.bytes_sealed + 1023) / 1024),
                      (unsigned long long)(usage.bytes_quota / 1024));
    return 0;
}

int cmd_getquota(struct imap_cmd *cmd)
{
    struct slice root;

    if (!imap_take_astring(&cmd->args, &root) || !imap_at_end(&cmd->args))
        return imap_reply_args(cmd);
    if (root.n > 0)
        return imap_reply_no(cmd, "[NONEXISTENT] there is only the root \"\"");
    if (put_quota(cmd) < 0)
        return imap_reply_fault(cmd);
    return imap_reply_ok(cmd, "GETQUOTA completed");
}

int cmd_getquotaroot(struct imap_cmd *cmd)
{
    struct mailbox_folder folder;
    struct slice path;

    if (!imap_take_mailbox(&cmd->args, &path) || !imap_at_end(&cmd->args))
        return imap_reply_args(cmd);
    if (mailbox_get_folder(cmd->session->mailbox, path, cmd->arena, cmd->until, &folder, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    (void)buf_append(imap_out(cmd), LIT("* QUOTAROOT "));
    (void)imap_put_mailbox(imap_out(cmd), path, imap_session_uses_utf8(cmd->session), cmd->arena);
    (void)buf_append(imap_out(cmd), LIT(" \"\"\r\n"));
    if (put_quota(cmd) < 0)
        return imap_reply_fault(cmd);
    return imap_reply_ok(cmd, "GETQUOTAROOT completed");
}

int cmd_setquota(struct imap_cmd *cmd)
{
    return imap_reply_no(cmd, "[NOPERM] quotas are set by the operator");
}
