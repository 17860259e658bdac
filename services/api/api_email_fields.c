/* api_email_fields.c - the keys of POST /v1/emails to a composed message: who, to whom, subject, texts, headers, lists, delivery wishes.
 *
 * Owns      nothing; texts live in the call's arena or its body. What is wrong with a key is refused here by name.
 */
#include "api_email.h"

#include "mail/address.h"
#include "wire/rfc5322.h"

#define REFERENCES_MAX 100
#define ENVID_MAX      100
#define ORCPT_MAX      300

static int refuse(struct api_call *c, const char *key)
{
    (void)api_refuse(c, 400, key);
    return 1;
}

static const json_t *get(const struct api_call *c, const char *key)
{
    const json_t *v = json_object_get(c->body, key);

    return json_is_null(v) ? NULL : v;
}

/* ---- people --------------------------------------------------------------------------------------------------- */

static bool read_people(struct api_call *c, const char *key, struct slice *field, struct email_addresses *out)
{
    if (!email_addresses_read(c->arena, get(c, key), out))
        return false;
    *field = out->text;
    return true;
}

static int read_from(struct api_call *c, struct email_draft *d)
{
    struct email_addresses from, sender;

    if (!read_people(c, "from", &d->compose.from, &from) || from.count > 1)
        return refuse(c, "INVALID_FROM");
    if (from.count == 0 && (c->auth == API_TOKEN || slice_equal(c->who.name, LIT("*"))))
        return refuse(c, "FROM_REQUIRED");
    if (from.count == 0)
        d->compose.from = d->from = c->who.address;
    else
        d->from = from.address[0];
    if (!read_people(c, "sender", &d->compose.sender, &sender) || sender.count > 1)
        return refuse(c, "INVALID_SENDER");
    return 0;
}

static int read_recipients(struct api_call *c, struct email_draft *d)
{
    static const char *const keys[] = { "to", "cc", "bcc" };
    struct slice bcc, *fields[] = { &d->compose.to, &d->compose.cc, &bcc };
    struct email_addresses list;

    for (size_t i = 0; i < COUNT(keys); i++)
        if (!read_people(c, keys[i], fields[i], &list) || !email_recipients_add(c->arena, d, &list))
            return refuse(c, "INVALID_RECIPIENT_ADDRESS");
    if (!read_people(c, "replyTo", &d->compose.reply_to, &list))
        return refuse(c, "INVALID_REPLY_TO");
    return 0;
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static bool read_text(struct api_call *c, const char *key, struct slice encoding, struct slice *out)
{
    const json_t *v = get(c, key);
    struct slice text;

    if (v == NULL)
        return true;
    if (json_is_object(v) && json_object_get(v, "path") == NULL && json_object_get(v, "href") == NULL) {
        if (json_get_slice(v, "encoding").n > 0)
            encoding = json_get_slice(v, "encoding");
        v = json_object_get(v, "content");
    }
    if (!json_is_string(v))
        return false;
    text = slice_make(json_string_value(v), json_string_length(v));
    return email_text_decode(c->arena, text, encoding, out) && slice_is_utf8(*out);
}

static int read_texts(struct api_call *c, struct email_draft *d)
{
    struct slice encoding = api_text(c, "encoding"), how = api_text(c, "textEncoding"), subject = SLICE_NONE;

    if (!read_text(c, "text", encoding, &d->compose.text) || !read_text(c, "html", encoding, &d->compose.html) ||
        !read_text(c, "amp", encoding, &d->compose.amp) || !read_text(c, "watchHtml", encoding, &d->compose.watch_html))
        return refuse(c, "INVALID_TEXT");
    if (!read_text(c, "subject", SLICE_NONE, &subject))
        return refuse(c, "INVALID_SUBJECT");
    d->compose.subject = subject;
    d->compose.encoding = slice_equal_nocase(how, LIT("base64"))             ? COMPOSE_BASE64
                          : slice_equal_nocase(how, LIT("quoted-printable")) ? COMPOSE_QP
                                                                             : COMPOSE_SHORTEST;
    return 0;
}

/* ---- ids and dates ------------------------------------------------------------------------------------------------ */

static bool append_id(struct api_call *c, struct slice id, struct slice *field)
{
    if (slice_has_prefix(id, LIT("<")) && slice_has_suffix(id, LIT(">")))
        id = slice_sub(id, 1, id.n - 2);
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= 32 || id.p[i] > 126 || id.p[i] == '<' || id.p[i] == '>')
            return false;
    *field = arena_printf(c->arena, "%.*s%s<%.*s>", SLICE(*field), field->n > 0 ? " " : "", SLICE(id));
    return id.n > 0 && id.n <= 500;
}

