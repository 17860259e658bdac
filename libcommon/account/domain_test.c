/* domain_test.c - names, records and DNS checks of domains; DNS is a table. */
#include "account/domain_check.h"
#include "account/domain_name.h"

#include "base/test.h"
#include "mail/field_crypt.h"
#include "rt/loop.h"

/* ---- names ---------------------------------------------------------------------------------------------------- */

TEST(domain_name, is_fully_qualified)
{
    static const struct { const char *in, *want; } row[] = {
        { "example.com", "example.com" }, { "  Example.COM. ", "example.com" }, { "a-b.c1.example", "a-b.c1.example" },
        { "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" }, { "xn--bcher-kva.example", "xn--bcher-kva.example" },
        { "", NULL }, { ".", NULL }, { "localhost", NULL }, { "a..b", NULL }, { ".example.com", NULL }, { "-a.example", NULL }, { "a-.example", NULL },
        { "a_b.example", NULL }, { "192.0.2.1", NULL }, { "2001:db8::1", NULL }, { "[192.0.2.1]", NULL }, { "a b.example", NULL }, { "example.com..", NULL },
        { "a@example.com", NULL }, { "http://example.com", NULL }, { "example.com/x", NULL },
        { "0123456789012345678901234567890123456789012345678901234567890123.example", NULL },      /* a label of 64 */
    };
    struct slice got;

    for (size_t i = 0; i < COUNT(row); i++) {
        bool ok = domain_name_read(t->arena, slice_of(row[i].in), &got);

        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (ok && row[i].want != NULL)
            CHECK_ROW_STR(i, row[i].want, got);
    }
}

TEST(domain_name, knows_what_a_list_may_hold)
{
    static const struct { const char *in, *want; } row[] = {
        { "Example.com", "example.com" }, { "192.0.2.1", "192.0.2.1" }, { "2001:DB8::1", "2001:db8::1" }, { "Jane@Example.com", "jane@example.com" },
        { "jane", NULL }, { "@example.com", NULL }, { "jane@", NULL }, { "jane@[192.0.2.1]", NULL }, { "192.0.2.0/24", NULL }, { "*.example.com", NULL },
    };
    struct slice got;

    for (size_t i = 0; i < COUNT(row); i++) {
        bool ok = domain_list_entry_read(t->arena, slice_of(row[i].in), &got);

        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (ok && row[i].want != NULL)
            CHECK_ROW_STR(i, row[i].want, got);
    }
}

/* ---- secrets and records of a new one ---------------------------------------------------------------------------- */

static void prepare(void *arg)
{
    struct test *t = arg;
    AUTO(secret_unref) struct secret *key = secret_new(LIT("0123456789abcdef0123456789abcdef"));
    struct domain_doc d = domain_new(LIT("mail.example.com"));
    struct domain_records want;
    struct slice pem;
    struct fault why;
    char label[64];

    CHECK_FAULT(FAULT_INVALID, domain_prepare(&d, DKIM_ED25519_SHA256, NULL, t->arena, deadline_in_ms(20000), &why), &why);
    REQUIRE_OK(domain_prepare(&d, DKIM_RSA_SHA256, key, t->arena, deadline_in_ms(20000), &why), &why);
    CHECK(object_id_is_valid(slice_of(d.id)) && d.verification_record.n >= 10 && d.webhook_key.n > 0);
    CHECK(slice_has_prefix(d.dkim_key_selector, LIT("fe-")) && d.dkim_key_selector.n == 13 && d.dkim_public_key.n == 392);
    (void)snprintf(label, sizeof(label), "dkim %s", d.id);
    REQUIRE_OK(field_decrypt(t->arena, key, label, d.dkim_private_key, &pem, &why), &why);
    CHECK(slice_has_prefix(pem, LIT("-----BEGIN PRIVATE KEY-----")));
    domain_records_list(&d, "web.example.net", "forward-email", t->arena, &want);
    CHECK_STR("fe-bounces.mail.example.com", want.return_path.name);
    CHECK_STR("fe-bounces.mail", domain_record_label(&want.return_path, &d));
    CHECK_STR("_dmarc.mail", domain_record_label(&want.dmarc, &d));
    CHECK_STR("web.example.net", want.return_path.value);
    CHECK(slice_has_prefix(want.dkim.value, LIT("v=DKIM1; k=rsa; p=MII")) && slice_has_prefix(want.verification, LIT("forward-email-site-verification=")));
}

