/* mx_deliver.h - brings one accepted message to all its targets, and makes one reply of what came of it.
 *
 * Owns nothing beyond the call. Called by mx_session.c after the policy of MX_DATA let the message pass. Suspends, at most
 * until the message's deadline.
 */
#pragma once

#include "mx.h"

/* 250 only when every mailbox has committed and every forward was taken. Else the lowest code; targets that have it are
 * marked, so a retry brings it to the others only.                                                                     */
struct smtp_reply mx_deliver(struct mx_mail *m) SUSPENDS;

/* The reply for what the targets say. Pure; for mx_deliver and its test. */
struct smtp_reply mx_deliver_verdict(struct mx_mail *m);

/* The content as passed on: `prefix`, the new header, the body from the spool. For smtp_client_mail.pull. */
struct mx_content {
    struct slice prefix, header;
    struct spool_reader *body;
    int step;
};
void mx_content_open(struct mx_content *c, const struct mx_mail *m, struct slice prefix);
int mx_content_pull(void *content, struct slice *piece, struct fault *why) SUSPENDS;
void mx_content_close(struct mx_content *c);      /* closer */
uint64_t mx_content_size(const struct mx_mail *m, struct slice prefix);

/* Fields in front of the message for one target. */
struct slice mx_prefix_for(struct mx_mail *m, const struct mx_target *t);
