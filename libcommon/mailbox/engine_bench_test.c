/* engine_bench_test.c - figures, when FE_BENCH is set: `FE_BENCH=1 build/release/mailbox_test engine_bench`. */
#include "mailbox/engine_test_util.h"

#include <sys/resource.h>

#include "base/time.h"

static uint64_t cpu_us(void)
{
    struct rusage r;

    (void)getrusage(RUSAGE_THREAD, &r);
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void figure(const char *what, uint64_t us, double per)
{
    (void)printf("    %-48s %9.2f ms   %10.0f/s\n", what, (double)us / 1000, per * 1e6 / (double)us);
}

static uint64_t quick(uint64_t bound)     /* cheap: the text must not cost more than what is measured */
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x % bound;
}

static struct slice words(struct arena *a, size_t bytes, uint32_t i)
{
    struct buf b = BUF_INIT(bytes + 100);

    (void)buf_printf(&b, "From: sender%u@example.test\r\nTo: joe@example.test\r\nSubject: message %u\r\n\r\n", i, i);
    while (b.n < bytes) {
        /* a vocabulary of 20,000 words of skewed frequency */
        uint64_t w = quick(1 + quick(20000));
        (void)buf_printf(&b, "w%llxo%c", (unsigned long long)(w * 2654435761u % 1000003), quick(12) ? ' ' : '\n');
    }
    struct slice s = arena_copy(a, slice_head(buf_slice(&b), bytes));
    buf_free(&b);
    return s;
}

static void fill(struct test *t, struct box *b, const char *path, uint32_t count, size_t bytes, uint32_t group)
{
    struct engine_body *bodies[256];
    struct fault why = { 0 };
    struct mailbox_appended a;
    uint64_t prepare = 0, commit = 0, spent = 0;

    for (uint32_t i = 0; i < count; i += group) {
        struct slice text[256];
        uint64_t start;
        for (uint32_t k = 0; k < group; k++)
            text[k] = words(t->arena, bytes, i + k);
        start = clock_now_us();
        for (uint32_t k = 0; k < group; k++)
            REQUIRE_OK(engine_body_make(b->e, text[k], &bodies[k], &why), &why);
        prepare += clock_now_us() - start;
        start = clock_now_us();
        spent -= cpu_us();
        REQUIRE_OK(engine_begin(b->e, &why), &why);
        for (uint32_t k = 0; k < group; k++) {
            struct engine_message m = { .body = bodies[k], .internal_ms = 1700000000000 + i };
            REQUIRE_OK(engine_append(b->e, slice_of(path), &m, 1, t->arena, &a, &why), &why);
        }
        REQUIRE_OK(engine_commit(b->e, &why), &why);
        commit += clock_now_us() - start;
        spent += cpu_us();
        for (uint32_t k = 0; k < group; k++)
            engine_body_free(&bodies[k]);
        arena_reset(t->arena);
    }
    (void)printf("  %u messages of %zu bytes in groups of %u\n", count, bytes, group);
    figure("prepare: hash, compress, parse, render", prepare, count);
    figure("append and commit", commit, count);
    (void)printf("    append and commit, processor: %llu us each\n", (unsigned long long)(spent / count));
}

static void bench_open(struct test *t, struct box *b)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 10; i++) {
        struct fault why = { 0 };
        uint64_t start;
        engine_close(&b->e);
        start = clock_now_us();
        REQUIRE_OK(engine_open(b->path, b->key, NULL, &b->e, &why), &why);
        if (clock_now_us() - start < best)
            best = clock_now_us() - start;
    }
    figure("open", best, 1);
}

static void bench_search(struct test *t, struct box *b, const char *label, enum search_op op, struct slice text)
{
    struct search_node n = { .op = op, .text = text, .field = LIT("subject") };
    struct mailbox_found out = { 0 };
    struct fault why = { 0 };
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < (getenv("FE_BENCH")[0] - '0') * 3; i++) {
        uint64_t start = clock_now_us();
        REQUIRE_OK(engine_search(b->e, box_folder(t, b, "INBOX"), &n, t->arena, &out, &why), &why);
        if (clock_now_us() - start < best)
            best = clock_now_us() - start;
    }
    (void)printf("    [%llu found]", (unsigned long long)uid_set_count(out.uids));
    figure(label, best, 1);
}

static void bench_bodies(struct test *t, struct box *b)
{
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    struct engine_fetch *f = NULL;
    struct mailbox_fetched out;
    struct fault why = { 0 };
    struct slice piece;
    uint64_t start = clock_now_us();

    REQUIRE_OK(engine_read_begin(b->e, &why), &why);
    REQUIRE_OK(engine_fetch_begin(b->e, box_folder(t, b, "INBOX"), uids_of(t, "3001:4000"), 0, &all, 1, &f, &why), &why);
    while (engine_fetch_next(f, t->arena, &out, &why) > 0)
        do
            REQUIRE_OK(engine_fetch_read(f, &piece, &why), &why);
        while (piece.n);
    engine_fetch_end(&f);
    engine_read_end(b->e);
    figure("FETCH BODY[] of 1000 x 7 KB", clock_now_us() - start, 1000);
    start = clock_now_us();
    REQUIRE_OK(engine_fetch_begin(b->e, box_folder(t, b, "INBOX"), uids_of(t, "5001:6000"), ITEM_ENVELOPE | ITEM_BODYSTRUCTURE, NULL, 0, &f, &why), &why);
    while (engine_fetch_next(f, t->arena, &out, &why) > 0)
        ;
    engine_fetch_end(&f);
    figure("FETCH ENVELOPE BODYSTRUCTURE of 1000", clock_now_us() - start, 1000);
}

