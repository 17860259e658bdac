/* main.c - fe-keeper: starts a container of this Compose project again that somebody killed with `docker kill`.
 *
 * Owns      the process. It has no port, no network and no secrets; it reads Docker's events and asks for starts, nothing else.
 * Fails     at start when a setting is wrong; without an engine it waits for one. Blocks: one thread, one thing to do, so no loop,
 *           and half a megabyte of memory.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/config.h"
#include "base/environment.h"
#include "base/log.h"
#include "base/time.h"
#include "docker.h"
#include "watch.h"

#define ENGINE_AGAIN_MS 2000
#define ENGINE_TRIES    30             /* then the container ends: its next start mounts the socket anew, which a new engine has made anew */

struct keeper {
    const char *project;
    const char *socket_path;
    struct docker docker;
    struct watch watch;
};

static struct keeper keeper;

static const struct config_var vars[] = {
    VAR_STRING(struct keeper, project, "KEEPER_PROJECT", "", "Compose project whose containers are looked after; the compose file sets it"),
    VAR_STRING(struct keeper, socket_path, "KEEPER_DOCKER_SOCKET", "/var/run/docker.sock", "unix socket of the Docker Engine"),
};

/* PID 1 of a container has no default action for signals. Nothing is under way that could be lost. */
static void stop_asked(int number)
{
    _exit(number == SIGTERM || number == SIGINT ? 0 : 1);
}

/* What Docker says to a start: done, runs already, or is gone (or going) for good. */
static void started(struct watch_entry *e, unsigned status)
{
    if (status == 204)
        log_event(LOG_WARN, "keeper.started", F_STR("service", e->service), F_STR("container", e->id));
    if (status == 204 || status == 304 || status == 404 || status == 409) {
        watch_done(e);
        return;
    }
    log_event(LOG_WARN, "keeper.start_failed", F_STR("service", e->service), F_STR("container", e->id), F_INT("status", status));
    if (!watch_again(e, clock_now_ms()))
        log_event(LOG_ERROR, "keeper.gave_up", F_STR("project", keeper.project));
}

static int start_due(struct fault *why)
{
    char path[WATCH_ID_MAX + 32];
    struct watch_entry *e;
    unsigned status;

    while ((e = watch_due(&keeper.watch, clock_now_ms())) != NULL) {
        (void)snprintf(path, sizeof(path), "/containers/%s/start", e->id);
        if (docker_ask(keeper.socket_path, "POST", path, &status, why) < 0)
            return -1;
        started(e, status);
    }
    return 0;
}

static int turn(struct fault *why)
{
    uint64_t next = watch_next_ms(&keeper.watch), now = clock_now_ms();
    struct slice line;
    int r = docker_next(&keeper.docker, next == UINT64_MAX ? UINT64_MAX : next > now ? next - now : 0, &line, why);

    if (r < 0)
        return -1;
    if (r == 1 && line.n > 0 && !watch_event(&keeper.watch, line, clock_now_ms()))
        return fault_set(why, FAULT_PROTOCOL, "no event: %.*s", SLICE(slice_head(line, 100)));
    return start_due(why);
}

/* Returns when there has been no engine for a while. */
static void keep(void)
{
    struct fault why;

    for (unsigned tries = 0; tries < ENGINE_TRIES; tries++) {
        if (docker_events(&keeper.docker, keeper.project, keeper.watch.seen_ns, &why) == 0) {
            log_event(LOG_INFO, "keeper.watching", F_STR("project", keeper.project));
            tries = 0;
            while (turn(&why) == 0)
                ;
        }
        if (tries == 0)
            log_event(LOG_WARN, "keeper.no_engine", F_FAULT(&why));
        (void)usleep(ENGINE_AGAIN_MS * 1000);
    }
    log_event(LOG_ERROR, "keeper.end", F_FAULT(&why));
}

static int health(void)
{
    struct fault why;
    unsigned status = 0;

    if (docker_ask(keeper.socket_path, "GET", "/_ping", &status, &why) == 0 && status == 200)
        return 0;
    (void)fprintf(stderr, "unhealthy: %s\n", status != 0 ? "the Docker Engine is not well" : why.text);
    return 1;
}

static int settings_read(void)
{
    AUTO(buf_free) struct buf errors = BUF_INIT(1 << 16);

    if (config_read(vars, COUNT(vars), &keeper, environment_get, &errors) == 0)
        return 0;
    (void)fprintf(stderr, "keeper: these settings are wrong:\n%.*s", SLICE(buf_slice(&errors)));
    return 1;
}

static void help_print(void)
{
    AUTO(buf_free) struct buf text = BUF_INIT(1 << 16);

    config_print_help(vars, COUNT(vars), &text);
    (void)fwrite(text.p, 1, text.n, stdout);
}

static int run(void)
{
    if (!docker_is_project(slice_of(keeper.project))) {
        (void)fprintf(stderr, "keeper: these settings are wrong:\nKEEPER_PROJECT: \"%s\" is not the name of a Compose project\n", keeper.project);
        return 1;
    }
    log_init("keeper", LOG_INFO);
    (void)signal(SIGTERM, stop_asked);
    (void)signal(SIGINT, stop_asked);
    docker_init(&keeper.docker, keeper.socket_path);
    keep();
    return 1;
}

int main(int argc, char **argv)
{
    const char *mode = argc == 2 ? argv[1] : "";

    if (argc > 2 || (argc == 2 && strcmp(mode, "--help-config") != 0 && strcmp(mode, "--check-config") != 0 && strcmp(mode, "--health") != 0)) {
        (void)fprintf(stderr, "usage: %s [--check-config | --help-config | --health]\n", argv[0]);
        return 2;
    }
    if (strcmp(mode, "--help-config") == 0) {
        help_print();
        return 0;
    }
    if (settings_read() != 0)
        return 1;
    if (strcmp(mode, "--check-config") == 0) {
        printf("keeper: settings are fine\n");
        return 0;
    }
    return strcmp(mode, "--health") == 0 ? health() : run();
}
