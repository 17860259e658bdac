/* imap_server.c - the registry of sessions and the events that reach them.
 *
 * Owns the map of aliases; sessions own themselves. Called by main.c, sessions and the Redis subscriptions, whose
 * callbacks run on the loop and only set marks and kick. Suspends only in imap_server_drain.
 */
#include "imap_server.h"
#include "imap_session.h"
#include "base/json.h"

#define EVENT_BYTES_MAX 4096
#define ALIAS_KEPT_MS   60000

static double session_count_read(void *arg)
{
    return ((struct imap_server *)arg)->session_count;
}

void imap_server_init(struct imap_server *server, const struct imap_config *config)
{
    server->config = config;
    server->aliases = map_new();
    fiber_event_init(&server->session_ended);
    (void)metric_gauge("imap_sessions", "connections, idle ones included", session_count_read, server);
    server->commands = metric_counter("imap_commands_total", "IMAP commands answered");
    server->command_us = metric_histogram_us("imap_command_seconds", "time from a command to its tagged answer");
    server->logins = metric_counter("imap_logins_total", "successful logins");
    server->login_failures = metric_counter("imap_login_failures_total", "refused logins");
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

void imap_server_add(struct imap_server *server, struct imap_session *s)
{
    s->next = server->first;
    s->previous = NULL;
    if (s->next)
        s->next->previous = s;
    server->first = s;
    server->session_count++;
}

void imap_server_remove(struct imap_server *server, struct imap_session *s)
{
    if (s->next)
        s->next->previous = s->previous;
    if (s->previous)
        s->previous->next = s->next;
    else
        server->first = s->next;
    server->session_count--;
    fiber_event_broadcast(&server->session_ended);
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

/* mbox:<alias> {"modseq":M,"folder":F}: the mailbox changed up to M, in folder F. */
static void on_change(void *arg, enum redis_event event, struct slice channel, struct slice payload)
{
    struct imap_alias *alias = arg;
    AUTO(json_release) json_t *value = NULL;
    uint64_t modseq = UINT64_MAX, folder = 0;

    (void)channel;
    if (event == REDIS_MESSAGE && json_parse(payload, EVENT_BYTES_MAX, &value, NULL) == 0) {
        modseq = (uint64_t)json_get_int(value, "modseq", INT64_MAX);
        folder = (uint64_t)json_get_int(value, "folder", 0);
    }
    for (struct imap_session *s = alias->first; s; s = s->alias_next)
        imap_session_hint(s, modseq, folder);
}

/* alias:<id>: password changed, switched off or deleted: nobody stays in on the old terms. */
static void on_account(void *arg, enum redis_event event, struct slice channel, struct slice payload)
{
    struct imap_alias *alias = arg;

    (void)channel;
    (void)payload;
    if (event != REDIS_MESSAGE)
        return;
    login_forget(alias->server->login, slice_of(alias->id));
    for (struct imap_session *s = alias->first; s; s = s->alias_next)
        imap_session_bye(s, "account changed, please log in again");
}

static struct redis_subscription *subscribe(struct imap_alias *alias, const char *prefix, redis_event_fn fn)
{
    char channel[64];

    if (!alias->server->redis)
        return NULL;
    (void)snprintf(channel, sizeof(channel), "%s%s", prefix, alias->id);
    return redis_subscribe(alias->server->redis, slice_of(channel), fn, alias);
}

bool imap_server_hears_changes(const struct imap_server *server)
{
    return server->redis && redis_is_up(server->redis);
}

/* ---- aliases --------------------------------------------------------------------------------------------------------- */

static void alias_end(struct imap_alias *alias)
{
    timer_stop(&alias->idle);
    (void)map_remove(alias->server->aliases, slice_of(alias->id));
    if (alias->changes)
        redis_unsubscribe(&alias->changes);
    if (alias->account)
        redis_unsubscribe(&alias->account);
    free(alias);
}

static void alias_idle(struct timer *t)
{
    alias_end(t->arg);
}

static struct imap_alias *alias_get(struct imap_server *server, const char *id)
{
    struct imap_alias *alias = map_find(server->aliases, slice_of(id));

    if (alias)
        return alias;
    alias = calloc(1, sizeof(*alias));
    if (!alias)
        abort();
    (void)snprintf(alias->id, sizeof(alias->id), "%s", id);
    alias->server = server;
    timer_init(&alias->idle, alias_idle, alias);
    (void)map_set(server->aliases, slice_of(id), alias);
    alias->changes = subscribe(alias, "mbox:", on_change);
    alias->account = subscribe(alias, "alias:", on_account);
    return alias;
}

int imap_server_join(struct imap_server *server, struct imap_session *s, const char *alias_id, struct fault *why)
{
    struct imap_alias *alias = alias_get(server, alias_id);

    if (alias->count >= (unsigned)server->config->alias_connections_max)
        return fault_set(why, FAULT_LIMIT, "alias %s has %u connections", alias_id, alias->count);
    alias->count++;
    timer_stop(&alias->idle);
    s->alias = alias;
    s->alias_previous = NULL;
    s->alias_next = alias->first;
    if (s->alias_next)
        s->alias_next->alias_previous = s;
    alias->first = s;
    return 0;
}

void imap_server_leave(struct imap_session *s)
{
    struct imap_alias *alias = s->alias;

    if (!alias)
        return;
    s->alias = NULL;
    if (s->alias_next)
        s->alias_next->alias_previous = s->alias_previous;
    if (s->alias_previous)
        s->alias_previous->alias_next = s->alias_next;
    else
        alias->first = s->alias_next;
    if (--alias->count > 0)
        return;
    if (alias->changes)                        /* clients log in again and again: four commands to Redis each time */
        timer_start(&alias->idle, deadline_in_ms(ALIAS_KEPT_MS));
    else
        alias_end(alias);
}

/* ---- drain ------------------------------------------------------------------------------------------------------------- */

/* Nobody hears events any more, not even a session that outlived the drain: the connection to Redis goes now. */
static void stop_hearing(struct imap_server *server)
{
    size_t cursor = 0;
    struct slice name;
    void *value;

    while (map_next(server->aliases, &cursor, &name, &value) == 1) {
        struct imap_alias *alias = value;

        if (alias->count == 0) {
            alias_end(alias);
            continue;
        }
        redis_unsubscribe(&alias->changes);
        redis_unsubscribe(&alias->account);
    }
}

void imap_server_drain(struct imap_server *server, struct deadline until)
{
    struct fault why;

    server->draining = true;
    for (struct imap_session *s = server->first; s; s = s->next)
        imap_session_bye(s, "server is going down, please come back");
    while (server->first)
        if (fiber_event_wait(&server->session_ended, until, &why) < 0)
            break;
    stop_hearing(server);
}
