/* account_alias.h - what an alias may be called and where it may lead, and how it goes away.
 *
 * Owns      nothing. Used by api, fectl. The rules never suspend, any thread; removing suspends, loop thread.
 *
 * Rules answer with the key of the refusal, as the REST reference names it, or NULL when all is well.
 */
#pragma once

#include "account/account_password.h"

#define ALIAS_NAME_MAX 64                      /* bytes of a local part (RFC 5321 4.5.3.1.1) */
#define ALIAS_REGEX_MAX 500
#define RECIPIENT_MAX 2000                     /* bytes of a webhook's URL */

/* Lower case; runs of "*" alone become "*". Patterns "/.../flags" keep their case. Lives in `in`. */
struct slice account_alias_normal(struct arena *in, struct slice name);
/* `name` in normal form. `reserved`: further names that need an admin (restricted_alias_names of the domain). */
const char *account_alias_check(struct slice name, bool is_admin, const struct slice *reserved, size_t reserved_count);
bool account_alias_is_pattern(struct slice name);      /* "*" or a regular expression: no mailbox of its own */
/* Something readable that nobody has guessed: "amber-otter-4821". */
struct slice account_alias_random_name(struct arena *in);

enum recipient_kind { RECIPIENT_NONE, RECIPIENT_EMAIL, RECIPIENT_HOST, RECIPIENT_IP, RECIPIENT_URL };
/* Which kind it is and its normal form (e-mails and hosts in lower case, URLs as given). */
enum recipient_kind account_recipient_parse(struct arena *in, struct slice text, struct slice *out);
/* Recipients without doubles. *only_mail (may be NULL): all are e-mail addresses. Keys: INVALID_RECIPIENT (*bad says which),
 * EXCEEDED_UNIQUE_COUNT. */
const char *account_recipients_parse(struct arena *in, const struct slice *given, size_t count, size_t most, struct slice **out,
                                     size_t *out_count, bool *only_mail, struct slice *bad);

/* The domain's has_catchall or has_regex after an alias of that kind is gone or has another name; any other alias: nothing. */
int account_domain_unmark(struct store *st, const struct alias_doc *alias, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Removes the alias and its mailbox: the files first, then the document; killed in between, it is repeated. 0 also when it is gone already.
 * For "*" and patterns the domain's has_catchall, has_regex follow. The caller publishes alias:<id>.                                 */
int account_alias_remove(struct account_passwords *p, struct slice alias_id, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
