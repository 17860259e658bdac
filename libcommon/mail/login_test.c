/* login_test.c - who gets in, what guessers see and how long it takes them; against a store of its own, with real Argon2id. */
#include "mail/login.h"

#include <unistd.h>

#include "base/json.h"
#include "base/test.h"
#include "mail/keys.h"
#include "mail/login_guess.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/offload.h"
#include "store/models.h"

#define TALK_MS 60000
#define NOW_MS  1770000000000

struct world {
    struct test *t;
    void (*play)(struct world *w);
    char folder[32];
    struct store *store;
    struct login *login;
    char domain[25], jane[25], token[25];
};

static json_t *slots(struct test *t, const char *owner, const char *password, const char *scope, char id[25])
{
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    struct keys_wrap_options o = { .scope = scope };
    json_t *wrap = NULL, *list = json_array();
    struct fault why;

    CHECK_OK(keys_wrap_make(slice_of(owner), key, slice_of(password), &o, &wrap, &why), &why);
    ignore_result(slice_copy_cstr(json_get_slice(wrap, "id"), id, 25));
    json_array_append_new(list, wrap);
    return list;
}

static struct slice text_of(struct arena *a, json_t *list)
{
    AUTO(buf_free) struct buf text = BUF_INIT(8192);

    json_format(list, &text);
    json_decref(list);
    return arena_copy(a, buf_slice(&text));
}

/* jane@here.example with a mailbox and "open sesame"; a domain-wide "sesame street" for sending. */
static void add_people(struct world *w)
{
    struct domain_member boss = { .user = "5f00000000000000000000aa", .is_admin = true };
    struct domain_doc d = { .name = LIT("here.example"), .has_smtp = true, .members = &boss, .member_count = 1 };
    struct alias_doc a = { .name = LIT("jane"), .is_enabled = true, .has_imap = true, .user = "5f00000000000000000000bb" };
    struct test *t = w->t;
    struct fault why;
    char id[25];

    memcpy(d.id, object_id_new().s, sizeof(d.id));
    d.tokens = text_of(t->arena, slots(t, d.id, "sesame street", "smtp", w->token));
    CHECK_OK(domain_insert(w->store, &d, deadline_in_ms(TALK_MS), &why), &why);
    memcpy(a.id, object_id_new().s, sizeof(a.id));
    memcpy(a.domain, d.id, sizeof(a.domain));
    a.wraps = text_of(t->arena, slots(t, a.id, "open sesame", "all", id));
    CHECK_OK(alias_insert(w->store, &a, deadline_in_ms(TALK_MS), &why), &why);
    memcpy(w->domain, d.id, sizeof(d.id));
    memcpy(w->jane, a.id, sizeof(a.id));
}

static int world_open(struct world *w, struct fault *why)
{
    char uri[96], key[96];

    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/fe-login-XXXXXX");
    if (mkdtemp(w->folder) == NULL)
        return fault_set(why, FAULT_IO, "mkdtemp");
    (void)snprintf(uri, sizeof(uri), "embedded:%s/store.sqlite", w->folder);
    (void)snprintf(key, sizeof(key), "%s/store.key", w->folder);
    if (store_open(&(struct store_options){ .uri = uri, .key_file = key }, &w->store, why) < 0)
        return -1;
    w->login = login_new(&(struct login_options){ .store = w->store, .protocol = "imap" });
    return 0;
}

static void world_fiber(void *arg)
{
    AUTO(buf_free) struct buf command = BUF_INIT(256);
    struct world *w = arg;
    struct test *t = w->t;
    struct fault why;

    REQUIRE_OK(world_open(w, &why), &why);
    add_people(w);
    w->play(w);
    login_free(&w->login);
    store_close(&w->store);
    (void)buf_printf(&command, "rm -rf %s", w->folder);
    CHECK(system(command.p) == 0);
}

static void world_run(struct test *t, void (*play)(struct world *w))
{
    struct world w = { .t = t, .play = play };

    loop_run_fiber(world_fiber, &w);
}

enum way { AS_MAILBOX, AS_SENDER };

static int try(struct world *w, enum way way, const char *user, const char *password, const char *ip, struct login_result *out, struct fault *why)
{
    int r = (way == AS_SENDER ? login_check_sender : login_check)(w->login, slice_of(user), slice_of(password), ip,
                                                                  deadline_in_ms(TALK_MS), w->t->arena, out, why);

    if (r == 0 && out->data_key != NULL)
        secret_unref(&out->data_key);
    return r;
}

/* ---- who gets in --------------------------------------------------------------------------------------- */

