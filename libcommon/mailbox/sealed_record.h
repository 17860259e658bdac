/* sealed_record.h - bytes of one record of the sealed log; private to sealed_*.c.
 *
 * Owns nothing. Integers are little-endian. A record: fixed head, then the cipher text unless it is external.
 */
#pragma once

#include "mailbox/sealed.h"

#include <sodium.h>

enum sealed_record_type { SEALED_ITEM = 1, SEALED_ITEM_EXTERNAL = 2, SEALED_GONE = 3, SEALED_PURGED = 4 };   /* PURGED: gone, and it matters that it stays gone */

#define SEALED_MAGIC      0x31524c53u          /* "SLR1" */
#define SEALED_ALIAS      12
#define SEALED_BOX        (32 + crypto_box_SEALBYTES)
#define SEALED_OWN_BOX    (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + 32)
#define SEALED_STREAM     crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define SEALED_CHUNK      (64u << 10)
#define SEALED_CHUNK_OVER (4 + crypto_secretstream_xchacha20poly1305_ABYTES)
#define SEALED_HEAD_BYTES (4 + 4 + 4 + SEALED_ALIAS + 16 + 8 + 8 + 32 + 8 + 8 + SEALED_BOX + SEALED_STREAM)

struct sealed_head {
    enum sealed_record_type type;
    unsigned char alias[SEALED_ALIAS];
    struct sealed_id id;
    uint64_t seq;
    int64_t arrived_ms;
    unsigned char mark[32];
    unsigned char generation[8];               /* of the public key, or of the own key: hashed */
    uint64_t body_bytes;                       /* cipher text, here or in the item's own file */
    unsigned char box[SEALED_BOX];             /* the item's key, sealed to the alias; or nonce and secretbox under its own key, zeros */
    unsigned char stream[SEALED_STREAM];
};

/* `crc` covers head and inline body, so a torn write is seen. */
void sealed_head_format(const struct sealed_head *h, uint32_t crc, unsigned char out[SEALED_HEAD_BYTES]);
bool sealed_head_parse(const unsigned char in[SEALED_HEAD_BYTES], struct sealed_head *h, uint32_t *crc);
uint32_t sealed_crc(const unsigned char head[SEALED_HEAD_BYTES], struct slice body);
/* The part of the head that the last chunk authenticates: all but magic, crc and type. */
struct slice sealed_head_bound(const unsigned char head[SEALED_HEAD_BYTES]);
bool sealed_alias_parse(struct slice alias_id, unsigned char out[SEALED_ALIAS]);
void sealed_generation(struct slice key, unsigned char out[8]);
/* Padme: at most 12 % more, and only O(log log) of the size shows. */
uint64_t sealed_padded(uint64_t n);
