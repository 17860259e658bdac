/* imap_session.c - the life of a connection: greeting, commands as they come, waiting, good-bye.
 *
 * Owns the session and its stream. Called by the listener with a fresh connection, by the loop when a parked one wakes, and
 * by events. Between commands nothing but this struct, the view and the TLS state is kept. Suspends while commands run.
 */
#include "imap_session.h"
#include "commands.h"
#include "imap_dispatch.h"
#include "base/log.h"
#include "wire/imap/imap_frame.h"

#define BAD_COMMANDS_MAX        50u            /* then BYE */
#define BAD_COMMANDS_EARLY_MAX  10u            /* before login */
#define BYE_MS                  1000u          /* for the last words */
#define RESUME_LINE_MAX         ((size_t)16 << 10)

static const struct imap_limits limits_early = { 8192, 4096, 16384 };
static const struct imap_limits limits_late = { IMAP_LINE_MAX, IMAP_LITERAL_MAX, IMAP_COMMAND_MAX };

static void session_park(struct imap_session *s);

static const struct imap_limits *session_limits(const struct imap_session *s)
{
    return s->state == IMAP_NOT_AUTHENTICATED ? &limits_early : &limits_late;
}

bool imap_session_uses_utf8(const struct imap_session *s)
{
    return s->enabled & (ENABLED_UTF8 | ENABLED_REV2);
}