/* "a@b", "<a@b> <c@d>", or an array of such. */
static bool read_ids(struct api_call *c, const char *key, size_t most, struct slice *field)
{
    struct slice *ids;
    size_t n = get(c, key) != NULL ? api_strings(c, key, &ids) : 0;

    if (n > most)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!append_id(c, ids[i], field))
            return false;
    return true;
}

static bool read_date(struct api_call *c, struct slice *out)
{
    struct slice text = api_text(c, "date");
    int64_t ms;
    uint64_t number;

    if (get(c, "date") == NULL || (json_is_string(get(c, "date")) && text.n == 0))
        return true;
    if (slice_to_u64(text, (uint64_t)INT64_MAX / 2, &number))
        ms = (int64_t)number;
    else if (!date_parse_iso(text, &ms) && !rfc5322_parse_date(text, &ms, NULL))
        return false;
    *out = arena_copy(c->arena, slice_of(date_format_rfc5322(ms).s));
    return ms >= 0 && ms < 4102444800000;      /* 2100 */
}

static int read_ids_and_date(struct api_call *c, struct email_draft *d)
{
    if (!read_ids(c, "messageId", 1, &d->compose.message_id))
        return refuse(c, "INVALID_MESSAGE_ID");
    if (!read_ids(c, "inReplyTo", 1, &d->compose.in_reply_to) || !read_ids(c, "references", REFERENCES_MAX, &d->compose.references))
        return refuse(c, "INVALID_REFERENCES");
    if (!read_date(c, &d->compose.date))
        return refuse(c, "INVALID_DATE");
    return 0;
}

/* ---- more headers --------------------------------------------------------------------------------------------------- */

struct headers { struct compose_header list[COMPOSE_HEADERS_MAX]; size_t count; };

static bool add_header(struct headers *h, struct slice name, struct slice value)
{
    if (h->count == COMPOSE_HEADERS_MAX)
        return false;
    h->list[h->count++] = (struct compose_header){ name, value };
    return true;
}

/* What the composer writes itself, and what only servers may write. */
static bool is_ours(struct slice name)
{
    static const struct slice ours[] = {
        LIT("From"), LIT("Sender"), LIT("To"), LIT("Cc"), LIT("Bcc"), LIT("Subject"), LIT("Date"), LIT("Message-ID"), LIT("MIME-Version"),
        LIT("Return-Path"), LIT("Received"), LIT("DKIM-Signature"), LIT("X-Forward-Email-ID"), LIT("X-Forward-Email-Sender"),
    };

    for (size_t i = 0; i < COUNT(ours); i++)
        if (slice_equal_nocase(name, ours[i]))
            return true;
    return slice_has_prefix_nocase(name, LIT("Content-")) || slice_has_prefix_nocase(name, LIT("ARC-"));
}

static bool add_own(struct api_call *c, struct headers *h, struct slice name, const json_t *value)
{
    json_t *one;
    size_t i;

    if (is_ours(name))
        return false;
    if (json_is_integer(value))
        return add_header(h, name, arena_printf(c->arena, "%lld", (long long)json_integer_value(value)));
    if (json_is_string(value))
        return add_header(h, name, slice_make(json_string_value(value), json_string_length(value)));
    if (json_is_object(value))                 /* {prepared, value} */
        return json_is_string(json_object_get(value, "value")) && add_header(h, name, json_get_slice(value, "value"));
    json_array_foreach((json_t *)(uintptr_t)value, i, one)
        if (!json_is_string(one) || !add_header(h, name, slice_make(json_string_value(one), json_string_length(one))))
            return false;
    return json_is_array(value);
}

static bool read_own(struct api_call *c, struct headers *h)
{
    json_t *own = json_object_get(c->body, "headers"), *one;
    const char *name;
    size_t i;

    if (json_is_string(own) && json_string_length(own) == 0)   /* an empty field of a form */
        return true;
    json_object_foreach(own, name, one)
        if (!add_own(c, h, slice_of(name), one))
            return false;
    json_array_foreach(own, i, one)
        if (!json_is_object(one) || !add_own(c, h, json_get_slice(one, "key"), json_object_get(one, "value")))
            return false;
    return own == NULL || json_is_null(own) || json_is_object(own) || json_is_array(own);
}

