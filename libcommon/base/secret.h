/* secret.h - passwords, tokens and keys: wiped after use, compared in constant time, never printed.
 *
 * struct secret lives on the heap slab of locked pages (mlock; failure to lock is logged once by
 * secret_init). Closers wipe. Safe from any thread.
 */
#pragma once

#include "base/slice.h"

struct secret;                                     /* opaque: bytes in the locked slab */

#define SECRET_MAX_BYTES 1024

int secret_init(void);                             /* once per process; <0 when pages could not be locked (it works anyway) */
struct secret *secret_new(struct slice bytes);     /* copies; at most SECRET_MAX_BYTES, more aborts */
struct secret *secret_random(size_t n);
struct secret *secret_ref(struct secret *s);
void secret_unref(struct secret **s);              /* closer; the last one wipes */
struct slice secret_slice(const struct secret *s); /* borrowed; do not copy without wiping */

bool secret_equal(struct slice a, struct slice b); /* constant time for equal lengths */
void memory_wipe(void *p, size_t n);               /* never optimised away */
void random_bytes(void *out, size_t n);
uint64_t random_u64(void);
uint64_t random_below(uint64_t bound);

/* 24 hex characters like the original's ids: 4 bytes of time, 8 random; NUL-terminated. */
struct object_id { char s[25]; };
struct object_id object_id_new(void);
bool object_id_is_valid(struct slice s);           /* 24 lower-case hex digits */

/* SHA-256 and HMAC-SHA-256 (32 bytes out). */
void sha256(struct slice in, unsigned char out[32]);
void hmac_sha256(struct slice key, struct slice in, unsigned char out[32]);
