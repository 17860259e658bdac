/* proxy.c - parses a PROXY v2 header and matches address prefixes (see proxy.h).
 *
 * Layout: 12 bytes of signature, version and command, family and transport, two bytes of length,
 * addresses, TLVs. Everything is checked against `in` before it is read.
 */
#include "rt/proxy.h"

#include <arpa/inet.h>
#include "rt/stream_internal.h"

#define COMMAND_LOCAL 0x20 /* version 2 in the upper half */
#define COMMAND_PROXY 0x21
#define FAMILY_TCP4 0x11
#define FAMILY_TCP6 0x21

static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                   '\n', 'Q',  'U',  'I',  'T',  '\n'};

static uint16_t read_u16(const char *p)
{
    return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static bool set_v4(struct stream_addr *out, const char *ip, const char *port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};

    memcpy(&v4.sin_addr, ip, 4);
    memcpy(&v4.sin_port, port, 2);
    return stream_addr_set(out, (const struct sockaddr *)&v4, sizeof v4);
}

static bool set_v6(struct stream_addr *out, const char *ip, const char *port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    memcpy(&v6.sin6_addr, ip, 16);
    memcpy(&v6.sin6_port, port, 2);
    return stream_addr_set(out, (const struct sockaddr *)&v6, sizeof v6);
}

static bool parse_addresses(unsigned char family, struct slice body, struct proxy_header *out)
{
    if (family == FAMILY_TCP4 && body.n >= 12)
        return set_v4(&out->source, body.p, body.p + 8) &&
               set_v4(&out->destination, body.p + 4, body.p + 10);
    if (family == FAMILY_TCP6 && body.n >= 36)
        return set_v6(&out->source, body.p, body.p + 32) &&
               set_v6(&out->destination, body.p + 16, body.p + 34);
    return false;
}

size_t proxy_header_bytes(const char *fixed)
{
    return PROXY_FIXED_BYTES + (size_t)read_u16(fixed + 14);
}

int proxy_parse(struct slice in, struct proxy_header *out)
{
    struct proxy_header h = {0};
    unsigned char command;
    size_t total;

    if (in.n == 0)
        return 0;
    if (memcmp(in.p, signature, in.n < sizeof signature ? in.n : sizeof signature) != 0)
        return -1;
    if (in.n < PROXY_FIXED_BYTES)
        return 0;
    command = (unsigned char)in.p[12];
    total = proxy_header_bytes(in.p);
    if ((command != COMMAND_LOCAL && command != COMMAND_PROXY) || total > PROXY_HEADER_MAX)
        return -1;
    if (in.n < total)
        return 0;
    h.is_local = command == COMMAND_LOCAL;
    if (!h.is_local &&
        !parse_addresses((unsigned char)in.p[13],
                         slice_sub(in, PROXY_FIXED_BYTES, total - PROXY_FIXED_BYTES), &h))
        return -1;
    *out = h;
    return (int)total;
}

/* --- prefixes --------------------------------------------------------------------------------- */

struct address {
    unsigned char bytes[16];
    unsigned bits; /* 32 or 128 */
};

static bool parse_address(struct slice text, struct address *out)
{
    char ip[INET6_ADDRSTRLEN];

    if (!slice_copy_cstr(text, ip, sizeof ip))
        return false;
    out->bits = 32;
    if (inet_pton(AF_INET, ip, out->bytes) == 1)
        return true;
    out->bits = 128;
    return inet_pton(AF_INET6, ip, out->bytes) == 1;
}

static bool parse_prefix(struct slice text, struct address *out, unsigned *length)
{
    struct slice ip;
    uint32_t n;

    if (!slice_cut(&text, '/', &ip) || !parse_address(ip, out))
        return false;
    *length = out->bits;
    if (text.p == NULL || text.n == 0)
        return ip.n > 0;
    if (!slice_to_u32(text, out->bits, &n))
        return false;
    *length = n;
    return true;
}

bool address_prefix_is_valid(struct slice prefix)
{
    struct address a;
    unsigned length;

    return parse_prefix(prefix, &a, &length);
}

bool address_in_prefix(const char *ip, struct slice prefix)
{
    struct address a, b;
    unsigned length, whole;

    if (!parse_address(slice_of(ip), &a) || !parse_prefix(prefix, &b, &length) || a.bits != b.bits)
        return false;
    whole = length / 8;
    if (memcmp(a.bytes, b.bytes, whole) != 0)
        return false;
    return length % 8 == 0 || ((a.bytes[whole] ^ b.bytes[whole]) >> (8 - length % 8)) == 0;
}
