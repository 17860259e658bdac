/* sealed_crypt.c - one item of the sealed log: writing it in chunks, and reading it back with the alias's private key.
 *
 * Owns a writer or reader each. Called on pool threads by fe-sqlite. A reader fails with FAULT_CORRUPT on anything that
 * is not exactly what was sealed for this alias. Does not suspend.
 *
 * Cipher text: chunks of u32 length and secretstream data. The plain text begins with a packed head (version, size, flags,
 * folder), then the message, then zeros up to the padded size; a last empty chunk carries the record's head as
 * associated data.
 */
#include "mailbox/sealed_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/encode.h"

#define CHUNK_TAG   crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
#define LAST_TAG    crypto_secretstream_xchacha20poly1305_TAG_FINAL
#define META_VERSION 1
#define SEALED_FOLDER_MAX 512

int sealed_write_all(int fd, struct slice bytes, struct fault *why)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault_errno(why, errno, "write to the sealed log");
        bytes = slice_tail(bytes, (size_t)n);
    }
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int writer_push(struct sealed_writer *w, struct slice plain, unsigned char tag, struct slice ad,
                       struct fault *why)
{
    unsigned long long n = plain.n + crypto_secretstream_xchacha20poly1305_ABYTES;
    unsigned char *p;

    if (buf_reserve(&w->cipher, (size_t)n + 4) < 0)
        return fault_set(why, FAULT_LIMIT, "sealed item too large");
    p = (unsigned char *)w->cipher.p + w->cipher.n;
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(n >> (8 * i));
    crypto_secretstream_xchacha20poly1305_push(&w->stream, p + 4, NULL, (const unsigned char *)plain.p,
                                               plain.n, (const unsigned char *)ad.p, ad.n, tag);
    w->cipher.n += (size_t)n + 4;
    w->head.body_bytes += n + 4;
    if (w->fd < 0)
        return 0;
    if (sealed_write_all(w->fd, buf_slice(&w->cipher), why) < 0)
        return -1;
    buf_reset(&w->cipher);
    return 0;
}

static int writer_add(struct sealed_writer *w, struct slice bytes, struct fault *why)
{
    while (bytes.n > 0) {
        struct slice piece = slice_head(bytes, SEALED_CHUNK - w->plain.n);

        (void)buf_append(&w->plain, piece);
        bytes = slice_tail(bytes, piece.n);
        if (w->plain.n < SEALED_CHUNK)
            return 0;
        if (writer_push(w, buf_slice(&w->plain), CHUNK_TAG, SLICE_NONE, why) < 0)
            return -1;
        buf_reset(&w->plain);
    }
    return 0;
}

/* A nonce at random: 192 bits never meet. */
static void seal_key_own(struct sealed_head *h, const unsigned char key[32], struct slice own_key)
{
    _Static_assert(SEALED_OWN_BOX <= SEALED_BOX, "both forms have the same place");
    random_bytes(h->box, crypto_secretbox_NONCEBYTES);
    (void)crypto_secretbox_easy(h->box + crypto_secretbox_NONCEBYTES, key, 32, h->box, (const unsigned char *)own_key.p);
    sealed_generation(own_key, h->generation);
}

static void seal_key_public(struct sealed_head *h, const unsigned char key[32], struct slice public_key)
{
    if (crypto_box_seal(h->box, key, 32, (const unsigned char *)public_key.p) != 0)
        abort();                       /* refused only for a public key that was checked before */
    sealed_generation(public_key, h->generation);
}

static void writer_new_key(struct sealed_writer *w, const struct sealed_meta *meta)
{
    unsigned char key[32];

    random_bytes(key, sizeof(key));
    crypto_secretstream_xchacha20poly1305_init_push(&w->stream, w->head.stream, key);
    if (meta->own_key.n == 32)
        seal_key_own(&w->head, key, meta->own_key);
    else
        seal_key_public(&w->head, key, meta->public_key);
    memory_wipe(key, sizeof(key));
}

