/* service.c - the one main() of all daemons: settings, checks, signals, drain, rights, metrics.
 *
 * Owns      the common settings and the metrics listener.
 * Called by every services/<name>/main.c.
 * Fails     with exit status 1 and one readable text, before any port is open where that is possible.
 */
#include "rt/service.h"

#include <sys/un.h>
#include <unistd.h>

#include "base/environment.h"
#include "rt/dns.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/loop.h"
#include "rt/offload.h"
#include "rt/process.h"
#include "rt/timer.h"

static struct service_common common;

static const struct config_var common_vars[] = {
    VAR_STRING(struct service_common, bind_address, "BIND_ADDRESS", "", "address to listen on; empty: all, IPv4 and IPv6"),
    VAR_INT(struct service_common, workers, "WORKERS", "1", "1", "64", "processes that share the ports"),
    VAR_MS(struct service_common, drain_ms, "DRAIN_TIMEOUT", "20s", "0s", "10m", "time for sessions to end after SIGTERM"),
    VAR_LIST(struct service_common, dns_servers, "DNS_SERVERS", "", "resolvers to ask, ip or ip@port; empty: /etc/resolv.conf"),
    VAR_STRING(struct service_common, dns_trust_anchor, "DNS_TRUST_ANCHOR", "", "file of DNSSEC trust anchors, or root: the keys of the root zone, built in; empty: none, nothing counts as validated (no DANE)"),
    VAR_LIST(struct service_common, proxy_from, "PROXY_FROM", "", "addresses or prefixes of load balancers, which must send a PROXY v2 header on the mail ports; empty: none"),
    VAR_PORT(struct service_common, metrics_port, "METRICS_PORT", "0", "loopback port for GET /metrics, the next ones for further WORKERS; 0: none"),
    VAR_STRING(struct service_common, metrics_socket, "METRICS_SOCKET", "", "unix socket for GET /metrics, with .1 .2 appended for further WORKERS; empty: none"),
    VAR_STRING(struct service_common, log_level, "LOG_LEVEL", "info", "debug, info, warn or error"),
    VAR_STRING(struct service_common, uid, "FE_UID", "10001", "user and group id to become when started as root; 0: stay root"),
};

#define DRAIN_GRACE_MS 1000            /* for drain() to return after its time is over */

enum mode { MODE_RUN, MODE_CHECK, MODE_HELP, MODE_HEALTH };

struct run {
    const struct service *service;
    enum mode mode;
    int status;
    struct listener *metrics[2];
    bool ready, stopping;
    struct timer stop_limit;
};

static struct run run;

const struct service_common *service_common(void)
{
    return &common;
}

/* ---- settings ---------------------------------------------------------------------------------- */

static bool level_parse(const char *text, enum log_level *out)
{
    static const char *const name[] = { "debug", "info", "warn", "error" };

    for (size_t i = 0; i < COUNT(name); i++)
        if (strcmp(text, name[i]) == 0)
            return *out = (enum log_level)i, true;
    return false;
}

/* Exit status. All mistakes at once, by name. */
static int settings_read(const struct service *s)
{
    AUTO(buf_free) struct buf errors = BUF_INIT(BUF_MAX_DEFAULT);
    enum log_level level = LOG_INFO;
    uint32_t uid;

    config_read(common_vars, COUNT(common_vars), &common, environment_get, &errors);
    config_read(s->vars, s->var_count, s->config, environment_get, &errors);
    if (common.log_level != NULL && !level_parse(common.log_level, &level))
        (void)buf_printf(&errors, "LOG_LEVEL: \"%s\" is none of debug, info, warn, error\n", common.log_level);
    if (common.uid != NULL && !slice_to_u32(slice_of(common.uid), UINT32_MAX - 1, &uid))
        (void)buf_printf(&errors, "FE_UID: \"%s\" is not the number of a user\n", common.uid);
    if (errors.n == 0 && s->check != NULL)
        s->check(s->config, &errors);
    if (errors.n > 0) {
        (void)fprintf(stderr, "%s: these settings are wrong:\n%.*s", s->name, SLICE(buf_slice(&errors)));
        return 1;
    }
    log_init(s->name, level);
    return 0;
}

static void help_print(const struct service *s)
{
    AUTO(buf_free) struct buf text = BUF_INIT(BUF_MAX_DEFAULT);

    config_print_help(s->vars, s->var_count, &text);
    config_print_help(common_vars, COUNT(common_vars), &text);
    (void)fwrite(text.p, 1, text.n, stdout);
}

/* ---- metrics ------------------------------------------------------------------------------------- */

static int metrics_answer(struct stream *s, struct fault *why)
{
    AUTO(buf_free) struct buf body = BUF_INIT(BUF_MAX_DEFAULT);
    struct deadline until = deadline_in_ms(5000);
    struct slice line;
    bool found;

    if (stream_read_line(s, 4096, until, &line, why) < 0)
        return -1;
    found = slice_has_prefix(line, LIT("GET /metrics "));
    do {
        if (stream_read_line(s, 4096, until, &line, why) < 0)
            return -1;
    } while (line.n > 0);
    if (found)
        metrics_format(&body);
    if (stream_printf(s, until, why, "HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n\r\n",
                      found ? "200 OK" : "404 Not Found", body.n) < 0 ||
        stream_write(s, buf_slice(&body), until, why) < 0)
        return -1;
    return stream_flush(s, until, why);
}

static void metrics_accept(struct stream *s, UNUSED void *arg)
{
    struct fault why;

    (void)metrics_answer(s, &why);
    stream_close(&s);
}

