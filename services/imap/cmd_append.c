/* cmd_append.c - APPEND of one or several messages (RFC 9051 6.3.12, RFC 3502, RFC 7888, RFC 6855 4, RFC 7889, RFC 4466).
 *
 * Owns the append under way; nothing of it is visible before the commit. Called by imap_dispatch.c with the command up to
 * the first literal's head; reads the rest from the stream itself, piece by piece. Suspends for both sides. What a refused
 * client sends without being asked (LITERAL+) is read and thrown away, up to a limit.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/uid_set.h"

#define APPEND_LINE_MAX      8192u
#define APPEND_MESSAGES_MAX  1000u                      /* of one command */
#define APPEND_DISCARD_MAX   ((uint64_t)256 << 20)      /* of one command; more ends the connection */
#define APPEND_READ_MS       120000u                    /* silence while a message is under way */

struct append {
    struct imap_cmd *cmd;
    struct slice path;
    struct mailbox_append *to;
    struct imap_append_message message;         /* its bytes are next on the stream, or invited when `sync` */
    size_t count;
    bool bytes_pending;                         /* message.literal has not been read */
    bool line_pending;                          /* the line behind it has not been read */
    const char *refusal;                        /* "NO [CODE] text", the first reason */
};

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static int read_failed(struct append *a)
{
    a->cmd->session->broken = true;
    return -1;
}

static int read_line(struct append *a, struct slice *line)
{
    struct slice raw;

    if (stream_read_line(a->cmd->session->stream, APPEND_LINE_MAX, deadline_in_ms(APPEND_READ_MS), &raw, &a->cmd->why) < 0)
        return read_failed(a);
    *line = arena_copy(a->cmd->arena, raw);
    a->line_pending = false;
    return 0;
}

/* Takes the literal's bytes; `to_mailbox` NULL: throws them away. */
static int read_bytes(struct append *a, struct mailbox_append *to_mailbox)
{
    struct imap_session *s = a->cmd->session;
    struct slice piece;

    for (uint64_t left = a->message.literal.bytes; left > 0; left -= piece.n) {
        size_t most = left < 65536 ? (size_t)left : 65536;
        if (stream_read_some(s->stream, most, deadline_in_ms(APPEND_READ_MS), &piece, &a->cmd->why) < 0 || piece.n == 0)
            return read_failed(a);
        if (!to_mailbox)
            continue;
        if (memchr(piece.p, '\0', piece.n)) {
            a->refusal = a->message.literal.binary ? "NO [UNKNOWN-CTE] NUL bytes are not supported" : "NO [CANNOT] a message has no NUL bytes";
            to_mailbox = NULL;
        } else if (mailbox_append_write(to_mailbox, piece, &a->cmd->why) < 0) {
            to_mailbox = NULL;
            a->refusal = "";                    /* from cmd->why */
        }
    }
    a->bytes_pending = false;
    a->line_pending = true;
    return 0;
}

/* Reads what the client sends without being asked, so that the next command is found. */
static int discard_rest(struct append *a)
{
    uint64_t discarded = 0;
    struct slice line;

    for (;;) {
        if (a->bytes_pending) {
            if (a->message.literal.sync)
                return 0;                       /* not invited: the client waits for our answer */
            discarded += a->message.literal.bytes;
            if (discarded > APPEND_DISCARD_MAX) {
                imap_untagged(a->cmd, "BYE [TOOBIG] too much to throw away");
                (void)imap_flush(a->cmd);
                return read_failed(a);
            }
            if (read_bytes(a, NULL) < 0)
                return -1;
        }
        if (!a->line_pending)
            return 0;
        if (read_line(a, &line) < 0)
            return -1;
        a->bytes_pending = imap_literal_find(line, &a->message.literal);
    }
}

/* ---- one message ---------------------------------------------------------------------------------------------------------- */

static const char *complaint(const struct append *a)
{
    uint64_t most = a->cmd->session->server->config->append_max;

    if (a->message.literal.bytes > most)
        return "NO [TOOBIG] message is too big";
    if (a->message.literal.bytes == 0)
        return "NO [CANNOT] message is empty";
    if (a->message.utf8 && !(a->cmd->session->enabled & ENABLED_UTF8))
        return "BAD ENABLE UTF8=ACCEPT first";
    if (a->count >= APPEND_MESSAGES_MAX)
        return "NO [LIMIT] too many messages at once";
    return NULL;
}

