/* mx_seal.h - an ARC set on what is forwarded: tells the next hop what we saw before SRS and trace fields changed it (RFC 8617).
 *
 * Owns      the key of the installation, when one is configured.
 * Called by mx_deliver.c, once per message that has forwards. Suspends: one pass over the body, the signatures on the CPU pool.
 */
#pragma once

#include "mx.h"

/* Key file of the installation, or NULL path: messages are sealed with the key of the recipient's domain, if it is published. */
int mx_seal_open(struct mx *mx, struct fault *why) MUST_CHECK;
void mx_seal_close(struct mx *mx);
/* Fills m->seal; it stays empty when there is no key, the chain takes no more sets, or sealing failed (logged): a forward
 * without a seal is better than none.                                                                                 */
void mx_seal(struct mx_mail *m) SUSPENDS;
