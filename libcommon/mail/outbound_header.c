/* outbound_header.c - see outbound_header.h.
 *
 * Owns nothing. What can fail: the client's header breaks a rule; then a reply. Never suspends.
 */
#include "mail/outbound_header.h"

#include "base/buf.h"
#include "base/secret.h"
#include "base/time.h"
#include "wire/rfc5322.h"

#define DAY_MS ((int64_t)24 * 3600 * 1000)

static int refuse(struct smtp_reply *out, int code, const char *enhanced, const char *text)
{
    *out = (struct smtp_reply){code, enhanced, slice_of(text)};
    return -1;
}

bool outbound_may_send_as(struct arena *a, struct slice address, const struct login_result *who)
{
    struct slice lower = arena_lower(a, address), local;
    ptrdiff_t at = slice_rfind_char(lower, '@'), plus;

    if (at <= 0 || !slice_equal(slice_tail(lower, (size_t)at + 1), who->domain))
        return false;
    local = slice_head(lower, (size_t)at);
    plus = slice_find_char(local, '+');
    if (plus > 0)
        local = slice_head(local, (size_t)plus);
    return who->is_catchall || slice_equal(local, who->name);
}

/* RFC 5322 3.6.2, narrowed: one From, one address, and it is the account's. */
static int check_from(struct arena *a, struct slice header, const struct login_result *who,
                      struct smtp_reply *refusal)
{
    struct rfc5322_address *list;
    struct rfc5322_field f;

    if (rfc5322_count_fields(header, LIT("From")) != 1 ||
        !rfc5322_find_field(header, LIT("From"), &f))
        return refuse(refusal, 550, "5.6.0", "The message must have exactly one From header");
    if (rfc5322_parse_addresses(a, f.value, &list) != 1 || list[0].kind != ADDRESS_MAILBOX ||
        list[0].domain.n == 0)
        return refuse(refusal, 550, "5.6.0", "The From header must hold exactly one address");
    if (!outbound_may_send_as(a, rfc5322_format_address(a, &list[0]), who))
        return refuse(refusal, 550, "5.7.1",
                      who->is_catchall
                          ? "The From header must be an address of the domain you signed in for"
                          : "The From header must be the address you signed in with");
    return 0;
}

static int read_date(struct slice header, int64_t now_ms, struct outbound_header *out, bool *present,
                     struct smtp_reply *refusal)
{
    struct rfc5322_field f;
    int64_t date;

    out->date_ms = now_ms;
    *present = rfc5322_find_field(header, LIT("Date"), &f);
    if (!*present)
        return 0;
    if (!rfc5322_parse_date(f.value, &date, NULL)) {
        *present = false; /* unreadable: replaced by the arrival time */
        return 0;
    }
    if (date > now_ms + OUTBOUND_AHEAD_MAX_DAYS * DAY_MS)
        return refuse(refusal, 550, "5.6.0", "The Date header is too far ahead");
    if (date > now_ms)
        out->date_ms = date;
    return 0;
}

static void read_message_id(struct arena *a, struct slice header, struct outbound_header *out)
{
    struct slice value = rfc5322_get_value(a, header, LIT("Message-ID"));

    if (!rfc5322_next_msgid(&value, &out->message_id))
        out->message_id = SLICE_NONE;
}

static bool is_dropped(const struct rfc5322_field *f, bool keep_date, bool keep_id)
{
    if (slice_equal_nocase(f->name, LIT("Bcc")) ||
        slice_equal_nocase(f->name, LIT("Return-Path")) || f->name.n == 0)
        return true;
    if (slice_equal_nocase(f->name, LIT("Date")))
        return !keep_date;
    return slice_equal_nocase(f->name, LIT("Message-ID")) && !keep_id;
}

static struct slice edit(struct arena *a, struct slice header, bool has_date, bool has_id,
                         const struct outbound_header *h)
{
    AUTO(buf_free) struct buf out = BUF_INIT(header.n + 1024);
    struct slice rest = header;
    struct rfc5322_field f;

    if (!has_date)
        (void)buf_printf(&out, "Date: %s\r\n", date_format_rfc5322(h->date_ms).s);
    if (!has_id)
        (void)buf_printf(&out, "Message-ID: <%.*s>\r\n", SLICE(h->message_id));
    while (rfc5322_next_field(&rest, &f))
        if (!is_dropped(&f, has_date, has_id))
            (void)buf_append(&out, f.raw);
    if (!slice_has_suffix(buf_slice(&out), LIT("\r\n")))
        (void)buf_append(&out, LIT("\r\n"));
    (void)buf_append(&out, LIT("\r\n"));
    return arena_copy(a, buf_slice(&out));
}

int outbound_header_prepare(struct arena *a, struct slice header, const struct login_result *who,
                          const char *host, int64_t now_ms, struct outbound_header *out,
                          struct smtp_reply *refusal)
{
    struct outbound_header h = {0};
    struct object_id id = object_id_new();
    bool has_date, has_id;

    if (check_from(a, header, who, refusal) < 0 ||
        read_date(header, now_ms, &h, &has_date, refusal) < 0)
        return -1;
    read_message_id(a, header, &h);
    has_id = h.message_id.n > 0;
    if (!has_id)
        h.message_id = arena_printf(a, "%s@%s", id.s, host);
    h.subject = rfc5322_decode_words(a, rfc5322_get_value(a, header, LIT("Subject")));
    h.text = edit(a, header, has_date, has_id, &h);
    *out = h;
    return 0;
}
