/* rfc5322.h - header fields of a message (RFC 5322) and what stands in them: addresses, dates, message ids, encoded words (RFC 2047).
 *
 * Owns      nothing: results point into the input or into the arena given.
 * Used by   mime, imap_render, mime_text; mx, smtp, smtp-bree, the mailbox engine.
 * Fails     never for malformed text: the best reading is given; sizes are bounded by the named limits.
 * Suspends  never.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#define RFC5322_ADDRESSES_MAX  4096      /* of one list; what follows is dropped */
#define RFC5322_COMMENT_DEPTH  32        /* nested comments beyond that are read as one */

/* ---- fields ---------------------------------------------------------------------------------------------------- */

struct rfc5322_field {
    struct slice name;                   /* without colon; empty for a line that is no field */
    struct slice value;                  /* raw, after the colon up to the last line end: may hold folds */
    struct slice raw;                    /* the whole field with its final line end */
};

/* Takes the next field off *rest (header bytes, CRLF or LF). False at the blank line or at the end.
 * A line without a colon, and the continuation lines behind it, is given as a field with an empty name. */
bool rfc5322_next_field(struct slice *rest, struct rfc5322_field *out);
/* First field of that name. */
bool rfc5322_find_field(struct slice header, struct slice name, struct rfc5322_field *out);
size_t rfc5322_count_fields(struct slice header, struct slice name);
/* Bytes up to and including the blank line; all of them when there is none. */
size_t rfc5322_header_length(struct slice message);
/* Value trimmed and with line ends removed; the input itself when it is not folded. */
struct slice rfc5322_unfold(struct arena *a, struct slice value);
/* Unfolded value of the first field of that name, SLICE_NONE when absent. */
struct slice rfc5322_get_value(struct arena *a, struct slice header, struct slice name);

/* ---- addresses ------------------------------------------------------------------------------------------------- */

enum rfc5322_address_kind { ADDRESS_MAILBOX, ADDRESS_GROUP_BEGIN, ADDRESS_GROUP_END };

struct rfc5322_address {
    enum rfc5322_address_kind kind;
    struct slice name;                   /* display name (of the mailbox or the group), quotes and escapes removed, encoded
                                            words kept; a comment serves when there is no phrase; p NULL when there is none */
    struct slice route;                  /* obsolete "@a,@b"; p NULL when absent */
    struct slice local;                  /* unquoted */
    struct slice domain;                 /* as written, without comments; p NULL when missing */
};

/* Address list of one field value. Returns the count. Text that is no address gives an entry without a domain,
 * as IMAP shows it, unless it is empty.                                                                          */
size_t rfc5322_parse_addresses(struct arena *a, struct slice value, struct rfc5322_address **out);
/* "local@domain", local quoted where it has to be. */
struct slice rfc5322_format_address(struct arena *a, const struct rfc5322_address *address);

/* ---- dates, message ids ---------------------------------------------------------------------------------------- */

/* Date-time with obsolete zones and years. `zone_min` (may be NULL) gets the offset as written. */
bool rfc5322_parse_date(struct slice value, int64_t *wall_ms, int *zone_min) MUST_CHECK;
/* Takes the next "<id>" off *rest; *out is what is between the brackets. False when none is left. */
bool rfc5322_next_msgid(struct slice *rest, struct slice *out);

/* ---- encoded words --------------------------------------------------------------------------------------------- */

/* Unfolds, decodes RFC 2047 words, gives valid UTF-8 without control characters (they become spaces). Raw 8-bit
 * that is no UTF-8 is read as windows-1252.                                                                       */
struct slice rfc5322_decode_words(struct arena *a, struct slice value);
/* An unstructured value or phrase as ASCII for a header: itself when it is ASCII, else UTF-8 encoded words, folded. */
struct slice rfc5322_encode_words(struct arena *a, struct slice utf8);
