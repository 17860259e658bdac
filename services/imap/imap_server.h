/* imap_server.h - what all IMAP sessions of the process share: connections outwards, who is logged in, change events.
 *
 * Owns      the clients of mailbox server, store and Redis, and the registry of sessions by alias.
 * Used by   main.c, sessions.
 * Threads   the loop thread; suspends where marked.
 */
#pragma once

#include "imap_config.h"
#include "base/map.h"
#include "mail/login.h"
#include "net/redis.h"
#include "rpc/mailbox.h"
#include "rt/fiber.h"
#include "rt/service.h"
#include "rt/timer.h"
#include "rt/tls.h"

struct imap_session;

struct imap_server {
    const struct imap_config *config;
    struct tls_server *tls;
    struct mailbox_server *mailboxes;
    struct store *store;
    struct login *login;
    struct redis *redis;                       /* NULL: sessions poll */
    struct map *aliases;                       /* alias id -> struct imap_alias */
    struct imap_session *first;                /* all sessions */
    unsigned session_count;
    struct fiber_event session_ended;
    bool draining;
    struct metric *commands, *command_us, *logins, *login_failures;
};

struct imap_alias {                            /* an alias with sessions, or that had one a minute ago */
    char id[25];
    struct imap_server *server;
    struct imap_session *first;
    unsigned count;
    struct redis_subscription *changes, *account;
    struct timer idle;
};

void imap_server_init(struct imap_server *server, const struct imap_config *config);
void imap_server_add(struct imap_server *server, struct imap_session *s);
void imap_server_remove(struct imap_server *server, struct imap_session *s);
/* Counts the session among those of `alias_id`. FAULT_LIMIT: IMAP_MAX_CONNECTIONS_PER_ALIAS reached. */
int imap_server_join(struct imap_server *server, struct imap_session *s, const char *alias_id, struct fault *why) MUST_CHECK;
void imap_server_leave(struct imap_session *s);
/* Are change events heard at the moment? Otherwise sessions poll. */
bool imap_server_hears_changes(const struct imap_server *server);
/* SIGTERM: says BYE to all and waits for them. */
void imap_server_drain(struct imap_server *server, struct deadline until) SUSPENDS;
