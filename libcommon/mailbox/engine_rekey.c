/* engine_rekey.c - copies of a mailbox file: under a new key in its place, or under the same key beside it.
 *
 * Owns `<path>.rekey` while it works. Called by fe-sqlite. Killed at any instant, `<path>` opens with the old key or the new one,
 * never with none: the copy is whole and synced before one rename puts it in place, and the old file's log is gone before
 * that, so no old frame is ever replayed onto the new file. A copy left over is removed at the next open. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_sync(const char *path, struct fault *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

    if (fd < 0 || fsync(fd) < 0)
        r = fault_errno(why, errno, "sync the copy of a mailbox");
    if (fd >= 0)
        (void)close(fd);
    return r;
}

/* Pages go through both connections, decrypted by one and encrypted by the other: everything in the header is kept. */
static int copy_pages(struct engine *from, struct engine *to, struct fault *why)
{
    sqlite3_backup *copy = sqlite3_backup_init(to->db, "main", from->db, "main");
    int rc;

    if (!copy)
        return db_fault(to, sqlite3_errcode(to->db), why, "copy of a mailbox");
    do
        rc = sqlite3_backup_step(copy, 256);
    while (rc == SQLITE_OK);
    (void)sqlite3_backup_finish(copy);
    return rc == SQLITE_DONE ? 0 : db_fault(rc == SQLITE_CORRUPT ? from : to, rc, why, "copy of a mailbox");
}

static int check_copy(struct engine *e, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;

    if (db_query(e, &q, why, "PRAGMA cipher_integrity_check") < 0)
        return -1;
    switch (db_step(e, q, why)) {
    case 0: return 0;
    case 1: return fault_set(why, FAULT_CORRUPT, "copy of a mailbox: %.*s", SLICE(db_column(q, 0)));
    default: return -1;
    }
}

static int set_public_key(struct engine *e, struct slice public_key, struct fault *why)
{
    if (public_key.n == 0)
        return 0;
    if (change_begin(e, why) < 0)
        return -1;
    return change_end(e, meta_set(e, "public_key", public_key, why), why);
}

static void remove_copy(const char *path)
{
    static const char *const suffix[] = { "", "-wal", "-shm", "-journal" };
    char name[4200];

    for (size_t i = 0; i < COUNT(suffix); i++)
        if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix[i]) < sizeof(name))
            (void)unlink(name);
}

static bool has_log(const char *path)
{
    char name[4200];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s-wal", path);
    return stat(name, &st) == 0;
}

/* A whole, synced copy of e's file at `to` without a log beside it. */
static int make_copy(struct engine *e, const char *to, const struct secret *key, struct slice public_key,
                     struct fault *why)
{
    const struct engine_options options = { .mode = ENGINE_WRITE, .vfs = e->vfs };
    struct engine *copy = NULL;
    int r;

    if (engine_connect(to, key, &options, true, &copy, why) < 0)
        return -1;
    r = copy_pages(e, copy, why);
    engine_step("copy: pages are there");
    if (r >= 0)
        r = set_public_key(copy, public_key, why);
    if (r >= 0)
        r = check_copy(copy, why);
    engine_close(&copy);
    if (r >= 0 && has_log(to))
        r = fault_set(why, FAULT_IO, "copy of a mailbox did not close");
    return r < 0 ? -1 : file_sync(to, why);
}

static int put_in_place(const char *copy, const char *path, struct fault *why)
{
    if (has_log(path))
        return fault_set(why, FAULT_UNAVAILABLE, "mailbox is open elsewhere");
    engine_step("rekey: before the rename");
    if (rename(copy, path) < 0)
        return fault_errno(why, errno, "rename the copy of a mailbox");
    engine_step("rekey: after the rename");
    return directory_sync(path, why);
}

int engine_rekey(struct engine **ep, const struct secret *new_key, struct slice public_key, struct fault *why)
{
    AUTO(secret_unref) struct secret *old_key = secret_ref((*ep)->data_key);
    const struct engine_options options = { .mode = ENGINE_WRITE, .vfs = (*ep)->vfs, .alone = (*ep)->alone };
    uint64_t quota = (*ep)->quota, outside = (*ep)->outside;
    char copy[4108], path[4096];
    struct fault again;
    int r;

    if ((*ep)->mode != ENGINE_WRITE || (*ep)->level || (*ep)->fetches)
        abort();
    if (!slice_copy_cstr(slice_of((*ep)->path), path, sizeof(path)) ||
        (size_t)snprintf(copy, sizeof(copy), "%s.rekey", path) >= sizeof(copy))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    remove_copy(copy);
    engine_step("rekey: begins");
    r = make_copy(*ep, copy, new_key, public_key, why);
    engine_close(ep);                 /* the last handle takes the log with it */
    if (r >= 0)
        r = put_in_place(copy, path, why);
    if (r < 0)
        remove_copy(copy);
    if (engine_open(path, r < 0 ? old_key : new_key, &options, ep, r < 0 ? &again : why) < 0)
        return -1;
    engine_set_quota(*ep, quota, outside);
    return r;
}

int engine_snapshot(struct engine *e, const char *to, struct fault *why)
{
    int r;

    if (access(to, F_OK) == 0)
        return fault_set(why, FAULT_EXISTS, "there is a file at the place of the snapshot");
    r = make_copy(e, to, e->data_key, SLICE_NONE, why);
    if (r >= 0)
        r = directory_sync(to, why);
    if (r < 0)
        remove_copy(to);
    return r;
}
