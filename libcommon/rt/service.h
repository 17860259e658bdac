/* service.h - the skeleton of every daemon's main(): settings, checks, signals, drain, rights, metrics.
 *
 * service_run() does, in order: --help-config, --check-config, --health; reads and checks all settings; opens the
 * log; start() (opens ports and stores; on a fiber); drops rights when root (SETUID/SETGID, uid and gid
 * FE_UID, default 10001; "0" keeps them, for development); runs the loop; on SIGTERM/SIGINT drain(), waits for it at most
 * DRAIN_TIMEOUT, exit 0. WORKERS=n forks n processes that share ports by SO_REUSEPORT and restarts those that die.
 * Common settings (all daemons): BIND_ADDRESS, METRICS_PORT or METRICS_SOCKET, LOG_LEVEL, WORKERS, DRAIN_TIMEOUT,
 * DNS_SERVERS, DNS_TRUST_ANCHOR, PROXY_FROM, FE_UID.
 */
#pragma once

#include "base/config.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/time.h"

struct service_common {
    const char *bind_address;
    int64_t workers;
    uint64_t drain_ms;
    const char **dns_servers;
    const char *dns_trust_anchor;
    const char **proxy_from;              /* for listener_options.proxy_from; NULL-terminated, empty: nobody */
    uint16_t metrics_port;
    const char *metrics_socket;
    const char *log_level;
    const char *uid;
};

struct service {
    const char *name;                              /* "imap" */
    const struct config_var *vars;
    size_t var_count;
    void *config;
    /* More checks over the read settings; appends lines to `errors`. May be NULL. Does not suspend. */
    void (*check)(void *config, struct buf *errors);
    /* Opens listeners and stores. <0: the service exits with the fault logged. */
    int (*start)(void *config, struct fault *why) SUSPENDS;
    /* SIGTERM: stop accepting, say good-bye, return when sessions have ended or `until` passed. */
    void (*drain)(void *config, struct deadline until) SUSPENDS;
    /* --health, in a process of its own: speaks the service's own protocol to its port. 0 healthy. */
    int (*health)(void *config, struct fault *why) SUSPENDS;
};

int service_run(const struct service *service, int argc, char **argv);
const struct service_common *service_common(void);     /* after settings were read */

/* ---- metrics: Prometheus text. Registered at start, by literals; cheap to bump; loop thread. ---- */
struct metric;
struct metric *metric_counter(const char *name, const char *help);
struct metric *metric_gauge(const char *name, const char *help, double (*read)(void *arg), void *arg);
struct metric *metric_histogram_us(const char *name, const char *help);    /* microseconds in, seconds out */
void metric_add(struct metric *m, uint64_t by);
void metric_observe_us(struct metric *m, uint64_t us);
void metrics_format(struct buf *out);
