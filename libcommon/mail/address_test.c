/* address_test.c - valid and invalid addresses, tags, organisations. */
#include "mail/address.h"

#include "base/test.h"

TEST(address, parses)
{
    static const struct { const char *in, *user, *tag, *domain; } row[] = {      /* user NULL: no address */
        { "Joe+News+x@Example.ORG", "joe", "News+x", "example.org" }, { "joe@example.org", "joe", NULL, "example.org" },
        { "joe+@example.org", "joe", "", "example.org" }, { "+x@example.org", "+x", NULL, "example.org" },
        { "j\xC3\xBC@m\xC3\xBCnchen.example", "j\xC3\xBC", NULL, "xn--mnchen-3ya.example" },
        { "u@[192.0.2.1]", "u", NULL, "[192.0.2.1]" }, { "u@[IPv6:2001:db8::1]", "u", NULL, "[ipv6:2001:db8::1]" },
        { "u@localhost", "u", NULL, "localhost" }, { "a_b!#$%&'*/=?^`{|}~-@x.test", "a_b!#$%&'*/=?^`{|}~-", NULL, "x.test" },
        { "u@[192.0.2]", NULL, NULL, NULL }, { "\"a b\"@x.test", NULL, NULL, NULL }, { "a..b@x.test", NULL, NULL, NULL }, { ".a@x.test", NULL, NULL, NULL },
        { "a.@x.test", NULL, NULL, NULL }, { "@x.test", NULL, NULL, NULL }, { "a@", NULL, NULL, NULL }, { "a", NULL, NULL, NULL }, { "", NULL, NULL, NULL },
        { "a b@x.test", NULL, NULL, NULL }, { "a@x..test", NULL, NULL, NULL }, { "a@-x.test", NULL, NULL, NULL }, { "a@x.test.", NULL, NULL, NULL },
        { "a@x_y.test", "a", NULL, "x_y.test" }, { "a@x/y", NULL, NULL, NULL }, { "a\xFF@x.test", NULL, NULL, NULL }, { "a@b@x.test", NULL, NULL, NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct address got;
        bool ok = address_parse(t->arena, slice_of(row[i].in), &got);

        CHECK_ROW(i, ok == (row[i].user != NULL));
        if (!ok || !row[i].user)
            continue;
        CHECK_ROW_STR(i, row[i].user, got.user);
        CHECK_ROW_STR(i, row[i].domain, got.domain);
        CHECK_ROW(i, (got.tag.p == NULL) == (row[i].tag == NULL));
        CHECK_ROW_SLICE(i, slice_of(row[i].tag ? row[i].tag : ""), slice_make(got.tag.p ? got.tag.p : "", got.tag.n));
    }
}

TEST(address, finds_the_organisation)
{
    static const struct { const char *in, *want; } row[] = {
        { "example.org", "example.org" }, { "a.b.example.org", "example.org" }, { "www.example.co.uk", "example.co.uk" }, { "co.uk", "co.uk" },
        { "x.y.github.io", "github.io" }, { "192.0.2.1", "192.0.2.1" }, { "2001:db8::1", "2001:db8::1" }, { "[192.0.2.1]", "[192.0.2.1]" },
        { "localhost", "localhost" }, { "a.b.unknowntld", "b.unknowntld" }, { "", "" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, address_root_domain(slice_of(row[i].in)));
}

TEST(address, knows_automatic_names)
{
    CHECK(address_is_automatic(LIT("mailer-daemon")) && address_is_automatic(LIT("noreply")) && address_is_noreply(LIT("no.reply")));
    CHECK(!address_is_automatic(LIT("joe")) && !address_is_noreply(LIT("postmaster")));
}
