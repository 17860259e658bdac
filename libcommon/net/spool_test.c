/* spool_test.c - what was appended comes back, from memory and from the file, and the file shows nothing of it. */
#include <fcntl.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/test.h"
#include "net/spool.h"
#include "rt/loop.h"

static char byte_at(uint64_t i)
{
    return (char)(i * 2654435761U >> 7);
}

static void append_pattern(struct test *t, struct spool *s, uint64_t size, size_t step)
{
    char *block = arena_alloc(t->arena, step);
    struct fault why;

    for (uint64_t at = 0; at < size;) {
        size_t n = size - at < step ? (size_t)(size - at) : step;

        for (size_t i = 0; i < n; i++)
            block[i] = byte_at(at + i);
        REQUIRE_OK(spool_append(s, slice_make(block, n), &why), &why);
        at += n;
    }
}

static void check_read(struct test *t, size_t row, const struct spool *s, uint64_t from)
{
    AUTO(spool_reader_free) struct spool_reader *r = spool_reader_new(s, from);
    struct slice piece;
    struct fault why;
    uint64_t at = from;
    int more;

    while ((more = spool_reader_next(r, &piece, &why)) > 0) {
        for (size_t i = 0; i < piece.n; i++)
            if (piece.p[i] != byte_at(at + i)) {
                test_fail(t, __FILE__, __LINE__, "row %zu: differs at %llu", row, (unsigned long long)(at + i));
                return;
            }
        at += piece.n;
    }
    CHECK_ROW(row, more == 0 && at == spool_size_bytes(s));
}

static const struct {
    uint64_t size;
    size_t step;
    bool memory;
} rows[] = {
    {0, 1, true},
    {1000, 7, true},
    {SPOOL_MEMORY_BYTES, 65536, true},
    {SPOOL_MEMORY_BYTES + 1, 65536, false},
    {3 * SPOOL_MEMORY_BYTES, 100000, false},
    {3 * SPOOL_MEMORY_BYTES + 12345, 4099, false},
};

static void roundtrip_fiber(void *arg)
{
    struct test *t = arg;
    AUTO(spool_dir_close) struct spool_dir *d = NULL;
    struct fault why;

    REQUIRE_OK(spool_dir_open("/tmp", &d, &why), &why);
    for (size_t i = 0; i < COUNT(rows); i++) {
        AUTO(spool_free) struct spool *s = spool_new(d);

        append_pattern(t, s, rows[i].size, rows[i].step);
        CHECK_ROW(i, spool_is_in_memory(s) == rows[i].memory && spool_size_bytes(s) == rows[i].size);
        check_read(t, i, s, 0);
        check_read(t, i, s, rows[i].size / 2);
        check_read(t, i, s, rows[i].size);
    }
}

TEST(spool, gives_back_what_it_took)
{
    loop_run_fiber(roundtrip_fiber, t);
}

static void digest_fiber(void *arg)
{
    struct test *t = arg;
    AUTO(spool_dir_close) struct spool_dir *d = NULL;
    AUTO(spool_free) struct spool *s = NULL;
    struct fault why;
    unsigned char want[32], got[32];

    REQUIRE_OK(spool_dir_open("/tmp", &d, &why), &why);
    s = spool_new(d);
    REQUIRE_OK(spool_append(s, LIT("ab"), &why), &why);
    REQUIRE_OK(spool_append(s, LIT("c"), &why), &why);
    sha256(LIT("abc"), want);
    spool_sha256(s, got);
    CHECK(memcmp(want, got, 32) == 0);
    REQUIRE_OK(spool_append(s, LIT("d"), &why), &why);
    sha256(LIT("abcd"), want);
    spool_sha256(s, got);
    CHECK(memcmp(want, got, 32) == 0);
}

TEST(spool, digests_on_the_fly)
{
    loop_run_fiber(digest_fiber, t);
}

TEST(spool, names_a_folder_that_is_none)
{
    struct spool_dir *d = NULL;
    struct fault why;

    CHECK_FAULT(FAULT_NOT_FOUND, spool_dir_open("/nowhere/at/all", &d, &why), &why);
}
