/* sealed_test.c - the sealed log: round trips, order, restarts, and what must not open. */
#include "mailbox/sealed_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

#define ALIAS_A LIT("65a000000000000000000001")
#define ALIAS_B LIT("65a000000000000000000002")

struct place { char folder[64]; struct sealing_pair a, b; };

static void place_make(struct place *p)
{
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/sealed-test-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        abort();
    derive_sealing_pair(LIT("0123456789abcdef0123456789abcdef"), &p->a);
    derive_sealing_pair(LIT("another key of thirty-two bytes!"), &p->b);
}

static void place_remove(struct place *p)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", p->folder);
    if (system(command) != 0)
        abort();
}

static struct sealed_writer *writer_of(struct test *t, struct sealed_log *log, struct slice alias,
                                       const struct sealing_pair *pair, struct slice body, char mark)
{
    char marks[32];
    struct sealed_meta meta = { .alias_id = alias, .public_key = slice_make(pair->public_key, 32),
                                .folder = LIT("INBOX"), .arrived_ms = 1700000000000, .size_bytes = body.n };
    struct sealed_writer *w = NULL;
    struct fault why;

    memset(marks, mark, sizeof(marks));
    meta.mark = slice_make(marks, sizeof(marks));
    CHECK_OK(sealed_write_begin(log, &meta, &w, &why), &why);
    CHECK_OK(sealed_write(w, body, &why), &why);
    return w;
}

static void put(struct test *t, struct sealed_log *log, struct slice alias, const struct sealing_pair *pair,
                struct slice body, char mark)
{
    struct sealed_writer *w = writer_of(t, log, alias, pair, body, mark);
    struct fault why;
    bool ok = false;

    CHECK_OK(sealed_commit(log, &w, &ok, 1, &why), &why);
    CHECK(ok);
}

/* The message, or a fault; reads to the end, so that everything was authenticated. */
static int read_item(struct test *t, struct sealed_log *log, struct slice alias, const struct sealed_item *item,
                     const struct sealing_pair *pair, struct slice *out, struct fault *why)
{
    AUTO(sealed_read_end) struct sealed_reader *r = NULL;
    AUTO(buf_free) struct buf all = BUF_INIT(BUF_MAX_DEFAULT);
    struct sealed_opened opened;
    struct slice piece;
    int more;

    if (sealed_read_begin(log, alias, item, pair, 1, &r, &opened, why) < 0)
        return -1;
    while ((more = sealed_read_next(r, &piece, why)) == 1)
        (void)buf_append(&all, piece);
    *out = arena_copy(t->arena, buf_slice(&all));
    return more;
}

static struct slice body_of(struct test *t, size_t n)
{
    char *p = arena_alloc(t->arena, n + 1);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i * 7 % 26);
    return slice_make(p, n);
}

TEST(sealed, every_size_comes_back_and_survives_a_restart)
{
    static const size_t size[] = { 0, 1, 300, 65000, 65536, 65537, 262000, 262144, 300000, 5000000 };
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items;
    struct slice got;
    struct fault why;
    size_t n;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    for (size_t i = 0; i < COUNT(size); i++)
        put(t, log, ALIAS_A, &place.a, body_of(t, size[i]), (char)i);
    for (int restart = 0; restart < 2; restart++) {
        n = sealed_list(log, ALIAS_A, t->arena, 100, &items);
        CHECK_INT(COUNT(size), n);
        for (size_t i = 0; i < n; i++) {
            CHECK_OK(read_item(t, log, ALIAS_A, &items[i], &place.a, &got, &why), &why);
            CHECK_ROW(i, slice_equal(got, body_of(t, size[i])));
            CHECK_ROW(i, i == 0 || items[i].seq > items[i - 1].seq);
        }
        sealed_close(&log);
        REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    }
    CHECK(sealed_has_mark(log, ALIAS_A, slice_make("\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3\3", 32)));
    place_remove(&place);
}

TEST(sealed, opens_only_for_the_alias_it_was_sealed_for)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items;
    struct slice got;
    struct fault why;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    put(t, log, ALIAS_A, &place.a, LIT("for a"), 1);
    REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 1);
    CHECK_FAULT(FAULT_CORRUPT, read_item(t, log, ALIAS_B, &items[0], &place.a, &got, &why), &why);
    CHECK_FAULT(FAULT_CORRUPT, read_item(t, log, ALIAS_A, &items[0], &place.b, &got, &why), &why);
    place_remove(&place);
}

static void change_byte(const char *folder, off_t at, unsigned char flip)
{
    char path[128];
    unsigned char c;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/log-0000000001", folder);
    fd = open(path, O_RDWR);
    if (fd < 0 || pread(fd, &c, 1, at) != 1)
        abort();
    c ^= flip;
    if (pwrite(fd, &c, 1, at) != 1)
        abort();
    close(fd);
}

