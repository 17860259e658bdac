/* redis.h - Redis commands, scripts, locks and pub/sub on the loop; fails fast while Redis is away.
 *
 * Owns      one connection for commands (pipelined) and one for subscriptions while there are any, each with a reader
 *           fiber; both reconnect by themselves with back-off.
 * Used by   limits, login, imap, everything that publishes or hears events.
 * Threads   the loop thread only; suspends where marked.
 *
 * Everything in Redis may be lost. Faults: FAULT_UNAVAILABLE (away: known at once, no waiting), FAULT_TIMEOUT (the command's time
 * limit), FAULT_CANCELED, FAULT_INVALID (Redis answered an error), FAULT_PROTOCOL. A command is never sent twice.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/secret.h"
#include "base/time.h"

#define REDIS_COMMAND_MS      2000u
#define REDIS_CONNECT_MS      2000u
#define REDIS_ARGS_MAX        1024
#define REDIS_REPLY_BYTES_MAX ((size_t)16 << 20)
#define REDIS_REPLY_DEPTH_MAX 7                    /* hiredis's own bound */
#define REDIS_WAITING_MAX     10000                /* commands without an answer yet; more: FAULT_UNAVAILABLE */

struct redis;

struct redis_options {
    const char *url;                               /* redis://[[user]:password@]host[:port][/db], rediss://..., unix:/path; or NULL: */
    const char *host;                              /* numeric or a name of our own world */
    uint16_t port;                                 /* 0: 6379 */
    const struct secret *password;                 /* or NULL; borrowed for its life; wins over the url's */
    unsigned db;
    uint64_t command_ms;                           /* 0: REDIS_COMMAND_MS */
};
/* FAULT_INVALID: malformed url. Connects in the background: needs the loop, never the server. */
int redis_new(const struct redis_options *options, struct redis **out, struct fault *why) MUST_CHECK;
/* Waiting commands fail with FAULT_UNAVAILABLE. Unsubscribe everything before. */
void redis_free(struct redis **r);
bool redis_is_up(const struct redis *r);
/* Waits for the first connection (start-up, tests). */
int redis_wait_up(struct redis *r, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

enum redis_kind { REDIS_NIL, REDIS_INTEGER, REDIS_TEXT, REDIS_ARRAY };
struct redis_reply {                               /* lives in the arena */
    enum redis_kind kind;
    int64_t integer;
    struct slice text;                             /* strings and status lines */
    struct redis_reply *items;
    size_t count;
};
/* `out` may be NULL. */
int redis_command(struct redis *r, const struct slice *argv, size_t argc, struct arena *in, struct redis_reply *out, struct fault *why) MUST_CHECK SUSPENDS;
#define REDIS_ARGV(...) (const struct slice[]){ __VA_ARGS__ }, COUNT(((const struct slice[]){ __VA_ARGS__ }))
/* Without waiting for the answer. */
int redis_tell(struct redis *r, const struct slice *argv, size_t argc, struct fault *why);
int redis_publish(struct redis *r, struct slice channel, struct slice payload, struct fault *why);   /* redis_tell PUBLISH */

/* ---- scripts: EVALSHA, EVAL when the server does not know it yet ---- */
struct redis_script { const char *source; char sha1[41]; };          /* sha1 "" at first */
int redis_eval(struct redis *r, struct redis_script *script, const struct slice *keys, size_t key_count, const struct slice *args, size_t arg_count,
               struct arena *in, struct redis_reply *out, struct fault *why) MUST_CHECK SUSPENDS;

/* Adds `by` to a counter that lives `window_ms` from its first increment, atomically. */
struct redis_counter { int64_t count; uint64_t left_ms; };
int redis_count(struct redis *r, struct slice key, int64_t by, uint64_t window_ms, struct redis_counter *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- locks with owner tokens ---- */
struct redis_lock { char key[200]; char token[33]; };                /* token "" : not held */
/* FAULT_CONFLICT: somebody else holds it. */
int redis_lock(struct redis *r, struct slice key, uint64_t ttl_ms, struct redis_lock *out, struct fault *why) MUST_CHECK SUSPENDS;
int redis_lock_extend(struct redis *r, const struct redis_lock *l, uint64_t ttl_ms, struct fault *why) MUST_CHECK SUSPENDS;   /* FAULT_CONFLICT: lost */
int redis_unlock(struct redis *r, struct redis_lock *l, struct fault *why) SUSPENDS;      /* only if still ours */

/* ---- pub/sub ---- */
struct redis_subscription;
/* Called on the loop, must not suspend. REDIS_GAP: the subscription (re)started, events before it were lost: re-read. */
enum redis_event { REDIS_MESSAGE, REDIS_GAP };
typedef void (*redis_event_fn)(void *arg, enum redis_event event, struct slice channel, struct slice payload);
/* Stays until unsubscribed, over all reconnects. Several may hear one channel. Never suspends. */
struct redis_subscription *redis_subscribe(struct redis *r, struct slice channel, redis_event_fn fn, void *arg);
void redis_unsubscribe(struct redis_subscription **s);               /* closer; allowed inside the callback */
