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

/* The documents' file as another process has it. False: the test has failed. */
static bool other_open(struct scene *s, struct emb_file *file, struct emb_conn *c)
{
    struct slice key_file = arena_printf(
        s->in, "%.*s/key", (int)slice_rfind_char(slice_of(scene_path()), '/'), scene_path());
    struct test *t = s->t;
    struct fault why;

    *file = (struct emb_file){.path = (char *)(uintptr_t)scene_path()};
    *c = (struct emb_conn){0};
    CHECK_OK(emb_key_load(key_file.p, true, &file->key, &why), &why);
    if (file->key != NULL)
        CHECK_OK(emb_conn_open(file, c, &why), &why);
    return c->db != NULL;
}

static void other_close(struct emb_file *file, struct emb_conn *c)
{
    emb_conn_close(c);
    secret_unref(&file->key);
}

/* Another process in the middle of a transaction: we wait for it, up to our own deadline. */
static void body_locked(struct scene *s)
{
    AUTO(json_release) json_t *doc = json_pack("{s:s}", "email", "x@y"), *found = NULL;
    struct emb_file other;
    struct emb_conn c;
    struct test *t = s->t;
    struct fault why;

    REQUIRE(other_open(s, &other, &c));
    REQUIRE_OK(emb_exec(&c, "BEGIN IMMEDIATE", &why), &why);
    CHECK_FAULT(FAULT_TIMEOUT, store_insert(s->st, USERS, doc, deadline_in_ms(50), &why), &why);
    CHECK_OK(store_find(s->st, USERS, NULL, NULL, UNTIL, &found, &why),
             &why); /* readers do not wait */
    CHECK_INT(0, json_array_size(found));
    REQUIRE_OK(emb_exec(&c, "COMMIT", &why), &why);
    other_close(&other, &c);
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

/* ---- what came while another process had the lock shares one commit --------------------------- */

#define JOINERS 5

struct joiner {
    struct scene *s;
    int number, result;
    struct fault why;
};

static void join_fiber(void *arg)
{
    struct joiner *j = arg;
    AUTO(json_release) json_t *doc =
        json_pack("{s:s}", "email", arena_printf(j->s->in, "%d@y", j->number).p);

    j->result = store_insert(j->s->st, USERS, doc, UNTIL, &j->why);
}

static void body_joined(struct scene *s)
{
    AUTO(json_release) json_t *found = NULL;
    struct emb_file other;
    struct joiner joiners[JOINERS];
    struct fiber_group group;
    struct emb_conn c;
    struct test *t = s->t;
    struct store_stats before, after;
    struct fault why;

    REQUIRE(other_open(s, &other, &c));
    REQUIRE_OK(emb_exec(&c, "BEGIN IMMEDIATE", &why), &why);
    store_get_stats(s->st, &before);
    fiber_group_init(&group);
    for (int i = 0; i < JOINERS; i++) {
        joiners[i] = (struct joiner){.s = s, .number = i, .result = -1};
        REQUIRE_OK(fiber_group_start(&group, "join", join_fiber, &joiners[i], &why), &why);
        fiber_yield(); /* the first is with the engine, waiting for the lock, when the others come */
    }
    REQUIRE_OK(emb_exec(&c, "COMMIT", &why), &why);
    other_close(&other, &c);
    fiber_group_join(&group);
    for (int i = 0; i < JOINERS; i++)
        CHECK_ROW(i, joiners[i].result == 0);
    CHECK_OK(store_find(s->st, USERS, NULL, NULL, UNTIL, &found, &why), &why);
    CHECK_INT(JOINERS, json_array_size(found));
    store_get_stats(s->st, &after);
    CHECK_INT(1, after.groups - before.groups);
}

TEST(store_embedded, writes_that_come_while_another_process_writes_join)
{
    if (!scene_is_embedded())
        return;
    scene_fresh();
    scene_run(t, body_joined, NULL);
}

/* ---- columns of indexed fields --------------------------------------------------------------------- */

static size_t count_with(struct scene *s, const char *field, const char *value)
{
    struct store_filter *f = store_filter_new(s->in);
    struct test *t = s->t;
    uint64_t n = 0;
    struct fault why;

    store_where_text(f, field, STORE_EQ, slice_of(value));
    CHECK_OK(store_count(s->st, USERS, f, UNTIL, &n, &why), &why);
    return (size_t)n;
}

static void body_columns(struct scene *s)
{
    AUTO(json_release) json_t *one = json_pack("{s:s,s:s}", "email", "one@y", "api_token_hash", "h1");
    AUTO(json_release) json_t *two = json_pack("{s:s}", "email", "two@y");
    struct store_update *move = store_update_new(s->in), *clash = store_update_new(s->in), *drop = store_update_new(s->in);
    struct test *t = s->t;
    uint64_t matched;
    struct fault why;

    REQUIRE_OK(store_insert(s->st, USERS, one, UNTIL, &why), &why);
    REQUIRE_OK(store_insert(s->st, USERS, two, UNTIL, &why), &why);
    store_set_text(move, "email", LIT("new@y"));
    store_set_text(clash, "email", LIT("two@y"));
    store_unset(drop, "api_token_hash");
    CHECK_OK(store_update(s->st, USERS, store_filter_id(s->in, json_get_slice(one, "_id")), move, STORE_ONE, UNTIL, &matched, &why), &why);
    CHECK_INT(0, count_with(s, "email", "one@y"));
    CHECK_INT(1, count_with(s, "email", "new@y"));
    CHECK_INT(1, count_with(s, "api_token_hash", "h1"));
    CHECK_FAULT(FAULT_EXISTS, store_update(s->st, USERS, store_filter_id(s->in, json_get_slice(one, "_id")), clash, STORE_ONE, UNTIL, &matched, &why), &why);
    CHECK_INT(1, count_with(s, "email", "new@y"));
    CHECK_OK(store_update(s->st, USERS, store_filter_id(s->in, json_get_slice(one, "_id")), drop, STORE_ONE, UNTIL, &matched, &why), &why);
    CHECK_INT(0, count_with(s, "api_token_hash", "h1"));
}

/* As if the store were older than the index. */
static void body_forget_column(struct scene *s)
{
    struct emb_file other;
    struct emb_conn c;
    struct test *t = s->t;
    struct fault why;

    REQUIRE(other_open(s, &other, &c));
    CHECK_OK(emb_exec(&c, "DROP INDEX \"i_users_u_email\";ALTER TABLE c_users DROP COLUMN k_email", &why), &why);
    other_close(&other, &c);
}

static void body_column_again(struct scene *s)
{
    struct test *t = s->t;

    CHECK_INT(1, count_with(s, "email", "new@y"));
    CHECK_INT(1, count_with(s, "email", "two@y"));
}

TEST(store_embedded, keeps_indexed_fields_in_columns)
{
    if (!scene_is_embedded())
        return;
    scene_fresh();
    scene_run(t, body_columns, NULL);
    scene_run(t, body_forget_column, NULL);
    scene_run(t, body_column_again, NULL);
}
