/* domain_name.h - which names may be domains of this installation, and entries of their lists.
 *
 * Owns      nothing; results live in the arena.
 * Used by   api, fectl, web.
 * Threads   any; never suspends.
 */
#pragma once

#include "base/arena.h"

/* `in` as it is stored and asked for: without blanks around and final dot, A-labels, lower case. False: not a fully qualified name
 * (two labels and more, letters, digits and inner hyphens, the last not numeric: RFC 1123 2.1; an IP address is none).        */
bool domain_name_read(struct arena *a, struct slice in, struct slice *out) MUST_CHECK;
/* What may stand in allowlist and denylist: an IP address, a name as above, or an address at one; in lower case. */
bool domain_list_entry_read(struct arena *a, struct slice in, struct slice *out) MUST_CHECK;
