/* cmd_basic.c - CAPABILITY, NOOP and CHECK, LOGOUT (RFC 9051 6.1), ID (RFC 2971), ENABLE (RFC 5161), NAMESPACE (RFC 2342).
 *
 * Own nothing. Called by imap_dispatch.c. Only the tagged answers may suspend.
 */
#include "commands.h"
#include "imap_session.h"
#include "base/log.h"
#include "rt/stream.h"

#define ID_PAIRS_MAX 30u

#define CAPABILITIES_FIRST "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID"
#define CAPABILITIES_REST \
    " IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE CONDSTORE QRESYNC" \
    " ESEARCH SEARCHRES WITHIN MULTIAPPEND BINARY STATUS=SIZE QUOTA UTF8=ACCEPT"

static const char *ways_to_log_in(const struct imap_session *s)
{
    if (s->state != IMAP_NOT_AUTHENTICATED)
        return "";
    if (stream_is_tls(s->stream) || s->server->config->insecure_auth)
        return " AUTH=PLAIN";
    return s->server->tls ? " STARTTLS LOGINDISABLED" : " LOGINDISABLED";
}

void imap_put_capabilities(struct imap_session *s)
{
    (void)buf_printf(&s->out, CAPABILITIES_FIRST "%s" CAPABILITIES_REST " APPENDLIMIT=%llu", ways_to_log_in(s),
                     (unsigned long long)s->server->config->append_max);
}

int cmd_capability(struct imap_cmd *cmd)
{
    (void)buf_append(imap_out(cmd), LIT("* CAPABILITY "));
    imap_put_capabilities(cmd->session);
    (void)buf_append(imap_out(cmd), LIT("\r\n"));
    return imap_reply_ok(cmd, "CAPABILITY completed");
}

int cmd_noop(struct imap_cmd *cmd)
{
    cmd->session->stale = cmd->session->view != NULL;
    return imap_reply_ok(cmd, "completed");
}

int cmd_logout(struct imap_cmd *cmd)
{
    imap_untagged(cmd, "BYE logging out");
    cmd->session->state = IMAP_LOGOUT;
    return imap_reply_ok(cmd, "LOGOUT completed");
}

/* "(" string SP nstring ... ")" or NIL; only the client's name is of use, in the log. */
static bool take_id(struct imap_cmd *cmd, struct slice *client)
{
    struct imap_cursor *c = &cmd->args;
    struct slice field, value;

    *client = SLICE_NONE;
    if (imap_skip_word(c, "NIL"))
        return imap_at_end(c);
    if (!imap_take_char(c, '('))
        return false;
    for (size_t pairs = 0; !imap_skip(c, ')'); pairs++) {
        if (pairs == ID_PAIRS_MAX)
            return imap_expected(c, "too many fields");
        if (!imap_take_string(c, &field) || !imap_take_space(c) || !imap_take_nstring(c, &value))
            return false;
        if (slice_equal_nocase(field, LIT("name")))
            *client = value;
        (void)imap_skip(c, ' ');
    }
    return imap_at_end(c);
}

int cmd_id(struct imap_cmd *cmd)
{
    struct slice client;

    if (!take_id(cmd, &client))
        return imap_reply_args(cmd);
    log_event(LOG_DEBUG, "imap.client", F_ID("conn", cmd->session->id.s), F_SLICE("name", client));
    imap_untagged(cmd, "ID (\"name\" \"fe-imap\")");
    return imap_reply_ok(cmd, "ID completed");
}

static const struct enable_row {
    const char *name;
    unsigned bits;
} enable_rows[] = {
    { "CONDSTORE", ENABLED_CONDSTORE },
    { "QRESYNC", ENABLED_QRESYNC | ENABLED_CONDSTORE },
    { "UTF8=ACCEPT", ENABLED_UTF8 },
    { "IMAP4REV2", ENABLED_REV2 },
};

int cmd_enable(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    struct buf *out = imap_out(cmd);
    unsigned wanted = 0;
    struct slice name;

    do {
        if (!imap_take_atom(&cmd->args, &name))
            return imap_reply_args(cmd);
        for (size_t i = 0; i < COUNT(enable_rows); i++)
            if (slice_equal_nocase(name, slice_of(enable_rows[i].name)))
                wanted |= 1u << i;
    } while (imap_skip(&cmd->args, ' '));
    if (!imap_at_end(&cmd->args))
        return imap_reply_args(cmd);

    (void)buf_append(out, LIT("* ENABLED"));
    for (size_t i = 0; i < COUNT(enable_rows); i++)
        if (wanted & 1u << i) {
            s->enabled |= enable_rows[i].bits;
            (void)buf_printf(out, " %s", enable_rows[i].name);
        }
    (void)buf_append(out, LIT("\r\n"));
    return imap_reply_ok(cmd, "ENABLE completed");
}

int cmd_namespace(struct imap_cmd *cmd)
{
    imap_untagged(cmd, "NAMESPACE ((\"\" \"/\")) NIL NIL");
    return imap_reply_ok(cmd, "NAMESPACE completed");
}
