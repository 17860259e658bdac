/* fault.c - see fault.h.
 *
 * Owns nothing. Called everywhere. Cannot fail. Does not suspend.
 */
#include "base/fault.h"

#include <errno.h>

static const char *const code_name[FAULT_CODE_COUNT] = {
    [FAULT_NONE] = "none",           [FAULT_INVALID] = "invalid",   [FAULT_NOT_FOUND] = "not_found",
    [FAULT_EXISTS] = "exists",       [FAULT_DENIED] = "denied",     [FAULT_CONFLICT] = "conflict",
    [FAULT_LIMIT] = "limit",         [FAULT_QUOTA] = "quota",       [FAULT_DISK_FULL] = "disk_full",
    [FAULT_UNAVAILABLE] = "unavailable", [FAULT_TIMEOUT] = "timeout", [FAULT_CANCELED] = "canceled",
    [FAULT_CLOSED] = "closed",       [FAULT_PROTOCOL] = "protocol", [FAULT_CORRUPT] = "corrupt",
    [FAULT_IO] = "io",
};

int fault_record(struct fault *why, enum fault_code code, const char *format, ...)
{
    va_list ap;

    if (why == NULL)
        return -1;
    why->code = code;
    va_start(ap, format);
    (void)vsnprintf(why->text, sizeof(why->text), format, ap);
    va_end(ap);
    return -1;
}

static enum fault_code code_of_errno(int err)
{
    switch (err) {
    case ENOSPC:
    case EDQUOT:
        return FAULT_DISK_FULL;
    case ENOENT:
        return FAULT_NOT_FOUND;
    case EEXIST:
        return FAULT_EXISTS;
    case EACCES:
    case EPERM:
        return FAULT_DENIED;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return FAULT_UNAVAILABLE;
    case ETIMEDOUT:
        return FAULT_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
        return FAULT_CLOSED;
    default:
        return FAULT_IO;
    }
}

int fault_record_errno(struct fault *why, int err, const char *format, ...)
{
    char reason[96];
    va_list ap;
    size_t n;

    if (why == NULL)
        return -1;
    why->code = code_of_errno(err);
    va_start(ap, format);
    (void)vsnprintf(why->text, sizeof(why->text), format, ap);
    va_end(ap);
    n = strlen(why->text);
    (void)snprintf(why->text + n, sizeof(why->text) - n, ": %s", strerror_r(err, reason, sizeof(reason)));
    return -1;
}

int fault_record_prefix(struct fault *why, const char *format, ...)
{
    char after[sizeof(why->text)];
    va_list ap;
    size_t n;

    if (why == NULL)
        return -1;
    memcpy(after, why->text, sizeof(after));
    va_start(ap, format);
    (void)vsnprintf(why->text, sizeof(why->text) / 2, format, ap);     /* leaves room for what went wrong */
    va_end(ap);
    n = strlen(why->text);
    (void)snprintf(why->text + n, sizeof(why->text) - n, ": %.*s", (int)(sizeof(after) - n - 3), after);
    return -1;
}

const char *fault_code_name(enum fault_code code)
{
    return code >= FAULT_NONE && code < FAULT_CODE_COUNT ? code_name[code] : "io";
}

enum fault_code fault_code_parse(const char *name)
{
    for (int i = 0; i < FAULT_CODE_COUNT; i++)
        if (strcmp(code_name[i], name) == 0)
            return (enum fault_code)i;
    return FAULT_IO;
}
