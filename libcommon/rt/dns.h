/* dns.h - the mail world's names through libunbound (own thread, DNSSEC), our world's through getaddrinfo.
 *
 * Owns the resolver context and its cache (respects TTLs; negative answers too). Answers live in the caller's
 * arena. "There is none" is a result, not a failure: DNS_NONE. Failures: FAULT_UNAVAILABLE (SERVFAIL, refused,
 * bogus signatures), FAULT_TIMEOUT, FAULT_CANCELED, FAULT_INVALID (name too long or malformed).
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/time.h"

struct dns_options {
    const char *const *servers;                /* "ip" or "ip@port" to forward to, NULL-terminated; NULL or empty: /etc/resolv.conf */
    const char *trust_anchor;                  /* file of DS/DNSKEY records; "root": the root zone's keys, built in;
                                                  NULL: none, nothing counts as validated */
    const char *hosts_file;                    /* NULL: none */
};
int dns_init(const struct dns_options *options, struct fault *why) MUST_CHECK;   /* once, on the loop thread */
void dns_deinit(void);

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
enum dns_status { DNS_FOUND, DNS_NO_DATA, DNS_NO_NAME };

struct dns_record {
    enum dns_type type;
    uint32_t ttl_s;
    uint16_t preference;                       /* MX */
    struct slice text;                         /* A/AAAA: "192.0.2.1"; NS/CNAME/PTR/MX: name without the final dot, lower case;
                                                  TXT: character-strings joined; TLSA: raw certificate association data */
    uint8_t usage, selector, matching;         /* TLSA */
};

struct dns_answer {
    enum dns_status status;
    bool secure;                               /* DNSSEC-validated, also for a negative answer */
    struct dns_record *records;                /* MX sorted by preference */
    size_t count;
};

/* `name`: ASCII (A-labels); a final dot is optional. */
int dns_query(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The same, asked anew, past our cache: for somebody who has just changed a record. Each makes a resolver of its own for
 * the moment (some milliseconds): not for the mail path.                                                         */
int dns_query_fresh(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why) MUST_CHECK SUSPENDS;
/* PTR of a numeric address. */
int dns_reverse(const char *ip, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why) MUST_CHECK SUSPENDS;
/* getaddrinfo on the file pool: a host of our own world (redis, mongodb, sqlite); IPv4 before IPv6. Numeric addresses pass
 * through. FAULT_UNAVAILABLE when there is none.                                                                 */
int dns_local_host(const char *host, struct arena *in, struct deadline until, struct slice *ip, struct fault *why) MUST_CHECK SUSPENDS;
