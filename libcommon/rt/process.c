/* process.c - see process.h.
 *
 * Owns the two uv_signal watchers and, in the parent of workers, their pids. Called by service.c. Does not suspend.
 */
#include "rt/process.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "rt/loop_internal.h"

#define WORKERS_MAX 64

static uv_signal_t watcher[2];
static bool watching;
static void (*on_stop)(int signal_number);

static void signal_seen(UNUSED uv_signal_t *handle, int number)
{
    on_stop(number);
}

int process_on_stop(void (*fn)(int signal_number), struct fault *why)
{
    static const int number[2] = { SIGTERM, SIGINT };

    on_stop = fn;
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        if (uv_signal_init(loop_uv(), &watcher[i]) != 0 || uv_signal_start(&watcher[i], signal_seen, number[i]) != 0)
            return fault_set(why, FAULT_IO, "cannot watch signal %d", number[i]);
        uv_unref((uv_handle_t *)&watcher[i]);
    }
    watching = true;
    return 0;
}

void process_signals_close(void)
{
    if (!watching)
        return;
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&watcher[i], NULL);
    watching = false;
}

int process_drop_rights(const char *uid, struct fault *why)
{
    uint32_t id;

    if (geteuid() != 0 || strcmp(uid, "0") == 0)
        return 0;
    if (!slice_to_u32(slice_of(uid), UINT32_MAX - 1, &id))
        return fault_set(why, FAULT_INVALID, "FE_UID: \"%s\" is not a number", uid);
    if (setgroups(0, NULL) < 0 || setgid(id) < 0 || setuid(id) < 0)
        return fault_errno(why, errno, "become user %u", id);
    return 0;
}

void process_hide_memory(void)
{
#ifdef FE_RELEASE
    struct rlimit none = { 0, 0 };

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static volatile sig_atomic_t stop_signal;

static void parent_signal(int number)
{
    stop_signal = number;
}

static pid_t worker_start(const sigset_t *usual)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)signal(SIGTERM, SIG_DFL);
        (void)signal(SIGINT, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, usual, NULL);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    return pid;
}

/* A worker that dies at once must not be started in a tight loop: one more second each time, 30 at most. */
static void worker_pause(uint64_t started_ms)
{
    static unsigned seconds = 1;

    if (clock_now_ms() - started_ms > 60000)
        seconds = 1;
    sleep(seconds);
    seconds = seconds < 30 ? seconds + 1 : 30;
}

static void parent_end(const pid_t *pids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (pids[i] > 0)
            (void)kill(pids[i], SIGTERM);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    _exit(0);
}

int process_fork_workers(unsigned count, struct fault *why)
{
    pid_t pids[WORKERS_MAX];
    uint64_t started = clock_now_ms();
    struct sigaction act = { .sa_handler = parent_signal };
    sigset_t stops, usual;

    if (count > WORKERS_MAX)
        return fault_set(why, FAULT_INVALID, "WORKERS: at most %d", WORKERS_MAX);
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigaddset(&stops, SIGINT);
    (void)sigprocmask(0, NULL, &usual);
    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGINT, &act, NULL);
    for (unsigned i = 0; i < count; i++) {
        pids[i] = worker_start(&usual);
        if (pids[i] == 0)
            return 0;
        if (pids[i] < 0)
            return fault_errno(why, errno, "start a worker");
    }
    for (;;) {
        int status;
        pid_t gone = waitpid(-1, &status, 0);

        if (stop_signal != 0)
            parent_end(pids, count);
        for (unsigned i = 0; gone > 0 && i < count; i++) {
            if (pids[i] != gone)
                continue;
            log_event(LOG_ERROR, "service.worker_died", F_INT("pid", gone), F_INT("status", status));
            worker_pause(started);
            started = clock_now_ms();
            pids[i] = worker_start(&usual);
            if (pids[i] == 0)
                return 0;
        }
    }
}
