/* service_test.c - whole lives of a small daemon: settings, ready, metrics, drain, limits, workers, rights.
 *
 * Each daemon is a forked child whose standard output and error this process reads through a pipe.
 */
#include "rt/service.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "rt/fiber.h"
#include "rt/listener.h"

#define SAY_MOST_MS 20000

struct demo_config { int64_t n; bool sick, slow, stuck; };

static const struct config_var demo_vars[] = {
    VAR_INT(struct demo_config, n, "DEMO_N", "3", "1", "10", "a number"),
    VAR_BOOL(struct demo_config, sick, "DEMO_SICK", "false", "--health says no"),
    VAR_BOOL(struct demo_config, slow, "DEMO_SLOW", "false", "start takes for ever"),
    VAR_BOOL(struct demo_config, stuck, "DEMO_STUCK", "false", "drain takes for ever"),
};

static void demo_check(void *config, struct buf *errors)
{
    if (((struct demo_config *)config)->n == 7)
        (void)buf_append_cstr(errors, "DEMO_N: 7 is not to our taste\n");
}

static struct listener *door;          /* what a daemon waits at; keeps its loop alive */

static void demo_accept(struct stream *s, UNUSED void *arg)
{
    stream_close(&s);
}

static int demo_start(void *config, struct fault *why)
{
    const struct listener_options o = { .name = "demo", .bind_address = "127.0.0.1", .accept = demo_accept };

    if (listener_open(&o, &door, why) < 0)
        return -1;
    metric_add(metric_counter("demo_starts_total", "starts"), 1);
    metric_observe_us(metric_histogram_us("demo_seconds", "times"), 3000);
    if (!((struct demo_config *)config)->slow)
        return 0;
    log_event(LOG_INFO, "demo.starting", F_INT("pid", getpid()));
    return fiber_sleep_until(DEADLINE_NEVER, why);
}

static void demo_drain(void *config, UNUSED struct deadline until)
{
    log_event(LOG_INFO, "demo.drain", F_INT("pid", getpid()));
    if (((struct demo_config *)config)->stuck)
        (void)fiber_sleep_until(DEADLINE_NEVER, NULL);
}

static int demo_health(void *config, struct fault *why)
{
    if (((struct demo_config *)config)->sick)
        return fault_set(why, FAULT_UNAVAILABLE, "feeling sick");
    return 0;
}

/* ---- a daemon of its own process ---------------------------------------------------------------------- */

struct daemon {
    struct test *t;
    pid_t pid;
    int out;
    char said[32768];
    size_t n;
};

static void lose_cap_kill(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };

    if (syscall(SYS_capget, &head, data) < 0)
        _exit(120);
    data[0].effective &= ~(1u << CAP_KILL);
    data[0].permitted &= ~(1u << CAP_KILL);
    if (syscall(SYS_capset, &head, data) < 0)
        _exit(121);
}

static _Noreturn void daemon_child(int out, char *flag, const char *const *env)
{
    static struct demo_config config;
    static const struct service demo = { .name = "demo", .vars = demo_vars, .var_count = COUNT(demo_vars), .config = &config,
                                         .check = demo_check, .start = demo_start, .drain = demo_drain,
                                         .health = demo_health };
    char name[] = "fe-demo", *argv[] = { name, flag, NULL };
    int status;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    close(out);
    if (geteuid() == 0)
        lose_cap_kill();               /* as in a container */
    (void)setenv("FE_UID", "0", 1);
    for (; *env != NULL; env += 2)
        (void)setenv(env[0], env[1], 1);
    status = service_run(&demo, flag != NULL ? 2 : 1, argv);
    (void)fflush(stdout);
    _exit(status);
}

static bool daemon_start(struct daemon *d, struct test *t, const char *flag, const char *const *env)
{
    int out[2];

    *d = (struct daemon){ .t = t, .out = -1 };
    if (pipe(out) < 0)
        return false;
    d->pid = fork();
    if (d->pid == 0) {
        close(out[0]);
        daemon_child(out[1], (char *)(uintptr_t)flag, env);
    }
    close(out[1]);
    d->out = out[0];
    return d->pid > 0;
}

