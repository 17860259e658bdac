/* faultfs.c - a disk that fails on command: preloaded into a daemon (LD_PRELOAD), it makes writes and syncs fail or fall short.
 *
 * FAULTFS_CONTROL names a file. While that file exists it says, one rule a line, "<call> <what> <pattern>":
 *   call     sync (fsync, fdatasync), write (write, pwrite, writev and their kin, fallocate, ftruncate to a larger size), any
 *   what     EIO, ENOSPC, or short (half of the bytes are written, then EIO: a torn write); for a sync: EIO or ENOSPC
 *   pattern  a part of the path; the first rule whose pattern is in the path decides
 * A failed fdatasync drops nothing by itself: what was written stays readable, as in the page cache of a real kernel.
 * Each fault is counted: a byte is appended to <control>.hits.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { SYNC, WRITE };

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *p, size_t n)
{
    static __typeof__(write) *real;

    if (real == NULL)
        real = (__typeof__(write) *)dlsym(RTLD_NEXT, "write");
    return real(fd, p, n);
}

static void count_hit(const char *control)
{
    char path[512];
    int fd;

    (void)snprintf(path, sizeof(path), "%s.hits", control);
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (real_write(fd, "x", 1) < 0) {
    }
    (void)close(fd);
}

/* 0: nothing is to happen; else an errno, or -1: half of it. */
static int rule_for(const char *control, enum kind kind, const char *path)
{
    char call[8], what[8], pattern[256];
    FILE *f = fopen(control, "re");
    int result = 0;

    if (f == NULL)
        return 0;
    while (result == 0 && fscanf(f, "%7s %7s %255s", call, what, pattern) == 3) {
        bool fits = strcmp(call, "any") == 0 || strcmp(call, kind == SYNC ? "sync" : "write") == 0;

        if (!fits || strstr(path, pattern) == NULL)
            continue;
        result = strcmp(what, "ENOSPC") == 0 ? ENOSPC : strcmp(what, "short") == 0 && kind == WRITE ? -1 : EIO;
    }
    (void)fclose(f);
    return result;
}

static int fault(enum kind kind, int fd)
{
    static const char *control;
    char link[64], path[512];
    int saved = errno, result;
    ssize_t n;

    if (control == NULL)
        control = getenv("FAULTFS_CONTROL");
    if (control == NULL || access(control, F_OK) != 0) {
        errno = saved;
        return 0;
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    result = n < 0 || path[0] != '/' ? 0 : rule_for(control, kind, path);
    if (result != 0)
        count_hit(control);
    errno = saved;
    return result;
}

#define FAIL_SYNC(fd) \
    do { int e_ = fault(SYNC, fd); if (e_ != 0) { errno = e_ > 0 ? e_ : EIO; return -1; } } while (0)

int fsync(int fd) { REAL(fsync); FAIL_SYNC(fd); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL_SYNC(fd); return real(fd); }

/* A short write is a true one: the caller tries the rest, and meets EIO. */
static int write_fault(int fd, size_t *n)
{
    static __thread bool torn;
    int e = fault(WRITE, fd);

    if (e == -1 && !torn && *n > 1) {
        torn = true;
        *n /= 2;
        return 0;
    }
    torn = false;
    if (e == 0)
        return 0;
    errno = e > 0 ? e : EIO;
    return -1;
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fd > 2 && write_fault(fd, &n) < 0 ? -1 : real_write(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    REAL(pwrite);
    return write_fault(fd, &n) < 0 ? -1 : real(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    REAL(pwrite64);
    return write_fault(fd, &n) < 0 ? -1 : real(fd, p, n, at);
}

static ssize_t vector_fault(int fd, int *count)
{
    size_t n = 2;

    if (write_fault(fd, &n) < 0)
        return -1;
    if (n == 1)
        *count = 1;
    return 0;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    REAL(writev);
    return vector_fault(fd, &count) < 0 ? -1 : real(fd, v, count);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    REAL(pwritev);
    return vector_fault(fd, &count) < 0 ? -1 : real(fd, v, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{
    REAL(pwritev64);
    return vector_fault(fd, &count) < 0 ? -1 : real(fd, v, count, at);
}

static int grow_fault(int fd, off64_t size)
{
    struct stat st;
    size_t n = 0;

    return fstat(fd, &st) == 0 && size > st.st_size ? write_fault(fd, &n) : 0;
}

int ftruncate(int fd, off_t size) { REAL(ftruncate); return grow_fault(fd, size) < 0 ? -1 : real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return grow_fault(fd, size) < 0 ? -1 : real(fd, size); }

int posix_fallocate(int fd, off_t at, off_t n) { REAL(posix_fallocate); return grow_fault(fd, at + n) < 0 ? errno : real(fd, at, n); }
int fallocate(int fd, int mode, off_t at, off_t n) { REAL(fallocate); return grow_fault(fd, at + n) < 0 ? -1 : real(fd, mode, at, n); }
