/* casefold.h - Unicode simple case folding (CaseFolding.txt, statuses C and S), for searching without regard to case.
 *
 * Owns a constant table. Never fails, never suspends. Safe from any thread.
 */
#pragma once

#include "base/buf.h"

uint32_t casefold_codepoint(uint32_t c);
/* Appends the folded form of UTF-8 text; bytes that are no UTF-8 pass as they are. <0 only when `out` is full. */
int casefold_utf8(struct slice in, struct buf *out);
/* Whether `folded` (already folded) occurs in `text` when that is folded. Needs no copy of `text`. */
bool casefold_contains(struct slice text, struct slice folded);
