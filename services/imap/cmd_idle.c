/* cmd_idle.c - IDLE (RFC 9051 6.3.13): waits parked, without a fiber, and tells what happens.
 *
 * Owns nothing. Called by imap_dispatch.c, then by imap_session when a line, a change or the timer comes. Suspends while it
 * looks for changes. Without Redis it looks every IMAP_POLL_INTERVAL.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_sync.h"

static int idle_resume(struct imap_cmd *cmd, enum imap_wake because, struct slice line)
{
    struct imap_session *s = cmd->session;

    if (because == IMAP_WAKE_LINE)
        return slice_equal_nocase(slice_trim(line), LIT("DONE")) ? imap_reply_ok(cmd, "IDLE completed")
                                                                 : imap_reply_bad(cmd, "expected DONE");
    if (clock_now_ms() - s->keepalive_ms >= s->server->config->keepalive_ms) {
        imap_untagged(cmd, "OK Still here");
        s->keepalive_ms = clock_now_ms();
        s->stale = s->view != NULL;     /* an event may have been lost */
    }
    imap_sync_due(cmd);
    return imap_park(cmd, idle_resume);
}

int cmd_idle(struct imap_cmd *cmd)
{
    (void)buf_append(imap_out(cmd), LIT("+ idling\r\n"));
    if (cmd->session->view)
        cmd->session->stale = true;
    imap_sync_due(cmd);
    return imap_park(cmd, idle_resume);
}
