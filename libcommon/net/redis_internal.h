/* redis_internal.h - what the files of the Redis client share: two connections, waiting commands, channels. */
#pragma once

#include <hiredis/hiredis.h>

#include "base/map.h"
#include "net/redis.h"
#include "rt/fiber.h"
#include "rt/stream.h"

#define REDIS_UNSENT_MAX ((size_t)8 << 20)

struct redis_conn {                        /* one for commands, one for subscriptions */
    struct redis *r;
    const char *name;                      /* of its fiber */
    /* A complete reply, the callee's. <0: the connection must end. */
    int (*on_reply)(struct redis *r, redisReply *reply, struct fault *why);
    int (*on_silence)(struct redis *r, struct fault *why);      /* nothing for silence_ms; NULL: wait for ever */
    void (*on_up)(struct redis *r);
    void (*on_down)(struct redis *r);
    uint64_t silence_ms;
    struct stream *stream;                 /* NULL while away */
    redisReader *reader;
    size_t pending_bytes;                  /* fed since the last complete reply */
    unsigned failures;
    bool running, wanted;
    struct fiber_event changed;            /* up, down or closed */
};

struct redis_wait {                        /* a command that was sent */
    struct redis_wait *next;
    bool orphan;                           /* nobody waits for the answer */
    bool done;
    redisReply *reply;                     /* NULL and done: the connection was lost */
    struct fiber_event changed;
};

struct redis {
    char *host, *unix_path, *user;
    uint16_t port;
    unsigned db;
    bool tls, closed;
    const struct secret *password;
    struct secret *url_password;
    struct tls_client *tls_client;
    uint64_t command_ms;
    unsigned refs;                         /* owner, fibers */

    struct redis_conn commands;
    struct redis_wait *first, **end;
    unsigned waiting;

    struct redis_conn events;
    struct map *channels;                  /* name -> struct redis_channel */
    bool silent;                           /* a PING of the events connection is unanswered */
};

/* Sends argv without waiting. */
int redis_conn_send(struct redis_conn *c, const struct slice *argv, size_t argc, struct fault *why);
/* Makes sure the connection's fiber runs. */
int redis_conn_start(struct redis_conn *c, struct fault *why);
void redis_conn_stop(struct redis_conn *c);
void redis_ref(struct redis *r);
void redis_unref(struct redis *r);
void redis_commands_init(struct redis *r);
void redis_events_init(struct redis *r);
void redis_events_deinit(struct redis *r);
/* FAULT_INVALID or, when Redis cannot serve now, FAULT_UNAVAILABLE. */
int redis_error_fault(const redisReply *reply, struct fault *why);
