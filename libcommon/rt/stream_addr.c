/* stream_addr.c - addresses of streams, from the kernel's form and from text.
 *
 * Owns nothing, never suspends. Called by stream.c, listener.c and proxy.c.
 */
#include <arpa/inet.h>
#include <sys/un.h>
#include "rt/stream_internal.h"

static void unmap_ipv4(struct stream_addr *a)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4 = {.sin_family = AF_INET};

    memcpy(&v6, &a->raw, sizeof v6);
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return;
    memcpy(&v4.sin_addr, &v6.sin6_addr.s6_addr[12], 4);
    v4.sin_port = v6.sin6_port;
    memset(&a->raw, 0, sizeof a->raw);
    memcpy(&a->raw, &v4, sizeof v4);
    a->raw_len = sizeof v4;
}

bool stream_addr_set(struct stream_addr *out, const struct sockaddr *raw, socklen_t raw_len)
{
    memset(out, 0, sizeof *out);
    if (raw_len > sizeof out->raw)
        return false;
    memcpy(&out->raw, raw, raw_len);
    out->raw_len = raw_len;
    if (out->raw.ss_family == AF_INET6)
        unmap_ipv4(out);
    if (out->raw.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&out->raw;

        out->port = ntohs(v4->sin_port);
        return inet_ntop(AF_INET, &v4->sin_addr, out->ip, sizeof out->ip) != NULL;
    }
    if (out->raw.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)&out->raw;

        out->port = ntohs(v6->sin6_port);
        return inet_ntop(AF_INET6, &v6->sin6_addr, out->ip, sizeof out->ip) != NULL;
    }
    return slice_copy_cstr(LIT("unix"), out->ip, sizeof out->ip);
}

static bool parse_unix(const char *path, struct stream_addr *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (!slice_copy_cstr(slice_of(path), un.sun_path, sizeof un.sun_path))
        return false;
    return stream_addr_set(out, (const struct sockaddr *)&un, sizeof un);
}

bool stream_addr_parse(const char *ip, uint16_t port, struct stream_addr *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (slice_has_prefix(slice_of(ip), LIT("unix:")))
        return parse_unix(ip + 5, out);
    if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
        return stream_addr_set(out, (const struct sockaddr *)&v4, sizeof v4);
    if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1)
        return stream_addr_set(out, (const struct sockaddr *)&v6, sizeof v6);
    return false;
}
