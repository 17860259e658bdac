/* watch_fuzz.c - watch_event on lines of anything: what it takes stays within its table, and only what was killed and died is due. */
#include <assert.h>

#include "watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct watch w;
    struct slice rest = slice_make(data, size), line;
    const struct watch_entry *e;
    uint64_t now_ms = 1000;

    w = (struct watch){ .seen_ns = 0 };
    while (slice_cut(&rest, '\n', &line))
        (void)watch_event(&w, line, now_ms++);
    e = watch_due(&w, now_ms + WATCH_GRACE_MS);
    assert((e != NULL) == (watch_next_ms(&w) != UINT64_MAX));
    assert(e == NULL || (e->id[0] != '\0' && strlen(e->id) <= WATCH_ID_MAX && strlen(e->service) <= WATCH_NAME_MAX && e->tries == 0));
    return 0;
}
