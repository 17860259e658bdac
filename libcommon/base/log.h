/* log.h - one event, one line: a dotted name, then fields.
 *
 * JSON on stdout; readable text when stdout is a terminal. Thread-safe; a line is one write(2). Peer
 * bytes go through F_SLICE, which escapes and cuts them at 512 bytes. Never a password, token, body
 * or subject. Libraries do not log: the code at the edge that gives up logs, once.
 */
#pragma once

#include "base/fault.h"
#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *key;
    enum { LOG_FIELD_SLICE, LOG_FIELD_INT, LOG_FIELD_BOOL } kind;
    struct slice text;
    int64_t number;
};

#define F_STR(k, cstr)  ((struct log_field){ (k), LOG_FIELD_SLICE, slice_of(cstr), 0 })
#define F_SLICE(k, s)   ((struct log_field){ (k), LOG_FIELD_SLICE, (s), 0 })
#define F_ID(k, cstr)   F_STR(k, cstr)
#define F_INT(k, v)     ((struct log_field){ (k), LOG_FIELD_INT, { NULL, 0 }, (int64_t)(v) })
#define F_BOOL(k, v)    ((struct log_field){ (k), LOG_FIELD_BOOL, { NULL, 0 }, (v) ? 1 : 0 })
#define F_FAULT(why)    F_STR("fault", fault_code_name((why)->code)), F_STR("why", (why)->text)

/* log_event(LOG_INFO, "imap.cmd.done", F_ID("conn", id), F_INT("took_us", took)); at least one field */
#define log_event(level, name, ...) \
    log_write((level), (name), (const struct log_field[]){ __VA_ARGS__ }, \
              sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

void log_write(enum log_level level, const char *name, const struct log_field *fields, size_t count);
/* `service` is copied into each line. Format: JSON unless stdout is a terminal. */
void log_init(const char *service, enum log_level least);
/* Tests: lines go to `sink` instead of stdout (NULL: back). */
void log_capture(void (*sink)(struct slice line, void *arg), void *arg);
