/* spf_test.c - RFC 7208: its examples (Appendix A, 7.4), and each clause that can go wrong, against a zone in memory. */
#include "mail/spf.h"

#include "base/test.h"
#include "mail/spf_internal.h"

struct zone_row { const char *name; enum dns_type type; const char *value; };

/* Appendix A, then cases of our own. */
static const struct zone_row zone[] = {
    { "example.com", DNS_MX, "mail-a.example.com" },        { "example.com", DNS_MX, "mail-b.example.com" },
    { "example.com", DNS_A, "192.0.2.10" },                 { "example.com", DNS_A, "192.0.2.11" },
    { "amy.example.com", DNS_A, "192.0.2.65" },             { "bob.example.com", DNS_A, "192.0.2.66" },
    { "mail-a.example.com", DNS_A, "192.0.2.129" },         { "mail-b.example.com", DNS_A, "192.0.2.130" },
    { "example.org", DNS_MX, "mail-c.example.org" },        { "mail-c.example.org", DNS_A, "192.0.2.140" },
    { "10.2.0.192.in-addr.arpa", DNS_PTR, "example.com" },  { "65.2.0.192.in-addr.arpa", DNS_PTR, "amy.example.com" },
    { "140.2.0.192.in-addr.arpa", DNS_PTR, "mail-c.example.org" }, { "4.0.0.10.in-addr.arpa", DNS_PTR, "bob.example.com" },
    { "mary.mobile-users._spf.example.com", DNS_A, "127.0.0.2" },
    { "15.15.168.192.joel.remote-users._spf.example.com", DNS_A, "127.0.0.2" },

    { "all.t.test", DNS_TXT, "v=spf1 +all" },               { "minus.t.test", DNS_TXT, "v=spf1 -all" },
    { "a.example.com", DNS_TXT, "v=spf1 a:example.com -all" },
    { "aorg.example.com", DNS_TXT, "v=spf1 a:example.org -all" },
    { "mx.example.com", DNS_TXT, "v=spf1 mx:example.com -all" },
    { "mxorg.example.com", DNS_TXT, "v=spf1 mx:example.org -all" },
    { "mxboth.example.com", DNS_TXT, "v=spf1 mx:example.com mx:example.org -all" },
    { "mxnet.example.com", DNS_TXT, "v=spf1 mx:example.com/30 mx:example.org/30 -all" },
    { "ptr.example.com", DNS_TXT, "v=spf1 ptr:example.com -all" },
    { "ip4.example.com", DNS_TXT, "v=spf1 ip4:192.0.2.128/28 -all" },
    { "mobile.example.com", DNS_TXT, "v=spf1 exists:%{l}.mobile-users._spf.example.com exists:%{ir}.%{l}.remote-users._spf.example.com -all" },
    { "inc.t.test", DNS_TXT, "v=spf1 include:minus.t.test include:all.t.test -all" },
    { "incnone.t.test", DNS_TXT, "v=spf1 include:example.org -all" },
    { "redir.t.test", DNS_TXT, "v=spf1 ip4:198.51.100.1 redirect=minus.t.test" },
    { "redirnone.t.test", DNS_TXT, "v=spf1 redirect=example.org" },
    { "two.t.test", DNS_TXT, "v=spf1 -all" },               { "two.t.test", DNS_TXT, "v=spf1 +all" },
    { "other.t.test", DNS_TXT, "v=spf10 -all" },            { "other.t.test", DNS_TXT, "google-site-verification=x" },
    { "neutral.t.test", DNS_TXT, "v=spf1 ip4:1.2.3.4" },    { "soft.t.test", DNS_TXT, "V=SPF1 ~ALL" },
    { "six.t.test", DNS_TXT, "v=spf1 ip6:2001:db8::/32 -all" },
    { "void.t.test", DNS_TXT, "v=spf1 a:n1.t.test a:n2.t.test a:n3.t.test +all" },
    { "void2.t.test", DNS_TXT, "v=spf1 a:n1.t.test a:n2.t.test +all" },
    { "loop.t.test", DNS_TXT, "v=spf1 include:loop.t.test -all" },
    { "rloop.t.test", DNS_TXT, "v=spf1 redirect=rloop.t.test" },
    { "ten.t.test", DNS_TXT, "v=spf1 a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com "
                             "a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com +all" },
    { "eleven.t.test", DNS_TXT, "v=spf1 a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com "
                                "a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com a:amy.example.com +all" },
    { "temp.t.test", DNS_TXT, "v=spf1 a:broken.t.test -all" },  { "broken.t.test", DNS_A, "SERVFAIL" },
    { "early.t.test", DNS_TXT, "v=spf1 +all a:broken.t.test" },
    { "syntax.t.test", DNS_TXT, "v=spf1 +all nonsense" },
    { "exp.t.test", DNS_TXT, "v=spf1 -all exp=why.t.test" },
    { "why.t.test", DNS_TXT, "%{c} is not one of %{d}'s, says %{r} about %{S}" },
    { "incexp.t.test", DNS_TXT, "v=spf1 include:exp.t.test -all" },
    { "helo.t.test", DNS_TXT, "v=spf1 exists:%{l}.%{h}.t.test -all" },  { "postmaster.helo.t.test.t.test", DNS_A, "127.0.0.1" },
    { "p.t.test", DNS_TXT, "v=spf1 exists:%{p}.seen.t.test -all" },     { "amy.example.com.seen.t.test", DNS_A, "127.0.0.1" },
};

