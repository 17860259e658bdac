/* tls_test_cert_test.c - makes certificates for the tests of TLS (see tls_test_cert.h). */
#include "rt/tls_test_cert.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <unistd.h>
#include "base/secret.h"

static EVP_PKEY *make_key(enum test_key kind)
{
    return kind == TEST_KEY_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(EVP_PKEY *key, const char *name)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    char alt[300];

    (void)snprintf(alt, sizeof alt, "DNS:%s", name);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), random_u64() >> 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_subject_alt_name, alt);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    assert(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void write_pem(const char *path, EVP_PKEY *key, X509 *cert)
{
    FILE *f = fopen(path, "w");

    assert(f != NULL);
    if (key != NULL)
        assert(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    else
        assert(PEM_write_X509(f, cert) == 1);
    assert(fclose(f) == 0);
}

struct test_cert test_cert_make(struct arena *in, const char *folder, enum test_key kind,
                                const char *name)
{
    char fresh[] = "/tmp/fe-test-XXXXXX";
    struct test_cert out;
    EVP_PKEY *key = make_key(kind);
    X509 *cert = make_cert(key, name);
    unsigned char *spki = NULL;
    int n = i2d_PUBKEY(key, &spki);

    if (folder == NULL)
        folder = mkdtemp(fresh);
    assert(folder != NULL && n > 0);
    sha256(slice_make(spki, (size_t)n), out.spki_sha256);
    OPENSSL_free(spki);
    out.key_path = arena_printf(in, "%s/key.pem", folder).p;
    out.cert_path = arena_printf(in, "%s/cert.pem", folder).p;
    write_pem(out.key_path, key, NULL);
    write_pem(out.cert_path, NULL, cert);
    X509_free(cert);
    EVP_PKEY_free(key);
    return out;
}

void test_cert_remove(const struct test_cert *cert)
{
    char folder[200];

    (void)unlink(cert->key_path);
    (void)unlink(cert->cert_path);
    (void)snprintf(folder, sizeof folder, "%.*s",
                   (int)(strrchr(cert->key_path, '/') - cert->key_path), cert->key_path);
    (void)rmdir(folder);
}
