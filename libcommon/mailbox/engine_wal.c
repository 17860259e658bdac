/* engine_wal.c - was something lost in the log? What SQLite passes over without a word when it replays a -wal file.
 *
 * Owns nothing. Called once when a file is opened that a killed server left with a log. Fails when the log cannot be read. Reads
 * the whole log, blocks on the disk, never suspends.
 *
 * SQLite replays a log up to the first frame whose checksum is wrong and takes the rest for remains of an older log. Right after a
 * crash that is how an unfinished transaction ends. But a transaction begins only when the one before it is synced: where a frame
 * of this log (they bear its salt) follows a whole commit behind the wrong frame, the wrong frame was acknowledged, and the disk
 * has changed it since. What a commit that failed left behind is one commit with nothing of a later one after it.
 * A changed frame in the very last transaction cannot be told from one that was never finished.
 * Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
#include "mailbox/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { HEAD_BYTES = 32, FRAME_HEAD_BYTES = 24, MAGIC = 0x377f0682, PAGE_BYTES_MAX = 65536 };

struct sums { uint32_t a, b; };

struct log_scan {
    int fd;
    bool big_endian;
    size_t page_bytes;
    unsigned char salt[8];
    struct sums sums;
    bool wrong;                        /* a frame was met that SQLite does not take */
    bool commit_behind;                /* and a commit of this log behind it */
    bool damaged;
};

static uint32_t get_be(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t get_word(const struct log_scan *s, const unsigned char *p)
{
    return s->big_endian ? get_be(p) : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void add_sums(struct log_scan *s, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        s->sums.a += get_word(s, p + i) + s->sums.b;
        s->sums.b += get_word(s, p + i + 4) + s->sums.a;
    }
}

static bool sums_are(const struct log_scan *s, const unsigned char *p)
{
    return get_be(p) == s->sums.a && get_be(p + 4) == s->sums.b;
}

/* 1: whole, 0: the file ends before. */
static int read_whole(int fd, unsigned char *out, size_t n, off_t at, struct fault *why)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, out + got, n - got, at + (off_t)got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fault_errno(why, errno, "read a log");
        if (r == 0)
            return 0;
        got += (size_t)r;
    }
    return 1;
}

/* 0: no log, or one SQLite ignores from its first byte. */
static int scan_head(struct log_scan *s, struct fault *why)
{
    unsigned char head[HEAD_BYTES];
    int r = read_whole(s->fd, head, sizeof(head), 0, why);

    if (r <= 0)
        return r;
    s->big_endian = (get_be(head) & 1) != 0;
    s->page_bytes = get_be(head + 8);
    if ((get_be(head) & ~1U) != MAGIC || s->page_bytes < 512 || s->page_bytes > PAGE_BYTES_MAX || s->page_bytes % 8 != 0)
        return 0;
    memcpy(s->salt, head + 16, sizeof(s->salt));
    add_sums(s, head, 24);
    return sums_are(s, head + 24);
}

static void scan_frame(struct log_scan *s, const unsigned char *frame)
{
    bool ours = memcmp(frame + 8, s->salt, sizeof(s->salt)) == 0;

    if (!s->wrong) {
        add_sums(s, frame, 8);
        add_sums(s, frame + FRAME_HEAD_BYTES, s->page_bytes);
        s->wrong = !ours || !sums_are(s, frame + 16);
        if (!s->wrong)
            return;
    }
    if (!ours)
        return;
    s->damaged = s->damaged || s->commit_behind;
    s->commit_behind = s->commit_behind || get_be(frame + 4) != 0;
}

static int scan_frames(struct log_scan *s, struct fault *why)
{
    size_t n = FRAME_HEAD_BYTES + s->page_bytes;
    unsigned char *frame = malloc(n);
    int r;

    if (frame == NULL)
        abort();
    for (off_t at = HEAD_BYTES; (r = read_whole(s->fd, frame, n, at, why)) == 1 && !s->damaged; at += (off_t)n)
        scan_frame(s, frame);
    free(frame);
    return r;
}

int log_is_damaged(const char *path, bool *damaged, struct fault *why)
{
    struct log_scan s = { .fd = -1 };
    char name[4200];
    int r;

    *damaged = false;
    if ((size_t)snprintf(name, sizeof(name), "%s-wal", path) >= sizeof(name))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    s.fd = open(name, O_RDONLY | O_CLOEXEC);
    if (s.fd < 0)
        return errno == ENOENT ? 0 : fault_errno(why, errno, "mailbox log");
    r = scan_head(&s, why);
    if (r == 1)
        r = scan_frames(&s, why);
    (void)close(s.fd);
    *damaged = s.damaged;
    return r < 0 ? -1 : 0;
}

/* For whoever wants to look: what is behind the wrong frame is in there still. */
int log_keep(const char *path, struct fault *why)
{
    char name[4200], kept[4220];

    if ((size_t)snprintf(name, sizeof(name), "%s-wal", path) >= sizeof(name))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    (void)snprintf(kept, sizeof(kept), "%s-damaged", name);
    return file_copy(name, kept, why);
}
