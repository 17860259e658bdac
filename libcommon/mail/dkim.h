/* dkim.h - DKIM signatures (RFC 6376, RFC 8301, RFC 8463): signing and verifying, without any I/O of its own.
 *
 * Owns      keys, signers and verifiers as marked. Bodies are streamed, headers are in memory. DNS is the caller's: the verifier says
 *           which names to ask and takes the TXT records.
 * Used by   mx (verify), smtp-bree (sign), fectl (keys).
 * Threads   any, one at a time per object; an RSA signature costs about a millisecond. Never suspends.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"

#define DKIM_SIGNATURES_MAX 8          /* of one message; further ones are not looked at */
#define DKIM_RSA_BITS_MIN   1024
#define DKIM_HEADER_NAMES_MAX 256      /* in one h= */

/* ---- keys ---- */
struct dkim_key;
/* PEM private key, RSA (at least DKIM_RSA_BITS_MIN) or Ed25519. FAULT_INVALID. */
int dkim_key_parse(struct slice pem, struct dkim_key **out, struct fault *why) MUST_CHECK;
void dkim_key_free(struct dkim_key **k);
enum dkim_algorithm { DKIM_RSA_SHA256, DKIM_ED25519_SHA256 };
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k);
/* bits: of RSA (2048); 0 for Ed25519. *pem is the private key. */
int dkim_key_generate(struct arena *a, enum dkim_algorithm algorithm, unsigned bits, struct slice *pem, struct fault *why) MUST_CHECK;
/* "v=DKIM1; k=rsa; p=..." for the selector's TXT record. */
int dkim_key_record(const struct dkim_key *k, struct arena *a, struct slice *out, struct fault *why) MUST_CHECK;

/* ---- signing: relaxed/relaxed ---- */
struct dkim_sign_options {
    const struct dkim_key *key;
    struct slice domain, selector;
    int64_t now_ms;
};
struct dkim_signer;
struct dkim_signer *dkim_signer_new(const struct dkim_sign_options *options);      /* borrows the options' contents */
void dkim_signer_body(struct dkim_signer *s, struct slice bytes);
/* `header` as it will be sent, up to and without the blank line, CRLF line ends. *field: "DKIM-Signature: ...CRLF". From is
 * over-signed: a second one added on the way breaks the signature.                                            */
int dkim_signer_finish(struct dkim_signer *s, struct slice header, struct arena *a, struct slice *field, struct fault *why) MUST_CHECK;
void dkim_signer_free(struct dkim_signer **s);     /* closer */

/* ---- verifying ---- */
enum dkim_result { DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR };
const char *dkim_result_name(enum dkim_result r);  /* as in Authentication-Results, RFC 8601 2.7.1 */

struct dkim_verdict {
    enum dkim_result result;
    struct slice domain, selector, identity;       /* d=, s=, i= (or "@" d=); empty when unreadable */
    struct slice algorithm;                        /* a= */
    struct slice signature_head;                   /* first 8 characters of b=, for header.b */
    const char *reason;                            /* literal */
    unsigned key_bits;
    bool testing;                                  /* t=y in the key record */
};

struct dkim_verifier;
/* Parses the signatures of `header` (up to and without the blank line, CRLF; borrowed, like the arena, for its life). */
struct dkim_verifier *dkim_verifier_new(struct arena *a, struct slice header, int64_t now_ms);
size_t dkim_verifier_count(const struct dkim_verifier *v);
/* The TXT name to ask for signature i; empty when its verdict is known already. */
struct slice dkim_verifier_key_name(const struct dkim_verifier *v, size_t i);
enum dkim_key_status { DKIM_KEY_FOUND, DKIM_KEY_NONE, DKIM_KEY_UNKNOWN };     /* UNKNOWN: DNS failed, temperror */
/* `record`: text of the TXT record; the first that is a DKIM key record counts. */
void dkim_verifier_key(struct dkim_verifier *v, size_t i, enum dkim_key_status status, struct slice record);
void dkim_verifier_body(struct dkim_verifier *v, struct slice bytes);
/* After the whole body and all keys. */
void dkim_verifier_finish(struct dkim_verifier *v);
const struct dkim_verdict *dkim_verifier_verdict(const struct dkim_verifier *v, size_t i);
void dkim_verifier_free(struct dkim_verifier **v); /* closer */
