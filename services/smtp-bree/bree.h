/* bree.h - what the files of fe-smtp-bree share: settings, the process, one message being sent.
 *
 * Owns      struct bree is the process; struct job lives on one fiber while a message is claimed.
 * Threads   the loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "base/config.h"
#include "net/redis.h"
#include "net/smtp_route.h"
#include "rt/fiber.h"
#include "rt/service.h"
#include "store/models.h"

#define LEASE_MS          (15 * 60000u)        /* renewed by each save; a runner that died is followed after this long */
#define EXPIRY_MS         (5 * 86400000LL)     /* RFC 5321 4.5.4.1 */
#define DELAY_DSN_MS      3600000LL
#define HEADER_MAX        ((size_t)256 << 10)
#define TRANSACTION_RCPTS 100                  /* RFC 5321 4.5.3.1.8 */
#define IDLE_CONNECTION_MS 10000u

struct config {
    const char *store_uri, *store_key_file;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password;
    const char *host, *local_ip;
    uint16_t out_port;
    bool allow_private;
    int64_t concurrency;
    struct secret *helper_key;
    const char *ca_path;
    uint64_t poll_ms;
};

struct bree {
    const struct config *config;
    struct store *store;
    struct redis *redis;
    struct tls_client *tls;
    struct fiber_event wake;
    struct fiber_group workers;
    unsigned busy;
    bool stopping;
    char name[64];                             /* of this runner, in leases */
    struct metric *sent, *deferred, *failed, *took;
};
extern struct bree bree;

struct job {
    struct arena *arena;
    struct email_doc email;
    struct domain_doc domain;
    struct buf header;                         /* as it goes out: signed, Bcc gone; with the blank line */
    uint64_t body_at;                          /* where the body begins in the blob */
    uint64_t body_bytes;
};

/* job.c: one claimed message, from here to its next state. */
void job_run(struct job *job) SUSPENDS;

/* message.c: reads the blob once: new header with the signature. */
int message_prepare(struct job *job, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
struct message_source;                         /* header and body for smtp_client_mail.pull */
int message_open(struct job *job, struct deadline until, struct message_source **out, struct fault *why) MUST_CHECK SUSPENDS;
int message_pull(void *source, struct slice *piece, struct fault *why) SUSPENDS;
void message_close(struct message_source **s);         /* closer */

/* connection.c: one connection per destination is kept and used again. */
struct connection {
    struct smtp_connected to;
    char domain[256];
    char host[256], ip[64];
    struct arena *arena;
    uint64_t idle_since_ms;
    struct connection *next;
};
/* *refusal: what the remote (or its DNS) said when there can be no connection. */
int connection_get(struct slice domain, struct deadline until, struct connection **out, struct smtp_reply *refusal, struct arena *in, struct fault *why) MUST_CHECK SUSPENDS;
void connection_put(struct connection **c);            /* back to the idle ones, or closed when of no more use */
void connections_close(bool all);                      /* those idle for too long, or all */

/* dsn.c: reports to the sender for recipients that failed, or wait for long. */
int dsn_send(struct job *job, bool delay, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
