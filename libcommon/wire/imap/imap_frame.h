/* imap_frame.h - where a command ends in the bytes that came so far (RFC 9051 2.2.1, RFC 7888).
 *
 * Owns      nothing; looks at the buffered bytes without taking them.
 * Used by   imap sessions, as the question a parked stream asks whenever input grew.
 * Fails     by its status; every number a peer chose has a limit here.
 * Suspends  never.
 */
#pragma once

#include "base/slice.h"

#define IMAP_LINE_MAX     ((size_t)64 << 10)   /* all lines of one command together */
#define IMAP_LITERAL_MAX  ((size_t)64 << 10)   /* one literal outside APPEND */
#define IMAP_COMMAND_MAX  ((size_t)256 << 10)  /* lines and literals of one command */

struct imap_limits {
    size_t line_max, literal_max, command_max;
};

enum imap_frame_status {
    IMAP_FRAME_MORE,              /* not all there */
    IMAP_FRAME_COMPLETE,          /* `bytes` is the command with its last line end */
    IMAP_FRAME_CONTINUE,          /* a synchronising literal follows `bytes`: "+" is owed, then grant `bytes` */
    IMAP_FRAME_APPEND,            /* `bytes` of an APPEND up to its first message, which is to be streamed */
    IMAP_FRAME_LINE_TOO_LONG,     /* give up the connection: no telling where the next command starts */
    IMAP_FRAME_LITERAL_TOO_BIG,   /* announced by the last line of `bytes`; `sync` tells whether its bytes are under way */
};

struct imap_frame {
    enum imap_frame_status status;
    size_t bytes;
    bool sync;
};

/* `granted`: up to there synchronising literals were already invited with "+" (0 at a command's start). */
struct imap_frame imap_frame_scan(struct slice buffered, size_t granted, const struct imap_limits *limits);

/* "{5}", "{5+}", "{5-}" or "~{5}" at the end of a line without its line end. */
struct imap_literal {
    uint64_t bytes;
    size_t at;                    /* offset of "{" or "~{" */
    bool sync, binary;
};
bool imap_literal_find(struct slice line, struct imap_literal *out);
