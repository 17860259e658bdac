/* redis.c - the Redis client as a whole: options, the address it connects to, life and death.
 *
 * Owns struct redis. Called by services at start and end. Fails only on a malformed url. Never
 * suspends, except redis_wait_up.
 */
#include "net/redis.h"

#include "net/http_server.h"
#include "net/redis_internal.h"
#include "rt/tls.h"

static char *copy_cstr(struct slice s)
{
    char *p = strndup(s.n > 0 ? s.p : "", s.n);

    if (p == NULL)
        abort();
    return p;
}

/* ---- url: redis://[user][:password]@host[:port][/db] ---- */

static int parse_credentials(struct redis *r, struct slice text, struct arena *in,
                             struct fault *why)
{
    ptrdiff_t colon = slice_find_char(text, ':');
    struct slice user = colon < 0 ? text : slice_head(text, (size_t)colon), password = SLICE_NONE;

    if (!http_unescape(in, user, false, &user) ||
        (colon >= 0 && !http_unescape(in, slice_tail(text, (size_t)colon + 1), false, &password)) ||
        password.n > SECRET_MAX_BYTES)
        return fault_set(why, FAULT_INVALID, "redis url: bad user or password");
    if (user.n > 0)
        r->user = copy_cstr(user);
    if (password.n > 0)
        r->url_password = secret_new(password);
    memory_wipe((void *)(uintptr_t)password.p, password.n);
    return 0;
}

static int parse_host(struct redis *r, struct slice text, struct fault *why)
{
    uint64_t port = 6379, db = 0;
    ptrdiff_t slash = slice_find_char(text, '/'), colon;
    struct slice host = slash < 0 ? text : slice_head(text, (size_t)slash);
    struct slice path = slash < 0 ? SLICE_NONE : slice_tail(text, (size_t)slash + 1);

    if (path.n > 0 && !slice_to_u64(path, 65535, &db))
        return fault_set(why, FAULT_INVALID, "redis url: bad database");
    colon = slice_rfind_char(host, ':');
    if (slice_has_prefix(host, LIT("["))) { /* [::1]:6379 */
        ptrdiff_t end = slice_find_char(host, ']');
        if (end < 0)
            return fault_set(why, FAULT_INVALID, "redis url: bad address");
        colon = (size_t)end + 1 < host.n ? end + 1 : -1;
    }
    if (colon >= 0) {
        if (host.p[colon] != ':' ||
            !slice_to_u64(slice_tail(host, (size_t)colon + 1), 65535, &port) || port == 0)
            return fault_set(why, FAULT_INVALID, "redis url: bad port");
        host = slice_head(host, (size_t)colon);
    }
    if (slice_has_prefix(host, LIT("[")))
        host = slice_sub(host, 1, host.n - 2);
    if (host.n == 0)
        return fault_set(why, FAULT_INVALID, "redis url: no host");
    r->host = copy_cstr(host);
    r->port = (uint16_t)port;
    r->db = (unsigned)db;
    return 0;
}

static int parse_url(struct redis *r, struct slice url, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(512);
    ptrdiff_t at;

    if (slice_has_prefix(url, LIT("unix:"))) {
        r->unix_path = copy_cstr(url);
        return 0;
    }
    r->tls = slice_has_prefix_nocase(url, LIT("rediss://"));
    if (!r->tls && !slice_has_prefix_nocase(url, LIT("redis://")))
        return fault_set(why, FAULT_INVALID, "redis url: want redis://, rediss:// or unix:");
    url = slice_tail(url, (size_t)slice_find(url, LIT("//")) + 2);
    at = slice_rfind_char(url, '@');
    if (at >= 0 && parse_credentials(r, slice_head(url, (size_t)at), in, why) < 0)
        return -1;
    return parse_host(r, slice_tail(url, (size_t)(at + 1)), why);
}

/* ---- life ---- */

void redis_ref(struct redis *r)
{
    r->refs++;
}

void redis_unref(struct redis *r)
{
    if (--r->refs > 0)
        return;
    redis_events_deinit(r);
    secret_unref(&r->url_password);
    tls_client_unref(&r->tls_client);
    free(r->host);
    free(r->unix_path);
    free(r->user);
    free(r);
}

int redis_new(const struct redis_options *options, struct redis **out, struct fault *why)
{
    struct redis *r = calloc(1, sizeof(*r));
    int done = 0;

    if (r == NULL)
        abort();
    r->refs = 1;
    r->command_ms = options->command_ms > 0 ? options->command_ms : REDIS_COMMAND_MS;
    redis_commands_init(r);
    redis_events_init(r);
    if (options->url != NULL && options->url[0] != '\0') {
        done = parse_url(r, slice_of(options->url), why);
    } else {
        r->host = copy_cstr(slice_of(options->host != NULL ? options->host : "127.0.0.1"));
        r->port = options->port != 0 ? options->port : 6379;
        r->db = options->db;
    }
    r->password = options->password != NULL ? options->password : r->url_password;
    if (done == 0)
        done = redis_conn_start(&r->commands, why);
    if (done < 0) {
        redis_unref(r);
        return -1;
    }
    *out = r;
    return 0;
}

void redis_free(struct redis **rp)
{
    struct redis *r = *rp;

    if (r == NULL)
        return;
    *rp = NULL;
    r->closed = true;
    redis_conn_stop(&r->commands);
    redis_conn_stop(&r->events);
    redis_unref(r);
}

bool redis_is_up(const struct redis *r)
{
    return r->commands.stream != NULL;
}

int redis_wait_up(struct redis *r, struct deadline until, struct fault *why)
{
    while (!redis_is_up(r)) {
        if (fiber_event_wait(&r->commands.changed, until, why) < 0)
            return -1;
    }
    return 0;
}
