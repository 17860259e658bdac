/* cmd_trace.c - fectl trace: the story of one mail, from the logs collection, in order.
 *
 * Owns      the documents found, until printed. An id leads to others: a stored message has a mark that the mailbox server names again
 *           when sealed mail moves in; a report has an id of its own; a remote that is our own MX answers with its id.
 * Fails     when nothing is known of the id; suspends for the store.
 */
#include "fectl.h"

#include <stdlib.h>

#include "base/secret.h"

#define IDS_MAX  50                            /* one mail leads to, at most */
#define DOCS_MAX 2000

struct story {
    struct fectl *f;
    json_t *docs;                              /* array */
    struct slice ids[IDS_MAX];
    size_t id_count, id_done;
};

static void follow_id(struct story *s, struct slice id)
{
    for (size_t i = 0; i < s->id_count; i++)
        if (slice_equal(s->ids[i], id))
            return;
    if (s->id_count < IDS_MAX)
        s->ids[s->id_count++] = id;
}

static bool has_doc(const struct story *s, const json_t *doc)
{
    json_t *other;
    size_t i;

    json_array_foreach(s->docs, i, other)
        if (slice_equal(json_get_slice(other, "_id"), json_get_slice(doc, "_id")))
            return true;
    return false;
}

/* ---- what an entry leads to ------------------------------------------------------------------------ */

static int collect(struct story *s, const struct store_filter *filter, bool and_follow, struct fault *why) SUSPENDS;

static int follow_mark(struct story *s, struct slice mark, struct fault *why)
{
    struct store_filter *f = store_filter_text(s->f->arena, "mark", mark);

    store_where_text(f, "event", STORE_EQ, LIT("sqlite.drained"));
    return collect(s, f, false, why);
}

/* "2.0.0 Ok 65c0...": the id that an MX of ours gave it */
static void follow_words(struct story *s, struct slice said)
{
    struct slice word;

    while (slice_cut(&said, ' ', &word))
        if (object_id_is_valid(word))
            follow_id(s, word);
}

static int follow(struct story *s, const json_t *doc, struct fault *why)
{
    struct slice report = json_get_slice(json_object_get(doc, "meta"), "report");
    struct slice mark = json_get_slice(doc, "mark"), msg = json_get_slice(doc, "msg");

    if (object_id_is_valid(msg))
        follow_id(s, msg);
    if (object_id_is_valid(report))
        follow_id(s, report);
    follow_words(s, json_get_slice(doc, "response"));
    return mark.n > 0 ? follow_mark(s, mark, why) : 0;
}

static int collect(struct story *s, const struct store_filter *filter, bool and_follow, struct fault *why)
{
    struct store_page page = { .limit = 200 };
    json_t *found, *doc;
    size_t i;

    if (store_find(s->f->store, LOGS, filter, &page, fectl_until(), &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc) {
        if (has_doc(s, doc) || json_array_size(s->docs) >= DOCS_MAX)
            continue;
        (void)json_array_append(s->docs, doc);
        if (and_follow && follow(s, doc, why) < 0) {
            json_release(&found);
            return -1;
        }
    }
    json_release(&found);
    return 0;
}

static int collect_all(struct story *s, struct fault *why)
{
    while (s->id_done < s->id_count)
        if (collect(s, store_filter_text(s->f->arena, "msg", s->ids[s->id_done++]), true, why) < 0)
            return -1;
    return 0;
}

/* ---- telling ------------------------------------------------------------------------------------------ */

static int by_time(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    int r = slice_compare(json_get_slice(*x, "created_at"), json_get_slice(*y, "created_at"));

    return r != 0 ? r : slice_compare(json_get_slice(*x, "_id"), json_get_slice(*y, "_id"));
}

static void print_text(const char *before, const json_t *doc, const char *key, const char *after)
{
    struct slice s = json_get_slice(doc, key);

    if (s.n > 0)
        printf("%s%.*s%s", before, SLICE(s), after);
}

static void print_entry(const json_t *doc)
{
    const json_t *meta = json_object_get(doc, "meta");
    int64_t code = json_get_int(doc, "code", 0), uid = json_get_int(meta, "uid", 0);

    printf("%.*s %-20.*s", SLICE(json_get_slice(doc, "created_at")), SLICE(json_get_slice(doc, "event")));
    print_text(" msg=", doc, "msg", "");
    print_text(" from=<", doc, "mail_from", ">");
    print_text(" to=<", doc, "rcpt_to", ">");
    print_text(" client=", doc, "client_ip", "");
    print_text(" target=", doc, "target", "");
    print_text(" mx=", doc, "mx", "");
    if (code != 0)
        printf(" code=%lld", (long long)code);
    print_text(" said=\"", doc, "response", "\"");
    if (json_get_bool(meta, "sealed", false))
        printf(" sealed until the owner signs in");
    if (uid != 0)
        printf(" uid=%lld", (long long)uid);
    print_text(" report=", meta, "report", "");
    print_text(": ", doc, "message", "");
    printf("\n");
}

static int print_story(struct story *s, struct fault *why)
{
    size_t n = json_array_size(s->docs);
    const json_t **list = ARENA_ARRAY(s->f->arena, const json_t *, n + 1);

    if (n == 0)
        return fault_set(why, FAULT_NOT_FOUND, "the log knows nothing of %.*s (entries appear within a second)",
                         SLICE(s->ids[0]));
    for (size_t i = 0; i < n; i++)
        list[i] = json_array_get(s->docs, i);
    qsort(list, n, sizeof(void *), by_time);
    for (size_t i = 0; i < n; i++)
        print_entry(list[i]);
    return 0;
}

static int trace(struct fectl *f, struct fault *why)
{
    struct story s = { .f = f };
    AUTO(json_release) json_t *docs = json_array();
    struct slice id;

    s.docs = docs;
    if (fectl_argument(f, 0, "the id of a message, session or request", &id, why) < 0)
        return -1;
    follow_id(&s, id);
    if (collect_all(&s, why) < 0)
        return -1;
    /* no message has that id: perhaps a connection's or an API request's */
    if (json_array_size(s.docs) == 0 && collect(&s, store_filter_text(f->arena, "session", id), true, why) < 0)
        return -1;
    return collect_all(&s, why) < 0 ? -1 : print_story(&s, why);
}

const struct command trace_commands[] = {
    { "trace", "", "ID", "the story of one mail, in order: ID of a message (\"msg\" in logs, Received, the queue), a connection or an API request", true, trace },
    { NULL, NULL, NULL, NULL, false, NULL },
};