static void bench_changes(struct test *t, struct box *b)
{
    struct mailbox_stored s;
    struct mailbox_copied c;
    struct mailbox_view v;
    struct mailbox_row *rows;
    struct mailbox_changes ch;
    struct mailbox_expunged x;
    struct fault why = { 0 };
    uint64_t inbox = box_folder(t, b, "INBOX"), archive = box_folder(t, b, "Archive"), start;
    size_t count;

    start = clock_now_us();
    REQUIRE_OK(engine_store(b->e, inbox, uids_of(t, "1:10000"), STORE_ADD, FLAG_SEEN, NULL, 0, UINT64_MAX, t->arena, &s, &why), &why);
    figure("STORE 10,000 flags", clock_now_us() - start, 10000);
    start = clock_now_us();
    REQUIRE_OK(engine_copy(b->e, inbox, uids_of(t, "1:1000"), LIT("Archive"), t->arena, &c, &why), &why);
    figure("COPY 1000", clock_now_us() - start, 1000);
    for (int i = 0; i < 5; i++)
        REQUIRE_OK(engine_copy(b->e, inbox, uids_of(t, "1:9800"), LIT("Archive"), t->arena, &c, &why), &why);
    for (int i = 0; i < 2; i++) {
        start = clock_now_us();
        REQUIRE_OK(engine_get_rows(b->e, archive, uids_of(t, "1:*"), t->arena, &rows, &count, &why), &why);
        figure("rows of 50,000", clock_now_us() - start, (double)count);
    }
    start = clock_now_us();
    REQUIRE_OK(engine_select(b->e, LIT("Archive"), t->arena, &v, &why), &why);
    figure("SELECT of 50,000", clock_now_us() - start, 1);
    start = clock_now_us();
    REQUIRE_OK(engine_store(b->e, archive, uids_of(t, "25000"), STORE_ADD, FLAG_DELETED, NULL, 0, UINT64_MAX, t->arena, &s, &why), &why);
    figure("STORE one of 50,000", clock_now_us() - start, 1);
    start = clock_now_us();
    REQUIRE_OK(engine_get_changes(b->e, archive, s.from_modseq, UID_SET_EMPTY, t->arena, &ch, &why), &why);
    figure("changes: one row", clock_now_us() - start, 1);
    REQUIRE_OK(engine_store(b->e, archive, uids_of(t, "1:10000"), STORE_ADD, FLAG_DELETED, NULL, 0, UINT64_MAX, t->arena, &s, &why), &why);
    start = clock_now_us();
    REQUIRE_OK(engine_expunge(b->e, archive, UID_SET_EMPTY, t->arena, &x, &why), &why);
    figure("EXPUNGE 10,001", clock_now_us() - start, 10001);
}

static void bench_large(struct test *t, struct box *b)
{
    struct engine_body *body = NULL;
    struct engine_message m = { 0 };
    struct mailbox_appended a;
    struct rusage before, after;
    struct fault why = { 0 };
    uint64_t start = clock_now_us();
    char line[78 * 800];
    struct slice piece = { line, sizeof(line) };
    int r = 0;

    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : "ABCDEFGHIJKLMNOP0123456789+/abcd"[random_below(32)];
    (void)getrusage(RUSAGE_SELF, &before);
    REQUIRE_OK(engine_body_new(60 << 20, &body, &why), &why);
    REQUIRE_OK(engine_body_write(body, LIT("Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"), &why), &why);
    for (int i = 0; i < 840 && r >= 0; i++) {
        r = engine_body_write(body, piece, &why);
        if (r > 0)
            r = engine_body_stage(b->e, body, &why);
    }
    if (r >= 0)
        r = engine_body_finish(body, &why);
    if (r > 0)
        r = engine_body_stage(b->e, body, &why);
    REQUIRE_OK(r, &why);
    m.body = body;
    REQUIRE_OK(engine_append(b->e, LIT("INBOX"), &m, 1, t->arena, &a, &why), &why);
    figure("APPEND of 50 MB", clock_now_us() - start, 50);
    (void)getrusage(RUSAGE_SELF, &after);
    (void)printf("    most memory before %ld KiB, after %ld KiB\n", before.ru_maxrss, after.ru_maxrss);
    engine_body_free(&body);
}

TEST(engine_bench, figures)
{
    AUTO(box_free) struct box b = { .e = NULL };
    struct fault why = { 0 };
    uint64_t start;

    if (!getenv("FE_BENCH"))
        return;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    REQUIRE(box_new(t, &b));
    bench_large(t, &b);
    fill(t, &b, "Drafts", 64, 2048, 1);
    fill(t, &b, "Junk", 2000, 10240, 1);
    fill(t, &b, "Drafts", 6400, 2048, 64);
    fill(t, &b, "INBOX", 10000, 7168, 100);
    bench_open(t, &b);
    bench_bodies(t, &b);
    bench_search(t, &b, "SEARCH TEXT, nothing indexed", SEARCH_TEXT, LIT("w3e8o"));
    start = clock_now_us();
    while (engine_index_some(b.e, 1000, &why) > 0)
        ;
    figure("index all", clock_now_us() - start, 16400);
    bench_open(t, &b);
    bench_search(t, &b, "SEARCH TEXT word, indexed", SEARCH_TEXT, LIT("w3e8o"));
    bench_search(t, &b, "SEARCH TEXT absent, indexed", SEARCH_TEXT, LIT("absent"));
    bench_search(t, &b, "SEARCH TEXT one letter, indexed", SEARCH_TEXT, LIT("w"));
    bench_search(t, &b, "SEARCH SUBJECT, indexed", SEARCH_HEADER, LIT("message 77"));
    bench_changes(t, &b);
    start = clock_now_us();
    CHECK(box_verify(t, &b));
    figure("verify", clock_now_us() - start, 1);
    while (engine_tidy(b.e, 100, &why) > 0)
        ;
}
