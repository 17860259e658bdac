/* dkim_keyring.h - the domains' signing keys, opened once and kept: decrypting and parsing one costs more than signing with it.
 *
 * Owns      at most DKIM_KEYRING_MAX parsed keys, each by domain id and encrypted text, so a changed document is a new key; none longer
 *           than DKIM_KEYRING_MS.
 * Used by   smtp-bree, mx.
 * Threads   the loop thread; never suspends.
 */
#pragma once

#include "base/secret.h"
#include "mail/dkim.h"

#define DKIM_KEYRING_MAX 256
#define DKIM_KEYRING_MS  600000u

struct dkim_keyring;

/* `helper_key` (HELPER_ENCRYPTION_KEY) is borrowed for its life. */
struct dkim_keyring *dkim_keyring_new(const struct secret *helper_key);
void dkim_keyring_free(struct dkim_keyring **r);               /* closer */
/* *out is the caller's: dkim_key_free. FAULT_CORRUPT: not encrypted with this key for this domain; FAULT_INVALID: not a key. */
int dkim_keyring_get(struct dkim_keyring *r, const char *domain_id, struct slice encrypted, struct dkim_key **out, struct fault *why) MUST_CHECK;
