/* arc_chain.c - the ARC sets of a header, and the bytes a seal covers (RFC 8617 4.2, 5.1.1).
 *
 * Owns nothing; sets point into the header. Called by arc_verify.c and arc_seal.c. A bad chain is marked, not refused.
 */
#include "mail/arc_internal.h"

const char *arc_result_name(enum arc_result r)
{
    static const char *const names[] = { "none", "pass", "fail", "temperror" };

    return names[r];
}

/* i= of any of the three: in ARC-Authentication-Results it is the first tag, and what follows is no tag list. */
static bool read_instance(struct slice raw, unsigned *out)
{
    struct slice value = slice_tail(raw, (size_t)slice_find_char(raw, ':') + 1), tag;
    uint32_t i;

    while (slice_cut(&value, ';', &tag)) {
        ptrdiff_t equals = slice_find_char(tag, '=');

        if (equals < 0 || !slice_equal(slice_trim(slice_head(tag, (size_t)equals)), LIT("i")))
            continue;
        if (!slice_to_u32(slice_trim(slice_tail(tag, (size_t)equals + 1)), ARC_SETS_MAX, &i) || i == 0)
            return false;
        *out = i;
        return true;
    }
    return false;
}

static struct slice *slot_of(struct arc_set *set, struct slice name)
{
    if (slice_equal_nocase(name, LIT("ARC-Authentication-Results")))
        return &set->results;
    return slice_equal_nocase(name, LIT("ARC-Message-Signature")) ? &set->signature : &set->seal;
}

static bool is_arc_field(struct slice name)
{
    return slice_equal_nocase(name, LIT("ARC-Authentication-Results")) || slice_equal_nocase(name, LIT("ARC-Message-Signature")) ||
           slice_equal_nocase(name, LIT("ARC-Seal"));
}

void arc_chain_read(const struct dkim_field *fields, size_t count, struct arc_chain *out)
{
    *out = (struct arc_chain){ .count = 0 };
    for (size_t i = 0; i < count; i++) {
        struct slice *slot;
        unsigned instance;

        if (!is_arc_field(fields[i].name))
            continue;
        if (!read_instance(fields[i].raw, &instance)) {
            out->broken = true;
            continue;
        }
        slot = slot_of(&out->sets[instance], fields[i].name);
        out->broken = out->broken || slot->p != NULL;
        *slot = fields[i].raw;
        if (instance > out->count)
            out->count = instance;
    }
    for (unsigned i = 1; i <= out->count; i++)
        if (!out->sets[i].results.p || !out->sets[i].signature.p || !out->sets[i].seal.p)
            out->broken = true;
}

int arc_seal_data(struct arena *a, const struct arc_chain *chain, unsigned first, unsigned last, struct buf *out)
{
    for (unsigned i = first; i <= last; i++) {
        dkim_field_append(out, chain->sets[i].results, true, false);
        dkim_field_append(out, chain->sets[i].signature, true, false);
        if (i < last)
            dkim_field_append(out, chain->sets[i].seal, true, false);
        else
            dkim_field_append(out, dkim_without_b(a, chain->sets[i].seal), true, true);
    }
    return out->overflowed ? -1 : 0;
}
