/* imap_search_args.h - a SEARCH program as a tree (RFC 9051 6.4.4, RFC 5032, RFC 5182, RFC 7162 3.1.5).
 *
 * Owns      nothing; the tree lives in the cursor's arena. Used by imap.
 * Fails     as imap_cursor does, and beyond IMAP_SEARCH_KEYS_MAX keys or IMAP_NESTING_MAX levels.
 * Suspends  never. Recurses once a level, about 150 bytes of stack each.
 */
#pragma once

#include "wire/imap/imap_cursor.h"

#define IMAP_SEARCH_KEYS_MAX 2000u

enum imap_search_return {
    IMAP_RETURN_MIN = 1, IMAP_RETURN_MAX = 2, IMAP_RETURN_ALL = 4, IMAP_RETURN_COUNT = 8, IMAP_RETURN_SAVE = 16,
};

struct imap_search_args {
    bool has_return;                    /* RETURN (...) stood there: answer with ESEARCH */
    unsigned returns;                   /* enum imap_search_return; RETURN () means ALL */
    bool has_charset;
    bool bad_charset;                   /* neither US-ASCII nor UTF-8, or text that is not: [BADCHARSET] */
    bool uses_modseq;
    struct search_node *program;
};

/* From behind "SEARCH ". Sequence numbers count in `uids`, all UIDs of the view; `saved` is what $ stands for. */
bool imap_take_search_args(struct imap_cursor *c, struct uid_set uids, struct uid_set saved, struct imap_search_args *out) MUST_CHECK;
