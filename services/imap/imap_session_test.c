/* imap_session_test.c - sessions over a stream pair against a mailbox in memory: faults, gaps and moments that a dialogue
 * with real servers cannot choose. What needs no such moment is in tests/imap/.
 */
#include "base/test.h"
#include "base/log.h"
#include "imap_fake.h"
#include "imap_session.h"
#include "rt/loop.h"

struct step {
    const char *send;                   /* sent with CRLF; NULL: nothing */
    const char *want;                   /* lines parted by "\n" in the order they come; "..." at the end of one: any rest */
    void (*then)(struct imap_server *server);   /* afterwards */
    size_t cut;                         /* this many bytes are sent and arrive before the rest */
};

struct play {
    struct test *t;
    struct imap_config config;
    struct imap_server server;
    const struct step *steps;
    size_t count;
    struct stream *client;
    bool closed;
};

static bool looks_like(struct slice want, struct slice got)
{
    if (slice_has_suffix(want, LIT("...")))
        return slice_has_prefix(got, slice_head(want, want.n - 3));
    return slice_equal(want, got);
}

static void expect_line(struct play *p, size_t step, struct slice want)
{
    struct test *t = p->t;
    struct fault why;
    struct slice line;

    if (stream_read_line(p->client, 100000, deadline_in_ms(3000), &line, &why) < 0) {
        p->closed = true;
        if (!slice_equal(want, LIT("<closed>")))
            test_fail(t, __FILE__, __LINE__, "step %zu: want [%.*s], got %s", step, SLICE(want), why.text);
    } else if (!looks_like(want, line)) {
        test_fail(t, __FILE__, __LINE__, "step %zu: want [%.*s], got [%.*s]", step, SLICE(want), SLICE(line));
    }
}

static void serve(void *arg)
{
    struct play *p = arg;
    struct stream *mine = p->client, *theirs = NULL;
    struct fault why;

    if (stream_pair(&mine, &theirs, &why) < 0)
        abort();
    p->client = mine;
    imap_session_begin(theirs, &p->server);
}

static int send_cut(struct play *p, struct slice text, size_t cut, struct fault *why)
{
    struct deadline until = deadline_in_ms(1000);

    if (cut > 0) {
        if (stream_write(p->client, slice_head(text, cut), until, why) < 0 || stream_flush(p->client, until, why) < 0)
            return -1;
        for (int i = 0; i < 20; i++)
            fiber_yield();
    }
    if (stream_write(p->client, slice_tail(text, cut), until, why) < 0)
        return -1;
    return stream_write(p->client, LIT("\r\n"), until, why);
}

static void play_fiber(void *arg)
{
    struct play *p = arg;
    struct fault why;

    serve(p);
    for (size_t i = 0; i < p->count && !p->closed && p->t->failures == 0; i++) {
        struct slice rest = slice_of(p->steps[i].want ? p->steps[i].want : ""), want;
        if (p->steps[i].send && send_cut(p, slice_of(p->steps[i].send), p->steps[i].cut, &why) < 0)
            test_fail(p->t, __FILE__, __LINE__, "step %zu: %s", i, why.text);
        while (!p->closed && slice_cut(&rest, '\n', &want))
            expect_line(p, i, want);
        if (p->steps[i].then)
            p->steps[i].then(&p->server);
    }
    stream_close(&p->client);
    while (p->server.first)
        if (fiber_event_wait(&p->server.session_ended, deadline_in_ms(3000), &why) < 0)
            test_fail(p->t, __FILE__, __LINE__, "the session did not end");
}