static int writer_start(struct sealed_writer *w, const struct sealed_meta *meta, struct fault *why)
{
    AUTO(buf_free) struct buf head = BUF_INIT(4096);
    uint64_t plain;

    if (meta->folder.n >= SEALED_FOLDER_MAX || buf_put_varint(&head, META_VERSION) < 0 || buf_put_varint(&head, meta->size_bytes) < 0 ||
        buf_put_varint(&head, meta->flags) < 0 || buf_put_bytes(&head, meta->folder) < 0)
        return fault_set(why, FAULT_INVALID, "folder name too long");
    plain = head.n + meta->size_bytes;
    w->padding = sealed_padded(plain) - plain;
    w->left = meta->size_bytes;
    if (plain > SEALED_INLINE_MAX) {
        struct sealed_name name = sealed_item_name(&w->head.id);

        w->head.type = SEALED_ITEM_EXTERNAL;
        w->fd = openat(w->log->dir, name.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (w->fd < 0)
            return fault_errno(why, errno, "create a file for a large sealed item");
    }
    return writer_add(w, buf_slice(&head), why);
}

int sealed_write_begin(struct sealed_log *log, const struct sealed_meta *meta, struct sealed_writer **out,
                       struct fault *why)
{
    AUTO(sealed_write_abort) struct sealed_writer *w = NULL;
    static const unsigned char zero[32];

    if (meta->public_key.n != 32 || memcmp(meta->public_key.p, zero, 32) == 0 || meta->mark.n != 32)
        return fault_set(why, FAULT_INVALID, "no usable public key or mark");
    if (meta->size_bytes > SEALED_ITEM_MAX)
        return fault_set(why, FAULT_LIMIT, "message of %llu bytes", (unsigned long long)meta->size_bytes);
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        abort();
    w->log = log;
    w->fd = -1;
    w->plain = BUF_INIT(SEALED_CHUNK);
    w->cipher = BUF_INIT(2 * SEALED_ITEM_MAX);
    w->head.type = SEALED_ITEM;
    w->head.arrived_ms = meta->arrived_ms;
    random_bytes(w->head.id.b, sizeof(w->head.id.b));
    memcpy(w->head.mark, meta->mark.p, 32);
    if (!sealed_alias_parse(meta->alias_id, w->head.alias))
        return fault_set(why, FAULT_INVALID, "not an alias id");
    writer_new_key(w, meta);
    if (writer_start(w, meta, why) < 0)
        return -1;
    *out = w;
    w = NULL;
    return 0;
}

int sealed_write(struct sealed_writer *w, struct slice bytes, struct fault *why)
{
    if (bytes.n > w->left)
        return fault_set(why, FAULT_INVALID, "more bytes than were announced");
    w->left -= bytes.n;
    return writer_add(w, bytes, why);
}

static int writer_pad(struct sealed_writer *w, struct fault *why)
{
    static const char zeros[4096];

    while (w->padding > 0) {
        size_t n = w->padding < sizeof(zeros) ? (size_t)w->padding : sizeof(zeros);

        if (writer_add(w, slice_make(zeros, n), why) < 0)
            return -1;
        w->padding -= n;
    }
    if (w->plain.n == 0)
        return 0;
    return writer_push(w, buf_slice(&w->plain), CHUNK_TAG, SLICE_NONE, why);
}

int sealed_writer_finish(struct sealed_writer *w, unsigned char head[SEALED_HEAD_BYTES], struct fault *why)
{
    if (w->left != 0)
        return fault_set(why, FAULT_INVALID, "fewer bytes than were announced");
    if (writer_pad(w, why) < 0)
        return -1;
    /* the last chunk's own size must stand in the head that it authenticates */
    w->head.body_bytes += SEALED_CHUNK_OVER;
    sealed_head_format(&w->head, 0, head);
    w->head.body_bytes -= SEALED_CHUNK_OVER;
    if (writer_push(w, SLICE_NONE, LAST_TAG, sealed_head_bound(head), why) < 0)
        return -1;
    if (w->fd >= 0 && fsync(w->fd) < 0)
        return fault_errno(why, errno, "sync a large sealed item");
    sealed_head_format(&w->head, sealed_crc(head, buf_slice(&w->cipher)), head);
    return 0;
}

void sealed_write_abort(struct sealed_writer **w)
{
    if (*w == NULL)
        return;
    if ((*w)->fd >= 0) {
        (void)unlinkat((*w)->log->dir, sealed_item_name(&(*w)->head.id).s, 0);
        close((*w)->fd);
    }
    buf_wipe(&(*w)->plain);
    buf_free(&(*w)->cipher);
    memory_wipe(*w, sizeof(**w));
    free(*w);
    *w = NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct sealed_reader {
    crypto_secretstream_xchacha20poly1305_state stream;
    unsigned char head_bytes[SEALED_HEAD_BYTES];
    struct sealed_head head;
    int segment_fd, item_fd;                   /* -1: none. The segment stays open for the next item, which is mostly in the same one */
    uint32_t segment;
    int fd;                                    /* that of the two which has this item's cipher text */
    uint64_t at, end;                          /* cipher text still to read */
    uint64_t left;                             /* message bytes still to give */
    bool ended;
    struct slice rest;                         /* of the chunk in `plain` */
    char folder[SEALED_FOLDER_MAX];
    uint64_t cipher_at;                        /* where what is in `cipher` stands in the file */
    size_t cipher_n;
    unsigned char cipher[SEALED_CHUNK + SEALED_CHUNK_OVER];
    unsigned char plain[SEALED_CHUNK];
};

static int read_exact_at(int fd, void *out, size_t n, uint64_t at, struct fault *why)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, (char *)out + got, n - got, (off_t)(at + got));

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fault_errno(why, errno, "read the sealed log");
        if (r == 0)
            return fault_set(why, FAULT_CORRUPT, "sealed item is cut short");
        got += (size_t)r;
    }
    return 0;
}