/* Any byte of what decides where an item belongs, and any of its contents. */
TEST(sealed, any_flipped_byte_is_noticed)
{
    struct place place;
    struct stat st;
    char path[128];

    place_make(&place);
    (void)snprintf(path, sizeof(path), "%s/log-0000000001", place.folder);
    for (off_t at = 0;; at += 3) {
        AUTO(sealed_close) struct sealed_log *log = NULL;
        struct sealed_item *items;
        struct slice got;
        struct fault why;

        if (at == 0) {
            REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
            put(t, log, ALIAS_A, &place.a, LIT("contents"), 1);
            sealed_close(&log);
        }
        REQUIRE(stat(path, &st) == 0);
        if (at >= st.st_size)
            break;
        change_byte(place.folder, at, 0x40);
        REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
        CHECK_ROW(at, sealed_count(log, ALIAS_A) == 0 && sealed_damaged_count(log) == 1);
        CHECK_ROW(at, stat(path, &st) == 0);
        (void)items;
        (void)got;
        change_byte(place.folder, at, 0x40);
    }
    place_remove(&place);
}

/* The same with a checksum made good again: only the cryptography is left to notice it. */
TEST(sealed, a_relabelled_item_does_not_open)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items, forged;
    struct slice got;
    struct fault why;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    put(t, log, ALIAS_A, &place.a, LIT("contents"), 1);
    REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 1);
    forged = items[0];
    for (off_t at = 12; at < 12 + SEALED_ALIAS + 16 + 8 + 8 + 32; at++) {
        change_byte(place.folder, (off_t)forged.offset + at, 1);
        CHECK_ROW(at, read_item(t, log, ALIAS_A, &forged, &place.a, &got, &why) < 0 && why.code == FAULT_CORRUPT);
        change_byte(place.folder, (off_t)forged.offset + at, 1);
    }
    CHECK_OK(read_item(t, log, ALIAS_A, &forged, &place.a, &got, &why), &why);
    place_remove(&place);
}

/* Sealed with the key that only who opened the mailbox has: read like the others, beside them, and by nobody else. */
TEST(sealed, own_key_seals_without_the_pair)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_meta meta = { .alias_id = ALIAS_A, .mark = LIT("0123456789abcdef0123456789abcdef"), .folder = LIT("Junk"), .size_bytes = 5 };
    struct sealed_writer *w = NULL;
    struct sealed_item *items;
    struct slice got;
    struct fault why;
    bool ok;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    put(t, log, ALIAS_A, &place.a, LIT("to the pair"), 1);
    meta.public_key = slice_make(place.a.public_key, 32);
    meta.own_key = slice_make(place.a.own_key, 32);
    REQUIRE_OK(sealed_write_begin(log, &meta, &w, &why), &why);
    REQUIRE_OK(sealed_write(w, LIT("owned"), &why), &why);
    REQUIRE_OK(sealed_commit(log, &w, &ok, 1, &why), &why);
    sealed_close(&log);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 2);
    CHECK_OK(read_item(t, log, ALIAS_A, &items[0], &place.a, &got, &why), &why);
    CHECK_SLICE(LIT("to the pair"), got);
    CHECK_OK(read_item(t, log, ALIAS_A, &items[1], &place.a, &got, &why), &why);
    CHECK_SLICE(LIT("owned"), got);
    CHECK_FAULT(FAULT_CORRUPT, read_item(t, log, ALIAS_A, &items[1], &place.b, &got, &why), &why);
    change_byte(place.folder, (off_t)items[1].offset + SEALED_HEAD_BYTES - SEALED_STREAM - SEALED_BOX + 30, 1);
    CHECK_FAULT(FAULT_CORRUPT, read_item(t, log, ALIAS_A, &items[1], &place.a, &got, &why), &why);
    place_remove(&place);
}

/* As a kill leaves it: what was flushed stays forgotten, what was not comes again and is recognised by the mailbox. */
TEST(sealed, forgotten_is_written_with_the_next_commit)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    AUTO(sealed_close) struct sealed_log *after = NULL;
    struct sealed_item *items;
    struct fault why;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    for (char i = 0; i < 4; i++)
        put(t, log, ALIAS_A, &place.a, body_of(t, 100), i);
    REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 4);
    sealed_forget(log, ALIAS_A, items, 1);
    put(t, log, ALIAS_B, &place.b, LIT("the next"), 9);
    sealed_forget(log, ALIAS_A, items + 1, 1);
    sealed_flush(log);
    sealed_forget(log, ALIAS_A, items + 2, 1);
    CHECK_INT(1, sealed_count(log, ALIAS_A));
    REQUIRE_OK(sealed_open(place.folder, &after, &why), &why);
    CHECK_INT(2, sealed_count(after, ALIAS_A));
    CHECK_INT(0, sealed_damaged_count(after));
    place_remove(&place);
}

