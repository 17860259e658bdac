/* domain_new.h - a domain to be: its id, secrets and the DNS records it will need; and the end of one.
 *
 * Owns      nothing; texts live in the arena.
 * Used by   api, fectl, web.
 * Threads   the loop thread; suspends where marked (the key is made on the cpu pool, documents in the store).
 */
#pragma once

#include "base/secret.h"
#include "mail/dkim.h"
#include "store/models.h"

#define DOMAIN_DKIM_BITS 2048

/* Fills what a new domain must have, as far as it is empty: id, verification_record, webhook_key, DKIM selector and key pair (private half
 * encrypted with HELPER_ENCRYPTION_KEY for this id). FAULT_INVALID: helper_key is empty.                                        */
int domain_prepare(struct domain_doc *d, enum dkim_algorithm algorithm, const struct secret *helper_key, struct arena *a,
                   struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* Whose name is it? Who holds example.com (and has shown so: it is verified, or may send) decides about all names below it: nobody else
 * may take fe-bounces.example.com. 1: a parent of `name` belongs to others than `user_id`, 0: none does.                          */
int domain_is_below_others(struct store *st, struct slice name, struct slice user_id, struct arena *a, struct deadline until,
                           struct fault *why) MUST_CHECK SUSPENDS;

struct domain_record { struct slice name, value; };        /* name: full, without final dot */
struct domain_records {
    struct domain_record dkim, return_path, dmarc;
    struct slice verification;                             /* value of a TXT record at the domain itself */
};
/* What to publish: `web_host` for return path and reports, `prefix` of TXT records ("forward-email"). */
void domain_records_list(const struct domain_doc *d, const char *web_host, const char *prefix, struct arena *a, struct domain_records *out);
/* `record` as it is entered at a provider: relative to the registrable domain ("fe-bounces", of a sub-domain "fe-bounces.sub"). */
struct slice domain_record_label(const struct domain_record *record, const struct domain_doc *d);
