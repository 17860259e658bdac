/* sealed_record.c - see sealed_record.h.
 *
 * Owns nothing; called by sealed_crypt.c and sealed_log.c. Parsing refuses what cannot be a record. Does not suspend.
 */
#include "mailbox/sealed_record.h"

#include <zlib.h>

#include "base/encode.h"

#define BOUND_FROM 12

static unsigned char *put(unsigned char *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *p++ = (unsigned char)(v >> (8 * i));
    return p;
}

static uint64_t get(const unsigned char **p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)*(*p)++ << (8 * i);
    return v;
}

static unsigned char *put_bytes(unsigned char *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

static void get_bytes(const unsigned char **p, void *to, size_t n)
{
    memcpy(to, *p, n);
    *p += n;
}

void sealed_head_format(const struct sealed_head *h, uint32_t crc, unsigned char out[SEALED_HEAD_BYTES])
{
    unsigned char *p = out;

    p = put(p, SEALED_MAGIC, 4);
    p = put(p, crc, 4);
    p = put(p, (uint64_t)h->type, 4);
    p = put_bytes(p, h->alias, SEALED_ALIAS);
    p = put_bytes(p, h->id.b, 16);
    p = put(p, h->seq, 8);
    p = put(p, (uint64_t)h->arrived_ms, 8);
    p = put_bytes(p, h->mark, 32);
    p = put_bytes(p, h->generation, 8);
    p = put(p, h->body_bytes, 8);
    p = put_bytes(p, h->box, SEALED_BOX);
    (void)put_bytes(p, h->stream, SEALED_STREAM);
}

bool sealed_head_parse(const unsigned char in[SEALED_HEAD_BYTES], struct sealed_head *h, uint32_t *crc)
{
    const unsigned char *p = in;

    if (get(&p, 4) != SEALED_MAGIC)
        return false;
    *crc = (uint32_t)get(&p, 4);
    h->type = (enum sealed_record_type)get(&p, 4);
    get_bytes(&p, h->alias, SEALED_ALIAS);
    get_bytes(&p, h->id.b, 16);
    h->seq = get(&p, 8);
    h->arrived_ms = (int64_t)get(&p, 8);
    get_bytes(&p, h->mark, 32);
    get_bytes(&p, h->generation, 8);
    h->body_bytes = get(&p, 8);
    get_bytes(&p, h->box, SEALED_BOX);
    get_bytes(&p, h->stream, SEALED_STREAM);
    return h->type >= SEALED_ITEM && h->type <= SEALED_PURGED && h->body_bytes <= 2 * SEALED_ITEM_MAX;
}

uint32_t sealed_crc(const unsigned char head[SEALED_HEAD_BYTES], struct slice body)
{
    uLong crc = crc32(0, head, 4);

    crc = crc32(crc, head + 8, SEALED_HEAD_BYTES - 8);
    if (body.n > 0)                    /* a record's inline body is far below 4 GiB */
        crc = crc32(crc, (const unsigned char *)body.p, (uInt)body.n);
    return (uint32_t)crc;
}

struct slice sealed_head_bound(const unsigned char head[SEALED_HEAD_BYTES])
{
    return slice_make(head + BOUND_FROM, SEALED_HEAD_BYTES - BOUND_FROM);
}

bool sealed_alias_parse(struct slice alias_id, unsigned char out[SEALED_ALIAS])
{
    return alias_id.n == 2 * SEALED_ALIAS && hex_decode(alias_id, out, SEALED_ALIAS);
}

void sealed_generation(struct slice key, unsigned char out[8])
{
    unsigned char digest[32];

    sha256(key, digest);
    memcpy(out, digest, 8);
}

uint64_t sealed_padded(uint64_t n)
{
    unsigned bits, precision;
    uint64_t mask;

    if (n < 256)
        return 256;
    bits = 63u - (unsigned)__builtin_clzll(n);
    precision = 64u - (unsigned)__builtin_clzll((uint64_t)bits);
    mask = ((uint64_t)1 << (bits - precision)) - 1;
    return (n + mask) & ~mask;
}
