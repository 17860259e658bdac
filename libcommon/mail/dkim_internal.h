/* dkim_internal.h - what dkim_*.c and arc_*.c share. */
#pragma once

#include <openssl/evp.h>

#include "base/buf.h"
#include "mail/dkim.h"
#include "mail/dkim_canon.h"
#include "mail/dkim_tags.h"

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
};

/* dkim_key.c: another owner of the same key */
struct dkim_key *dkim_key_again(const struct dkim_key *k);

/* dkim_sign.c */
int dkim_sign_data(const struct dkim_key *k, struct slice data, struct arena *a, struct slice *out, struct fault *why) MUST_CHECK;
void dkim_append_folded(struct buf *out, struct slice base64);
void dkim_append_names_folded(struct buf *out, struct slice names);
/* The names DKIM signs that are in the message, "a:b:c", and their canonical fields. Returns how many From fields. */
size_t dkim_sign_fields(const struct dkim_field *fields, size_t count, struct buf *names, struct buf *data);
/* Fields of one name from the bottom up (5.4.2), each also listed in `names`. */
size_t dkim_append_named(const struct dkim_field *fields, size_t count, struct slice name, struct buf *names, struct buf *data);

/* dkim_verify.c */
bool dkim_parse_canon(struct slice c, bool *relaxed_header, bool *relaxed_body) MUST_CHECK;
bool dkim_list_has(struct slice list, char separator, struct slice word);
EVP_PKEY *dkim_load_public(struct slice raw, bool ed25519);            /* NULL: none of that kind */
bool dkim_signature_is_right(EVP_PKEY *key, struct slice signature, struct slice data);
/* The fields `names` lists, each name taking the next one from the bottom, then the signature's own field with an empty b=
 * (3.7). <0: too much.                                                                                               */
int dkim_signed_data(struct arena *a, const struct dkim_field *fields, size_t count, struct slice names, struct slice signature_field,
                     bool relaxed, struct buf *out);
