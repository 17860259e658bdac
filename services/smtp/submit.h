/* submit.h - what the files of fe-smtp share: settings, the process, a signed-in session, a message under way.
 *
 * Owns      struct submit is the process; struct submit_conn lives on the session's arena, struct submit_mail on the
 *           transaction's (what needs closing is closed by submit_session.c).
 * Used by   services/smtp only. Loop thread only.
 */
#pragma once

#include "base/buf.h"
#include "mail/login.h"
#include "net/redis.h"
#include "net/smtp_server.h"
#include "net/spool.h"
#include "rt/listener.h"
#include "rt/service.h"
#include "rt/timer.h"
#include "rt/tls.h"

#define SUBMIT_LOGIN_MS   30000
#define SUBMIT_CACHE_MS   60000                /* a changed password is heard of while somebody is connected, else after this */
#define SUBMIT_QUEUE_MS   120000

struct submit_config {
    uint16_t port, starttls_port;
    const char *host;
    const char *tls_key, *tls_cert;
    const char *store_uri, *store_key_file;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password;
    const char *spool_folder;
    uint64_t message_bytes_max, greeting_ms, idle_ms;
    int64_t recipients_max, messages_per_day, newcomers_max;
    const char **newcomers_exempt;
    bool auth_in_clear, exempt_loopback;
};

struct store;

struct submit {
    struct submit_config *config;
    struct store *store;
    struct redis *redis;
    struct timer announce;                     /* of what was queued in this turn of the loop */
    unsigned announced;
    char announced_id[25];
    struct login *login;
    struct spool_dir *spools;
    struct tls_server *tls;
    struct smtp_server *implicit, *starttls;   /* the same engine, with and without STARTTLS */
    struct listener *listener, *starttls_listener;
    struct metric *queued, *refused;
};

struct submit_conn {
    struct submit *submit;
    struct login_result who;                   /* once authenticated; its data key is let go at once */
    struct redis_subscription *account;        /* alias:<id>: password changed, switched off */
    bool revoked, hears;
    bool knows_limit;
    int64_t limit;                             /* messages in 24 hours, 0: any */
    uint64_t checked_ms;                       /* when the store last said that the account may send */
    struct submit_mail *mail;
};

struct submit_mail {
    struct submit_conn *conn;
    struct smtp_session *s;
    struct arena *arena;
    struct spool *spool;
    struct buf header;
    bool header_complete, header_too_long;
};

static inline struct submit *submit_of(const struct smtp_session *s)
{
    return smtp_server_arg(s->server);
}

/* submit_session.c */
extern const struct smtp_handlers submit_handlers;
