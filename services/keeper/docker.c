/* docker.c - requests to the Docker Engine, one connection each.
 *
 * Owns      the connection of the events. Called by main.c. Fails as docker.h says. Blocks.
 */
#include "docker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/time.h"

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int engine_connect(const char *path, int *out, struct fault *why)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fault_errno(why, errno, "socket");
    if (!slice_copy_cstr(slice_of(path), at.sun_path, sizeof(at.sun_path)))
        return fault_set(why, FAULT_INVALID, "path of the socket is too long: %s", path);
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
        if (errno == EACCES)
            return fault_set(why, FAULT_DENIED, "no right to connect to %s", path);
        return fault_set(why, FAULT_UNAVAILABLE, "no Docker Engine answers at %s", path);
    }
    *out = fd;
    fd = -1;
    return 0;
}

/* A request is far smaller than a socket's buffer, so this never waits. */
static int request_send(int fd, const char *method, struct slice path, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(DOCKER_LINE_MAX);
    ssize_t n;

    if (buf_printf(&text, "%s %.*s HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n", method, SLICE(path)) < 0)
        return fault_set(why, FAULT_LIMIT, "request is too long");
    n = send(fd, text.p, text.n, MSG_NOSIGNAL);
    return n == (ssize_t)text.n ? 0 : fault_errno(why, n < 0 ? errno : EAGAIN, "send a request to the Docker Engine");
}

/* 1: more input, 0: not until then. */
static int input_wait(struct docker *d, struct deadline until, struct fault *why)
{
    struct pollfd waits = { .fd = d->fd, .events = POLLIN };
    uint64_t left = deadline_left_ms(until);
    ssize_t n;
    int r = poll(&waits, 1, left > INT_MAX ? -1 : (int)left);

    if (r < 0 && errno != EINTR)
        return fault_errno(why, errno, "poll");
    if (r <= 0)
        return 0;
    if (d->input.n >= DOCKER_LINE_MAX || buf_reserve(&d->input, 4096) < 0)
        return fault_set(why, FAULT_PROTOCOL, "a line of the Docker Engine is longer than %u bytes", DOCKER_LINE_MAX);
    n = read(d->fd, d->input.p + d->input.n, 4096);
    if (n < 0)
        return fault_errno(why, errno, "read from the Docker Engine");
    if (n == 0)
        return fault_set(why, FAULT_CLOSED, "the Docker Engine ended the connection");
    d->input.n += (size_t)n;
    return 1;
}

/* 1: a line without its end, which stays in the buffer until line_drop; 0: not until then. */
static int line_read(struct docker *d, struct deadline until, struct slice *line, struct fault *why)
{
    ptrdiff_t at;
    int r;

    while ((at = slice_find_char(buf_slice(&d->input), '\n')) < 0) {
        r = input_wait(d, until, why);
        if (r < 0 || (r == 0 && deadline_is_past(until)))
            return r;
    }
    *line = slice_trim_right(slice_head(buf_slice(&d->input), (size_t)at));
    return 1;
}

static void line_drop(struct docker *d)
{
    buf_consume(&d->input, (size_t)(slice_find_char(buf_slice(&d->input), '\n') + 1));
}

static int head_line(struct docker *d, struct deadline until, struct slice *line, struct fault *why)
{
    int r = line_read(d, until, line, why);

    return r > 0 ? 0 : r < 0 ? -1 : fault_set(why, FAULT_TIMEOUT, "the Docker Engine does not answer");
}

/* The status line and the header. */
static int head_read(struct docker *d, unsigned *status, struct fault *why)
{
    struct deadline until = deadline_in_ms(DOCKER_TIMEOUT_MS);
    struct slice line;
    uint32_t code = 0;
    bool last;

    if (head_line(d, until, &line, why) < 0)
        return -1;
    if (!slice_has_prefix(line, LIT("HTTP/1.")) || !slice_to_u32(slice_sub(line, 9, 3), 999, &code))
        return fault_set(why, FAULT_PROTOCOL, "no HTTP answer: %.*s", SLICE(slice_head(line, 60)));
    do {
        line_drop(d);
        if (head_line(d, until, &line, why) < 0)
            return -1;
        last = line.n == 0;
    } while (!last);
    line_drop(d);
    *status = code;
    return 0;
}

void docker_init(struct docker *d, const char *socket_path)
{
    *d = (struct docker){ .socket_path = socket_path, .fd = -1, .input = BUF_INIT(2 * DOCKER_LINE_MAX) };
}

void docker_close(struct docker *d)
{
    fd_close(&d->fd);
    buf_free(&d->input);
}

static int request_begin(struct docker *d, const char *method, struct slice path, unsigned *status, struct fault *why)
{
    if (engine_connect(d->socket_path, &d->fd, why) < 0)
        return -1;
    if (request_send(d->fd, method, path, why) < 0)
        return -1;
    return head_read(d, status, why);
}

int docker_ask(const char *socket_path, const char *method, const char *path, unsigned *status, struct fault *why)
{
    AUTO(docker_close) struct docker d;

    docker_init(&d, socket_path);
    return request_begin(&d, method, slice_of(path), status, why);
}

int docker_events(struct docker *d, const char *project, int64_t since_ns, struct fault *why)
{
    AUTO(buf_free) struct buf path = BUF_INIT(4096);
    unsigned status;

    docker_close(d);
    /* the filters are JSON, percent-encoded; the project's name has passed docker_is_project() */
    (void)buf_append_cstr(&path, "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22label%22%3A%5B%22com.docker.compose.project%3D");
    (void)buf_append_cstr(&path, project);
    (void)buf_append_cstr(&path, "%22%2C%22com.docker.compose.oneoff%3DFalse%22%5D%7D");
    if (since_ns > 0)
        (void)buf_printf(&path, "&since=%lld.%09lld", (long long)((since_ns + 1) / 1000000000), (long long)((since_ns + 1) % 1000000000));
    if (path.overflowed)
        return fault_set(why, FAULT_INVALID, "name of the project is too long");
    if (request_begin(d, "GET", buf_slice(&path), &status, why) < 0) {
        docker_close(d);
        return -1;
    }
    if (status == 200)
        return 0;
    docker_close(d);
    return fault_set(why, FAULT_PROTOCOL, "the Docker Engine answers %u to a request for its events", status);
}

int docker_next(struct docker *d, uint64_t wait_ms, struct slice *line, struct fault *why)
{
    struct deadline until = wait_ms == UINT64_MAX ? DEADLINE_NEVER : deadline_in_ms(wait_ms);
    int r;

    if (d->taken)
        line_drop(d);
    r = line_read(d, until, line, why);
    d->taken = r > 0;
    return r;
}

bool docker_is_project(struct slice name)
{
    if (name.n == 0 || name.n > 63)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_alnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
            return false;
    return true;
}