static bool add_priority(struct api_call *c, struct headers *h)
{
    struct slice p = api_text(c, "priority");
    bool high = slice_equal_nocase(p, LIT("high"));

    if (p.n == 0 || slice_equal_nocase(p, LIT("normal")))
        return true;
    if (!high && !slice_equal_nocase(p, LIT("low")))
        return false;
    return add_header(h, LIT("X-Priority"), high ? LIT("1 (Highest)") : LIT("5 (Lowest)")) &&
           add_header(h, LIT("X-MSMail-Priority"), high ? LIT("High") : LIT("Low")) && add_header(h, LIT("Importance"), high ? LIT("High") : LIT("Low"));
}

/* ---- lists (RFC 2369, RFC 2919, RFC 8058) --------------------------------------------------------------------------------- */

static bool list_url(struct api_call *c, const json_t *value, struct slice *out)
{
    struct slice url = json_is_object(value) ? json_get_slice(value, "url") : json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : SLICE_NONE;
    const char *scheme = slice_find(url, LIT(":")) > 0 ? "" : slice_find_char(url, '@') > 0 ? "mailto:" : "https://";

    url = slice_trim(url);
    for (size_t i = 0; i < url.n; i++)
        if (url.p[i] <= 32 || url.p[i] > 126 || url.p[i] == '<' || url.p[i] == '>')
            return false;
    *out = arena_printf(c->arena, "%.*s%s<%s%.*s>", SLICE(*out), out->n > 0 ? ", " : "", scheme, SLICE(url));
    return url.n > 0 && url.n < 900;
}

static bool add_list(struct api_call *c, struct headers *h, const char *key, const json_t *value)
{
    static const struct { const char *key, *name; } known[] = {
        { "help", "List-Help" }, { "unsubscribe", "List-Unsubscribe" }, { "subscribe", "List-Subscribe" }, { "post", "List-Post" },
        { "owner", "List-Owner" }, { "archive", "List-Archive" },
    };
    struct slice text = SLICE_NONE;
    json_t *one;
    size_t i;

    if (strcasecmp(key, "unsubscribePost") == 0 || strcasecmp(key, "unsubscribe-post") == 0)
        return json_is_string(value) && add_header(h, LIT("List-Unsubscribe-Post"), slice_of(json_string_value(value)));
    if (strcmp(key, "id") == 0) {
        struct slice id = json_is_object(value) ? json_get_slice(value, "url") : slice_of(json_string_value(value));

        return id.n > 0 && slice_find_char(id, '>') < 0 && slice_find_char(id, '<') < 0 &&
               add_header(h, LIT("List-ID"), arena_printf(c->arena, "<%.*s>", SLICE(id)));
    }
    if (!json_is_array(value) && !list_url(c, value, &text))
        return false;
    json_array_foreach((json_t *)(uintptr_t)value, i, one)
        if (!list_url(c, one, &text))
            return false;
    for (i = 0; i < COUNT(known); i++)
        if (strcmp(known[i].key, key) == 0)
            return add_header(h, slice_of(known[i].name), text);
    return false;
}

static bool read_lists(struct api_call *c, struct headers *h)
{
    json_t *list = json_object_get(c->body, "list"), *value;
    const char *key;

    json_object_foreach(list, key, value)
        if (!add_list(c, h, key, value))
            return false;
    return list == NULL || json_is_null(list) || json_is_object(list);
}

static int read_headers(struct api_call *c, struct email_draft *d)
{
    struct headers *h = ARENA_NEW(c->arena, struct headers);

    if (!add_priority(c, h))
        return refuse(c, "INVALID_PRIORITY");
    if (!read_lists(c, h))
        return refuse(c, "INVALID_LIST");
    if (!read_own(c, h))
        return refuse(c, "INVALID_HEADERS");
    d->compose.headers = h->list;
    d->compose.header_count = h->count;
    return 0;
}

/* ---- delivery (RFC 3461, RFC 8689) -------------------------------------------------------------------------------------------- */