TEST(domain_new, has_keys_of_its_own)
{
    loop_run_fiber(prepare, t);
}

/* ---- DNS as a table -------------------------------------------------------------------------------------------------- */

#define ROWS_MAX 16
#define SERVFAIL "SERVFAIL"
struct dns_row { const char *name; enum dns_type type; const char *text; };
static struct dns_row world[ROWS_MAX];         /* set by each row of a test: the resolver has no argument of its own */

static int ask(struct slice name, enum dns_type type, struct arena *in, UNUSED struct deadline until, struct dns_answer *out, struct fault *why)
{
    bool name_is_there = false;

    *out = (struct dns_answer){ .records = ARENA_ARRAY(in, struct dns_record, ROWS_MAX) };
    for (size_t i = 0; i < ROWS_MAX && world[i].name != NULL; i++) {
        if (!slice_equal(name, slice_of(world[i].name)))
            continue;
        name_is_there = true;
        if (world[i].type == type && strcmp(world[i].text, SERVFAIL) == 0)
            return fault_set(why, FAULT_UNAVAILABLE, "SERVFAIL");
        if (world[i].type == type)
            out->records[out->count++] = (struct dns_record){ .type = type, .text = slice_of(world[i].text) };
    }
    out->status = out->count > 0 ? DNS_FOUND : name_is_there ? DNS_NO_DATA : DNS_NO_NAME;
    return 0;
}

static const char *const our_mx[] = { "mx1.host.example", "mx2.host.example", NULL };
static const struct domain_expect expect = { .exchanges = our_mx, .web_host = "host.example", .txt_prefix = "forward-email", .ask = ask };

#define DOMAIN  "shop.example"
#define NS      { DOMAIN, DNS_NS, "ns.shop.example" }
#define RIGHT   { DOMAIN, DNS_TXT, "forward-email-site-verification=abcDEF" }
#define OUR_MX  { DOMAIN, DNS_MX, "mx1.host.example" }

