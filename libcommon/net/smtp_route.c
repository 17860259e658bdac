/* smtp_route.c - see smtp_route.h.
 *
 * Owns      nothing. Called by mx and smtp-bree. What can fail: DNS and every remote, in any
 * mixture. Suspends throughout.
 */
#include "net/smtp_route.h"

#include <arpa/inet.h>

#include "base/secret.h"
#include "rt/dns.h"

/* ---- addresses
 * ---------------------------------------------------------------------------------------------------
 */

static bool v4_is_private(uint32_t ip)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } row[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},
        {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0a80000, 16},
        {0xc6120000, 15}, {0xe0000000, 4},  {0xf0000000, 4},
    };

    for (size_t i = 0; i < COUNT(row); i++)
        if ((ip ^ row[i].net) >> (32 - row[i].bits) == 0)
            return true;
    return false;
}

bool smtp_address_is_private(const char *ip)
{
    struct in_addr v4;
    struct in6_addr v6;
    const unsigned char *b = v6.s6_addr;

    if (inet_pton(AF_INET, ip, &v4) == 1)
        return v4_is_private(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, ip, &v6) != 1)
        return true;
    if (IN6_IS_ADDR_V4MAPPED(&v6) || (b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b))
        return v4_is_private((uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 |
                             b[15]);
    return IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_LOOPBACK(&v6) ||
           IN6_IS_ADDR_LINKLOCAL(&v6) || IN6_IS_ADDR_MULTICAST(&v6) || IN6_IS_ADDR_SITELOCAL(&v6) ||
           (b[0] & 0xfe) == 0xfc;
}

/* The address when `text` is one, with or without the brackets of RFC 5321 4.1.3. */
static bool numeric(struct slice text, struct arena *in, struct slice *ip)
{
    unsigned char raw[16];
    const char *s;

    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = slice_sub(text, 1, text.n - 2);
    if (slice_has_prefix_nocase(text, LIT("IPv6:")))
        text = slice_tail(text, 5);
    s = arena_cstr(in, text);
    if (inet_pton(AF_INET, s, raw) != 1 && inet_pton(AF_INET6, s, raw) != 1)
        return false;
    *ip = slice_of(s);
    return true;
}

/* ---- MX
 * ----------------------------------------------------------------------------------------------------------------
 */

/* RFC 5321 5.1: equal preferences are shuffled. Records come sorted. */
static void shuffle_equals(struct smtp_host *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t end = i + 1;

        while (end < count && hosts[end].preference == hosts[i].preference)
            end++;
        size_t with = i + (size_t)random_below(end - i);
        struct smtp_host h = hosts[i];

        hosts[i] = hosts[with];
        hosts[with] = h;
    }
}

static void take_records(const struct dns_answer *answer, struct arena *in, struct smtp_route *out)
{
    size_t n = answer->count < SMTP_ROUTE_HOSTS_MAX ? answer->count : SMTP_ROUTE_HOSTS_MAX;

    out->hosts = ARENA_ARRAY(in, struct smtp_host, n);
    for (size_t i = 0; i < n; i++)
        if (answer->records[i].text.n > 0)
            out->hosts[out->count++] =
                (struct smtp_host){answer->records[i].text, answer->records[i].preference};
    shuffle_equals(out->hosts, out->count);
}

static void take_itself(struct slice name, struct arena *in, struct smtp_route *out)
{
    out->hosts = ARENA_NEW(in, struct smtp_host);
    out->hosts[0] = (struct smtp_host){name, 0};
    out->count = 1;
}

int smtp_route_find(struct slice domain, struct arena *in, struct deadline until,
                    struct smtp_route *out, struct smtp_reply *refusal, struct fault *why)
{
    struct dns_answer answer;
    struct slice ip;

    *out = (struct smtp_route){0};
    *refusal = SMTP_OK;
    if (numeric(domain, in, &ip)) {
        take_itself(ip, in, out);
        return 0;
    }
    if (dns_query(domain, DNS_MX, in, until, &answer, why) < 0)
        return -1;
    out->secure = answer.secure;
    if (answer.status == DNS_NO_NAME)
        *refusal = SMTP_REPLY(550, "5.1.2", "No such domain");
    else if (answer.status == DNS_NO_DATA)
        take_itself(domain, in, out); /* the implicit MX */
    else
        take_records(&answer, in, out);
    if (answer.status == DNS_FOUND && out->count == 0)
        *refusal = SMTP_REPLY(556, "5.1.10", "The domain accepts no mail");
    return 0;
}

/* ---- one host
 * ------------------------------------------------------------------------------------------------------------
 */

struct attempt {
    const struct smtp_route_options *o;
    struct arena *in;
    struct deadline until;
    struct smtp_connected *out;
    struct smtp_reply *refusal;
    struct fault *why;
    bool route_secure;
    unsigned addresses;
};

struct host_facts {
    struct slice ips[SMTP_ROUTE_ADDRESSES_MAX];
    size_t count;
    bool secure;
    struct tls_tlsa *tlsa;
    size_t tlsa_count;
};

static int add_addresses(struct attempt *a, struct slice host, enum dns_type type,
                         struct host_facts *f)
{
    struct dns_answer answer;

    if (dns_query(host, type, a->in, a->until, &answer, a->why) < 0)
        return -1;
    f->secure = f->secure && answer.secure;
    for (size_t i = 0; i < answer.count && f->count < COUNT(f->ips); i++)
        if (answer.records[i].type == type)
            f->ips[f->count++] = answer.records[i].text;
    return 0;
}

