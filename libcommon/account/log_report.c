/* log_report.c - see log_report.h. One domain after the other, newest entries first, a page at a time.
 *
 * Owns      the deflate stream of one report. Fails with the store, or when the report outgrows its limit. Suspends for the store.
 */
#include "account/log_report.h"

#include <arpa/inet.h>
#include <zlib.h>

#define PAGE_ROWS 500u

struct report {
    struct store *st;
    struct slice user_id;
    const struct log_report_query *query;
    struct deadline until;
    struct buf *out;
    z_stream z;
    size_t rows, domains;
};

static const char heading[] =
    "Log ID,Session ID,Date,Level,Bounce Category,Bounce Action,Truth Source,SMTP Response,SMTP Code,From,From Allowlisted,To,Subject,Message-ID,"
    "MAIL FROM,RCPT TO,Client IP,Client Hostname,Client Allowlisted,Target Host,Target MX Hostname,Target MX IP,Target Type,Opportunistic TLS,"
    "Require TLS,MX Hostname,MX IP,SPF,DKIM\r\n";

/* ---- cells -------------------------------------------------------------------------------------------- */

void log_report_cell(struct buf *out, struct slice text)
{
    bool formula = text.n > 0 && strchr("=+-@\t\r", text.p[0]) != NULL;
    struct slice piece;

    (void)buf_append(out, LIT("\""));
    if (formula)
        (void)buf_append(out, LIT("'"));
    while (slice_find_char(text, '"') >= 0 && slice_cut(&text, '"', &piece)) {
        (void)buf_append(out, piece);
        (void)buf_append(out, LIT("\"\""));
    }
    (void)buf_append(out, text);
    (void)buf_append(out, LIT("\""));
}

static void cells(struct buf *out, const struct slice *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            (void)buf_append(out, LIT(","));
        if (text[i].n > 0)
            log_report_cell(out, text[i]);
    }
    (void)buf_append(out, LIT("\r\n"));
}

/* What is done about a reply, in the words of its class. */
static struct slice action(int64_t code)
{
    return code >= 500 ? LIT("reject") : code >= 400 ? LIT("defer") : SLICE_NONE;
}

static void row(struct buf *out, struct arena *a, const json_t *doc)
{
    const json_t *meta = json_object_get(doc, "meta");
    int64_t code = json_get_int(doc, "code", 0);
    struct slice said = json_get_slice(doc, "response"), target = json_get_slice(doc, "target");
    ptrdiff_t at = slice_rfind_char(target, '@');
    const struct slice text[] = {
        json_get_slice(doc, "_id"), json_get_slice(doc, "session"), json_get_slice(doc, "created_at"), json_get_slice(doc, "level"),
        SLICE_NONE, action(code), SLICE_NONE, said.n > 0 ? said : json_get_slice(doc, "message"),
        code != 0 ? arena_printf(a, "%lld", (long long)code) : SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE,
        json_get_slice(doc, "message_id"), json_get_slice(doc, "mail_from"), json_get_slice(doc, "rcpt_to"), json_get_slice(doc, "client_ip"),
        json_get_slice(doc, "client_host"), SLICE_NONE, at >= 0 ? slice_tail(target, (size_t)at + 1) : SLICE_NONE, json_get_slice(doc, "mx"),
        SLICE_NONE, json_get_slice(doc, "event"), SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, json_get_slice(meta, "spf"),
        json_get_slice(meta, "dkim"),
    };

    cells(out, text, COUNT(text));
}

/* ---- compressing ------------------------------------------------------------------------------------------ */

static int deflate_into(struct report *r, struct slice in, int flush, struct fault *why)
{
    int done = Z_OK;

    r->z.next_in = (Bytef *)(uintptr_t)in.p;
    r->z.avail_in = (uInt)in.n;
    do {
        unsigned char piece[16384];

        r->z.next_out = piece;
        r->z.avail_out = sizeof(piece);
        done = deflate(&r->z, flush);
        if (buf_append(r->out, slice_make(piece, sizeof(piece) - r->z.avail_out)) < 0)
            return fault_set(why, FAULT_LIMIT, "the report is larger than %zu bytes", LOG_REPORT_BYTES_MAX);
    } while (r->z.avail_out == 0 && done != Z_STREAM_END);
    return 0;
}

