/* http_internal.h - what the files of the HTTP server share: one connection and its request in work. */
#pragma once

#include "net/http_server.h"

#define HTTP_EXTRA_BYTES_MAX ((size_t)64 << 10)      /* headers a handler adds */

#define HTTP_GZIP_BYTES_MAX ((size_t)16 << 20)

enum http_reply_form { REPLY_NONE, REPLY_LENGTH, REPLY_CHUNKED, REPLY_UNTIL_CLOSE, REPLY_NO_BODY, REPLY_ENDED };

struct http_conn {
    struct http_server *server;
    struct stream *stream;                 /* NULL once upgraded */
    struct http_conn *next, **link;        /* the server's list; link NULL: not in it */
    size_t scanned;                        /* of the head that is coming in */
    uint64_t head_since_ms;                /* its first byte; 0: none yet */

    struct http_request rq;                /* the request in work; from here on reset for each */
    uint64_t body_left;                    /* of the body, or of the current chunk */
    uint64_t body_seen;
    uint64_t body_since_ms;
    bool body_ended, body_failed, chunk_open, continue_due;
    bool close;                            /* after this request */
    #define HTTP_GZIP_BYTES_MAX ((size_t)16 << 20)

enum http_reply_form form;
    unsigned status;
    uint64_t reply_left, reply_bytes;
    bool failed;                           /* the connection is of no further use */
    struct buf extra;
};

/* Takes it off the server's list and count: it is HTTP no longer. */
void http_conn_leave(struct http_conn *c);
struct deadline http_stall_deadline(const struct http_conn *c);
/* Reads what the handler left of the body, if that is little. False: the connection must end. */
bool http_body_drain(struct http_conn *c) SUSPENDS;
/* A whole answer without body worth mentioning, for what goes wrong before a handler runs. */
void http_reply_error(struct http_conn *c, unsigned status) SUSPENDS;
/* Did the handler set a header of that name? */
bool http_has_extra(const struct http_conn *c, struct slice name);
/* True: *out is `body` compressed, and smaller. `out` takes HTTP_GZIP_BYTES_MAX. */
bool http_try_gzip(struct http_request *rq, struct slice type, struct slice body, struct buf *out) SUSPENDS;
