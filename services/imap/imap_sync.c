/* imap_sync.c - brings a view up to date and tells the client: EXPUNGE or VANISHED, EXISTS, FLAGS, FETCH.
 *
 * Owns nothing. Called on the session's fiber, by one command at a time. A folder that was deleted or made anew ends the
 * session with BYE; a mailbox server that is away leaves the view as it was, to be tried again. Suspends.
 */
#include "imap_sync.h"
#include "imap_rows.h"
#include "imap_session.h"
#include "base/log.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/uid_set.h"

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

unsigned imap_unasked_attrs(const struct imap_cmd *cmd)
{
    unsigned enabled = cmd->session->enabled, attrs = 0;

    if (cmd->by_uid || (enabled & (ENABLED_QRESYNC | ENABLED_REV2)))
        attrs |= IMAP_FETCH_UID;
    if (enabled & ENABLED_CONDSTORE)
        attrs |= IMAP_FETCH_MODSEQ;
    return attrs;
}

void imap_tell_rows(struct imap_cmd *cmd, const struct mailbox_row *rows, size_t count, unsigned attrs)
{
    struct imap_view *view = cmd->session->view;
    struct imap_ranker ranker = imap_ranker_make(view->uids);
    struct buf *out = imap_out(cmd);

    for (size_t i = 0; i < count; i++) {
        uint32_t seq = imap_rank(&ranker, rows[i].uid);
        if (seq == 0)
            continue;
        (void)imap_put_row(out, seq, &rows[i], attrs, view);
        (void)buf_append(out, LIT(")\r\n"));
        if (imap_flush_some(cmd) < 0)
            return;
    }
}

void imap_tell_flags(struct imap_cmd *cmd)
{
    struct imap_view *view = cmd->session->view;
    struct buf *out = imap_out(cmd);
    struct slice system = LIT("\\Answered \\Flagged \\Deleted \\Seen \\Draft");

    (void)buf_printf(out, "* FLAGS (%.*s", SLICE(system));
    for (size_t i = 0; i < view->keyword_count; i++)
        (void)buf_printf(out, " %.*s", SLICE(view->keywords[i]));
    (void)buf_append(out, LIT(")\r\n"));
    if (view->read_only) {
        imap_untagged(cmd, "OK [PERMANENTFLAGS ()] read-only");
        return;
    }
    (void)buf_printf(out, "* OK [PERMANENTFLAGS (%.*s", SLICE(system));
    for (size_t i = 0; i < view->keyword_count; i++)
        (void)buf_printf(out, " %.*s", SLICE(view->keywords[i]));
    if (view->keyword_count < MAILBOX_KEYWORDS_MAX)
        (void)buf_append(out, LIT(" \\*"));
    (void)buf_append(out, LIT(")] limited to these\r\n"));
}

/* From the highest down, so that a message's number is the one it had before any of them went. */
static void tell_expunged(struct imap_cmd *cmd, struct uid_set uids, struct uid_set gone)
{
    for (size_t i = gone.count; i-- > 0;) {
        struct uid_range r = gone.ranges[i];
        uint64_t seq = uid_set_rank(uids, r.last);
        for (uint64_t left = (uint64_t)r.last - r.first + 1; left > 0; left--) {
            imap_untagged(cmd, "%llu EXPUNGE", (unsigned long long)seq--);
            if (imap_flush_some(cmd) < 0)
                return;
        }
    }
}

static void tell_gone(struct imap_cmd *cmd, struct imap_view_content *now)
{
    struct buf *out = imap_out(cmd);

    if (now->gone.count == 0 || cmd->keeps_numbers)
        return;
    if (cmd->session->enabled & ENABLED_QRESYNC) {
        (void)buf_append(out, LIT("* VANISHED "));
        (void)uid_set_append_text(now->gone, out);
        (void)buf_append(out, LIT("\r\n"));
    } else {
        tell_expunged(cmd, now->uids, now->gone);
    }
    now->uids = uid_set_subtract(cmd->arena, now->uids, now->gone);
    now->gone = UID_SET_EMPTY;
}

/* ---- changes of our own ---------------------------------------------------------------------------------------------- */

void imap_note_change(struct imap_cmd *cmd, uint64_t from, uint64_t to)
{
    struct imap_view *view = cmd->session->view;

    if (to <= view->modseq)
        return;
    if (from == view->modseq)
        view->modseq = view->highest = to;
    else
        cmd->session->stale = true;
}

void imap_note_elsewhere(struct imap_cmd *cmd, uint64_t from, uint64_t to)
{
    struct imap_view *view = cmd->session->view;

    if (view && from == view->modseq && to > from)
        view->modseq = to;
}

void imap_note_gone(struct imap_cmd *cmd, struct uid_set uids, uint64_t from, uint64_t to)
{
    struct imap_view *view = cmd->session->view;
    struct imap_view_content now = imap_view_content(view);

    now.gone = uid_set_union(cmd->arena, now.gone, uid_set_intersect(cmd->arena, uids, now.uids));
    imap_view_set(view, &now);
    imap_note_change(cmd, from, to);
}

