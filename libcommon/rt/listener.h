/* listener.h - accepts connections and hands each to a fiber as a struct stream.
 *
 * Owns the listening sockets. Callbacks run on fresh fibers and own their stream. Accepting pauses while
 * `max_connections` are open. Loop thread only; opening does not suspend.
 */
#pragma once

#include "rt/stream.h"

struct listener;

/* What the pointers point to must live as long as the listener; `tls` is counted. */
struct listener_options {
    const char *name;                          /* for logs and metrics, a literal */
    const char *bind_address;                  /* "" or NULL: all, IPv4 and IPv6 */
    uint16_t port;                             /* 0: any free one (tests), see listener_port */
    const char *unix_path;                     /* instead of a port, or NULL */
    struct tls_server *tls;                    /* implicit TLS, or NULL */
    bool reuse_port;                           /* SO_REUSEPORT, for WORKERS > 1 */
    const char *const *proxy_from;             /* addresses/prefixes that must send a PROXY v2 header, NULL-terminated; or NULL */
    unsigned max_connections;                  /* 0: 10,000 */
    unsigned newcomers_max;                    /* connections of one address (IPv6: of its /64) before listener_know_peer(); 0: any */
    const char *const *newcomers_exempt;       /* addresses that are not counted, NULL-terminated; or NULL */
    const char *newcomers_refusal;             /* what one too many reads before the end, with its CRLF */
    bool client_begins;                        /* the protocol's client speaks first: the refusal answers it */
    uint64_t handshake_ms;                     /* time for PROXY header and TLS handshake; 0: 30 s */
    void (*accept)(struct stream *s, void *arg) SUSPENDS;   /* on a fiber of its own */
    void *arg;
};

int listener_open(const struct listener_options *options, struct listener **out, struct fault *why) MUST_CHECK;
uint16_t listener_port(const struct listener *l);
unsigned listener_connection_count(const struct listener *l);   /* streams accepted and not closed yet */
/* The peer has shown who it is: its connection counts among newcomers no more. Harmless on streams of elsewhere. */
void listener_know_peer(struct stream *s);
void listener_close(struct listener **l);                       /* stops accepting; streams live on */
