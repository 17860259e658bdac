/* mx_recipient.h - from an address in RCPT to where its mail goes: mailboxes and addresses elsewhere.
 *
 * Owns nothing: targets are hung onto the message, on its arena. Called by the policy table. Suspends for the store.
 *
 * Order: SRS address of ours (a bounce) > exact alias > pattern alias > catch-all. A +tag never names another alias; it is passed
 * on to addresses elsewhere. Disabled aliases take and drop (250), defer (421) or refuse (550), as their owner chose.
 */
#pragma once

#include "mx_policy.h"

struct smtp_reply mx_recipient_check(struct mx_event *e) SUSPENDS;
/* MAIL FROM at our own SRS domain must carry a signature of ours. */
struct smtp_reply mx_recipient_check_sender(struct mx_event *e) SUSPENDS;
