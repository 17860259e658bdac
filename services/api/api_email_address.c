/* api_email_address.c - addresses of a request, as text or as objects, to a header field and to the envelope. Owns nothing; pure. */
#include "api_email.h"

#include "mail/address.h"
#include "wire/rfc5322.h"

struct gather {
    struct arena *a;
    struct buf text;
    struct email_addresses *out;
};

static bool add(struct gather *g, struct slice name, struct slice given)
{
    struct address address;
    struct slice shown;
    struct fault ignored;

    if (!address_parse(g->a, slice_trim(given), &address) || g->out->count == EMAIL_RECIPIENTS_ASKED_MAX)
        return false;
    given = arena_printf(g->a, "%.*s@%.*s", SLICE(address.local), SLICE(address.domain));
    if (compose_address(g->a, slice_trim(name), given, &shown, &ignored) < 0)
        return false;
    if (g->out->count > 0)
        (void)buf_append(&g->text, LIT(", "));
    (void)buf_append(&g->text, shown);
    g->out->address[g->out->count++] = given;
    return !g->text.overflowed;
}

static bool add_list(struct gather *g, struct slice list)
{
    struct rfc5322_address *each;
    size_t n;

    if (!slice_is_utf8(list) || (list.n > 0 && (memchr(list.p, '\r', list.n) != NULL || memchr(list.p, '\n', list.n) != NULL)))
        return false;
    n = rfc5322_parse_addresses(g->a, list, &each);
    for (size_t i = 0; i < n; i++)
        if (each[i].kind == ADDRESS_MAILBOX &&
            (each[i].domain.n == 0 || !add(g, rfc5322_decode_words(g->a, each[i].name), rfc5322_format_address(g->a, &each[i]))))
            return false;
    return true;
}

static bool add_value(struct gather *g, const json_t *value)
{
    if (json_is_string(value))
        return add_list(g, slice_make(json_string_value(value), json_string_length(value)));
    return json_is_object(value) && add(g, json_get_slice(value, "name"), json_get_slice(value, "address"));
}

static bool finish(struct gather *g, bool ok)
{
    g->out->text = arena_copy(g->a, buf_slice(&g->text));
    buf_free(&g->text);
    return ok;
}

static struct gather begin(struct arena *a, struct email_addresses *out)
{
    *out = (struct email_addresses){ .address = ARENA_ARRAY(a, struct slice, EMAIL_RECIPIENTS_ASKED_MAX) };
    return (struct gather){ .a = a, .text = BUF_INIT((size_t)128 << 10), .out = out };
}

bool email_addresses_read(struct arena *a, const json_t *value, struct email_addresses *out)
{
    struct gather g = begin(a, out);
    bool ok = true;
    json_t *one;
    size_t i;

    if (value == NULL || json_is_null(value))
        return finish(&g, true);
    if (!json_is_array(value))
        return finish(&g, add_value(&g, value));
    json_array_foreach((json_t *)(uintptr_t)value, i, one)
        ok = ok && add_value(&g, one);
    return finish(&g, ok);
}

bool email_addresses_parse(struct arena *a, struct slice list, struct email_addresses *out)
{
    struct gather g = begin(a, out);

    return finish(&g, add_list(&g, list));
}

static bool is_listed(const struct email_draft *d, struct slice address)
{
    for (size_t i = 0; i < d->recipient_count; i++)
        if (slice_equal_nocase(d->recipients[i].address, address))
            return true;
    return false;
}

bool email_recipients_add(struct arena *a, struct email_draft *d, const struct email_addresses *list)
{
    if (d->recipients == NULL)
        d->recipients = ARENA_ARRAY(a, struct email_recipient, EMAIL_RECIPIENTS_ASKED_MAX);
    for (size_t i = 0; i < list->count; i++) {
        if (is_listed(d, list->address[i]))
            continue;
        if (d->recipient_count == EMAIL_RECIPIENTS_ASKED_MAX)
            return false;
        d->recipients[d->recipient_count++] = (struct email_recipient){ .address = list->address[i] };
    }
    return true;
}
