/* domain_remove.h - the end of a domain: its aliases, their mailboxes, itself.
 *
 * Owns      nothing. Used by api, fectl, web. The loop thread; suspends for the store and the mailbox server.
 */
#pragma once

#include "account/account_alias.h"

struct domain_remove_options {
    struct account_passwords *passwords;                       /* store and mailbox server */
    void (*alias_gone)(void *arg, const char *alias_id);       /* tells daemons (event alias:<id>); before its mailbox goes */
    void *arg;
};

/* Each alias is first switched off, so that nothing is delivered any more, then its mailbox deleted, then its document; the domain goes last.
 * May be repeated after it failed or was killed halfway: what is left is removed. FAULT_NOT_FOUND: no such domain (any more). */
int domain_remove(const struct domain_remove_options *o, const char *domain_id, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
