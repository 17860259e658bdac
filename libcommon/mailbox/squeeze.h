/* squeeze.h - zstd for bodies, with working memory that is kept from one use to the next.
 *
 * Owns a few spare contexts of the process (some hundred KB each): making one anew for a message of 10 KB costs more than compressing
 * it. Any thread. squeeze_release() frees what is spare, for quiet times. Running out of memory ends the process. Never suspends.
 */
#pragma once

#include <zstd.h>

#include "base/slice.h"

/* Into `out`, which has room for ZSTD_compressBound(in.n). 0: it would not be smaller. */
size_t squeeze(char *out, size_t room, struct slice in, int level);
/* The bytes of `in` have to be exactly `want`. */
bool unsqueeze(char *out, size_t want, struct slice in) MUST_CHECK;
void squeeze_release(void);
