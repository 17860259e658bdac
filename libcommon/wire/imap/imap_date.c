/* imap_date.c - date and date-time of RFC 9051 9, both ways.
 *
 * Owns nothing. Called by imap commands and FETCH output. Fails on days that do not exist. Never suspends.
 */
#include "wire/imap/imap_cursor.h"
#include "wire/imap/imap_format.h"

static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (era arithmetic on years that start in March). */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t era, year_of_era, day_of_year;

    year -= month <= 2;
    era = (year >= 0 ? year : year - 399) / 400;
    year_of_era = year - era * 400;
    day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + (int64_t)day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;

    *day = (unsigned)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (unsigned)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static bool take_digits(struct imap_cursor *c, size_t least, size_t most, unsigned *out)
{
    size_t n = 0;

    *out = 0;
    while (n < most && c->p < c->end && ascii_is_digit(*c->p)) {
        *out = *out * 10 + (unsigned)(*c->p++ - '0');
        n++;
    }
    return n >= least || imap_expected(c, "malformed date");
}

static bool take_month(struct imap_cursor *c, unsigned *out)
{
    struct slice name = slice_head(slice_make(c->p, (size_t)(c->end - c->p)), 3);

    for (unsigned i = 0; i < 12; i++)
        if (slice_equal_nocase(name, slice_of(month_names[i]))) {
            *out = i + 1;
            c->p += 3;
            return true;
        }
    return imap_expected(c, "malformed date");
}

/* "-Nov-2026" behind the day. */
static bool take_month_year(struct imap_cursor *c, unsigned day, int64_t *days)
{
    unsigned month = 0, year = 0, same_month, same_day;
    int64_t same_year;

    if (!imap_take_char(c, '-') || !take_month(c, &month) || !imap_take_char(c, '-') || !take_digits(c, 4, 4, &year))
        return false;
    *days = days_from_civil(year, month, day);
    civil_from_days(*days, &same_year, &same_month, &same_day);
    if (same_day != day || same_month != month)
        return imap_expected(c, "there is no such day");
    return true;
}

bool imap_take_date(struct imap_cursor *c, uint64_t *days)
{
    bool quoted = imap_skip(c, '"');
    unsigned day;
    int64_t since;

    if (!take_digits(c, 1, 2, &day) || !take_month_year(c, day, &since) || (quoted && !imap_take_char(c, '"')))
        return false;
    *days = since < 0 ? 0 : (uint64_t)since;      /* no mail is older than 1970 */
    return true;
}

static bool take_zone(struct imap_cursor *c, int64_t *offset_ms)
{
    bool west = imap_peek(c, '-');
    unsigned hours, minutes;

    if (!imap_skip(c, '+') && !imap_skip(c, '-'))
        return imap_expected(c, "malformed time zone");
    if (!take_digits(c, 2, 2, &hours) || !take_digits(c, 2, 2, &minutes))
        return false;
    if (hours > 24 || minutes > 59)
        return imap_expected(c, "malformed time zone");
    *offset_ms = (int64_t)(hours * 60 + minutes) * 60000 * (west ? -1 : 1);
    return true;
}

bool imap_take_date_time(struct imap_cursor *c, int64_t *ms)
{
    unsigned day, hour, minute, second;
    int64_t days, offset_ms = 0;

    if (!imap_take_char(c, '"'))
        return false;
    (void)imap_skip(c, ' ');                      /* " 1-Nov-2026": the day takes two places */
    if (!take_digits(c, 1, 2, &day) || !take_month_year(c, day, &days) || !imap_take_space(c) ||
        !take_digits(c, 2, 2, &hour) || !imap_take_char(c, ':') || !take_digits(c, 2, 2, &minute) ||
        !imap_take_char(c, ':') || !take_digits(c, 2, 2, &second) || !imap_take_space(c) ||
        !take_zone(c, &offset_ms) || !imap_take_char(c, '"'))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return imap_expected(c, "there is no such time");
    *ms = days * 86400000 + ((int64_t)hour * 3600 + (int64_t)minute * 60 + second) * 1000 - offset_ms;
    return true;
}

static char *put_two(char *p, unsigned v)
{
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
    return p + 2;
}

char *imap_write_date_time(char *p, int64_t ms)
{
    int64_t days = ms / 86400000 - (ms % 86400000 < 0), year;
    unsigned second = (unsigned)((ms - days * 86400000) / 1000), month, day;

    civil_from_days(days, &year, &month, &day);
    *p++ = '"';
    p = put_two(p, day);
    if (p[-2] == '0')
        p[-2] = ' ';
    *p++ = '-';
    memcpy(p, month_names[month - 1], 3);
    p += 3;
    *p++ = '-';
    p = put_two(put_two(p, (unsigned)(year / 100 % 100)), (unsigned)(year % 100));
    *p++ = ' ';
    p = put_two(p, second / 3600);
    *p++ = ':';
    p = put_two(p, second / 60 % 60);
    *p++ = ':';
    p = put_two(p, second % 60);
    for (const char *zone = " +0000\""; *zone; zone++)
        *p++ = *zone;
    return p;
}
