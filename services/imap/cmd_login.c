/* cmd_login.c - STARTTLS, LOGIN and AUTHENTICATE PLAIN (RFC 9051 6.2, RFC 4959, RFC 4616).
 *
 * Own nothing; on success the session owns its mailbox handle. Called by imap_dispatch.c. Suspend for the password check
 * and for opening the mailbox. All refusals look alike to the peer; delays for guessers are login_check's.
 */
#include "commands.h"
#include "imap_session.h"
#include "base/encode.h"
#include "base/log.h"
#include "rt/listener.h"

int cmd_starttls(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    size_t dropped = 0;

    if (stream_is_tls(s->stream) || !s->server->tls)
        return imap_reply_bad(cmd, "TLS is not possible here");
    if (imap_reply_ok(cmd, "begin TLS now") < 0 || imap_flush(cmd) < 0)
        return -1;
    if (stream_start_tls_server(s->stream, s->server->tls, &dropped, deadline_in_ms(s->server->config->login_ms), &cmd->why) < 0) {
        log_event(LOG_INFO, "imap.tls.failed", F_ID("conn", s->id.s), F_FAULT(&cmd->why));
        s->broken = true;
        return -1;
    }
    if (dropped > 0)
        log_event(LOG_WARN, "imap.tls.dropped", F_ID("conn", s->id.s), F_INT("bytes", dropped));
    return 0;
}

/* ---- after the password ------------------------------------------------------------------------------------------------ */

static int refuse(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;

    metric_add(s->server->login_failures, 1);
    log_event(LOG_INFO, "imap.login.refused", F_ID("conn", s->id.s), F_STR("ip", stream_peer(s->stream)->ip), F_FAULT(&cmd->why));
    switch (cmd->why.code) {
    case FAULT_DENIED:
    case FAULT_INVALID:
        return imap_reply_no(cmd, "[AUTHENTICATIONFAILED] wrong address or password");
    case FAULT_LIMIT:
        return imap_reply_no(cmd, "[LIMIT] too many attempts or connections, try again later");
    default:
        return imap_reply_fault(cmd);
    }
}

/* Saves the client a round trip (RFC 9051 7.1). */
static int reply_capabilities(struct imap_cmd *cmd)
{
    struct buf *out = imap_out(cmd);

    cmd->result = "ok";
    (void)buf_append(out, cmd->tag);
    (void)buf_append(out, LIT(" OK [CAPABILITY "));
    imap_put_capabilities(cmd->session);
    return buf_append(out, LIT("] logged in\r\n"));
}

static int enter(struct imap_cmd *cmd, const struct login_result *who)
{
    struct imap_session *s = cmd->session;
    struct imap_server *server = s->server;

    if (!who->has_imap) {
        (void)fault_set(&cmd->why, FAULT_DENIED, "IMAP is off for this alias");
        return refuse(cmd);
    }
    if (imap_server_join(server, s, who->alias_id, &cmd->why) < 0)
        return refuse(cmd);
    if (mailbox_open(server->mailboxes, slice_of(who->alias_id), who->data_key, who->wrap_id, MAILBOX_READ | MAILBOX_WRITE,
                     cmd->until, &s->mailbox, &cmd->why) < 0) {
        imap_server_leave(s);
        return refuse(cmd);
    }
    s->state = IMAP_AUTHENTICATED;
    listener_know_peer(s->stream);
    s->bad_commands = 0;
    metric_add(server->logins, 1);
    log_event(LOG_INFO, "imap.login", F_ID("conn", s->id.s), F_STR("user", who->alias_id), F_STR("ip", stream_peer(s->stream)->ip),
              F_STR("tls", stream_tls_version(s->stream)));
    return reply_capabilities(cmd);
}

static int check(struct imap_cmd *cmd, struct slice username, struct slice password)
{
    struct imap_session *s = cmd->session;
    struct login_result who = { 0 };
    int r;

    if (login_check(s->server->login, username, password, stream_peer(s->stream)->ip, cmd->until, cmd->arena, &who, &cmd->why) < 0)
        return refuse(cmd);
    r = enter(cmd, &who);
    secret_unref(&who.data_key);
    return r;
}

static bool may_send_passwords(const struct imap_session *s)
{
    return stream_is_tls(s->stream) || s->server->config->insecure_auth;
}

/* ---- LOGIN ---------------------------------------------------------------------------------------------------------------- */

int cmd_login(struct imap_cmd *cmd)
{
    struct slice username, password;

    if (!may_send_passwords(cmd->session))
        return imap_reply_no(cmd, "[PRIVACYREQUIRED] begin TLS first");
    if (!imap_take_astring(&cmd->args, &username) || !imap_take_space(&cmd->args) ||
        !imap_take_astring(&cmd->args, &password) || !imap_at_end(&cmd->args))
        return imap_reply_args(cmd);
    return check(cmd, username, password);
}

/* ---- AUTHENTICATE PLAIN ------------------------------------------------------------------------------------------------------ */

/* authorization id NUL authentication id NUL password; nobody may act for another. */
static int check_plain(struct imap_cmd *cmd, struct slice base64)
{
    struct slice message, as, username, password;
    ptrdiff_t at;
    int r;

    if (!base64_decode(cmd->arena, base64, &message))
        return imap_reply_bad(cmd, "not base64");
    at = slice_find_char(message, '\0');
    as = slice_head(message, at < 0 ? 0 : (size_t)at);
    username = slice_tail(message, at < 0 ? message.n : (size_t)at + 1);
    at = slice_find_char(username, '\0');
    if (at < 0)
        return imap_reply_bad(cmd, "not a PLAIN message");
    password = slice_tail(username, (size_t)at + 1);
    username = slice_head(username, (size_t)at);
    if (as.n > 0 && !slice_equal_nocase(as, username))
        r = imap_reply_no(cmd, "[AUTHORIZATIONFAILED] only for yourself");
    else
        r = check(cmd, username, password);
    memory_wipe((void *)(uintptr_t)message.p, message.n);
    return r;
}

static int plain_resume(struct imap_cmd *cmd, enum imap_wake because, struct slice line)
{
    if (because != IMAP_WAKE_LINE)
        return imap_park(cmd, plain_resume);
    if (slice_equal(line, LIT("*")))
        return imap_reply_bad(cmd, "AUTHENTICATE cancelled");
    return check_plain(cmd, line);
}

int cmd_authenticate(struct imap_cmd *cmd)
{
    struct slice mechanism, initial;

    if (!imap_take_atom(&cmd->args, &mechanism))
        return imap_reply_args(cmd);
    if (!slice_equal_nocase(mechanism, LIT("PLAIN")))
        return imap_reply_no(cmd, "[CANNOT] unknown mechanism");
    if (!may_send_passwords(cmd->session))
        return imap_reply_no(cmd, "[PRIVACYREQUIRED] begin TLS first");
    if (imap_skip(&cmd->args, ' ')) {
        initial = slice_make(cmd->args.p, (size_t)(cmd->args.end - cmd->args.p));
        return check_plain(cmd, slice_equal(initial, LIT("=")) ? SLICE_NONE : initial);
    }
    (void)buf_append(imap_out(cmd), LIT("+ \r\n"));
    return imap_park(cmd, plain_resume);
}
