/* api_domains.h - what the files about domains share. Owns nothing; used by api_domain*.c and api_catchall.c. */
#pragma once

#include "api.h"

/* Of one body; a field that was not sent stays as it is in `d`. 0 right, 1 refused and answered. */
int api_domain_read_settings(struct api_call *c, struct domain_doc *d) MUST_CHECK SUSPENDS;
/* 200 with the domain as it is now: read anew, for a caller who has just changed it. */
int api_domain_reply(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;

/* The domain as it was read for a change, and its document. */
struct domain_now { const struct domain_doc *domain; const json_t *document; };
/* What to change in it; 0: go on, 1: refused and answered. Called again when somebody else was faster. */
typedef int (*domain_change_fn)(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *arg) SUSPENDS;
/* Changes the domain's document as it was read and in no other state; sets updated_at; c->domain is as it was read then. 0: done, 1: `fn`
 * has answered. FAULT_CONFLICT: others were faster several times.                                                    */
int api_domain_change(struct api_call *c, domain_change_fn fn, const void *arg, struct fault *why) MUST_CHECK SUSPENDS;
json_t *api_invites_json(const json_t *document);       /* as an administrator sees them; owned by the caller (api_invites.c) */

struct domain_usage { uint64_t aliases, bytes; };       /* bytes on disk of their mailboxes */
/* out[i] is of ids[i]; at most API_LIST_MAX. */
int api_domains_usage(struct api_call *c, const struct slice *ids, size_t count, struct domain_usage *out, struct fault *why) MUST_CHECK SUSPENDS;

api_handler api_domain_create, api_domain_update, api_domain_delete, api_domain_allowlist, api_domain_denylist;    /* api_domain_change.c */
api_handler api_domain_verify_records, api_domain_verify_smtp;                                                     /* api_domain_verify.c */
