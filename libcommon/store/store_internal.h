/* store_internal.h - shared by store.c, store_write.c, store_blob.c and store_log.c only. */
#pragma once

#include <pthread.h>
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/timer.h"
#include "store/store_driver.h"

#define GROUP_MAX 128 /* writes of one transaction: other processes want the file too */
#define GROUP_BYTES_MAX ((size_t)8 << 20)
#define WRITES_MAX 4096 /* waiting in this process */
#define LOGS_WAITING_MAX 4096
#define LOGS_BYTES_MAX ((size_t)4 << 20)
#define LOG_FLUSH_MS 200

/* Writes of one file that wait for the next transaction. */
struct write_queue {
    struct store *st;
    pthread_mutex_t lock; /* guards first and last while the engine has a group */
    struct store_write *first, **last;
    unsigned waiting; /* in the list or with the engine */
    bool is_running; /* a fiber is writing */
};

struct store {
    const struct store_driver *driver;
    void *engine;
    void *module;
    const struct store_collection *collections;
    size_t collection_count;
    struct write_queue documents, logs;
    struct fiber_event idle; /* a queue ran empty */
    struct timer log_timer;
    json_t *log_docs; /* array, waiting */
    size_t log_bytes;
    bool log_flushing;
    struct store_stats stats;
};

/* NULL and a fault: our bug, but a restart would not help. */
const struct store_collection *store_collection_find(const struct store *st, const char *name,
                                                     struct fault *why);

struct store_write *write_new(enum store_write_kind kind);
void write_free(struct store_write **w); /* closer */
/* Carries out *w. 0 or <0: *w is the caller's again unless it was set to NULL (given up: the queue
 * frees it). */
int write_run(struct store *st, struct store_write **w, struct deadline until,
              struct fault *why) MUST_CHECK SUSPENDS;
/* The same without waiting: the queue frees it. */
void write_detach(struct store *st, struct store_write *w);
void write_drain(struct store *st) SUSPENDS; /* until nothing is under way */

/* The read is the caller's again only when *r is not NULL afterwards. */
struct store_read *read_new(enum store_read_kind kind);
void read_free(struct store_read **r);
int read_run(struct store *st, struct store_read **r, struct deadline until,
             struct fault *why) MUST_CHECK SUSPENDS;

/* Prepares the insert of `doc` in w: its id (given when it has none) and text. */
int insert_prepare(struct store *st, struct store_write *w, const char *collection, json_t *doc,
                   struct fault *why) MUST_CHECK;
void log_queue_init(struct store *st);
void log_queue_stop(struct store *st) SUSPENDS;
