/* directory.h - domains and aliases as the mail path looks them up, remembered for a second or two.
 *
 * Owns      copies of documents, positive and negative answers, at most DIRECTORY_MAX.
 * Used by   mx, smtp, smtp-bree, login.
 * Threads   the loop thread; suspends when it has to ask the store.
 *
 * An answer is at most `ttl_ms` old; directory_forget drops it at once (events alias:<id>, config).
 */
#pragma once

#include "store/model_alias.h"
#include "store/model_domain.h"
#include "store/model_user.h"

#define DIRECTORY_MAX 8192

struct directory;

struct directory *directory_new(struct store *st, uint64_t ttl_ms); /* 0: 1500 ms */
void directory_free(struct directory **d);
/* FAULT_NOT_FOUND: no such domain. `name` in lower case. Results live in `in`. */
int directory_get_domain(struct directory *d, struct slice name, struct arena *in,
                         struct deadline until, struct domain_doc *out,
                         struct fault *why) MUST_CHECK SUSPENDS;
/* The same by id. *document (may be NULL) is the document itself, shared: json_release it, never
 * change it. */
int directory_find_domain(struct directory *d, struct slice id, struct arena *in,
                          struct deadline until, struct domain_doc *out, json_t **document,
                          struct fault *why) MUST_CHECK SUSPENDS;
int directory_name_domain(struct directory *d, struct slice name, struct arena *in,
                          struct deadline until, struct domain_doc *out, json_t **document,
                          struct fault *why) MUST_CHECK SUSPENDS;
/* A user by the hash of their API token (user_token_hash). FAULT_NOT_FOUND. */
int directory_find_user(struct directory *d, struct slice token_hash, struct arena *in,
                        struct deadline until, struct user_doc *out, json_t **document,
                        struct fault *why) MUST_CHECK SUSPENDS;
/* FAULT_NOT_FOUND: no such alias. "*" asks for the catch-all. */
int directory_get_alias(struct directory *d, struct slice domain_id, struct slice name,
                        struct arena *in, struct deadline until, struct alias_doc *out,
                        struct fault *why) MUST_CHECK SUSPENDS;
void directory_forget(struct directory *d); /* everything */
