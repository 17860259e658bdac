/* sealed.h - mail that arrives while a mailbox is locked: one append-only log of items, each sealed to its alias's public key.
 *
 * Owns      the folder `<storage>/sealed`: segments of the log, one file for each large item, and quarantine/.
 * Used by   fe-sqlite only (it holds the lock on the storage folder).
 * Threads   all calls may block on the disk and may be made from pool threads; from
 *           several at once (commits then wait for one another). Never suspends.
 *
 * No secret of the server opens an item: a fresh key encrypts it (libsodium secretstream), that key is sealed to the alias's
 * X25519 public key, or, while the mailbox is open, encrypted with a key derived from its data key (secretbox). Alias, item id, sequence, arrival time, mark and key generation are the associated data of the last
 * chunk, so an item moved to another alias, reordered or relabelled does not open. Sizes are padded (Padme).
 * Errors: FAULT_DISK_FULL, FAULT_IO; FAULT_CORRUPT for an item that does not open.
 */
#pragma once

#include "base/arena.h"
#include "base/derive.h"
#include "base/fault.h"
#include "base/slice.h"

#define SEALED_INLINE_MAX    (256u << 10)      /* larger items get a file of their own */
#define SEALED_SEGMENT_BYTES (64u << 20)
#define SEALED_ITEM_MAX      ((uint64_t)96 << 20)

struct sealed_log;

struct sealed_id { unsigned char b[16]; };

struct sealed_item {                           /* what the index knows of an item */
    struct sealed_id id;
    unsigned char mark[32];
    uint64_t seq;                              /* order of arrival in the whole log */
    int64_t arrived_ms;
    uint64_t bytes;                            /* on disk; counts as quota */
    uint32_t segment;                          /* private from here on */
    bool external;
    uint64_t offset, record_bytes;
};

/* Reads the folder (made when missing) and rebuilds the index from record headers. Damaged records are counted, left
 * where they are and skipped. Always starts a new segment: nothing is ever cut off.                                */
int sealed_open(const char *folder, struct sealed_log **out, struct fault *why) MUST_CHECK;
void sealed_close(struct sealed_log **log);
uint64_t sealed_damaged_count(const struct sealed_log *log);

/* ---- sealing ---- */
struct sealed_meta {
    struct slice alias_id;                     /* 24 hex */
    struct slice public_key;                   /* 32 bytes */
    struct slice own_key;                      /* of the sealing pair, 32 bytes, when it is known: used instead; else empty */
    struct slice mark;                         /* 32 bytes */
    struct slice folder;                       /* sealed with the message */
    uint32_t flags;
    int64_t arrived_ms;
    uint64_t size_bytes;                       /* of the message, exactly */
};
struct sealed_writer;
/* Encrypts in the caller's thread; the message is written in pieces. */
int sealed_write_begin(struct sealed_log *log, const struct sealed_meta *meta, struct sealed_writer **out, struct fault *why) MUST_CHECK;
int sealed_write(struct sealed_writer *w, struct slice bytes, struct fault *why) MUST_CHECK;
void sealed_write_abort(struct sealed_writer **w);     /* closer */
/* Makes all of them durable with one fdatasync of the log, in the given order; takes the writers (ends them) also on
 * failure, when none of them counts as delivered. A writer that got fewer bytes than announced fails alone: its *ok is false. */
int sealed_commit(struct sealed_log *log, struct sealed_writer **writers, bool *ok, size_t count, struct fault *why) MUST_CHECK;

/* ---- the waiting items of an alias ---- */
size_t sealed_count(struct sealed_log *log, struct slice alias_id);
uint64_t sealed_bytes(struct sealed_log *log, struct slice alias_id);
bool sealed_has_mark(struct sealed_log *log, struct slice alias_id, struct slice mark);
/* At most `max` oldest items, in order of arrival, copied into `in`. */
size_t sealed_list(struct sealed_log *log, struct slice alias_id, struct arena *in, size_t max, struct sealed_item **out);

/* ---- opening ---- */
struct sealed_reader;
struct sealed_opened {
    struct slice folder;                       /* lives as long as the reader reads this item */
    uint32_t flags;
    uint64_t size_bytes;
};
/* Tries each pair (the current one, then those before a rekey). *at: NULL, or a reader that has read before and goes on with this item;
 * it is the caller's to end, also on failure.                                                                                      */
int sealed_read_begin(struct sealed_log *log, struct slice alias_id, const struct sealed_item *item, const struct sealing_pair *pairs, size_t pair_count,
                      struct sealed_reader **at, struct sealed_opened *opened, struct fault *why) MUST_CHECK;
/* 1: a piece, borrowed until the next call; 0: the end, and everything was genuine. Only then may the message count. */
int sealed_read_next(struct sealed_reader *r, struct slice *piece, struct fault *why) MUST_CHECK;
void sealed_read_end(struct sealed_reader **r);        /* closer */

/* The items are in the mailbox now (committed with their ids, so that a replay after a crash is recognised). Written with the next
 * commit or sealed_flush, never synced for its own sake; does not wait for a commit under way.                             */
void sealed_forget(struct sealed_log *log, struct slice alias_id, const struct sealed_item *items, size_t count);
void sealed_flush(struct sealed_log *log);
/* Every item of the alias goes, durably: its mailbox is being deleted. Nothing of that alias may be on its way in. */
int sealed_purge(struct sealed_log *log, struct slice alias_id, struct fault *why) MUST_CHECK;
/* Moves an item that does not open to quarantine/, with a durable copy first. */
int sealed_quarantine(struct sealed_log *log, struct slice alias_id, const struct sealed_item *item, struct fault *why) MUST_CHECK;
/* Copies live items out of old segments that are mostly gone, and removes those. Call now and then. */
int sealed_compact(struct sealed_log *log, struct fault *why) MUST_CHECK;
