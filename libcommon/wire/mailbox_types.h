/* mailbox_types.h - what a mailbox is made of on both sides of the RPC: UID sets, folders, rows, sections, search trees.
 *
 * Owns nothing: all pointers live in the arena the value was made in. Never suspends. The packed forms (mailbox_pack.h) are
 * what travels in binary frames.
 */
#pragma once

#include <stdint.h>
#include "base/slice.h"

/* ---- sets of UIDs --------------------------------------------------------------------------------------------- */

struct uid_range { uint32_t first, last; };       /* inclusive, first <= last */
struct uid_set { struct uid_range *ranges; size_t count; };   /* ascending, disjoint, not adjacent */

struct mailbox_folder {
    uint64_t id;
    struct slice path;
    struct slice special_use;         /* "\\Sent" or empty */
    bool subscribed;
    bool exists;                      /* false: only a subscription, or a parent that is not a folder itself */
    uint32_t uidvalidity, uidnext, messages, unseen, deleted;
    uint64_t highestmodseq, size_bytes;
};

enum mailbox_flag { FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16 };
#define MAILBOX_KEYWORDS_MAX 96                   /* per folder, bits of `keywords` */

struct mailbox_row {                              /* what FLAGS, UID, MODSEQ, INTERNALDATE, RFC822.SIZE need */
    uint32_t uid, size;
    uint32_t flags;
    uint64_t modseq;
    uint64_t keywords[2];
    int64_t internal_ms;                          /* since 1970, UTC */
    int64_t saved_ms;
};

enum mailbox_section_kind { SECTION_ALL, SECTION_HEADER, SECTION_TEXT, SECTION_MIME, SECTION_FIELDS, SECTION_FIELDS_NOT };
#define MAILBOX_SECTION_DEPTH 32

struct mailbox_section {                          /* BODY[path.kind]<from.length> of RFC 9051 6.4.5 */
    enum mailbox_section_kind kind;               /* with an empty path: ALL is BODY[] */
    uint32_t path[MAILBOX_SECTION_DEPTH];
    size_t path_len;
    struct slice *fields;                         /* for FIELDS and FIELDS_NOT */
    size_t field_count;
    bool decode;                                  /* BINARY: content-transfer-encoding undone */
    uint64_t from, length;                        /* length UINT64_MAX: to the end */
};

enum mailbox_item { ITEM_ENVELOPE = 1, ITEM_BODYSTRUCTURE = 2, ITEM_BODY = 4 /* BODY without extension data */, ITEM_PREVIEW = 8 };
#define MAILBOX_SECTIONS_MAX 16

enum search_op {
    SEARCH_ALL, SEARCH_AND, SEARCH_OR, SEARCH_NOT,
    SEARCH_UIDS,                                  /* uids */
    SEARCH_FLAG, SEARCH_KEYWORD,                  /* number = flag bit; text = keyword name */
    SEARCH_BEFORE, SEARCH_ON, SEARCH_SINCE,       /* number = internal date, days since 1970 */
    SEARCH_SENTBEFORE, SEARCH_SENTON, SEARCH_SENTSINCE,
    SEARCH_LARGER, SEARCH_SMALLER,                /* number = bytes */
    SEARCH_OLDER, SEARCH_YOUNGER,                 /* number = seconds */
    SEARCH_MODSEQ,                                /* number = least modseq */
    SEARCH_HEADER,                                /* field = lower-case name, text = substring ("" : the field exists) */
    SEARCH_BODY, SEARCH_TEXT,                     /* text = substring, decoded, case-insensitive in Unicode */
};
struct search_node {
    enum search_op op;
    uint64_t number;
    struct slice field, text;                     /* UTF-8 */
    struct uid_set uids;
    struct search_node *children, *next;          /* AND OR: any number; NOT: one */
};

/* ---- answers of the mailbox server (who asks for them and how: rpc/mailbox.h) ------------------------------------- */

enum mailbox_store_mode { STORE_SET, STORE_ADD, STORE_REMOVE };

struct mailbox_usage { uint64_t messages, bytes_used, bytes_sealed, bytes_quota; };   /* quota 0: none */

struct mailbox_view {                             /* a consistent picture at `modseq` */
    struct mailbox_folder folder;
    uint64_t modseq;                              /* mailbox-wide, as of this picture */
    struct uid_set uids;                          /* all messages, for sequence numbers */
    struct slice *keywords;                       /* names by bit */
    size_t keyword_count;
    uint32_t first_unseen_uid;                    /* 0: none */
    uint32_t drain_left;                          /* sealed messages still to come */
};

struct mailbox_changes {
    uint64_t modseq;                              /* the picture now: ask with it next time */
    struct mailbox_folder folder;
    struct mailbox_row *rows;                     /* new or changed since, ascending UID */
    size_t row_count;
    struct uid_set vanished;                      /* since */
    struct slice *keywords;                       /* all names now */
    size_t keyword_count;
    uint32_t drain_left;
};

struct mailbox_fetched {
    struct mailbox_row row;
    struct slice envelope, bodystructure, body;   /* rendered IMAP text, ready to send; empty when not asked for */
    struct slice preview;                         /* RFC 8970 text, UTF-8; empty when not asked for */
    struct { bool exists; uint64_t bytes; } sections[MAILBOX_SECTIONS_MAX];   /* then read each with mailbox_fetch_read, in order */
};

struct mailbox_stored {
    uint64_t from_modseq, modseq;                 /* state went from -> to; equal when nothing changed */
    struct mailbox_row *rows;                     /* changed messages as they are now */
    size_t row_count;
    struct uid_set conflicts;                     /* UNCHANGEDSINCE: not changed because newer */
    struct slice *keywords;                       /* all names, when new ones were made; else NULL */
    size_t keyword_count;
};

struct mailbox_appended { uint32_t uidvalidity; struct uid_set uids; uint64_t from_modseq, modseq; };
struct mailbox_copied { uint32_t uidvalidity; struct uid_set from, to; uint64_t from_modseq, modseq; };   /* i-th UID of from became i-th of to */
struct mailbox_expunged { struct uid_set uids; uint64_t from_modseq, modseq; };
struct mailbox_found { struct uid_set uids; uint64_t highestmodseq; };    /* highest MODSEQ among the found, for MODSEQ searches */

struct mailbox_delivered { bool sealed, duplicate; uint32_t uid; };
