/* field_crypt.c - see field_crypt.h.
 *
 * Owns nothing. Called by smtp-bree, fectl, api. FAULT_CORRUPT. Does not suspend.
 */
#include "mail/field_crypt.h"

#include <sodium.h>

#include "base/derive.h"
#include "base/encode.h"

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define OVER  crypto_aead_xchacha20poly1305_ietf_ABYTES

struct slice field_encrypt(struct arena *a, const struct secret *key, const char *label, struct slice plain)
{
    unsigned char *out = arena_alloc(a, NONCE + plain.n + OVER), derived[32];

    derive_key(secret_slice(key), "field in a document", derived);
    random_bytes(out, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL, (const unsigned char *)plain.p, plain.n,
                                               (const unsigned char *)label, strlen(label), NULL, out, derived);
    memory_wipe(derived, sizeof(derived));
    return arena_printf(a, "v1.%.*s", SLICE(base64url_encode(a, slice_make(out, NONCE + plain.n + OVER))));
}

int field_decrypt(struct arena *a, const struct secret *key, const char *label, struct slice text, struct slice *plain, struct fault *why)
{
    unsigned char derived[32], *out;
    struct slice raw;
    int bad;

    if (!slice_has_prefix(text, LIT("v1.")) || !base64url_decode(a, slice_tail(text, 3), &raw) || raw.n < NONCE + OVER)
        return fault_set(why, FAULT_CORRUPT, "not an encrypted field (%s)", label);
    out = arena_alloc(a, raw.n);
    derive_key(secret_slice(key), "field in a document", derived);
    bad = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, (const unsigned char *)raw.p + NONCE, raw.n - NONCE,
                                                     (const unsigned char *)label, strlen(label), (const unsigned char *)raw.p, derived);
    memory_wipe(derived, sizeof(derived));
    if (bad)
        return fault_set(why, FAULT_CORRUPT, "field does not open with HELPER_ENCRYPTION_KEY (%s)", label);
    *plain = slice_make(out, raw.n - NONCE - OVER);
    return 0;
}
