/* engine_body.h - a body on its way in, between the file that takes it in and the one that stores it. */
#pragma once

#include <openssl/evp.h>
#include "mailbox/body_image.h"
#include "mailbox/engine_internal.h"

#define BODY_PENDING_MAX 8            /* packed chunks that wait for engine_body_stage */

struct engine_body {
    uint64_t size, size_max;
    EVP_MD_CTX *hash;
    unsigned char digest[32];
    bool finished;

    /* up to ENGINE_INLINE_MAX */
    struct buf small;
    struct buf packed;                /* what goes into blobs */
    int stored;

    /* beyond */
    struct image image;
    struct buf chunk;                 /* bytes of the chunk being filled */
    struct buf pending[BODY_PENDING_MAX];
    size_t pending_count;
    uint32_t chunks_staged;
    int64_t body_id;                  /* row staged in `engine`; 0: none */
    struct engine *engine;

    /* rendered by finish */
    struct buf parts, envelope, structure, body, preview;
    bool has_sent_day;
    int64_t sent_day;
};

/* body_render.c: parts, ENVELOPE, BODYSTRUCTURE, BODY, preview, Date */
int body_render(struct engine_body *b, struct fault *why);