static void drop_line(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

static void play(struct test *t, const struct step *steps, size_t count)
{
    struct play p = {
        .t = t, .steps = steps, .count = count,
        .config = { .insecure_auth = true, .alias_connections_max = 60, .login_ms = 60000, .quiet_ms = 60000, .idle_ms = 300000,
                    .keepalive_ms = 60000, .poll_ms = 60000, .append_max = 1000 },
    };

    imap_server_init(&p.server, &p.config);
    log_capture(drop_line, NULL);
    loop_run_fiber(play_fiber, &p);
    log_capture(NULL, NULL);
    map_free(&p.server.aliases);
}

#define PLAY(...) \
    play(t, (const struct step[]){ __VA_ARGS__ }, sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

#define LOGIN  { "l LOGIN me secret", "* OK ...\nl OK ...", NULL, 0 }
#define SELECT3 { "s SELECT INBOX", "* FLAGS ...\n* OK [PERMANENTFLAGS ...\n* 3 EXISTS\n* 0 RECENT\n* OK [UIDVALIDITY 7] ...\n" \
                  "* OK [UIDNEXT 4] ...\n* OK [HIGHESTMODSEQ 4] ...\ns OK [READ-WRITE] ...", NULL, 0 }

static void three_messages(void)
{
    fake_reset();
    (void)fake_add(1, "one", 0);
    (void)fake_add(1, "two", 0);
    (void)fake_add(1, "three", 0);
}

/* ---- what others do ---------------------------------------------------------------------------------------------------- */

static void hint(struct imap_server *server)
{
    imap_session_hint(server->first, fake.modseq, 1);
}

static void other_flags_first(struct imap_server *server)
{
    fake_flag(1, 1, FLAG_FLAGGED);
    hint(server);
}

static void other_flags_unheard(struct imap_server *server)
{
    (void)server;
    fake_flag(1, 1, FLAG_ANSWERED);
}

static void other_removes_second(struct imap_server *server)
{
    fake_remove(1, 2);
    hint(server);
}

static void other_adds(struct imap_server *server)
{
    (void)fake_add(1, "four", 0);
    hint(server);
}

static void fail_unavailable(struct imap_server *server)
{
    (void)server;
    fake.fail = FAULT_UNAVAILABLE;
}

static void fail_quota(struct imap_server *server)
{
    (void)server;
    fake.fail = FAULT_QUOTA;
}

static void cut_body(struct imap_server *server)
{
    (void)server;
    fake.cut_body = true;
}

static void lose_folder(struct imap_server *server)
{
    (void)server;
    fake.folder_gone = true;
}

static void say_bye(struct imap_server *server)
{
    imap_session_bye(server->first, "for a test");
}

static void reconnect(struct imap_server *server)
{
    (void)server;
    fake.generation++;
    fake_flag(1, 3, FLAG_DRAFT);
}

TEST(imap_session, tells_changes_before_the_tagged_answer)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, other_flags_first, 0 },
         { "a SEARCH ALL", "* SEARCH 1 2 3\n* 1 FETCH (FLAGS (\\Flagged))\na OK ...", other_adds, 0 },
         { "b STORE 2 +FLAGS (\\Seen)", "* 2 FETCH (FLAGS (\\Seen))\n* 4 EXISTS\nb OK ...", NULL, 0 },
         { "c LOGOUT", "* BYE ...\nc OK ...\n<closed>", NULL, 0 });
}

TEST(imap_session, reads_the_gap_in_front_of_its_own_change)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, other_flags_unheard, 0 },
         { "a STORE 2 +FLAGS (\\Seen)", "* 2 FETCH (FLAGS (\\Seen))\n* 1 FETCH (FLAGS (\\Answered))\na OK ...", NULL, 0 },
         { "b STORE 2 +FLAGS.SILENT (\\Draft)", "b OK ...", NULL, 0 });
    CHECK_INT(1, fake.change_calls);
}

TEST(imap_session, keeps_numbers_during_fetch_store_search)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, other_removes_second, 0 },
         { "a FETCH 3 UID", "* 3 FETCH (UID 3)\na OK ...", NULL, 0 },
         { "b FETCH 2:3 UID", "* 3 FETCH (UID 3)\nb OK ...", NULL, 0 },
         { "c UID FETCH 3 UID", "* 3 FETCH (UID 3)\n* 2 EXPUNGE\nc OK ...", NULL, 0 },
         { "d FETCH 2 UID", "* 2 FETCH (UID 3)\nd OK ...", NULL, 0 });
}

TEST(imap_session, idles_without_a_fiber_and_hears)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { "a IDLE", "+ idling", other_flags_first, 0 },
         { NULL, "* 1 FETCH (FLAGS (\\Flagged))", other_removes_second, 0 }, { NULL, "* 2 EXPUNGE", other_adds, 0 },
         { NULL, "* 3 EXISTS", NULL, 0 }, { "DONE", "a OK ...", NULL, 0 });
}

static void unheard_while_time_passes(struct imap_server *server)
{
    other_flags_unheard(server);
    clock_advance(60000);
}

static void very_long_time(struct imap_server *server)
{
    (void)server;
    clock_advance(300000);
}

TEST(imap_session, polls_in_idle_without_redis_and_ends_at_last)
{
    clock_fake(1795526311000);
    three_messages();
    PLAY(LOGIN, SELECT3, { "a IDLE", "+ idling", unheard_while_time_passes, 0 },
         { NULL, "* OK Still here\n* 1 FETCH (FLAGS (\\Answered))", very_long_time, 0 },
         { NULL, "* BYE silent ...\n<closed>", NULL, 0 });
}

