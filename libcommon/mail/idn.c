/* idn.c - see idn.h. The work is libidn2's.
 *
 * Owns nothing. What can fail: the name. Never suspends.
 */
#include "mail/idn.h"

#include <idn2.h>

#define DOMAIN_MAX 1024                /* in UTF-8; 255 in A-labels */

bool idn_to_ascii(struct arena *a, struct slice domain, struct slice *out)
{
    char *ascii = NULL;

    if (slice_is_ascii(domain)) {
        *out = arena_lower(a, domain);
        return true;
    }
    if (domain.n > DOMAIN_MAX || !slice_is_utf8(domain) ||
        idn2_to_ascii_8z(arena_cstr(a, domain), &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
        return false;
    *out = arena_lower(a, slice_of(ascii));
    idn2_free(ascii);
    return out->n <= 255;
}
