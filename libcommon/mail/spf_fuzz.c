/* spf_fuzz.c - any record, macros expanded, with a resolver that gives the same record to every name. */
#include <assert.h>

#include "mail/spf.h"

static struct slice record;

static int same_answer(void *arg, struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why)
{
    (void)arg;
    (void)until;
    (void)why;
    assert(name.n <= 253 || type == DNS_PTR);
    *out = (struct dns_answer){ .status = DNS_FOUND, .records = ARENA_NEW(in, struct dns_record), .count = 1 };
    out->records[0] = (struct dns_record){ .type = type, .text = type == DNS_TXT ? record : type == DNS_A ? LIT("192.0.2.1") : LIT("a.b.test") };
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct spf_request request = { .ip = size & 1 ? "192.0.2.7" : "2001:db8::7", .helo = LIT("h.test"), .sender = LIT("joe.doe@d.test"),
                                   .until = DEADLINE_NEVER, .query = same_answer };
    struct spf_verdict v;

    record = slice_make(data, size);
    spf_check(&request, a, &v);
    assert(v.result <= SPF_PERMERROR);
    return 0;
}