/* ---- which entries ---------------------------------------------------------------------------------------- */

bool log_report_day(struct slice text, int64_t now_ms, int64_t *from_ms, int64_t *to_ms)
{
    uint32_t part[3] = { 0 };
    struct slice piece, year = slice_of(date_format_iso(now_ms).s);
    char mark = slice_find_char(text, '/') >= 0 ? '/' : slice_find_char(text, '-') >= 0 ? '-' : '.', iso[40];
    size_t n = 0;

    while (text.n > 0 && slice_cut(&text, mark, &piece))
        if (n == COUNT(part) || piece.n > 4 || !slice_to_u32(piece, 9999, &part[n++]))
            return false;
    if (n < 2 || part[0] < 1 || part[0] > 12 || part[1] < 1 || part[1] > 31)
        return false;
    if (n == 2 && !slice_to_u32(slice_head(year, 4), 9999, &part[2]))
        return false;
    if (part[2] < 100)
        part[2] += 2000;
    (void)snprintf(iso, sizeof(iso), "%04u-%02u-%02uT00:00:00.000Z", part[2], part[0], part[1]);
    if (!date_parse_iso(slice_of(iso), from_ms))
        return false;
    *to_ms = *from_ms + (int64_t)24 * 3600 * 1000 - 1;
    return true;
}