static bool same_keywords(const struct imap_view *view, const struct slice *keywords, size_t count)
{
    if (count != view->keyword_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!slice_equal(keywords[i], view->keywords[i]))
            return false;
    return true;
}

void imap_note_keywords(struct imap_cmd *cmd, const struct slice *keywords, size_t count)
{
    struct imap_view *view = cmd->session->view;
    struct imap_view_content now = imap_view_content(view);

    if (same_keywords(view, keywords, count))
        return;
    now.keywords = keywords;
    now.keyword_count = count;
    imap_view_set(view, &now);
    imap_tell_flags(cmd);
}

/* ---- changes of others ------------------------------------------------------------------------------------------------ */

static bool is_told(const struct imap_cmd *cmd, const struct mailbox_row *row)
{
    size_t low = 0, high = cmd->told_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cmd->told[middle].uid < row->uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < cmd->told_count && cmd->told[low].uid == row->uid && cmd->told[low].modseq == row->modseq;
}

/* Rows of messages the view has not seen become `added`; those it has, and were not told yet, `changed`. */
static size_t sort_rows(struct imap_cmd *cmd, const struct mailbox_changes *changes, struct uid_set *added, struct mailbox_row *changed)
{
    struct imap_view *view = cmd->session->view;
    struct imap_ranker known = imap_ranker_make(view->uids);
    struct uid_set_builder b = uid_set_builder_make(cmd->arena);
    size_t n = 0;

    for (size_t i = 0; i < changes->row_count; i++) {
        const struct mailbox_row *row = &changes->rows[i];
        if (imap_rank(&known, row->uid) == 0)
            uid_set_add(&b, row->uid);
        else if (!is_told(cmd, row))
            changed[n++] = *row;
    }
    *added = uid_set_finish(&b);
    return n;
}

static void merge(struct imap_cmd *cmd, const struct mailbox_changes *changes)
{
    struct imap_view *view = cmd->session->view;
    struct imap_view_content now = imap_view_content(view);
    struct mailbox_row *changed = ARENA_ARRAY(cmd->arena, struct mailbox_row, changes->row_count + 1);
    struct uid_set added, vanished = uid_set_intersect(cmd->arena, changes->vanished, now.uids);
    size_t changed_count = sort_rows(cmd, changes, &added, changed);
    bool new_keywords = !same_keywords(view, changes->keywords, changes->keyword_count);

    now.gone = uid_set_union(cmd->arena, now.gone, vanished);
    tell_gone(cmd, &now);
    now.uids = uid_set_union(cmd->arena, now.uids, added);
    now.keywords = changes->keywords;
    now.keyword_count = changes->keyword_count;
    view->modseq = changes->modseq;
    if (changes->folder.highestmodseq)
        view->highest = changes->folder.highestmodseq;
    if (added.count || vanished.count || now.gone.count != view->gone.count || new_keywords)
        imap_view_set(view, &now);
    if (added.count)
        imap_untagged(cmd, "%llu EXISTS", (unsigned long long)uid_set_count(view->uids));
    if (new_keywords)
        imap_tell_flags(cmd);
    imap_tell_rows(cmd, changed, changed_count, imap_unasked_attrs(cmd) | IMAP_FETCH_FLAGS);
}

static void sync(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct imap_view *view = s->view;
    struct mailbox_changes changes;
    struct fault why;

    s->stale = false;
    view->synced_ms = clock_now_ms();
    if (mailbox_get_changes(s->mailbox, view->folder_id, view->modseq, UID_SET_EMPTY, cmd->arena, deadline_in_ms(IMAP_COMMAND_MS), &changes, &why) < 0) {
        if (why.code == FAULT_NOT_FOUND)
            imap_session_bye(s, "the selected mailbox is no longer there");
        else
            log_event(LOG_WARN, "imap.sync.failed", F_ID("conn", s->id.s), F_FAULT(&why));
        s->stale = true;                /* again after IMAP_POLL_INTERVAL or with the next command */
        view->hinted = 0;
        return;
    }
    if (changes.folder.uidvalidity != view->uidvalidity) {
        imap_session_bye(s, "the selected mailbox was made anew");
        return;
    }
    view->generation = mailbox_generation(s->mailbox);
    if (changes.drain_left > 0)
        s->stale = true;
    merge(cmd, &changes);
}

void imap_sync_due(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct imap_view *view = s->view;
    struct imap_view_content now;

    if (!view || s->broken || s->state != IMAP_SELECTED)
        return;
    if (s->stale || view->hinted > view->modseq || view->generation != mailbox_generation(s->mailbox) ||
        clock_now_ms() - view->synced_ms >= s->server->config->poll_ms)
        sync(cmd);
    if (view->gone.count == 0 || cmd->keeps_numbers)
        return;
    now = imap_view_content(view);
    tell_gone(cmd, &now);
    imap_view_set(view, &now);
}
