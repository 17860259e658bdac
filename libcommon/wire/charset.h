/* charset.h - any charset a mail names, as UTF-8.
 *
 * Owns      nothing that outlives a call, but for struct charset_stream.
 * Used by   rfc5322, mime_text.
 * Fails     never: an unknown charset is read as UTF-8, or windows-1252 where that is not valid; bytes that mean nothing
 *           become U+FFFD. Safe on any thread.
 * Suspends  never.
 */
#pragma once

#include "base/buf.h"

#define CHARSET_NAME_MAX 64

/* Appends `in` as UTF-8. <0 only when `out` is full. */
int charset_to_utf8(struct slice charset, struct slice in, struct buf *out);

/* The same for text that comes in pieces; any cut of the input gives the same output. */
struct charset_stream {
    int way;                            /* enum charset_way */
    bool guessed;
    void *cd;                           /* iconv's, or NULL */
    size_t held_count;
    char held[32];                      /* the beginning of a character that goes on in the next piece */
};
/* Is an unknown charset, read as UTF-8 only when the input as a whole is UTF-8? Then charset_stream_begin() must be told. */
bool charset_is_guessed(struct slice charset);
void charset_stream_begin(struct charset_stream *s, struct slice charset, bool is_utf8);
int charset_stream_feed(struct charset_stream *s, struct slice in, struct buf *out);
int charset_stream_finish(struct charset_stream *s, struct buf *out);    /* releases what it owns, also on failure */
void charset_stream_end(struct charset_stream *s);                       /* closer, for who stops before */

/* Is text that comes in pieces UTF-8? */
struct utf8_check { bool bad; size_t held_count; char held[4]; };
void utf8_check_feed(struct utf8_check *c, struct slice in);
bool utf8_check_finish(const struct utf8_check *c);

/* Whether the name means something here (IMAP SEARCH CHARSET). */
bool charset_is_known(struct slice charset);
