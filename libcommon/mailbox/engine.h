/* engine.h - one mailbox as one encrypted file: folders, messages, flags, search. SQLCipher underneath.
 *
 * Owns      the file `<alias id>.sqlite` and its -wal and -shm; one connection per struct engine.
 * Used by   fe-sqlite, and fectl when it holds the lock on the storage folder.
 * Threads   every call may block on the disk (db pool). A handle is used by one thread at a time. Per file at most one handle
 *           that writes; more may be opened with ENGINE_READ beside it, in the same process.
 * Suspends  never; logs nothing.
 *
 * Errors common to all calls: FAULT_CORRUPT (a damaged page, row or body; nothing is ever deleted because of it), FAULT_IO,
 * FAULT_DISK_FULL. After a commit that failed, the handle refuses everything with FAULT_UNAVAILABLE until it is closed and
 * opened again: what was pending is not in the mailbox and has to be done again. FAULT_CORRUPT ends a handle the same way.
 * Outputs live in the arena given. Paths are UTF-8 with '/' between levels; INBOX in any case is INBOX.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/secret.h"
#include "base/slice.h"
#include "wire/mailbox_types.h"

/* The format, measured once (2 cores, AES-NI, SHA-NI; rows: 50,000 of a folder; body: 1000 of 4 KB; store: flags of 10,000;
 * append: 2 KB in groups of 64, a message) and decided for 8 KiB and HMAC_SHA256, auto_vacuum INCREMENTAL, chunks of 128 KiB:
 *     page     open     rows    body    store   append
 *     4 KiB   1.0 ms  11.3 ms  11 ms   8.9 ms    31 us
 *     8 KiB   1.1 ms   8.4 ms  12 ms   8.2 ms    23 us
 *    16 KiB   1.1 ms   8.0 ms  14 ms   8.0 ms    20 us    (twice the log bytes for a lone delivery)                          */
#define ENGINE_FORMAT          2                       /* PRAGMA user_version of the file */
#define ENGINE_PAGE_BYTES      8192
#define ENGINE_MESSAGE_MAX     ((uint64_t)128 << 20)   /* bytes of one message */
#define ENGINE_INLINE_MAX      (256u << 10)            /* larger bodies are chunk rows */
#define ENGINE_CHUNK_BYTES     (128u << 10)
#define ENGINE_PATH_MAX        1000                    /* bytes of a folder path */
#define ENGINE_DEPTH_MAX       32                      /* levels of a folder path */
#define ENGINE_FOLDERS_MAX     5000
#define ENGINE_KEYWORD_MAX     255                     /* bytes of one keyword */
#define ENGINE_MARK_DAYS       5
#define ENGINE_OP_DAYS         1

struct engine;

enum engine_mode { ENGINE_WRITE, ENGINE_READ };

