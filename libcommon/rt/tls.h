/* tls.h - certificates and TLS policy of one listener or client, reloaded when the files change.
 *
 * Owns an OpenSSL context per configuration. Used through stream.h; only tls.c and stream.c see OpenSSL's
 * SSL type. Does not suspend. SSL_MODE_RELEASE_BUFFERS is on; tickets are, compression and renegotiation are off.
 */
#pragma once

#include "base/fault.h"
#include "base/slice.h"

struct tls_server;                             /* counted; streams keep a reference */
struct tls_client;

/* Reads PEM files. Files are looked at again at most once a second when a handshake starts, so a
 * renewed certificate is served without restart; a broken new pair keeps the old one (logged).       */
int tls_server_new(const char *key_path, const char *cert_path, struct tls_server **out, struct fault *why) MUST_CHECK;
void tls_server_unref(struct tls_server **s);
struct tls_server *tls_server_ref(struct tls_server *s);

enum tls_verify {
    TLS_VERIFY_NONE,                           /* opportunistic: encrypt, ask no questions */
    TLS_VERIFY_PKIX,                           /* chain to a root of `ca_path` and the name must match */
    TLS_VERIFY_DANE,                           /* TLSA records (RFC 7672 3.1: usages 2 and 3); when none is usable, as NONE (2.2) */
};

struct tls_tlsa { uint8_t usage, selector, matching; struct slice data; };

struct tls_client_options {
    enum tls_verify verify;
    struct slice server_name;                  /* SNI and the name to match */
    struct slice other_name;                   /* also accepted in the certificate, or SLICE_NONE (RFC 7672 3.2.2: next hop) */
    const struct tls_tlsa *tlsa;               /* for TLS_VERIFY_DANE */
    size_t tlsa_count;
    int min_version;                           /* 0: TLS 1.2; or 0x0301 for TLS 1.0 */
};

/* ca_path: PEM file of roots, or NULL for the system's. */
int tls_client_new(const char *ca_path, struct tls_client **out, struct fault *why) MUST_CHECK;
void tls_client_unref(struct tls_client **c);
