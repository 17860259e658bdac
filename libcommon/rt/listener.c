/* listener.c - accepts connections, each on a fiber of its own (see listener.h).
 *
 * Owns the listening socket, and itself until its last stream is closed. Called by services.
 * Opening can fail. Accepting pauses, leaving connections in the kernel's queue, while there are
 * max_connections, or no fiber or descriptor to be had.
 */
#include "rt/listener.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "rt/proxy.h"
#include "rt/stream_internal.h"

#define CONNECTIONS_DEFAULT 10000
#define HANDSHAKE_DEFAULT_MS 30000
#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 50 /* before the next try when the process has no fiber or descriptor left */

#define COMPLAIN_EVERY_MS 10000
#define REFUSALS_MAX 16 /* of one address that are told why; beyond, they are closed without a word */
#define REFUSAL_MS 5000 /* for the handshake of who is to be refused, and for the request of a client that begins */

struct listener {
    struct listener_options options;
    uv_poll_t poll;
    int fd;
    bool closed, poll_gone, paused;
    unsigned connections;
    struct newcomers *newcomers; /* NULL: not limited */
    struct timer pause;
    uint64_t complained_ms; /* about accept failing; once in COMPLAIN_EVERY_MS */
};

/* --- pausing, ending -------------------------------------------------------------------------- */

static void on_acceptable(uv_poll_t *handle, int status, int events);

