/* cmd_search.c - SEARCH by number or UID (RFC 9051 6.4.4), ESEARCH (RFC 4731), SEARCHRES (RFC 5182), MODSEQ (RFC 7162 3.1.5).
 *
 * The result saved for "$" lives in the view. Called by imap_dispatch.c. Suspends for the search and while the peer is slow.
 * Messages the client has not been told of yet are no result.
 */
#include "commands.h"
#include "imap_session.h"
#include "wire/imap/imap_format.h"
#include "wire/imap/imap_search_args.h"
#include "wire/uid_set.h"

struct search_result {
    struct uid_set uids, shown;                 /* shown: numbers, unless by UID */
    uint64_t modseq;                            /* 0: none to show */
};

static int put_search(struct imap_cmd *cmd, const struct search_result *found)
{
    struct uid_set_iter i = uid_set_iterate(found->shown);
    struct buf *out = imap_out(cmd);
    uint32_t number;

    (void)buf_append(out, LIT("* SEARCH"));
    while (uid_set_next(&i, &number)) {
        (void)buf_append_char(out, ' ');
        (void)buf_append_u64(out, number);
        if (imap_flush_some(cmd) < 0)
            return -1;
    }
    if (found->shown.count && found->modseq)
        (void)buf_printf(out, " (MODSEQ %llu)", (unsigned long long)found->modseq);
    (void)buf_append(out, LIT("\r\n"));
    return 0;
}

static void put_esearch(struct imap_cmd *cmd, unsigned returns, const struct search_result *found)
{
    struct buf *out = imap_out(cmd);

    (void)buf_append(out, LIT("* ESEARCH (TAG "));
    (void)imap_put_string(out, cmd->tag, false);
    (void)buf_append(out, cmd->by_uid ? LIT(") UID") : LIT(")"));
    if ((returns & IMAP_RETURN_MIN) && found->shown.count)
        (void)buf_printf(out, " MIN %u", found->shown.ranges[0].first);
    if ((returns & IMAP_RETURN_MAX) && found->shown.count)
        (void)buf_printf(out, " MAX %u", uid_set_max(found->shown));
    if ((returns & IMAP_RETURN_ALL) && found->shown.count) {
        (void)buf_append(out, LIT(" ALL "));
        (void)uid_set_append_text(found->shown, out);
    }
    if (returns & IMAP_RETURN_COUNT)
        (void)buf_printf(out, " COUNT %llu", (unsigned long long)uid_set_count(found->shown));
    if (found->shown.count && found->modseq)
        (void)buf_printf(out, " MODSEQ %llu", (unsigned long long)found->modseq);
    (void)buf_append(out, LIT("\r\n"));
}

/* MIN and MAX alone: the MODSEQ is that of the messages shown (RFC 7162 3.1.10). */
static int narrow_modseq(struct imap_cmd *cmd, unsigned returns, struct search_result *found)
{
    struct imap_session *s = cmd->session;
    struct uid_set_builder b = uid_set_builder_make(cmd->arena);
    struct mailbox_row *rows;
    size_t count;

    if (!found->modseq || found->uids.count == 0 || (returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) ||
        !(returns & (IMAP_RETURN_MIN | IMAP_RETURN_MAX)))
        return 0;
    if (returns & IMAP_RETURN_MIN)
        uid_set_add(&b, found->uids.ranges[0].first);
    if (returns & IMAP_RETURN_MAX)
        uid_set_add(&b, uid_set_max(found->uids));
    if (mailbox_get_rows(s->mailbox, s->view->folder_id, uid_set_finish(&b), cmd->arena, cmd->until, &rows, &count, &cmd->why) < 0)
        return -1;
    found->modseq = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].modseq > found->modseq)
            found->modseq = rows[i].modseq;
    return 0;
}

/* What "$" stands for: with only MIN or MAX beside SAVE, those messages (RFC 5182 2.4). */
static void save_result(struct imap_cmd *cmd, unsigned returns, struct uid_set uids)
{
    struct imap_view_content now = imap_view_content(cmd->session->view);
    struct uid_set_builder b = uid_set_builder_make(cmd->arena);

    now.saved = uids;
    if (uids.count && (returns & (IMAP_RETURN_MIN | IMAP_RETURN_MAX)) && !(returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT))) {
        if (returns & IMAP_RETURN_MIN)
            uid_set_add(&b, uids.ranges[0].first);
        if (returns & IMAP_RETURN_MAX)
            uid_set_add(&b, uid_set_max(uids));
        now.saved = uid_set_finish(&b);
    }
    imap_view_set(cmd->session->view, &now);
}

static int search(struct imap_cmd *cmd, const struct imap_search_args *args, struct search_result *out)
{
    struct imap_session *s = cmd->session;
    struct mailbox_found found = { 0 };

    if (mailbox_search(s->mailbox, s->view->folder_id, args->program, cmd->arena, cmd->until, &found, &cmd->why) < 0)
        return -1;
    out->uids = uid_set_intersect(cmd->arena, found.uids, s->view->uids);
    out->shown = cmd->by_uid ? out->uids : uid_set_to_seqs(cmd->arena, s->view->uids, out->uids);
    out->modseq = args->uses_modseq ? found.highestmodseq : 0;
    return narrow_modseq(cmd, args->returns, out);
}

int cmd_search(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct imap_search_args args;
    struct search_result found;
    bool saves;

    if (!imap_take_search_args(&cmd->args, s->view->uids, s->view->saved, &args))
        return imap_reply_args(cmd);
    if (args.has_charset && (s->enabled & ENABLED_UTF8))
        return imap_reply_bad(cmd, "no CHARSET after ENABLE UTF8=ACCEPT");
    saves = args.returns & IMAP_RETURN_SAVE;
    if (args.bad_charset) {
        if (saves)
            save_result(cmd, 0, UID_SET_EMPTY);
        return imap_reply_no(cmd, "[BADCHARSET (US-ASCII UTF-8)] text must be UTF-8");
    }
    if (args.uses_modseq)
        s->enabled |= ENABLED_CONDSTORE;
    if (!args.has_return && (s->enabled & ENABLED_REV2)) {
        args.has_return = true;
        args.returns = IMAP_RETURN_ALL;
    }
    cmd->until = deadline_in_ms(IMAP_TRANSFER_MS);
    if (search(cmd, &args, &found) < 0) {
        if (saves)
            save_result(cmd, 0, UID_SET_EMPTY);
        return imap_reply_fault(cmd);
    }
    if (saves)
        save_result(cmd, args.returns, found.uids);
    if (!args.has_return && put_search(cmd, &found) < 0)
        return -1;
    if (args.has_return && args.returns != IMAP_RETURN_SAVE)
        put_esearch(cmd, args.returns, &found);
    return imap_reply_ok(cmd, "SEARCH completed");
}
