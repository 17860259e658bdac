/* idn.h - domain names as DNS wants them: A-labels (IDNA 2008, RFC 5891), lower case.
 *
 * Owns nothing; the result lives in the arena. Used by mx, smtp-bree. Never suspends.
 */
#pragma once

#include "base/arena.h"

/* False: not a name IDNA allows. ASCII names are only lower-cased; address literals pass as they are. */
bool idn_to_ascii(struct arena *a, struct slice domain, struct slice *out) MUST_CHECK;
