/* arc_internal.h - the sets of a chain, for arc_verify.c and arc_seal.c. */
#pragma once

#include "mail/arc.h"
#include "mail/dkim_internal.h"

struct arc_set {
    struct slice results, signature, seal;             /* raw fields; p NULL when missing */
};

struct arc_chain {
    struct arc_set sets[ARC_SETS_MAX + 1];             /* 1-based */
    unsigned count;                                    /* highest instance */
    bool broken;                                       /* a field twice, missing, out of range or unreadable (5.2 step 1-3) */
};

void arc_chain_read(const struct dkim_field *fields, size_t count, struct arc_chain *out);
/* What an ARC-Seal signs (5.1.1): the sets `first`..`last` in order, relaxed; the last one's seal with an empty b=. */
int arc_seal_data(struct arena *a, const struct arc_chain *chain, unsigned first, unsigned last, struct buf *out);
