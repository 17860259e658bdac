/* rfc5322_date.c - dates of mail (RFC 5322 3.3 and 4.3, asctime as some programs write it) to milliseconds since 1970.
 *
 * Owns nothing. Called through rfc5322.h. False when no date can be read. Never suspends.
 */
#include "wire/rfc5322.h"

#define DATE_TOKENS_MAX 12

struct date_parts {
    int64_t year;
    uint32_t month, day, hour, minute, second;
    int zone_min;
};

/* Words separated by white space and commas, comments left out. */
static size_t split_tokens(struct slice s, struct slice tokens[DATE_TOKENS_MAX])
{
    size_t count = 0, i = 0;
    unsigned depth = 0;

    while (i < s.n && count < DATE_TOKENS_MAX) {
        size_t from = i;

        if (s.p[i] == '(')
            depth++;
        if (s.p[i] == ')' && depth > 0)
            depth--;
        if (depth > 0 || s.p[i] == ')' || s.p[i] == ',' || ascii_is_space(s.p[i])) {
            i++;
            continue;
        }
        while (i < s.n && !ascii_is_space(s.p[i]) && s.p[i] != ',' && s.p[i] != '(' && s.p[i] != ')')
            i++;
        tokens[count++] = slice_sub(s, from, i - from);
    }
    return count;
}

static uint32_t find_month(struct slice s)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    if (s.n < 3)
        return 0;
    for (uint32_t m = 0; m < 12; m++)
        if (slice_equal_nocase(slice_head(s, 3), slice_make(names + 3 * m, 3)))
            return m + 1;
    return 0;
}

static bool parse_year(struct slice s, int64_t *out)
{
    uint32_t year;

    if (s.n < 2 || !slice_to_u32(s, 9999, &year))
        return false;
    if (s.n == 2)                                    /* RFC 5322 4.3 */
        year += year < 50 ? 2000 : 1900;
    else if (s.n == 3)
        year += 1900;
    *out = year;
    return true;
}

static bool parse_time(struct slice s, struct date_parts *d)
{
    struct slice h, m, sec = LIT("0");

    if (!slice_cut(&s, ':', &h) || !slice_cut(&s, ':', &m))
        return false;
    if (s.n && !slice_cut(&s, '.', &sec))
        return false;
    return slice_to_u32(h, 23, &d->hour) && slice_to_u32(m, 59, &d->minute) && slice_to_u32(sec, 60, &d->second);
}

static int parse_zone(struct slice s)
{
    static const struct { char name[4]; int hours; } zones[] = {
        { "EST", -5 }, { "EDT", -4 }, { "CST", -6 }, { "CDT", -5 },
        { "MST", -7 }, { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 },
    };
    uint32_t hhmm;

    if (s.n == 5 && (s.p[0] == '+' || s.p[0] == '-') && slice_to_u32(slice_tail(s, 1), 9959, &hhmm)) {
        int minutes = (int)(hhmm / 100 * 60 + hhmm % 100);

        return s.p[0] == '-' ? -minutes : minutes;
    }
    for (size_t i = 0; i < COUNT(zones); i++)
        if (slice_equal_nocase(s, slice_make(zones[i].name, 3)))
            return zones[i].hours * 60;
    return 0;                                        /* UT, GMT, Z; the military ones mean nothing (RFC 5322 4.3) */
}

/* "2-Jan-2006" as three tokens' worth. */
static bool parse_dashed(struct slice s, struct date_parts *d)
{
    struct slice day, month;

    if (!slice_cut(&s, '-', &day) || !slice_cut(&s, '-', &month))
        return false;
    d->month = find_month(month);
    return d->month && slice_to_u32(day, 31, &d->day) && parse_year(s, &d->year);
}

static bool read_tokens(const struct slice *t, size_t n, struct date_parts *d)
{
    size_t i = 0;

    if (n && ascii_is_alpha(t[0].p[0]) && (!find_month(t[0]) || (n > 1 && find_month(t[1]))))
        i++;                                         /* the day of the week is not looked at */
    if (n - i < 2)
        return false;
    if ((d->month = find_month(t[i])) != 0) {        /* asctime: Nov 24 13:18:31 [zone] 2026 */
        if (n - i < 4 || !slice_to_u32(t[i + 1], 31, &d->day) || !parse_time(t[i + 2], d))
            return false;
        if (parse_year(t[i + 3], &d->year))
            return true;
        d->zone_min = parse_zone(t[i + 3]);
        return n - i > 4 && parse_year(t[i + 4], &d->year);
    }
    if (parse_dashed(t[i], d)) {
        i += 1;
    } else {
        if (n - i < 3 || !slice_to_u32(t[i], 31, &d->day) || !(d->month = find_month(t[i + 1])) || !parse_year(t[i + 2], &d->year))
            return false;
        i += 3;
    }
    if (i < n && !parse_time(t[i], d))
        return false;
    if (i + 1 < n)
        d->zone_min = parse_zone(t[i + 1]);
    return true;
}

/* Days since 1970-01-01 of a Gregorian date. */
static int64_t days_from_date(int64_t y, uint32_t m, uint32_t d)
{
    int64_t era, doe;
    uint32_t yoe;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = (uint32_t)(y - era * 400);
    doe = (int64_t)yoe * 365 + yoe / 4 - yoe / 100 + (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + doe - 719468;
}

static uint32_t days_in_month(int64_t y, uint32_t m)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

    return m == 2 && leap ? 29 : days[m - 1];
}

bool rfc5322_parse_date(struct slice value, int64_t *wall_ms, int *zone_min)
{
    struct slice tokens[DATE_TOKENS_MAX];
    struct date_parts d = { 0 };
    size_t n = split_tokens(value, tokens);

    if (!read_tokens(tokens, n, &d))
        return false;
    if (d.day < 1 || d.day > days_in_month(d.year, d.month))
        return false;
    *wall_ms = ((days_from_date(d.year, d.month, d.day) * 24 + d.hour) * 60 + d.minute - d.zone_min) * 60000 + d.second * 1000;
    if (zone_min)
        *zone_min = d.zone_min;
    return true;
}
