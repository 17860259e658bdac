/* connection.c - open SMTP connections by destination domain, used again while they last.
 *
 * Owns      idle connections, and the count of those in use per destination. Called by job.c. Suspends to connect.
 */
#include "bree.h"

static struct connection *idle;

static void connection_free(struct connection *c)
{
    smtp_client_close(&c->to.client);
    arena_free(&c->arena);
    free(c);
}

static struct connection *take_idle(struct slice domain)
{
    for (struct connection **at = &idle; *at != NULL; at = &(*at)->next) {
        struct connection *c = *at;

        if (!slice_equal(slice_of(c->domain), domain))
            continue;
        *at = c->next;
        if (smtp_client_is_usable(c->to.client))
            return c;
        connection_free(c);
        return take_idle(domain);
    }
    return NULL;
}

static int connect_new(struct connection *c, struct slice domain, struct deadline until, struct smtp_reply *refusal, struct fault *why)
{
    struct smtp_route_options options = {
        .domain = domain, .port = bree.config->out_port, .helo = bree.config->host, .tls = bree.tls,
        .local_ip = bree.config->local_ip[0] != '\0' ? bree.config->local_ip : NULL, .policy = SMTP_TLS_OPPORTUNISTIC, .dane = true,
        .allow_private = bree.config->allow_private,
    };

    return smtp_route_connect(&options, c->arena, until, &c->to, refusal, why);
}

int connection_get(struct slice domain, struct deadline until, struct connection **out, struct smtp_reply *refusal, struct arena *in, struct fault *why)
{
    struct connection *c = take_idle(domain);

    *refusal = SMTP_OK;
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c == NULL)
            abort();
        c->arena = arena_new(0);
        if (!slice_copy_cstr(domain, c->domain, sizeof(c->domain)) || connect_new(c, domain, until, refusal, why) < 0) {
            refusal->text = arena_copy(in, refusal->text);
            refusal->enhanced = refusal->enhanced != NULL ? arena_cstr(in, slice_of(refusal->enhanced)) : "";
            connection_free(c);
            return -1;
        }
        ignore_result(slice_copy_cstr(c->to.host, c->host, sizeof(c->host)));
        ignore_result(slice_copy_cstr(c->to.ip, c->ip, sizeof(c->ip)));
    }
    *out = c;
    return 0;
}

void connection_put(struct connection **c)
{
    struct connection *it = *c;

    *c = NULL;
    if (it == NULL)
        return;
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