void imap_session_unselect(struct imap_session *s)
{
    imap_view_free(&s->view);
    s->stale = false;
    if (s->state == IMAP_SELECTED)
        s->state = IMAP_AUTHENTICATED;
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

static void session_end(struct imap_session *s, const char *because)
{
    /* our own health check, every few seconds */
    bool is_health = s->command_count == 0 && s->alias == NULL && strncmp(stream_peer(s->stream)->ip, "127.", 4) == 0;

    log_event(is_health ? LOG_DEBUG : LOG_INFO, "imap.conn.end", F_ID("conn", s->id.s), F_STR("user", s->alias ? s->alias->id : ""),
              F_STR("because", because), F_INT("commands", s->command_count), F_INT("bytes_out", s->bytes_out),
              F_INT("took_ms", clock_now_ms() - s->begun_ms));
    imap_server_remove(s->server, s);
    imap_server_leave(s);
    imap_view_free(&s->view);
    mailbox_close(&s->mailbox);
    stream_close(&s->stream);
    buf_free(&s->out);
    free(s->resume_tag);
    free(s);
}

static void session_flush(struct imap_session *s)
{
    struct fault why;

    if (!s->broken && s->out.n > 0 &&
        (s->out.overflowed || stream_write(s->stream, buf_slice(&s->out), deadline_in_ms(IMAP_WRITE_MS), &why) < 0))
        s->broken = true;
    s->bytes_out += s->out.n;
    buf_free(&s->out);
}

static void session_end_with_bye(struct imap_session *s, const char *text)
{
    struct fault why;

    (void)buf_printf(&s->out, "* BYE %s\r\n", text);
    session_flush(s);
    if (!s->broken && stream_flush(s->stream, deadline_in_ms(BYE_MS), &why) < 0)
        s->broken = true;
    session_end(s, text);
}

void imap_session_bye(struct imap_session *s, const char *reason)
{
    if (s->bye)
        return;
    s->bye = reason;
    stream_kick(s->stream);
}

void imap_session_hint(struct imap_session *s, uint64_t modseq, uint64_t folder)
{
    if (!s->view || (folder && folder != s->view->folder_id))
        return;
    if (modseq >= INT64_MAX)
        s->stale = true;
    else if (modseq > s->view->hinted)
        s->view->hinted = modseq;
    if (s->resume && (s->stale || s->view->hinted > s->view->modseq))
        stream_kick(s->stream);
}

/* ---- commands --------------------------------------------------------------------------------------------------------- */

static int session_resume(struct imap_session *s, enum imap_wake because, struct slice line)
{
    AUTO(arena_free) struct arena *arena = arena_new(0);
    struct imap_cmd cmd = {
        .session = s, .arena = arena, .tag = arena_copy(arena, slice_of(s->resume_tag)), .name = "continued",
        .until = deadline_in_ms(IMAP_COMMAND_MS), .begun_us = clock_now_us(),
    };
    imap_resume_fn resume = s->resume;
    int r;

    s->resume = NULL;
    r = resume(&cmd, because, line);
    if (!s->resume) {
        free(s->resume_tag);
        s->resume_tag = NULL;
    }
    return r;
}

/* Takes the line a waiting command asked for. 1: done, 0: not there yet, < 0: the connection cannot go on. */
static int take_resume_line(struct imap_session *s)
{
    struct slice buffered = stream_buffered(s->stream), line;
    ptrdiff_t end = slice_find_char(buffered, '\n');
    AUTO(arena_free) struct arena *arena = NULL;
    int r;

    if (end < 0)
        return buffered.n < RESUME_LINE_MAX ? 0 : -1;
    arena = arena_new(0);
    line = arena_copy(arena, slice_head(buffered, (size_t)end));
    stream_consume(s->stream, (size_t)end + 1);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    r = session_resume(s, IMAP_WAKE_LINE, line);
    memory_wipe((void *)(uintptr_t)line.p, line.n);
    return r < 0 ? r : 1;
}

static int run_command(struct imap_session *s, size_t bytes)
{
    AUTO(arena_free) struct arena *arena = arena_new(0);
    struct slice command = arena_copy(arena, slice_head(stream_buffered(s->stream), bytes));

    stream_consume(s->stream, bytes);
    s->granted = 0;
    if (imap_dispatch(s, command, arena) < 0)
        return -1;
    s->active_ms = clock_now_ms();
    return 1;
}

/* A literal nobody will take: refused before it was sent, or, when it is under way already, the end: its bytes must not be
 * read as commands. */
static int refuse_literal(struct imap_session *s, const struct imap_frame *frame, const char *because)
{
    struct slice tag = imap_command_tag(slice_head(stream_buffered(s->stream), frame->bytes));

    s->bad_commands++;
    (void)buf_printf(&s->out, "%.*s BAD %s\r\n", SLICE(slice_head(tag, 100)), because);
    stream_consume(s->stream, frame->bytes);
    s->granted = 0;
    return frame->sync ? 1 : -1;
}

/* What keeps an APPEND from its handler, which alone reads the message; NULL: nothing. */
static const char *append_complaint(const struct imap_session *s, const struct imap_frame *frame)
{
    if (s->state == IMAP_NOT_AUTHENTICATED)
        return "log in first";
    if (slice_equal(imap_command_tag(slice_head(stream_buffered(s->stream), frame->bytes)), LIT("*")))
        return "a command begins with a tag";
    return NULL;
}

/* 1: something was done, 0: more input is needed, < 0: the end. */
static int session_step(struct imap_session *s)
{
    struct slice buffered = stream_buffered(s->stream);
    struct imap_frame frame;
    const char *complaint;

    if (s->resume)
        return take_resume_line(s);
    if (buffered.n == 0)
        return 0;
    frame = imap_frame_scan(buffered, s->granted, session_limits(s));
    switch (frame.status) {
    case IMAP_FRAME_MORE:
        return 0;
    case IMAP_FRAME_COMPLETE:
        return run_command(s, frame.bytes);
    case IMAP_FRAME_APPEND:
        complaint = append_complaint(s, &frame);
        return complaint ? refuse_literal(s, &frame, complaint) : run_command(s, frame.bytes);
    case IMAP_FRAME_CONTINUE:
        s->granted = frame.bytes;
        (void)buf_append(&s->out, LIT("+ go on\r\n"));
        return 1;
    case IMAP_FRAME_LITERAL_TOO_BIG:
        return refuse_literal(s, &frame, "[TOOBIG] literal is too big");
    case IMAP_FRAME_LINE_TOO_LONG:
        break;
    }
    (void)buf_append(&s->out, LIT("* BAD command line is too long\r\n"));
    return -1;
}

static const char *session_reason_to_end(const struct imap_session *s)
{
    if (s->bye)
        return s->bye;
    if (s->bad_commands >= (s->state == IMAP_NOT_AUTHENTICATED ? BAD_COMMANDS_EARLY_MAX : BAD_COMMANDS_MAX))
        return "too many errors";
    return NULL;
}

/* Runs what is there, then parks or ends; the session may be gone afterwards. */
static void session_go_on(struct imap_session *s)
{
    const char *reason;
    int r;

    do {
        r = session_step(s);
        if (s->out.n >= IMAP_FLUSH_BYTES)
            session_flush(s);
        if (s->broken || s->state == IMAP_LOGOUT || r < 0)
            break;
        if (r > 0)
            fiber_yield();
    } while (r > 0 && !session_reason_to_end(s));

    reason = session_reason_to_end(s);
    if (s->broken || s->state == IMAP_LOGOUT || r < 0) {
        session_flush(s);
        session_end(s, s->broken ? "peer has gone" : s->state == IMAP_LOGOUT ? "logout" : "protocol");
    } else if (reason) {
        session_end_with_bye(s, reason);
    } else {
        session_flush(s);
        session_park(s);
    }
}

/* ---- parking ------------------------------------------------------------------------------------------------------------ */

static bool session_is_ready(struct slice buffered, void *arg)
{
    struct imap_session *s = arg;

    if (s->resume)
        return slice_find_char(buffered, '\n') >= 0;
    return imap_frame_scan(buffered, s->granted, session_limits(s)).status != IMAP_FRAME_MORE;
}

/* When silence ends the session. Logging in has a time limit as a whole, however busy the peer looks. */
static struct deadline session_quiet_end(const struct imap_session *s)
{
    const struct imap_config *config = s->server->config;

    if (s->state == IMAP_NOT_AUTHENTICATED)
        return (struct deadline){ s->begun_ms + config->login_ms };
    return (struct deadline){ s->active_ms + (s->resume ? config->idle_ms : config->quiet_ms) };
}

static struct deadline session_next_timer(const struct imap_session *s)
{
    const struct imap_config *config = s->server->config;
    struct deadline at = session_quiet_end(s);

    if (s->resume && s->state != IMAP_NOT_AUTHENTICATED) {
        at = deadline_earlier(at, (struct deadline){ s->keepalive_ms + config->keepalive_ms });
        if (s->view && (s->stale || !imap_server_hears_changes(s->server)))
            at = deadline_earlier(at, (struct deadline){ s->view->synced_ms + config->poll_ms });
    }
    return at;
}

static void session_timer(struct imap_session *s)
{
    if (deadline_is_past(session_quiet_end(s))) {
        session_end_with_bye(s, "silent for too long");
        return;
    }
    if (s->resume)
        (void)session_resume(s, IMAP_WAKE_TIMER, SLICE_NONE);
    session_go_on(s);
}

static void session_wake(struct stream *stream, enum stream_wake because, void *arg)
{
    struct imap_session *s = arg;

    (void)stream;
    switch (because) {
    case STREAM_WAKE_CLOSED:
        session_end(s, "peer has gone");
        return;
    case STREAM_WAKE_TIMEOUT:
        session_timer(s);
        return;
    case STREAM_WAKE_KICK:
        if (s->resume && !s->bye)
            (void)session_resume(s, IMAP_WAKE_CHANGE, SLICE_NONE);
        session_go_on(s);
        return;
    case STREAM_WAKE_INPUT:
        break;
    }
    s->active_ms = clock_now_ms();
    session_go_on(s);
}

static void session_park(struct imap_session *s)
{
    const struct imap_limits *limits = session_limits(s);
    size_t most = s->resume ? RESUME_LINE_MAX : limits->command_max + limits->line_max;

    if (s->broken) {
        session_end(s, "peer has gone");
        return;
    }
    if (s->resume && s->view && s->view->hinted > s->view->modseq)
        stream_kick(s->stream);         /* the hint came while we looked */
    stream_park(s->stream, session_is_ready, session_wake, s, most, session_next_timer(s));
}

/* ---- the beginning -------------------------------------------------------------------------------------------------------- */

void imap_session_begin(struct stream *stream, struct imap_server *server)
{
    struct imap_session *s = calloc(1, sizeof(*s));

    if (!s)
        abort();
    s->server = server;
    s->stream = stream;
    s->id = object_id_new();
    s->state = IMAP_NOT_AUTHENTICATED;
    s->out = BUF_INIT(BUF_MAX_DEFAULT);
    s->active_ms = s->begun_ms = clock_now_ms();
    imap_server_add(server, s);
    log_event(LOG_DEBUG, "imap.conn.begin", F_ID("conn", s->id.s), F_STR("ip", stream_peer(stream)->ip),
              F_STR("tls", stream_tls_version(stream)));
    if (server->draining) {
        session_end_with_bye(s, "server is going down, please come back");
        return;
    }
    (void)buf_append(&s->out, LIT("* OK [CAPABILITY "));
    imap_put_capabilities(s);
    (void)buf_append(&s->out, LIT("] ready\r\n"));
    session_flush(s);
    session_park(s);
}
