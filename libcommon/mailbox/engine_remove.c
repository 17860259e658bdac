/* engine_remove.c - the end of a mailbox file: it and everything beside it goes, durably, and never comes back half.
 *
 * Owns nothing. Called by fe-sqlite, which holds no handle on the file then. Fails with FAULT_IO. Never suspends.
 *
 * The file gets another name first (the tombstone), in one rename that is made durable: from then on no open finds it. Only then its
 * write-ahead log goes: the other way round a kill would leave a mailbox without its newest mail. The tombstone goes last; as long
 * as it is there, the work is to be finished.
 */
#include "mailbox/engine_internal.h"

#include <errno.h>
#include <unistd.h>

static bool name_with(char out[4200], const char *path, const char *suffix)
{
    return (size_t)snprintf(out, 4200, "%s%s", path, suffix) < 4200;
}

static int unlink_if_there(const char *path, const char *suffix, struct fault *why)
{
    char name[4200];

    if (!name_with(name, path, suffix))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    if (unlink(name) < 0 && errno != ENOENT)
        return fault_errno(why, errno, "remove a mailbox file");
    return 0;
}

int engine_remove_begin(const char *path, struct fault *why)
{
    static const char *const beside[] = {
        "-wal", "-wal-damaged", "-shm", "-journal", ".new", ".new-wal", ".new-shm", ".new-journal", ".rekey", ".rekey-wal", ".rekey-shm", ".rekey-journal",
    };
    char tombstone[4200];

    if (!name_with(tombstone, path, ENGINE_TOMBSTONE))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    if (rename(path, tombstone) < 0 && errno != ENOENT)
        return fault_errno(why, errno, "rename a mailbox to be removed");
    engine_step("remove: renamed");
    if (directory_sync(path, why) < 0)
        return -1;
    engine_step("remove: the rename is durable");
    for (size_t i = 0; i < COUNT(beside); i++)
        if (unlink_if_there(path, beside[i], why) < 0)
            return -1;
    engine_step("remove: only the tombstone is left");
    return directory_sync(path, why);
}

int engine_remove_end(const char *path, struct fault *why)
{
    if (unlink_if_there(path, ENGINE_TOMBSTONE, why) < 0)
        return -1;
    return directory_sync(path, why);
}

bool engine_remove_is_begun(const char *path)
{
    char tombstone[4200];

    return name_with(tombstone, path, ENGINE_TOMBSTONE) && access(tombstone, F_OK) == 0;
}