struct engine_options {
    enum engine_mode mode;
    const char *vfs;                  /* SQLite VFS below SQLCipher; NULL: the system's. For tests that make disks fail. */
    bool alone;                       /* no other handle will open the file: no -shm beside it, so that a full disk can be read, and
                                         a predecessor's log is written anew before anything is acknowledged */
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

/* Makes `path` with default folders, durably (the directory too). FAULT_EXISTS when there is a file of that name, or the log of an
 * earlier one (which SQLite would replay into the new file). `options`
 * may be NULL. The data key is 32 bytes; the file's key is derived from it. `wrap_ids_json`: JSON array of strings.        */
int engine_create(const char *path, const struct secret *data_key, struct slice public_key, struct slice wrap_ids_json,
                  const struct engine_options *options, struct engine **out, struct fault *why) MUST_CHECK;
/* FAULT_DENIED: another key; FAULT_CORRUPT: damaged or cut off; FAULT_NOT_FOUND: no file (it is never made anew).
 * A crashed predecessor's log is replayed. When the disk takes no writes the handle still reads (see engine_recover). */
int engine_open(const char *path, const struct secret *data_key, const struct engine_options *options,
                struct engine **out, struct fault *why) MUST_CHECK;
void engine_close(struct engine **e);                          /* closer; an open transaction is rolled back */

/* After a failed commit nobody knows what the disk holds: the handle reads what was there before and refuses to change anything
 * until this has returned 0, which is when a transaction of its own took the place of the failed one in the log and was synced. At once
 * 0 when nothing has failed. FAULT_DISK_FULL, FAULT_IO: not yet; FAULT_UNAVAILABLE: damage, the handle must be opened anew.       */
int engine_recover(struct engine *e, struct fault *why) MUST_CHECK;
/* `alone` only: the log that was found had been changed on the disk after it was acknowledged, and SQLite's replay ended there: messages
 * or changes of the last moments before the server was killed are lost. Every folder has a new UIDVALIDITY (as after
 * engine_restored), the log is kept beside the file as <path>-wal-damaged. To be reported.                                        */
bool engine_log_was_damaged(const struct engine *e);
bool engine_is_broken(const struct engine *e);                 /* damage: it refuses everything until it is opened anew */

/* FAULT_DENIED unless `wrap_id` is among the live ones. */
int engine_check_wrap(struct engine *e, struct slice wrap_id, struct fault *why) MUST_CHECK;
int engine_set_wraps(struct engine *e, struct slice wrap_ids_json, struct fault *why) MUST_CHECK;
int engine_get_public_key(struct engine *e, struct arena *in, struct slice *out, struct fault *why) MUST_CHECK;
/* Bytes that appends, copies and deliveries may reach; 0: no limit. `outside_bytes` (the sealed spool) counts as used. */
void engine_set_quota(struct engine *e, uint64_t quota_bytes, uint64_t outside_bytes);
uint64_t engine_used_bytes(const struct engine *e);            /* of its messages, as this handle last saw it; what a quota counts */
int engine_get_usage(struct engine *e, struct mailbox_usage *out, struct fault *why) MUST_CHECK;
uint64_t engine_modseq(struct engine *e);                      /* mailbox-wide, as this handle last saw it */

/* The file encrypted anew under `new_key`, through a copy that takes its place by rename: killed at any instant, the file opens
 * with the old key or with the new one. Ends *e and opens it again with the new key; all other handles must be closed before.
 * On failure *e is NULL or still open with the old key.                                                              */
int engine_rekey(struct engine **e, const struct secret *new_key, struct slice public_key, struct fault *why) MUST_CHECK;
/* Every page's HMAC, the b-trees, counters, UIDs, MODSEQs, reference counts, body digests. `report`: lines for people.
 * FAULT_CORRUPT when something is wrong; the report is filled then too.                                               */
int engine_verify(struct engine *e, struct arena *in, struct slice *report, struct fault *why) MUST_CHECK;
/* A consistent copy of the encrypted file (same key) at `to`, made durable. FAULT_EXISTS when `to` exists. */
int engine_snapshot(struct engine *e, const char *to, struct fault *why) MUST_CHECK;

/* Removing a mailbox for good, without its key; no handle may be open on it. begin: the file is renamed to `<path>` ENGINE_TOMBSTONE and
 * everything beside it is gone, durably; no open finds it again. end: the tombstone is gone too. What else belongs to the mailbox is
 * removed between the two, so that a tombstone found at start says what is to be done again. All are harmless when repeated.       */
#define ENGINE_TOMBSTONE ".deleted"
int engine_remove_begin(const char *path, struct fault *why) MUST_CHECK;
int engine_remove_end(const char *path, struct fault *why) MUST_CHECK;
bool engine_remove_is_begun(const char *path);

/* After the file was put back from a backup: every folder gets a new UIDVALIDITY, so that no client takes UIDs given out anew for
 * messages it knows (RFC 9051 2.3.1.1).                                                                                          */
int engine_restored(struct engine *e, struct fault *why) MUST_CHECK;

/* Work that nobody waits for, about `budget_ms` of it: search index, bodies nobody refers to any more, old marks, free pages,
 * checkpoint. 1: there is more to do, 0: done; then the pages in memory are given up too.                               */
int engine_tidy(struct engine *e, unsigned budget_ms, struct fault *why) MUST_CHECK;
/* Only the index: messages that are not in it yet, about `budget_ms` of them. 1: more, 0: done. */
int engine_index_some(struct engine *e, unsigned budget_ms, struct fault *why) MUST_CHECK;

/* ---- transactions -------------------------------------------------------------------------------------------------
 *
 * A changing call outside a transaction is one of its own: on return it is durable. Inside engine_begin..engine_commit it is a
 * savepoint: it happens whole or not at all, and nothing may be answered before engine_commit has returned 0. An item groups
 * calls into one such savepoint (an action and its engine_op_save).                                                        */
int engine_begin(struct engine *e, struct fault *why) MUST_CHECK;
int engine_commit(struct engine *e, struct fault *why) MUST_CHECK;      /* one fsync; on failure see above */
void engine_abort(struct engine *e);                                     /* harmless when none is open */
int engine_item_begin(struct engine *e, struct fault *why) MUST_CHECK;
int engine_item_commit(struct engine *e, struct fault *why) MUST_CHECK;
void engine_item_abort(struct engine *e);

/* Several reading calls as one picture, and a third faster (one lock instead of one per statement). Around one trip to the database,
 * never while waiting for anybody; no changing call inside.                                                                */
int engine_read_begin(struct engine *e, struct fault *why) MUST_CHECK;
void engine_read_end(struct engine *e);

/* An answer that was stored under `op` (16 bytes) within a day: 1 and *answer, or 0. */
int engine_op_find(struct engine *e, struct slice op, struct arena *in, struct slice *answer, struct fault *why) MUST_CHECK;
int engine_op_save(struct engine *e, struct slice op, struct slice answer, struct fault *why) MUST_CHECK;

/* ---- folders -------------------------------------------------------------------------------------------------------- */

int engine_list_folders(struct engine *e, struct arena *in, struct mailbox_folder **out, size_t *count, struct fault *why) MUST_CHECK;
int engine_get_folder(struct engine *e, struct slice path, struct arena *in, struct mailbox_folder *out, struct fault *why) MUST_CHECK;
int engine_create_folder(struct engine *e, struct slice path, struct slice special_use, struct fault *why) MUST_CHECK;  /* FAULT_EXISTS, FAULT_INVALID, FAULT_LIMIT */
int engine_delete_folder(struct engine *e, struct slice path, struct fault *why) MUST_CHECK;      /* FAULT_NOT_FOUND, FAULT_DENIED (INBOX) */
int engine_rename_folder(struct engine *e, struct slice from, struct slice to, struct fault *why) MUST_CHECK;
int engine_subscribe(struct engine *e, struct slice path, bool on, struct fault *why) MUST_CHECK;

/* ---- reading a folder ------------------------------------------------------------------------------------------------- */

/* drain_left of the answers is 0: the spool is the caller's. */
int engine_select(struct engine *e, struct slice path, struct arena *in, struct mailbox_view *out, struct fault *why) MUST_CHECK;
int engine_get_rows(struct engine *e, uint64_t folder_id, struct uid_set uids, struct arena *in, struct mailbox_row **out, size_t *count, struct fault *why) MUST_CHECK;
int engine_get_changes(struct engine *e, uint64_t folder_id, uint64_t since_modseq, struct uid_set within, struct arena *in, struct mailbox_changes *out, struct fault *why) MUST_CHECK;

/* ---- contents --------------------------------------------------------------------------------------------------------- */

/* Holds a position, no lock and no open statement: other calls may come between. A message that is expunged meanwhile is
 * skipped; the one being read stays readable.                                                                            */
struct engine_fetch;
int engine_fetch_begin(struct engine *e, uint64_t folder_id, struct uid_set uids, unsigned items, const struct mailbox_section *sections,
                       size_t section_count, struct engine_fetch **out, struct fault *why) MUST_CHECK;
/* 1: *out is the next message, 0: end. */
int engine_fetch_next(struct engine_fetch *f, struct arena *in, struct mailbox_fetched *out, struct fault *why) MUST_CHECK;
/* Next piece of the current section, borrowed until the next call; empty: the section ended and the next one begins. Sections that
 * do not exist have no pieces and no end: only existing ones are read, in order. Not reading is allowed. Pieces of large bodies
 * are at most ENGINE_CHUNK_BYTES; others come whole.                                                                          */
int engine_fetch_read(struct engine_fetch *f, struct slice *piece, struct fault *why) MUST_CHECK;
void engine_fetch_end(struct engine_fetch **f);                          /* closer; before engine_close */

/* ---- a body on its way in ------------------------------------------------------------------------------------------------ */

/* Hashing, compression, MIME and rendering happen here, off the database and on any thread (one at a time). Up to
 * ENGINE_INLINE_MAX stays in memory; beyond that chunks are staged as rows of the mailbox it will be appended to, so that memory
 * stays flat, and runs of base64 lines are not kept. What is staged and never appended is swept later.                          */
struct engine_body;
/* `size_max`: more is FAULT_LIMIT on write. */
int engine_body_new(uint64_t size_max, struct engine_body **out, struct fault *why) MUST_CHECK;
void engine_body_free(struct engine_body **b);                           /* closer */
/* At most 256 KiB at once. 1: call engine_body_stage before writing on (it is an error not to for long). */
int engine_body_write(struct engine_body *b, struct slice bytes, struct fault *why) MUST_CHECK;
/* Moves finished chunks into the mailbox's file, in a transaction of their own; not inside engine_begin. From then on the body can be
 * appended through this handle only.                                                                                            */
int engine_body_stage(struct engine *e, struct engine_body *b, struct fault *why) MUST_CHECK;
/* All bytes are written. CPU work; 1: call engine_body_stage once more before appending. */
int engine_body_finish(struct engine_body *b, struct fault *why) MUST_CHECK;
uint64_t engine_body_size(const struct engine_body *b);
/* All of the above for bytes in memory; `e` may be NULL up to ENGINE_INLINE_MAX. */
int engine_body_make(struct engine *e, struct slice message, struct engine_body **out, struct fault *why) MUST_CHECK;

/* ---- changing ------------------------------------------------------------------------------------------------------------ */

struct engine_message {
    struct engine_body *body;         /* finished; stays the caller's, may be appended more than once */
    uint32_t flags;
    const struct slice *keywords;
    size_t keyword_count;
    int64_t internal_ms;
};
/* FAULT_NOT_FOUND: no such folder; FAULT_QUOTA; FAULT_LIMIT: too many keywords or UIDs. All messages or none. */
int engine_append(struct engine *e, struct slice path, const struct engine_message *messages, size_t count, struct arena *in,
                  struct mailbox_appended *out, struct fault *why) MUST_CHECK;

struct engine_delivery {
    struct slice mark;                /* 32 bytes or empty */
    struct slice item_id;             /* of the sealed item this comes from, at most 32 bytes; empty: not from the spool */
    struct slice folder;              /* empty: INBOX; one that does not exist: INBOX */
    uint32_t flags;
    int64_t arrived_ms;
};
struct engine_delivered {
    bool duplicate;                   /* mark or item was there: nothing stored */
    uint32_t uid;
    uint64_t folder_id, from_modseq, modseq;
};
/* FAULT_QUOTA unless it comes from the spool, where it was counted before. */
int engine_deliver(struct engine *e, const struct engine_delivery *d, struct engine_body *body, struct engine_delivered *out,
                   struct fault *why) MUST_CHECK;

int engine_store(struct engine *e, uint64_t folder_id, struct uid_set uids, enum mailbox_store_mode mode, uint32_t flags, const struct slice *keywords,
                 size_t keyword_count, uint64_t unchanged_since, struct arena *in, struct mailbox_stored *out, struct fault *why) MUST_CHECK;
int engine_copy(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct mailbox_copied *out, struct fault *why) MUST_CHECK;
int engine_move(struct engine *e, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct mailbox_copied *out, struct fault *why) MUST_CHECK;
int engine_expunge(struct engine *e, uint64_t folder_id, struct uid_set uids, struct arena *in, struct mailbox_expunged *out, struct fault *why) MUST_CHECK;

/* ---- searching --------------------------------------------------------------------------------------------------------------- */

/* Exactly the messages that decoding every one of them and looking would find; an index only narrows. FAULT_LIMIT: the tree is
 * deeper than 100.                                                                                                              */
int engine_search(struct engine *e, uint64_t folder_id, const struct search_node *program, struct arena *in, struct mailbox_found *out, struct fault *why) MUST_CHECK;

/* ---- export ---------------------------------------------------------------------------------------------------------------------- */

/* mboxrd of one folder (0: all, one after another) written to `fd`, flags as Status, X-Status and X-Keywords fields. */
int engine_export_mbox(struct engine *e, uint64_t folder_id, int fd, struct fault *why) MUST_CHECK;
/* Maildir++ under `directory` (made; FAULT_EXISTS when there): INBOX at the top, ".A.B" for A/B, flags in the names. */
int engine_export_maildir(struct engine *e, const char *directory, struct fault *why) MUST_CHECK;
