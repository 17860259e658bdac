/* smtp_server.h - the SMTP server engine shared by mx and submission: protocol, limits and order; the service decides.
 *
 * Owns      each accepted stream and its session from smtp_server_accept() to the end.
 * Used by   services/mx, services/smtp; tests through stream_pair().
 * Threads   the loop thread only. Between commands a session is parked (no fiber); handlers run on a fiber and may suspend.
 *
 * Replies to pipelined commands are gathered and leave together when the input is empty (RFC 2920 3.2). STARTTLS
 * drops what was buffered and everything learnt before (RFC 3207 4.2).
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "rt/stream.h"
#include "wire/smtp.h"

struct smtp_server;

struct smtp_session {                     /* read by handlers; only `user` is theirs to write */
    char id[25];                          /* for logs: "conn" */
    struct smtp_server *server;
    struct stream *stream;
    struct slice helo;                    /* as said; empty before */
    bool esmtp, tls, authenticated;
    struct arena *arena;                  /* as long as the connection */
    struct arena *mail_arena;             /* as long as the transaction; NULL outside */
    struct smtp_mail mail;
    struct smtp_rcpt *rcpts;              /* accepted ones */
    unsigned rcpt_count;
    int64_t arrived_ms;                   /* wall clock of the connection */
    void *user;
};

/* Handlers answer SMTP_OK for the usual success. A 421 is sent and ends the session; other codes >= 400 refuse the
 * step. Any may be NULL (accepts), except data_end.                                                               */
struct smtp_handlers {
    struct smtp_reply (*connect)(struct smtp_session *s) SUSPENDS;          /* before the greeting: 421 or 554 refuses */
    struct smtp_reply (*auth)(struct smtp_session *s, struct slice user, struct slice password) SUSPENDS;
    struct smtp_reply (*mail)(struct smtp_session *s, const struct smtp_mail *mail) SUSPENDS;
    struct smtp_reply (*rcpt)(struct smtp_session *s, const struct smtp_rcpt *rcpt) SUSPENDS;
    struct smtp_reply (*data_begin)(struct smtp_session *s) SUSPENDS;       /* before 354 or the first chunk */
    /* Content, in order, CRLF lines guaranteed, dots unstuffed. A refusal is sent once all data came; then abort follows. */
    struct smtp_reply (*data_chunk)(struct smtp_session *s, struct slice bytes) SUSPENDS;
    struct smtp_reply (*data_end)(struct smtp_session *s) SUSPENDS;         /* the message is ours only if this says 250 */
    void (*reset)(struct smtp_session *s);      /* the transaction is over, however it ended; forget it. Only after mail said yes */
    void (*closed)(struct smtp_session *s);     /* last call, if connect was called */
};

struct smtp_server_options {
    const char *hostname;                 /* greeting, EHLO */
    const char *software;                 /* behind it in the greeting, "ESMTP" at least; NULL: "ESMTP" */
    unsigned extensions;                  /* enum smtp_extension: what EHLO offers besides PIPELINING, ENHANCEDSTATUSCODES, SIZE; STARTTLS and AUTH go by the fields below */
    struct tls_server *tls;               /* STARTTLS; NULL: not offered. Implicit TLS is the listener's matter */
    bool auth;                            /* AUTH PLAIN LOGIN, under TLS */
    bool auth_in_clear;                   /* also without TLS: development only */
    bool auth_required;                   /* before MAIL: 530 */
    uint64_t message_bytes_max;           /* 552 beyond */
    unsigned recipients_max;              /* 452 beyond */
    unsigned contents_max;                /* messages being transferred at once, each up to a spool's memory; 451 beyond; 0: 256 */
    unsigned errors_max;                  /* 5xx replies until 421; 0: 20 */
    unsigned unknown_max;                 /* unknown commands until 421; 0: 10 */
    uint64_t greeting_delay_ms;           /* who talks sooner is sent away; 0: no wait, though early talk is still noticed */
    uint64_t idle_ms;                     /* between commands and between blocks of data; 0: 3 min (RFC 5321 4.5.3.2.7 asks for 5) */
    uint64_t data_ms;                     /* whole content of one message; 0: 30 min */
    uint64_t bare_grace_ms;               /* content with bare CR/LF: how long to wait for the real end before refusing and closing; 0: 5 s */
    const struct smtp_handlers *handlers;
    void *arg;                            /* smtp_server_arg() */
};

struct smtp_server_stats { uint64_t connections, messages, refused_bare, early_talkers, too_many_errors; unsigned open, contents; };

struct smtp_server *smtp_server_new(const struct smtp_server_options *options);
/* Only when no session is open (after drain). */
void smtp_server_free(struct smtp_server **server);
void *smtp_server_arg(const struct smtp_server *server);
void smtp_server_get_stats(const struct smtp_server *server, struct smtp_server_stats *out);
/* A listener's accept callback; `server` is the struct smtp_server. Takes the stream. */
void smtp_server_accept(struct stream *stream, void *server) SUSPENDS;
/* Says 421 to all parked sessions and to the others after their command; returns when none is left or `until`
 * passed (then their sockets are shut down).                                                                 */
void smtp_server_drain(struct smtp_server *server, struct deadline until) SUSPENDS;
bool smtp_server_is_closing(const struct smtp_server *server);
