/* domain_check.h - does the DNS of a domain say what we need? Each shortcoming becomes a sentence with the record to add.
 *
 * Owns      nothing; texts live in the arena.
 * Used by   api (verify-records, verify-smtp), web, jobs.
 * Threads   the loop thread; suspends for DNS and, in domain_check_store_*, for the store.
 *
 * A check returns < 0 only when DNS could not answer (FAULT_UNAVAILABLE, FAULT_TIMEOUT, FAULT_CANCELED): then nothing is known and
 * nothing is to be written.
 */
#pragma once

#include "account/domain_new.h"
#include "rt/dns.h"

#define DOMAIN_SENTENCES_MAX 24

/* dns_query_fresh(), or a table in tests. */
typedef int domain_ask(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out,
                       struct fault *why) SUSPENDS;

struct domain_expect {
    const char *const *exchanges;      /* our MX names, NULL-terminated (SMTP_EXCHANGE_DOMAINS) */
    const char *web_host;
    const char *txt_prefix;            /* TXT_RECORD_PREFIX */
    domain_ask *ask;
};

struct domain_sentences {
    struct slice line[DOMAIN_SENTENCES_MAX];
    size_t count;
};
/* One text, the sentences joined by blanks. */
struct slice domain_sentences_join(struct arena *a, const struct domain_sentences *s);

struct domain_record_check {           /* what verify-records asks */
    bool has_txt, has_mx;
    struct slice ns[16];               /* name servers, for the record */
    size_t ns_count;
    struct domain_sentences problems, warnings;
};
int domain_check_records(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                         struct domain_record_check *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Writes has_txt_record, has_mx_record, ns, last_checked_at. */
int domain_check_store_records(struct store *st, const struct domain_doc *d, const struct domain_record_check *found, struct arena *a,
                               struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

struct domain_smtp_check {             /* what verify-smtp asks */
    bool has_dkim, has_return_path, has_dmarc;
    struct domain_sentences problems;
};
int domain_check_smtp(const struct domain_doc *d, const struct domain_expect *e, struct arena *a, struct deadline until,
                      struct domain_smtp_check *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Writes the three flags and smtp_last_checked_at. All three right: the domain may send from now on (has_smtp, smtp_verified_at).
 * One wrong: smtp_verified_at goes, has_smtp stays as it is.                                                                   */
int domain_check_store_smtp(struct store *st, const struct domain_doc *d, const struct domain_smtp_check *found, struct arena *a,
                            struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
