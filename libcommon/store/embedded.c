/* embedded.c - the embedded engine: opening its two SQLCipher files (documents and logs), closing
 * them.
 *
 * Owns struct embedded. store.c calls, on pool threads. Several processes have the files open at
 * once; a lock file serialises their opening, because two that make one file at the same moment
 * would each choose a salt.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/embedded_internal.h"

static int lock_open(const char *path, int *fd, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    const char *name = arena_cstr(in, arena_printf(in, "%s-lock", path));

    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0 || flock(*fd, LOCK_EX) < 0)
        return fault_errno(why, errno, "%s", name);
    return 0;
}

/* Daemons open the store as root and then become somebody else: what root makes belongs to the
 * folder's owner. */
static void give_to_owner(struct slice path, const char *key_file)
{
    static const char *const suffixes[] = {"",      "-wal",      "-shm",     "-lock",
                                           "-logs", "-logs-wal", "-logs-shm"};
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct stat folder;

    if (geteuid() != 0 || stat(dirname(arena_cstr(in, path)), &folder) < 0 || folder.st_uid == 0)
        return;
    for (size_t i = 0; i < COUNT(suffixes); i++)
        if (lchown(arena_printf(in, "%.*s%s", SLICE(path), suffixes[i]).p, folder.st_uid,
                   folder.st_gid) < 0)
            continue;
    if (lchown(key_file, folder.st_uid, folder.st_gid) < 0)
        return; /* a mounted secret: unreadable later, and said so then */
}

static int file_init(struct emb_file *f, struct slice path, const char *suffix, struct secret *key)
{
    AUTO(arena_free) struct arena *in = arena_new(0);

    f->path = strdup(arena_printf(in, "%.*s%s", SLICE(path), suffix).p);
    f->key = secret_ref(key);
    f->is_log = suffix[0] != '\0';
    (void)pthread_mutex_init(&f->write_lock, NULL);
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->freed, NULL);
    return f->path != NULL ? 0 : -1;
}

static void file_deinit(struct emb_file *f)
{
    for (unsigned i = 0; i < READERS_MAX; i++)
        emb_conn_close(&f->readers[i]);
    emb_conn_close(&f->writer);
    secret_unref(&f->key);
    free(f->path);
}

static void emb_close(void **engine)
{
    struct embedded *e = *engine;

    if (e == NULL)
        return;
    file_deinit(&e->documents);
    file_deinit(&e->logs);
    free(e);
    *engine = NULL;
}

static int open_files(struct embedded *e, struct fault *why)
{
    if (emb_conn_open(&e->documents, &e->documents.writer, why) < 0 ||
        emb_conn_open(&e->logs, &e->logs.writer, why) < 0)
        return -1;
    if (emb_schema(&e->documents.writer, e, false, why) < 0 ||
        emb_schema(&e->logs.writer, e, true, why) < 0)
        return -1;
    return emb_blob_sweep(&e->documents.writer, why);
}

static int open_locked(const struct store_options *options, struct slice path, struct embedded *e,
                       struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(secret_unref) struct secret *key = NULL;

    if (emb_key_load(options->key_file, access(arena_cstr(in, path), F_OK) == 0, &key, why) < 0)
        return -1;
    if (file_init(&e->documents, path, "", key) < 0 || file_init(&e->logs, path, "-logs", key) < 0)
        abort();
    return open_files(e, why);
}

static int emb_open(const struct store_options *options, void **engine, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct slice path = slice_tail(slice_of(options->uri), sizeof("embedded:") - 1);
    struct embedded *e;
    int fd, r;

    if (!slice_has_prefix(path, LIT("/")))
        return fault_set(why, FAULT_INVALID, "STORE_URI embedded: needs an absolute path");
    if (lock_open(arena_cstr(in, path), &fd, why) < 0)
        return -1;
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        abort();
    e->collections = options->collections;
    e->collection_count = options->collection_count;
    r = open_locked(options, path, e, why);
    if (r == 0)
        give_to_owner(path, options->key_file);
    (void)close(fd);
    *engine = e;
    if (r < 0)
        emb_close(engine);
    return r;
}

const struct store_driver store_embedded = {
    .name = "embedded",
    .one_writer = true,
    .open = emb_open,
    .close = emb_close,
    .write = emb_write,
    .read = emb_read,
};
