/* engine_body.h - a body on its way in, between the file that takes it in and the one that stores it. */
#pragma once

#include <openssl/evp.h>
#include "mailbox/engine_internal.h"

#define BODY_PENDING_MAX 8            /* packed chunks that wait for engine_body_stage */

struct punched { uint64_t from, to, lines; };     /* bytes of the image that are not kept, line ends in them */

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
    char *image;                      /* the bytes at their offsets; punched ranges read as zeros and cost no memory */
    uint64_t line_at, scan_at;        /* start of the line, and of what was not looked at yet */
    uint64_t run_at;                  /* start of the run of base64 lines; UINT64_MAX: none */
    struct punched *punched;
    size_t punched_count, punched_cap;
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

/* body_image.c: the image of a large body */
int image_begin(struct engine_body *b, struct fault *why);
void image_write(struct engine_body *b, struct slice bytes);
void image_end(struct engine_body *b);
uint64_t image_lines_lost(const struct engine_body *b, uint64_t from, uint64_t to);
/* body_render.c: parts, ENVELOPE, BODYSTRUCTURE, BODY, preview, Date */
int body_render(struct engine_body *b, struct fault *why);
