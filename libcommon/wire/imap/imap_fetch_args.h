/* imap_fetch_args.h - what a FETCH wants (RFC 9051 6.4.5, RFC 3516, RFC 7162 3.1.4.1 and 3.2.6).
 *
 * Owns      nothing; labels live in the cursor's arena. Used by imap.
 * Fails     as imap_cursor does; more than MAILBOX_SECTIONS_MAX sections are refused.
 * Suspends  never.
 */
#pragma once

#include "wire/imap/imap_cursor.h"

#define IMAP_HEADER_FIELDS_MAX 100u     /* names in one HEADER.FIELDS */

enum imap_fetch_attr {
    IMAP_FETCH_UID = 1, IMAP_FETCH_FLAGS = 2, IMAP_FETCH_INTERNALDATE = 4, IMAP_FETCH_SIZE = 8, IMAP_FETCH_MODSEQ = 16,
    IMAP_FETCH_ENVELOPE = 32, IMAP_FETCH_BODY = 64, IMAP_FETCH_BODYSTRUCTURE = 128,
};

struct imap_fetch_section {
    struct mailbox_section section;
    struct slice label;                 /* as the answer names it: "BODY[1.TEXT]<0>" */
    bool size_only;                     /* BINARY.SIZE: a number instead of the bytes */
};

struct imap_fetch_args {
    unsigned attrs;
    struct imap_fetch_section sections[MAILBOX_SECTIONS_MAX];
    size_t section_count;
    bool sets_seen;                     /* something was asked for without PEEK */
    bool has_changedsince, vanished;
    uint64_t changedsince;
};

/* From behind the sequence set and its space, to the end of the command. */
bool imap_take_fetch_args(struct imap_cursor *c, struct imap_fetch_args *out) MUST_CHECK;
