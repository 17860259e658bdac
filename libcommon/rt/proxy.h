/* proxy.h - the PROXY protocol, version 2: a balancer says whose connection this is. And address prefixes.
 *
 * Pure functions over bytes: no I/O, no clock, no allocation, nothing owned. Used by listener.c.
 */
#pragma once

#include "base/slice.h"
#include "rt/stream.h"

#define PROXY_FIXED_BYTES 16           /* signature, version and command, family, length of the rest */
#define PROXY_HEADER_MAX 1024          /* fixed bytes, two addresses, and room for TLVs, which are ignored */

struct proxy_header {
    bool is_local;                     /* the balancer's own connection, such as a health check: keep the real addresses */
    struct stream_addr source, destination;
};

/* Bytes the header takes, 0 when more are needed, -1 when it is none or not acceptable. */
int proxy_parse(struct slice in, struct proxy_header *out) MUST_CHECK;
/* Length of the whole header, from its first PROXY_FIXED_BYTES. */
size_t proxy_header_bytes(const char *fixed);

/* Is `ip` (numeric) one of "192.0.2.7", "192.0.2.0/24", "2001:db8::/32"? False for anything malformed. */
bool address_in_prefix(const char *ip, struct slice prefix);
bool address_prefix_is_valid(struct slice prefix);
