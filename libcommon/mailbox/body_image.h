/* body_image.h - a large message in memory for the MIME parser, without the bytes no parser needs (see body_image.c). */
#pragma once

#include "base/fault.h"
#include "base/slice.h"

struct punched { uint64_t from, to, lines; };     /* bytes that are not kept, and the line ends in them */

struct image {
    char *p;                          /* bytes at their offsets; NULL: not begun */
    uint64_t size, size_max;
    uint64_t line_at, scan_at;        /* start of the line, and of what was not looked at yet */
    bool after_blank;                 /* the line before was blank */
    uint64_t run_at;                  /* start of the body of a leaf part; UINT64_MAX: none */
    struct punched *punched;
    size_t punched_count, punched_cap;
};

int image_begin(struct image *m, uint64_t size_max, struct fault *why) MUST_CHECK;
void image_write(struct image *m, struct slice bytes);            /* at most size_max in all */
void image_end(struct image *m);                                  /* closer; *m may be begun again */
struct slice image_slice(const struct image *m);
uint64_t image_lines_lost(const struct image *m, uint64_t from, uint64_t to);
bool image_has_lost(const struct image *m, uint64_t from, uint64_t to);   /* some of these bytes */
