/* imap_view.h - the selected folder as this client has been told about it (RFC 9051 2.3.1.2, 7.5.1).
 *
 * Owns      an arena that holds path, UIDs as runs and keyword names; no rows: those are read when a command needs them,
 *           so that a parked session with a million messages costs little.
 * Used by   imap_sync, SELECT and all commands on messages.
 * Suspends  never.
 */
#pragma once

#include "rpc/mailbox.h"

struct imap_view {
    struct arena *arena;
    struct slice path;
    uint64_t folder_id;
    bool read_only;
    uint32_t uidvalidity;
    uint64_t modseq;                    /* of the mailbox; the client knows everything up to here, but for `gone` */
    uint64_t highest;                   /* HIGHESTMODSEQ of the folder at that time */
    uint64_t hinted;                    /* an event said there is something up to here */
    uint64_t generation;                /* of the mailbox handle when last in step */
    uint64_t synced_ms;
    struct uid_set uids;                /* the n-th has message number n */
    struct uid_set gone;                /* of these, no longer there but not told yet */
    struct uid_set saved;               /* "$" (RFC 5182) */
    struct slice *keywords;             /* names by bit */
    size_t keyword_count;
};

struct imap_view *imap_view_new(const struct mailbox_view *from, bool read_only, uint64_t generation);
void imap_view_free(struct imap_view **v);              /* closer */
/* New sets and names, copied; what the view held before is freed. Sets may be the view's own. */
struct imap_view_content {
    struct uid_set uids, gone, saved;
    const struct slice *keywords;
    size_t keyword_count;
};
void imap_view_set(struct imap_view *v, const struct imap_view_content *now);
struct imap_view_content imap_view_content(const struct imap_view *v);

/* Message numbers of ascending UIDs, in step with the walk. 0: not in the view. */
struct imap_ranker {
    struct uid_set uids;
    size_t range;
    uint64_t before;                    /* members in front of that range */
};
struct imap_ranker imap_ranker_make(struct uid_set uids);
uint32_t imap_rank(struct imap_ranker *r, uint32_t uid);
