/* proxy_fuzz.c - proxy_parse reads nothing beyond its input and never takes more than it was given.
 */
#include "rt/proxy.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h;
    char *copy = malloc(size + 1); /* its end is the end of the memory, for ASan */
    int n;

    if (size > 0)
        memcpy(copy + 1, data, size);
    n = proxy_parse(slice_make(copy + 1, size), &h);
    assert(n <= (int)size && n <= PROXY_HEADER_MAX);
    assert(n <= 0 || h.is_local || (h.source.ip[0] != '\0' && h.destination.ip[0] != '\0'));
    (void)address_prefix_is_valid(slice_make(copy + 1, size));
    (void)address_in_prefix("2001:db8::1", slice_make(copy + 1, size));
    free(copy);
    return 0;
}
