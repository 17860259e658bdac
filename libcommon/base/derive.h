/* derive.h - keys made from a mailbox's data key, each under its own label; nothing of them is stored.
 *
 * Owns nothing; outputs are the caller's to wipe. Never suspends, safe from any thread. HKDF-SHA-256 (RFC 5869)
 * with an empty salt and the label as info. Labels in use: "mailbox file" (mailbox/engine), "sealed mail" and "own mail" (here).
 */
#pragma once

#include "base/secret.h"

#define DATA_KEY_BYTES 32

void derive_key(struct slice data_key, const char *label, unsigned char out[32]);

/* The X25519 pair that mail for a locked mailbox is sealed to. The private half exists only where the data key does, and so does
 * `own_key`, with which who holds the data key seals without the cost of a key agreement.                                  */
struct sealing_pair {
    unsigned char public_key[32];
    unsigned char private_key[32];
    unsigned char own_key[32];
};
void derive_sealing_pair(struct slice data_key, struct sealing_pair *out);
void sealing_pair_wipe(struct sealing_pair *pair);      /* closer */
