/* smtp_client.h - sends mail over one SMTP connection: opening under a TLS policy, then any number of transactions.
 *
 * Owns      the connection from smtp_client_open() to smtp_client_close().
 * Used by   smtp-bree (queue runner), mx (forwards), health checks, tests.
 * Threads   the loop thread; one fiber at a time; suspends where marked.
 *
 * A refusal of the remote is a struct smtp_reply (code 0: it never answered); a broken connection or an unmet TLS
 * policy is a fault. What we send can not be read as two messages: a bare CR or LF in the content is FAULT_INVALID.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/time.h"
#include "rt/tls.h"
#include "wire/smtp.h"

struct smtp_client;

enum smtp_tls_policy {
    SMTP_TLS_NONE,                        /* plain text, even if STARTTLS is offered */
    SMTP_TLS_OPPORTUNISTIC,               /* when offered, any certificate; a failed handshake is a fault (caller may try NONE anew) */
    SMTP_TLS_ENCRYPT,                     /* must be there, any certificate */
    SMTP_TLS_PKIX,                        /* must be there, valid for server_name (MTA-STS, REQUIRETLS) */
    SMTP_TLS_DANE,                        /* must be there, matching `tlsa` (RFC 7672) */
};

struct smtp_client_options {
    const char *ip;                       /* numeric */
    uint16_t port;
    const char *local_ip;                 /* source address, or NULL */
    const char *helo;                     /* our name */
    struct slice server_name;             /* of the MX: SNI and certificate check */
    enum smtp_tls_policy policy;
    bool implicit_tls;                    /* TLS from the first byte (465) */
    struct tls_client *tls;               /* needed unless NONE */
    const struct tls_tlsa *tlsa;
    size_t tlsa_count;
    int tls_min_version;                  /* see tls.h; 0: 1.2 */
    struct slice auth_user;               /* AUTH PLAIN when not empty, only over TLS */
    const struct secret *auth_password;
    uint64_t connect_ms, greeting_ms, command_ms, data_block_ms, data_end_ms;   /* 0: 30 s, 2 min, 2 min, 3 min, 10 min */
};

/* Connects, reads the greeting, EHLO (HELO when 5xx), TLS by policy and EHLO again, AUTH. On failure *refusal tells the
 * remote's reply if it gave one (code 0 else; strings in `in`) and `why`:
 *   FAULT_DENIED       the remote refused us (see *refusal)
 *   FAULT_PROTOCOL     TLS was required and not offered, its handshake failed, or nonsense was answered
 *   FAULT_UNAVAILABLE, FAULT_TIMEOUT, FAULT_CLOSED, FAULT_IO    the network                                          */
int smtp_client_open(const struct smtp_client_options *options, struct deadline until, struct arena *in,
                     struct smtp_client **out, struct smtp_reply *refusal, struct fault *why) MUST_CHECK SUSPENDS;
/* QUIT without waiting for its answer, then close; harmless on NULL. Never suspends. */
void smtp_client_close(struct smtp_client **c);

unsigned smtp_client_extensions(const struct smtp_client *c);       /* enum smtp_extension, of the last EHLO */
uint64_t smtp_client_size_limit(const struct smtp_client *c);       /* 0: none said */
bool smtp_client_is_tls(const struct smtp_client *c);
const char *smtp_client_tls_version(const struct smtp_client *c);
const char *smtp_client_tls_cipher(const struct smtp_client *c);
/* False once a call on it failed, the remote said 421, or it closed while idle: open another one. */
bool smtp_client_is_usable(const struct smtp_client *c);

struct smtp_client_rcpt {
    struct slice address;
    unsigned notify;                      /* enum smtp_notify; sent when DSN is offered */
    struct slice orcpt;                   /* "rfc822;..." unencoded */
    struct smtp_reply reply;              /* out: the verdict on this recipient: of RCPT when refused, else of the whole. 0: none came */
    bool accepted;                        /* out: the message was taken for it (2xx) */
};

struct smtp_client_mail {
    struct slice from;                    /* "" for <> */
    uint64_t size;                        /* 0: unknown */
    bool eight_bit, smtputf8, requiretls;
    enum smtp_ret ret;
    struct slice envid;
    struct smtp_client_rcpt *rcpts;
    size_t rcpt_count;
    /* Next piece of the content, borrowed until the next call: 1 piece, 0 end, < 0 the connection is given up. */
    int (*pull)(void *arg, struct slice *piece, struct fault *why) SUSPENDS;
    void *arg;
    bool data_sent;                       /* out: content was sent completely; a fault after it leaves the outcome unknown */
};

/* One transaction, pipelined when offered. 0: every recipient has a reply and the connection may be used again.
 * < 0: the connection is of no more use; recipients whose reply.code is 0 have no verdict. Reply strings live in `in`.
 * Verdicts given without asking the remote: 550 5.6.7 (SMTPUTF8 needed, not offered), 552 5.3.4 (over its SIZE),
 * 550 5.7.30 (REQUIRETLS needed, not offered).                                                                          */
int smtp_client_send(struct smtp_client *c, struct smtp_client_mail *mail, struct arena *in, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
