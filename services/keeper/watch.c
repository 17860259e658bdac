/* watch.c - Docker's events, taken as they come, and what follows from them.
 *
 * Owns      the table in struct watch. Called by main.c. Cannot fail. Never suspends.
 */
#include "watch.h"

#include "base/json.h"

#define EVENT_MAX    (64u << 10)
#define SIGNAL_KILL  LIT("9")

static struct watch_entry *find(struct watch *w, struct slice id)
{
    for (size_t i = 0; i < WATCH_MAX; i++)
        if (slice_equal(slice_of(w->entry[i].id), id))
            return &w->entry[i];
    return NULL;
}

static void killed(struct watch *w, struct slice id, struct slice service)
{
    struct watch_entry *e = find(w, id);

    if (e == NULL)
        e = find(w, LIT(""));
    if (e == NULL || id.n == 0 || !slice_copy_cstr(id, e->id, sizeof(e->id)))
        return;
    ignore_result(slice_copy_cstr(service, e->service, sizeof(e->service)));
    e->tries = 0;
    e->due_ms = UINT64_MAX;
}

static void take(struct watch *w, struct slice action, struct slice id, const json_t *attributes, uint64_t now_ms)
{
    struct watch_entry *e = find(w, id);

    if (slice_equal(action, LIT("kill"))) {
        if (slice_equal(json_get_slice(attributes, "signal"), SIGNAL_KILL))
            killed(w, id, json_get_slice(attributes, "com.docker.compose.service"));
    } else if (e == NULL || id.n == 0) {
        return;
    } else if (slice_equal(action, LIT("die"))) {
        e->due_ms = now_ms + WATCH_GRACE_MS;
    } else if (slice_equal(action, LIT("stop")) || slice_equal(action, LIT("destroy")) || slice_equal(action, LIT("start"))) {
        watch_done(e);
    }
}

bool watch_event(struct watch *w, struct slice line, uint64_t now_ms)
{
    AUTO(json_release) json_t *event = NULL;
    const json_t *actor;
    int64_t at;

    if (json_parse(line, EVENT_MAX, &event, NULL) < 0 || !json_is_object(event))
        return false;
    actor = json_object_get(event, "Actor");
    take(w, json_get_slice(event, "Action"), json_get_slice(actor, "ID"), json_object_get(actor, "Attributes"), now_ms);
    at = json_get_int(event, "timeNano", 0);
    if (at > w->seen_ns)
        w->seen_ns = at;
    return true;
}

struct watch_entry *watch_due(struct watch *w, uint64_t now_ms)
{
    struct watch_entry *first = NULL;

    for (size_t i = 0; i < WATCH_MAX; i++) {
        struct watch_entry *e = &w->entry[i];

        if (e->id[0] != '\0' && e->due_ms <= now_ms && (first == NULL || e->due_ms < first->due_ms))
            first = e;
    }
    return first;
}

uint64_t watch_next_ms(const struct watch *w)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < WATCH_MAX; i++)
        if (w->entry[i].id[0] != '\0' && w->entry[i].due_ms < next)
            next = w->entry[i].due_ms;
    return next;
}

void watch_done(struct watch_entry *e)
{
    *e = (struct watch_entry){ .id = "" };
}

bool watch_again(struct watch_entry *e, uint64_t now_ms)
{
    e->due_ms = now_ms + WATCH_AGAIN_MS;
    if (++e->tries < WATCH_TRIES)
        return true;
    watch_done(e);
    return false;
}
