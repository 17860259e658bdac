/* field_crypt.h - small secrets inside documents (DKIM private keys, webhook keys), readable with HELPER_ENCRYPTION_KEY only.
 *
 * Owns nothing. Used by smtp-bree, fectl, api. Never suspends; any thread.
 * Form: "v1." and base64url of nonce and XChaCha20-Poly1305 cipher text; `label` ("dkim <domain id>") is associated data, so that
 * a value copied to another document or field does not open.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/secret.h"

struct slice field_encrypt(struct arena *a, const struct secret *key, const char *label, struct slice plain);
/* FAULT_CORRUPT: not made with this key and label. */
int field_decrypt(struct arena *a, const struct secret *key, const char *label, struct slice text, struct slice *plain, struct fault *why) MUST_CHECK;
