/* dkim_key.c - private keys of DKIM: parsed, made, and the record their public half is published in.
 *
 * Owns struct dkim_key. Called by smtp-bree and fectl. Fails with FAULT_INVALID. Does not suspend.
 */
#include "mail/dkim_internal.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/encode.h"

void dkim_key_free(struct dkim_key **k)
{
    if (*k == NULL)
        return;
    EVP_PKEY_free((*k)->pkey);
    free(*k);
    *k = NULL;
}

int dkim_key_parse(struct slice pem, struct dkim_key **out, struct fault *why)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)(pem.n < 65536 ? pem.n : 65536));
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    int type = pkey != NULL ? EVP_PKEY_get_base_id(pkey) : 0;

    BIO_free(bio);
    if (pkey == NULL || (type != EVP_PKEY_RSA && type != EVP_PKEY_ED25519) ||
        (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(pkey) < DKIM_RSA_BITS_MIN)) {
        EVP_PKEY_free(pkey);
        return fault_set(why, FAULT_INVALID, "not a usable RSA or Ed25519 private key");
    }
    *out = calloc(1, sizeof(**out));
    if (*out == NULL)
        abort();
    (*out)->pkey = pkey;
    (*out)->algorithm = type == EVP_PKEY_RSA ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256;
    return 0;
}

struct dkim_key *dkim_key_again(const struct dkim_key *k)
{
    struct dkim_key *again = malloc(sizeof(*again));

    if (again == NULL || EVP_PKEY_up_ref(k->pkey) != 1)
        abort();
    *again = *k;
    return again;
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k)
{
    return k->algorithm;
}

int dkim_key_generate(struct arena *a, enum dkim_algorithm algorithm, unsigned bits, struct slice *pem, struct fault *why)
{
    EVP_PKEY *pkey = algorithm == DKIM_RSA_SHA256 ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long n;
    int r = 0;

    if (pkey == NULL || bio == NULL || PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1) {
        r = fault_set(why, FAULT_IO, "cannot make a key");
    } else {
        n = BIO_get_mem_data(bio, &text);
        *pem = arena_copy(a, slice_make(text, (size_t)n));
    }
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    return r;
}

int dkim_key_record(const struct dkim_key *k, struct arena *a, struct slice *out, struct fault *why)
{
    unsigned char raw[32], *der = NULL;
    size_t n = sizeof(raw);
    int der_n;

    if (k->algorithm == DKIM_ED25519_SHA256) {
        if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
            return fault_set(why, FAULT_IO, "cannot read the public key");
        *out = arena_printf(a, "v=DKIM1; k=ed25519; p=%.*s", SLICE(base64_encode(a, slice_make(raw, n))));
        return 0;
    }
    der_n = i2d_PUBKEY(k->pkey, &der);
    if (der_n <= 0)
        return fault_set(why, FAULT_IO, "cannot read the public key");
    *out = arena_printf(a, "v=DKIM1; k=rsa; p=%.*s", SLICE(base64_encode(a, slice_make(der, (size_t)der_n))));
    OPENSSL_free(der);
    return 0;
}
