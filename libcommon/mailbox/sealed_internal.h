/* sealed_internal.h - what sealed_crypt.c, sealed_index.c and sealed_log.c share. */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "base/map.h"
#include "mailbox/sealed_record.h"

#define SEALED_GONE_MAX (1u << 20)     /* bytes of records that wait for a disk; what is dropped beyond comes again after a restart */

struct sealed_segment {
    uint32_t number;
    uint64_t live, live_bytes, total_bytes;
    bool purges;                               /* holds SEALED_PURGED: stays while an older segment may hold what they purge */
};

struct sealed_queue {                          /* waiting items of one alias, ascending seq */
    struct sealed_item *items;
    size_t first, end, capacity;
    uint64_t bytes;
};

struct sealed_log {
    int dir;                                   /* the folder */
    int fd;                                    /* current segment */
    uint32_t current;
    uint64_t current_bytes;
    uint64_t last_seq;
    uint64_t damaged;
    pthread_mutex_t write_lock;                /* who appends to the current segment; taken before `lock` */
    pthread_mutex_t lock;                      /* index and segment table */
    struct buf gone;                           /* records of what was forgotten, not written yet; under `lock` */
    struct map *queues;                        /* alias bytes -> struct sealed_queue */
    struct sealed_segment *segments;
    size_t segment_count;
};

struct sealed_writer {
    struct sealed_log *log;
    struct sealed_head head;
    crypto_secretstream_xchacha20poly1305_state stream;
    struct buf plain;                          /* gathered up to a chunk */
    struct buf cipher;                         /* inline body, or what is not written to `fd` yet */
    uint64_t left;                             /* message bytes still expected */
    uint64_t padding;
    int fd;                                    /* own file, -1: inline */
};

struct sealed_name { char s[64]; };
struct sealed_name sealed_segment_name(uint32_t number);
struct sealed_name sealed_item_name(const struct sealed_id *id);

/* sealed_log.c. segment_begin: with the write lock; what is written goes to a new segment from now on. */
int sealed_segment_begin(struct sealed_log *log, struct fault *why);
int sealed_read_at(int fd, void *out, size_t n, uint64_t at);

/* sealed_crypt.c: ends the stream once seq is known; the last chunk authenticates the head. */
int sealed_writer_finish(struct sealed_writer *w, unsigned char head[SEALED_HEAD_BYTES], struct fault *why);
int sealed_write_all(int fd, struct slice bytes, struct fault *why);

/* sealed_forget.c. Records of what was forgotten since, for the next write; given back when that failed. */
size_t sealed_gone_take(struct sealed_log *log, struct buf *out);
void sealed_gone_return(struct sealed_log *log, struct slice records);

/* sealed_index.c: call with the lock held */
struct sealed_queue *sealed_queue_find(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS]);
void sealed_index_add(struct sealed_log *log, const struct sealed_head *h, uint32_t segment, uint64_t offset, uint64_t record_bytes);
bool sealed_index_remove(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS], const struct sealed_id *id, struct sealed_item *out);
void sealed_index_move(struct sealed_log *log, const unsigned char alias[SEALED_ALIAS], const struct sealed_id *id, uint32_t segment, uint64_t offset);
struct sealed_segment *sealed_segment_get(struct sealed_log *log, uint32_t number);
void sealed_index_free(struct sealed_log *log);