static int zone_query(void *arg, struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why)
{
    (void)arg;
    (void)until;
    *out = (struct dns_answer){ .status = DNS_NO_NAME, .records = ARENA_ARRAY(in, struct dns_record, 20) };
    for (size_t i = 0; i < COUNT(zone); i++) {
        if (zone[i].type != type || !slice_equal_nocase(name, slice_of(zone[i].name)))
            continue;
        if (strcmp(zone[i].value, "SERVFAIL") == 0)
            return fault_set(why, FAULT_UNAVAILABLE, "servfail");
        out->records[out->count++] = (struct dns_record){ .type = type, .text = slice_of(zone[i].value) };
        out->status = DNS_FOUND;
    }
    return 0;
}

static struct spf_verdict check(struct arena *a, const char *ip, const char *sender)
{
    struct spf_request request = { .ip = ip, .helo = LIT("helo.t.test"), .sender = slice_of(sender), .receiver = LIT("mx.us.test"),
                                   .until = DEADLINE_NEVER, .query = zone_query };
    struct spf_verdict v;

    spf_check(&request, a, &v);
    return v;
}

TEST(spf, decides_as_the_rfc_says)
{
    static const struct { const char *ip, *sender, *want; } row[] = {
        { "192.0.2.65", "x@all.t.test", "pass" },          { "192.0.2.65", "x@minus.t.test", "fail" },
        { "192.0.2.10", "x@a.example.com", "pass" },       { "192.0.2.12", "x@a.example.com", "fail" },
        { "192.0.2.10", "x@aorg.example.com", "fail" },
        { "192.0.2.129", "x@mx.example.com", "pass" },     { "192.0.2.10", "x@mx.example.com", "fail" },
        { "192.0.2.140", "x@mxorg.example.com", "pass" },  { "192.0.2.140", "x@mxboth.example.com", "pass" },
        { "192.0.2.131", "x@mxnet.example.com", "pass" },  { "192.0.2.143", "x@mxnet.example.com", "pass" },
        { "192.0.2.132", "x@mxnet.example.com", "fail" },
        { "192.0.2.10", "x@ptr.example.com", "pass" },     { "192.0.2.65", "x@ptr.example.com", "pass" },
        { "192.0.2.140", "x@ptr.example.com", "fail" },    { "10.0.0.4", "x@ptr.example.com", "fail" },
        { "192.0.2.65", "x@ip4.example.com", "fail" },     { "192.0.2.129", "x@ip4.example.com", "pass" },
        { "10.1.1.1", "mary@mobile.example.com", "pass" }, { "192.168.15.15", "joel@mobile.example.com", "pass" },
        { "192.168.15.16", "joel@mobile.example.com", "fail" },
        { "9.9.9.9", "x@inc.t.test", "pass" },             { "9.9.9.9", "x@incnone.t.test", "permerror" },
        { "198.51.100.1", "x@redir.t.test", "pass" },      { "198.51.100.2", "x@redir.t.test", "fail" },
        { "9.9.9.9", "x@redirnone.t.test", "permerror" },  { "9.9.9.9", "x@two.t.test", "permerror" },
        { "9.9.9.9", "x@other.t.test", "none" },           { "9.9.9.9", "x@nowhere.t.test", "none" },
        { "9.9.9.9", "x@single", "none" },                 { "9.9.9.9", "x@a..b.test", "none" },
        { "9.9.9.9", "x@neutral.t.test", "neutral" },      { "9.9.9.9", "x@soft.t.test", "softfail" },
        { "2001:db8:1::5", "x@six.t.test", "pass" },       { "2001:db9::5", "x@six.t.test", "fail" },
        { "::ffff:192.0.2.129", "x@ip4.example.com", "pass" },
        { "9.9.9.9", "x@void.t.test", "permerror" },       { "9.9.9.9", "x@void2.t.test", "pass" },
        { "9.9.9.9", "x@loop.t.test", "permerror" },       { "9.9.9.9", "x@rloop.t.test", "permerror" },
        { "9.9.9.9", "x@ten.t.test", "pass" },             { "9.9.9.9", "x@eleven.t.test", "permerror" },
        { "9.9.9.9", "x@temp.t.test", "temperror" },       { "9.9.9.9", "x@early.t.test", "pass" },
        { "9.9.9.9", "x@syntax.t.test", "permerror" },     { "9.9.9.9", "@helo.t.test", "pass" },
        { "9.9.9.9", "", "pass" },                         { "192.0.2.65", "x@p.t.test", "pass" },
        { "9.9.9.9", "x@p.t.test", "fail" },               { "nonsense", "x@all.t.test", "none" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, slice_of(spf_result_name(check(t->arena, row[i].ip, row[i].sender).result)));
}

TEST(spf, explains_a_failure)
{
    struct spf_verdict v = check(t->arena, "9.9.9.9", "joe@exp.t.test");

    CHECK_STR("9.9.9.9 is not one of exp.t.test's, says mx.us.test about joe%40exp.t.test", v.explanation);
    CHECK_STR("-all", v.mechanism);
    v = check(t->arena, "9.9.9.9", "joe@incexp.t.test");
    CHECK_STR("", v.explanation);
    CHECK_INT(SPF_FAIL, v.result);
}

TEST(spf, checks_syntax)
{
    static const struct { const char *in; bool ok; } row[] = {
        { "v=spf1", true }, { "v=spf1 ", true }, { "v=spf1  a  mx ", true }, { "v=spf1 a/24//64 mx:x.test//0 -all", true },
        { "v=spf1 a:x.test/33", false }, { "v=spf1 a/024", false }, { "v=spf1 a//129", false }, { "v=spf1 a/", false }, { "v=spf1 a:", false },
        { "v=spf1 ip4:1.2.3", false }, { "v=spf1 ip4:1.2.3.4/32", true }, { "v=spf1 ip4:1.2.3.4/33", false }, { "v=spf1 ip4", false },
        { "v=spf1 ip6:::1", true }, { "v=spf1 ip6:1.2.3.4", false }, { "v=spf1 ip6:::1/129", false },
        { "v=spf1 include", false }, { "v=spf1 include:x.test", true }, { "v=spf1 include:x.test/24", false }, { "v=spf1 exists", false },
        { "v=spf1 all:x.test", false }, { "v=spf1 --all", false }, { "v=spf1 ptr:x.test", true }, { "v=spf1 a:x", false }, { "v=spf1 a:1.2.3.4", false },
        { "v=spf1 redirect=x.test redirect=y.test", false }, { "v=spf1 exp=x.test exp=x.test", false }, { "v=spf1 redirect=", false },
        { "v=spf1 new-thing=%{s}x", true }, { "v=spf1 new-thing=%(s)", false }, { "v=spf1 exists:%{d0}.x.test", false },
        { "v=spf1 exists:%{ir}.%{d2r-+}._spf.x.test", true }, { "v=spf1 exists:%{c}.x.test", false }, { "v=spf1 exists:%{z}.x.test", false },
        { "v=spf1 exists:%%%_%-.x.test", true }, { "v=spf1 exists:%{d", false }, { "v=spf1 a:x.test.", true }, { "v=spf2 a", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, spf_record_is_valid(t->arena, slice_of(row[i].in)) == row[i].ok);
}

TEST(spf, expands_macros)
{
    static const struct { const char *in, *want; } row[] = {          /* RFC 7208 7.4 */
        { "%{s}", "strong-bad@email.example.com" }, { "%{o}", "email.example.com" }, { "%{d}", "email.example.com" },
        { "%{d4}", "email.example.com" }, { "%{d3}", "email.example.com" }, { "%{d2}", "example.com" }, { "%{d1}", "com" },
        { "%{dr}", "com.example.email" }, { "%{d2r}", "example.email" }, { "%{l}", "strong-bad" }, { "%{l-}", "strong.bad" },
        { "%{lr}", "strong-bad" }, { "%{lr-}", "bad.strong" }, { "%{l1r-}", "strong" },
        { "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com" }, { "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com" },
        { "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com" },
        { "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net" }, { "a%%%_%-b", "a% %20b" },
    };
    struct spf_request request = { .ip = "192.0.2.3", .until = DEADLINE_NEVER, .query = zone_query };
    struct spf_check c = { .request = &request, .in = t->arena, .sender = LIT("strong-bad@email.example.com"), .local = LIT("strong-bad"),
                           .sender_domain = LIT("email.example.com"), .ip = { 192, 0, 2, 3 } };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, spf_macro_expand(&c, slice_of(row[i].in), LIT("email.example.com"), false));
    c.is_ip6 = true;
    memcpy(c.ip, (const unsigned char[]){ 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcb, 0x01 }, 16);
    CHECK_STR("1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
              spf_macro_expand(&c, LIT("%{ir}.%{v}._spf.%{d2}"), LIT("email.example.com"), false));
}