/* Reads on until `text` has been said (once more after `from`) and gives where; NULL when the daemon ends without. */
static const char *daemon_await(struct daemon *d, const char *text, const char *from)
{
    struct pollfd p = { .fd = d->out, .events = POLLIN };

    for (;;) {
        const char *at = strstr(from != NULL ? from + 1 : d->said, text);
        ssize_t n;

        if (at != NULL)
            return at;
        if (d->n == sizeof(d->said) - 1 || poll(&p, 1, SAY_MOST_MS) != 1)
            return NULL;
        n = read(d->out, d->said + d->n, sizeof(d->said) - 1 - d->n);
        if (n <= 0)
            return NULL;
        d->n += (size_t)n;
        d->said[d->n] = '\0';
    }
}

/* Waits for the end; exit status, or 1000 + signal. */
static int daemon_end(struct daemon *d)
{
    int status = -1;

    (void)daemon_await(d, "\x01 never said", NULL);
    close(d->out);
    if (waitpid(d->pid, &status, 0) != d->pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static long number_after(const char *at, const char *key)
{
    at = at != NULL ? strstr(at, key) : NULL;
    return at != NULL ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* ---- settings --------------------------------------------------------------------------------------------- */

TEST(service, checks_settings)
{
    static const struct { const char *flag; const char *env[9]; int status; const char *said[3]; } row[] = {
        { "--help-config", { NULL }, 0, { "DEMO_N\n", "BIND_ADDRESS\n", "default: 20s, from 0s to 10m" } },
        { "--check-config", { NULL }, 0, { "settings are fine" } },
        { "--check-config", { "DEMO_N", "11", "LOG_LEVEL", "loud", "WORKERS", "0", "FE_UID", "mail" }, 1,
          { "DEMO_N: 11 is out of range", "LOG_LEVEL: \"loud\"", "FE_UID: \"mail\"" } },
        { "--check-config", { "DEMO_N", "7" }, 1, { "7 is not to our taste" } },
        { "--nonsense", { NULL }, 2, { "usage: " } },
        { "--health", { NULL }, 0, { NULL } },
        { "--health", { "DEMO_SICK", "yes" }, 1, { "unhealthy: unavailable: feeling sick" } },
        { NULL, { "DNS_TRUST_ANCHOR", "/nonexistent" }, 1, { "service.dns_failed", "cannot read /nonexistent" } },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct daemon d;

        REQUIRE(daemon_start(&d, t, row[i].flag, row[i].env));
        CHECK_ROW(i, daemon_end(&d) == row[i].status);
        for (size_t k = 0; k < COUNT(row[i].said) && row[i].said[k] != NULL; k++)
            CHECK_ROW(i, strstr(d.said, row[i].said[k]) != NULL);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static size_t metrics_fetch(const char *path, const char *request, char *out, size_t size)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t n = 0;
    ssize_t got;

    if (!slice_copy_cstr(slice_of(path), sa.sun_path, sizeof(sa.sun_path)) ||
        connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        write(fd, request, strlen(request)) != (ssize_t)strlen(request)) {
        close(fd);
        return 0;
    }
    while (n < size - 1 && (got = read(fd, out + n, size - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(fd);
    return n;
}

TEST(service, lives_and_drains)
{
    static const char *const says[] = { "HTTP/1.0 200 OK\r\n", "\ndemo_starts_total 1\n", "demo_seconds_bucket{le=\"0.0025\"} 0\n",
                                        "demo_seconds_bucket{le=\"0.005\"} 1\n", "demo_seconds_sum 0.003000\n",
                                        "process_resident_memory_bytes", "fe_fibers_running", "fe_pool_busy{pool=\"db\"}" };
    char path[64], text[16384];
    const char *env[] = { "METRICS_SOCKET", path, NULL };
    struct daemon d;

    (void)snprintf(path, sizeof(path), "/tmp/service-test-%d.sock", (int)getpid());
    REQUIRE(daemon_start(&d, t, NULL, env));
    CHECK(daemon_await(&d, "\"event\":\"service.ready\"", NULL) != NULL);
    CHECK(metrics_fetch(path, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)) > 0);
    for (size_t i = 0; i < COUNT(says); i++)
        CHECK_ROW(i, strstr(text, says[i]) != NULL);
    CHECK(metrics_fetch(path, "GET / HTTP/1.0\r\n\r\n", text, sizeof(text)) > 0);
    CHECK(strstr(text, "404 Not Found") != NULL);
    (void)kill(d.pid, SIGTERM);
    CHECK_INT(0, daemon_end(&d));
    CHECK(strstr(d.said, "demo.drain") != NULL && strstr(d.said, "service.end") != NULL);
    (void)unlink(path);
}

TEST(service, cuts_a_drain_that_hangs)
{
    const char *env[] = { "DEMO_STUCK", "yes", "DRAIN_TIMEOUT", "0s", NULL };
    struct daemon d;

    REQUIRE(daemon_start(&d, t, NULL, env));
    CHECK(daemon_await(&d, "service.ready", NULL) != NULL);
    (void)kill(d.pid, SIGTERM);
    CHECK_INT(0, daemon_end(&d));
    CHECK(strstr(d.said, "service.drain_cut") != NULL);
}

TEST(service, ends_at_once_when_asked_twice)
{
    const char *env[] = { "DEMO_STUCK", "yes", NULL };
    struct daemon d;

    REQUIRE(daemon_start(&d, t, NULL, env));
    CHECK(daemon_await(&d, "service.ready", NULL) != NULL);
    (void)kill(d.pid, SIGINT);
    CHECK(daemon_await(&d, "demo.drain", NULL) != NULL);
    (void)kill(d.pid, SIGINT);
    CHECK_INT(1, daemon_end(&d));
}

TEST(service, may_be_stopped_while_it_starts)
{
    const char *env[] = { "DEMO_SLOW", "yes", NULL };
    struct daemon d;

    REQUIRE(daemon_start(&d, t, NULL, env));
    CHECK(daemon_await(&d, "demo.starting", NULL) != NULL);
    (void)kill(d.pid, SIGTERM);
    CHECK_INT(0, daemon_end(&d));
    CHECK(strstr(d.said, "demo.drain") == NULL);
}

/* ---- workers and rights ------------------------------------------------------------------------------------------ */

/* As root: workers become another user, whom the parent, without CAP_KILL, can still stop. */
TEST(service, keeps_its_workers)
{
    const char *uid = geteuid() == 0 ? "10001" : "0";
    const char *env[] = { "WORKERS", "2", "FE_UID", uid, NULL };
    const char *first, *second, *third;
    struct daemon d;
    pid_t victim;

    REQUIRE(daemon_start(&d, t, NULL, env));
    first = daemon_await(&d, "service.ready", NULL);
    second = first != NULL ? daemon_await(&d, "service.ready", first) : NULL;
    CHECK(second != NULL);
    if (geteuid() == 0)
        CHECK_INT(10001, number_after(second, "\"uid\":"));
    victim = (pid_t)number_after(second, "\"pid\":");
    if (victim > 0 && second != NULL) {
        (void)kill(victim, SIGKILL);
        third = daemon_await(&d, "service.ready", second);
        CHECK(third != NULL && number_after(third, "\"pid\":") != victim);
        CHECK(strstr(d.said, "service.worker_died") != NULL);
    }
    (void)kill(d.pid, SIGTERM);
    CHECK_INT(0, daemon_end(&d));
}

/* The parent is killed: its workers drain and end, or the pipe would stay open. */
TEST(service, does_not_leave_workers_behind)
{
    const char *env[] = { "WORKERS", "2", "FE_UID", geteuid() == 0 ? "10001" : "0", NULL };
    const char *first;
    struct daemon d;

    REQUIRE(daemon_start(&d, t, NULL, env));
    first = daemon_await(&d, "service.ready", NULL);
    CHECK(first != NULL && daemon_await(&d, "service.ready", first) != NULL);
    (void)kill(d.pid, SIGKILL);
    CHECK_INT(1000 + SIGKILL, daemon_end(&d));
    first = strstr(d.said, "demo.drain");
    CHECK(first != NULL && strstr(first + 1, "demo.drain") != NULL);
}
