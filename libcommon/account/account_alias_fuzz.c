/* account_alias_fuzz.c - names and recipients from anywhere: what is accepted is in normal form, and stays it. */
#include "account/account_alias.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice in = slice_make(data, size), name, once, twice, rest = in, one, given[64], *out, bad;
    enum recipient_kind kind;
    size_t n = 0, count;

    if (size > 4096)
        return 0;
    name = account_alias_normal(a, in);
    if (account_alias_check(name, true, NULL, 0) == NULL && !slice_equal(name, account_alias_normal(a, name)))
        abort();
    kind = account_recipient_parse(a, in, &once);
    if (kind != RECIPIENT_NONE && (account_recipient_parse(a, once, &twice) != kind || !slice_equal(once, twice)))
        abort();
    while (n < COUNT(given) && slice_cut(&rest, '\n', &one))
        given[n++] = one;
    if (account_recipients_parse(a, given, n, 10, &out, &count, NULL, &bad) == NULL && count > 10)
        abort();
    return 0;
}
