/* encode.h - hex, base64, base64url. Never suspends. Decoders refuse anything but the exact alphabet. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

struct slice hex_encode(struct arena *a, struct slice in);                     /* lower case */
bool hex_decode(struct slice in, void *out, size_t n) MUST_CHECK;              /* exactly n bytes */
struct slice base64_encode(struct arena *a, struct slice in);                  /* padded, one line */
struct slice base64url_encode(struct arena *a, struct slice in);               /* unpadded */
bool base64_decode(struct arena *a, struct slice in, struct slice *out) MUST_CHECK;    /* strict, padded */
bool base64url_decode(struct arena *a, struct slice in, struct slice *out) MUST_CHECK; /* padding optional */
