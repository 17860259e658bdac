/* mailbox.h - a user's mailbox as the mailbox server offers it: folders, messages, flags, delivery.
 *
 * Owns      one WebSocket to the mailbox server per struct mailbox_server (all sessions of a process share it,
 *           it reconnects by itself with back-off), one server-side session handle per struct mailbox.
 * Used by   imap, pop3, mx, api, fectl.
 * Threads   the loop thread only; suspends where marked.
 *
 * What the calls answer with (struct mailbox_view, mailbox_changes, ...) is in wire/mailbox_types.h.
 *
 * Folder paths are UTF-8 with '/' between levels; INBOX in any case is INBOX. UIDs, UIDVALIDITY, MODSEQ as in RFC 9051
 * and RFC 7162: one MODSEQ counter per mailbox. Errors common to all calls: FAULT_UNAVAILABLE (no server, or it is
 * shutting down), FAULT_TIMEOUT, FAULT_CANCELED, FAULT_PROTOCOL. After a reconnect a struct mailbox opens itself again with
 * the key it holds; `mailbox_generation` then rises and the caller re-reads with mailbox_get_changes().
 */
#pragma once

#include <stdint.h>
#include "base/arena.h"
#include "base/fault.h"
#include "base/secret.h"
#include "base/slice.h"
#include "base/time.h"
#include "wire/mailbox_types.h"

struct mailbox_server;                /* opaque: the connection */
struct mailbox;                       /* opaque: one opened mailbox */

struct mailbox_server_options {
    const char *host;                 /* SQLITE_HOST; numeric or a name of our own world */
    uint16_t port;                    /* SQLITE_PORT */
    const struct secret *secret;      /* first of API_SECRETS */
    bool tls;                         /* needed beyond loopback */
    const char *ca_path;              /* NULL: the system's roots */
};

