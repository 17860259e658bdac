/* uid_set_fuzz.c - sequence-set text: no crash, and parse(format(v)) is v. */
#include <stdlib.h>
#include "wire/uid_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct uid_set set, again;
    struct slice text;

    if (!uid_set_parse(slice_make(data, size), 1000, a, &set) || set.count == 0)
        return 0;
    text = uid_set_format(set, a);
    if (!uid_set_parse(text, 1000, a, &again) || !uid_set_equal(set, again))
        abort();
    if (uid_set_nth(set, uid_set_count(set)) != uid_set_max(set))
        abort();
    return 0;
}
