/* mx_trace.h - header fields of others that are not passed on, and the one that says whose mail it was.
 *
 * Owns nothing: texts live in the arena given. Called by mx_session.c and mx_deliver.c. Pure; never suspends.
 */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

/* The header without Return-Path, X-Forward-Email-Sender, and Authentication-Results that claim to be from `authserv_id`
 * (RFC 8601 5). A missing blank line is put behind.                                                                   */
struct slice mx_trace_strip(struct arena *a, struct slice header, struct slice authserv_id);
/* "X-Forward-Email-Sender: rfc822; from, ptr, ip\r\n"; from and ptr may be empty. */
struct slice mx_trace_sender(struct arena *a, struct slice from, const char *ptr, const char *ip);
