/* dkim_canon.h - canonical forms of RFC 6376 3.4 and the header fields of a message; private to dkim_*.c.
 *
 * Owns a digest per struct dkim_body. Never suspends.
 */
#pragma once

#include <openssl/evp.h>

#include "base/arena.h"
#include "base/buf.h"

struct dkim_body {                     /* streaming hash of a body */
    EVP_MD_CTX *md;
    bool relaxed;
    bool space;                        /* relaxed: white space is held back */
    bool cr;                           /* a CR is held back */
    bool line_empty;                   /* nothing of the current line has been hashed */
    uint64_t blank_lines;              /* held back until something follows */
    uint64_t bytes;                    /* canonical bytes so far */
    uint64_t limit, hashed;            /* l=: only the first `limit` canonical bytes are hashed */
};
void dkim_body_init(struct dkim_body *b, bool relaxed, uint64_t limit);
void dkim_body_add(struct dkim_body *b, struct slice bytes);
void dkim_body_end(struct dkim_body *b, unsigned char digest[32]);
void dkim_body_free(struct dkim_body *b);

struct dkim_field {
    struct slice raw;                  /* "Name: value" with folding, without the last CRLF */
    struct slice name;
};
/* All fields, in order. Lines that are no field are skipped. */
size_t dkim_fields(struct arena *a, struct slice header, struct dkim_field **out);
/* Appends the field in its canonical form, with CRLF unless `last`. */
void dkim_field_append(struct buf *out, struct slice raw, bool relaxed, bool last);
