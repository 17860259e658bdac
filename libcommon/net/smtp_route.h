/* smtp_route.h - from a domain to an open SMTP connection: MX, addresses, DANE, one try after the other (RFC 5321 5.1, 7505, 7672).
 *
 * Owns      nothing: results live in the caller's arena; the client is the caller's.
 * Used by   mx (forwards), smtp-bree.
 * Threads   the loop thread; suspends where marked.
 */
#pragma once

#include "net/smtp_client.h"

#define SMTP_ROUTE_HOSTS_MAX     20
#define SMTP_ROUTE_ADDRESSES_MAX 20       /* tried in one smtp_route_connect */

struct smtp_host {
    struct slice name;                    /* lower case, without final dot; or the text of an address */
    uint16_t preference;
};

struct smtp_route {
    struct smtp_host *hosts;              /* best first; equals shuffled */
    size_t count;
    bool secure;                          /* the MX answer was validated by DNSSEC: DANE may be used */
};

/* Hosts for `domain` (A-labels, or "[address]"). *refusal carries the verdict when there can be none: 550 5.1.2 no such domain,
 * 556 5.1.10 null MX (RFC 7505); then the result is 0 with count 0. <0: DNS failed, try later.                            */
int smtp_route_find(struct slice domain, struct arena *in, struct deadline until, struct smtp_route *out,
                    struct smtp_reply *refusal, struct fault *why) MUST_CHECK SUSPENDS;

struct smtp_route_options {
    struct slice domain;                  /* where to; A-labels or "[address]" */
    struct slice host;                    /* not empty: this host (name or numeric) instead of an MX look-up: relays, custom ports */
    uint16_t port;                        /* 0: 25 */
    const char *local_ip, *helo;
    struct tls_client *tls;
    enum smtp_tls_policy policy;          /* the least; NONE and OPPORTUNISTIC rise to DANE where usable TLSA records are, unless dane is off */
    bool dane;
    bool allow_private;                   /* loopback and private addresses may be dialled (tests, relays inside) */
    /* MTA-STS: may this MX be used? NULL: all */
    bool (*host_is_allowed)(struct slice host, void *arg);
    void *arg;
    uint64_t connect_ms;                  /* per address; 0: 30 s */
};

struct smtp_connected {
    struct smtp_client *client;           /* the caller's */
    struct slice host, ip;
    uint16_t preference;
    enum smtp_tls_policy policy;          /* what was asked of this connection */
};

/* Tries hosts and addresses in order. On failure *refusal is what a remote said last (or the verdict of smtp_route_find), code 0
 * when nobody said anything; `why` the last trouble. An opportunistic handshake that fails is followed by one try in the clear. */
int smtp_route_connect(const struct smtp_route_options *options, struct arena *in, struct deadline until,
                       struct smtp_connected *out, struct smtp_reply *refusal, struct fault *why) MUST_CHECK SUSPENDS;

/* Loopback, private, link-local, multicast, unspecified: nothing a stranger's DNS may make us dial. */
bool smtp_address_is_private(const char *ip);
