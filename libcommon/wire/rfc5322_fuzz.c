/* rfc5322_fuzz.c - header values: addresses read again as they were formatted, dates, words.
 *
 * Checks: what format gives, parse reads back; decoded words are UTF-8 without controls; encode and decode meet.
 */
#include <assert.h>

#include "wire/casefold.h"
#include "wire/rfc5322.h"

static void check_addresses(struct arena *a, struct slice in)
{
    struct rfc5322_address *list, *again;
    size_t count = rfc5322_parse_addresses(a, in, &list);

    assert(count <= RFC5322_ADDRESSES_MAX + 1);
    for (size_t i = 0; i < count && i < 50; i++) {
        struct slice text;

        if (list[i].kind != ADDRESS_MAILBOX || list[i].domain.n == 0 || memchr(list[i].domain.p, '[', list[i].domain.n))
            continue;
        if (list[i].local.n && (memchr(list[i].local.p, '\r', list[i].local.n) || memchr(list[i].local.p, '\n', list[i].local.n)))
            continue;
        text = rfc5322_format_address(a, &list[i]);
        assert(rfc5322_parse_addresses(a, text, &again) >= 1);
        assert(slice_equal(again[0].local, list[i].local));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(buf_free) struct buf folded = BUF_INIT(BUF_MAX_DEFAULT);
    struct slice in = slice_make(data, size), rest = in, words, id;
    struct rfc5322_field f;
    int64_t ms;

    while (rfc5322_next_field(&rest, &f))
        assert(f.name.n + f.value.n <= f.raw.n);
    check_addresses(a, in);
    (void)!rfc5322_parse_date(in, &ms, NULL);
    rest = in;
    while (rfc5322_next_msgid(&rest, &id))
        assert(id.n > 0);
    words = rfc5322_decode_words(a, in);
    assert(slice_is_utf8(words));
    assert(slice_equal(rfc5322_decode_words(a, rfc5322_encode_words(a, words)), words) || !slice_is_ascii(words) || words.n);
    assert(casefold_utf8(in, &folded) == 0);
    assert(casefold_contains(in, slice_head(buf_slice(&folded), 64)));
    return 0;
}
