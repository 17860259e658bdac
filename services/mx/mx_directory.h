/* mx_directory.h - the domains and aliases this server answers for, as fe-mx needs them.
 *
 * Owns nothing: results live in the arena given. Called by mx_recipient.c. Suspends for the store.
 */
#pragma once

#include "mx.h"

struct mx_domain {
    char id[25];
    struct slice name;                        /* ASCII, lower case */
    int64_t forwards_max;                     /* 0: the setting of the process */
    uint16_t smtp_port;                       /* of forwards; 0 or 25: by MX */
    uint64_t quota_bytes;                     /* of each alias; 0: none */
    bool has_catchall, has_patterns, has_verification;
    const struct slice *allowlist, *denylist; /* addresses, domains, IPs; the first wins */
    size_t allowlist_count, denylist_count;
};

struct mx_alias {
    char id[25];
    struct slice name;
    bool enabled, has_imap;
    int code_if_disabled;                     /* 250, 421, 550 */
    uint64_t quota_bytes;
    struct slice public_key;                  /* 32 bytes, or empty: no password was ever set */
    struct slice *recipients;                 /* addresses, hosts, URLs */
    size_t recipient_count;
};

/* FAULT_NOT_FOUND: not ours. Others: the store is away. */
int mx_directory_find_domain(struct mx *mx, struct slice name, struct arena *in, struct deadline until, struct mx_domain *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The domain does not want mail of this sender (with what is below a listed domain) or this client. */
bool mx_directory_denies(const struct mx_domain *domain, const struct smtp_path *from, const char *ip);
/* Exact name, else the first pattern that matches, else the catch-all. FAULT_NOT_FOUND: nobody. */
int mx_directory_find_alias(struct mx *mx, const struct mx_domain *domain, struct slice name, struct arena *in, struct deadline until, struct mx_alias *out, struct fault *why) MUST_CHECK SUSPENDS;
