/* sqlite.h - what the files of fe-sqlite share: settings, open mailboxes ("boxes"), units of work on them.
 *
 * Owns      one struct server per process: storage folder, sealed log, boxes by alias id.
 * Threads   the loop thread, but for the `run` functions of units, which run on db-pool threads and touch only the engine
 *           and their own struct.
 */
#pragma once

#include "base/config.h"
#include "base/derive.h"
#include "base/map.h"
#include "mailbox/engine.h"
#include "mailbox/sealed.h"
#include "net/redis.h"
#include "net/spool.h"
#include "rpc/rpc_server.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/offload.h"
#include "rt/service.h"
#include "rt/timer.h"

#define SECRETS_MAX        8
#define BOX_BUSY_MS        1000                /* after the time was over but work was under way */
#define TIDY_QUIET_MS      1000                /* without work on a mailbox, until it is tidied */
#define TIDY_STEP_MS       25                  /* of one tidying step; other work comes between */
#define TIDY_REST          9                   /* times a step's length, between steps, while other mailboxes are used */
#define TRIM_AFTER_MS      500
#define BOX_WAITING_MAX    1000                /* units of one mailbox; more: FAULT_UNAVAILABLE */
#define BODY_MEMORY_MAX    ENGINE_INLINE_MAX   /* larger deliveries wait in an encrypted spool */
#define UNIT_BODY_MAX      (64u << 10)         /* bytes of a body that a lone unit hashes and compresses itself */
#define LOGGED_BODY_MAX    (64u << 10)         /* bytes of a delivery that goes through the log also when the mailbox is open */
#define LOOP_SEAL_MAX      (16u << 10)         /* bytes that are sealed on the loop: with the own key some microseconds */
#define DRAIN_AGAIN_MS     5000                /* after the disk stopped a drain */
#define DRAIN_EVERY_MS     500                 /* while mail keeps coming, a mailbox takes in its own that often */
#define DRAIN_CALM_MS      5                   /* without a delivery: what waits goes in */
#define DRAINS_AT_ONCE     4                   /* of fresh mail; the fifth thread of the pool is for who looks */
#define DRAIN_WAIT_MS      2000                /* at most, for whoever looks, until what was acknowledged before is there */
#define COMPACT_EVERY_MS   60000
#define DRAIN_ITEMS        100
#define DRAIN_BYTES        (2u << 20)
#define APPEND_MESSAGES_MAX 1000
#define APPEND_MEMORY_MAX  (64u << 20)

struct config {
    uint16_t port;
    const char *bind_address;
    const char *storage;
    struct secret *api_secrets;
    const char *key_path, *cert_path;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password;
    const char *store_uri, *store_key_file;
    uint64_t key_keep_ms;                      /* a key is wiped this long after the last session has closed */
};

struct server {
    const struct config *config;
    const char *storage;
    struct sealed_log *sealed;
    struct spool_dir *spools;
    struct map *boxes;                         /* alias id -> struct box */
    struct redis *redis;                       /* NULL: no events */
    struct rpc_server *rpc;
    struct secret *secrets[SECRETS_MAX];
    size_t secret_count;
    struct metric *delivered, *sealed_items, *group_us, *drained;
    struct timer trim;                         /* gives freed memory back to the system */
    struct timer compact;                      /* of the sealed log */
    struct drain_turns {                       /* fresh mail of open boxes, the one that has waited for longest first */
        struct box *first, *last;
        struct timer timer;
        unsigned running;
        unsigned sealing;                      /* deliveries on their way into the sealed log */
        uint64_t ended_ms;                     /* the last one of them */
        struct deadline calm;                  /* NEVER while one is */
    } turns;
    bool trim_waits;
    struct fiber_mutex tidy_turn;
    uint64_t units;                            /* groups of work that were run, ever */
};
extern struct server server;                   /* constant after start, but for what it points to */

/* ---- boxes (box.c): a mailbox this process holds open, or whose mail it seals ---- */

struct session {                               /* what an RPC session of kind mailbox stands for */
    struct box *box;
    unsigned scope;
    struct rpc_session *handle;                /* NULL while it is being opened */
    char wrap_id[65];                          /* the password slot it came in with */
    struct session *next;
};

struct unit;
typedef int (*unit_fn)(struct engine *e, void *arg, struct fault *why);

struct unit {                                  /* on the waiting fiber's stack or arena until done */
    unit_fn run;
    void *arg;
    bool writes;                               /* runs inside the group's transaction, as an item of it */
    int result;
    struct fault why;
    bool done;
    struct fiber_event ready;
    struct unit *next;
};

