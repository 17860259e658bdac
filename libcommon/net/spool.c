/* spool.c - see spool.h. Blocks of 64 KiB are sealed one by one, so any of them can be read alone.
 *
 * Owns      the pending bytes (at most 256 KiB), the file, the running digest.
 * Called by mx, smtp, smtp-bree. What can fail: the disk, the pool. Suspends on the FILE pool only.
 *
 * On disk, block i is 64 KiB of ciphertext and its 16-byte tag; the nonce is the spool's random id
 * and i. What was not written yet (always less than five blocks) is read from memory, so there is
 * no "finish".
 */
#include "net/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/secret.h"
#include "rt/offload.h"

#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define ID_BYTES 16
#define BATCH_BLOCKS (SPOOL_MEMORY_BYTES / SPOOL_BLOCK_BYTES)
#define STORED_BYTES (SPOOL_BLOCK_BYTES + TAG_BYTES)

struct spool_dir {
    char *path;
    struct secret *key;
};

/* Work on the pool may outlive the spool (its waiter was cancelled): both hold the file. Counted on
 * the loop thread. */
struct spool_file {
    int refs, fd;
    char *path;
    struct secret *key;
    unsigned char id[ID_BYTES];
};

struct spool {
    struct spool_dir *dir;
    struct spool_file *file; /* NULL while all is in memory */
    uint64_t blocks;         /* in the file */
    struct buf pending;      /* what comes behind them */
    EVP_MD_CTX *digest;
};

struct spool_reader {
    const struct spool *s;
    uint64_t at;
    char *block; /* STORED_BYTES, when reading from a file */
};

/* ---- folder
 * ---------------------------------------------------------------------------------------------------------
 */

static int open_nameless(const char *path)
{
    return open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int spool_dir_open(const char *path, struct spool_dir **out, struct fault *why)
{
    int fd = open_nameless(path);
    struct spool_dir *d;

    if (fd < 0)
        return fault_errno(why, errno, "spool folder %s", path);
    (void)close(fd);
    d = calloc(1, sizeof(*d));
    if (d == NULL || (d->path = strdup(path)) == NULL)
        abort();
    d->key = secret_random(KEY_BYTES);
    *out = d;
    return 0;
}

void spool_dir_close(struct spool_dir **d)
{
    if (*d == NULL)
        return;
    secret_unref(&(*d)->key);
    free((*d)->path);
    free(*d);
    *d = NULL;
}

/* ---- the file
 * ---------------------------------------------------------------------------------------------------------
 */

static struct spool_file *file_new(struct spool_dir *d)
{
    struct spool_file *f = calloc(1, sizeof(*f));

    if (f == NULL || (f->path = strdup(d->path)) == NULL)
        abort();
    f->refs = 1;
    f->fd = -1;
    f->key = secret_ref(d->key);
    random_bytes(f->id, sizeof(f->id));
    return f;
}

static void file_unref(struct spool_file *f)
{
    if (f == NULL || --f->refs > 0)
        return;
    if (f->fd >= 0)
        (void)close(f->fd);
    secret_unref(&f->key);
    free(f->path);
    free(f);
}

static void block_nonce(const struct spool_file *f, uint64_t block,
                        unsigned char nonce[NONCE_BYTES])
{
    memcpy(nonce, f->id, ID_BYTES);
    for (int i = 0; i < 8; i++)
        nonce[ID_BYTES + i] = (unsigned char)(block >> (8 * i));
}

struct spool_work {
    struct offload o;
    struct spool_file *file;
    uint64_t block;
    size_t count;
    char *bytes; /* owned: BATCH_BLOCKS blocks to write, or room for one stored block */
    unsigned char tags[BATCH_BLOCKS][TAG_BYTES];
    int err; /* errno, or -1: does not decrypt */
};

static void work_free(struct spool_work *w)
{
    file_unref(w->file);
    free(w->bytes);
    free(w);
}

static void work_discard(struct offload *o)
{
    work_free(CONTAINER_OF(o, struct spool_work, o));
}

static struct spool_work *work_new(struct spool_file *f, uint64_t block,
                                   void (*run)(struct offload *))
{
    struct spool_work *w = calloc(1, sizeof(*w));

    if (w == NULL)
        abort();
    w->o.run = run;
    w->o.discard = work_discard;
    w->file = f;
    f->refs++;
    w->block = block;
    return w;
}

static void seal_blocks(struct spool_work *w, struct iovec *iov)
{
    const unsigned char *key = (const unsigned char *)secret_slice(w->file->key).p;
    unsigned char nonce[NONCE_BYTES];

    for (size_t i = 0; i < w->count; i++) {
        unsigned char *p = (unsigned char *)w->bytes + i * SPOOL_BLOCK_BYTES;

        block_nonce(w->file, w->block + i, nonce);
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
            p, w->tags[i], NULL, p, SPOOL_BLOCK_BYTES, NULL, 0, NULL, nonce, key);
        iov[2 * i] = (struct iovec){p, SPOOL_BLOCK_BYTES};
        iov[2 * i + 1] = (struct iovec){w->tags[i], TAG_BYTES};
    }
}

