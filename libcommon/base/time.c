/* time.c - see time.h.
 *
 * Owns the faked clock of tests. Called everywhere, from any thread. Cannot fail. Does not suspend.
 */
#include "base/time.h"

#include <stdatomic.h>

static atomic_bool faked;
static _Atomic uint64_t fake_mono_us;
static _Atomic int64_t fake_wall_ms;
static void (*on_advance)(void);

uint64_t clock_now_us(void)
{
    struct timespec ts;

    if (atomic_load_explicit(&faked, memory_order_relaxed))
        return fake_mono_us;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    struct timespec ts;

    if (atomic_load_explicit(&faked, memory_order_relaxed))
        return fake_wall_ms;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct deadline deadline_in_ms(uint64_t ms)
{
    uint64_t now = clock_now_ms();

    return ms > UINT64_MAX - now ? DEADLINE_NEVER : (struct deadline){ now + ms };
}

struct deadline deadline_earlier(struct deadline a, struct deadline b)
{
    return a.at_ms < b.at_ms ? a : b;
}

bool deadline_is_past(struct deadline d)
{
    return d.at_ms != UINT64_MAX && clock_now_ms() >= d.at_ms;
}

uint64_t deadline_left_ms(struct deadline d)
{
    uint64_t now;

    if (d.at_ms == UINT64_MAX)
        return UINT64_MAX;
    now = clock_now_ms();
    return now >= d.at_ms ? 0 : d.at_ms - now;
}

void clock_fake(int64_t wall_ms)
{
    if (!faked)
        fake_mono_us = clock_now_us();
    fake_wall_ms = wall_ms;
    faked = true;
    if (on_advance != NULL)
        on_advance();
}

void clock_advance(uint64_t ms)
{
    fake_mono_us += ms * 1000;
    fake_wall_ms += (int64_t)ms;
    if (on_advance != NULL)
        on_advance();
}

void clock_real(void)
{
    faked = false;
    if (on_advance != NULL)
        on_advance();
}

bool clock_is_fake(void)
{
    return faked;
}

void clock_on_advance(void (*fn)(void))
{
    on_advance = fn;
}

static void split(int64_t wall_ms, struct tm *tm, int *ms)
{
    int64_t s = wall_ms / 1000;
    time_t t;

    *ms = (int)(wall_ms % 1000);
    if (*ms < 0) {
        *ms += 1000;
        s--;
    }
    t = (time_t)s;
    if (gmtime_r(&t, tm) == NULL)
        memset(tm, 0, sizeof(*tm));
}

struct date_text date_format_iso(int64_t wall_ms)
{
    struct date_text out;
    struct tm tm;
    int ms;

    split(wall_ms, &tm, &ms);
    (void)snprintf(out.s, sizeof(out.s), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
    return out;
}

struct date_text date_format_rfc5322(int64_t wall_ms)
{
    static const char day[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char month[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct date_text out;
    struct tm tm;
    int ms;

    split(wall_ms, &tm, &ms);
    (void)snprintf(out.s, sizeof(out.s), "%s, %02d %s %04d %02d:%02d:%02d +0000", day[tm.tm_wday], tm.tm_mday,
                   month[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return out;
}

static bool digits(struct slice *s, size_t n, int *out)
{
    uint32_t v;

    if (s->n < n || !slice_to_u32(slice_head(*s, n), 9999, &v))
        return false;
    *out = (int)v;
    *s = slice_tail(*s, n);
    return true;
}

static bool mark(struct slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = slice_tail(*s, 1);
    return true;
}

static int days_in_month(int year, int month)
{
    static const char days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* The form date_format_iso() writes; the fraction may be missing. Only UTC ("Z"). */
bool date_parse_iso(struct slice s, int64_t *wall_ms)
{
    struct tm tm = { 0 };
    int ms = 0;

    if (!digits(&s, 4, &tm.tm_year) || !mark(&s, '-') || !digits(&s, 2, &tm.tm_mon) || !mark(&s, '-') ||
        !digits(&s, 2, &tm.tm_mday) || !mark(&s, 'T') || !digits(&s, 2, &tm.tm_hour) || !mark(&s, ':') ||
        !digits(&s, 2, &tm.tm_min) || !mark(&s, ':') || !digits(&s, 2, &tm.tm_sec))
        return false;
    if (mark(&s, '.') && !digits(&s, 3, &ms))
        return false;
    if (!mark(&s, 'Z') || s.n != 0 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
        tm.tm_mday > days_in_month(tm.tm_year, tm.tm_mon) ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *wall_ms = (int64_t)timegm(&tm) * 1000 + ms;
    return true;
}
