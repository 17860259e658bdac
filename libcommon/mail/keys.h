/* keys.h - password slots ("wraps") of an alias: each unwraps the mailbox's data key, none can be read without its password.
 *
 * Owns      nothing; wraps are JSON objects inside the alias document, data keys are struct secret.
 * Used by   login, fectl, api, web.
 * Threads   any; keys_wrap_make and keys_wrap_open run Argon2id (tens of milliseconds, 19 MiB): call them on the cpu pool,
 *           one at a time per process (login.h does). Never suspends.
 *
 * A wrap: {"id","scope","description","created_at","expires_at","kdf":{"alg","mem_kib","passes"},"salt","nonce","wrapped"}.
 * The AEAD (XChaCha20-Poly1305) binds alias, wrap id, scope, expiry and KDF parameters, so a document edited by hand opens nothing.
 */
#pragma once

#include <jansson.h>
#include "base/arena.h"
#include "base/derive.h"
#include "base/fault.h"
#include "base/secret.h"

#define PASSWORD_MAX_BYTES 128
#define WRAPS_MAX          20

struct keys_wrap_options {
    const char *scope;                 /* space-separated: "all", "imap", "smtp", ... , "recovery" */
    struct slice description;          /* shown to the owner */
    int64_t expires_ms;                /* wall clock; 0: never */
};

/* A new wrap of `data_key` under `password`; *out is owned by the caller. FAULT_INVALID: empty or too long password. */
int keys_wrap_make(struct slice alias_id, const struct secret *data_key, struct slice password, const struct keys_wrap_options *options,
                   json_t **out, struct fault *why) MUST_CHECK;
/* FAULT_DENIED: wrong password, expired (as of now_ms), or the wrap was changed. FAULT_CORRUPT: not a wrap at all. */
int keys_wrap_open(struct slice alias_id, const json_t *wrap, struct slice password, int64_t now_ms, struct secret **data_key, struct fault *why) MUST_CHECK;
bool keys_wrap_allows(const json_t *wrap, const char *protocol);       /* by scope */
/* What keys_wrap_open costs, for names that do not exist: same time, no result. */
void keys_wrap_pretend(struct slice password);

struct secret *keys_data_key_new(void);
/* Base64 of the public sealing key, as it stands in the alias document. */
struct slice keys_public_text(struct arena *a, const struct secret *data_key);
/* JSON array of the ids of all wraps, for mailbox_set_wraps(). */
struct slice keys_wrap_ids(struct arena *a, const json_t *wraps);

/* 24 characters without look-alikes (> 130 bits), and a recovery code in groups (160 bits). */
struct secret *keys_password_random(void);
struct secret *keys_recovery_code_random(void);
