/* store_blob_test.c - blobs: what went in comes out, in pieces, with flat memory; nothing
 * half-written is ever seen. */
#include "store/store_testing.h"

#include <unistd.h>

#define UNTIL deadline_in_ms(60000)

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, ignored;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL || fscanf(f, "%lu %lu", &ignored, &pages) != 2)
        pages = 0;
    if (f != NULL)
        (void)fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void fill_piece(unsigned char *p, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)((at + i) * 2654435761u >> 13);
}

static int write_blob(struct scene *s, uint64_t size, size_t step, char id[25])
{
    AUTO(store_blob_abort) struct store_blob *b = store_blob_new(s->st);
    unsigned char piece[8192];
    struct test *t = s->t;
    struct fault why;
    int r = 0;

    (void)snprintf(id, 25, "%s", store_blob_id(b));
    for (uint64_t at = 0; at < size && r == 0;) {
        size_t n = size - at < step ? (size_t)(size - at) : step;

        fill_piece(piece, n, at);
        r = store_blob_write(b, slice_make(piece, n), &why);
        at += n;
    }
    if (r == 0)
        r = store_blob_commit(&b, UNTIL, &why);
    CHECK_OK(r, &why);
    return r;
}

static void check_blob(struct scene *s, const char *id, uint64_t size)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    struct slice piece = SLICE_NONE;
    struct test *t = s->t;
    uint64_t told = 0, at = 0;
    struct fault why;

    REQUIRE_OK(store_blob_open(s->st, slice_of(id), UNTIL, &r, &told, &why), &why);
    CHECK_INT(size, told);
    for (;;) {
        REQUIRE_OK(store_blob_read(r, UNTIL, &piece, &why), &why);
        if (piece.n == 0)
            break;
        for (size_t i = 0; i < piece.n; i++)
            if ((unsigned char)piece.p[i] != (unsigned char)((at + i) * 2654435761u >> 13)) {
                test_fail(t, __FILE__, __LINE__, "byte %llu differs", (unsigned long long)(at + i));
                return;
            }
        at += piece.n;
    }
    CHECK_INT(size, at);
}

static void body_sizes(struct scene *s)
{
    static const uint64_t sizes[] = {0, 1, 131071, 131072, 131073, 262144, 262145, 1000000};
    struct test *t = s->t;
    struct fault why;
    char id[25];

    for (size_t i = 0; i < COUNT(sizes); i++) {
        if (write_blob(s, sizes[i], 8000, id) < 0)
            return;
        check_blob(s, id, sizes[i]);
        CHECK_OK(store_blob_remove(s->st, slice_of(id), UNTIL, &why), &why);
        CHECK_OK(store_blob_remove(s->st, slice_of(id), UNTIL, &why), &why);
    }
}

TEST(store_blob, sizes_around_chunks)
{
    scene_fresh();
    scene_run(t, body_sizes, NULL);
}

static void body_large(struct scene *s)
{
    UNUSED struct test *t = s->t; /* the figure below means nothing under ASan */
    uint64_t before;
    char id[25];

    if (write_blob(s, 3 << 20, 8192, id) < 0) /* warms the engine's own caches */
        return;
    check_blob(s, id, 3 << 20);
    before = resident_bytes();
    if (write_blob(s, 20 << 20, 8192, id) < 0)
        return;
    check_blob(s, id, 20 << 20);
#ifndef __SANITIZE_ADDRESS__
    CHECK(resident_bytes() < before + (6 << 20));
#else
    (void)before;
#endif
}

TEST(store_blob, twenty_megabytes_in_flat_memory)
{
    scene_fresh();
    scene_run(t, body_large, NULL);
}

static void body_visible(struct scene *s)
{
    AUTO(json_release)
    json_t *list = NULL,
           *doc = json_pack("{s:s}", "email", "x@y"), *twin = json_pack("{s:s}", "email", "x@y");
    struct store_blob *b = store_blob_new(s->st);
    static const unsigned char piece[300000] = {1};
    struct store_reader *r = NULL;
    struct test *t = s->t;
    struct fault why;
    char id[25];

    (void)snprintf(id, sizeof(id), "%s", store_blob_id(b));
    REQUIRE_OK(store_blob_write(b, slice_make(piece, sizeof(piece)), &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, store_blob_open(s->st, slice_of(id), UNTIL, &r, NULL, &why), &why);
    REQUIRE_OK(store_blob_list(s->st, SLICE_NONE, UNTIL, &list, &why), &why);
    CHECK_INT(0, json_array_size(list));
    REQUIRE_OK(store_blob_insert(&b, USERS, doc, UNTIL, &why), &why);
    CHECK(b == NULL);
    REQUIRE_OK(store_blob_open(s->st, slice_of(id), UNTIL, &r, NULL, &why), &why);
    store_blob_close(&r);

    b = store_blob_new(s->st); /* the document is refused: so is its blob */
    REQUIRE_OK(store_blob_write(b, LIT("small"), &why), &why);
    CHECK_FAULT(FAULT_EXISTS, store_blob_insert(&b, USERS, twin, UNTIL, &why), &why);
    json_release(&list);
    REQUIRE_OK(store_blob_list(s->st, SLICE_NONE, UNTIL, &list, &why), &why);
    CHECK_INT(1, json_array_size(list));
    CHECK_SLICE(slice_of(id), slice_of(json_string_value(json_array_get(list, 0))));
    json_release(&list);
    REQUIRE_OK(store_blob_list(s->st, slice_of(id), UNTIL, &list, &why), &why);
    CHECK_INT(0, json_array_size(list));
}

TEST(store_blob, appears_whole_or_not_at_all)
{
    scene_fresh();
    scene_run(t, body_visible, NULL);
}
