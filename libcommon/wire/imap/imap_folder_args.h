/* imap_folder_args.h - arguments of LIST (RFC 9051 6.3.9), STATUS (6.3.11), CREATE (RFC 6154 3), SELECT (RFC 7162 3.2.5)
 * and of each message of APPEND (RFC 9051 6.3.12, RFC 3502, RFC 6855 4).
 *
 * Owns      nothing; results live in the cursor's arena. Used by imap. Fails as imap_cursor does.
 * Suspends  never.
 */
#pragma once

#include "wire/imap/imap_cursor.h"
#include "wire/imap/imap_frame.h"

/* ---- STATUS ---- */
enum imap_status_item {
    IMAP_STATUS_MESSAGES = 1, IMAP_STATUS_RECENT = 2, IMAP_STATUS_UIDNEXT = 4, IMAP_STATUS_UIDVALIDITY = 8,
    IMAP_STATUS_UNSEEN = 16, IMAP_STATUS_DELETED = 32, IMAP_STATUS_SIZE = 64, IMAP_STATUS_HIGHESTMODSEQ = 128,
    IMAP_STATUS_APPENDLIMIT = 256,
};
bool imap_take_status_items(struct imap_cursor *c, unsigned *out) MUST_CHECK;     /* "(MESSAGES UNSEEN)" */

/* ---- LIST ---- */
#define IMAP_PATTERNS_MAX 32u

enum imap_list_option {
    IMAP_LIST_SUBSCRIBED = 1, IMAP_LIST_REMOTE = 2, IMAP_LIST_RECURSIVEMATCH = 4, IMAP_LIST_SPECIAL_USE = 8,
    IMAP_LIST_CHILDREN = 16, IMAP_LIST_STATUS = 32,
};
struct imap_list_args {
    unsigned select, returns;           /* enum imap_list_option */
    bool extended;                      /* options or several patterns stood there */
    struct slice reference;
    struct slice *patterns;
    size_t pattern_count;
    unsigned status_items;
};
bool imap_take_list_args(struct imap_cursor *c, struct imap_list_args *out) MUST_CHECK;

/* ---- CREATE ---- */
struct imap_create_args {
    struct slice path;
    struct slice special_use;           /* "\Sent", or empty */
    bool bad_use;                       /* several attributes or one we do not keep: NO [USEATTR] */
};
bool imap_take_create_args(struct imap_cursor *c, struct imap_create_args *out) MUST_CHECK;

/* ---- SELECT and EXAMINE ---- */
struct imap_select_args {
    struct slice path;
    bool condstore, qresync;
    uint32_t uidvalidity;               /* what the client remembers, with qresync */
    uint64_t modseq;
    struct slice known_uids;            /* sequence-set text; empty: all */
};
bool imap_take_select_args(struct imap_cursor *c, struct imap_select_args *out) MUST_CHECK;

/* ---- APPEND: flags, date and the literal's head of one message ---- */
struct imap_append_message {
    struct imap_flags flags;
    bool has_date;
    int64_t internal_ms;
    struct imap_literal literal;
    bool utf8;                          /* "UTF8 (~{n}": a ")" follows the bytes */
};
/* The cursor stands behind the space before the message; the line ends with the literal's head. */
bool imap_take_append_message(struct imap_cursor *c, struct imap_append_message *out) MUST_CHECK;
