/* spf_internal.h - what spf.c, spf_record.c and spf_macro.c share: a parsed record and the state of one check. */
#pragma once

#include <netinet/in.h>

#include "base/buf.h"
#include "mail/spf.h"

enum spf_mechanism { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

struct spf_term {
    enum spf_mechanism mechanism;
    enum spf_result qualifier;           /* when it matches */
    struct slice text;                   /* as written */
    struct slice domain;                 /* domain-spec, not expanded; empty: the current domain */
    unsigned char net[16];               /* ip4, ip6 */
    unsigned prefix4, prefix6;
};

struct spf_record {
    struct spf_term terms[SPF_TERMS_MAX];
    size_t count;
    struct slice redirect, exp;          /* domain-specs, not expanded; empty when absent */
};

/* False: a syntax error anywhere (4.6: permerror). The record lives in the arena: it is too large for a fiber's stack. */
bool spf_record_parse(struct slice text, struct spf_record *out) MUST_CHECK;

struct spf_check {
    const struct spf_request *request;
    struct arena *in;
    struct slice sender, local, sender_domain;
    bool is_ip6;
    unsigned char ip[16];                /* 4 bytes used for IPv4 */
    unsigned lookups, voids;
    struct slice validated;              /* %{p} */
    bool validated_known;
    struct spf_verdict *verdict;
};

bool spf_macro_is_valid(struct slice spec);
/* The spec expanded for the domain being checked. `is_explanation`: c, r and t mean something. */
struct slice spf_macro_expand(struct spf_check *check, struct slice spec, struct slice domain, bool is_explanation) SUSPENDS;
/* Names of the client that lead back to it, at most SPF_NAMES_MAX looked at; 5.5. 0 none, 1 yes (*out the best for `domain`). */
int spf_find_validated(struct spf_check *check, struct slice domain, bool must_match, struct slice *out) SUSPENDS;
/* 0 answered (maybe empty), < 0 DNS failed; a name that is none counts as empty. */
int spf_query(struct spf_check *check, struct slice name, enum dns_type type, struct dns_answer *out) SUSPENDS;
