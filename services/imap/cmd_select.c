/* cmd_select.c - SELECT and EXAMINE (RFC 9051 6.3.2, 6.3.3), with CONDSTORE and QRESYNC (RFC 7162 3.1.8, 3.2.5).
 *
 * On success the session owns a view of the folder. Called by imap_dispatch.c. Suspends for the picture of the folder, and
 * for the changes since the client's last visit. A SELECT that fails leaves nothing selected.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_format.h"
#include "wire/uid_set.h"

enum select_mode { SELECT_WRITE, SELECT_READ };

static void tell_list(struct imap_cmd *cmd)
{
    struct buf *out = imap_out(cmd);

    (void)buf_append(out, LIT("* LIST () \"/\" "));
    (void)imap_put_mailbox(out, cmd->session->view->path, imap_session_uses_utf8(cmd->session), cmd->arena);
    (void)buf_append(out, LIT("\r\n"));
}

static void tell_picture(struct imap_cmd *cmd, const struct mailbox_view *now)
{
    struct imap_session *s = cmd->session;
    bool rev2 = s->enabled & ENABLED_REV2;

    imap_tell_flags(cmd);
    imap_untagged(cmd, "%llu EXISTS", (unsigned long long)uid_set_count(s->view->uids));
    if (!rev2)
        imap_untagged(cmd, "0 RECENT");
    if (!rev2 && now->first_unseen_uid)
        imap_untagged(cmd, "OK [UNSEEN %llu] first unseen", (unsigned long long)uid_set_rank(s->view->uids, now->first_unseen_uid));
    imap_untagged(cmd, "OK [UIDVALIDITY %u] UIDs are valid", now->folder.uidvalidity);
    imap_untagged(cmd, "OK [UIDNEXT %u] predicted next UID", now->folder.uidnext);
    imap_untagged(cmd, "OK [HIGHESTMODSEQ %llu] highest", (unsigned long long)s->view->highest);
    if (rev2)
        tell_list(cmd);
}

/* What happened since the client was here: VANISHED (EARLIER) and changed flags. */
static int tell_changes_since(struct imap_cmd *cmd, const struct imap_select_args *args)
{
    struct imap_session *s = cmd->session;
    struct mailbox_changes changes;
    struct uid_set known = UID_SET_EMPTY;

    if (args->uidvalidity != s->view->uidvalidity)
        return 0;
    if (args->known_uids.n && !uid_set_parse(args->known_uids, uid_set_max(s->view->uids), cmd->arena, &known)) {
        (void)imap_expected(&cmd->args, "malformed set of known UIDs");
        return -1;
    }
    if (mailbox_get_changes(s->mailbox, s->view->folder_id, args->modseq, known, cmd->arena, cmd->until, &changes, &cmd->why) < 0)
        return -1;
    changes.vanished = uid_set_subtract(cmd->arena, changes.vanished, s->view->uids);
    if (known.count)
        changes.vanished = uid_set_intersect(cmd->arena, changes.vanished, known);
    if (changes.vanished.count) {
        (void)buf_append(imap_out(cmd), LIT("* VANISHED (EARLIER) "));
        (void)uid_set_append_text(changes.vanished, imap_out(cmd));
        (void)buf_append(imap_out(cmd), LIT("\r\n"));
    }
    imap_tell_rows(cmd, changes.rows, changes.row_count, IMAP_FETCH_UID | IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ);
    return 0;
}

static int select_folder(struct imap_cmd *cmd, enum select_mode mode)
{
    struct imap_session *s = cmd->session;
    struct imap_select_args args;
    struct mailbox_view now;
    uint64_t generation = mailbox_generation(s->mailbox);

    if (!imap_take_select_args(&cmd->args, &args))
        return imap_reply_args(cmd);
    if (args.qresync && !(s->enabled & ENABLED_QRESYNC))
        return imap_reply_bad(cmd, "ENABLE QRESYNC first");
    if (s->view)
        imap_untagged(cmd, "OK [CLOSED] previous mailbox is closed");
    imap_session_unselect(s);
    if (mailbox_select(s->mailbox, args.path, cmd->arena, cmd->until, &now, &cmd->why) < 0)
        return imap_reply_fault(cmd);

    s->view = imap_view_new(&now, mode == SELECT_READ, generation);
    s->state = IMAP_SELECTED;
    s->stale = now.drain_left > 0;
    if (args.condstore)
        s->enabled |= ENABLED_CONDSTORE;
    tell_picture(cmd, &now);
    if (args.qresync && tell_changes_since(cmd, &args) < 0) {
        imap_session_unselect(s);
        return cmd->args.error ? imap_reply_args(cmd) : imap_reply_fault(cmd);
    }
    return imap_reply_ok(cmd, mode == SELECT_READ ? "[READ-ONLY] EXAMINE completed" : "[READ-WRITE] SELECT completed");
}

int cmd_select(struct imap_cmd *cmd)
{
    return select_folder(cmd, SELECT_WRITE);
}

int cmd_examine(struct imap_cmd *cmd)
{
    return select_folder(cmd, SELECT_READ);
}
