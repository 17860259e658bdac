/* store_process_test.c - several processes on one store: claims, unique races, and being killed at
 * any moment.
 *
 * The test program starts itself again as `store_child`; children report ids on file descriptor 3.
 */
#include "store/store_testing.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/map.h"

#define UNTIL deadline_in_ms(60000)
#define CHILDREN 4
#define DOCUMENTS 240

/* ---- what children do ----------------------------------------------------------------------- */

static void report(const char *id)
{
    char line[25];

    (void)snprintf(line, sizeof(line), "%s", id);
    line[24] = '\n';
    if (write(3, line, 25) != 25)
        _exit(1);
}

static void child_claim(struct scene *s)
{
    struct email_doc email;
    struct fault why;

    while (email_claim(s->st, LIT("child"), 600000, s->in, UNTIL, &email, &why) == 0)
        report(email.id);
    if (why.code != FAULT_NOT_FOUND)
        test_fail(s->t, __FILE__, __LINE__, "claim: %s", why.text);
}

static void child_unique(struct scene *s)
{
    struct fault why;

    for (int i = 0; i < 60; i++) {
        AUTO(json_release)
        json_t *doc = json_pack("{s:o}", "email", json_sprintf("user%d@example.test", i));

        if (store_insert(s->st, USERS, doc, UNTIL, &why) == 0)
            report(json_string_value(json_object_get(doc, "_id")));
        else if (why.code != FAULT_EXISTS)
            test_fail(s->t, __FILE__, __LINE__, "insert: %s", why.text);
    }
}

#define WRAPS_ALIAS LIT("0123456789abcdef01234567")

/* Until the alias has as many as it may. */
static void child_wraps(struct scene *s)
{
    struct fault why = {.code = FAULT_NONE};

    while (why.code != FAULT_LIMIT) {
        struct object_id id = object_id_new();
        AUTO(json_release) json_t *wrap = json_pack("{s:s}", "id", id.s);

        if (alias_add_wrap(s->st, WRAPS_ALIAS, wrap, SLICE_NONE, 20, UNTIL, &why) == 0)
            report(id.s);
        else if (why.code != FAULT_LIMIT && why.code != FAULT_CONFLICT)
            _exit(1);
    }
}

/* Several fibers, so that groups form. */
static void write_for_ever(void *arg)
{
    struct scene *s = arg;
    struct fault why;

    for (;;) {
        AUTO(json_release) json_t *doc = json_object();
        struct store_blob *b = store_blob_new(s->st);

        (void)json_set_slice(doc, "blob", slice_of(store_blob_id(b)));
        if (store_blob_write(b, LIT("some bytes"), &why) < 0 ||
            store_blob_insert(&b, EMAILS, doc, UNTIL, &why) < 0)
            _exit(1);
        report(json_string_value(json_object_get(doc, "_id")));
    }
}

static void child_write(struct scene *s)
{
    struct fiber_group group;
    struct fault why;

    fiber_group_init(&group);
    for (int i = 0; i < 6; i++)
        if (fiber_group_start(&group, "writer", write_for_ever, s, &why) < 0)
            _exit(1);
    fiber_group_join(&group);
}

TEST(store_child, run)
{
    static const struct {
        const char *name;
        void (*body)(struct scene *s);
    } row[] = {
        {"claim", child_claim},
        {"unique", child_unique},
        {"write", child_write},
        {"wraps", child_wraps},
    };
    const char *name = getenv("FE_TEST_CHILD");

    for (size_t i = 0; name != NULL && i < COUNT(row); i++)
        if (slice_equal(slice_of(name), slice_of(row[i].name)))
            scene_run(t, row[i].body, NULL);
}

/* ---- what the parent sees ------------------------------------------------------------------- */

static void body_queue(struct scene *s)
{
    struct test *t = s->t;
    struct fault why;

    for (int i = 0; i < DOCUMENTS; i++) {
        struct email_recipient to = {.address = LIT("b@example.org")};
        struct email_doc email = {
            .from = LIT("a@example.test"), .recipients = &to, .recipient_count = 1};
        struct store_blob *b = store_blob_new(s->st);

        REQUIRE_OK(email_enqueue(s->st, &email, &b, UNTIL, &why), &why);
    }
}

