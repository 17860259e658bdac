/* mx_trace.c - see mx_trace.h.
 *
 * Owns nothing. Never suspends.
 */
#include "mx_trace.h"

#include "base/buf.h"
#include "mail/authres.h"
#include "wire/rfc5322.h"

struct slice mx_trace_sender(struct arena *a, struct slice from, const char *ptr, const char *ip)
{
    AUTO(buf_free) struct buf out = BUF_INIT(2048);

    (void)buf_append(&out, LIT("X-Forward-Email-Sender: rfc822; "));
    if (from.n > 0)
        (void)buf_printf(&out, "%.*s, ", SLICE(from));
    if (ptr[0] != '\0')
        (void)buf_printf(&out, "%s, ", ptr);
    (void)buf_printf(&out, "%s\r\n", ip);
    return arena_copy(a, buf_slice(&out));
}

static bool has_to_go(const struct rfc5322_field *f, struct slice authserv_id)
{
    if (slice_equal_nocase(f->name, LIT("Return-Path")) ||
        slice_equal_nocase(f->name, LIT("X-Forward-Email-Sender")))
        return true;
    return slice_equal_nocase(f->name, LIT("Authentication-Results")) &&
           authres_is_from(f->value, authserv_id);
}

struct slice mx_trace_strip(struct arena *a, struct slice header, struct slice authserv_id)
{
    AUTO(buf_free) struct buf out = BUF_INIT(header.n + 16);
    struct slice rest = header;
    struct rfc5322_field f;

    while (rfc5322_next_field(&rest, &f))
        if (!has_to_go(&f, authserv_id))
            (void)buf_append(&out, f.raw);
    if (out.n > 0 && !slice_has_suffix(buf_slice(&out), LIT("\r\n")))
        (void)buf_append(&out, LIT("\r\n"));
    (void)buf_append(&out, LIT("\r\n"));
    return arena_copy(a, buf_slice(&out));
}
