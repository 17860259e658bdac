/* spf.h - Sender Policy Framework (RFC 7208): may this address send for that domain?
 *
 * Owns      nothing; results live in the arena.
 * Used by   mx.
 * Fails     never: trouble is a result (temperror, permerror).
 * Suspends  where the resolver does. Recursion is bounded by SPF_LOOKUPS_MAX.
 */
#pragma once

#include "base/arena.h"
#include "base/time.h"
#include "rt/dns.h"

#define SPF_LOOKUPS_MAX 10             /* terms that ask DNS (4.6.4) */
#define SPF_VOID_MAX    2              /* of them, terms whose answer is empty */
#define SPF_NAMES_MAX   10             /* MX or PTR names of one term */
#define SPF_RECORD_MAX  8192
#define SPF_TERMS_MAX   256

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };
const char *spf_result_name(enum spf_result r);            /* "pass", as in Authentication-Results */

/* As dns_query(); a PTR is asked by its name under arpa. */
typedef int (*spf_query_fn)(void *arg, struct slice name, enum dns_type type, struct arena *in, struct deadline until,
                            struct dns_answer *out, struct fault *why) SUSPENDS;

struct spf_request {
    const char *ip;                    /* of the client; IPv4 mapped into IPv6 counts as IPv4 */
    struct slice helo;                 /* A-labels */
    struct slice sender;               /* envelope sender, domain in A-labels; empty: postmaster@helo (2.4) */
    struct slice receiver;             /* our name, for explanations */
    struct deadline until;
    spf_query_fn query;                /* NULL: dns_query */
    void *arg;
};

struct spf_verdict {
    enum spf_result result;
    struct slice domain;               /* that was checked */
    struct slice mechanism;            /* the term that decided, as written; empty when none did */
    struct slice explanation;          /* for SPF_FAIL, what the domain's owner says (exp=), printable ASCII; or empty */
    const char *reason;                /* literal, of the errors and of none */
};

void spf_check(const struct spf_request *request, struct arena *in, struct spf_verdict *out) SUSPENDS;

/* ---- for tests and the fuzz target: the record alone ---- */
bool spf_record_is_valid(struct arena *a, struct slice record);
