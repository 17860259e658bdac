/* submit_queue.h - puts a submitted message into the outbound queue: the blob, the `emails` document, the event.
 *
 * Owns nothing beyond the call. Called by submit_session.c. Suspends until all is durable.
 */
#pragma once

#include "submit.h"
#include "mail/outbound_header.h"

/* 0: durable; *id is the queue id. The blob comes first, so a document never names a message that is not there. FAULT_DENIED: the
 * alias or its domain was switched off since the login.                                                                        */
int submit_queue_put(struct submit_mail *m, const struct outbound_header *header, struct deadline until, struct slice *id, struct fault *why) MUST_CHECK SUSPENDS;