TEST(sealed, forgotten_items_stay_forgotten_and_segments_go)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items;
    struct fault why;
    char path[128];
    size_t n;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    for (char i = 0; i < 10; i++)
        put(t, log, ALIAS_A, &place.a, body_of(t, i == 5 ? 400000 : 100), i);
    n = sealed_list(log, ALIAS_A, t->arena, 7, &items);
    sealed_forget(log, ALIAS_A, items, n);
    CHECK_INT(3, sealed_count(log, ALIAS_A));
    sealed_close(&log);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    CHECK_INT(3, sealed_count(log, ALIAS_A));
    n = sealed_list(log, ALIAS_A, t->arena, 7, &items);
    sealed_forget(log, ALIAS_A, items, n);
    CHECK_INT(0, sealed_bytes(log, ALIAS_A));
    (void)snprintf(path, sizeof(path), "%s/log-0000000001", place.folder);
    CHECK(access(path, F_OK) < 0);
    place_remove(&place);
}

/* The segment with the purge's records goes empty while the purged items' segment stays: they must not come back. */
TEST(sealed, purged_items_never_come_back)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items;
    struct fault why;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    put(t, log, ALIAS_B, &place.b, LIT("stays"), 1);
    put(t, log, ALIAS_A, &place.a, LIT("goes"), 2);
    put(t, log, ALIAS_A, &place.a, body_of(t, 400000), 3);
    for (int restart = 0; restart < 4; restart++) {
        sealed_close(&log);
        REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
        CHECK_ROW(restart, sealed_count(log, ALIAS_A) == (restart == 0 ? 2 : 0));
        CHECK_ROW(restart, sealed_count(log, ALIAS_B) == 1);
        REQUIRE_OK(sealed_purge(log, ALIAS_A, &why), &why);
        CHECK_ROW(restart, sealed_count(log, ALIAS_A) == 0 && sealed_bytes(log, ALIAS_A) == 0);
        put(t, log, ALIAS_A, &place.a, LIT("a segment to itself"), 4);
        REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 1);
        sealed_forget(log, ALIAS_A, items, 1);
    }
    place_remove(&place);
}

TEST(sealed, short_writer_fails_alone)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_writer *w[2] = { NULL, NULL };
    struct sealed_meta meta = { .alias_id = ALIAS_A, .mark = LIT("0123456789abcdef0123456789abcdef"), .size_bytes = 10 };
    bool ok[2];
    struct fault why;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    meta.public_key = slice_make(place.a.public_key, 32);
    REQUIRE_OK(sealed_write_begin(log, &meta, &w[0], &why), &why);
    w[1] = writer_of(t, log, ALIAS_B, &place.b, LIT("whole"), 2);
    CHECK_OK(sealed_commit(log, w, ok, 2, &why), &why);
    CHECK(!ok[0] && ok[1] && w[0] == NULL && w[1] == NULL);
    CHECK_INT(0, sealed_count(log, ALIAS_A));
    CHECK_INT(1, sealed_count(log, ALIAS_B));
    place_remove(&place);
}

TEST(sealed, quarantine_keeps_the_bytes)
{
    struct place place;
    AUTO(sealed_close) struct sealed_log *log = NULL;
    struct sealed_item *items;
    struct fault why;
    char path[160];
    struct stat st;

    place_make(&place);
    REQUIRE_OK(sealed_open(place.folder, &log, &why), &why);
    put(t, log, ALIAS_A, &place.a, body_of(t, 400000), 1);
    REQUIRE(sealed_list(log, ALIAS_A, t->arena, 9, &items) == 1);
    REQUIRE_OK(sealed_quarantine(log, ALIAS_A, &items[0], &why), &why);
    CHECK_INT(0, sealed_count(log, ALIAS_A));
    (void)snprintf(path, sizeof(path), "%s/quarantine/%s.body", place.folder, sealed_item_name(&items[0].id).s);
    CHECK(stat(path, &st) == 0 && st.st_size > 400000);
    place_remove(&place);
}

TEST(sealed, padding_hides_the_size)
{
    CHECK_INT(256, sealed_padded(1));
    for (uint64_t n = 256; n < 200000; n = n * 9 / 8 + 1)
        CHECK_ROW(n, sealed_padded(n) >= n && sealed_padded(n) <= n + n / 8);
    CHECK_INT(sealed_padded(10001), sealed_padded(10002));
}
