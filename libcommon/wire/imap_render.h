/* imap_render.h - ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 7.5.2) as the text that goes on the wire.
 *
 * Owns      nothing. Appends to the caller's buf.
 * Used by   the mailbox engine (once per message, at delivery), imap.
 * Fails     only when `out` is full (<0). NULs are dropped: no IMAP string may hold one.
 * Suspends  never. Recurses at most MIME_DEPTH_MAX deep, about 200 bytes of stack a level.
 */
#pragma once

#include "base/buf.h"
#include "wire/mime.h"

#define IMAP_QUOTED_MAX 1024            /* longer strings are sent as literals */

enum imap_body_form { IMAP_BODY, IMAP_BODYSTRUCTURE };

/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)" of a message's header. */
int imap_render_envelope(struct slice header, struct buf *out);
/* BODY leaves the extension data out. `message` is what mime_parse saw. */
int imap_render_body(const struct mime_part *root, struct slice message, enum imap_body_form form, struct buf *out);

/* string: quoted when it may be, else literal (8-bit bytes make a literal). nstring: NIL when p is NULL. */
int imap_render_string(struct slice s, struct buf *out);
int imap_render_nstring(struct slice s, struct buf *out);
