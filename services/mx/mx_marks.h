/* mx_marks.h - remembers which target has got which message, so that a sender's retry doubles nothing.
 *
 * Owns nothing: a mark is HMAC(sender, target, SHA-256 of DATA) under a key of this installation. For mailboxes it travels with
 * the delivery and is committed with the message; for forwards it is a store document, kept MX_MARK_DAYS days.
 * Called by mx_deliver.c. Suspends where the store is asked.
 */
#pragma once

#include "mx.h"

#define MX_MARK_DAYS 5

/* Fills the mark of every target. */
void mx_marks_make(struct mx_mail *m);
/* 1: this forward was done before, 0: not, <0: the store is away. */
int mx_marks_find(struct mx_mail *m, const struct mx_target *t, struct fault *why) SUSPENDS;
/* Durable when it returns 0. */
int mx_marks_put(struct mx_mail *m, const struct mx_target *t, struct fault *why) SUSPENDS;
