/* received.h - the trace field each hop adds (RFC 5321 4.4, RFC 3848, RFC 8314), and counting them against loops.
 *
 * Owns nothing; results live in the arena. Used by mx and smtp. Never fails, never suspends.
 */
#pragma once

#include "base/arena.h"

#define RECEIVED_MAX 25                /* more in one message: it runs in circles */

struct received {
    struct slice helo;                 /* as the client said; what may not stand in a header becomes "?" */
    struct slice ip;                   /* empty: left out, like helo and ptr (submission hides its clients) */
    struct slice ptr;                  /* reverse name or empty */
    struct slice by;                   /* our host name */
    struct slice software;             /* in the comment behind it, or empty */
    struct slice protocol;             /* "ESMTPS" */
    struct slice id;                   /* or empty */
    struct slice recipient;            /* only when there is one; or empty */
    struct slice tls_version, tls_cipher;
    int64_t now_ms;
};

/* "Received: ...\r\n", folded */
struct slice received_format(struct arena *a, const struct received *r);
/* RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, and UTF8SMTP... of RFC 6531. */
const char *received_protocol(bool esmtp, bool tls, bool authenticated, bool utf8);
size_t received_count(struct slice header);
