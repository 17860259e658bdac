/* arc.h - Authenticated Received Chain (RFC 8617): checking the chain a message comes with, adding our own seal to it.
 *
 * Owns      verifiers and sealers as marked. Bodies are streamed, headers are in memory. DNS is the caller's, as in dkim.h.
 * Used by   mx (verify before policy, seal what is forwarded).
 * Threads   any, one at a time per object. Never suspends.
 */
#pragma once

#include "mail/authres.h"
#include "mail/dkim.h"

#define ARC_SETS_MAX 50                /* RFC 8617 4.2.1 */

enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL, ARC_TEMPERROR };
const char *arc_result_name(enum arc_result r);        /* "none" "pass" "fail" "temperror" */

struct arc_verdict {
    enum arc_result result;
    unsigned sets;                     /* length of the chain */
    struct slice domain;               /* d= of the newest ARC-Message-Signature */
    struct slice seal_domain;          /* d= of the newest ARC-Seal */
    const char *reason;                /* literal */
};

/* ---- checking ---- */
struct arc_verifier;
/* `header`: up to and without the blank line, CRLF; borrowed like the arena. */
struct arc_verifier *arc_verifier_new(struct arena *a, struct slice header);
/* The TXT names to ask: several signatures may need one. 0 when the verdict is known already. */
size_t arc_verifier_count(const struct arc_verifier *v);
struct slice arc_verifier_key_name(const struct arc_verifier *v, size_t i);
void arc_verifier_key(struct arc_verifier *v, size_t i, enum dkim_key_status status, struct slice record);
void arc_verifier_body(struct arc_verifier *v, struct slice bytes);
/* After the whole body and all keys. */
const struct arc_verdict *arc_verifier_finish(struct arc_verifier *v);
void arc_verifier_free(struct arc_verifier **v);       /* closer */

/* ---- sealing ---- */
struct arc_seal_options {
    const struct dkim_key *key;
    struct slice domain, selector, authserv_id;
    int64_t now_ms;
    enum arc_result chain;             /* what arc_verifier_finish said of the message as it came in */
    const struct authres_result *results;
    size_t result_count;
};
struct arc_sealer;
struct arc_sealer *arc_sealer_new(const struct arc_seal_options *options);         /* borrows the options' contents */
void arc_sealer_body(struct arc_sealer *s, struct slice bytes);
/* `header` as it will be sent, without our fields. *fields: the three of our set, to stand above it; empty when the chain
 * takes no more (it was closed as failed, is full, or could not be judged).                                              */
int arc_sealer_finish(struct arc_sealer *s, struct slice header, struct arena *a, struct slice *fields, struct fault *why) MUST_CHECK;
void arc_sealer_free(struct arc_sealer **s);           /* closer */
