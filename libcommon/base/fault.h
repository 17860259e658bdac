/* fault.h - what went wrong in the world (disk, network, database, peer's authority), for a caller to map.
 *
 * A function that can fail returns int < 0 and fills a struct fault; on success `why` is untouched.
 * `text` is for our log only; peers get a reply chosen by `code`. Never put a secret in it.
 */
#pragma once

#include <stdarg.h>
#include "base/macros.h"

enum fault_code {
    FAULT_NONE = 0,
    FAULT_INVALID,        /* an argument the caller (finally a peer) chose is not acceptable */
    FAULT_NOT_FOUND,
    FAULT_EXISTS,
    FAULT_DENIED,         /* wrong password, no right, switched off */
    FAULT_CONFLICT,       /* somebody else changed it first */
    FAULT_LIMIT,          /* a named limit was reached: too big, too many, too fast */
    FAULT_QUOTA,          /* the mailbox's quota */
    FAULT_DISK_FULL,
    FAULT_UNAVAILABLE,    /* the other side is away or busy; trying again may help */
    FAULT_TIMEOUT,        /* the deadline passed */
    FAULT_CANCELED,       /* this fiber was asked to stop */
    FAULT_CLOSED,         /* the peer closed the connection */
    FAULT_PROTOCOL,       /* the peer broke the protocol */
    FAULT_CORRUPT,        /* stored data is damaged, or the key is wrong */
    FAULT_IO,             /* any other error of the operating system or a library */
    FAULT_CODE_COUNT
};

struct fault {
    enum fault_code code;
    char text[236];
};

/* Fills `why` (which may be NULL) and returns -1, so that `return fault_set(...)` reads well. A macro,
 * as are the two below, so that compiler and analyser know the result without seeing fault.c.          */
#define fault_set(why, code, ...) fault_failed(fault_record(why, code, __VA_ARGS__))
/* From errno `err`: ENOSPC and EDQUOT give FAULT_DISK_FULL, ENOENT FAULT_NOT_FOUND, ECONNREFUSED
 * and the like FAULT_UNAVAILABLE, ETIMEDOUT FAULT_TIMEOUT, the rest FAULT_IO.                      */
#define fault_errno(why, err, ...) fault_failed(fault_record_errno(why, err, __VA_ARGS__))
/* Puts "what: " before the text. Returns -1. */
#define fault_prefix(why, ...) fault_failed(fault_record_prefix(why, __VA_ARGS__))
const char *fault_code_name(enum fault_code code);            /* "not_found", as on the wire */
enum fault_code fault_code_parse(const char *name);           /* FAULT_IO when unknown */

/* what the macros stand on */
int fault_record(struct fault *why, enum fault_code code, const char *format, ...) PRINTF_LIKE(3, 4);
int fault_record_errno(struct fault *why, int err, const char *format, ...) PRINTF_LIKE(3, 4);
int fault_record_prefix(struct fault *why, const char *format, ...) PRINTF_LIKE(2, 3);
static inline int fault_failed(int recorded) { (void)recorded; return -1; }
