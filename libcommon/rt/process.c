/* process.c - see process.h.
 *
 * Owns the two uv_signal watchers and, in the parent of workers, their pids. Called by service.c. The parent of workers blocks
 * here for its whole life, in sigtimedwait, so that no signal is lost between two checks. Does not suspend.
 */
#include "rt/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "rt/loop_internal.h"

#define WORKERS_MAX 64

static uv_signal_t watcher[2];
static uv_poll_t parent_watcher;
static int parent_end_fd = -1;         /* in a worker: a pipe that ends with the parent, however that ends */
static void (*on_stop)(int signal_number);

static void signal_seen(UNUSED uv_signal_t *handle, int number)
{
    on_stop(number);
}

static void parent_gone(uv_poll_t *handle, UNUSED int status, UNUSED int events)
{
    (void)uv_poll_stop(handle);
    on_stop(SIGTERM);
}

/* Not by PR_SET_PDEATHSIG: that needs the parent's right to signal us, which it lacks in a container once we are another user. */
static int parent_watch(struct fault *why)
{
    if (parent_end_fd < 0)
        return 0;
    if (uv_poll_init(loop_uv(), &parent_watcher, parent_end_fd) != 0 ||
        uv_poll_start(&parent_watcher, UV_READABLE | UV_DISCONNECT, parent_gone) != 0)
        return fault_set(why, FAULT_IO, "cannot watch the parent");
    uv_unref((uv_handle_t *)&parent_watcher);
    return 0;
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
    return parent_watch(why);
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

/* ---- workers ------------------------------------------------------------------------------------- */

#define PAUSE_LEAST_MS 1000    /* before a worker that died young is started again; doubles each time */
#define PAUSE_MOST_MS  30000
#define LIVED_WELL_MS  60000

struct worker {
    pid_t pid;                         /* 0: not running */
    uint64_t started_ms, due_ms, pause_ms;
};

static struct {
    struct worker worker[WORKERS_MAX];
    unsigned count;
    sigset_t watched, usual;
    int lifeline;                      /* nothing is ever written: its other ends see when we end */
    int status;
} parent;

static unsigned my_index;

unsigned process_worker_index(void)
{
    return my_index;
}

/* True in the new worker. */
static bool worker_start(struct worker *w)
{
    pid_t pid = fork();

    if (pid == 0) {
        my_index = (unsigned)(w - parent.worker);
        close(parent.lifeline);
        (void)setpgid(0, 0);           /* ^C at the terminal is for the parent, which passes it on once */
        (void)sigprocmask(SIG_SETMASK, &parent.usual, NULL);
        return true;
    }
    w->pid = pid > 0 ? pid : 0;
    w->started_ms = clock_now_ms();
    w->due_ms = w->started_ms + PAUSE_LEAST_MS;        /* counts only when fork failed */
    return false;
}

static void worker_gone(pid_t pid, int status)
{
    for (struct worker *w = parent.worker; w < parent.worker + parent.count; w++) {
        uint64_t now = clock_now_ms();

        if (w->pid != pid)
            continue;
        w->pid = 0;
        if (now - w->started_ms > LIVED_WELL_MS)
            w->pause_ms = 0;
        w->due_ms = now + w->pause_ms;
        w->pause_ms = w->pause_ms == 0 ? PAUSE_LEAST_MS : w->pause_ms < PAUSE_MOST_MS ? w->pause_ms * 2 : PAUSE_MOST_MS;
        log_event(LOG_ERROR, "service.worker_died", F_INT("pid", pid), F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
                  F_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    }
}

static unsigned workers_reap(void (*gone)(pid_t pid, int status))
{
    pid_t pid;
    int status;
    unsigned n = 0;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        gone(pid, status);
    for (unsigned i = 0; i < parent.count; i++)
        n += parent.worker[i].pid != 0;
    return n;
}

/* In a container root may not signal other users (no CAP_KILL): those are reached as the user they have become. */
static void workers_signal(const char *uid)
{
    struct fault why;

    for (int as = 0; as < 2; as++) {
        bool refused = false;

        for (unsigned i = 0; i < parent.count; i++)
            if (parent.worker[i].pid != 0 && kill(parent.worker[i].pid, SIGTERM) < 0 && errno == EPERM)
                refused = true;
        if (!refused || process_drop_rights(uid, &why) < 0)
            return;
    }
}

static void worker_ended(pid_t pid, int status)
{
    for (unsigned i = 0; i < parent.count; i++)
        if (parent.worker[i].pid == pid)
            parent.worker[i].pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        parent.status = 1;
}

static _Noreturn void parent_end(const char *uid)
{
    workers_signal(uid);
    while (workers_reap(worker_ended) > 0)
        if (sigwaitinfo(&parent.watched, NULL) != SIGCHLD)
            workers_signal(uid);       /* asked twice: so are they */
    _exit(parent.status);
}

/* True in a worker. */
static bool workers_start_due(struct timespec *wait)
{
    uint64_t now = clock_now_ms(), next = now + PAUSE_MOST_MS;

    for (struct worker *w = parent.worker; w < parent.worker + parent.count; w++) {
        if (w->pid == 0 && w->due_ms <= now && worker_start(w))
            return true;
        if (w->pid == 0 && w->due_ms < next)
            next = w->due_ms;
    }
    next = next > now ? next - now : 1;
    wait->tv_sec = (time_t)(next / 1000);
    wait->tv_nsec = (long)(next % 1000) * 1000000;
    return false;
}

int process_fork_workers(unsigned count, const char *uid, struct fault *why)
{
    int lifeline[2];

    if (count > WORKERS_MAX)
        return fault_set(why, FAULT_INVALID, "WORKERS: at most %d", WORKERS_MAX);
    if (pipe2(lifeline, O_CLOEXEC) < 0)
        return fault_errno(why, errno, "pipe");
    parent_end_fd = lifeline[0];
    parent.lifeline = lifeline[1];
    parent.count = count;
    (void)sigemptyset(&parent.watched);
    (void)sigaddset(&parent.watched, SIGTERM);
    (void)sigaddset(&parent.watched, SIGINT);
    (void)sigaddset(&parent.watched, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &parent.watched, &parent.usual);
    for (;;) {
        struct timespec wait;
        int number;

        if (workers_start_due(&wait))
            return 0;
        number = sigtimedwait(&parent.watched, NULL, &wait);
        if (number == SIGTERM || number == SIGINT)
            parent_end(uid);
        (void)workers_reap(worker_gone);
    }
}