/* The next n bytes of the item, at most a chunk with its length; as much as there is room for is read at once. */
static int reader_need(struct sealed_reader *r, size_t n, const unsigned char **out, struct fault *why)
{
    uint64_t left = r->end - r->at;

    if (n > left)
        return fault_set(why, FAULT_CORRUPT, "sealed item is cut short");
    if (r->at < r->cipher_at || r->at + n > r->cipher_at + r->cipher_n) {
        r->cipher_n = left < sizeof(r->cipher) ? (size_t)left : sizeof(r->cipher);
        r->cipher_at = r->at;
        if (read_exact_at(r->fd, r->cipher, r->cipher_n, r->at, why) < 0) {
            r->cipher_n = 0;
            return -1;
        }
    }
    *out = r->cipher + (r->at - r->cipher_at);
    return 0;
}

/* 1: a chunk of message, padding or head; 0: the last one. */
static int reader_pull(struct sealed_reader *r, struct fault *why)
{
    const unsigned char *p;
    unsigned char tag;
    unsigned long long n;
    struct slice ad;
    uint32_t len;

    if (reader_need(r, 4, &p, why) < 0)
        return -1;
    len = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    if (len > sizeof(r->cipher) - 4 || len < crypto_secretstream_xchacha20poly1305_ABYTES || len > r->end - r->at - 4)
        return fault_set(why, FAULT_CORRUPT, "sealed item has a chunk of %u bytes", len);
    if (reader_need(r, 4 + (size_t)len, &p, why) < 0)
        return -1;
    r->at += 4 + len;
    ad = r->at == r->end ? sealed_head_bound(r->head_bytes) : SLICE_NONE;
    if (crypto_secretstream_xchacha20poly1305_pull(&r->stream, r->plain, &n, &tag, p + 4, len,
                                                   (const unsigned char *)ad.p, ad.n) != 0)
        return fault_set(why, FAULT_CORRUPT, "sealed item is damaged, moved or forged");
    if ((tag == LAST_TAG) != (r->at == r->end))
        return fault_set(why, FAULT_CORRUPT, "sealed item ends in the wrong place");
    r->rest = slice_make(r->plain, (size_t)n);
    return tag == LAST_TAG ? 0 : 1;
}

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int reader_open_segment(struct sealed_log *log, struct sealed_reader *r, uint32_t segment, struct fault *why)
{
    if (r->segment_fd >= 0 && r->segment == segment)
        return 0;
    fd_close(&r->segment_fd);
    r->segment_fd = openat(log->dir, sealed_segment_name(segment).s, O_RDONLY | O_CLOEXEC);
    if (r->segment_fd < 0)
        return fault_errno(why, errno, "open a segment of the sealed log");
    r->segment = segment;
    return 0;
}

static int reader_open_file(struct sealed_log *log, struct sealed_reader *r, const struct sealed_item *item,
                            struct fault *why)
{
    uint32_t crc;

    if (reader_open_segment(log, r, item->segment, why) < 0 ||
        read_exact_at(r->segment_fd, r->head_bytes, SEALED_HEAD_BYTES, item->offset, why) < 0)
        return -1;
    if (!sealed_head_parse(r->head_bytes, &r->head, &crc))
        return fault_set(why, FAULT_CORRUPT, "record head is damaged");
    r->fd = r->segment_fd;
    r->at = item->offset + SEALED_HEAD_BYTES;
    if (r->head.type == SEALED_ITEM_EXTERNAL) {
        r->fd = r->item_fd = openat(log->dir, sealed_item_name(&r->head.id).s, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0)
            return fault_set(why, FAULT_CORRUPT, "the file of a large sealed item is missing");
        r->at = 0;
    }
    r->end = r->at + r->head.body_bytes;
    return 0;
}

