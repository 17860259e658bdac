/* imap_view.c - the selected folder's memory: replaced as a whole when it changes, so that it never grows old garbage.
 *
 * Owns one arena per view. Called by imap_sync and SELECT. Never suspends.
 */
#include "imap_view.h"
#include "base/time.h"
#include "wire/uid_set.h"

#define VIEW_BLOCK_BYTES 1024

static struct slice *copy_keywords(struct arena *in, const struct slice *from, size_t count)
{
    struct slice *to = ARENA_ARRAY(in, struct slice, count ? count : 1);

    for (size_t i = 0; i < count; i++)
        to[i] = arena_copy(in, from[i]);
    return to;
}

static void view_fill(struct imap_view *v, struct slice path, const struct imap_view_content *now)
{
    struct arena *fresh = arena_new(VIEW_BLOCK_BYTES);

    v->path = arena_copy(fresh, path);
    v->uids = uid_set_copy(fresh, now->uids);
    v->gone = uid_set_copy(fresh, now->gone);
    v->saved = uid_set_copy(fresh, now->saved);
    v->keywords = copy_keywords(fresh, now->keywords, now->keyword_count);
    v->keyword_count = now->keyword_count;
    arena_free(&v->arena);
    v->arena = fresh;
}

struct imap_view *imap_view_new(const struct mailbox_view *from, bool read_only, uint64_t generation)
{
    struct imap_view *v = calloc(1, sizeof(*v));
    struct imap_view_content now = { .uids = from->uids, .keywords = from->keywords, .keyword_count = from->keyword_count };

    if (!v)
        abort();
    v->folder_id = from->folder.id;
    v->read_only = read_only;
    v->uidvalidity = from->folder.uidvalidity;
    v->modseq = from->modseq;
    v->highest = from->folder.highestmodseq ? from->folder.highestmodseq : 1;
    v->generation = generation;
    v->synced_ms = clock_now_ms();
    view_fill(v, from->folder.path, &now);
    return v;
}

void imap_view_free(struct imap_view **v)
{
    if (!*v)
        return;
    arena_free(&(*v)->arena);
    free(*v);
    *v = NULL;
}

struct imap_view_content imap_view_content(const struct imap_view *v)
{
    return (struct imap_view_content){ v->uids, v->gone, v->saved, v->keywords, v->keyword_count };
}

void imap_view_set(struct imap_view *v, const struct imap_view_content *now)
{
    view_fill(v, v->path, now);
}

struct imap_ranker imap_ranker_make(struct uid_set uids)
{
    return (struct imap_ranker){ .uids = uids };
}

uint32_t imap_rank(struct imap_ranker *r, uint32_t uid)
{
    while (r->range < r->uids.count && r->uids.ranges[r->range].last < uid) {
        const struct uid_range *passed = &r->uids.ranges[r->range++];
        r->before += (uint64_t)passed->last - passed->first + 1;
    }
    if (r->range == r->uids.count || r->uids.ranges[r->range].first > uid)
        return 0;
    return (uint32_t)(r->before + (uid - r->uids.ranges[r->range].first) + 1);
}