static void play_who(struct world *w)
{
    static const struct { enum way way; const char *user, *password; enum fault_code want; bool is_catchall; } row[] = {
        { AS_MAILBOX, "jane@here.example", "open sesame", FAULT_NONE, false },
        { AS_MAILBOX, "Jane+tag@HERE.example", "open sesame", FAULT_NONE, false },
        { AS_SENDER, "jane@here.example", "open sesame", FAULT_NONE, false },
        { AS_SENDER, "jane@here.example", "sesame street", FAULT_NONE, true },
        { AS_SENDER, "nobody@here.example", "sesame street", FAULT_NONE, true },
        { AS_SENDER, "*@here.example", "sesame street", FAULT_NONE, true },
        { AS_SENDER, "*@here.example", "open sesame", FAULT_DENIED, false },
        { AS_SENDER, "*@there.example", "sesame street", FAULT_DENIED, false },
        { AS_MAILBOX, "jane@here.example", "sesame street", FAULT_DENIED, false },   /* never opens a mailbox */
        { AS_MAILBOX, "*@here.example", "sesame street", FAULT_DENIED, false },
    };
    struct login_result who;
    struct fault why;

    for (size_t i = 0; i < COUNT(row); i++) {
        struct test *t = w->t;
        char ip[32];
        int r;

        (void)snprintf(ip, sizeof(ip), "192.0.2.%zu", i);
        why.code = FAULT_NONE;
        r = try(w, row[i].way, row[i].user, row[i].password, ip, &who, &why);
        CHECK_ROW(i, why.code == row[i].want);
        if (r < 0)
            continue;
        CHECK_ROW(i, who.is_catchall == row[i].is_catchall && who.has_smtp && who.has_imap == !row[i].is_catchall);
        CHECK_ROW_STR(i, w->domain, who.domain_id);
        CHECK_ROW_STR(i, row[i].is_catchall ? "" : w->jane, who.alias_id);
        CHECK_ROW_STR(i, row[i].is_catchall ? "5f00000000000000000000aa" : "5f00000000000000000000bb", who.user_id);
    }
}

TEST(login, lets_in_who_should_be)
{
    world_run(t, play_who);
}

static void play_taken_back(struct world *w)
{
    struct store_update *u = store_update_new(w->t->arena);
    struct login_result who;
    struct test *t = w->t;
    struct fault why;

    REQUIRE_OK(try(w, AS_SENDER, "*@here.example", "sesame street", "192.0.2.1", &who, &why), &why);
    CHECK_STR(w->token, who.wrap_id);
    store_pull_where(u, "tokens", "id", slice_of(w->token));
    REQUIRE_OK(store_update(w->store, DOMAINS, store_filter_id(t->arena, slice_of(w->domain)), u, STORE_ONE, deadline_in_ms(TALK_MS), NULL, &why), &why);
    CHECK_FAULT(FAULT_DENIED, try(w, AS_SENDER, "*@here.example", "sesame street", "192.0.2.1", &who, &why), &why);
}

TEST(login, catchall_password_taken_back_is_refused_although_cached)
{
    world_run(t, play_taken_back);
}

/* ---- guessers ------------------------------------------------------------------------------------------ */

static void play_same_words(struct world *w)
{
    static const struct { enum way way; const char *user; } row[] = {
        { AS_MAILBOX, "jane@here.example" }, { AS_MAILBOX, "nobody@here.example" }, { AS_MAILBOX, "jane@there.example" },
        { AS_MAILBOX, "no address" }, { AS_MAILBOX, "*@here.example" }, { AS_MAILBOX, "" },
        { AS_SENDER, "jane@here.example" }, { AS_SENDER, "nobody@here.example" }, { AS_SENDER, "*@here.example" },
    };
    struct login_result who;
    struct test *t = w->t;

    for (size_t i = 0; i < COUNT(row); i++) {
        uint64_t begun = clock_now_ms();
        struct fault why = { 0 };
        char ip[32];

        (void)snprintf(ip, sizeof(ip), "192.0.2.%zu", i);
        CHECK_ROW(i, try(w, row[i].way, row[i].user, "wrong", ip, &who, &why) < 0 && why.code == FAULT_DENIED);
        CHECK_ROW_STR(i, "wrong password", why.text);
        CHECK_ROW(i, clock_now_ms() - begun >= 300);
    }
}

TEST(login, known_and_unknown_names_get_the_same_words_after_the_same_time)
{
    world_run(t, play_same_words);
}

struct guess {
    struct world *w;
    unsigned number;
    enum fault_code *seen;
    uint64_t took_ms;
    bool done;
};

static void guess_fiber(void *arg)
{
    struct guess *g = arg;
    struct login_result who;
    struct fault why = { 0 };
    uint64_t begun = clock_now_ms();
    char password[32];

    (void)snprintf(password, sizeof(password), "guess %u", g->number);
    (void)try(g->w, AS_MAILBOX, "jane@here.example", password, "198.51.100.7", &who, &why);
    *g->seen = why.code;
    g->took_ms = clock_now_ms() - begun;
    g->done = true;
}