TEST(imap_session, gives_only_so_long_to_log_in)
{
    clock_fake(1795526311000);
    fake_reset();
    PLAY({ NULL, "* OK ...", very_long_time, 0 }, { NULL, "* BYE silent ...\n<closed>", NULL, 0 });
}

TEST(imap_session, looks_again_after_a_reconnect)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, reconnect, 0 }, { "a SEARCH ALL", "* SEARCH 1 2 3\n* 3 FETCH (FLAGS (\\Draft))\na OK ...", NULL, 0 });
}

TEST(imap_session, stays_when_the_mailbox_server_is_away)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, fail_unavailable, 0 }, { "a FETCH 1 FLAGS", "a NO [UNAVAILABLE] ...", fail_unavailable, 0 },
         { "b STATUS INBOX (MESSAGES)", "b NO [UNAVAILABLE] ...", fail_unavailable, 0 }, { "c NOOP", "c OK ...", NULL, 0 },
         { "d FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())\nd OK ...", fail_quota, 0 },
         { "e COPY 1 There", "e NO [OVERQUOTA] ...", fail_quota, 0 },
         { "f APPEND INBOX {3+}\r\nabc", "f NO [OVERQUOTA] ...", NULL, 0 },
         { "g APPEND INBOX {3}", "+ go on", fail_quota, 0 }, { "abc", "g NO [OVERQUOTA] ...", NULL, 0 }, { "h NOOP", "h OK ...", NULL, 0 });
}

TEST(imap_session, ends_rather_than_sending_half_a_literal)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, cut_body, 0 }, { "a FETCH 3 BODY.PEEK[]", "<closed>", NULL, 0 });
}

TEST(imap_session, streams_bodies)
{
    three_messages();
    PLAY(LOGIN, SELECT3,
         { "a FETCH 2:3 (BODY.PEEK[] ENVELOPE)", "* 2 FETCH (ENVELOPE (ENV) BODY[] {3}\ntwo)\n* 3 FETCH (ENVELOPE (ENV) BODY[] {5}\nthree)\na OK ...", NULL, 0 },
         { "c FETCH 2 (BODY.PEEK[1] BINARY.SIZE[1] BODY.PEEK[TEXT])", "* 2 FETCH (BODY[1] {3}\ntwo BINARY.SIZE[1] 3 BODY[TEXT] {3}\ntwo)\nc OK ...", NULL, 0 },
         { "b UID FETCH 1 RFC822", "* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822 {3}\none)\nb OK ...", NULL, 0 });
}

TEST(imap_session, says_bye)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { "a IDLE", "+ idling", say_bye, 0 }, { NULL, "* BYE for a test\n<closed>", NULL, 0 });
    PLAY(LOGIN, { NULL, NULL, say_bye, 0 }, { NULL, "* BYE for a test\n<closed>", NULL, 0 });
    three_messages();
    PLAY(LOGIN, SELECT3, { NULL, NULL, lose_folder, 0 }, { "a NOOP", "a OK ...\n* BYE the selected ...\n<closed>", NULL, 0 });
}

TEST(imap_session, runs_pipelined_commands)
{
    three_messages();
    PLAY(LOGIN, SELECT3, { "a NOOP\r\nb FETCH 1 UID\r\nc IDLE\r\nDONE\r\nd NOOP",
                           "a OK ...\n* 1 FETCH (UID 1)\nb OK ...\n+ idling\nc OK ...\nd OK ...", NULL, 0 });
}

/* Its bytes are not commands, whatever they say. */
TEST(imap_session, a_refused_append_is_not_read_as_commands)
{
    fake_reset();
    PLAY({ NULL, "* OK ...", NULL, 0 }, { "a APPEND INBOX {3}", "a BAD log in first", NULL, 0 },
         { "b APPEND INBOX {12+}\r\nc CAPABILITY", "b BAD log in first\n<closed>", NULL, 0 });
    fake_reset();
    PLAY(LOGIN, { "( APPEND INBOX {12+}\r\nc CAPABILITY", "* BAD a command begins with a tag\n<closed>", NULL, 0 });
}

TEST(imap_session, does_not_care_where_the_network_cut)
{
    static const char text[] = "l LOGIN {2+}\r\nme {6+}\r\nsecret\r\na APPEND INBOX (\\Seen) {3+}\r\nabc {2+}\r\nde\r\nb NOOP";

    for (size_t cut = 1; cut < sizeof(text); cut++) {
        const struct step steps[] = {
            { NULL, "* OK ...", NULL, 0 },
            { text, "l OK ...\na OK [APPENDUID 7 1:2] ...\nb OK ...", NULL, cut },
        };
        fake_reset();
        play(t, steps, COUNT(steps));
    }
}
