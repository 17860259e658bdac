/* bree.h - what the files of fe-smtp-bree share: settings, the process, one message being sent.
 *
 * Owns      struct bree is the process; struct job lives on one fiber while a message is claimed.
 * Threads   the loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "base/config.h"
#include "mail/dkim_keyring.h"
#include "mail/dsn.h"
#include "net/redis.h"
#include "net/smtp_route.h"
#include "rt/fiber.h"
#include "rt/service.h"
#include "store/models.h"

#define EXPIRY_MS         (5 * 86400000LL)     /* RFC 5321 4.5.4.1 */
#define DELAY_DSN_MS      3600000LL
#define HEADER_MAX        ((size_t)256 << 10)
#define TRANSACTION_RCPTS 100                  /* RFC 5321 4.5.3.1.8 */
#define IDLE_CONNECTION_MS 10000u
#define STORE_AGAIN_MS    500u                 /* until a state that the store did not take is offered again */
#define BODY_KEPT_MAX     ((size_t)64 << 10)

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
    struct secret *srs_secret;
    int64_t destination_max;
    uint64_t lease_ms;                         /* a runner that died is followed after this long */
    uint64_t poll_ms;
    const char *runner_folder;
};

struct bree {
    const struct config *config;
    struct store *store;
    struct directory *directory;               /* domains, as they were a second ago */
    struct dkim_keyring *keys;
    struct redis *redis;
    struct tls_client *tls;
    struct fiber_event wake;
    struct fiber_group workers;
    unsigned busy;
    bool look;                                 /* something may be due */
    unsigned announced;                        /* messages that events told of and nobody has claimed */
    bool trouble;                              /* a claim failed: no hurry to try again */
    bool doubt;                                /* it may have been done though: something may be leased to us that nobody sends */
    bool stopping;
    char name[80];                             /* of this runner, in leases */
    bool has_slot;                             /* nobody else alive has or had this name */
    struct metric *sent, *deferred, *failed, *took;
};
extern struct bree bree;

/* Of one destination, and of reading the message: the lease outlives it, being renewed in its first quarter. */
static inline uint64_t transaction_ms(void)
{
    return bree.config->lease_ms / 2;
}

struct job {
    struct arena *arena;
    struct email_doc email;
    struct domain_doc domain;
    struct buf header;                         /* as it goes out: signed, Bcc gone; with the blank line */
    uint64_t body_at;                          /* where the body begins in the blob */
    uint64_t body_bytes;
    struct buf body;                           /* all of it when it is small, else empty */
    struct slice from;                         /* envelope sender as it goes out: rewritten when the domain takes bounces */
    uint64_t leased_at_ms;                     /* monotonic: when the lease was taken or renewed */
    bool lost;                                 /* the lease: the message is another's */
    json_t *delivery;                          /* entry to write with the final state, or NULL */
};

/* slot.c: 1: *identity is ours alone while we live, 0: no slot to be had. */
int slot_take(struct slice store_uri, const char *folder, struct arena *in, struct slice *identity, struct fault *why) MUST_CHECK;

/* job.c: one claimed message: sent where it can be; then its next state is written, which ends the lease. */
void job_run(struct job *job) SUSPENDS;
void job_finish(struct job *job) SUSPENDS;

/* message.c: reads the blob once: new header with the signature. */
int message_prepare(struct job *job, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
struct message_source;                         /* header and body for smtp_client_mail.pull */
int message_open(struct job *job, struct deadline until, struct message_source **out, struct fault *why) MUST_CHECK SUSPENDS;
int message_pull(void *source, struct slice *piece, struct fault *why) SUSPENDS;
void message_close(struct message_source **s);         /* closer */

/* connection.c: one connection per destination is kept and used again. */
struct connection {
    struct smtp_connected to;
    char domain[256];                          /* A-labels, or "[address]" */
    char host[256], ip[64];
    bool require_tls;                          /* opened for a message that asks for it (RFC 8689) */
    struct arena *arena;
    struct destination *destination;
    uint64_t idle_since_ms;
    bool was_idle;                             /* taken from the idle ones: the remote may have closed it meanwhile */
    struct connection *next;
};
struct wanted {
    struct slice domain;
    bool require_tls;                          /* a certificate that proves the host's name, or no connection */
};
/* *refusal: what the remote (or its DNS) said when there can be no connection. Waits while SMTP_QUEUE_DESTINATION_MAX
 * connections to the domain are in use.                                                                        */
int connection_get(const struct wanted *wanted, struct deadline until, struct connection **out, struct smtp_reply *refusal, struct arena *in, struct fault *why) MUST_CHECK SUSPENDS;
void connection_put(struct connection **c);            /* back to the idle ones, or closed when of no more use */
void connections_close(bool all);                      /* those idle for too long, or all */

/* dsn.c: reports to the sender for recipients that failed, wait for long, or were delivered where that was asked for. */
int dsn_send(struct job *job, enum dsn_action action, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* The bits of enum smtp_notify in "SUCCESS,FAILURE"; 0: not said. */
unsigned dsn_parse_notify(struct slice notify);
