/* received.c - Received fields.
 *
 * Owns nothing. Called by mx and smtp. What a peer said is cleaned: it can neither end the field nor open a comment. Never fails.
 */
#include "mail/received.h"

#include "base/buf.h"
#include "base/time.h"
#include "wire/rfc5322.h"

#define PEER_MAX 255

static void append_clean(struct buf *out, struct slice s)
{
    s = slice_head(s, PEER_MAX);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        (void)buf_append_char(out, c <= 32 || c >= 127 || strchr("()\\\";<>,", c) ? '?' : (char)c);
    }
}

/* RFC 5321 4.1.3: IPv6 literals carry a tag. */
static void append_literal(struct buf *out, struct slice ip)
{
    (void)buf_append_cstr(out, slice_find_char(ip, ':') >= 0 ? "[IPv6:" : "[");
    append_clean(out, ip);
    (void)buf_append_char(out, ']');
}

static void append_from(struct buf *out, const struct received *r)
{
    if (r->helo.n == 0 && r->ip.n == 0)
        return;
    (void)buf_append_cstr(out, "from ");
    append_clean(out, r->helo.n ? r->helo : LIT("unknown"));
    if (r->ip.n) {
        (void)buf_append_cstr(out, " (");
        append_literal(out, r->ip);
        if (r->ptr.n) {
            (void)buf_append_char(out, ' ');
            append_clean(out, r->ptr);
        }
        (void)buf_append_char(out, ')');
    }
    (void)buf_append_cstr(out, "\r\n\t");
}

static void append_recipient(struct buf *out, struct slice recipient)
{
    (void)buf_append_cstr(out, "\r\n\tfor <");
    for (size_t i = 0; i < recipient.n && i < 2 * PEER_MAX; i++)
        if ((unsigned char)recipient.p[i] > 32 && recipient.p[i] != 127 && recipient.p[i] != '>')
            (void)buf_append_char(out, recipient.p[i]);
    (void)buf_append_char(out, '>');
}

struct slice received_format(struct arena *a, const struct received *r)
{
    AUTO(buf_free) struct buf out = BUF_INIT(8192);

    (void)buf_append_cstr(&out, "Received: ");
    append_from(&out, r);
    (void)buf_printf(&out, "by %.*s", SLICE(r->by));
    if (r->software.n)
        (void)buf_printf(&out, " (%.*s)", SLICE(r->software));
    (void)buf_printf(&out, " with %.*s", SLICE(r->protocol));
    if (r->id.n)
        (void)buf_printf(&out, " id %.*s", SLICE(r->id));
    if (r->recipient.n)
        append_recipient(&out, r->recipient);
    if (r->tls_version.n)
        (void)buf_printf(&out, "\r\n\t(version=%.*s cipher=%.*s)", SLICE(r->tls_version), SLICE(r->tls_cipher));
    (void)buf_printf(&out, ";\r\n\t%s\r\n", date_format_rfc5322(r->now_ms).s);
    return arena_copy(a, buf_slice(&out));
}

const char *received_protocol(bool esmtp, bool tls, bool authenticated, bool utf8)
{
    static const char *const plain[] = { "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA" };
    static const char *const utf[] = { "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA" };

    if (!esmtp)
        return "SMTP";
    return (utf8 ? utf : plain)[(tls ? 2 : 0) + (authenticated ? 1 : 0)];
}

size_t received_count(struct slice header)
{
    return rfc5322_count_fields(header, LIT("Received"));
}
