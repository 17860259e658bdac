/* embedded_test.c - what only the embedded engine has: its key, what the disk shows, other
 * processes' locks. */
#include "store/store_testing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rt/loop.h"
#include "store/embedded_internal.h"

#define UNTIL deadline_in_ms(20000)
#define MARKER "plainly-readable-on-disk"

struct attempt {
    struct test *t;
    const char *uri, *key_file;
    enum fault_code want;
};

static void try_open(void *arg)
{
    struct attempt *a = arg;
    struct test *t = a->t;
    const struct store_options options = {.uri = a->uri, .key_file = a->key_file};
    struct store *st = NULL;
    struct fault why;

    if (a->want != FAULT_NONE)
        CHECK_FAULT(a->want, store_open(&options, &st, &why), &why);
    else
        CHECK_OK(store_open(&options, &st, &why), &why);
    store_close(&st);
}

static void body_nothing(UNUSED struct scene *s)
{
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
        abort();
    (void)close(fd);
}

TEST(store_embedded, wants_its_own_key)
{
    static const char other[] =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    struct slice uri, right, wrong;
    struct stat st;

    if (!scene_is_embedded())
        return;
    scene_fresh();
    scene_run(t, body_nothing, NULL);
    uri = arena_printf(t->arena, "embedded:%s", scene_path());
    right = arena_printf(t->arena, "%.*s/key", (int)(slice_rfind_char(slice_of(scene_path()), '/')),
                         scene_path());
    wrong = arena_printf(t->arena, "%.*s2", SLICE(right));
    CHECK(stat(right.p, &st) == 0 && (st.st_mode & 0777) == 0600);

    const struct attempt row[] = {
        {t, uri.p, right.p, FAULT_NONE},
        {t, uri.p, wrong.p, FAULT_INVALID}, /* missing, but the store exists */
        {t, "embedded:relative", right.p, FAULT_INVALID},
        {t, "postgres://x", right.p, FAULT_INVALID},
        {t, "embedded:/nowhere/at/all", right.p, FAULT_NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT(row); i++)
        loop_run_fiber(try_open, (void *)(uintptr_t)&row[i]);
    write_file(wrong.p, other, 0600);
    loop_run_fiber(try_open, &(struct attempt){t, uri.p, wrong.p, FAULT_CORRUPT});
    write_file(wrong.p, other, 0640);
    loop_run_fiber(try_open, &(struct attempt){t, uri.p, wrong.p, FAULT_INVALID});
    write_file(wrong.p, "short\n", 0600);
    loop_run_fiber(try_open, &(struct attempt){t, uri.p, wrong.p, FAULT_INVALID});
}

static void body_marker(struct scene *s)
{
    AUTO(json_release) json_t *doc = json_pack("{s:s}", "email", MARKER);
    struct store_blob *b = store_blob_new(s->st);
    struct test *t = s->t;
    struct fault why;

    CHECK_OK(store_blob_write(b, LIT(MARKER), &why), &why);
    CHECK_OK(store_blob_insert(&b, USERS, doc, UNTIL, &why), &why);
    log_doc_add(s->st, &(struct log_doc){.message = LIT(MARKER)});
    CHECK_OK(store_log_flush(s->st, UNTIL, &why), &why);
    for (size_t i = 0; i < 4; i++) {
        static const char *const suffix[] = {"", "-wal", "-logs", "-logs-wal"};
        struct slice path = arena_printf(s->in, "%s%s", scene_path(), suffix[i]);
        size_t size = 4 << 20;
        char *bytes = calloc(1, size);
        int fd = open(path.p, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, bytes, size);

        CHECK_ROW(i, n >= 0);
        CHECK_ROW(i, slice_find(slice_make(bytes, n > 0 ? (size_t)n : 0), LIT(MARKER)) < 0);
        (void)close(fd);
        free(bytes);
    }
}

TEST(store_embedded, keeps_nothing_readable_on_disk)
{
    if (!scene_is_embedded())
        return;
    scene_fresh();
    scene_run(t, body_marker, NULL);
}

/* Another process in the middle of a transaction: we wait for it, up to our own deadline. */
static void body_locked(struct scene *s)
{
    AUTO(json_release) json_t *doc = json_pack("{s:s}", "email", "x@y"), *found = NULL;
    struct emb_file other = {.path = (char *)(uintptr_t)scene_path()};
    struct emb_conn c = {0};
    struct test *t = s->t;
    struct slice key_file = arena_printf(
        s->in, "%.*s/key", (int)slice_rfind_char(slice_of(scene_path()), '/'), scene_path());
    struct fault why;

    REQUIRE_OK(emb_key_load(key_file.p, true, &other.key, &why), &why);
    REQUIRE_OK(emb_conn_open(&other, &c, &why), &why);
    REQUIRE_OK(emb_exec(&c, "BEGIN IMMEDIATE", &why), &why);
    CHECK_FAULT(FAULT_TIMEOUT, store_insert(s->st, USERS, doc, deadline_in_ms(50), &why), &why);
    CHECK_OK(store_find(s->st, USERS, NULL, NULL, UNTIL, &found, &why),
             &why); /* readers do not wait */
    CHECK_INT(0, json_array_size(found));
    REQUIRE_OK(emb_exec(&c, "COMMIT", &why), &why);
    emb_conn_close(&c);
    secret_unref(&other.key);
    /* given up, but not taken back: it is written now, or was already */
    CHECK_FAULT(FAULT_EXISTS, store_insert(s->st, USERS, doc, UNTIL, &why), &why);
}

TEST(store_embedded, waits_for_other_processes)
{
    if (!scene_is_embedded())
        return;
    scene_fresh();
    scene_run(t, body_locked, NULL);
}