static bool read_notify(const json_t *dsn, struct arena *a, struct slice *out)
{
    static const struct slice events[] = { LIT("SUCCESS"), LIT("FAILURE"), LIT("DELAY") };
    const json_t *notify = json_object_get(dsn, "notify");
    struct slice text = json_get_slice(dsn, "notify"), one;
    size_t n = 0;
    bool wanted[COUNT(events)] = { false }, never = false;

    for (size_t i = 0; i < json_array_size(notify) && i < 4; i++)
        if (json_is_string(json_array_get(notify, i)))
            text = arena_printf(a, "%.*s%s%s", SLICE(text), text.n > 0 ? "," : "", json_string_value(json_array_get(notify, i)));
    while (slice_cut(&text, ',', &one)) {
        one = slice_trim(one);
        for (n = 0; n < COUNT(events) && !slice_equal_nocase(one, events[n]); n++)
            ;
        if (n < COUNT(events))
            wanted[n] = true;
        else if (slice_equal_nocase(one, LIT("NEVER")))
            never = true;
        else
            return false;
    }
    *out = never ? LIT("NEVER") : SLICE_NONE;
    for (n = 0; n < COUNT(events); n++)
        if (wanted[n])
            *out = arena_printf(a, "%.*s%s%.*s", SLICE(*out), out->n > 0 ? "," : "", SLICE(events[n]));
    return !(never && (wanted[0] || wanted[1] || wanted[2]));
}

/* ORCPT (RFC 3461 4.2): a type and an address; alone, an address is of type rfc822. */
static bool read_orcpt(const json_t *dsn, struct arena *a, struct slice *out)
{
    struct slice given = json_get_slice(dsn, "recipient");

    for (size_t i = 0; i < given.n; i++)
        if (given.p[i] <= 32 || given.p[i] > 126 || given.p[i] == '+' || given.p[i] == '=')
            return false;
    *out = given.n == 0 || slice_find_char(given, ';') > 0 ? given : arena_printf(a, "rfc822;%.*s", SLICE(given));
    return given.n <= ORCPT_MAX;
}

static int read_delivery(struct api_call *c, struct email_draft *d)
{
    const json_t *dsn = json_object_get(c->body, "dsn");
    struct slice ret = json_get_slice(dsn, "return"), id = json_get_slice(dsn, "id"), notify, orcpt;

    d->require_tls = api_bool(c, "requireTLS", api_bool(c, "requireTLSExtensionEnabled", false));
    if (ret.p == NULL)
        ret = json_get_slice(dsn, "ret");
    if (id.n > ENVID_MAX || !read_notify(dsn, c->arena, &notify) || !read_orcpt(dsn, c->arena, &orcpt))
        return refuse(c, "INVALID_DSN");
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= 32 || id.p[i] > 126 || id.p[i] == '+' || id.p[i] == '=')
            return refuse(c, "INVALID_DSN");
    if (slice_equal_nocase(ret, LIT("full")))
        d->dsn_return = LIT("FULL");
    else if (ret.n > 0)
        d->dsn_return = LIT("HDRS");
    d->dsn_id = id;
    for (size_t i = 0; i < d->recipient_count; i++) {
        d->recipients[i].notify = notify;
        d->recipients[i].orcpt = orcpt;
    }
    return 0;
}

/* ---- all -------------------------------------------------------------------------------------------------------------------------- */

static int compose(struct api_call *c, struct email_draft *d, struct fault *why)
{
    struct slice header;

    compose_boundary(&d->compose);
    if (compose_header(&d->compose, c->arena, &header, why) == 0) {
        d->header = header;
        return 0;
    }
    if (why->code != FAULT_INVALID && why->code != FAULT_LIMIT)
        return -1;
    why->code = FAULT_NONE;
    return refuse(c, "INVALID_HEADERS");
}

int email_draft_read(struct api_call *c, const struct email_body *body, struct email_draft *d, struct fault *why)
{
    const json_t *raw = get(c, "raw");
    const char *wrong;
    int r;

    if (raw != NULL) {
        r = email_raw_read(c, raw, d, why);
        return r != 0 ? r : read_delivery(c, d);
    }
    if ((r = read_from(c, d)) != 0 || (r = read_recipients(c, d)) != 0 || (r = read_texts(c, d)) != 0 || (r = read_ids_and_date(c, d)) != 0 ||
        (r = read_headers(c, d)) != 0 || (r = read_delivery(c, d)) != 0)
        return r;
    wrong = email_parts_read(c, body, d);
    if (wrong != NULL)
        return refuse(c, wrong);
    d->is_given_id = d->compose.message_id.n > 0;
    return compose(c, d, why);
}

void email_draft_free(struct email_draft *d)
{
    email_contents_free(d);
}
