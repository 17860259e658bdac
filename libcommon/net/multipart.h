/* multipart.h - multipart/form-data as it arrives (RFC 7578, RFC 2046 5.1): bytes in, parts out, nothing kept but what may be a boundary.
 *
 * Owns      its buffer: at most one header block, or one piece of the input and a boundary.
 * Used by   api (uploads).
 * Threads   any; suspends only where its handlers do.
 */
#pragma once

#include "base/buf.h"
#include "base/fault.h"

#define MULTIPART_BOUNDARY_MAX 70              /* RFC 2046 5.1.1 */
#define MULTIPART_HEADER_MAX   ((size_t)8 << 10)
#define MULTIPART_PADDING_MAX  256             /* blanks behind a boundary */
#define MULTIPART_PARTS_MAX    1052            /* 1000 fields, 52 files */

struct multipart_handlers {                    /* all may fail: the feed fails with their fault */
    int (*part)(void *arg, struct slice header, struct fault *why);        /* a part begins; its header lines without the blank one */
    int (*data)(void *arg, struct slice bytes, struct fault *why);         /* some of its bytes */
    int (*end)(void *arg, struct fault *why);                              /* it is complete */
};

struct multipart {                             /* private */
    const struct multipart_handlers *handlers;
    void *arg;
    struct buf in;
    char mark[MULTIPART_BOUNDARY_MAX + 5];     /* CR LF "--" boundary */
    size_t mark_bytes;
    unsigned parts;
    enum { MULTIPART_PREAMBLE, MULTIPART_HEADER, MULTIPART_BODY, MULTIPART_EPILOGUE } state;
};

/* FAULT_INVALID: no boundary, or one that is too long. */
int multipart_init(struct multipart *m, struct slice boundary, const struct multipart_handlers *handlers, void *arg, struct fault *why) MUST_CHECK;
void multipart_deinit(struct multipart *m);    /* closer; harmless twice */
/* FAULT_PROTOCOL: malformed; FAULT_LIMIT: a named limit. After a fault only deinit. */
int multipart_feed(struct multipart *m, struct slice bytes, struct fault *why) MUST_CHECK;
/* FAULT_PROTOCOL: the last boundary is missing. */
int multipart_finish(const struct multipart *m, struct fault *why) MUST_CHECK;
