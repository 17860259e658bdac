/* log.c - see log.h.
 *
 * Owns the process's service name, level and sink. Called from any thread; each line is one write(2). Cannot fail (a full pipe
 * blocks the writer; container runtimes drain it). Does not suspend.
 */
#include "base/log.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"

#define LINE_MAX_BYTES    (16u << 10)
#define FIELD_MAX_BYTES   512
#define FIELD_SHORT_BYTES 48

static const char *service = "-";
static enum log_level least = LOG_INFO;
static bool as_text;
static void (*capture)(struct slice line, void *arg);
static void *capture_arg;

static const char *const level_name[] = { "debug", "info", "warn", "error" };

void log_init(const char *name, enum log_level level)
{
    static char copy[64];

    if (!slice_copy_cstr(slice_of(name), copy, sizeof(copy)))
        copy[0] = '-';
    service = copy;
    least = level;
    as_text = isatty(STDOUT_FILENO) == 1;
}

void log_capture(void (*sink)(struct slice line, void *arg), void *arg)
{
    capture = sink;
    capture_arg = arg;
}

static bool is_plain(unsigned char c, bool utf8)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && (c < 0x80 || utf8);
}

static void append_escaped(struct buf *b, struct slice s)
{
    bool utf8 = slice_is_utf8(s);

    for (size_t i = 0; i < s.n;) {
        size_t from = i;

        while (i < s.n && is_plain((unsigned char)s.p[i], utf8))
            i++;
        (void)buf_append(b, slice_sub(s, from, i - from));
        if (i == s.n)
            return;
        if (s.p[i] == '"' || s.p[i] == '\\')
            (void)buf_printf(b, "\\%c", s.p[i]);
        else
            (void)buf_printf(b, "\\u%04x", (unsigned char)s.p[i]);
        i++;
    }
}

/* At most `max` bytes, without cutting a UTF-8 sequence in two. */
static struct slice cut(struct slice s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s;
    while (n > max - 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return slice_head(s, n);
}

static void append_value(struct buf *b, const struct log_field *f, size_t field_max)
{
    if (f->kind == LOG_FIELD_INT) {
        (void)buf_printf(b, "%lld", (long long)f->number);
    } else if (f->kind == LOG_FIELD_BOOL) {
        (void)buf_append_cstr(b, f->number ? "true" : "false");
    } else {
        (void)buf_append_char(b, '"');
        append_escaped(b, cut(f->text, field_max));
        (void)buf_append_char(b, '"');
    }
}

static void format_json(struct buf *b, enum log_level level, const char *name, const struct log_field *fields,
                        size_t count, size_t field_max)
{
    (void)buf_printf(b, "{\"at\":\"%s\",\"level\":\"%s\",\"service\":\"%s\",\"event\":\"%s\"",
                     date_format_iso(clock_wall_ms()).s, level_name[level], service, name);
    for (size_t i = 0; i < count; i++) {
        (void)buf_printf(b, ",\"%s\":", fields[i].key);
        append_value(b, &fields[i], field_max);
    }
    (void)buf_append_cstr(b, "}\n");
}

static void format_text(struct buf *b, enum log_level level, const char *name, const struct log_field *fields,
                        size_t count, size_t field_max)
{
    (void)buf_printf(b, "%.12s %-5s %s %s", date_format_iso(clock_wall_ms()).s + 11, level_name[level], service, name);
    for (size_t i = 0; i < count; i++) {
        (void)buf_printf(b, " %s=", fields[i].key);
        append_value(b, &fields[i], field_max);
    }
    (void)buf_append_char(b, '\n');
}

static void line_format(struct buf *b, enum log_level level, const char *name, const struct log_field *fields,
                        size_t count, size_t field_max)
{
    if (as_text && capture == NULL)
        format_text(b, level, name, fields, count, field_max);
    else
        format_json(b, level, name, fields, count, field_max);
}

void log_write(enum log_level level, const char *name, const struct log_field *fields, size_t count)
{
    AUTO(buf_free) struct buf line = BUF_INIT(LINE_MAX_BYTES);
    struct slice rest;

    if (level < least && capture == NULL)
        return;
    line_format(&line, level, name, fields, count, FIELD_MAX_BYTES);
    if (line.overflowed) {             /* long fields full of escapes: shorter, but still one whole line */
        buf_reset(&line);
        line_format(&line, level, name, fields, count, FIELD_SHORT_BYTES);
    }
    rest = buf_slice(&line);
    if (capture != NULL) {
        capture(rest, capture_arg);
        return;
    }
    while (rest.n > 0) {
        ssize_t n = write(STDOUT_FILENO, rest.p, rest.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        rest = slice_tail(rest, (size_t)n);
    }
}
