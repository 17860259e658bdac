/* journal.c - tells the log collection which UID a sealed mail got, so that `fectl trace` can follow it to its end.
 *
 * Owns      the document store, opened when the first mailbox has been drained: until then this process does without. The store
 *           away is no reason to hold up mail: the line in our own log remains, the document is dropped.
 * Called by drain.c, on the fiber of a drain; suspends for opening.
 */
#include "sqlite.h"

#include "base/encode.h"
#include "store/models.h"

#define OPEN_AGAIN_MS 60000u                   /* after a failure */

static struct {
    struct store *store;
    struct fiber_mutex opening;
    struct deadline again;
    bool failed;
} journal;

static int open_once(struct fault *why)
{
    struct store_options options = { .uri = server.config->store_uri, .key_file = server.config->store_key_file };

    if (journal.store != NULL)
        return 0;
    if (options.uri[0] == '\0' || (journal.failed && !deadline_is_past(journal.again)))
        return fault_set(why, FAULT_UNAVAILABLE, "no document store");
    if (store_open(&options, &journal.store, why) == 0)
        return 0;
    log_event(LOG_WARN, "journal.store", F_FAULT(why));
    journal.failed = true;
    journal.again = deadline_in_ms(OPEN_AGAIN_MS);
    return -1;
}

static int journal_open(struct fault *why)
{
    int r;

    if (fiber_mutex_lock(&journal.opening, deadline_in_ms(OPEN_AGAIN_MS), why) < 0)
        return -1;
    r = open_once(why);
    fiber_mutex_unlock(&journal.opening);
    return r;
}

void journal_drained(const char *alias_id, const struct drained *list, size_t count)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct fault why;

    for (size_t i = 0; i < count; i++)
        log_event(LOG_INFO, "deliver.drained", F_STR("alias", alias_id), F_SLICE("mark", hex_encode(a, slice_make(list[i].mark, sizeof(list[i].mark)))),
                  F_INT("uid", list[i].uid));
    if (count == 0 || journal_open(&why) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        log_doc_add(journal.store, &(struct log_doc){
            .level = LIT("info"), .event = LIT("sqlite.drained"), .message = LIT("moved into the mailbox"), .alias = slice_of(alias_id),
            .mark = hex_encode(a, slice_make(list[i].mark, sizeof(list[i].mark))), .meta = arena_printf(a, "{\"uid\":%u}", list[i].uid),
        });
}

void journal_close(void)
{
    store_close(&journal.store);
}
