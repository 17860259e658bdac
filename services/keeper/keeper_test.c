/* keeper_test.c - the rules against events as Docker Engine 20.10 wrote them, and the client against a socket that plays the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <pthread.h>

#include "base/test.h"
#include "docker.h"
#include "watch.h"

#define ID "4f66ad9a0b2e3f0c1d2b3a495867788990a1b2c3d4e5f60718293a4b5c6d7e8f"

static void event(struct test *t, struct watch *w, const char *action, const char *id, const char *signal, uint64_t now_ms)
{
    struct slice line = arena_printf(t->arena,
        "{\"status\":\"%s\",\"id\":\"%s\",\"from\":\"fe-suite:latest\",\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":"
        "{\"com.docker.compose.project\":\"mail\",\"com.docker.compose.service\":\"mx\",\"exitCode\":\"137\",\"signal\":\"%s\"}},"
        "\"scope\":\"local\",\"time\":1764308000,\"timeNano\":1764308000123456789}", action, id, action, id, signal);

    CHECK(watch_event(w, line, now_ms));
}

TEST(keeper, tells_a_kill_from_a_wish)
{
    static const struct { const char *action[6]; bool starts; } row[] = {
        { { "kill 9", "die" }, true },                           /* docker kill */
        { { "kill 9" }, false },                                 /* it has not died yet */
        { { "die" }, false },                                    /* a crash: the restart policy */
        { { "kill 15", "die" }, false },                         /* docker kill --signal TERM: asked to end */
        { { "kill 15", "die", "stop" }, false },                 /* docker stop */
        { { "kill 15", "kill 9", "die", "stop" }, false },       /* docker stop that had to insist */
        { { "kill 9", "die", "destroy" }, false },               /* docker rm -f */
        { { "kill 9", "die", "start" }, false },                 /* somebody was faster */
        { { "kill 9", "die", "start", "kill 9", "die" }, true }, /* and again */
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct watch w = { .seen_ns = 0 };

        for (size_t k = 0; k < COUNT(row[i].action) && row[i].action[k] != NULL; k++) {
            struct slice rest = slice_of(row[i].action[k]), name = SLICE_NONE;

            (void)slice_cut(&rest, ' ', &name);
            event(t, &w, arena_cstr(t->arena, name), ID, arena_cstr(t->arena, rest), 1000);
        }
        CHECK_ROW(i, watch_due(&w, 1000 + WATCH_GRACE_MS - 1) == NULL);
        CHECK_ROW(i, (watch_due(&w, 1000 + WATCH_GRACE_MS) != NULL) == row[i].starts);
        CHECK_ROW(i, (watch_next_ms(&w) == 1000 + WATCH_GRACE_MS) == row[i].starts);
        CHECK_ROW(i, w.seen_ns == 1764308000123456789);
    }
}

TEST(keeper, starts_the_one_that_has_waited_longest_and_gives_up_in_the_end)
{
    struct watch w = { .seen_ns = 0 };
    struct watch_entry *e;

    event(t, &w, "kill", "bb", "9", 0);
    event(t, &w, "kill", "aa", "9", 0);
    event(t, &w, "die", "aa", "", 10);
    event(t, &w, "die", "bb", "", 20);
    e = watch_due(&w, 5000);
    REQUIRE(e != NULL);
    CHECK_STR("aa", e->id);
    CHECK_STR("mx", e->service);
    watch_done(e);
    e = watch_due(&w, 5000);
    REQUIRE(e != NULL);
    CHECK_STR("bb", e->id);
    for (unsigned i = 1; i < WATCH_TRIES; i++) {
        CHECK(watch_again(e, 5000));
        CHECK(watch_due(&w, 5000) == NULL);
        CHECK(watch_due(&w, 5000 + WATCH_AGAIN_MS) == e);
    }
    CHECK(!watch_again(e, 5000));
    CHECK_INT(UINT64_MAX, watch_next_ms(&w));
}

TEST(keeper, takes_no_more_than_it_has_room_for)
{
    struct watch w = { .seen_ns = 0 };
    char id[WATCH_ID_MAX + 3];

    for (int i = 0; i < WATCH_MAX + 5; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        event(t, &w, "kill", id, "9", 0);
        event(t, &w, "die", id, "", 0);
    }
    memset(id, 'a', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    event(t, &w, "kill", id, "9", 0);
    for (int i = 0; i < WATCH_MAX; i++) {
        REQUIRE(watch_due(&w, WATCH_GRACE_MS) != NULL);
        watch_done(watch_due(&w, WATCH_GRACE_MS));
    }
    CHECK(watch_due(&w, WATCH_GRACE_MS) == NULL);
}

TEST(keeper, refuses_what_is_no_event)
{
    static const char *const row[] = { "", "[]", "7", "{\"Action\":", "nonsense" };
    struct watch w = { .seen_ns = 0 };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, !watch_event(&w, slice_of(row[i]), 0));
    CHECK(watch_event(&w, LIT("{}"), 0));
    CHECK(watch_event(&w, LIT("{\"Action\":\"die\",\"Actor\":7}"), 0));
    CHECK(watch_event(&w, LIT("{\"Action\":\"kill\",\"Actor\":{\"Attributes\":{\"signal\":\"9\"}}}"), 0));
    CHECK_INT(UINT64_MAX, watch_next_ms(&w));
}

