/* smtp_client_internal.h - what the two halves of the SMTP client share: the connection, and reading replies on it.
 *
 * Owns nothing. Used by smtp_client.c (opening, replies) and smtp_client_send.c (transactions).
 */
#pragma once

#include "net/smtp_client.h"
#include "rt/stream.h"

struct smtp_client {
    struct stream *stream;
    uint64_t command_ms, data_block_ms, data_end_ms;
    unsigned extensions;
    uint64_t size_limit;
    char helo[SMTP_DOMAIN_MAX + 1];
    bool usable;
    bool in_content;                      /* no QUIT now: it would be content */
    bool needs_reset;                     /* a transaction was left half way */
};

/* One whole reply; lines of the text are joined by a space. Strings live in `in`. */
int client_read_reply(struct smtp_client *c, uint64_t ms, struct deadline until, struct arena *in,
                      struct smtp_reply *out, struct fault *why) MUST_CHECK SUSPENDS;
int client_write(struct smtp_client *c, struct slice bytes, uint64_t ms, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
