/* submit_policy.h - who may send how much: one table, asked before a message is taken. A new rule is a function and a row.
 *
 * Owns nothing. Called by submit_session.c before DATA. Suspends in the rows' functions.
 */
#pragma once

#include "submit.h"

struct submit_rule {
    const char *name;
    struct smtp_reply (*fn)(struct submit_mail *m) SUSPENDS;
};

/* SMTP_OK, or the first refusal (logged with the rule's name). */
struct smtp_reply submit_policy_run(struct submit_mail *m) SUSPENDS;