/* Writes all of iov; it is used up. 0 or errno. */
static int write_all(int fd, struct iovec *iov, size_t count, off_t at)
{
    while (count > 0) {
        ssize_t n = pwritev(fd, iov, (int)count, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        at += n;
        while (count > 0 && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            count--;
        }
        if (count > 0) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static void run_write(struct offload *o)
{
    struct spool_work *w = CONTAINER_OF(o, struct spool_work, o);
    struct iovec iov[2 * BATCH_BLOCKS] = {0};

    if (w->file->fd < 0 && (w->file->fd = open_nameless(w->file->path)) < 0) {
        w->err = errno;
        return;
    }
    seal_blocks(w, iov);
    w->err = write_all(w->file->fd, iov, 2 * w->count, (off_t)(w->block * STORED_BYTES));
}

static void run_read(struct offload *o)
{
    struct spool_work *w = CONTAINER_OF(o, struct spool_work, o);
    const unsigned char *key = (const unsigned char *)secret_slice(w->file->key).p;
    unsigned char *p = (unsigned char *)w->bytes, nonce[NONCE_BYTES];
    size_t n = 0;

    while (n < STORED_BYTES) {
        ssize_t r =
            pread(w->file->fd, p + n, STORED_BYTES - n, (off_t)(w->block * STORED_BYTES + n));

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            w->err = r < 0 ? errno : EIO;
            return;
        }
        n += (size_t)r;
    }
    block_nonce(w->file, w->block, nonce);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
            p, NULL, p, SPOOL_BLOCK_BYTES, p + SPOOL_BLOCK_BYTES, NULL, 0, nonce, key) != 0)
        w->err = -1;
}

/* ---- appending
 * -----------------------------------------------------------------------------------------------------------
 */

struct spool *spool_new(struct spool_dir *d)
{
    struct spool *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->digest = EVP_MD_CTX_new()) == NULL ||
        EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL) != 1)
        abort();
    s->dir = d;
    buf_init(&s->pending, SPOOL_MEMORY_BYTES);
    return s;
}

void spool_free(struct spool **spool)
{
    struct spool *s = *spool;

    if (s == NULL)
        return;
    file_unref(s->file);
    buf_free(&s->pending);
    EVP_MD_CTX_free(s->digest);
    free(s);
    *spool = NULL;
}

/* The pending blocks are full: to the file with them. */
static int write_pending(struct spool *s, struct fault *why)
{
    struct spool_work *w;
    size_t n;
    int err;

    if (s->file == NULL)
        s->file = file_new(s->dir);
    w = work_new(s->file, s->blocks, run_write);
    w->bytes = buf_steal(&s->pending, &n);
    w->count = n / SPOOL_BLOCK_BYTES;
    if (offload_run(OFFLOAD_FILE, &w->o, DEADLINE_NEVER, why) < 0)
        return -1;
    err = w->err;
    s->blocks += w->count;
    work_free(w);
    return err ? fault_errno(why, err, "spool file") : 0;
}

int spool_append(struct spool *s, struct slice bytes, struct fault *why)
{
    if (EVP_DigestUpdate(s->digest, bytes.p, bytes.n) != 1)
        return fault_set(why, FAULT_IO, "SHA-256");
    while (bytes.n > 0) {
        struct slice part = slice_head(bytes, SPOOL_MEMORY_BYTES - s->pending.n);

        if (part.n == 0) {
            if (write_pending(s, why) < 0)
                return -1;
            continue;
        }
        (void)buf_append(&s->pending, part);
        bytes = slice_tail(bytes, part.n);
    }
    return 0;
}

uint64_t spool_size_bytes(const struct spool *s)
{
    return s->blocks * SPOOL_BLOCK_BYTES + s->pending.n;
}

bool spool_is_in_memory(const struct spool *s)
{
    return s->file == NULL;
}

void spool_sha256(const struct spool *s, unsigned char out[32])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    if (copy == NULL || EVP_MD_CTX_copy_ex(copy, s->digest) != 1 ||
        EVP_DigestFinal_ex(copy, out, NULL) != 1)
        abort();
    EVP_MD_CTX_free(copy);
}

/* ---- reading
 * ---------------------------------------------------------------------------------------------------------------
 */

struct spool_reader *spool_reader_new(const struct spool *s, uint64_t offset)
{
    struct spool_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        abort();
    r->s = s;
    r->at = offset;
    return r;
}

void spool_reader_free(struct spool_reader **r)
{
    if (*r == NULL)
        return;
    free((*r)->block);
    free(*r);
    *r = NULL;
}

static int read_block(struct spool_reader *r, struct fault *why)
{
    struct spool_work *w = work_new(r->s->file, r->at / SPOOL_BLOCK_BYTES, run_read);
    int err;

    w->bytes = r->block ? r->block : malloc(STORED_BYTES);
    r->block = NULL;
    if (w->bytes == NULL)
        abort();
    if (offload_run(OFFLOAD_FILE, &w->o, DEADLINE_NEVER, why) < 0)
        return -1;
    r->block = w->bytes;
    w->bytes = NULL;
    err = w->err;
    work_free(w);
    if (err < 0)
        return fault_set(why, FAULT_CORRUPT, "spool file does not decrypt");
    return err ? fault_errno(why, err, "spool file") : 0;
}

int spool_reader_next(struct spool_reader *r, struct slice *piece, struct fault *why)
{
    uint64_t in_file = r->s->blocks * SPOOL_BLOCK_BYTES;

    if (r->at < in_file) {
        size_t skip = (size_t)(r->at % SPOOL_BLOCK_BYTES);

        if (read_block(r, why) < 0)
            return -1;
        *piece = slice_make(r->block + skip, SPOOL_BLOCK_BYTES - skip);
    } else if (r->at < spool_size_bytes(r->s)) {
        *piece = slice_head(slice_tail(buf_slice(&r->s->pending), (size_t)(r->at - in_file)),
                            SPOOL_BLOCK_BYTES);
    } else {
        return 0;
    }
    r->at += piece->n;
    return 1;
}

int spool_reader_pull(void *reader, struct slice *piece, struct fault *why)
{
    return spool_reader_next(reader, piece, why);
}
