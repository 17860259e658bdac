/* imap_cmd.h - one command while it runs, and its answers (RFC 9051 7, RFC 5530).
 *
 * Owns      nothing: the dispatcher makes and frees command and arena.
 * Used by   all commands.
 * Threads   the loop thread. Replies gather in session->out; what may suspend for the peer is marked.
 *           Every reply function returns 0 and a handler's < 0 means: the connection cannot go on.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/time.h"
#include "wire/imap/imap_cursor.h"

struct imap_session;
struct imap_cmd;
struct mailbox_row;

#define IMAP_COMMAND_MS   60000u               /* for what the mailbox server does between two answers */
#define IMAP_TRANSFER_MS  1800000u             /* for a whole FETCH or APPEND */
#define IMAP_WRITE_MS     120000u              /* a peer that takes nothing for so long is gone */
#define IMAP_FLUSH_BYTES  32768u

struct imap_cmd {
    struct imap_session *session;
    struct arena *arena;
    struct slice tag;
    const char *name;                          /* upper case, of the table */
    struct imap_cursor args;                   /* behind the name and its space */
    struct deadline until;
    struct fault why;
    bool by_uid;                               /* UID FETCH and the like */
    bool keeps_numbers;                        /* no EXPUNGE may be sent before the tagged answer (RFC 9051 7.5.1) */
    const struct mailbox_row *told;            /* rows the client knows already from this command's answers */
    size_t told_count;
    const char *result;                        /* "ok", "no", "bad", for the log */
    uint64_t begun_us;
};

enum imap_wake { IMAP_WAKE_LINE, IMAP_WAKE_CHANGE, IMAP_WAKE_TIMER };
typedef int (*imap_resume_fn)(struct imap_cmd *cmd, enum imap_wake because, struct slice line) SUSPENDS;
/* The command goes on when a line, a change or the timer comes; `resume` gets a new struct imap_cmd with the same tag. */
int imap_park(struct imap_cmd *cmd, imap_resume_fn resume);

/* ---- tagged: end the command. Changes of the selected folder are told first. ---- */
int imap_reply_ok(struct imap_cmd *cmd, const char *text) SUSPENDS;              /* text may begin with "[CODE] " */
int imap_reply_no(struct imap_cmd *cmd, const char *text) SUSPENDS;
int imap_reply_bad(struct imap_cmd *cmd, const char *text);
int imap_reply_args(struct imap_cmd *cmd);                                       /* BAD with what the cursor expected */
int imap_reply_fault(struct imap_cmd *cmd) SUSPENDS;                             /* cmd->why as NO [CODE] */
int imap_reply_printf(struct imap_cmd *cmd, const char *format, ...) PRINTF_LIKE(2, 3) SUSPENDS;   /* "OK [COPYUID ...] done" */

/* ---- untagged ---- */
struct buf *imap_out(struct imap_cmd *cmd);
void imap_untagged(struct imap_cmd *cmd, const char *format, ...) PRINTF_LIKE(2, 3);   /* "* " and the line end are added */
int imap_flush_some(struct imap_cmd *cmd) SUSPENDS;     /* hands over what gathered when it is much; <0: peer has gone */
int imap_flush(struct imap_cmd *cmd) SUSPENDS;          /* hands over all */

/* ---- arguments ---- */
/* A sequence set of message numbers, or of UIDs when cmd->by_uid, as UIDs of the view that exist. "$" too. */
bool imap_take_uids(struct imap_cmd *cmd, struct uid_set *out) MUST_CHECK;
/* The same before it is narrowed to the view: by UID anything goes. For VANISHED. */
bool imap_take_uids_raw(struct imap_cmd *cmd, struct uid_set *out) MUST_CHECK;
/* The first IMAP_PAGE_ROWS members of *rest move into the result. *rest's ranges are written to. */
#define IMAP_PAGE_ROWS 8192u
struct uid_set imap_cut_page(struct arena *in, struct uid_set *rest);
