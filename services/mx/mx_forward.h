/* mx_forward.h - passes a message on to an address elsewhere while its sender waits: SRS, route, one transaction.
 *
 * Owns nothing beyond the call. Called by mx_deliver.c. Suspends until the message's deadline at most.
 */
#pragma once

#include "mx.h"

/* The outcome for the target, code 250 when the remote took it. The text names the alias, never where it leads. */
struct smtp_reply mx_forward(struct mx_mail *m, struct mx_target *t) SUSPENDS;