/* The message whose head was parsed. 0: taken or refused (a->refusal). */
static int append_one(struct append *a)
{
    struct imap_cmd *cmd = a->cmd;
    const struct imap_append_message *m = &a->message;
    int64_t internal_ms = m->has_date ? m->internal_ms : clock_wall_ms();

    a->refusal = complaint(a);
    if (a->refusal)
        return 0;
    if (mailbox_append_message(a->to, m->literal.bytes, m->flags.flags, m->flags.keywords, m->flags.keyword_count, internal_ms, &cmd->why) < 0) {
        a->refusal = "";
        return 0;
    }
    if (m->literal.sync) {
        (void)buf_append(imap_out(cmd), LIT("+ go on\r\n"));
        if (imap_flush(cmd) < 0)
            return -1;
    }
    a->count++;
    return read_bytes(a, a->to);
}

/* Behind a message: nothing, or a space and the next one's head. 1: another message, 0: the end or refused. */
static int append_next(struct append *a)
{
    struct slice line;
    struct imap_cursor c;

    if (read_line(a, &line) < 0)
        return -1;
    c = imap_cursor_make(line, false, a->cmd->arena);
    if (a->message.utf8 && !imap_skip(&c, ')')) {
        a->refusal = "BAD expected )";
        a->bytes_pending = imap_literal_find(line, &a->message.literal);
        return 0;
    }
    if (c.p == c.end)
        return 0;
    if (imap_take_space(&c) && imap_take_append_message(&c, &a->message)) {
        a->bytes_pending = true;
        return 1;
    }
    a->refusal = arena_printf(a->cmd->arena, "BAD %s", c.error).p;
    a->bytes_pending = imap_literal_find(line, &a->message.literal);
    return 0;
}

static int append_all(struct append *a)
{
    int more = 1;

    while (more == 1 && !a->refusal) {
        if (append_one(a) < 0)
            return -1;
        more = a->refusal ? 0 : append_next(a);
    }
    return more < 0 ? -1 : 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------------------ */

static int reply_refused(struct append *a)
{
    struct imap_cmd *cmd = a->cmd;

    mailbox_append_abort(&a->to);
    if (discard_rest(a) < 0)
        return -1;
    if (a->refusal[0] == 'B')
        return imap_reply_bad(cmd, a->refusal + 4);
    if (a->refusal[0])
        return imap_reply_printf(cmd, "%s", a->refusal);
    if (cmd->why.code == FAULT_NOT_FOUND)
        return imap_reply_no(cmd, "[TRYCREATE] there is no such mailbox");
    return imap_reply_fault(cmd);
}

static int reply_appended(struct imap_cmd *cmd, struct slice path, const struct mailbox_appended *done)
{
    struct imap_session *s = cmd->session;
    struct slice uids = uid_set_format(done->uids, cmd->arena);

    if (s->view && slice_equal(path, s->view->path))
        s->stale = true;
    else
        imap_note_elsewhere(cmd, done->from_modseq, done->modseq);
    return imap_reply_printf(cmd, "OK [APPENDUID %u %.*s] APPEND completed", done->uidvalidity, SLICE(uids));
}

/* Mailbox and first message's head. False: a->refusal, and a->bytes_pending says whether a literal's head was there. */
static bool take_args(struct append *a)
{
    struct imap_cmd *cmd = a->cmd;
    struct slice line = slice_make(cmd->args.p, (size_t)(cmd->args.end - cmd->args.p));

    a->bytes_pending = true;
    if (imap_take_mailbox(&cmd->args, &a->path) && imap_take_space(&cmd->args) &&
        imap_take_append_message(&cmd->args, &a->message))
        return true;
    a->bytes_pending = imap_literal_find(line, &a->message.literal);
    a->refusal = arena_printf(cmd->arena, "BAD %s", cmd->args.error).p;
    return false;
}

int cmd_append(struct imap_cmd *cmd)
{
    struct append *a = ARENA_NEW(cmd->arena, struct append);
    struct mailbox_appended done;

    a->cmd = cmd;
    cmd->until = deadline_in_ms(IMAP_TRANSFER_MS);
    if (!take_args(a))
        return reply_refused(a);
    if (mailbox_append_begin(cmd->session->mailbox, a->path, cmd->until, &a->to, &cmd->why) < 0) {
        a->refusal = "";
        return reply_refused(a);
    }
    if (append_all(a) < 0) {
        mailbox_append_abort(&a->to);
        return -1;
    }
    if (!a->refusal && mailbox_append_commit(&a->to, cmd->arena, &done, &cmd->why) < 0)
        a->refusal = "";
    return a->refusal ? reply_refused(a) : reply_appended(cmd, a->path, &done);
}