TEST(keeper, knows_a_projects_name)
{
    CHECK(docker_is_project(LIT("fetest22300")) && docker_is_project(LIT("my-mail_2")));
    CHECK(!docker_is_project(LIT("")) && !docker_is_project(LIT("a%22")) && !docker_is_project(LIT("a b")) && !docker_is_project(LIT("a\"")));
}

/* ---- an engine on a socket ------------------------------------------------------------------------------------- */

struct engine { int listens; const char *answer; char path[108], asked[4096]; };

/* Answers one request in two pieces, then ends. */
static void *engine_serve(void *arg)
{
    struct engine *e = arg;
    int fd = accept(e->listens, NULL, NULL);
    size_t half = strlen(e->answer) / 2;
    ssize_t n = read(fd, e->asked, sizeof(e->asked) - 1);

    e->asked[n > 0 ? n : 0] = '\0';
    ignore_result(write(fd, e->answer, half));
    ignore_result(write(fd, e->answer + half, strlen(e->answer) - half));
    (void)close(fd);
    return NULL;
}

static bool engine_begin(struct engine *e, const char *answer, pthread_t *thread)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    e->answer = answer;
    e->listens = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(e->path, sizeof(e->path), "/tmp/keeper-test-%d-%d", (int)getpid(), e->listens);
    if (!slice_copy_cstr(slice_of(e->path), at.sun_path, sizeof(at.sun_path)))
        return false;
    return bind(e->listens, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(e->listens, 1) == 0 &&
           pthread_create(thread, NULL, engine_serve, e) == 0;
}

static void engine_end(struct engine *e, pthread_t thread)
{
    (void)pthread_join(thread, NULL);
    (void)close(e->listens);
    (void)unlink(e->path);
}

TEST(keeper, reads_events_line_by_line)
{
    struct engine e = { .listens = -1 };
    struct docker d;
    struct fault why;
    struct slice line;
    pthread_t thread;

    REQUIRE(engine_begin(&e, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\n{\"b\":2}\n{\"c\"", &thread));
    docker_init(&d, e.path);
    CHECK_OK(docker_events(&d, "mail", 1764308000999999999, &why), &why);
    CHECK_INT(1, docker_next(&d, 10000, &line, &why));
    CHECK_STR("{\"a\":1}", line);
    CHECK_INT(1, docker_next(&d, 10000, &line, &why));
    CHECK_STR("{\"b\":2}", line);
    CHECK_FAULT(FAULT_CLOSED, docker_next(&d, 10000, &line, &why), &why);
    docker_close(&d);
    engine_end(&e, thread);
    CHECK(slice_has_prefix(slice_of(e.asked), LIT("GET /events?filters=%7B")));
    CHECK(strstr(e.asked, "project%3Dmail%22") != NULL && strstr(e.asked, "&since=1764308001.000000000 HTTP/1.0\r\n") != NULL);
}

TEST(keeper, hears_what_the_engine_answers)
{
    static const struct { const char *answer; unsigned status; } row[] = {
        { "HTTP/1.0 204 No Content\r\n\r\n", 204 }, { "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n", 304 },
        { "HTTP/1.0 404 Not Found\r\n\r\n{}\n", 404 }, { "SSH-2.0-x\r\n\r\n", 0 }, { "HTTP/1.0 200 OK\r\n", 0 }, { "", 0 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct engine e = { .listens = -1 };
        unsigned status = 0;
        struct fault why;
        pthread_t thread;

        REQUIRE(engine_begin(&e, row[i].answer, &thread));
        CHECK_ROW(i, (docker_ask(e.path, "POST", "/containers/aa/start", &status, &why) == 0) == (row[i].status != 0));
        CHECK_ROW(i, status == row[i].status);
        engine_end(&e, thread);
        CHECK_ROW(i, slice_has_prefix(slice_of(e.asked), LIT("POST /containers/aa/start HTTP/1.0\r\n")));
    }
}

TEST(keeper, says_when_no_engine_answers)
{
    struct docker d;
    struct fault why;
    unsigned status;

    docker_init(&d, "/nonexistent/docker.sock");
    CHECK_FAULT(FAULT_UNAVAILABLE, docker_events(&d, "mail", 0, &why), &why);
    CHECK_FAULT(FAULT_UNAVAILABLE, docker_ask(d.socket_path, "GET", "/_ping", &status, &why), &why);
}