/* Runs CHILDREN of a kind to their end; all ids they reported. False: one failed. */
static size_t run_children(struct test *t, const char *name, char (*ids)[25], size_t max)
{
    int pids[CHILDREN], fds[CHILDREN], status;
    size_t n = 0;

    for (int i = 0; i < CHILDREN; i++)
        pids[i] = scene_spawn(name, &fds[i]);
    for (int i = 0; i < CHILDREN; i++) {
        n += scene_read_ids(fds[i], ids + n, max - n);
        (void)close(fds[i]);
        CHECK(pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0);
    }
    return n;
}

static size_t count_distinct(char (*ids)[25], size_t n)
{
    AUTO(map_free) struct map *seen = map_new();

    for (size_t i = 0; i < n; i++)
        (void)map_set(seen, slice_of(ids[i]), ids);
    return map_count(seen);
}

TEST(store_process, each_document_is_claimed_once)
{
    static char ids[2 * DOCUMENTS][25];
    size_t n;

    scene_fresh();
    scene_run(t, body_queue, NULL);
    n = run_children(t, "claim", ids, COUNT(ids));
    CHECK_INT(DOCUMENTS, n);
    CHECK_INT(DOCUMENTS, count_distinct(ids, n));
}

TEST(store_process, one_of_many_wins_a_unique_name)
{
    static char ids[CHILDREN * 60 + 1][25];

    scene_fresh();
    CHECK_INT(60, run_children(t, "unique", ids, COUNT(ids)));
}

static void body_alias(struct scene *s)
{
    struct alias_doc a = {.id = "0123456789abcdef01234567", .name = LIT("a")};
    struct test *t = s->t;
    struct fault why;

    CHECK_OK(alias_insert(s->st, &a, UNTIL, &why), &why);
}

static void body_alias_wraps(struct scene *s)
{
    AUTO(json_release) json_t *doc = NULL;
    struct test *t = s->t;
    struct fault why;

    REQUIRE_OK(store_find_one(s->st, ALIASES, store_filter_id(s->in, WRAPS_ALIAS), NULL, UNTIL, &doc, &why), &why);
    CHECK_INT(20, json_array_size(json_object_get(doc, "wraps")));
}

TEST(store_process, an_alias_never_has_a_password_too_many)
{
    static char ids[CHILDREN * 20 + 1][25];

    scene_fresh();
    scene_run(t, body_alias, NULL);
    CHECK_INT(20, run_children(t, "wraps", ids, COUNT(ids)));
    scene_run(t, body_alias_wraps, NULL);
}

struct survivors {
    char (*ids)[25];
    size_t count;
};

static void body_survivors(struct scene *s)
{
    struct survivors *all = s->arg;
    struct test *t = s->t;
    struct fault why;
    size_t lost = 0;

    for (size_t i = 0; i < all->count; i++) {
        AUTO(json_release) json_t *doc = NULL;
        AUTO(store_blob_close) struct store_reader *r = NULL;

        if (store_find_one(s->st, EMAILS, store_filter_id(s->in, slice_of(all->ids[i])), NULL,
                           UNTIL, &doc, &why) < 0 ||
            store_blob_open(s->st, json_get_slice(doc, "blob"), UNTIL, &r, NULL, &why) < 0)
            lost++;
    }
    CHECK_INT(0, lost);
}

TEST(store_process, a_killed_writer_loses_nothing_it_was_told)
{
    static char ids[3000][25];
    struct survivors all = {ids, 0};

    scene_fresh();
    for (int round = 1; round <= 3; round++) {
        int fd, status, pid = scene_spawn("write", &fd);

        REQUIRE(pid > 0);
        all.count += scene_read_ids(fd, ids + all.count, (size_t)(100 * round));
        (void)kill(pid, SIGKILL);
        all.count += scene_read_ids(fd, ids + all.count, COUNT(ids) - all.count);
        (void)close(fd);
        CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    }
    CHECK(all.count >= 600);
    scene_run(t, body_survivors, &all);
}
