/* dns_test.c - record data by tables; names against a real knotd, plain, signed and with a wrong anchor. */
#include "rt/dns.h"

#include "base/test.h"
#include "rt/dns_rdata.h"
#include "rt/dns_world.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define ANSWER_MS 15000

/* ---- record data --------------------------------------------------------------------------------- */

TEST(dns, reads_record_data)
{
    static const struct { enum dns_type type; struct slice in; const char *want; } row[] = {
        { DNS_A, { "\xc0\x00\x02\x01", 4 }, "192.0.2.1" },
        { DNS_A, { "\xc0\x00\x02", 3 }, NULL },
        { DNS_AAAA, { "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16 }, "2001:db8::1" },
        { DNS_AAAA, { "\x20\x01\x0d\xb8", 4 }, NULL },
        { DNS_PTR, { "\4Host\7example\0", 14 }, "host.example" },
        { DNS_PTR, { "\0", 1 }, "" },
        { DNS_PTR, { "", 0 }, NULL },
        { DNS_PTR, { "\4hos", 4 }, NULL },
        { DNS_PTR, { "\3a.b\0", 5 }, NULL },
        { DNS_PTR, { "\3a\\b\0", 5 }, NULL },
        { DNS_PTR, { "\3a b\0", 5 }, NULL },
        { DNS_PTR, { "\2\xc3\xa9\0", 4 }, NULL },
        { DNS_PTR, { "\1a\0x", 4 }, NULL },
        { DNS_PTR, { "\100aaaa", 5 }, NULL },
        { DNS_MX, { "\0\12\2mx\0", 6 }, "mx" },
        { DNS_MX, { "\0\0\0", 3 }, "" },
        { DNS_MX, { "\0\0", 2 }, NULL },
        { DNS_TXT, { "\3abc\2de", 7 }, "abcde" },
        { DNS_TXT, { "\3ab", 3 }, NULL },
        { DNS_TLSA, { "\3\1\1xyz", 6 }, "xyz" },
        { DNS_TLSA, { "\3\1\1", 3 }, NULL },
    };
    struct dns_record r;

    for (size_t i = 0; i < COUNT(row); i++) {
        bool ok = dns_rdata_parse(row[i].type, row[i].in, t->arena, &r);

        CHECK_ROW(i, ok == (row[i].want != NULL));
        if (ok && row[i].want != NULL)
            CHECK_ROW_STR(i, row[i].want, r.text);
    }
}

/* ---- a resolver and its world ------------------------------------------------------------------------ */

struct scene {
    struct test *t;
    const struct dns_world *world;
    void (*run)(struct scene *sc);
    const char *server, *anchor;
    struct dns_answer answer;
    struct fault why;
    unsigned done;
};

static void scene_fiber(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    const char *servers[] = { sc->server, NULL };
    struct dns_options options = { .servers = servers, .trust_anchor = sc->anchor };

    REQUIRE_OK(dns_init(&options, &sc->why), &sc->why);
    sc->run(sc);
    dns_deinit();
}

static void scene_play(struct test *t, void (*run)(struct scene *sc), const char *server, const char *anchor)
{
    struct scene sc = { .t = t, .run = run, .world = dns_world_get(), .server = server, .anchor = anchor };

    if (sc.world == NULL)
        return;
    if (sc.server == NULL)
        sc.server = sc.world->server;
    loop_run_fiber(scene_fiber, &sc);
}

static int ask(struct scene *sc, const char *name, enum dns_type type)
{
    return dns_query(slice_of(name), type, sc->t->arena, deadline_in_ms(ANSWER_MS), &sc->answer, &sc->why);
}

static void find_all_types(struct scene *sc)
{
    static const struct { const char *name; enum dns_type type; size_t count; const char *first; } row[] = {
        { "host.plain.example", DNS_A, 2, NULL },
        { "HOST.Plain.Example.", DNS_AAAA, 1, "2001:db8::1" },
        { "alias.plain.example", DNS_AAAA, 1, "2001:db8::1" },
        { "alias.plain.example", DNS_CNAME, 1, "host.plain.example" },
        { "plain.example", DNS_NS, 1, "ns.plain.example" },
        { "mail.plain.example", DNS_MX, 3, "first.plain.example" },
        { "none.plain.example", DNS_MX, 1, "" },
        { "text.plain.example", DNS_TXT, 2, NULL },
        { "_25._tcp.first.plain.example", DNS_TLSA, 1, NULL },
    };
    struct test *t = sc->t;

    for (size_t i = 0; i < COUNT(row); i++) {
        REQUIRE_OK(ask(sc, row[i].name, row[i].type), &sc->why);
        CHECK_ROW(i, sc->answer.status == DNS_FOUND && !sc->answer.secure);
        CHECK_ROW(i, sc->answer.count == row[i].count);
        if (row[i].first != NULL && sc->answer.count > 0)
            CHECK_ROW_STR(i, row[i].first, sc->answer.records[0].text);
        for (size_t k = 0; k < sc->answer.count; k++)
            CHECK_ROW(i, sc->answer.records[k].ttl_s > 0 && sc->answer.records[k].ttl_s <= 300);
    }
}

TEST(dns, finds_all_types)
{
    scene_play(t, find_all_types, NULL, NULL);
}

static void ask_anew(struct scene *sc)
{
    struct test *t = sc->t;

    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(dns_query_fresh(LIT("alias.plain.example"), DNS_AAAA, t->arena, deadline_in_ms(ANSWER_MS), &sc->answer, &sc->why), &sc->why);
        REQUIRE(sc->answer.count == 1);
        CHECK_STR("2001:db8::1", sc->answer.records[0].text);
    }
    REQUIRE_OK(dns_query_fresh(LIT("nowhere.plain.example"), DNS_A, t->arena, deadline_in_ms(ANSWER_MS), &sc->answer, &sc->why), &sc->why);
    CHECK_INT(DNS_NO_NAME, sc->answer.status);
    REQUIRE_OK(ask(sc, "host.plain.example", DNS_AAAA), &sc->why);
    CHECK(sc->answer.count == 1 && sc->answer.records[0].ttl_s > 0);
}

TEST(dns, asks_anew_when_told_so)
{
    scene_play(t, ask_anew, NULL, NULL);
}

static bool has_text(const struct dns_answer *a, const char *text)
{
    for (size_t i = 0; i < a->count; i++)
        if (slice_equal(a->records[i].text, slice_of(text)))
            return true;
    return false;
}

static void read_records(struct scene *sc)
{
    struct test *t = sc->t;

    REQUIRE_OK(ask(sc, "text.plain.example", DNS_TXT), &sc->why);
    CHECK(has_text(&sc->answer, "v=spf1 include:a.example -all") && has_text(&sc->answer, "second"));
    REQUIRE_OK(ask(sc, "mail.plain.example", DNS_MX), &sc->why);
    REQUIRE(sc->answer.count == 3);
    CHECK_INT(10, sc->answer.records[0].preference);
    CHECK_STR("backup.plain.example", sc->answer.records[1].text);
    CHECK_INT(30, sc->answer.records[2].preference);
    REQUIRE_OK(ask(sc, "_25._tcp.first.plain.example", DNS_TLSA), &sc->why);
    REQUIRE(sc->answer.count == 1);
    CHECK_INT(3, sc->answer.records[0].usage);
    CHECK_INT(1, sc->answer.records[0].selector);
    CHECK_INT(1, sc->answer.records[0].matching);
    CHECK_INT(32, sc->answer.records[0].text.n);
}

TEST(dns, reads_records_of_the_wire)
{
    scene_play(t, read_records, NULL, NULL);
}

static void reverse(struct scene *sc)
{
    static const char *const ip[] = { "192.0.2.1", "2001:db8::1" };
    struct deadline until = deadline_in_ms(ANSWER_MS);
    struct test *t = sc->t;

    for (size_t i = 0; i < COUNT(ip); i++) {
        REQUIRE_OK(dns_reverse(ip[i], t->arena, until, &sc->answer, &sc->why), &sc->why);
        REQUIRE(sc->answer.count == 1);
        CHECK_ROW_STR(i, "host.plain.example", sc->answer.records[0].text);
    }
    REQUIRE_OK(dns_reverse("192.0.2.77", t->arena, until, &sc->answer, &sc->why), &sc->why);
    CHECK_INT(DNS_NO_NAME, sc->answer.status);
    CHECK_FAULT(FAULT_INVALID, dns_reverse("192.0.2", t->arena, until, &sc->answer, &sc->why), &sc->why);
    /* a name with a space in it is no host name */
    REQUIRE_OK(ask(sc, "odd.plain.example", DNS_PTR), &sc->why);
    CHECK_INT(DNS_NO_DATA, sc->answer.status);
}

TEST(dns, reverses_addresses)
{
    scene_play(t, reverse, NULL, NULL);
}

static void miss(struct scene *sc)
{
    static const struct { const char *name; enum dns_type type; enum dns_status want; } row[] = {
        { "host.plain.example", DNS_MX, DNS_NO_DATA },
        { "nobody.plain.example", DNS_A, DNS_NO_NAME },
        { "lost.plain.example", DNS_A, DNS_NO_NAME },
    };
    static const char *const bad[] = { "", ".", "a..b", "a b.example", "a\\.b.example", "\xc3\xa9.example",
                                       "0123456789012345678901234567890123456789012345678901234567890123.example" };
    struct test *t = sc->t;

    for (size_t i = 0; i < COUNT(row); i++) {
        REQUIRE_OK(ask(sc, row[i].name, row[i].type), &sc->why);
        CHECK_ROW(i, sc->answer.status == row[i].want && sc->answer.count == 0);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_FAULT(FAULT_INVALID, ask(sc, bad[i], DNS_A), &sc->why);
    /* knotd refuses what it is not authoritative for: a failure, not an absence */
    CHECK_FAULT(FAULT_UNAVAILABLE, ask(sc, "elsewhere.test", DNS_A), &sc->why);
}

TEST(dns, tells_absence_from_failure)
{
    scene_play(t, miss, NULL, NULL);
}

static void dead_server(struct scene *sc)
{
    struct test *t = sc->t;

    /* libunbound gives up after some 17 s; whoever asks has a deadline of his own */
    CHECK_FAULT(FAULT_TIMEOUT, dns_query(slice_of("host.plain.example"), DNS_A, t->arena, deadline_in_ms(200), &sc->answer,
                                         &sc->why), &sc->why);
}

TEST(dns, fails_without_a_server)
{
    const struct dns_world *world = dns_world_get();

    if (world != NULL)
        scene_play(t, dead_server, world->dead, NULL);
}

/* ---- DNSSEC ------------------------------------------------------------------------------------------ */

static void secure(struct scene *sc)
{
    static const struct { const char *name; enum dns_type type; enum dns_status status; bool secure; } row[] = {
        { "host.signed.example", DNS_A, DNS_FOUND, true },
        { "_25._tcp.host.signed.example", DNS_TLSA, DNS_FOUND, true },
        { "host.signed.example", DNS_MX, DNS_NO_DATA, true },
        { "nobody.signed.example", DNS_A, DNS_NO_NAME, true },
        { "host.plain.example", DNS_A, DNS_FOUND, false },
    };
    struct test *t = sc->t;

    for (size_t i = 0; i < COUNT(row); i++) {
        REQUIRE_OK(ask(sc, row[i].name, row[i].type), &sc->why);
        CHECK_ROW(i, sc->answer.status == row[i].status);
        CHECK_ROW(i, sc->answer.secure == row[i].secure);
    }
}

TEST(dns, validates_with_an_anchor)
{
    const struct dns_world *world = dns_world_get();

    if (world != NULL)
        scene_play(t, secure, NULL, world->anchor);
}

static void bogus(struct scene *sc)
{
    struct test *t = sc->t;

    CHECK_FAULT(FAULT_UNAVAILABLE, ask(sc, "host.signed.example", DNS_A), &sc->why);
    CHECK(strstr(sc->why.text, "bogus") != NULL);
}

TEST(dns, refuses_bogus_answers)
{
    const struct dns_world *world = dns_world_get();

    if (world != NULL)
        scene_play(t, bogus, NULL, world->wrong_anchor);
}

static void built_in(struct scene *sc)
{
    struct test *t = sc->t;

    /* this world has no root: with the root's keys as anchor nothing in it can be believed */
    CHECK_FAULT(FAULT_UNAVAILABLE, ask(sc, "host.plain.example", DNS_A), &sc->why);
}

TEST(dns, knows_the_root_keys)
{
    scene_play(t, built_in, NULL, "root");
}

static void anchor_missing(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct dns_options options = { .trust_anchor = "/nonexistent/anchor" };

    CHECK_FAULT(FAULT_INVALID, dns_init(&options, &sc->why), &sc->why);
}

TEST(dns, names_a_missing_anchor)
{
    struct scene sc = { .t = t };

    loop_run_fiber(anchor_missing, &sc);
}

/* ---- waiting and giving up ----------------------------------------------------------------------------- */

static void one_of_many(void *arg)
{
    struct scene *sc = arg;
    struct dns_answer answer;
    struct fault why;

    if (dns_query(slice_of("host.plain.example"), DNS_A, sc->t->arena, deadline_in_ms(ANSWER_MS), &answer, &why) == 0 &&
        answer.count == 2)
        sc->done++;
}

static void many(struct scene *sc)
{
    struct test *t = sc->t;
    struct fiber_group group;

    fiber_group_init(&group);
    for (int i = 0; i < 100; i++)
        REQUIRE_OK(fiber_group_start(&group, "query", one_of_many, sc, &sc->why), &sc->why);
    fiber_group_join(&group);
    CHECK_INT(100, sc->done);
}

TEST(dns, answers_many_at_once)
{
    scene_play(t, many, NULL, NULL);
}

static void give_up(void *arg)
{
    struct scene *sc = arg;

    if (dns_query(slice_of("slow.plain.example"), DNS_A, sc->t->arena, DEADLINE_NEVER, &sc->answer, &sc->why) < 0 &&
        sc->why.code == FAULT_CANCELED)
        sc->done++;
}

static void leave_early(struct scene *sc)
{
    struct test *t = sc->t;
    struct fiber_group group;

    CHECK_FAULT(FAULT_TIMEOUT, dns_query(slice_of("host.plain.example"), DNS_A, t->arena, deadline_in_ms(0), &sc->answer,
                                         &sc->why), &sc->why);
    fiber_group_init(&group);
    REQUIRE_OK(fiber_group_start(&group, "query", give_up, sc, &sc->why), &sc->why);
    fiber_yield();
    fiber_group_cancel(&group);
    fiber_group_join(&group);
    CHECK_INT(1, sc->done);
    /* the answers nobody waited for come now, beside this one */
    CHECK_OK(ask(sc, "host.plain.example", DNS_AAAA), &sc->why);
}

TEST(dns, gives_up_at_the_deadline_and_when_cancelled)
{
    scene_play(t, leave_early, NULL, NULL);
}

/* ---- our own world ------------------------------------------------------------------------------------- */

static void local_hosts(void *arg)
{
    static const struct { const char *host, *ip; } row[] = {
        { "127.0.0.9", "127.0.0.9" }, { "::1", "::1" }, { "localhost", "127.0.0.1" },
    };
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice ip;

    for (size_t i = 0; i < COUNT(row); i++) {
        REQUIRE_OK(dns_local_host(row[i].host, t->arena, deadline_in_ms(ANSWER_MS), &ip, &sc->why), &sc->why);
        CHECK_ROW_STR(i, row[i].ip, ip);
    }
}

TEST(dns, finds_local_hosts)
{
    struct scene sc = { .t = t };

    loop_run_fiber(local_hosts, &sc);
}
