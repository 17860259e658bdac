/* engine_util_test.c - the mailbox in a temporary folder that the engine's tests work on. */
#include "mailbox/engine_test_util.h"

#include <dirent.h>
#include <unistd.h>

static const char wraps[] = "[\"one\",\"two\"]";

bool box_new(struct test *t, struct box *b)
{
    unsigned char key[32];
    struct fault why = { 0 };

    fault_vfs_register();
    random_bytes(key, sizeof(key));
    memset(b, 0, sizeof(*b));
    (void)snprintf(b->folder, sizeof(b->folder), "/tmp/fe-engine-XXXXXX");
    if (!mkdtemp(b->folder))
        return false;
    (void)snprintf(b->path, sizeof(b->path), "%s/box.sqlite", b->folder);
    b->key = secret_new(slice_make(key, sizeof(key)));
    if (engine_create(b->path, b->key, slice_make(key, 32), slice_of(wraps),
                      &(struct engine_options){ .vfs = FAULT_VFS }, &b->e, &why) < 0) {
        test_fail(t, __FILE__, __LINE__, "create: %s", why.text);
        return false;
    }
    return true;
}

static void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        char path[400];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.'))
            continue;
        if (entry->d_type == DT_DIR)
            remove_folder(path);
        else
            (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(folder);
}

void box_free(struct box *b)
{
    fault_vfs_arm(FAULT_NOTHING, 0);
    engine_close(&b->e);
    secret_unref(&b->key);
    if (b->folder[0])
        remove_folder(b->folder);
}

bool box_reopen(struct test *t, struct box *b)
{
    struct fault why = { 0 };

    engine_close(&b->e);
    if (engine_open(b->path, b->key, &(struct engine_options){ .vfs = FAULT_VFS }, &b->e, &why) < 0) {
        test_fail(t, __FILE__, __LINE__, "open: %s: %s", fault_code_name(why.code), why.text);
        return false;
    }
    return true;
}

uint32_t box_append(struct test *t, struct box *b, const char *path, struct slice text, uint32_t flags)
{
    AUTO(engine_body_free) struct engine_body *body = NULL;
    struct mailbox_appended out = { 0 };
    struct fault why = { 0 };

    if (engine_body_make(b->e, text, &body, &why) < 0 ||
        engine_append(b->e, slice_of(path),
                      &(struct engine_message){ .body = body, .flags = flags, .internal_ms = 1700000000000 }, 1,
                      t->arena, &out, &why) < 0) {
        test_fail(t, __FILE__, __LINE__, "append: %s: %s", fault_code_name(why.code), why.text);
        return 0;
    }
    return out.uids.ranges[0].first;
}

uint64_t box_folder(struct test *t, struct box *b, const char *path)
{
    struct mailbox_folder f;
    struct fault why = { 0 };

    return engine_get_folder(b->e, slice_of(path), t->arena, &f, &why) < 0 ? 0 : f.id;
}

struct slice message_text(struct arena *a, const char *subject, const char *body)
{
    return arena_printf(a, "From: Jane <jane@example.test>\r\nTo: joe@example.test\r\nSubject: %s\r\n"
                           "Date: Tue, 24 Nov 2026 23:18:31 -0500\r\nMessage-ID: <1@example.test>\r\n\r\n%s\r\n",
                        subject, body);
}

struct slice box_read(struct test *t, struct box *b, const char *path, uint32_t uid, const struct mailbox_section *s)
{
    AUTO(engine_fetch_end) struct engine_fetch *f = NULL;
    struct buf all = BUF_INIT((size_t)64 << 20);
    struct mailbox_fetched out;
    struct fault why = { 0 };
    struct slice piece, result = SLICE_NONE;

    if (engine_fetch_begin(b->e, box_folder(t, b, path), uid_set_make(t->arena, uid, uid), 0, s, 1, &f, &why) < 0 ||
        engine_fetch_next(f, t->arena, &out, &why) != 1) {
        test_fail(t, __FILE__, __LINE__, "fetch %u: %s", uid, why.text);
        return SLICE_NONE;
    }
    if (!out.sections[0].exists)
        return SLICE_NONE;
    do {
        if (engine_fetch_read(f, &piece, &why) < 0)
            test_fail(t, __FILE__, __LINE__, "read %u: %s", uid, why.text);
        (void)buf_append(&all, piece);
    } while (piece.n);
    if (all.n != out.sections[0].bytes)
        test_fail(t, __FILE__, __LINE__, "announced %llu bytes, gave %zu", (unsigned long long)out.sections[0].bytes,
                  all.n);
    result = arena_copy(t->arena, buf_slice(&all));
    buf_free(&all);
    return result;
}

bool box_verify(struct test *t, struct box *b)
{
    struct fault why = { 0 };
    struct slice report;

    if (engine_verify(b->e, t->arena, &report, &why) >= 0)
        return true;
    test_fail(t, __FILE__, __LINE__, "verify: %s\n%.*s", why.text, SLICE(report));
    return false;
}

struct uid_set uids_of(struct test *t, const char *text)
{
    struct uid_set set = UID_SET_EMPTY;

    if (!uid_set_parse(slice_of(text), UINT32_MAX, t->arena, &set))
        test_fail(t, __FILE__, __LINE__, "bad set %s", text);
    return set;
}
