/* cmd_queue.c - fectl queue: what waits to be sent, and what became of it. Suspends for the store. */
#include "fectl.h"

static void print_email(const struct email_doc *e)
{
    printf("%s %.*s from=<%.*s> size=%lld attempts=%lld", e->id, SLICE(e->status), SLICE(e->from), (long long)e->size_bytes, (long long)e->attempts);
    if (e->next_attempt_at != 0)
        printf(" next=%s", date_format_iso(e->next_attempt_at).s);
    printf("\n");
    for (size_t i = 0; i < e->recipient_count; i++)
        printf("    <%.*s> %lld %.*s\n", SLICE(e->recipients[i].address), (long long)e->recipients[i].code, SLICE(e->recipients[i].response));
}

static int queue_list(struct fectl *f, struct fault *why)
{
    const char *status = fectl_option(f, "--status");
    struct email_scope scope = { .status = slice_of(status) };
    struct store_page page = { .limit = 1000 };
    struct email_doc *list;
    size_t count;

    if (email_list(f->store, &scope, &page, f->arena, fectl_until(), &list, &count, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        print_email(&list[i]);
    return 0;
}

static int queue_retry(struct fectl *f, struct fault *why)
{
    struct slice id;

    if (fectl_argument(f, 0, "the id", &id, why) < 0)
        return -1;
    return email_retry_now(f->store, id, fectl_until(), why);
}

static int queue_cancel(struct fectl *f, struct fault *why)
{
    struct slice id;

    if (fectl_argument(f, 0, "the id", &id, why) < 0)
        return -1;
    return email_cancel(f->store, id, fectl_until(), why);
}

const struct command queue_commands[] = {
    { "queue", "list", "[--status queued|deferred|sent|bounced|...]", "the newest 1000 outbound messages", true, queue_list },
    { "queue", "retry", "ID", "tries a deferred message now", true, queue_retry },
    { "queue", "cancel", "ID", "gives up a message that waits", true, queue_cancel },
    { NULL, NULL, NULL, NULL, false, NULL },
};