static bool is_of(const struct sealed_head *h, const unsigned char key[32])
{
    unsigned char generation[8];

    sealed_generation(slice_make(key, 32), generation);
    return memcmp(generation, h->generation, sizeof(generation)) == 0;
}

/* 0: this pair opened it. */
static int unseal_with(const struct sealed_head *h, const struct sealing_pair *pair, unsigned char key[32])
{
    if (is_of(h, pair->own_key))
        return crypto_secretbox_open_easy(key, h->box + crypto_secretbox_NONCEBYTES, SEALED_OWN_BOX - crypto_secretbox_NONCEBYTES,
                                          h->box, pair->own_key);
    if (is_of(h, pair->public_key))
        return crypto_box_seal_open(key, h->box, SEALED_BOX, pair->public_key, pair->private_key);
    return -1;
}

static int reader_unseal_key(struct sealed_reader *r, const struct sealing_pair *pairs, size_t count,
                             struct fault *why)
{
    unsigned char key[32];
    int bad = -1;

    for (size_t i = 0; i < count && bad != 0; i++)
        bad = unseal_with(&r->head, &pairs[i], key);
    if (bad == 0)
        bad = crypto_secretstream_xchacha20poly1305_init_pull(&r->stream, r->head.stream, key);
    memory_wipe(key, sizeof(key));
    return bad == 0 ? 0 : fault_set(why, FAULT_CORRUPT, "item is not sealed to this mailbox");
}

static int reader_take_meta(struct sealed_reader *r, struct sealed_opened *opened, struct fault *why)
{
    uint64_t version, size, flags;
    struct slice folder;
    int more = reader_pull(r, why);

    if (more < 0)
        return -1;
    if (more == 0 || !unpack_varint(&r->rest, &version) || version != META_VERSION ||
        !unpack_varint(&r->rest, &size) || size > SEALED_ITEM_MAX || !unpack_varint(&r->rest, &flags) ||
        !unpack_bytes(&r->rest, &folder) || !slice_copy_cstr(folder, r->folder, sizeof(r->folder)))
        return fault_set(why, FAULT_CORRUPT, "sealed item has no readable beginning");
    r->left = size;
    opened->size_bytes = size;
    opened->flags = (uint32_t)flags;
    opened->folder = slice_of(r->folder);
    return 0;
}

static struct sealed_reader *reader_new(void)
{
    struct sealed_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        abort();
    r->segment_fd = r->item_fd = -1;
    return r;
}

int sealed_read_begin(struct sealed_log *log, struct slice alias_id, const struct sealed_item *item,
                      const struct sealing_pair *pairs, size_t pair_count, struct sealed_reader **at,
                      struct sealed_opened *opened, struct fault *why)
{
    struct sealed_reader *r = *at != NULL ? *at : reader_new();
    unsigned char alias[SEALED_ALIAS];

    *at = r;
    fd_close(&r->item_fd);
    r->cipher_n = 0;
    r->ended = false;
    r->rest = SLICE_NONE;
    if (reader_open_file(log, r, item, why) < 0)
        return -1;
    if (!sealed_alias_parse(alias_id, alias) || memcmp(alias, r->head.alias, SEALED_ALIAS) != 0)
        return fault_set(why, FAULT_CORRUPT, "item belongs to another alias");
    if (reader_unseal_key(r, pairs, pair_count, why) < 0)
        return -1;
    return reader_take_meta(r, opened, why);
}

int sealed_read_next(struct sealed_reader *r, struct slice *piece, struct fault *why)
{
    int more;

    while (!r->ended) {
        if (r->rest.n > 0 && r->left > 0) {
            *piece = slice_head(r->rest, r->left > SEALED_CHUNK ? SEALED_CHUNK : (size_t)r->left);
            r->left -= piece->n;
            r->rest = SLICE_NONE;      /* what follows the message in this chunk is padding */
            return 1;
        }
        more = reader_pull(r, why);
        if (more < 0)
            return -1;
        r->ended = more == 0;
    }
    if (r->left != 0)
        return fault_set(why, FAULT_CORRUPT, "sealed item holds fewer bytes than it says");
    return 0;
}

void sealed_read_end(struct sealed_reader **r)
{
    if (*r == NULL)
        return;
    fd_close(&(*r)->segment_fd);
    fd_close(&(*r)->item_fd);
    memory_wipe(*r, sizeof(**r));
    free(*r);
    *r = NULL;
}
