/* derive.c - see derive.h. HKDF-SHA-256 with one block of output, and the sealing pair from it.
 *
 * Owns nothing; called by mail/keys, mailbox and fe-sqlite. Cannot fail. Does not suspend.
 */
#include "base/derive.h"

#include <sodium.h>

void derive_key(struct slice data_key, const char *label, unsigned char out[32])
{
    static const unsigned char no_salt[32];
    unsigned char prk[32];
    unsigned char info[64];
    size_t n = strlen(label);

    if (n > sizeof(info) - 1)
        abort();
    memcpy(info, label, n);
    info[n] = 1;                        /* RFC 5869 2.3: T(1) = HMAC(PRK, info | 0x01) */
    hmac_sha256(slice_make(no_salt, sizeof(no_salt)), data_key, prk);
    hmac_sha256(slice_make(prk, sizeof(prk)), slice_make(info, n + 1), out);
    memory_wipe(prk, sizeof(prk));
}

void derive_sealing_pair(struct slice data_key, struct sealing_pair *out)
{
    unsigned char seed[32];

    derive_key(data_key, "sealed mail", seed);
    if (crypto_box_seed_keypair(out->public_key, out->private_key, seed) != 0)
        abort();
    memory_wipe(seed, sizeof(seed));
    derive_key(data_key, "own mail", out->own_key);
}

void sealing_pair_wipe(struct sealing_pair *pair)
{
    memory_wipe(pair, sizeof(*pair));
}
