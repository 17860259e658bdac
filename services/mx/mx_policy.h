/* mx_policy.h - the one table of what mail must pass, stage by stage, in order; a new rule is a function and a row.
 *
 * Owns nothing. Called by mx_session.c at each stage. A check answers SMTP_OK to let pass; the first other answer is the
 * reply (250 at MX_RCPT or MX_DATA: taken and thrown away). Checks may suspend; cheap ones stand first.
 */
#pragma once

#include "mx.h"

enum mx_stage { MX_CONNECT, MX_MAIL, MX_RCPT, MX_DATA };

struct mx_event {
    struct mx *mx;
    struct mx_conn *conn;
    struct smtp_session *s;
    const struct smtp_mail *mail;             /* MX_MAIL and later */
    const struct smtp_rcpt *rcpt;             /* MX_RCPT */
    char domain_id[25];                       /* MX_RCPT: the recipient's domain, once it is known to be ours */
    struct mx_mail *message;                  /* MX_RCPT and later; its header is there at MX_DATA */
};

struct mx_check {
    enum mx_stage stage;
    const char *name;                         /* for the log */
    struct smtp_reply (*fn)(struct mx_event *e) SUSPENDS;
};

/* Runs the rows of `stage`. A refusal is logged with the name of its row. */
struct smtp_reply mx_policy_run(enum mx_stage stage, struct mx_event *e) SUSPENDS;
