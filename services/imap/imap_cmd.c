/* imap_cmd.c - answers of commands, tagged and untagged, and the arguments all message commands share.
 *
 * Owns nothing. Called by the commands. Writing to a peer that has gone marks the session broken; it suspends while the
 * peer is slow.
 */
#include "imap_cmd.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "base/log.h"
#include "wire/uid_set.h"

/* ---- output --------------------------------------------------------------------------------------------------------- */

struct buf *imap_out(struct imap_cmd *cmd)
{
    return &cmd->session->out;
}

void imap_untagged(struct imap_cmd *cmd, const char *format, ...)
{
    struct buf *out = imap_out(cmd);
    va_list ap;

    (void)buf_append(out, LIT("* "));
    va_start(ap, format);
    (void)buf_vprintf(out, format, ap);
    va_end(ap);
    (void)buf_append(out, LIT("\r\n"));
}

int imap_flush(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct fault why;

    if (s->broken)
        return -1;
    if (s->out.n == 0)
        return 0;
    if (s->out.overflowed || stream_write(s->stream, buf_slice(&s->out), deadline_in_ms(IMAP_WRITE_MS), &why) < 0) {
        s->broken = true;
        return -1;
    }
    s->bytes_out += s->out.n;
    buf_reset(&s->out);
    return 0;
}

int imap_flush_some(struct imap_cmd *cmd)
{
    return cmd->session->out.n >= IMAP_FLUSH_BYTES ? imap_flush(cmd) : 0;
}

/* ---- tagged --------------------------------------------------------------------------------------------------------- */

static int put_tagged(struct imap_cmd *cmd, const char *result, struct slice text)
{
    struct buf *out = imap_out(cmd);

    cmd->result = result;
    (void)buf_append(out, cmd->tag);
    (void)buf_append_char(out, ' ');
    (void)buf_append(out, text);
    (void)buf_append(out, LIT("\r\n"));
    return cmd->session->broken ? -1 : 0;
}

int imap_reply_printf(struct imap_cmd *cmd, const char *format, ...)
{
    struct slice text;
    va_list ap;

    va_start(ap, format);
    text = arena_vprintf(cmd->arena, format, ap);
    va_end(ap);
    imap_sync_due(cmd);
    return put_tagged(cmd, slice_has_prefix(text, LIT("OK")) ? "ok" : "no", text);
}

int imap_reply_ok(struct imap_cmd *cmd, const char *text)
{
    return imap_reply_printf(cmd, "OK %s", text);
}

int imap_reply_no(struct imap_cmd *cmd, const char *text)
{
    return imap_reply_printf(cmd, "NO %s", text);
}

int imap_reply_bad(struct imap_cmd *cmd, const char *text)
{
    cmd->session->bad_commands++;
    return put_tagged(cmd, "bad", arena_printf(cmd->arena, "BAD %s", text));
}

int imap_reply_args(struct imap_cmd *cmd)
{
    return imap_reply_bad(cmd, cmd->args.error ? cmd->args.error : "malformed arguments");
}

/* What the peer is told; the text of the fault stays in our log. */
static const char *const fault_replies[FAULT_CODE_COUNT] = {
    [FAULT_INVALID] = "[CANNOT] not possible with these arguments",
    [FAULT_NOT_FOUND] = "[NONEXISTENT] there is no such mailbox",
    [FAULT_EXISTS] = "[ALREADYEXISTS] there is such a mailbox already",
    [FAULT_DENIED] = "[NOPERM] not allowed",
    [FAULT_CONFLICT] = "[INUSE] changed by somebody else at the same time",
    [FAULT_LIMIT] = "[LIMIT] a limit of this server is reached",
    [FAULT_QUOTA] = "[OVERQUOTA] the mailbox is full",
    [FAULT_DISK_FULL] = "[UNAVAILABLE] the server has no room left",
    [FAULT_UNAVAILABLE] = "[UNAVAILABLE] mailbox not reachable, please try again",
    [FAULT_TIMEOUT] = "[UNAVAILABLE] this took too long, please try again",
    [FAULT_CANCELED] = "[UNAVAILABLE] interrupted",
    [FAULT_CORRUPT] = "[CORRUPTION] mailbox is damaged, the operator can see why",
};