static void play_parallel(struct world *w)
{
    enum fault_code seen[LOGIN_FAILURES_MAX + 6];
    struct guess guess[COUNT(seen)];
    unsigned denied = 0, limited = 0;
    struct fiber_group group;
    struct test *t = w->t;
    struct fault why;

    fiber_group_init(&group);
    for (unsigned i = 0; i < COUNT(seen); i++) {
        guess[i] = (struct guess){ .w = w, .number = i, .seen = &seen[i] };
        CHECK_OK(fiber_group_start(&group, "guess", guess_fiber, &guess[i], &why), &why);
    }
    fiber_group_join(&group);
    for (size_t i = 0; i < COUNT(seen); i++) {
        denied += seen[i] == FAULT_DENIED;
        limited += seen[i] == FAULT_LIMIT;
    }
    CHECK_INT(LOGIN_FAILURES_MAX, denied);
    CHECK_INT(COUNT(seen) - LOGIN_FAILURES_MAX, limited);
}

TEST(login, guesses_at_once_get_no_more_tries_than_one_after_another)
{
    world_run(t, play_parallel);
}

static bool pools_are_idle(void)
{
    for (int i = 0; i < OFFLOAD_POOL_COUNT; i++) {
        struct offload_stats s;

        offload_get_stats((enum offload_pool)i, &s);
        if (s.busy > 0 || s.queued > 0)
            return false;
    }
    return true;
}

/* Moves the faked clock only while no thread works, so that what passes is what the guesser was made to wait. */
static uint64_t guess_and_wait(struct world *w, unsigned number, enum fault_code *seen)
{
    struct guess g = { .w = w, .number = number, .seen = seen };
    struct fiber_group group;
    unsigned idle = 0;
    struct fault why;
    struct test *t = w->t;

    fiber_group_init(&group);
    CHECK_OK(fiber_group_start(&group, "guess", guess_fiber, &g, &why), &why);
    while (!g.done) {
        fiber_yield();
        idle = pools_are_idle() ? idle + 1 : 0;
        if (idle > 50) {
            clock_advance(50);
            idle = 40;
        }
    }
    fiber_group_join(&group);
    return g.took_ms;
}

static void play_delays(struct world *w)
{
    static const uint64_t least_ms[LOGIN_FAILURES_MAX] = { 300, 300, 300, 1300, 2300, 4300, 8300, 8300, 8300, 8300 };
    struct test *t = w->t;
    enum fault_code seen;

    clock_fake(NOW_MS);
    for (unsigned i = 0; i < COUNT(least_ms); i++) {
        uint64_t took = guess_and_wait(w, i, &seen);

        CHECK_ROW(i, seen == FAULT_DENIED && took >= least_ms[i]);
    }
    (void)guess_and_wait(w, 99, &seen);
    CHECK_INT(FAULT_LIMIT, seen);
    clock_advance(3600001);                            /* an hour later they may again */
    (void)guess_and_wait(w, 100, &seen);
    CHECK_INT(FAULT_DENIED, seen);
}

TEST(login, refusals_come_later_and_later)
{
    world_run(t, play_delays);
}

/* ---- counters -------------------------------------------------------------------------------------------- */

TEST(login_guess, counts_networks_and_forgets_after_an_hour)
{
    struct guesses *g = guesses_new(NULL, 0);

    clock_fake(NOW_MS);
    for (int i = 0; i < 3; i++)
        guesses_note(g, LIT("a"), LIT("jane"), arena_printf(t->arena, "%d", i), t->arena);
    guesses_note(g, LIT("a"), LIT("jane"), LIT("2"), t->arena);        /* the same again: a client, not a guess */
    CHECK_INT(3, guesses_count(g, LIT("a"), t->arena));
    CHECK_INT(0, guesses_count_here(g, LIT("b")));
    clock_advance(3600000);
    CHECK_INT(0, guesses_count(g, LIT("a"), t->arena));
    guesses_free(&g);
}

TEST(login_guess, counts_ipv6_by_the_64)
{
    static const struct { const char *a, *b; bool same; } row[] = {
        { "2001:db8::1", "2001:db8::ffff:1", true }, { "2001:db8::1", "2001:db8:0:1::1", false },
        { "192.0.2.1", "192.0.2.1", true }, { "192.0.2.1", "192.0.2.2", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, slice_equal(guesses_network(t->arena, row[i].a), guesses_network(t->arena, row[i].b)) == row[i].same);
}

/* A guesser who owns many networks fills the table: the newest failures must still be counted, and expired ones go first. */
TEST(login_guess, full_table_makes_room_for_the_newest)
{
    struct guesses *g = guesses_new(NULL, 8);          /* each failure takes two: the network, and what it tried */

    clock_fake(NOW_MS);
    for (int i = 0; i < 20; i++) {
        struct slice network = arena_printf(t->arena, "net%d", i);

        guesses_note(g, network, LIT("jane"), LIT("x"), t->arena);
        CHECK_ROW(i, guesses_count_here(g, network) == 1);
        clock_advance(1000);
    }
    CHECK_INT(0, guesses_count_here(g, LIT("net0")));
    CHECK_INT(1, guesses_count_here(g, LIT("net17")));
    clock_advance(3600000 - 1500);                     /* all but net19 have expired */
    guesses_note(g, LIT("new"), LIT("jane"), LIT("x"), t->arena);
    CHECK_INT(1, guesses_count_here(g, LIT("new")));
    CHECK_INT(1, guesses_count_here(g, LIT("net19")));
    guesses_free(&g);
}
