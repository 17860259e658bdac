/* slot.c - who this runner is: the first free slot, a file with an identity in it, locked for as long as the process lives.
 *
 * Owns      one locked file descriptor, never closed. Called once at start. Fails with what the file system says; the runner then
 *           works under a name of its own and what it claims waits for the end of its lease when it dies. Does not suspend.
 *
 * The kernel drops the lock when the process is dead and not a moment before, and gives it to one process only. So whoever holds a
 * slot knows that everything leased under its identity belongs to nobody alive, however many runners there are and however they
 * are called; two at once have two slots. That holds for one kernel: beside the embedded store, which cannot be on two machines,
 * the identity is enough; for a folder that was named in the settings the boot's id is part of it, lest a copy of the disk
 * started elsewhere takes this machine's mail.
 */
#include "bree.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"

#define SLOTS_MAX   64                 /* runners at once; more go without one */
#define ID_BYTES    8
#define ID_HEX      ((size_t)2 * ID_BYTES)
#define BOOT_ID     "/proc/sys/kernel/random/boot_id"

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* Daemons start as root and become somebody else: the next start may be that somebody's. */
static void give_to_owner(int fd, const char *path, struct arena *in)
{
    struct stat folder;

    if (geteuid() == 0 && stat(dirname(arena_cstr(in, slice_of(path))), &folder) == 0 && folder.st_uid != 0)
        ignore_result(fchown(fd, folder.st_uid, folder.st_gid));
}

/* 1: ours, 0: another runner has it. */
static int slot_lock(const char *folder, unsigned number, struct arena *in, int *out, struct fault *why)
{
    const char *path = arena_cstr(in, arena_printf(in, "%s/queue-runner-%u", folder, number));
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return fault_errno(why, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 0 : fault_errno(why, errno, "lock %s", path);
    give_to_owner(fd, path, in);
    *out = fd;
    fd = -1;
    return 1;
}

/* The identity in the file, made by whoever locks it first. A torn one is replaced: nothing was leased under the new one. */
static int slot_identity(int fd, struct arena *in, struct slice *out, struct fault *why)
{
    char text[ID_HEX];
    unsigned char id[ID_BYTES];
    ssize_t n = pread(fd, text, ID_HEX, 0);

    if (n == (ssize_t)ID_HEX && hex_decode(slice_make(text, ID_HEX), id, ID_BYTES)) {
        *out = arena_copy(in, slice_make(text, ID_HEX));
        return 0;
    }
    random_bytes(id, ID_BYTES);
    *out = hex_encode(in, slice_make(id, ID_BYTES));
    if (pwrite(fd, out->p, ID_HEX, 0) != (ssize_t)ID_HEX || fdatasync(fd) < 0)
        return fault_errno(why, errno, "write the runner's identity");
    return 0;
}

static struct slice boot_id(struct arena *in)
{
    AUTO(fd_close) int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    char text[8];

    return fd >= 0 && read(fd, text, sizeof(text)) == sizeof(text) ? arena_copy(in, slice_make(text, sizeof(text))) : SLICE_NONE;
}

int slot_take(struct slice store_uri, const char *folder, struct arena *in, struct slice *identity, struct fault *why)
{
    bool embedded = folder[0] == '\0' && slice_has_prefix(store_uri, LIT("embedded:"));
    struct slice boot;
    int fd = -1, r = 0;

    if (!embedded && folder[0] == '\0')
        return 0;
    if (embedded)
        folder = dirname(arena_cstr(in, slice_tail(store_uri, sizeof("embedded:") - 1)));
    for (unsigned i = 0; i < SLOTS_MAX && r == 0; i++)
        r = slot_lock(folder, i, in, &fd, why);
    if (r <= 0)
        return r;
    if (slot_identity(fd, in, identity, why) < 0) {
        fd_close(&fd);
        return -1;
    }
    boot = embedded ? SLICE_NONE : boot_id(in);
    if (!embedded && boot.n == 0) {
        fd_close(&fd);
        return fault_set(why, FAULT_NOT_FOUND, "no " BOOT_ID);
    }
    if (!embedded)
        *identity = arena_printf(in, "%.*s-%.*s", SLICE(*identity), SLICE(boot));
    return 1;                          /* fd stays open: the lock is the process's life */
}
