/* account_password.h - passwords of an alias and its mailbox, in the order of writes that a kill at any instant cannot break.
 *
 * Owns      the lock that keeps Argon2id at one at a time here. The documents are the store's, the files the mailbox server's.
 * Used by   api, fectl.
 * Threads   the loop thread; suspends where marked (Argon2id on the cpu pool).
 *
 * After a success the caller publishes alias:<id>, so that cached logins and open sessions end. Faults of all calls: FAULT_DENIED (the
 * given password opens nothing), FAULT_CONFLICT (somebody else changed the passwords meanwhile, or a rotation is under way),
 * FAULT_NOT_FOUND (the alias is gone), FAULT_UNAVAILABLE, FAULT_TIMEOUT.
 */
#pragma once

#include "base/secret.h"
#include "mail/keys.h"
#include "rpc/mailbox.h"
#include "rt/fiber.h"
#include "store/models.h"

#define ACCOUNT_ROTATION_MS 12000              /* a rotation that was not finished by then was killed: the next one takes over */

struct account_passwords {
    struct store *store;
    struct mailbox_server *mailboxes;
    struct fiber_mutex hashing;
};
void account_passwords_init(struct account_passwords *p, struct store *st, struct mailbox_server *mailboxes);

struct account_key {                           /* what a password opens */
    struct secret *data_key;
    char wrap_id[25];
};
void account_key_wipe(struct account_key *k);  /* closer */
/* FAULT_DENIED also when there is no password yet. */
int account_password_unlock(struct account_passwords *p, const struct alias_doc *alias, struct slice password, struct deadline until,
                            struct account_key *out, struct fault *why) MUST_CHECK SUSPENDS;
bool account_has_password(const struct alias_doc *alias);

/* The first: makes the mailbox. The slot is durable before the file: killed between the two, mail gets 450 and account_mailbox_make (or an
 * override) finishes. A file left over from an alias without passwords, which nobody can open, is FAULT_EXISTS unless `reset`.          */
int account_password_first(struct account_passwords *p, const struct alias_doc *alias, struct slice password,
                           const struct keys_wrap_options *options, bool reset, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* One more beside the others: the slot is durable first, then the mailbox learns its id; until then it does not open. */
int account_password_add(struct account_passwords *p, const struct alias_doc *alias, struct slice old, struct slice password,
                         const struct keys_wrap_options *options, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* In place of all others, keeping the mailbox: the new slot is durable beside the old ones; then the mailbox accepts the new one only, in
 * one commit; then the old slots go. Killed anywhere, the old password or the new one opens it, and `old` begins it again.            */
int account_password_rotate(struct account_passwords *p, const struct alias_doc *alias, struct slice old, struct slice password,
                            const struct keys_wrap_options *options, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* In place of all others without knowing one: the mailbox is destroyed and made anew, empty. Killed anywhere, it is repeated. */
int account_password_override(struct account_passwords *p, const struct alias_doc *alias, struct slice password,
                              const struct keys_wrap_options *options, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Ends the slot `wrap_id`; `password` is any of the alias's. FAULT_INVALID: it is the last. The mailbox forgets it first: killed in
 * between, the document still has it, but it opens nothing.                                                                       */
int account_password_revoke(struct account_passwords *p, const struct alias_doc *alias, struct slice password, struct slice wrap_id,
                            struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Makes the mailbox file for the slots of the document, with the data key of one of them. FAULT_EXISTS. */
int account_mailbox_make(struct account_passwords *p, const struct alias_doc *alias, const struct secret *data_key, struct deadline until,
                         struct fault *why) MUST_CHECK SUSPENDS;
