/* cmd_status.c - STATUS (RFC 9051 6.3.11, RFC 7162 3.1.7, RFC 7889): counters of a folder, without selecting it.
 *
 * Owns nothing. Called by imap_dispatch.c. Suspends once, for the counters.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_status.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_format.h"

void imap_put_status(struct imap_cmd *cmd, const struct mailbox_folder *f, unsigned items)
{
    const struct { unsigned item; const char *name; uint64_t value; } row[] = {
        { IMAP_STATUS_MESSAGES, "MESSAGES", f->messages },
        { IMAP_STATUS_RECENT, "RECENT", 0 },
        { IMAP_STATUS_UIDNEXT, "UIDNEXT", f->uidnext },
        { IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY", f->uidvalidity },
        { IMAP_STATUS_UNSEEN, "UNSEEN", f->unseen },
        { IMAP_STATUS_DELETED, "DELETED", f->deleted },
        { IMAP_STATUS_SIZE, "SIZE", f->size_bytes },
        { IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ", f->highestmodseq ? f->highestmodseq : 1 },
        { IMAP_STATUS_APPENDLIMIT, "APPENDLIMIT", cmd->session->server->config->append_max },
    };
    struct buf *out = imap_out(cmd);
    bool first = true;

    (void)buf_append(out, LIT("* STATUS "));
    (void)imap_put_mailbox(out, f->path, imap_session_uses_utf8(cmd->session), cmd->arena);
    (void)buf_append(out, LIT(" ("));
    for (size_t i = 0; i < COUNT(row); i++)
        if (items & row[i].item) {
            (void)buf_printf(out, "%s%s %llu", first ? "" : " ", row[i].name, (unsigned long long)row[i].value);
            first = false;
        }
    (void)buf_append(out, LIT(")\r\n"));
}

int cmd_status(struct imap_cmd *cmd)
{
    struct mailbox_folder folder;
    struct slice path;
    unsigned items;

    if (!imap_take_mailbox(&cmd->args, &path) || !imap_take_space(&cmd->args) ||
        !imap_take_status_items(&cmd->args, &items) || !imap_at_end(&cmd->args))
        return imap_reply_args(cmd);
    if (mailbox_get_folder(cmd->session->mailbox, path, cmd->arena, cmd->until, &folder, &cmd->why) < 0)
        return imap_reply_fault(cmd);
    if (items & IMAP_STATUS_HIGHESTMODSEQ)
        cmd->session->enabled |= ENABLED_CONDSTORE;
    imap_put_status(cmd, &folder, items);
    return imap_reply_ok(cmd, "STATUS completed");
}
