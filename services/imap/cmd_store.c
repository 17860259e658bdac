/* cmd_store.c - STORE by number or UID (RFC 9051 6.4.6), UNCHANGEDSINCE (RFC 7162 3.1.3).
 *
 * Owns nothing. Called by imap_dispatch.c. Suspends for the change, and for flags that were as asked already: without
 * .SILENT the client is told the flags of every message it named.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/uid_set.h"

struct store_args {
    struct uid_set uids;
    enum mailbox_store_mode mode;
    bool silent;
    bool conditional;
    uint64_t unchanged_since;
    struct imap_flags flags;
};

static bool take_condition(struct imap_cmd *cmd, struct store_args *args)
{
    struct imap_cursor *c = &cmd->args;

    args->unchanged_since = UINT64_MAX;
    if (!imap_skip(c, '('))
        return true;
    if (!imap_skip_word(c, "UNCHANGEDSINCE"))
        return imap_expected(c, "unknown STORE modifier");
    args->conditional = true;
    return imap_take_space(c) && imap_take_number(c, INT64_MAX, &args->unchanged_since) && imap_take_char(c, ')') && imap_take_space(c);
}

static bool take_mode(struct imap_cmd *cmd, struct store_args *args)
{
    struct imap_cursor *c = &cmd->args;

    args->mode = imap_skip(c, '+') ? STORE_ADD : imap_skip(c, '-') ? STORE_REMOVE : STORE_SET;
    args->silent = imap_skip_word(c, "FLAGS.SILENT");
    return args->silent || imap_skip_word(c, "FLAGS") || imap_expected(c, "expected FLAGS");
}

static bool take_args(struct imap_cmd *cmd, struct store_args *args)
{
    struct imap_cursor *c = &cmd->args;

    *args = (struct store_args){ 0 };
    return imap_take_uids(cmd, &args->uids) && imap_take_space(c) && take_condition(cmd, args) && take_mode(cmd, args) &&
           imap_take_space(c) && imap_take_flags(c, IMAP_FLAGS_LIST_OR_BARE, &args->flags) && imap_at_end(c);
}

static struct uid_set uids_of_rows(struct imap_cmd *cmd, const struct mailbox_row *rows, size_t count)
{
    struct uid_set_builder b = uid_set_builder_make(cmd->arena);

    for (size_t i = 0; i < count; i++)
        uid_set_add(&b, rows[i].uid);
    return uid_set_finish(&b);
}

/* Messages whose flags were as asked already are in no row of the answer, but the client wants to hear of them. */
static int tell_unchanged(struct imap_cmd *cmd, struct uid_set page, const struct mailbox_stored *done, unsigned attrs)
{
    struct imap_session *s = cmd->session;
    struct uid_set rest = uid_set_subtract(cmd->arena, page, uids_of_rows(cmd, done->rows, done->row_count));
    struct mailbox_row *rows;
    size_t count;

    rest = uid_set_subtract(cmd->arena, rest, done->conflicts);
    if (rest.count == 0)
        return 0;
    if (mailbox_get_rows(s->mailbox, s->view->folder_id, rest, cmd->arena, cmd->until, &rows, &count, &cmd->why) < 0)
        return -1;
    imap_tell_rows(cmd, rows, count, attrs);
    return 0;
}

static int tell_stored(struct imap_cmd *cmd, const struct store_args *args, struct uid_set page, const struct mailbox_stored *done)
{
    unsigned attrs = imap_unasked_attrs(cmd);

    if (!args->silent)
        attrs |= IMAP_FETCH_FLAGS;
    if (done->keywords)
        imap_note_keywords(cmd, done->keywords, done->keyword_count);
    cmd->told = done->rows;
    cmd->told_count = done->row_count;
    if (attrs & (IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ))
        imap_tell_rows(cmd, done->rows, done->row_count, attrs);
    imap_note_change(cmd, done->from_modseq, done->modseq);
    return args->silent ? 0 : tell_unchanged(cmd, page, done, attrs);
}

/* Large sets go in pages, each a transaction, so that neither side holds a whole mailbox in memory. */
static int store_pages(struct imap_cmd *cmd, const struct store_args *args, struct uid_set *conflicts)
{
    struct imap_session *s = cmd->session;
    struct uid_set rest = uid_set_copy(cmd->arena, args->uids);

    *conflicts = UID_SET_EMPTY;
    while (rest.count > 0) {
        struct uid_set page = imap_cut_page(cmd->arena, &rest);
        struct mailbox_stored done;
        if (mailbox_store(s->mailbox, s->view->folder_id, page, args->mode, args->flags.flags, args->flags.keywords,
                          args->flags.keyword_count, args->unchanged_since, cmd->arena, cmd->until, &done, &cmd->why) < 0)
            return -1;
        if (tell_stored(cmd, args, page, &done) < 0)
            return -1;
        *conflicts = uid_set_union(cmd->arena, *conflicts, done.conflicts);
    }
    return 0;
}

static int reply_stored(struct imap_cmd *cmd, struct uid_set conflicts)
{
    struct slice text;

    if (conflicts.count == 0)
        return imap_reply_ok(cmd, "STORE completed");
    text = uid_set_format(cmd->by_uid ? conflicts : uid_set_to_seqs(cmd->arena, cmd->session->view->uids, conflicts), cmd->arena);
    return imap_reply_printf(cmd, "OK [MODIFIED %.*s] conditional STORE failed for these", SLICE(text));
}

int cmd_store(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct store_args args;
    struct uid_set conflicts;

    if (!take_args(cmd, &args))
        return imap_reply_args(cmd);
    if (s->view->read_only)
        return imap_reply_no(cmd, "[READ-ONLY] mailbox is selected read-only");
    if (args.conditional)
        s->enabled |= ENABLED_CONDSTORE;
    cmd->until = deadline_in_ms(IMAP_TRANSFER_MS);
    if (store_pages(cmd, &args, &conflicts) < 0)
        return imap_reply_fault(cmd);
    return reply_stored(cmd, conflicts);
}
