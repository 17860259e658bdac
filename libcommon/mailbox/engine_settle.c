/* engine_settle.c - what a predecessor left in a log, made certain: written once more as it reads, and synced.
 *
 * Owns nothing. Called when a file is opened, by engine_recover and by the sealed log. Fails with FAULT_IO, FAULT_DISK_FULL (file
 * systems that never overwrite). Blocks on the disk, never suspends.
 *
 * A process may die between a sync that failed and what it would have done about it. The kernel has then marked the pages clean
 * and goes on showing them, and a later fsync succeeds without writing them: a mark found in such a page would make a delivery
 * "stored before" that is stored nowhere. Writing the same bytes again costs nothing in meaning and makes them dirty again.
 */
#include "mailbox/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 18)

static int write_block(int fd, const char *p, size_t n, off_t at, struct fault *why)
{
    while (n > 0) {
        ssize_t done = pwrite(fd, p, n, at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fault_errno(why, errno, "write a log anew");
        p += done;
        n -= (size_t)done;
        at += done;
    }
    return 0;
}

static int copy_all(int from, int to, char *block, struct fault *why)
{
    off_t at = 0;
    ssize_t n;

    while ((n = pread(from, block, BLOCK_BYTES, at)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault_errno(why, errno, "read a log");
        if (write_block(to, block, (size_t)n, at, why) < 0)
            return -1;
        at += n;
    }
    return fdatasync(to) < 0 ? fault_errno(why, errno, "sync a log") : 0;
}

int file_rewrite(int fd, struct fault *why)
{
    char *block = malloc(BLOCK_BYTES);
    int r;

    if (block == NULL)
        abort();
    r = copy_all(fd, fd, block, why);
    free(block);
    return r;
}

int file_copy(const char *path, const char *copy, struct fault *why)
{
    int from = open(path, O_RDONLY | O_CLOEXEC), to = -1, r = -1;
    char *block = malloc(BLOCK_BYTES);

    if (block == NULL)
        abort();
    if (from >= 0)
        to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0)
        (void)fault_errno(why, errno, "copy a log");
    else
        r = copy_all(from, to, block, why);
    free(block);
    if (from >= 0)
        (void)close(from);
    if (to >= 0)
        (void)close(to);
    return r;
}

int log_settle(const char *path, struct fault *why)
{
    char name[4200];
    int fd, r;

    if ((size_t)snprintf(name, sizeof(name), "%s-wal", path) >= sizeof(name))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fault_errno(why, errno, "mailbox log");
    r = file_rewrite(fd, why);
    (void)close(fd);
    return r;
}