struct box {
    char alias_id[25];
    struct engine *engine;                     /* NULL: locked */
    struct secret *key;
    struct sealing_pair pair;
    struct session *sessions;
    struct fiber_mutex lock;                   /* who holds it may use `engine` */
    struct unit *first, *last;
    unsigned waiting;
    unsigned drain_rounds;                     /* batches taken in, ever */
    unsigned sealing;                          /* items on their way into the sealed log */
    unsigned deleting;                         /* no delivery, no session begins */
    unsigned rekeying;                         /* no delivery begins */
    bool working;                              /* a fiber is running units */
    bool draining;
    bool drains_backlog;                       /* of before the login: worth a line in the log */
    bool pending, has_turn;                    /* in server.turns */
    bool tidying;
    bool knows_key;                            /* sealing_key is that of the mailbox: made or opened since the box is here */
    struct box *next_pending;                  /* in server.turns */
    struct deadline drain_by;
    struct fiber_event drained;                /* a batch is in the mailbox, or the drain has ended */
    struct timer quiet;
    struct fiber_event sealed;                 /* an item has arrived in the log */
    unsigned char sealing_key[32];             /* public: mail sealed to another one could never be read */
    uint64_t quota_bytes;
    uint64_t used_bytes;                       /* while open: of its messages, after the last work on it */
    struct timer idle;
};

extern const struct rpc_session_kind mailbox_kind, body_kind;

extern const struct engine_options box_engine;     /* how this process opens mailboxes: alone, it holds the folder's lock */

struct box *box_get(struct slice alias_id);    /* makes a locked one when there is none */
void box_path(struct slice alias_id, char *out, size_t size);
bool box_file_exists(struct slice alias_id, uint64_t *bytes);
/* FAULT_DENIED: another key. Starts draining. */
int box_unlock(struct box *b, struct slice key, struct slice wrap_id, struct fault *why) MUST_CHECK SUSPENDS;
void box_touch(struct box *b);                 /* (re)starts the idle timer when no session is left */
/* After work: search index, dead bodies, old marks and the write-ahead log are seen to when it has been quiet. */
void tidy_later(struct box *b);
void box_lock_all_out(struct box *b, struct session *but);
/* Ends the sessions, but this one, whose password slot is not in the JSON array of text `live`. */
void box_lock_out_revoked(struct box *b, const json_t *live, struct session *but);
/* Forgets the key and closes the engine; with the lock held. */
void box_lock_up(struct box *b) SUSPENDS;
void boxes_close(struct deadline until) SUSPENDS;

/* Runs on the box's engine, in order with the others; writes that wait are committed together with one fsync. Returns when
 * the result is durable. FAULT_UNAVAILABLE: the box is locked.                                                   */
int box_run(struct box *b, bool writes, unit_fn fn, void *arg, struct fault *why) MUST_CHECK SUSPENDS;
/* The same outside any transaction, for calls that make their own (staging, rekey). */
int box_run_alone(struct box *b, unit_fn fn, void *arg, struct fault *why) MUST_CHECK SUSPENDS;
/* fn(arg) on a pool, waited for. */
int pool_run(enum offload_pool pool, int (*fn)(void *arg, struct fault *why), void *arg, struct fault *why) MUST_CHECK SUSPENDS;
void box_publish(const struct box *b, uint64_t modseq, uint64_t folder_id);

/* ---- sealed mail (seal.c, drain.c) ---- */
/* Waits for the group's commit; takes *w. */
int seal_commit(struct sealed_writer **w, struct fault *why) MUST_CHECK SUSPENDS;
/* No delivery may begin any more (deleting, rekeying): those that have begun come to their end. FAULT_UNAVAILABLE: not in time. */
int seal_wait(struct box *b, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
void drain_start(struct box *b);               /* harmless when it runs or nothing waits */
void drain_soon(struct box *b);                /* the same, in a calm moment or DRAIN_EVERY_MS from now */
void drain_delivery_begun(void);
void drain_delivery_ended(void);
/* Whoever looks finds what was acknowledged before: waits for the little that the log still holds of an open mailbox. A backlog from
 * before a login is not waited for: it shows up as it is drained.                                                                  */
void drain_catch_up(struct box *b) SUSPENDS;
int drain_all(struct box *b, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
void drain_init(struct box *b);
void drain_timers_start(void);

/* ---- who got which UID, for the log collection (journal.c) ---- */
struct drained { unsigned char mark[8]; uint32_t uid; };
void journal_drained(const char *alias_id, const struct drained *list, size_t count) SUSPENDS;
void journal_close(void) SUSPENDS;

/* ---- bodies on their way in (body.c) ---- */
struct body_feed {
    struct box *box;
    struct engine_body *body;
};
/* Adds bytes, staging what got large. Suspends. */
int body_feed_write(struct body_feed *f, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
int body_feed_finish(struct body_feed *f, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- actions ---- */
int act_ping(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_create(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_open(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_close(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_set_wraps(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_rekey(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_verify(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_delete(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_mailbox_sizes(struct rpc_call *call, struct fault *why) SUSPENDS;
/* Deletions that were begun and killed: of one alias (0 also when there is none), of all. */
int deleted_finish(struct slice alias, struct fault *why) MUST_CHECK SUSPENDS;
int deleted_finish_all(struct fault *why) MUST_CHECK SUSPENDS;
int act_mailbox_usage(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_list(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_get(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_create(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_delete(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_rename(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_folders_subscribe(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_select(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_rows(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_changes(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_fetch(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_store(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_append(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_copy(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_move(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_expunge(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_messages_search(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_deliver_begin(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_deliver_to(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_deliver_end(struct rpc_call *call, struct fault *why) SUSPENDS;
int act_deliver_one(struct rpc_call *call, struct fault *why) SUSPENDS;