int imap_reply_fault(struct imap_cmd *cmd)
{
    const char *text = fault_replies[cmd->why.code];

    if (cmd->why.code == FAULT_CORRUPT || cmd->why.code == FAULT_DISK_FULL || !text)
        log_event(LOG_ERROR, "imap.cmd.failed", F_ID("conn", cmd->session->id.s), F_STR("cmd", cmd->name), F_FAULT(&cmd->why));
    else if (cmd->why.code == FAULT_UNAVAILABLE || cmd->why.code == FAULT_TIMEOUT)
        log_event(LOG_WARN, "imap.cmd.failed", F_ID("conn", cmd->session->id.s), F_STR("cmd", cmd->name), F_FAULT(&cmd->why));
    return imap_reply_no(cmd, text ? text : "[SERVERBUG] internal error, the operator can see why");
}

/* ---- parking ---------------------------------------------------------------------------------------------------------- */

int imap_park(struct imap_cmd *cmd, imap_resume_fn resume)
{
    struct imap_session *s = cmd->session;

    if (!s->resume_tag) {
        s->resume_tag = strndup(cmd->tag.p, cmd->tag.n);
        if (!s->resume_tag)
            abort();
        s->keepalive_ms = clock_now_ms();
    }
    s->resume = resume;
    return 0;
}

/* ---- arguments ---------------------------------------------------------------------------------------------------------- */

static bool take_numbers(struct imap_cmd *cmd, struct slice text, struct uid_set *out)
{
    struct imap_view *view = cmd->session->view;
    uint32_t count = (uint32_t)uid_set_count(view->uids);
    struct uid_set seqs;

    if (!uid_set_parse(text, count, cmd->arena, &seqs))
        return imap_expected(&cmd->args, "malformed sequence set");
    if (seqs.count > 0 && (count == 0 || seqs.ranges[0].first > count))
        return imap_expected(&cmd->args, "there is no message with this number");
    if (uid_set_max(seqs) > count)
        seqs = uid_set_intersect(cmd->arena, seqs, uid_set_make(cmd->arena, 1, count));
    *out = uid_set_from_seqs(cmd->arena, view->uids, seqs);
    return true;
}

bool imap_take_uids_raw(struct imap_cmd *cmd, struct uid_set *out)
{
    struct imap_view *view = cmd->session->view;
    struct slice text;

    if (!imap_take_sequence(&cmd->args, &text))
        return false;
    if (slice_equal(text, LIT("$"))) {
        *out = view->saved;
        return true;
    }
    if (!cmd->by_uid)
        return take_numbers(cmd, text, out);
    return uid_set_parse(text, uid_set_max(view->uids), cmd->arena, out) ||
           imap_expected(&cmd->args, "malformed UID set");
}

bool imap_take_uids(struct imap_cmd *cmd, struct uid_set *out)
{
    if (!imap_take_uids_raw(cmd, out))
        return false;
    *out = uid_set_intersect(cmd->arena, *out, cmd->session->view->uids);
    return true;
}

struct uid_set imap_cut_page(struct arena *in, struct uid_set *rest)
{
    struct uid_set_builder b = uid_set_builder_make(in);
    uint64_t most = IMAP_PAGE_ROWS;

    while (rest->count > 0 && most > 0) {
        struct uid_range *r = &rest->ranges[0];
        uint64_t have = (uint64_t)r->last - r->first + 1;
        if (have > most) {
            uid_set_add_range(&b, r->first, r->first + (uint32_t)most - 1);
            r->first += (uint32_t)most;
            break;
        }
        uid_set_add_range(&b, r->first, r->last);
        most -= have;
        rest->ranges++;
        rest->count--;
    }
    return uid_set_finish(&b);
}
