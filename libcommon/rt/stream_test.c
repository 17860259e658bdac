/* stream_test.c - plain streams: lines, limits, back-pressure, parking; over socket pairs. */
#include "rt/stream.h"

#include "base/test.h"
#include "rt/context.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/stream_internal.h"

struct scene {
    struct test *t;
    struct stream *a, *b;
    struct fault why;
    struct slice text;
    size_t cut, total;
    enum stream_wake because;
    unsigned wakes;
    struct fiber_event event;
    struct fiber *fiber;
};

static bool open_pair(struct scene *sc)
{
    struct test *t = sc->t;

    CHECK_OK(stream_pair(&sc->a, &sc->b, &sc->why), &sc->why);
    return sc->a != NULL;
}

static void close_pair(struct scene *sc)
{
    stream_close(&sc->a);
    stream_close(&sc->b);
}

static void start(struct scene *sc, void (*fn)(void *))
{
    struct test *t = sc->t;

    CHECK_OK(fiber_start("helper", fn, sc, &sc->why), &sc->why);
}

static void send_now(struct scene *sc, struct slice bytes)
{
    struct test *t = sc->t;

    CHECK_OK(stream_write(sc->a, bytes, DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_OK(stream_flush(sc->a, DEADLINE_NEVER, &sc->why), &sc->why);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void send_in_two(void *arg)
{
    struct scene *sc = arg;

    send_now(sc, slice_head(sc->text, sc->cut));
    for (int i = 0; i < 3; i++)
        fiber_yield();
    send_now(sc, slice_tail(sc->text, sc->cut));
}

static void reads_cut_lines(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice line;

    sc->text = LIT("EHLO a\r\n\r\nlonger line here\r\n");
    for (sc->cut = 0; sc->cut <= sc->text.n; sc->cut++) {
        if (!open_pair(sc))
            return;
        start(sc, send_in_two);
        CHECK_OK(stream_read_line(sc->b, 512, DEADLINE_NEVER, &line, &sc->why), &sc->why);
        CHECK_ROW_STR(sc->cut, "EHLO a", line);
        CHECK_OK(stream_read_line(sc->b, 512, DEADLINE_NEVER, &line, &sc->why), &sc->why);
        CHECK_ROW_STR(sc->cut, "", line);
        CHECK_OK(stream_read_line(sc->b, 512, DEADLINE_NEVER, &line, &sc->why), &sc->why);
        CHECK_ROW_STR(sc->cut, "longer line here", line);
        close_pair(sc);
    }
}

TEST(stream, lines_do_not_care_where_the_network_cut)
{
    struct scene sc = {.t = t};

    loop_run_fiber(reads_cut_lines, &sc);
}

static void reads_bad_lines(void *arg)
{
    static const struct {
        const char *in;
        enum fault_code code;
        const char *left; /* in the buffer afterwards */
    } row[] = {
        {"bare lf\nnext\r\n", FAULT_PROTOCOL, "next\r\n"},
        {"bare cr\rin it\r\nnext\r\n", FAULT_PROTOCOL, "next\r\n"},
        {"\nnext\r\n", FAULT_PROTOCOL, "next\r\n"},
        {"cr cr\r\r\nnext", FAULT_PROTOCOL, "next"},
        {"0123456789abcdefg\r\n", FAULT_LIMIT, "0123456789abcdefg\r\n"},
        {"0123456789abcdefghi", FAULT_LIMIT, "0123456789abcdefghi"},
        {"unfinished", FAULT_CLOSED, "unfinished"},
        {"", FAULT_CLOSED, ""},
    };
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice line;

    for (size_t i = 0; i < COUNT(row); i++) {
        if (!open_pair(sc))
            return;
        send_now(sc, slice_of(row[i].in));
        stream_close(&sc->a);
        CHECK_FAULT(row[i].code, stream_read_line(sc->b, 18, DEADLINE_NEVER, &line, &sc->why),
                    &sc->why);
        CHECK_ROW_STR(i, row[i].left, stream_buffered(sc->b));
        stream_close(&sc->b);
    }
}

TEST(stream, bad_lines_are_refused)
{
    struct scene sc = {.t = t};

    loop_run_fiber(reads_bad_lines, &sc);
}

/* --- other reads ------------------------------------------------------------------------------ */

static void reads_pieces(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice got;
    char exact[5];

    if (!open_pair(sc))
        return;
    send_now(sc, LIT("0123456789"));
    CHECK_OK(stream_read_some(sc->b, 3, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_STR("012", got);
    CHECK_OK(stream_read_exact(sc->b, exact, 5, DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_STR("34567", slice_make(exact, 5));
    CHECK_STR("89", stream_buffered(sc->b));
    CHECK_FAULT(FAULT_LIMIT, stream_fill(sc->b, 2, DEADLINE_NEVER, &sc->why), &sc->why);
    send_now(sc, LIT("ab"));
    CHECK_OK(stream_fill(sc->b, 3, DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_STR("89ab", stream_buffered(sc->b));
    stream_consume(sc->b, 4);
    stream_close(&sc->a);
    CHECK_OK(stream_read_some(sc->b, 9, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_INT(0, got.n);
    CHECK_FAULT(FAULT_CLOSED, stream_read_exact(sc->b, exact, 1, DEADLINE_NEVER, &sc->why),
                &sc->why);
    CHECK_FAULT(FAULT_CLOSED, stream_fill(sc->b, 10, DEADLINE_NEVER, &sc->why), &sc->why);
    stream_close(&sc->b);
}

TEST(stream, reads_some_exact_and_fill)
{
    struct scene sc = {.t = t};

    loop_run_fiber(reads_pieces, &sc);
}

static void cancel_reader(void *arg)
{
    fiber_cancel(((struct scene *)arg)->fiber);
}

static void shut_b(void *arg)
{
    stream_shutdown(((struct scene *)arg)->b);
}

static void waits_in_vain(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice got;

    if (!open_pair(sc))
        return;
    CHECK_FAULT(FAULT_TIMEOUT, stream_read_line(sc->b, 9, deadline_in_ms(1), &got, &sc->why),
                &sc->why);
    start(sc, shut_b);
    CHECK_FAULT(FAULT_CLOSED, stream_read_line(sc->b, 9, DEADLINE_NEVER, &got, &sc->why), &sc->why);
    CHECK_FAULT(FAULT_CLOSED, stream_write(sc->b, LIT("x"), DEADLINE_NEVER, &sc->why), &sc->why);
    close_pair(sc);
    if (!open_pair(sc))
        return;
    sc->fiber = fiber_self();
    start(sc, cancel_reader);
    CHECK_FAULT(FAULT_CANCELED, stream_read_line(sc->b, 9, DEADLINE_NEVER, &got, &sc->why),
                &sc->why);
    send_now(sc, LIT("bye\r\n")); /* a cancelled fiber may say good-bye */
    CHECK_FAULT(FAULT_CANCELED, stream_read_line(sc->b, 9, DEADLINE_NEVER, &got, &sc->why),
                &sc->why);
    close_pair(sc);
}

TEST(stream, waiting_ends_by_deadline_shutdown_and_cancellation)
{
    struct scene sc = {.t = t};

    loop_run_fiber(waits_in_vain, &sc);
}

/* --- writing ---------------------------------------------------------------------------------- */

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static void write_pattern(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    char piece[3001];
    size_t sent = 0;
    unsigned round = 0;

    while (sent < sc->total) {
        static char big[300000];
        bool is_big = ++round % 5 == 0;
        char *p = is_big ? big : piece;
        size_t n = is_big ? sizeof big : sizeof piece;

        if (n > sc->total - sent)
            n = sc->total - sent;
        for (size_t i = 0; i < n; i++)
            p[i] = (char)byte_at(sent + i);
        struct slice parts[3] = {{p, n / 3}, {p + n / 3, 0}, {p + n / 3, n - n / 3}};
        REQUIRE_OK(stream_writev(sc->a, parts, 3, DEADLINE_NEVER, &sc->why), &sc->why);
        CHECK(stream_unsent_bytes(sc->a) <= HIGH_WATER_BYTES + sizeof piece);
        sent += n;
    }
    stream_close(&sc->a);
}

static void read_pattern(struct scene *sc)
{
    struct test *t = sc->t;
    size_t n = 0, wrong = 0;
    struct slice got;

    do {
        REQUIRE_OK(stream_read_some(sc->b, 50000, DEADLINE_NEVER, &got, &sc->why), &sc->why);
        for (size_t i = 0; i < got.n; i++)
            wrong += (unsigned char)got.p[i] != byte_at(n + i);
        n += got.n;
    } while (got.n > 0);
    CHECK_INT(0, wrong);
    /* the writer closes without waiting: what the kernel did not take by then is lost */
    CHECK(n <= sc->total && n + HIGH_WATER_BYTES + 4096 > sc->total);
}

static void pumps(void *arg)
{
    struct scene *sc = arg;

    sc->total = 5000000;
    if (!open_pair(sc))
        return;
    start(sc, write_pattern);
    read_pattern(sc);
    stream_close(&sc->b);
}

TEST(stream, bulk_arrives_unchanged)
{
    struct scene sc = {.t = t};

    loop_run_fiber(pumps, &sc);
}

static void nobody_reads(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    static const char big[1 << 20];
    struct slice got;
    size_t n = 0;

    if (!open_pair(sc))
        return;
    CHECK_FAULT(FAULT_TIMEOUT,
                stream_write(sc->a, slice_make(big, sizeof big), deadline_in_ms(5), &sc->why),
                &sc->why);
    CHECK(stream_unsent_bytes(sc->a) <= HIGH_WATER_BYTES);
    CHECK_FAULT(
        FAULT_TIMEOUT,
        stream_write(sc->a, slice_make(big, HIGH_WATER_BYTES + 1), deadline_in_ms(5), &sc->why),
        &sc->why);
    CHECK_OK(stream_write(sc->a, slice_make(big, 1000), deadline_in_ms(5), &sc->why), &sc->why);
    CHECK_FAULT(FAULT_LIMIT, stream_write_now(sc->a, slice_make(big, 1000), 1500, &sc->why),
                &sc->why);
    CHECK_OK(stream_write_now(sc->a, slice_make(big, 1000), 2000, &sc->why), &sc->why);
    CHECK_FAULT(FAULT_TIMEOUT, stream_flush(sc->a, deadline_in_ms(5), &sc->why), &sc->why);
    while (stream_unsent_bytes(sc->a) > 0) { /* the loop sends the rest as the reader takes it */
        REQUIRE_OK(stream_read_some(sc->b, 50000, DEADLINE_NEVER, &got, &sc->why), &sc->why);
        n += got.n;
    }
    CHECK(n > 2000);
    stream_close(&sc->b);
    CHECK_OK(stream_write(sc->a, LIT("x"), DEADLINE_NEVER, &sc->why), &sc->why);
    CHECK_FAULT(FAULT_CLOSED, stream_flush(sc->a, DEADLINE_NEVER, &sc->why), &sc->why);
    stream_close(&sc->a);
}

TEST(stream, a_slow_reader_holds_the_writer)
{
    struct scene sc = {.t = t};

    loop_run_fiber(nobody_reads, &sc);
}

static void writes_formatted(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    char want[1000];
    struct slice line;

    if (!open_pair(sc))
        return;
    memset(want, 'x', sizeof want);
    CHECK_OK(stream_printf(sc->a, DEADLINE_NEVER, &sc->why, "%d %s\r\n", 250, "OK"), &sc->why);
    CHECK_OK(stream_printf(sc->a, DEADLINE_NEVER, &sc->why, "%.*s\r\n", 1000, want), &sc->why);
    /* no flush: the end of the turn sends */
    CHECK_OK(stream_read_line(sc->b, 512, DEADLINE_NEVER, &line, &sc->why), &sc->why);
    CHECK_STR("250 OK", line);
    CHECK_OK(stream_read_line(sc->b, 2000, DEADLINE_NEVER, &line, &sc->why), &sc->why);
    CHECK_SLICE(slice_make(want, sizeof want), line);
    close_pair(sc);
}

TEST(stream, small_writes_go_out_at_the_end_of_the_turn)
{
    struct scene sc = {.t = t};

    loop_run_fiber(writes_formatted, &sc);
}

/* --- parking ---------------------------------------------------------------------------------- */

static void on_wake(struct stream *s, enum stream_wake because, void *arg)
{
    struct scene *sc = arg;

    sc->b = s;
    sc->because = because;
    sc->wakes++;
    fiber_event_signal(&sc->event);
}

static void park(struct scene *sc, struct deadline until)
{
    struct stream *s = sc->b;

    sc->b = NULL;
    stream_park(s, stream_ready_line, on_wake, sc, 100, until);
}

static void await_wake(struct scene *sc, enum stream_wake because)
{
    struct test *t = sc->t;

    if (sc->b == NULL)
        CHECK_OK(fiber_event_wait(&sc->event, deadline_in_ms(5000), &sc->why), &sc->why);
    REQUIRE(sc->b != NULL);
    CHECK_INT(because, sc->because);
}

static void settle(void)
{
    for (int i = 0; i < 10; i++)
        fiber_yield();
}

static void parks(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct slice line;
    char flood[100];

    if (!open_pair(sc))
        return;
    park(sc, DEADLINE_NEVER);
    settle();
    send_now(sc, LIT("NO"));
    settle();
    CHECK_INT(0, sc->wakes); /* half a line starts nothing */
    send_now(sc, LIT("OP\r\nDONE\r\n"));
    await_wake(sc, STREAM_WAKE_INPUT);
    CHECK_OK(stream_read_line(sc->b, 100, DEADLINE_NEVER, &line, &sc->why), &sc->why);
    CHECK_STR("NOOP", line);

    park(sc, DEADLINE_NEVER); /* the next line is there already */
    await_wake(sc, STREAM_WAKE_INPUT);
    CHECK_OK(stream_read_line(sc->b, 100, DEADLINE_NEVER, &line, &sc->why), &sc->why);
    CHECK_STR("DONE", line);

    park(sc, deadline_in_ms(2));
    await_wake(sc, STREAM_WAKE_TIMEOUT);

    stream_kick(sc->b); /* remembered, once */
    stream_kick(sc->b);
    park(sc, DEADLINE_NEVER);
    await_wake(sc, STREAM_WAKE_KICK);
    struct stream *parked = sc->b;
    park(sc, DEADLINE_NEVER);
    settle();
    CHECK(sc->b == NULL);
    stream_kick(parked);
    await_wake(sc, STREAM_WAKE_KICK);

    memset(flood, 'x', sizeof flood);
    park(sc, DEADLINE_NEVER);
    send_now(sc, slice_make(flood, 99));
    settle();
    CHECK(sc->b == NULL);
    send_now(sc, slice_make(flood, 1));
    await_wake(sc, STREAM_WAKE_INPUT); /* the limit */
    CHECK_FAULT(FAULT_LIMIT, stream_read_line(sc->b, 100, DEADLINE_NEVER, &line, &sc->why),
                &sc->why);
    stream_consume(sc->b, 100);

    park(sc, DEADLINE_NEVER);
    stream_close(&sc->a);
    await_wake(sc, STREAM_WAKE_CLOSED);
    park(sc, DEADLINE_NEVER);
    await_wake(sc, STREAM_WAKE_CLOSED);
    stream_close(&sc->b);
}

TEST(stream_park, wakes_for_lines_kicks_deadlines_limits_and_ends)
{
    struct scene sc = {.t = t};

    loop_run_fiber(parks, &sc);
}

static void parks_and_shuts(void *arg)
{
    struct scene *sc = arg;

    if (!open_pair(sc))
        return;
    struct stream *parked = sc->b;
    park(sc, DEADLINE_NEVER);
    stream_shutdown(parked);
    await_wake(sc, STREAM_WAKE_CLOSED);
    stream_kick(sc->b);
    close_pair(sc);
    if (!open_pair(sc))
        return;
    parked = sc->b;
    park(sc, deadline_in_ms(60000));
    settle();
    stream_close(&parked); /* nobody uses it: may be closed as it is */
    stream_close(&sc->a);
}

TEST(stream_park, can_be_shut_and_closed)
{
    struct scene sc = {.t = t};

    loop_run_fiber(parks_and_shuts, &sc);
}

static void hold_fiber(void *arg)
{
    struct scene *sc = arg;
    struct fault why;

    (void)fiber_event_wait(&sc->event, DEADLINE_NEVER, &why);
}

static void parks_when_full(void *arg)
{
    struct scene *sc = arg;
    struct test *t = sc->t;
    struct fault why;
    struct fiber_event held = {NULL, NULL};

    if (!open_pair(sc))
        return;
    park(sc, DEADLINE_NEVER);
    while (fiber_start("filler", hold_fiber, sc, &why) == 0)
        ;
    fiber_yield();
    send_now(sc, LIT("x\r\n"));
    settle();
    CHECK(sc->b == NULL);
    fiber_event_broadcast(&sc->event);
    while (sc->b == NULL)
        CHECK_FAULT(FAULT_TIMEOUT, fiber_event_wait(&held, deadline_in_ms(1), &why), &why);
    CHECK_INT(STREAM_WAKE_INPUT, sc->because);
    close_pair(sc);
}

TEST(stream_park, waits_for_a_free_fiber)
{
    struct scene sc = {.t = t};

#ifdef RT_TSAN
    return; /* thousands of stacks cost TSan seconds */
#endif
    loop_run_fiber(parks_when_full, &sc);
}
