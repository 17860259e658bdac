/* smtp_server_internal.h - what the files of the engine share: one connection, and the steps on it.
 *
 * Owns nothing. Used by smtp_server*.c only. Everything marked SUSPENDS runs on the connection's fiber.
 */
#pragma once

#include "net/smtp_server.h"
#include "rt/fiber.h"

#define SOFT_ERRORS_MAX 200             /* each may have cost memory of the transaction */

struct smtp_server {
    struct smtp_server_options o;
    struct smtp_server_stats stats;
    struct smtp_conn *first;
    struct fiber_event emptied;
    bool closing;
};

struct smtp_conn {
    struct smtp_session s;                /* first: handlers hold a pointer to it */
    struct smtp_conn *prev, *next;
    unsigned errors, soft_errors, unknown, before_auth;
    char helo[SMTP_DOMAIN_MAX + 1];       /* s.helo points here */
    bool told, bye, in_mail;
    /* content of the transaction under way */
    bool content_open;                    /* data_begin said yes; more BDAT to come */
    bool content_counted;                 /* in stats.contents */
    bool content_lost;                    /* a chunk was refused: the rest is 503 until RSET */
    struct smtp_line_check lines;
    struct smtp_reply refused;            /* first refusal, sent at the end */
    uint64_t received;
};

static inline struct smtp_server *conn_server(struct smtp_conn *c)
{
    return c->s.server;
}

/* smtp_server.c */
struct deadline conn_idle_deadline(struct smtp_conn *c);
/* Sends `r` (code 0: `usual` instead), counts errors, sets bye after 421 or a broken stream. */
void conn_reply(struct smtp_conn *c, struct smtp_reply r, struct smtp_reply usual) SUSPENDS;
void conn_say(struct smtp_conn *c, int code, const char *enhanced, const char *text) SUSPENDS;
void conn_write(struct smtp_conn *c, struct slice bytes) SUSPENDS;
void conn_reset_mail(struct smtp_conn *c);        /* ends the transaction, telling the service */

/* smtp_server_command.c */
void conn_command(struct smtp_conn *c, struct slice line) SUSPENDS;

/* smtp_server_data.c */
void conn_cmd_data(struct smtp_conn *c, struct slice argument) SUSPENDS;
void conn_cmd_bdat(struct smtp_conn *c, struct slice argument) SUSPENDS;

/* smtp_server_auth.c */
void conn_cmd_auth(struct smtp_conn *c, struct slice argument) SUSPENDS;
bool conn_offers_auth(const struct smtp_conn *c);