static bool tlsa_is_usable(const struct dns_record *r) /* RFC 7672 3.1: 2 and 3 only */
{
    return r->type == DNS_TLSA && (r->usage == 2 || r->usage == 3) && r->selector <= 1 &&
           r->matching <= 2;
}

/* TLSA of the host. A failed look-up in a signed zone is a failure of the host (RFC 7672 2.2): no
 * silent downgrade. */
static int add_tlsa(struct attempt *a, struct slice host, struct host_facts *f)
{
    struct dns_answer answer;
    struct slice name =
        arena_printf(a->in, "_%u._tcp.%.*s", a->o->port ? a->o->port : 25U, SLICE(host));

    if (!a->o->dane || !a->route_secure || !f->secure)
        return 0;
    if (dns_query(name, DNS_TLSA, a->in, a->until, &answer, a->why) < 0)
        return fault_prefix(a->why, "TLSA");
    if (!answer.secure || answer.status != DNS_FOUND)
        return 0;
    f->tlsa = ARENA_ARRAY(a->in, struct tls_tlsa, answer.count);
    for (size_t i = 0; i < answer.count; i++) {
        const struct dns_record *r = &answer.records[i];

        if (tlsa_is_usable(r))
            f->tlsa[f->tlsa_count++] =
                (struct tls_tlsa){r->usage, r->selector, r->matching, r->text};
    }
    return 0;
}

static int look_up_host(struct attempt *a, struct slice host, struct host_facts *f)
{
    int v4, v6;

    memset(f, 0, sizeof(*f));
    f->secure = true;
    if (numeric(host, a->in, &f->ips[0])) {
        f->count = 1;
        return 0;
    }
    v6 = add_addresses(a, host, DNS_AAAA, f);
    v4 = add_addresses(a, host, DNS_A, f);
    if (f->count == 0 && (v4 < 0 || v6 < 0))
        return -1;
    if (f->count == 0)
        return fault_set(a->why, FAULT_NOT_FOUND, "host %.*s has no address", SLICE(host));
    return add_tlsa(a, host, f);
}

static int dial(struct attempt *a, struct slice host, const char *ip, const struct host_facts *f,
                enum smtp_tls_policy policy)
{
    struct smtp_client_options o = {
        .ip = ip,
        .port = a->o->port ? a->o->port : 25,
        .local_ip = a->o->local_ip,
        .helo = a->o->helo,
        .server_name = host,
        .policy = policy,
        .tls = a->o->tls,
        .tlsa = f->tlsa,
        .tlsa_count = f->tlsa_count,
        .connect_ms = a->o->connect_ms,
    };

    a->out->policy = policy;
    return smtp_client_open(&o, a->until, a->in, &a->out->client, a->refusal, a->why);
}

static enum smtp_tls_policy policy_for(const struct attempt *a, const struct host_facts *f)
{
    if (f->tlsa_count > 0 && a->o->policy <= SMTP_TLS_ENCRYPT)
        return SMTP_TLS_DANE;
    return a->o->policy;
}

static int try_address(struct attempt *a, struct slice host, struct slice ip,
                       const struct host_facts *f)
{
    const char *text = arena_cstr(a->in, ip);
    enum smtp_tls_policy policy = policy_for(a, f);
    int r;

    if (!a->o->allow_private && smtp_address_is_private(text))
        return fault_set(a->why, FAULT_DENIED, "%s is a private address", text);
    r = dial(a, host, text, f, policy);
    if (r < 0 && policy == SMTP_TLS_OPPORTUNISTIC && a->refusal->code == 0 &&
        (a->why->code == FAULT_PROTOCOL || a->why->code == FAULT_CLOSED))
        r = dial(a, host, text, f, SMTP_TLS_NONE);
    return r;
}

static int try_host(struct attempt *a, const struct smtp_host *host)
{
    struct host_facts f;

    if (a->o->host_is_allowed && !a->o->host_is_allowed(host->name, a->o->arg))
        return fault_set(a->why, FAULT_DENIED, "MX %.*s is not in the domain's MTA-STS policy",
                         SLICE(host->name));
    if (look_up_host(a, host->name, &f) < 0)
        return -1;
    for (size_t i = 0; i < f.count && a->addresses < SMTP_ROUTE_ADDRESSES_MAX; i++) {
        a->addresses++;
        if (try_address(a, host->name, f.ips[i], &f) < 0) {
            if (a->why->code == FAULT_CANCELED || deadline_is_past(a->until))
                return -1;
            continue;
        }
        a->out->host = host->name;
        a->out->ip = f.ips[i];
        a->out->preference = host->preference;
        return 0;
    }
    return -1;
}

int smtp_route_connect(const struct smtp_route_options *o, struct arena *in, struct deadline until,
                       struct smtp_connected *out, struct smtp_reply *refusal, struct fault *why)
{
    struct attempt a = {o, in, until, out, refusal, why, false, 0};
    struct smtp_route route = {0};

    *refusal = SMTP_OK;
    if (o->host.n > 0)
        take_itself(o->host, in, &route);
    else if (smtp_route_find(o->domain, in, until, &route, refusal, why) < 0)
        return -1;
    a.route_secure = route.secure;
    if (route.count == 0)
        return fault_set(why, FAULT_DENIED, "no host for %.*s", SLICE(o->domain));
    for (size_t i = 0; i < route.count; i++) {
        if (try_host(&a, &route.hosts[i]) == 0)
            return 0;
        if (why->code == FAULT_CANCELED || deadline_is_past(until))
            break;
    }
    return -1;
}