static void resume_accepting(struct listener *l)
{
    l->paused = false;
    timer_stop(&l->pause);
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void pause_accepting(struct listener *l)
{
    l->paused = true;
    uv_poll_stop(&l->poll);
}

static void pause_for_a_while(struct listener *l)
{
    pause_accepting(l);
    timer_start(&l->pause, deadline_in_ms(PAUSE_MS));
}

static void on_pause_over(struct timer *timer)
{
    resume_accepting(timer->arg);
}

static void free_if_done(struct listener *l)
{
    if (!l->poll_gone || l->connections > 0)
        return;
    tls_server_unref(&l->options.tls);
    newcomers_free(&l->newcomers);
    free(l);
}

static void on_poll_gone(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    l->poll_gone = true;
    free_if_done(l);
}

static void on_stream_close(void *arg)
{
    struct listener *l = arg;

    l->connections--;
    if (l->closed)
        free_if_done(l);
    else if (l->paused && !timer_is_running(&l->pause))
        resume_accepting(l);
}

/* --- arrivals --------------------------------------------------------------------------------- */

static bool must_send_proxy_header(const struct listener *l, const struct stream *s)
{
    if (l->options.proxy_from == NULL)
        return false;
    for (const char *const *prefix = l->options.proxy_from; *prefix != NULL; prefix++) {
        if (address_in_prefix(stream_peer(s)->ip, slice_of(*prefix)))
            return true;
    }
    return false;
}

/* Reads the header and not a byte more: what follows may be TLS. */
static int read_proxy_header(struct stream *s, struct deadline until, struct fault *why)
{
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    size_t n = PROXY_FIXED_BYTES;
    int r;

    if (stream_read_direct(s, bytes, n, until, why) < 0)
        return -1;
    r = proxy_parse(slice_make(bytes, n), &header);
    if (r == 0) {
        size_t total = proxy_header_bytes(bytes);

        if (stream_read_direct(s, bytes + n, total - n, until, why) < 0)
            return -1;
        r = proxy_parse(slice_make(bytes, total), &header);
    }
    if (r <= 0)
        return fault_set(why, FAULT_PROTOCOL, "no acceptable PROXY v2 header");
    if (!header.is_local) {
        stream_set_peer(s, &header.source);
        stream_set_local(s, &header.destination);
    }
    return 0;
}

/* Counts the connection: 0 it may come in, 1 it is to be told that it is one too many. */
static int count_newcomer(struct listener *l, struct stream *s, struct fault *why)
{
    unsigned max = l->options.newcomers_max;
    unsigned count =
        l->newcomers != NULL ? newcomers_enter(l->newcomers, stream_peer(s)->ip, &s->newcomer) : 0;

    if (count > max + REFUSALS_MAX)
        return fault_set(why, FAULT_LIMIT, "%u connections of unknown peers", count);
    return count > max;
}

/* 0: let in, 1: to be refused in words. */
static int shake_hands(struct listener *l, struct stream *s, struct fault *why)
{
    struct deadline until = deadline_in_ms(l->options.handshake_ms);
    int refused;

    if (must_send_proxy_header(l, s) && read_proxy_header(s, until, why) < 0)
        return -1;
    refused = count_newcomer(l, s, why);
    if (refused < 0)
        return -1;
    if (refused > 0)
        until = deadline_earlier(until, deadline_in_ms(REFUSAL_MS));
    if (l->options.tls != NULL && stream_start_tls_server(s, l->options.tls, NULL, until, why) < 0)
        return -1;
    return refused;
}

static void refuse(const struct listener *l, struct stream *s)
{
    struct slice ignored;
    struct fault why;

    log_event(LOG_INFO, "listener.refused", F_STR("listener", l->options.name),
              F_STR("peer", stream_peer(s)->ip),
              F_STR("because", "too many connections of unknown peers from that address"));
    /* bytes that nobody has read at the close would end the connection with a reset, and the refusal with it */
    if (l->options.client_begins)
        ignore_result(stream_read_some(s, HIGH_WATER_BYTES, deadline_in_ms(REFUSAL_MS), &ignored, &why));
    if (stream_write_now(s, slice_of(l->options.newcomers_refusal), HIGH_WATER_BYTES, &why) < 0)
        stream_shutdown(s);
    stream_close(&s); /* sends it */
}

void listener_know_peer(struct stream *s)
{
    newcomers_leave(&s->newcomer);
}

static void run_arrival(void *arg)
{
    struct stream *s = arg;
    struct listener *l = s->on_close_arg;
    struct fault why;
    int refused = shake_hands(l, s, &why);

    if (refused < 0) {
        log_event(LOG_DEBUG, "listener.handshake.failed", F_STR("listener", l->options.name),
                  F_STR("peer", stream_peer(s)->ip), F_FAULT(&why));
        stream_close(&s);
        return;
    }
    if (refused > 0)
        refuse(l, s);
    else
        l->options.accept(s, l->options.arg);
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *raw, socklen_t len)
{
    struct stream_addr peer;
    struct stream *s;
    struct fault why;

    (void)stream_addr_set(&peer, (const struct sockaddr *)raw, len);
    if (stream_adopt(fd, &peer, &s, &why) < 0)
        return;
    s->on_close = on_stream_close;
    s->on_close_arg = l;
    l->connections++;
    if (fiber_start(l->options.name, run_arrival, s, &why) < 0)
        stream_close(&s);
}

static void complain(struct listener *l, int err)
{
    uint64_t now = clock_now_ms();

    if (l->complained_ms != 0 && now - l->complained_ms < COMPLAIN_EVERY_MS)
        return;
    l->complained_ms = now;
    log_event(LOG_WARN, "listener.accept.failed", F_STR("listener", l->options.name),
              F_STR("why", strerror(err)));
}

/* false: stop accepting for now. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage raw = {0};
    socklen_t len = sizeof raw;
    int fd;

    if (l->connections >= l->options.max_connections) {
        pause_accepting(l);
        return false;
    }
    if (!fibers_have_room()) {
        pause_for_a_while(l);
        return false;
    }
    fd = accept4(l->fd, (struct sockaddr *)&raw, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take(l, fd, &raw, len);
        return true;
    }
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        complain(l, errno);
        pause_for_a_while(l);
    }
    return false;
}

static void on_acceptable(uv_poll_t *handle, int status, UNUSED int events)
{
    struct listener *l = handle->data;

    if (status < 0) { /* libuv has stopped watching */
        pause_for_a_while(l);
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(l))
            return;
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

