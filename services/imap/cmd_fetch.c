/* cmd_fetch.c - FETCH by number or UID (RFC 9051 6.4.5, RFC 3516, RFC 7162 3.1.4, 3.2.6).
 *
 * Owns nothing. Called by imap_dispatch.c. Suspends for each page of rows or each message, and while the peer is slow. What
 * rows hold is answered from rows, in pages; anything else is streamed by fetch_body.c.
 */
#include "commands.h"
#include "fetch_body.h"
#include "imap_rows.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/uid_set.h"

#define BEYOND_ROWS ((unsigned)(IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY | IMAP_FETCH_BODYSTRUCTURE))

/* ---- rows only ------------------------------------------------------------------------------------------------------- */

static int fetch_rows(struct imap_cmd *cmd, struct uid_set uids, unsigned attrs)
{
    struct imap_session *s = cmd->session;
    AUTO(arena_free) struct arena *page_arena = arena_new(0);
    struct uid_set rest = uid_set_copy(cmd->arena, uids);

    while (rest.count > 0) {
        struct uid_set page = imap_cut_page(page_arena, &rest);
        struct mailbox_row *rows;
        size_t count;
        if (mailbox_get_rows(s->mailbox, s->view->folder_id, page, page_arena, cmd->until, &rows, &count, &cmd->why) < 0)
            return -1;
        imap_tell_rows(cmd, rows, count, attrs);
        if (s->broken)
            return -1;
        arena_reset(page_arena);
    }
    return 0;
}

/* ---- CHANGEDSINCE ------------------------------------------------------------------------------------------------------ */

static void tell_vanished(struct imap_cmd *cmd, struct uid_set vanished)
{
    vanished = uid_set_subtract(cmd->arena, vanished, cmd->session->view->uids);
    if (vanished.count == 0)
        return;
    (void)buf_append(imap_out(cmd), LIT("* VANISHED (EARLIER) "));
    (void)uid_set_append_text(vanished, imap_out(cmd));
    (void)buf_append(imap_out(cmd), LIT("\r\n"));
}

/* Narrows *uids to those changed; answers at once when only rows are wanted, and then *uids is empty. */
static int fetch_changed(struct imap_cmd *cmd, const struct imap_fetch_args *args, struct uid_set asked, struct uid_set *uids)
{
    struct imap_session *s = cmd->session;
    struct uid_set_builder b = uid_set_builder_make(cmd->arena);
    struct mailbox_changes changes;

    if (asked.count == 0)
        return 0;
    if (mailbox_get_changes(s->mailbox, s->view->folder_id, args->changedsince, asked, cmd->arena, cmd->until, &changes, &cmd->why) < 0)
        return -1;
    if (args->vanished)
        tell_vanished(cmd, uid_set_intersect(cmd->arena, changes.vanished, asked));
    if (args->section_count == 0 && !(args->attrs & BEYOND_ROWS)) {
        imap_tell_rows(cmd, changes.rows, changes.row_count, args->attrs);
        *uids = UID_SET_EMPTY;
        return 0;
    }
    for (size_t i = 0; i < changes.row_count; i++)
        uid_set_add(&b, changes.rows[i].uid);
    *uids = uid_set_intersect(cmd->arena, *uids, uid_set_finish(&b));
    return 0;
}

/* ---- the command --------------------------------------------------------------------------------------------------------- */

static bool take_args(struct imap_cmd *cmd, struct imap_fetch_args *args, struct uid_set *asked)
{
    struct imap_session *s = cmd->session;

    if (!imap_take_uids_raw(cmd, asked) || !imap_take_space(&cmd->args) || !imap_take_fetch_args(&cmd->args, args))
        return false;
    if (args->vanished && (!cmd->by_uid || !(s->enabled & ENABLED_QRESYNC)))
        return imap_expected(&cmd->args, "VANISHED is for UID FETCH after ENABLE QRESYNC");
    if (args->has_changedsince || (args->attrs & IMAP_FETCH_MODSEQ))
        s->enabled |= ENABLED_CONDSTORE;
    if (args->has_changedsince)
        args->attrs |= IMAP_FETCH_MODSEQ;
    if (cmd->by_uid)
        args->attrs |= IMAP_FETCH_UID;
    return true;
}

int cmd_fetch(struct imap_cmd *cmd)
{
    struct imap_fetch_args *args = ARENA_NEW(cmd->arena, struct imap_fetch_args);
    struct uid_set asked, uids;
    int r = 0;

    if (!take_args(cmd, args, &asked))
        return imap_reply_args(cmd);
    cmd->until = deadline_in_ms(IMAP_TRANSFER_MS);
    uids = uid_set_intersect(cmd->arena, asked, cmd->session->view->uids);
    if (args->has_changedsince)
        r = fetch_changed(cmd, args, asked, &uids);
    if (r == 0 && uids.count > 0)
        r = args->section_count > 0 || (args->attrs & BEYOND_ROWS) ? imap_fetch_bodies(cmd, uids, args)
                                                                  : fetch_rows(cmd, uids, args->attrs);
    if (cmd->session->broken)
        return -1;
    return r < 0 ? imap_reply_fault(cmd) : imap_reply_ok(cmd, "FETCH completed");
}
