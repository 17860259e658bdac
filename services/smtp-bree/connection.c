/* connection.c - open SMTP connections, used again while they last: by any message to the same domain, or to another domain whose
 * best MX is the same host.
 *
 * Owns      idle connections, and the count of those in use per domain. Called by job.c. Suspends to connect, and to wait for a turn.
 */
#include "bree.h"

#include "base/map.h"

struct destination { char domain[256]; unsigned in_use, waiting; };

static struct connection *idle;
static struct map *destinations;                   /* domain -> struct destination, while in use */
static struct fiber_event freed;

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static struct destination *destination_find(struct slice domain)
{
    struct destination *d;

    if (destinations == NULL) {
        destinations = map_new();
        fiber_event_init(&freed);
    }
    d = map_find(destinations, domain);
    if (d != NULL)
        return d;
    d = calloc(1, sizeof(*d));
    if (d == NULL || !slice_copy_cstr(domain, d->domain, sizeof(d->domain)))
        abort();
    (void)map_set(destinations, domain, d);
    return d;
}

static void destination_leave(struct destination *d)
{
    d->in_use--;
    fiber_event_broadcast(&freed);
    if (d->in_use > 0 || d->waiting > 0)
        return;
    (void)map_remove(destinations, slice_of(d->domain));
    free(d);
}

static int destination_enter(struct slice domain, struct deadline until, struct destination **out, struct fault *why)
{
    struct destination *d = destination_find(domain);

    d->waiting++;
    while (d->in_use >= (unsigned)bree.config->destination_max)
        if (fiber_event_wait(&freed, until, why) < 0) {
            d->waiting--;                          /* whoever is in use frees it */
            return -1;
        }
    d->waiting--;
    d->in_use++;
    *out = d;
    return 0;
}

/* ---- idle ones --------------------------------------------------------------------------------------------------- */

static void connection_free(struct connection *c)
{
    smtp_client_close(&c->to.client);
    arena_free(&c->arena);
    free(c);
}

/* Takes the first usable one that `fits`; those that died meanwhile go. */
static struct connection *take_idle(bool (*fits)(const struct connection *c, const void *arg), const void *arg)
{
    struct connection **at = &idle;

    while (*at != NULL) {
        struct connection *c = *at;

        if (!fits(c, arg)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        if (smtp_client_is_usable(c->to.client))
            return c;
        connection_free(c);
    }
    return NULL;
}

static bool fits_domain(const struct connection *c, const void *arg)
{
    const struct wanted *w = arg;

    return c->require_tls == w->require_tls && slice_equal(slice_of(c->domain), w->domain);
}

/* One of the best hosts of the route. A route validated by DNSSEC may ask for more (DANE) than that connection gave. */
static bool fits_route(const struct connection *c, const void *arg)
{
    const struct smtp_route *route = arg;

    if (c->require_tls || (route->secure && c->to.policy != SMTP_TLS_DANE))
        return false;
    for (size_t i = 0; i < route->count && route->hosts[i].preference == route->hosts[0].preference; i++)
        if (slice_equal(route->hosts[i].name, slice_of(c->host)))
            return true;
    return false;
}

static struct connection *find_idle(const struct wanted *wanted, struct deadline until, struct arena *in)
{
    struct connection *c = take_idle(fits_domain, wanted);
    struct smtp_route route;
    struct smtp_reply refusal;
    struct fault why;

    if (c != NULL || idle == NULL || wanted->require_tls)
        return c;
    if (smtp_route_find(wanted->domain, in, until, &route, &refusal, &why) < 0 || route.count == 0)
        return NULL;                               /* connecting anew says why */
    return take_idle(fits_route, &route);
}

/* ---- new ones ---------------------------------------------------------------------------------------------------- */

static int connect_new(struct connection *c, const struct wanted *wanted, struct deadline until, struct smtp_reply *refusal, struct fault *why)
{
    struct smtp_route_options options = {
        .domain = wanted->domain, .port = bree.config->out_port, .helo = bree.config->host, .tls = bree.tls,
        .local_ip = bree.config->local_ip[0] != '\0' ? bree.config->local_ip : NULL,
        .policy = wanted->require_tls ? SMTP_TLS_PKIX : SMTP_TLS_OPPORTUNISTIC, .dane = true, .allow_private = bree.config->allow_private,
    };

    return smtp_route_connect(&options, c->arena, until, &c->to, refusal, why);
}

static struct connection *open_new(const struct wanted *wanted, struct deadline until, struct smtp_reply *refusal, struct arena *in, struct fault *why)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (c == NULL)
        abort();
    c->arena = arena_new(0);
    c->require_tls = wanted->require_tls;
    if (connect_new(c, wanted, until, refusal, why) < 0) {
        refusal->text = arena_copy(in, refusal->text);
        refusal->enhanced = refusal->enhanced != NULL ? arena_cstr(in, slice_of(refusal->enhanced)) : "";
        connection_free(c);
        return NULL;
    }
    ignore_result(slice_copy_cstr(c->to.host, c->host, sizeof(c->host)));
    ignore_result(slice_copy_cstr(c->to.ip, c->ip, sizeof(c->ip)));
    return c;
}

int connection_get(const struct wanted *wanted, struct deadline until, struct connection **out, struct smtp_reply *refusal, struct arena *in, struct fault *why)
{
    struct destination *d;
    struct connection *c;

    *refusal = SMTP_OK;
    if (wanted->domain.n >= sizeof(c->domain)) {
        *refusal = SMTP_REPLY(550, "5.1.2", "The domain's name is too long");
        return fault_set(why, FAULT_INVALID, "domain name of %zu bytes", wanted->domain.n);
    }
    if (destination_enter(wanted->domain, until, &d, why) < 0)
        return -1;
    c = find_idle(wanted, until, in);
    if (c != NULL)
        c->was_idle = true;
    else
        c = open_new(wanted, until, refusal, in, why);
    if (c == NULL) {
        destination_leave(d);
        return -1;
    }
    ignore_result(slice_copy_cstr(wanted->domain, c->domain, sizeof(c->domain)));
    c->destination = d;
    *out = c;
    return 0;
}

void connection_put(struct connection **c)
{
    struct connection *it = *c;

    *c = NULL;
    if (it == NULL)
        return;
    destination_leave(it->destination);
    it->destination = NULL;
    if (!smtp_client_is_usable(it->to.client) || bree.stopping) {
        connection_free(it);
        return;
    }
    it->idle_since_ms = clock_now_ms();
    it->next = idle;
    idle = it;
}

void connections_close(bool all)
{
    struct connection **at = &idle;

    while (*at != NULL) {
        struct connection *c = *at;

        if (!all && clock_now_ms() - c->idle_since_ms < IDLE_CONNECTION_MS) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        connection_free(c);
    }
}
