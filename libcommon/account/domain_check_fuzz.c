/* domain_check_fuzz.c - any text as the DNS of a domain, as a domain's name, as an entry of a list and as a password. */
#include <assert.h>

#include "account/domain_check.h"
#include "account/domain_name.h"
#include "account/password_rule.h"

static struct slice text;

/* TXT: the text cut at line ends; names: the name of a domain that was read from it. */
static int same_answer(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why)
{
    struct slice rest = text, line;

    (void)name;
    (void)until;
    (void)why;
    *out = (struct dns_answer){ .status = DNS_FOUND, .records = ARENA_ARRAY(in, struct dns_record, 64) };
    while (out->count < 64 && slice_cut(&rest, '\n', &line))
        out->records[out->count++] = (struct dns_record){ .type = type, .text = line };
    return 0;
}

static void check(struct arena *a, struct slice name)
{
    static const char *const ours[] = { "mx.host.example", NULL };
    struct domain_expect e = { .exchanges = ours, .web_host = "host.example", .txt_prefix = "forward-email", .ask = same_answer };
    struct domain_doc d = { .name = name, .verification_record = LIT("abc"), .dkim_key_selector = LIT("fe-0123456789"), .dkim_public_key = LIT("QUJD") };
    struct domain_record_check records;
    struct domain_smtp_check smtp;
    struct fault why;

    assert(domain_check_records(&d, &e, a, DEADLINE_NEVER, &records, &why) == 0);
    assert(domain_check_smtp(&d, &e, a, DEADLINE_NEVER, &smtp, &why) == 0);
    assert((smtp.problems.count == 0) == (smtp.has_dkim && smtp.has_return_path && smtp.has_dmarc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice name, again;

    text = slice_make(data, size);
    check(a, LIT("sub.shop.example"));
    if (domain_name_read(a, text, &name)) {
        assert(domain_name_read(a, name, &again) && slice_equal(name, again));     /* the normal form is its own */
        check(a, name);
    }
    if (domain_list_entry_read(a, text, &name))
        assert(domain_list_entry_read(a, name, &again) && slice_equal(name, again));
    (void)password_rule_check(text, &text, 1);
    assert(password_rule_score(text, NULL, 0) <= 4);
    return 0;
}
