/* mx_auth.h - whose mail is it: SPF, DKIM and ARC verdicts, written down in an Authentication-Results field (RFC 8601).
 *
 * Owns      the verifiers of the message between mx_auth_begin() and mx_auth_end().
 * Called by mx_session.c: begin when the header is complete, body as it comes in, check before delivery. Suspends for DNS in
 * check. Never refuses: that is policy.
 */
#pragma once

#include "mx.h"

void mx_auth_begin(struct mx_mail *m);
void mx_auth_body(struct mx_mail *m, struct slice bytes);
/* Fills m->authres, and what the seal of a forward repeats. */
void mx_auth_check(struct mx_mail *m) SUSPENDS;
void mx_auth_end(struct mx_mail *m);
