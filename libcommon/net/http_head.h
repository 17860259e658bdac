/* http_head.h - parses the head of a request (request line and headers) on llhttp, strictly.
 *
 * Owns nothing: slices point into `head`. Called by http_server.c. Pure: no I/O. Never suspends.
 */
#pragma once

#include "net/http_server.h"

/* Bytes of the head at the front of `buffered` including its empty line; 0: not complete. `*scanned` remembers how far
 * earlier calls looked (start with 0), so that a slow peer costs linear time. A bare LF also ends it: parsing then refuses. */
size_t http_head_find_end(struct slice buffered, size_t *scanned);

/* Fills method ... body_bytes of *rq. 0, or the status to refuse with: 400 414 431 501 505. */
unsigned http_head_parse(struct slice head, struct arena *in, struct http_request *rq);