/* Each worker counts for itself, so each has an endpoint of its own. */
static int metrics_open(struct fault *why)
{
    static char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    unsigned index = process_worker_index();
    struct listener_options tcp = { .name = "metrics", .bind_address = "127.0.0.1", .max_connections = 16,
                                    .accept = metrics_accept };
    struct listener_options local = { .name = "metrics", .unix_path = path, .max_connections = 16, .accept = metrics_accept };
    int n;

    tcp.port = (uint16_t)(common.metrics_port + index);
    if (common.metrics_port != 0 && listener_open(&tcp, &run.metrics[0], why) < 0)
        return -1;
    if (common.metrics_socket[0] == '\0')
        return 0;
    n = index == 0 ? snprintf(path, sizeof(path), "%s", common.metrics_socket)
                   : snprintf(path, sizeof(path), "%s.%u", common.metrics_socket, index);
    if (n < 0 || (size_t)n >= sizeof(path))
        return fault_set(why, FAULT_INVALID, "METRICS_SOCKET: path is too long");
    return listener_open(&local, &run.metrics[1], why);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void fail(const char *event, const struct fault *why)
{
    log_event(LOG_ERROR, event, F_FAULT(why));
    run.status = 1;
    loop_stop();
}

/* drain() outlived its time. What sessions still do is cut as by SIGKILL, which everything here survives. */
static void stop_cut(UNUSED struct timer *t)
{
    log_event(LOG_WARN, "service.drain_cut", F_INT("drain_ms", common.drain_ms));
    loop_stop();
}

static void stop_fiber(UNUSED void *arg)
{
    struct deadline until = deadline_in_ms(common.drain_ms);

    timer_init(&run.stop_limit, stop_cut, NULL);
    timer_start(&run.stop_limit, deadline_in_ms(common.drain_ms + DRAIN_GRACE_MS));
    log_event(LOG_INFO, "service.stop", F_INT("drain_ms", common.drain_ms));
    if (run.service->drain != NULL)
        run.service->drain(run.service->config, until);
    log_event(LOG_INFO, "service.end", F_INT("status", run.status));
    loop_stop();
}

static void stop_asked(int number)
{
    struct fault why;

    if (run.stopping) {                /* asked twice: the operator is in a hurry */
        log_event(LOG_WARN, "service.abort", F_INT("signal", number));
        _exit(1);
    }
    run.stopping = true;
    if (!run.ready) {                  /* nothing is open that drain() could close */
        log_event(LOG_INFO, "service.end", F_INT("status", run.status));
        loop_stop();
        return;
    }
    if (fiber_start("stop", stop_fiber, NULL, &why) < 0)
        fail("service.stop_failed", &why);
}

static void start_fiber(UNUSED void *arg)
{
    struct dns_options dns = { .servers = (const char *const *)common.dns_servers,
                               .trust_anchor = common.dns_trust_anchor[0] != '\0' ? common.dns_trust_anchor : NULL };
    struct fault why;

    if (dns_init(&dns, &why) < 0) {
        fail("service.dns_failed", &why);
        return;
    }
    if (run.mode == MODE_HEALTH) {
        run.status = run.service->health == NULL || run.service->health(run.service->config, &why) == 0 ? 0 : 1;
        if (run.status != 0)
            (void)fprintf(stderr, "unhealthy: %s: %s\n", fault_code_name(why.code), why.text);
        loop_stop();
        return;
    }
    if (process_on_stop(stop_asked, &why) < 0 || metrics_open(&why) < 0 ||
        run.service->start(run.service->config, &why) < 0 || process_drop_rights(common.uid, &why) < 0) {
        fail("service.start_failed", &why);
        return;
    }
    run.ready = true;
    log_event(LOG_INFO, "service.ready", F_INT("pid", getpid()), F_INT("uid", getuid()));
}

static int loop_life(void)
{
    struct fault why;

    if (loop_init(&why) < 0 || fiber_start("start", start_fiber, NULL, &why) < 0) {
        log_event(LOG_ERROR, "service.loop_failed", F_FAULT(&why));
        return 1;
    }
    loop_run();
    listener_close(&run.metrics[0]);
    listener_close(&run.metrics[1]);
    /* what sessions still hold goes with the process; waiting for their threads here would only delay the end */
    (void)fflush(stdout);
    _exit(run.status);
}

static bool mode_parse(int argc, char **argv, enum mode *out)
{
    static const struct { const char *flag; enum mode mode; } row[] = {
        { "--check-config", MODE_CHECK }, { "--help-config", MODE_HELP }, { "--health", MODE_HEALTH },
    };

    *out = MODE_RUN;
    if (argc < 2)
        return true;
    for (size_t i = 0; i < COUNT(row) && argc == 2; i++)
        if (strcmp(argv[1], row[i].flag) == 0)
            return *out = row[i].mode, true;
    return false;
}

int service_run(const struct service *service, int argc, char **argv)
{
    struct fault why;

    run.service = service;
    if (!mode_parse(argc, argv, &run.mode)) {
        (void)fprintf(stderr, "usage: %s [--check-config | --help-config | --health]\n", argv[0]);
        return 2;
    }
    if (run.mode == MODE_HELP) {
        help_print(service);
        return 0;
    }
    process_hide_memory();
    log_init(service->name, LOG_INFO);
    (void)secret_init();
    if (settings_read(service) != 0)
        return 1;
    if (run.mode == MODE_CHECK) {
        printf("%s: settings are fine\n", service->name);
        return 0;
    }
    if (run.mode == MODE_RUN && common.workers > 1 && process_fork_workers((unsigned)common.workers, common.uid, &why) < 0) {
        log_event(LOG_ERROR, "service.workers_failed", F_FAULT(&why));
        return 1;
    }
    process_metrics_register();
    return loop_life();
}
