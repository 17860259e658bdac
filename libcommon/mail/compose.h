/* compose.h - a message built from its parts: header fields, text, HTML, attachments (RFC 5322, RFC 2045-2047, RFC 2231, RFC 2183).
 *
 * Owns      nothing: everything in struct compose is borrowed. The header comes whole, the body is streamed to a sink, so that
 *           attachments need not be in memory.
 * Used by   api.
 * Threads   any; suspends only where the sink or a part's reader does.
 *
 * What goes out has CRLF line ends only, lines of at most 998 bytes (76 where it is encoded), and no header can be smuggled in: a
 * value with CR, LF or NUL is refused, other control characters become blanks.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"

#define COMPOSE_PARTS_MAX   100                /* attachments and alternatives */
#define COMPOSE_HEADERS_MAX 100                /* of the caller's own */
#define COMPOSE_VALUE_MAX   8192               /* bytes of one header value */
#define COMPOSE_TYPE_MAX    200
#define COMPOSE_CID_MAX     200
#define COMPOSE_NAME_MAX    1000               /* bytes of a file's name */
#define COMPOSE_BOUNDARY_BYTES 32

struct compose_header { struct slice name, value; };

/* The next piece of a part's content; *piece empty: end. Called from the start once. */
typedef int (*compose_pull)(void *arg, struct slice *piece, struct fault *why);

struct compose_part {
    struct slice filename;                     /* UTF-8; may be empty */
    struct slice type;                         /* "image/png"; empty: application/octet-stream */
    struct slice cid;                          /* without brackets; not empty: belongs to the HTML */
    bool is_inline;                            /* Content-Disposition */
    const struct compose_header *headers;      /* more, of this part */
    size_t header_count;
    struct slice content;                      /* decoded; or */
    compose_pull pull;                         /* NULL: `content` */
    void *arg;
};

enum compose_encoding { COMPOSE_SHORTEST, COMPOSE_QP, COMPOSE_BASE64 };

struct compose {
    struct slice from, sender, reply_to, to, cc;         /* address lists, formatted by compose_addresses; empty: no such field */
    struct slice subject;                      /* UTF-8 */
    struct slice date;                         /* RFC 5322 text; empty: none (submission adds one) */
    struct slice message_id, in_reply_to, references;    /* as they stand in the field, with brackets; empty: none */
    const struct compose_header *headers;      /* more fields; values UTF-8 */
    size_t header_count;
    struct slice text, watch_html, amp, html;  /* UTF-8; p NULL: absent */
    struct slice ical, ical_method;            /* an invitation; ical p NULL: none */
    enum compose_encoding encoding;            /* of the texts */
    const struct compose_part *alternatives, *attachments;
    size_t alternative_count, attachment_count;
    char boundary[COMPOSE_BOUNDARY_BYTES + 1]; /* random letters and digits: compose_boundary */
};

void compose_boundary(struct compose *m);
/* A display name and an address, as header text: name quoted or encoded where it has to be. FAULT_INVALID: CR, LF, NUL, or no address. */
int compose_address(struct arena *a, struct slice name, struct slice address, struct slice *out, struct fault *why) MUST_CHECK;

/* The whole header with its blank line. FAULT_INVALID: a name or value that may not stand there; FAULT_LIMIT. */
int compose_header(const struct compose *m, struct arena *a, struct slice *out, struct fault *why) MUST_CHECK;

typedef int (*compose_sink)(void *arg, struct slice bytes, struct fault *why);
/* Everything behind the blank line. */
int compose_body(const struct compose *m, compose_sink sink, void *arg, struct fault *why) MUST_CHECK;
