/* metrics.c - counters, gauges and histograms, and their text for Prometheus.
 *
 * Owns the registered metrics, for the life of the process. Loop thread only. Cannot fail. Does not suspend.
 */
#include "rt/service.h"

#include "rt/fiber.h"
#include "rt/offload.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* microseconds; the last bucket is +Inf */
static const uint64_t bucket_us[] = { 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000 };
#define BUCKETS (COUNT(bucket_us) + 1)

struct metric {
    enum kind kind;
    const char *name, *help;
    uint64_t value, sum_us, bucket[BUCKETS];
    double (*read)(void *arg);
    void *arg;
    struct metric *next;
};

static struct metric *first, **last = &first;

static struct metric *metric_new(enum kind kind, const char *name, const char *help)
{
    struct metric *m = calloc(1, sizeof(*m));

    if (m == NULL)
        abort();
    m->kind = kind;
    m->name = name;
    m->help = help;
    *last = m;
    last = &m->next;
    return m;
}

struct metric *metric_counter(const char *name, const char *help)
{
    return metric_new(COUNTER, name, help);
}

struct metric *metric_gauge(const char *name, const char *help, double (*read)(void *arg), void *arg)
{
    struct metric *m = metric_new(GAUGE, name, help);

    m->read = read;
    m->arg = arg;
    return m;
}

struct metric *metric_histogram_us(const char *name, const char *help)
{
    return metric_new(HISTOGRAM, name, help);
}

void metric_add(struct metric *m, uint64_t by)
{
    m->value += by;
}

void metric_observe_us(struct metric *m, uint64_t us)
{
    size_t i = 0;

    while (i < COUNT(bucket_us) && us > bucket_us[i])
        i++;
    m->bucket[i]++;
    m->sum_us += us;
    m->value++;
}

static void format_histogram(const struct metric *m, struct buf *out)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < COUNT(bucket_us); i++) {
        sum += m->bucket[i];
        (void)buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", m->name, (double)bucket_us[i] / 1e6, (unsigned long long)sum);
    }
    (void)buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", m->name,
                     (unsigned long long)m->value, m->name, (double)m->sum_us / 1e6, m->name,
                     (unsigned long long)m->value);
}

static void format_pools(struct buf *out)
{
    static const char *const pool[OFFLOAD_POOL_COUNT] = { "db", "cpu", "file" };
    struct fiber_stats f;

    fiber_get_stats(&f);
    (void)buf_printf(out, "fe_fibers_running %u\nfe_fibers_peak %u\nfe_fiber_stack_peak_bytes %zu\nfe_loop_stalls_total %llu\n",
                     f.running, f.peak, f.stack_peak_bytes, (unsigned long long)f.stalls);
    for (int i = 0; i < OFFLOAD_POOL_COUNT; i++) {
        struct offload_stats s;

        offload_get_stats((enum offload_pool)i, &s);
        (void)buf_printf(out, "fe_pool_busy{pool=\"%s\"} %u\nfe_pool_queued{pool=\"%s\"} %u\nfe_pool_refused_total{pool=\"%s\"} %llu\n",
                         pool[i], s.busy, pool[i], s.queued, pool[i], (unsigned long long)s.refused);
    }
}

void metrics_format(struct buf *out)
{
    static const char *const type[] = { "counter", "gauge", "histogram" };

    for (const struct metric *m = first; m != NULL; m = m->next) {
        (void)buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, type[m->kind]);
        if (m->kind == COUNTER)
            (void)buf_printf(out, "%s %llu\n", m->name, (unsigned long long)m->value);
        else if (m->kind == GAUGE)
            (void)buf_printf(out, "%s %.15g\n", m->name, m->read(m->arg));
        else
            format_histogram(m, out);
    }
    format_pools(out);
}
