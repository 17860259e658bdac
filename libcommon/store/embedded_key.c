/* embedded_key.c - the key of the embedded store: 64 hex digits in a file nobody else can read.
 *
 * Owns nothing. Called when the store opens, on a pool thread. FAULT_INVALID: others can read the
 * file, or it holds no key.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/embedded_internal.h"

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int key_parse(const char *path, const char *text, ssize_t n, struct secret **out,
                     struct fault *why)
{
    struct slice key = slice_trim(slice_make(text, n > 0 ? (size_t)n : 0));

    if (key.n != KEY_HEX)
        return fault_set(why, FAULT_INVALID, "%s: expected %d hex digits", path, KEY_HEX);
    for (size_t i = 0; i < key.n; i++)
        if (!ascii_is_digit(key.p[i]) &&
            !(ascii_lower(key.p[i]) >= 'a' && ascii_lower(key.p[i]) <= 'f'))
            return fault_set(why, FAULT_INVALID, "%s: expected %d hex digits", path, KEY_HEX);
    *out = secret_new(key);
    return 0;
}

static int key_read(const char *path, struct secret **out, struct fault *why)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[128];
    struct stat st;
    ssize_t n;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fault_errno(why, errno, "%s", path);
    if ((st.st_mode & 077) != 0)
        return fault_set(why, FAULT_INVALID, "%s: others can read it; chmod 600", path);
    n = read(fd, text, sizeof(text));
    r = key_parse(path, text, n, out, why);
    memory_wipe(text, sizeof(text));
    return r;
}

static int write_key(int fd)
{
    unsigned char raw[KEY_HEX / 2];
    char text[KEY_HEX + 2];
    bool ok;

    random_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", raw[i]);
    text[KEY_HEX] = '\n';
    ok = write(fd, text, KEY_HEX + 1) == KEY_HEX + 1 && fsync(fd) == 0;
    memory_wipe(raw, sizeof(raw));
    memory_wipe(text, sizeof(text));
    return ok ? 0 : -1;
}

/* Complete before it has its name: another daemon starting now must not read half a key. */
static int key_create(const char *path, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(fd_close) int fd = -1;
    char *temp = arena_cstr(in, arena_printf(in, "%s.XXXXXX", path));
    int r = 0;

    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return fault_errno(why, errno, "%s", path);
    if (write_key(fd) < 0 || (link(temp, path) < 0 && errno != EEXIST))
        r = fault_errno(why, errno, "%s", path);
    (void)unlink(temp);
    return r;
}

int emb_key_load(const char *path, bool store_exists, struct secret **out, struct fault *why)
{
    if (path == NULL || path[0] == '\0')
        return fault_set(why, FAULT_INVALID, "the embedded store needs STORE_KEY_FILE");
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        if (store_exists)
            return fault_set(why, FAULT_INVALID, "%s is missing, but the store it opens exists",
                             path);
        if (key_create(path, why) < 0)
            return -1;
    }
    return key_read(path, out, why);
}
