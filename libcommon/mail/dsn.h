/* dsn.h - delivery status notifications (RFC 3461, 3462, 3464, 6533): what happened to a message, told to its sender.
 *
 * Owns nothing; results live in the arena. Used by smtp-bree. Never suspends. The message itself is not copied: the caller
 * writes out.begin, then the original (its header or all of it, as `full` says), then out.end.
 */
#pragma once

#include "base/arena.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED };

struct dsn_recipient {
    struct slice address;
    struct slice orcpt;                /* RFC 3461 4.2, "rfc822;..." decoded; or empty */
    enum dsn_action action;
    struct slice status;               /* "5.1.1"; empty: 5.0.0, 4.0.0 or 2.0.0 */
    struct slice remote_mta;           /* host that answered; or empty */
    struct slice diagnostic;           /* its reply "550 5.1.1 ...", or our reason; or empty */
    bool is_reply;                     /* diagnostic is an SMTP reply */
    int64_t last_attempt_ms;           /* 0: none */
    int64_t retry_until_ms;            /* for DSN_DELAYED; 0: not said */
};

struct dsn {
    struct slice from;                 /* "mailer-daemon@example.net" */
    struct slice to;                   /* the original envelope sender */
    struct slice reporting_mta;        /* our host name */
    struct slice message_id;           /* of the notification, without brackets */
    struct slice envid;                /* of the original, or empty */
    struct slice original_id;          /* Message-ID of the original without brackets, or empty */
    struct slice queue_id;
    int64_t arrival_ms, now_ms;
    const struct dsn_recipient *recipients;
    size_t recipient_count;            /* all with one action */
    bool full;                         /* the whole original follows, else its header */
    bool eight_bit;                    /* the original has 8-bit bytes */
};

struct dsn_text {
    struct slice begin, end;
    bool smtputf8;                     /* an address is not ASCII: must be sent with SMTPUTF8 */
};

void dsn_format(struct arena *a, const struct dsn *d, struct dsn_text *out);

/* "5.1.1" at the start of an SMTP reply text, or SLICE_NONE. */
struct slice dsn_find_status(struct slice text);
