/* process_metrics.c - gauges of the process itself, by the names Prometheus' own clients use.
 *
 * Owns the time of start. Called by service.c once, read by metrics.c. A value that cannot be read is 0. Does not suspend.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/time.h"
#include "rt/process.h"
#include "rt/service.h"

static double started_s;

static double read_started(UNUSED void *arg)
{
    return started_s;
}

static double read_resident(UNUSED void *arg)
{
    char line[128] = "";                    /* size resident shared ..., in pages */
    FILE *f = fopen("/proc/self/statm", "re");
    const char *resident;

    if (f == NULL)
        return 0;
    resident = fgets(line, sizeof(line), f) != NULL ? strchr(line, ' ') : NULL;
    (void)fclose(f);
    return resident != NULL ? (double)strtol(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double read_cpu(UNUSED void *arg)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) < 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* With ten thousand connections this costs a few milliseconds, once per scrape. */
static double read_open_files(UNUSED void *arg)
{
    DIR *d = opendir("/proc/self/fd");
    double n = -3;                     /* ".", ".." and the one this takes */

    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        n++;
    (void)closedir(d);
    return n;
}

void process_metrics_register(void)
{
    started_s = (double)clock_wall_ms() / 1000;
    (void)metric_gauge("process_start_time_seconds", "start of the process since 1970", read_started, NULL);
    (void)metric_gauge("process_resident_memory_bytes", "memory in RAM", read_resident, NULL);
    (void)metric_gauge("process_cpu_seconds_total", "user and system time used", read_cpu, NULL);
    (void)metric_gauge("process_open_fds", "open file descriptors", read_open_files, NULL);
}