static bool is_ip(struct arena *a, struct slice q)
{
    unsigned char raw[16];
    const char *text = arena_cstr(a, q);

    return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

static void any_of(struct store_filter *f, const char *const *fields, struct slice q)
{
    for (; *fields != NULL; fields++)
        store_where_contains(store_filter_or(f), *fields, q);
}

/* jane+news@example.com looks for jane@example.com */
static struct slice without_tag(struct arena *a, struct slice address)
{
    ptrdiff_t at = slice_rfind_char(address, '@'), plus = slice_find_char(address, '+');

    if (at < 0 || plus <= 0 || plus > at)
        return address;
    return arena_concat(a, (const struct slice[]){ slice_head(address, (size_t)plus), slice_tail(address, (size_t)at) }, 2);
}

static void where_asked(const struct report *r, struct arena *a, struct store_filter *f)
{
    static const char *const addresses[] = { "mail_from", "rcpt_to", "target", NULL };
    static const char *const hosts[] = { "mail_from", "rcpt_to", "target", "client_host", "mx", NULL };
    static const char *const words[] = { "message", "response", "message_id", NULL };
    struct slice q = slice_trim(r->query->q);
    int64_t from, to;

    if (r->query->code != 0)
        store_where_int(f, "code", STORE_EQ, r->query->code);
    if (q.n == 0)
        return;
    if (is_ip(a, q)) {
        store_where_text(f, "client_ip", STORE_EQ, q);
    } else if (log_report_day(q, clock_wall_ms(), &from, &to)) {
        store_where_text(f, "created_at", STORE_GTE, arena_copy(a, slice_of(date_format_iso(from).s)));
        store_where_text(f, "created_at", STORE_LTE, arena_copy(a, slice_of(date_format_iso(to).s)));
    } else {
        any_of(f, slice_find_char(q, '@') >= 0 ? addresses : slice_find_char(q, '.') > 0 && slice_find_char(q, ' ') < 0 ? hosts : words,
               without_tag(a, q));
    }
}

/* ---- domains ------------------------------------------------------------------------------------------------- */

static int own_aliases(struct report *r, struct arena *a, struct slice domain_id, struct slice **ids, size_t *count, struct fault *why)
{
    struct store_filter *f = store_filter_text(a, "domain", domain_id);
    struct store_page page = { .limit = STORE_VALUES_MAX };
    json_t *found, *doc;
    size_t i;

    store_where_text(f, "user", STORE_EQ, r->user_id);
    if (store_find(r->st, ALIASES, f, &page, r->until, &found, why) < 0)
        return -1;
    *ids = ARENA_ARRAY(a, struct slice, json_array_size(found) + 1);
    *count = 0;
    json_array_foreach(found, i, doc) {
        struct slice name = json_get_slice(doc, "name");

        if (name.n > 0 && name.p[0] != '/' && !slice_equal(name, LIT("*")))
            (*ids)[(*count)++] = arena_copy(a, json_get_slice(doc, "_id"));
    }
    json_release(&found);
    return 0;
}

/* 1: may see entries of this domain, under `f`; 0: none. */
static int where_visible(struct report *r, struct arena *a, const struct domain_doc *d, struct store_filter *f, struct fault *why)
{
    const struct domain_member *member = domain_find_member(d, r->user_id);
    struct slice *ids;
    size_t count;

    if (member == NULL)
        return 0;
    store_where_text(f, "domain", STORE_EQ, slice_of(d->id));
    if (member->is_admin)
        return 1;
    if (own_aliases(r, a, slice_of(d->id), &ids, &count, why) < 0)
        return -1;
    store_where_in(f, "alias", ids, count);
    return count > 0;
}

static bool is_asked(const struct log_report_query *q, struct slice name)
{
    for (size_t i = 0; i < q->domain_count; i++)
        if (slice_equal_nocase(q->domains[i], name))
            return true;
    return q->domain_count == 0;
}

static int write_page(struct report *r, const json_t *found, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(buf_free) struct buf text = BUF_INIT((size_t)4 << 20);
    json_t *doc;
    size_t i;

    json_array_foreach(found, i, doc)
        row(&text, a, doc);
    r->rows += json_array_size(found);
    return deflate_into(r, buf_slice(&text), Z_NO_FLUSH, why);
}

static int write_domain(struct report *r, const struct store_filter *f, struct fault *why)
{
    static const struct store_sort newest[] = { { "created_at", true }, { NULL, false } };
    struct store_page page = { .sort = newest, .limit = PAGE_ROWS };
    size_t n = PAGE_ROWS;

    for (; n == PAGE_ROWS && r->rows < LOG_REPORT_ROWS_MAX; page.skip += n) {
        AUTO(json_release) json_t *found = NULL;

        if (store_find(r->st, LOGS, f, &page, r->until, &found, why) < 0 || write_page(r, found, why) < 0)
            return -1;
        n = json_array_size(found);
    }
    return 0;
}

/* Each domain of the user that was asked for; `write` is false for a mere look. */
static int each_domain(struct report *r, bool write, char *domain_id, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(json_release) json_t *found = NULL;
    json_t *doc;
    size_t i;

    if (store_find(r->st, DOMAINS, store_filter_text(a, "members.user", r->user_id), NULL, r->until, &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc) {
        struct store_filter *f = store_filter_new(a);
        struct domain_doc d;
        int visible;

        if (domain_parse(doc, a, &d, why) < 0)
            return -1;
        if (!is_asked(r->query, d.name))
            continue;
        visible = where_visible(r, a, &d, f, why);
        where_asked(r, a, f);
        if (visible < 0 || (visible > 0 && write && write_domain(r, f, why) < 0))
            return -1;
        if (visible > 0 && domain_id != NULL)
            memcpy(domain_id, d.id, sizeof(d.id));
        r->domains += visible > 0;
    }
    return r->domains > 0 ? 0 : fault_set(why, FAULT_NOT_FOUND, "no domain with anything to see");
}

int log_report_check(struct store *st, struct slice user_id, const struct log_report_query *query, struct deadline until, struct fault *why)
{
    struct report r = { .st = st, .user_id = user_id, .query = query, .until = until };

    return each_domain(&r, false, NULL, why);
}

int log_report_write(struct store *st, struct slice user_id, const struct log_report_query *query, struct deadline until, struct buf *out,
                     size_t *rows, char *domain_id, struct fault *why)
{
    struct report r = { .st = st, .user_id = user_id, .query = query, .until = until, .out = out };
    int done;

    if (deflateInit2(&r.z, 4, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return fault_set(why, FAULT_IO, "zlib");
    done = deflate_into(&r, slice_of(heading), Z_NO_FLUSH, why);
    if (done == 0)
        done = each_domain(&r, true, domain_id, why);
    if (done == 0)
        done = deflate_into(&r, SLICE_NONE, Z_FINISH, why);
    deflateEnd(&r.z);
    *rows = r.rows;
    return done;
}
