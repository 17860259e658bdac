/* imap_cursor.h - takes the arguments of one IMAP command from left to right (grammar: RFC 9051 9).
 *
 * Owns      nothing; decoded values live in the arena `in`, the rest point into the command's bytes.
 * Used by   imap (commands), the imap_*_args parsers beside it.
 * Fails     by false: then `error` says what was expected, for the BAD reply. A failed taker may have moved.
 * Suspends  never.
 */
#pragma once

#include "base/arena.h"
#include "wire/mailbox_types.h"

#define IMAP_NAME_MAX       1000u   /* bytes of a folder path, as UTF-8 */
#define IMAP_KEYWORD_MAX    255u    /* bytes of a keyword */
#define IMAP_KEYWORDS_MAX   64u     /* keywords in one flag list */
#define IMAP_NESTING_MAX    60u     /* parentheses, NOT, OR; packed search trees may have 64 levels, two of them implicit */

struct imap_cursor {
    const char *p, *end;            /* what is left; the last line end is not part of it */
    struct arena *in;
    const char *error;              /* a literal */
    bool utf8;                      /* mailbox names are UTF-8, not modified UTF-7 */
};

/* `command`: all its bytes. One line end behind them is dropped, so bytes that may end in a literal must have it. */
struct imap_cursor imap_cursor_make(struct slice command, bool utf8, struct arena *in);

bool imap_at_end(struct imap_cursor *c);                             /* sets error when not */
bool imap_peek(const struct imap_cursor *c, char want);              /* no error set */
bool imap_skip(struct imap_cursor *c, char want);                    /* takes `want` if it is next; no error set */
bool imap_take_char(struct imap_cursor *c, char want) MUST_CHECK;
bool imap_take_space(struct imap_cursor *c) MUST_CHECK;
bool imap_skip_word(struct imap_cursor *c, const char *upper);       /* takes a whole atom equal to `upper`; no error set */

bool imap_take_tag(struct imap_cursor *c, struct slice *out) MUST_CHECK;
bool imap_take_atom(struct imap_cursor *c, struct slice *out) MUST_CHECK;
bool imap_take_string(struct imap_cursor *c, struct slice *out) MUST_CHECK;    /* quoted or literal */
bool imap_take_astring(struct imap_cursor *c, struct slice *out) MUST_CHECK;
bool imap_take_nstring(struct imap_cursor *c, struct slice *out) MUST_CHECK;   /* NIL gives SLICE_NONE, "" a p */
bool imap_take_number(struct imap_cursor *c, uint64_t most, uint64_t *out) MUST_CHECK;
/* Text of a sequence-set, "$" included: its characters are checked, not its grammar (uid_set_parse does). */
bool imap_take_sequence(struct imap_cursor *c, struct slice *out) MUST_CHECK;

/* A folder path in UTF-8: modified UTF-7 undone unless c->utf8, INBOX in any case made INBOX. */
bool imap_take_mailbox(struct imap_cursor *c, struct slice *out) MUST_CHECK;
/* The same for a LIST pattern, where % and * may stand outside of quotes. */
bool imap_take_pattern(struct imap_cursor *c, struct slice *out) MUST_CHECK;

struct imap_flags {
    uint32_t flags;                 /* enum mailbox_flag */
    struct slice *keywords;
    size_t keyword_count;
};
/* "(\Seen $Forwarded)", or bare flags up to the end when `bare_ok`. \Recent is dropped: no client can set it. */
enum imap_flag_form { IMAP_FLAGS_LIST, IMAP_FLAGS_LIST_OR_BARE };
bool imap_take_flags(struct imap_cursor *c, enum imap_flag_form form, struct imap_flags *out) MUST_CHECK;

/* date ("24-Nov-2026", quotes optional) as days since 1970, and date-time as milliseconds since 1970. */
bool imap_take_date(struct imap_cursor *c, uint64_t *days) MUST_CHECK;
bool imap_take_date_time(struct imap_cursor *c, int64_t *ms) MUST_CHECK;

/* Sets the error (unless there is one) and returns false. */
bool imap_expected(struct imap_cursor *c, const char *what);
bool imap_is_atom_char(char ch);
