/* imap_session.h - one IMAP connection: parked between commands, on a fiber while one runs.
 *
 * Owns      its stream, mailbox handle and view of the selected folder.
 * Used by   imap_server, imap_cmd and the commands.
 * Threads   the loop thread; suspends where marked.
 */
#pragma once

#include "imap_cmd.h"
#include "imap_server.h"
#include "imap_view.h"
#include "rt/stream.h"

enum imap_state { IMAP_NOT_AUTHENTICATED = 1, IMAP_AUTHENTICATED = 2, IMAP_SELECTED = 4, IMAP_LOGOUT = 8 };

enum imap_enabled { ENABLED_CONDSTORE = 1, ENABLED_QRESYNC = 2, ENABLED_UTF8 = 4, ENABLED_REV2 = 8 };

struct imap_session {
    struct imap_server *server;
    struct stream *stream;
    struct imap_session *next, *previous;               /* of the process */
    struct imap_session *alias_next, *alias_previous;   /* of the alias */
    struct imap_alias *alias;                           /* NULL before login */
    struct object_id id;
    enum imap_state state;
    unsigned enabled;                                   /* enum imap_enabled */
    struct mailbox *mailbox;
    struct imap_view *view;                             /* NULL: nothing selected */
    struct buf out;                                     /* answers not handed to the stream yet; no memory while parked */
    imap_resume_fn resume;                              /* a command waiting for a line: IDLE, AUTHENTICATE */
    char *resume_tag;
    size_t granted;                                     /* see imap_frame_scan */
    uint64_t active_ms, keepalive_ms, begun_ms;         /* clock: last input, last sign of life in IDLE, connect */
    bool stale;                                         /* must look for changes before the next answer ends */
    bool broken;                                        /* writing failed: the connection is over */
    const char *bye;                                    /* somebody wants the session to end, and why */
    unsigned bad_commands;
    uint64_t command_count, bytes_out;
};

/* A fresh connection; becomes the owner of the stream. */
void imap_session_begin(struct stream *stream, struct imap_server *server) SUSPENDS;
/* From events: the mailbox changed up to `modseq` in `folder` (0: any). Never suspends. */
void imap_session_hint(struct imap_session *s, uint64_t modseq, uint64_t folder);
/* Ends the session with BYE as soon as no command runs. `reason` is a literal. Never suspends. */
void imap_session_bye(struct imap_session *s, const char *reason);

bool imap_session_uses_utf8(const struct imap_session *s);
/* Drops the selected folder, if any. */
void imap_session_unselect(struct imap_session *s);
