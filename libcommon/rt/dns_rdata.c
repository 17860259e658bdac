/* dns_rdata.c - see dns_rdata.h. RFC 1035 3.3, 3.4; RFC 3596 2.2; RFC 6698 2.1.
 *
 * Owns nothing. Called by dns.c. Refuses what is malformed. Does not suspend.
 */
#include "rt/dns_rdata.h"

#include <arpa/inet.h>

#include "base/buf.h"

/* A name without compression (libunbound has undone it): labels to dotted lower case. Bytes that could not stand in a host
 * name as mail uses it (dots, spaces, controls, beyond ASCII) make it malformed rather than ambiguous.                        */
static bool name_parse(struct slice in, struct arena *a, struct slice *out)
{
    char text[256];
    size_t at = 0, n = 0;

    for (;;) {
        size_t len;

        if (at >= in.n)
            return false;
        len = (unsigned char)in.p[at++];
        if (len == 0)
            break;
        if (len > 63 || len > in.n - at || n + len + 1 > 255)
            return false;
        if (n > 0)
            text[n++] = '.';
        for (size_t i = 0; i < len; i++, at++) {
            unsigned char c = (unsigned char)in.p[at];

            if (c <= ' ' || c >= 0x7f || c == '.' || c == '\\')
                return false;
            text[n++] = ascii_lower(in.p[at]);
        }
    }
    *out = arena_copy(a, slice_make(text, n));
    return at == in.n;
}

static bool address_parse(int family, size_t size, struct slice in, struct arena *a, struct slice *out)
{
    char text[INET6_ADDRSTRLEN];

    if (in.n != size || inet_ntop(family, in.p, text, sizeof(text)) == NULL)
        return false;
    *out = arena_copy(a, slice_of(text));
    return true;
}

static bool txt_parse(struct slice in, struct arena *a, struct slice *out)
{
    AUTO(buf_free) struct buf text = BUF_INIT(DNS_TXT_MAX);

    while (in.n > 0) {
        size_t len = (unsigned char)in.p[0];

        if (len > in.n - 1 || buf_append(&text, slice_sub(in, 1, len)) < 0)
            return false;
        in = slice_tail(in, 1 + len);
    }
    *out = arena_copy(a, buf_slice(&text));
    return true;
}

static bool mx_parse(struct slice in, struct arena *a, struct dns_record *out)
{
    if (in.n < 3)
        return false;
    out->preference = (uint16_t)((unsigned char)in.p[0] << 8 | (unsigned char)in.p[1]);
    return name_parse(slice_tail(in, 2), a, &out->text);
}

static bool tlsa_parse(struct slice in, struct arena *a, struct dns_record *out)
{
    if (in.n < 4)
        return false;
    out->usage = (uint8_t)in.p[0];
    out->selector = (uint8_t)in.p[1];
    out->matching = (uint8_t)in.p[2];
    out->text = arena_copy(a, slice_tail(in, 3));
    return true;
}

bool dns_rdata_parse(enum dns_type type, struct slice rdata, struct arena *in, struct dns_record *out)
{
    *out = (struct dns_record){ .type = type };
    switch (type) {
    case DNS_A:
        return address_parse(AF_INET, 4, rdata, in, &out->text);
    case DNS_AAAA:
        return address_parse(AF_INET6, 16, rdata, in, &out->text);
    case DNS_NS:
    case DNS_CNAME:
    case DNS_PTR:
        return name_parse(rdata, in, &out->text);
    case DNS_MX:
        return mx_parse(rdata, in, out);
    case DNS_TXT:
        return txt_parse(rdata, in, &out->text);
    case DNS_TLSA:
        return tlsa_parse(rdata, in, out);
    }
    return false;
}