/* Never fails because the server is away: the first call that needs it waits or gives FAULT_UNAVAILABLE. */
struct mailbox_server *mailbox_server_new(const struct mailbox_server_options *options);
void mailbox_server_free(struct mailbox_server **s);
/* One round trip; for health checks. */
int mailbox_server_ping(struct mailbox_server *s, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- life of a mailbox (data key: 32 bytes, see mail/keys.h) -------------------------------------------- */

/* Makes the mailbox file with default folders. FAULT_EXISTS when there is one (also one that is only sealed mail). */
int mailbox_create(struct mailbox_server *s, struct slice alias_id, const struct secret *data_key, struct slice public_key, struct slice wrap_ids_json, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* Deletes the mailbox for good: sessions on it end, its sealed mail and its files are gone, durably, when this returns 0. Needs no key;
 * harmless when there is nothing (any more), so it may be repeated. Mail for it gets FAULT_NOT_FOUND from then on.                */
int mailbox_delete(struct mailbox_server *s, struct slice alias_id, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Bytes on disk of each (file, log, sealed mail); 0 for one that has no mailbox. Needs no key. At most 1,000. */
int mailbox_get_sizes(struct mailbox_server *s, const struct slice *alias_ids, size_t count, struct deadline until, uint64_t *out, struct fault *why) MUST_CHECK SUSPENDS;

enum mailbox_scope { MAILBOX_READ = 1, MAILBOX_WRITE = 2 };

/* FAULT_DENIED: the key does not open it, or wrap_id is not among the live ones; FAULT_CORRUPT: damaged or missing file.
 * Draining of sealed mail starts; new mail shows up as it is drained.                                           */
int mailbox_open(struct mailbox_server *s, struct slice alias_id, const struct secret *data_key, struct slice wrap_id,
                 unsigned scope, struct deadline until, struct mailbox **out, struct fault *why) MUST_CHECK SUSPENDS;
void mailbox_close(struct mailbox **mb);          /* closer; tells the server without waiting */
uint64_t mailbox_generation(const struct mailbox *mb);
struct slice mailbox_alias_id(const struct mailbox *mb);
/* Which wraps (mail/keys.h) are live: JSON array of ids, committed inside the mailbox. */
int mailbox_set_wraps(struct mailbox *mb, struct slice wrap_ids_json, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Replaces the data key: the file is encrypted anew. All other handles on it end. */
int mailbox_rekey(struct mailbox *mb, const struct secret *new_key, struct slice public_key, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Checks every page, row, body digest and counter. `report` is text for people. FAULT_CORRUPT when something is wrong. */
int mailbox_verify(struct mailbox *mb, struct arena *in, struct slice *report, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

int mailbox_get_usage(struct mailbox *mb, struct deadline until, struct mailbox_usage *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- folders ---------------------------------------------------------------------------------------------- */

int mailbox_list_folders(struct mailbox *mb, struct arena *in, struct deadline until, struct mailbox_folder **out, size_t *count, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_get_folder(struct mailbox *mb, struct slice path, struct arena *in, struct deadline until, struct mailbox_folder *out, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_create_folder(struct mailbox *mb, struct slice path, struct slice special_use, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;  /* parents too; FAULT_EXISTS, FAULT_LIMIT */
int mailbox_delete_folder(struct mailbox *mb, struct slice path, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;         /* with its messages; children stay. FAULT_NOT_FOUND, FAULT_DENIED (INBOX) */
int mailbox_rename_folder(struct mailbox *mb, struct slice from, struct slice to, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;   /* with children; INBOX: moves its messages */
int mailbox_subscribe(struct mailbox *mb, struct slice path, bool on, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- reading a folder ------------------------------------------------------------------------------------------- */

int mailbox_select(struct mailbox *mb, struct slice path, struct arena *in, struct deadline until, struct mailbox_view *out, struct fault *why) MUST_CHECK SUSPENDS;

/* Rows of `uids` that exist, ascending. */
int mailbox_get_rows(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in, struct deadline until, struct mailbox_row **out, size_t *count, struct fault *why) MUST_CHECK SUSPENDS;

/* Everything in `folder_id` that happened after `since_modseq`, optionally limited to `within` (count 0: all).
 * FAULT_NOT_FOUND: the folder is gone.                                                                          */
int mailbox_get_changes(struct mailbox *mb, uint64_t folder_id, uint64_t since_modseq, struct uid_set within, struct arena *in, struct deadline until, struct mailbox_changes *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- fetching contents ------------------------------------------------------------------------------------------- */

struct mailbox_fetch;                             /* opaque: an answer being streamed */

/* Streams the messages of `uids` that exist, ascending, with at most 512 KiB under way. */
int mailbox_fetch_begin(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, unsigned items, const struct mailbox_section *sections, size_t section_count, struct deadline until, struct mailbox_fetch **out, struct fault *why) MUST_CHECK SUSPENDS;
/* 1: *out is the next message (slices live in `in`), 0: end. Unread section bytes of the one before are skipped. */
int mailbox_fetch_next(struct mailbox_fetch *f, struct arena *in, struct mailbox_fetched *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Next piece of the current section, borrowed until the next call; empty: section ended (read up to there, then the next call is about the next
 * section that exists). Sections of up to 64 KiB come in one piece. */
int mailbox_fetch_read(struct mailbox_fetch *f, struct slice *piece, struct fault *why) MUST_CHECK SUSPENDS;
void mailbox_fetch_end(struct mailbox_fetch **f); /* closer; cancels what is left */

/* ---- changing ------------------------------------------------------------------------------------------------------- */

int mailbox_store(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, enum mailbox_store_mode mode, uint32_t flags, const struct slice *keywords, size_t keyword_count,
                  uint64_t unchanged_since /* UINT64_MAX: none */, struct arena *in, struct deadline until, struct mailbox_stored *out, struct fault *why) MUST_CHECK SUSPENDS;

/* APPEND, one or several messages in one transaction (RFC 3502). Bodies are streamed; nothing is visible before commit. */
struct mailbox_append;
int mailbox_append_begin(struct mailbox *mb, struct slice path, struct deadline until, struct mailbox_append **out, struct fault *why) MUST_CHECK SUSPENDS;   /* FAULT_NOT_FOUND: TRYCREATE */
int mailbox_append_message(struct mailbox_append *a, uint64_t size_bytes, uint32_t flags, const struct slice *keywords, size_t keyword_count, int64_t internal_ms, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_append_write(struct mailbox_append *a, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_append_commit(struct mailbox_append **a, struct arena *in, struct mailbox_appended *out, struct fault *why) MUST_CHECK SUSPENDS;   /* FAULT_QUOTA, FAULT_DISK_FULL, FAULT_LIMIT */
void mailbox_append_abort(struct mailbox_append **a);      /* closer */

int mailbox_copy(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct deadline until, struct mailbox_copied *out, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_move(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct deadline until, struct mailbox_copied *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Messages with \Deleted, within `uids` (count 0: all). */
int mailbox_expunge(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in, struct deadline until, struct mailbox_expunged *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- searching ----------------------------------------------------------------------------------------------------------- */

int mailbox_search(struct mailbox *mb, uint64_t folder_id, const struct search_node *program, struct arena *in, struct deadline until, struct mailbox_found *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- delivery (no key needed) ------------------------------------------------------------------------------------------------ */

struct mailbox_delivery {
    struct slice alias_id;
    struct slice public_key;                      /* 32 bytes, of the alias document: sealed to it while locked */
    struct slice mark;                            /* 32 bytes: a second delivery with the same mark within 5 days is OK and stores nothing */
    uint64_t quota_bytes;                         /* 0: none */
    int64_t arrived_ms;
    struct slice folder;                          /* empty: INBOX */
    uint32_t flags;
    struct slice msg;                             /* id of the message in the sender's log, for ours; empty: none */
};
struct mailbox_deliver;                           /* opaque: one message for several mailboxes, body streamed once */
int mailbox_deliver_begin(struct mailbox_server *s, uint64_t size_bytes, struct deadline until, struct mailbox_deliver **out, struct fault *why) MUST_CHECK SUSPENDS;
int mailbox_deliver_write(struct mailbox_deliver *d, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
/* `prefix` (Return-Path, Received, ...) is put before the body for this recipient. May be called several times for one
 * body, also at once from several fibers; each answers after its commit. FAULT_NOT_FOUND: mailbox never created; FAULT_QUOTA,
 * FAULT_DISK_FULL, FAULT_UNAVAILABLE.                                                                            */
int mailbox_deliver_to(struct mailbox_deliver *d, const struct mailbox_delivery *to, struct slice prefix, struct mailbox_delivered *out, struct fault *why) MUST_CHECK SUSPENDS;
void mailbox_deliver_end(struct mailbox_deliver **d);       /* closer */
