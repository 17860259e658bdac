/* redis_test.c - the Redis client against a real redis-server on a unix socket: commands, scripts,
 * locks, events, being away. */
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/test.h"
#include "net/redis.h"
#include "rt/fiber.h"
#include "rt/loop.h"

extern char **environ;

struct server {
    struct test *t;
    char folder[64], path[80], url[96];
    pid_t pid;
    struct redis *r;
    void (*body)(struct server *s);
};

static bool server_start(struct server *s)
{
    static char log[96];
    char *const argv[] = {(char *)"redis-server",
                          (char *)"--logfile",
                          log,
                          (char *)"--port",
                          (char *)"0",
                          (char *)"--unixsocket",
                          s->path,
                          (char *)"--dir",
                          s->folder,
                          (char *)"--save",
                          (char *)"",
                          (char *)"--loglevel",
                          (char *)"warning",
                          (char *)"--requirepass",
                          (char *)"p w",
                          NULL};

    (void)snprintf(log, sizeof(log), "%s/log", s->folder);
    return posix_spawnp(&s->pid, argv[0], NULL, NULL, argv, environ) == 0;
}

static void server_stop(struct server *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static struct deadline soon(void)
{
    return deadline_in_ms(10000);
}

static void run_server(void *arg)
{
    struct server *s = arg;
    AUTO(secret_unref) struct secret *password = secret_new(LIT("p w"));
    const struct redis_options options = {.url = s->url, .password = password, .command_ms = 1000};
    struct fault why;

    if (redis_new(&options, &s->r, &why) < 0 || redis_wait_up(s->r, soon(), &why) < 0)
        test_fail(s->t, __FILE__, __LINE__, "%s", why.text);
    else
        s->body(s);
    redis_free(&s->r);
}

static void with_server(struct test *t, void (*body)(struct server *s))
{
    struct server s = {.t = t, .body = body};

    (void)snprintf(s.folder, sizeof(s.folder), "/tmp/fe-redis-XXXXXX");
    if (mkdtemp(s.folder) == NULL) {
        test_fail(t, __FILE__, __LINE__, "mkdtemp");
        return;
    }
    (void)snprintf(s.path, sizeof(s.path), "%s/sock", s.folder);
    (void)snprintf(s.url, sizeof(s.url), "unix:%s", s.path);
    if (!server_start(&s))
        test_fail(t, __FILE__, __LINE__, "redis-server cannot be started");
    else
        loop_run_fiber(run_server, &s);
    server_stop(&s);
    (void)nftw(s.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#define WITH_SERVER(name)                                                                          \
    static void body_##name(struct server *s);                                                     \
    TEST(redis, name)                                                                              \
    {                                                                                              \
        with_server(t, body_##name);                                                               \
    }                                                                                              \
    static void body_##name(struct server *s)

WITH_SERVER(commands_scripts_and_counters)
{
    struct test *t = s->t;
    struct redis_reply reply;
    struct redis_counter counter;
    struct fault why;

    REQUIRE_OK(redis_command(s->r, REDIS_ARGV(LIT("SET"), LIT("k"), LIT("a\0b\r\n")), t->arena,
                             &reply, &why),
               &why);
    CHECK_SLICE(LIT("OK"), reply.text);
    REQUIRE_OK(
        redis_command(s->r, REDIS_ARGV(LIT("MGET"), LIT("k"), LIT("none")), t->arena, &reply, &why),
        &why);
    REQUIRE(reply.kind == REDIS_ARRAY && reply.count == 2);
    CHECK_SLICE(LIT("a\0b\r\n"), reply.items[0].text);
    CHECK_INT(REDIS_NIL, reply.items[1].kind);
    CHECK_FAULT(FAULT_INVALID,
                redis_command(s->r, REDIS_ARGV(LIT("INCR"), LIT("k")), t->arena, &reply, &why),
                &why);
    CHECK_FAULT(FAULT_INVALID,
                redis_command(s->r, REDIS_ARGV(LIT("NOSUCH")), t->arena, &reply, &why), &why);

    REQUIRE_OK(redis_count(s->r, LIT("c"), 2, 60000, &counter, &why), &why);
    CHECK_INT(2, counter.count);
    REQUIRE_OK(redis_count(s->r, LIT("c"), 3, 90000, &counter, &why), &why);
    CHECK_INT(5, counter.count);
    CHECK(counter.left_ms <= 60000 && counter.left_ms > 50000); /* the first increment's window */
    REQUIRE_OK(redis_command(s->r, REDIS_ARGV(LIT("SCRIPT"), LIT("FLUSH")), t->arena, &reply, &why),
               &why);
    REQUIRE_OK(redis_count(s->r, LIT("c"), 1, 90000, &counter, &why), &why);
    CHECK_INT(6, counter.count);
}

WITH_SERVER(locks_belong_to_who_took_them)
{
    struct test *t = s->t;
    struct redis_lock mine, other, forged;
    struct fault why;

    REQUIRE_OK(redis_lock(s->r, LIT("lock:x"), 60000, &mine, &why), &why);
    CHECK_FAULT(FAULT_CONFLICT, redis_lock(s->r, LIT("lock:x"), 60000, &other, &why), &why);
    forged = mine;
    forged.token[0] = forged.token[0] == '0' ? '1' : '0';
    CHECK_FAULT(FAULT_CONFLICT, redis_unlock(s->r, &forged, &why), &why);
    CHECK_OK(redis_lock_extend(s->r, &mine, 90000, &why), &why);
    CHECK_OK(redis_unlock(s->r, &mine, &why), &why);
    CHECK_OK(redis_unlock(s->r, &mine, &why), &why); /* not held: harmless */
    CHECK_OK(redis_lock(s->r, LIT("lock:x"), 60000, &other, &why), &why);
}

struct hearer {
    struct fiber_event heard;
    unsigned gaps, messages;
    char last[32];
    struct redis_subscription *sub, *drop;
};

static void hear(void *arg, enum redis_event event, struct slice channel, struct slice payload)
{
    struct hearer *h = arg;

    (void)channel;
    if (event == REDIS_GAP)
        h->gaps++;
    else if (slice_copy_cstr(payload, h->last, sizeof(h->last)))
        h->messages++;
    if (event == REDIS_MESSAGE)
        redis_unsubscribe(&h->drop);
    fiber_event_broadcast(&h->heard);
}

static bool wait_heard(struct hearer *h, unsigned gaps, unsigned messages)
{
    struct fault why;

    while (h->gaps < gaps || h->messages < messages)
        if (fiber_event_wait(&h->heard, soon(), &why) < 0)
            return false;
    return true;
}

WITH_SERVER(events_are_heard_and_gaps_told)
{
    struct test *t = s->t;
    struct hearer a = {.gaps = 0}, b = {.gaps = 0};
    struct fault why;

    a.sub = redis_subscribe(s->r, LIT("mbox:1"), hear, &a);
    REQUIRE(wait_heard(&a, 1, 0));
    b.sub = redis_subscribe(s->r, LIT("mbox:1"), hear, &b);
    a.drop = redis_subscribe(s->r, LIT("mbox:1"), hear, &b);
    REQUIRE(wait_heard(&b, 2, 0));
    CHECK_INT(1, a.gaps); /* only who is new has missed something */
    CHECK_OK(redis_publish(s->r, LIT("mbox:1"), LIT("42"), &why), &why);
    REQUIRE(wait_heard(&a, 1, 1) && wait_heard(&b, 2, 1));
    CHECK_STR("42", a.last);

    server_stop(s);
    while (redis_is_up(s->r))
        fiber_yield();
    CHECK_FAULT(FAULT_UNAVAILABLE,
                redis_command(s->r, REDIS_ARGV(LIT("PING")), t->arena, NULL, &why), &why);
    REQUIRE(server_start(s));
    CHECK_OK(redis_wait_up(s->r, soon(), &why), &why);
    REQUIRE(wait_heard(&a, 2, 1));
    CHECK_OK(redis_command(s->r, REDIS_ARGV(LIT("PUBLISH"), LIT("mbox:1"), LIT("43")), t->arena,
                           NULL, &why),
             &why);
    REQUIRE(wait_heard(&a, 2, 2));
    redis_unsubscribe(&a.sub);
    redis_unsubscribe(&b.sub);
    redis_unsubscribe(&a.drop);
}

WITH_SERVER(a_server_that_hangs_costs_one_time_limit)
{
    struct test *t = s->t;
    struct fault why;

    CHECK_FAULT(
        FAULT_TIMEOUT,
        redis_command(s->r, REDIS_ARGV(LIT("BLPOP"), LIT("none"), LIT("0")), t->arena, NULL, &why),
        &why);
    while (redis_is_up(s->r))
        fiber_yield();
    CHECK_OK(redis_wait_up(s->r, soon(), &why), &why);
    CHECK_OK(redis_command(s->r, REDIS_ARGV(LIT("PING")), t->arena, NULL, &why), &why);
}

static void urls(void *arg)
{
    static const struct {
        const char *url;
        bool good;
    } row[] = {
        {"redis://127.0.0.1:6390/3", true},
        {"redis://user:p%40w@h", true},
        {"redis://:pw@[::1]:6390", true},
        {"rediss://h/0", true},
        {"unix:/run/r.sock", true},
        {"http://h", false},
        {"redis://", false},
        {"redis://h:x", false},
        {"redis://h:0", false},
        {"redis://h/x", false},
        {"redis://u:%zz@h", false},
        {"redis://[::1", false},
    };
    struct test *t = arg;

    for (size_t i = 0; i < COUNT(row); i++) {
        const struct redis_options options = {.url = row[i].url};
        struct redis *r;
        struct fault why;
        bool good = redis_new(&options, &r, &why) == 0;
        CHECK_ROW(i, good == row[i].good);
        if (good)
            redis_free(&r);
    }
}

TEST(redis, takes_well_formed_urls)
{
    loop_run_fiber(urls, t);
}
