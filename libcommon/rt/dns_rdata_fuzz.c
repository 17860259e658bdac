/* dns_rdata_fuzz.c - first byte picks the type, the rest is the record's data. */
#include "rt/dns_rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type type[] = { DNS_A, DNS_AAAA, DNS_CNAME, DNS_PTR, DNS_MX, DNS_TXT, DNS_TLSA };
    struct arena *a = arena_new(0);
    struct dns_record r;

    if (size > 0 && dns_rdata_parse(type[data[0] % COUNT(type)], slice_make(data + 1, size - 1), a, &r) &&
        r.text.n > DNS_TXT_MAX + 65536)
        __builtin_trap();
    arena_free(&a);
    return 0;
}