TEST(domain_check, records)
{
    static const struct { struct dns_row dns[6]; bool ignore_mx, txt, mx; size_t problems, warnings; const char *says; } row[] = {
        { { NS, RIGHT, OUR_MX }, false, true, true, 0, 0, "" },
        { { NS, RIGHT, { DOMAIN, DNS_TXT, "v=spf1 -all" }, OUR_MX, { DOMAIN, DNS_MX, "mx2.host.example" } }, false, true, true, 0, 0, "" },
        { { { NULL, 0, NULL } }, false, false, false, 3, 0, "shop.example does not exist" },
        { { NS, OUR_MX }, false, false, true, 1, 0, "add a TXT record at shop.example with the value \"forward-email-site-verification=abcDEF\"" },
        { { NS, OUR_MX, { DOMAIN, DNS_TXT, "forward-email-site-verification=other" } }, false, false, true, 1, 0, "change the TXT record \"forward-email-site-verification=other\"" },
        { { NS, OUR_MX, { DOMAIN, DNS_TXT, "forward-email-site-verification=abcdef" } }, false, false, true, 1, 0, "wrong" },
        { { NS, OUR_MX, RIGHT, { DOMAIN, DNS_TXT, "forward-email-site-verification=other" } }, false, false, true, 1, 0, "There are 2 TXT records" },
        { { NS, RIGHT }, false, true, false, 1, 0, "add an MX record at shop.example with the value \"mx1.host.example, mx2.host.example\"" },
        { { NS, RIGHT, OUR_MX, { DOMAIN, DNS_MX, "mx.else.example" } }, false, true, false, 1, 0, "\"mx.else.example\" of shop.example is not of this server: remove it" },
        { { NS, RIGHT, { DOMAIN, DNS_MX, "mx.else.example" } }, false, true, false, 2, 0, "mx.else.example" },
        { { NS, RIGHT, { DOMAIN, DNS_MX, "mx.else.example" } }, true, true, true, 0, 0, "" },
        { { NS, RIGHT, OUR_MX, { DOMAIN, DNS_TXT, "forward-email=jane@example.com" } }, false, true, true, 0, 1, "" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct domain_doc d = { .name = LIT(DOMAIN), .verification_record = LIT("abcDEF"), .ignore_mx_check = row[i].ignore_mx };
        struct domain_record_check found;
        struct fault why;

        memset(world, 0, sizeof(world));
        memcpy(world, row[i].dns, sizeof(row[i].dns));
        REQUIRE_OK(domain_check_records(&d, &expect, t->arena, DEADLINE_NEVER, &found, &why), &why);
        CHECK_ROW(i, found.has_txt == row[i].txt && found.has_mx == row[i].mx);
        CHECK_ROW(i, found.problems.count == row[i].problems && found.warnings.count == row[i].warnings);
        CHECK_ROW(i, slice_find(domain_sentences_join(t->arena, &found.problems), slice_of(row[i].says)) >= 0);
    }
}

#define KEY     "fe-0123456789._domainkey.shop.example"
#define DKIM    { KEY, DNS_TXT, "v=DKIM1; k=ed25519; p=QUJD;" }
#define BOUNCE  { "fe-bounces.shop.example", DNS_CNAME, "host.example" }
#define DMARC   { "_dmarc.shop.example", DNS_TXT, "v=DMARC1; p=none" }

TEST(domain_check, sending)
{
    static const struct { struct dns_row dns[6]; bool dkim, bounce, dmarc; const char *says; } row[] = {
        { { DKIM, BOUNCE, DMARC }, true, true, true, "" },
        { { { KEY, DNS_TXT, " v=DKIM1;k=ed25519;  p=QU JD" }, BOUNCE, DMARC }, true, true, true, "" },
        { { BOUNCE, DMARC }, false, true, true, "add a TXT record at " KEY " with the value \"v=DKIM1; k=ed25519; p=QUJD;\"" },
        { { { KEY, DNS_TXT, "v=DKIM1; k=ed25519; p=QUJE;" }, BOUNCE, DMARC }, false, true, true, "The DKIM record is wrong" },
        { { DKIM, { KEY, DNS_TXT, "v=DKIM1; k=ed25519; p=QUJE;" }, BOUNCE, DMARC }, false, true, true, "more than once" },
        { { DKIM, DMARC }, true, false, true, "add a CNAME record at fe-bounces.shop.example with the value \"host.example\"" },
        { { DKIM, { "fe-bounces.shop.example", DNS_CNAME, "mx2.host.example" }, DMARC }, true, true, true, "" },
        { { DKIM, { "fe-bounces.shop.example", DNS_CNAME, "else.example" }, DMARC }, true, false, true, "return path" },
        { { DKIM, { "fe-bounces.shop.example", DNS_TXT, "v=spf1 include:host.example -all" }, DMARC }, true, true, true, "" },
        { { DKIM, { "fe-bounces.shop.example", DNS_TXT, "v=spf1 +a:mx1.host.example ~all" }, DMARC }, true, true, true, "" },
        { { DKIM, { "fe-bounces.shop.example", DNS_TXT, "v=spf1 -include:host.example" }, DMARC }, true, false, true, "return path" },
        { { DKIM, { "fe-bounces.shop.example", DNS_TXT, "v=spf10 include:host.example" }, DMARC }, true, false, true, "return path" },
        { { DKIM, { "fe-bounces.shop.example", DNS_MX, "mx1.host.example" }, DMARC }, true, true, true, "" },
        { { DKIM, { "fe-bounces.shop.example", DNS_MX, "mx1.host.example" }, { "fe-bounces.shop.example", DNS_MX, "else.example" }, DMARC }, true, false, true, "return" },
        { { DKIM, BOUNCE }, true, true, false, "missing: add a TXT record at _dmarc.shop.example with the value \"v=DMARC1; p=reject;" },
        { { DKIM, BOUNCE, { "_dmarc.shop.example", DNS_TXT, "v=DMARC1;p=quarantine; pct=100; rua=mailto:a@b.example" } }, true, true, true, "" },
        { { DKIM, BOUNCE, { "_dmarc.shop.example", DNS_TXT, "v=DMARC1; p=reject; pct=50" } }, true, true, false, "no pct below 100" },
        { { DKIM, BOUNCE, { "_dmarc.shop.example", DNS_TXT, "v=DMARC1; sp=none" } }, true, true, false, "policy" },
        { { DKIM, BOUNCE, { "_dmarc.shop.example", DNS_TXT, "something else" } }, true, true, false, "missing" },
        { { DKIM, BOUNCE, DMARC, { "_dmarc.shop.example", DNS_TXT, "v=DMARC1; p=reject" } }, true, true, false, "more than once" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct domain_doc d = { .name = LIT(DOMAIN), .dkim_key_selector = LIT("fe-0123456789"), .dkim_public_key = LIT("QUJD"), .return_path = LIT("fe-bounces") };
        struct domain_smtp_check found;
        struct slice said;
        struct fault why;

        memset(world, 0, sizeof(world));
        memcpy(world, row[i].dns, sizeof(row[i].dns));
        REQUIRE_OK(domain_check_smtp(&d, &expect, t->arena, DEADLINE_NEVER, &found, &why), &why);
        said = domain_sentences_join(t->arena, &found.problems);
        CHECK_ROW(i, found.has_dkim == row[i].dkim && found.has_return_path == row[i].bounce && found.has_dmarc == row[i].dmarc);
        CHECK_ROW(i, (found.problems.count == 0) == (row[i].says[0] == '\0'));
        CHECK_ROW(i, slice_find(said, slice_of(row[i].says)) >= 0);
    }
}

TEST(domain_check, a_subdomain_has_the_policy_of_its_organisation)
{
    static const struct dns_row dns[] = { { "_dmarc.shop.example", DNS_TXT, "v=DMARC1; p=reject" } };
    struct domain_doc d = { .name = LIT("mail.shop.example"), .dkim_key_selector = LIT("fe-0123456789"), .return_path = LIT("fe-bounces") };
    struct domain_smtp_check found;
    struct fault why;

    memset(world, 0, sizeof(world));
    memcpy(world, dns, sizeof(dns));
    REQUIRE_OK(domain_check_smtp(&d, &expect, t->arena, DEADLINE_NEVER, &found, &why), &why);
    CHECK(found.has_dmarc && !found.has_dkim && !found.has_return_path);
}

/* Then nothing is known: flags must not be written. */
TEST(domain_check, a_name_server_that_fails_is_no_missing_record)
{
    static const struct dns_row failing[] = {
        { DOMAIN, DNS_NS, SERVFAIL }, { DOMAIN, DNS_TXT, SERVFAIL }, { DOMAIN, DNS_MX, SERVFAIL }, { KEY, DNS_TXT, SERVFAIL },
        { "fe-bounces.shop.example", DNS_CNAME, SERVFAIL }, { "fe-bounces.shop.example", DNS_TXT, SERVFAIL }, { "fe-bounces.shop.example", DNS_MX, SERVFAIL },
        { "_dmarc.shop.example", DNS_TXT, SERVFAIL },
    };
    struct domain_doc d = { .name = LIT(DOMAIN), .dkim_key_selector = LIT("fe-0123456789"), .return_path = LIT("fe-bounces") };

    for (size_t i = 0; i < COUNT(failing); i++) {
        struct domain_record_check records;
        struct domain_smtp_check smtp;
        struct fault why = { 0 };
        bool of_records = strcmp(failing[i].name, DOMAIN) == 0;

        memset(world, 0, sizeof(world));
        world[0] = failing[i];
        CHECK_ROW(i, (of_records ? domain_check_records(&d, &expect, t->arena, DEADLINE_NEVER, &records, &why)
                                 : domain_check_smtp(&d, &expect, t->arena, DEADLINE_NEVER, &smtp, &why)) < 0);
        CHECK_ROW(i, why.code == FAULT_UNAVAILABLE);
    }
}
