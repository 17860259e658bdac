/* mx.h - what the files of fe-mx share: settings, the process, a connection, a message and where it goes.
 *
 * Owns      struct mx is the process; struct mx_conn lives as long as a connection, struct mx_mail as long as a transaction
 *           (both on session arenas; what needs closing is closed by mx_session.c).
 * Used by   services/mx only. Loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "mail/arc.h"
#include "mail/dkim_keyring.h"
#include "net/redis.h"
#include "net/smtp_server.h"
#include "net/spool.h"
#include "rpc/mailbox.h"
#include "rt/listener.h"
#include "rt/service.h"
#include "rt/tls.h"
#include "store/models.h"

#define MX_DELIVERY_MS     240000u            /* RFC 5321 4.5.3.2.6 gives the client 10 minutes; many have 5 */
#define MX_HEADER_MAX      ((size_t)256 << 10)
#define MX_EXPANSION_DEPTH 4                  /* alias to alias */

struct mx_config {
    uint16_t port;
    const char *host;                         /* our name: greeting, Received, authserv-id */
    const char *web_host;                     /* SRS addresses are at this domain */
    const char *website;
    const char *abuse;
    const char *tls_key, *tls_cert, *tls_ca;
    const char *store_uri, *store_key_file;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password;
    const char *sqlite_host;
    uint16_t sqlite_port;
    bool sqlite_tls;
    struct secret *api_secrets, *srs_secret, *helper_key;
    const char *dkim_key_path, *dkim_domain, *dkim_selector;
    const char *spool_folder;
    uint64_t message_bytes_max, greeting_ms, idle_ms;
    int64_t recipients_max, forwards_max, concurrency_max;
    const char **concurrency_exempt;
    const char *forward_host;
    uint16_t forward_port;
    bool forward_private, verify_dns;
    const char *source_ip;
};

struct mx_limit;

struct mx {
    struct mx_config *config;
    struct store *store;
    struct directory *directory;
    struct redis *redis;
    struct mailbox_server *mailboxes;
    struct spool_dir *spools;
    struct tls_server *tls;
    struct tls_client *tls_out;
    struct dkim_key *seal_key;                /* NULL: the domains' own keys seal */
    struct dkim_keyring *keys;                /* those; NULL without HELPER_ENCRYPTION_KEY */
    struct smtp_server *smtp;
    struct listener *listener;
    struct secret *mark_key, *rpc_secret;
    struct mx_limit *limit;
    struct metric *delivered, *forwarded, *refused, *deferred, *took;
};

struct mx_conn {
    struct mx *mx;
    const char *ptr;                          /* confirmed reverse name, "" when none */
    bool ptr_asked;
    bool counted, counted_in_redis;
    struct mx_mail *mail;
};

enum mx_kind { MX_MAILBOX, MX_FORWARD };

struct mx_target {
    struct mx_target *next;
    enum mx_kind kind;
    char domain_id[25];                       /* of the recipient's domain, for its owner's log */
    struct slice rcpt;                        /* the address of ours it stands for, as the sender wrote it */
    struct slice alias_id;
    struct slice public_key;                  /* mailbox: 32 bytes, sealed to while locked; empty: none */
    uint64_t quota_bytes;
    struct slice address;                     /* forward: where to */
    uint16_t port;                            /* forward: 0 by MX */
    struct smtp_reply reply;                  /* outcome; code 250: done */
    struct mailbox_delivered stored;          /* mailbox: what the mailbox server did */
    struct slice remote, said;                /* forward: host and words of the other side, for the log; empty: none */
    unsigned char mark[32];
};

struct mx_mail {
    struct mx *mx;
    struct mx_conn *conn;
    struct smtp_session *s;
    struct arena *arena;                      /* the transaction's */
    char id[25];                              /* "msg" in logs, id in Received */
    struct spool *spool;
    struct buf header;                        /* bytes up to the blank line, at most MX_HEADER_MAX */
    bool header_complete, header_too_long;
    size_t header_length;                     /* in the spool, with the blank line */
    struct mx_target *first, *last;
    unsigned target_count;
    struct dkim_verifier *dkim;               /* while content comes in; NULL: not asked for */
    struct arc_verifier *arc;
    enum arc_result arc_result;
    struct authres_result *results;           /* of all checks; for the seal */
    size_t result_count;
    struct slice authres;                     /* Authentication-Results field, or empty */
    struct slice seal;                        /* ARC set for forwards, or empty */
    struct slice new_header;                  /* header as passed on: foreign results and Return-Path gone */
    struct deadline until;
};

static inline struct mx *mx_of(const struct smtp_session *s)
{
    return smtp_server_arg(s->server);
}

/* mx_session.c */
extern const struct smtp_handlers mx_handlers;
