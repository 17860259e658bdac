/* mime_text.h - bodies decoded: transfer encodings undone, text as UTF-8, and the text of a message for searching.
 *
 * Owns      nothing; appends to the caller's buf, whose max bounds what is produced.
 * Used by   the mailbox engine (BINARY, SEARCH, PREVIEW), dsn, fectl.
 * Fails     when `out` is full (<0, out->overflowed). Malformed encodings are skipped over, never refused.
 * Suspends  never.
 */
#pragma once

#include "base/buf.h"
#include "wire/mime.h"

/* ---- transfer encodings, piece by piece ------------------------------------------------------------------------- */

struct mime_decoder {                   /* any cut of the input gives the same output */
    enum mime_encoding encoding;
    uint32_t bits;                      /* base64: not yet a byte */
    unsigned count;
    int state;                          /* quoted-printable: inside an escape */
    char digit;
    bool space_long;
    size_t space_len;                   /* quoted-printable: white space that may turn out to end a line */
    char space[80];
};

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding);
int mime_decoder_feed(struct mime_decoder *d, struct slice in, struct buf *out);
int mime_decoder_finish(struct mime_decoder *d, struct buf *out);

/* Quoted-printable and base64 of whole pieces. 7bit, 8bit, binary and unknown encodings pass as they are. */
int mime_decode_body(const struct mime_part *part, struct slice message, struct buf *out);
/* The body as UTF-8, for text parts; line ends as they are. */
int mime_decode_text(const struct mime_part *part, struct slice message, struct buf *out);

/* ---- whole messages --------------------------------------------------------------------------------------------- */

enum mime_text_scope { MIME_TEXT_BODY, MIME_TEXT_ALL };
/* What SEARCH BODY (MIME_TEXT_BODY: every text part and the headers of attached messages) or TEXT (also the header) looks
 * at: decoded UTF-8, one piece per line group, pieces parted by "\n". HTML stays source text; attachment names are in.     */
int mime_render_search_text(const struct mime_part *root, struct slice message, enum mime_text_scope scope, struct buf *out);
/* That text in the order of parts, for who reads bodies in pieces: what stands in front of a part's own text, and whether there is one
 * (then a "\n" follows it). */
int mime_render_part_head(const struct mime_part *root, const struct mime_part *part, struct slice message, struct buf *out);
bool mime_is_searched(const struct mime_part *part);
/* "Name: decoded value\n" of every field of a header. */
int mime_render_header_text(struct slice header, struct buf *out);
/* First `chars` characters (not bytes) of readable text: plain text preferred, tags of HTML removed, white space joined
 * (RFC 8970 PREVIEW).                                                                                                    */
int mime_render_preview(const struct mime_part *root, struct slice message, size_t chars, struct buf *out);
/* Appends the text of HTML: tags, scripts, styles and comments removed, common entities decoded. */
int mime_strip_html(struct slice html, struct buf *out);