static int bind_tcp(const struct listener_options *o, const char *ip, struct fault *why)
{
    struct stream_addr addr;
    int fd, on = 1, off = 0;

    if (!stream_addr_parse(ip, o->port, &addr) || addr.raw.ss_family == AF_UNIX)
        return fault_set(why, FAULT_INVALID, "%s: not a numeric address: %s", o->name, ip);
    fd = socket(addr.raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_errno(why, errno, "%s: socket", o->name);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr.raw.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (o->reuse_port)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&addr.raw, addr.raw_len) < 0) {
        (void)fault_errno(why, errno, "%s: bind to %s port %u", o->name, ip, o->port);
        close(fd);
        return -1;
    }
    return fd;
}

static int bind_unix(const struct listener_options *o, struct fault *why)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;

    if (!slice_copy_cstr(slice_of(o->unix_path), un.sun_path, sizeof un.sun_path))
        return fault_set(why, FAULT_INVALID, "%s: socket path too long: %s", o->name, o->unix_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_errno(why, errno, "%s: socket", o->name);
    if (lstat(o->unix_path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(o->unix_path); /* of a predecessor that was killed */
    if (bind(fd, (const struct sockaddr *)&un, sizeof un) < 0) {
        (void)fault_errno(why, errno, "%s: bind to %s", o->name, o->unix_path);
        close(fd);
        return -1;
    }
    return fd;
}

static int bind_any(const struct listener_options *o, struct fault *why)
{
    int fd;

    if (o->unix_path != NULL)
        return bind_unix(o, why);
    if (o->bind_address != NULL && o->bind_address[0] != '\0')
        return bind_tcp(o, o->bind_address, why);
    fd = bind_tcp(o, "::", why); /* takes IPv4 too */
    return fd >= 0 ? fd : bind_tcp(o, "0.0.0.0", why);
}

static int check_prefixes(const struct listener_options *o, struct fault *why)
{
    for (const char *const *p = o->proxy_from; p != NULL && *p != NULL; p++) {
        if (!address_prefix_is_valid(slice_of(*p)))
            return fault_set(why, FAULT_INVALID, "%s: not an address or prefix: %s", o->name, *p);
    }
    return 0;
}

int listener_open(const struct listener_options *options, struct listener **out, struct fault *why)
{
    struct listener *l;
    int fd, r;

    if (check_prefixes(options, why) < 0)
        return -1;
    fd = bind_any(options, why);
    if (fd < 0)
        return -1;
    if (listen(fd, BACKLOG) < 0) {
        (void)fault_errno(why, errno, "%s: listen", options->name);
        close(fd);
        return -1;
    }
    l = calloc(1, sizeof *l);
    if (l == NULL)
        abort();
    r = uv_poll_init(loop_uv(), &l->poll, fd);
    if (r < 0) {
        close(fd);
        free(l);
        return fault_set(why, FAULT_IO, "%s: uv_poll_init: %s", options->name, uv_strerror(r));
    }
    l->options = *options;
    if (l->options.tls != NULL)
        (void)tls_server_ref(l->options.tls);
    if (l->options.max_connections == 0)
        l->options.max_connections = CONNECTIONS_DEFAULT;
    if (l->options.handshake_ms == 0)
        l->options.handshake_ms = HANDSHAKE_DEFAULT_MS;
    if (l->options.newcomers_max > 0)
        l->newcomers = newcomers_new(l->options.newcomers_exempt);
    l->fd = fd;
    l->poll.data = l;
    timer_init(&l->pause, on_pause_over, l);
    resume_accepting(l);
    *out = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    struct sockaddr_storage raw = {0};
    socklen_t len = sizeof raw;
    struct stream_addr local;

    if (getsockname(l->fd, (struct sockaddr *)&raw, &len) < 0 ||
        !stream_addr_set(&local, (const struct sockaddr *)&raw, len))
        return 0;
    return local.port;
}

unsigned listener_connection_count(const struct listener *l)
{
    return l->connections;
}

void listener_close(struct listener **listener)
{
    struct listener *l = *listener;

    if (l == NULL)
        return;
    *listener = NULL;
    l->closed = true;
    timer_stop(&l->pause);
    uv_close((uv_handle_t *)&l->poll, on_poll_gone);
    close(l->fd);
    if (l->options.unix_path != NULL)
        (void)unlink(l->options.unix_path);
}
