/* tls_test_cert.h - self-signed certificates for tests, made with libcrypto on the spot. */
#pragma once

#include "base/arena.h"

enum test_key { TEST_KEY_EC, TEST_KEY_RSA };

struct test_cert {
    const char *key_path,
        *cert_path; /* PEM files in a folder of their own; the paths live in the arena */
    unsigned char spki_sha256[32]; /* for a TLSA 3 1 1 record */
};

/* A certificate for DNS name `name`; aborts when it cannot be made. `folder` NULL: a new one. */
struct test_cert test_cert_make(struct arena *in, const char *folder, enum test_key kind,
                                const char *name);
void test_cert_remove(const struct test_cert *cert);
