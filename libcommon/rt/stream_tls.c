/* stream_tls.c - TLS on a stream: handshakes, and records between OpenSSL and the socket.
 *
 * Owns the stream's SSL. OpenSSL reads the socket itself, into buffers it gives back when idle, and
 * writes into s->wire. Handshakes suspend and can fail; reading and encrypting never suspend. An
 * RSA server key is used on the cpu pool: its signature takes longer than the loop may stand still.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include "rt/offload.h"
#include "rt/stream_internal.h"
#include "rt/tls_internal.h"

/* --- OpenSSL's view of the stream ------------------------------------------------------------- */

static int bio_read(BIO *bio, char *p, size_t n, size_t *got)
{
    ssize_t r = stream_recv(BIO_get_data(bio), p, n);

    BIO_clear_retry_flags(bio);
    if (r > 0) {
        *got = (size_t)r;
        return 1;
    }
    if (r == STREAM_AGAIN)
        BIO_set_retry_read(bio);
    return 0;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
    struct stream *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    iobuf_add(&s->wire, slice_make(p, n));
    *written = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, UNUSED long number, UNUSED void *p)
{
    const struct stream *s = BIO_get_data(bio);

    switch (command) {
    case BIO_CTRL_EOF:
        return s->eof;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;

    if (method != NULL)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL)
        abort();
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}

static void attach(struct stream *s, SSL *ssl)
{
    BIO *bio = BIO_new(bio_method());

    if (bio == NULL)
        abort();
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    s->ssl = ssl;
}

/* --- records ---------------------------------------------------------------------------------- */

static ssize_t read_failed(struct stream *s, int r)
{
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        s->eof = true;
        return STREAM_OVER;
    default:
        if (!s->eof) /* else the socket's own end or error says more */
            s->read_errno = EPROTO;
        s->eof = true;
        ERR_clear_error();
        return STREAM_OVER;
    }
}

ssize_t stream_tls_read(struct stream *s, void *p, size_t n)
{
    size_t got;
    int r;

    if (s->eof && !SSL_has_pending(s->ssl))
        return STREAM_OVER;
    ERR_clear_error();
    r = SSL_read_ex(s->ssl, p, n, &got);
    if (iobuf_count(&s->wire) > 0)
        stream_flush_soon(s); /* an answer to a key update */
    return r == 1 ? (ssize_t)got : read_failed(s, r);
}

bool stream_tls_has_pending(const struct stream *s)
{
    return SSL_has_pending(s->ssl) == 1;
}

int stream_tls_encrypt(struct stream *s, struct slice bytes)
{
    size_t written;

    if (s->write_errno != 0)
        return -1;
    if (bytes.n == RECORD_BYTES) /* bulk: room for all until it is sent, so that it need not move */
        (void)iobuf_room(&s->wire, HIGH_WATER_BYTES + 2 * RECORD_BYTES - iobuf_count(&s->wire));
    ERR_clear_error();
    if (SSL_write_ex(s->ssl, bytes.p, bytes.n, &written) == 1 && written == bytes.n)
        return 0;
    s->write_errno = EPROTO;
    return -1;
}

void stream_tls_end(struct stream *s)
{
    if (!SSL_is_init_finished(s->ssl) || s->write_errno != 0 || s->read_errno == EPROTO)
        return;
    (void)stream_encrypt_some(s); /* what was written comes before the end, and leaves with it */
    if (iobuf_count(&s->out) > 0)
        (void)stream_push(s);
    if (iobuf_count(&s->out) == 0)
        (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
}

void stream_tls_free(struct stream *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
}

/* --- handshakes ------------------------------------------------------------------------------- */

struct handshake {
    struct offload work;
    SSL *ssl;
    int result, error;
    char text[160];
};

static void handshake_step(struct offload *work)
{
    struct handshake *h = CONTAINER_OF(work, struct handshake, work);
    unsigned long code;

    ERR_clear_error();
    h->result = SSL_do_handshake(h->ssl);
    h->error = SSL_get_error(h->ssl, h->result);
    code = ERR_peek_last_error(); /* the queue belongs to this thread */
    ERR_error_string_n(code, h->text, sizeof h->text);
    ERR_clear_error();
}

/* While it is lent nobody else touches the stream; its fiber waits here, without a deadline. */
static void step(struct stream *s, struct handshake *h, bool heavy)
{
    int r = -1;

    if (heavy) {
        s->lent = true;
        r = offload_run(OFFLOAD_CPU, &h->work, DEADLINE_NEVER, NULL);
        s->lent = false;
    }
    if (r < 0)
        handshake_step(&h->work); /* light, or the pool is full: here then */
}

static int handshake_fault(struct stream *s, const struct handshake *h, struct fault *why)
{
    long verdict = SSL_get_verify_result(s->ssl);

    (void)stream_push(s); /* the alert */
    if (s->eof && h->error != SSL_ERROR_SSL)
        return stream_read_fault(s, why);
    s->eof = true;
    s->read_errno = s->write_errno = EPROTO;
    if (verdict != X509_V_OK && SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE)
        return fault_set(why, FAULT_DENIED, "certificate: %s",
                         X509_verify_cert_error_string(verdict));
    return fault_set(why, FAULT_PROTOCOL, "TLS handshake: %s", h->text);
}

static int handshake(struct stream *s, bool heavy, struct deadline until, struct fault *why)
{
    struct handshake h = {.work.run = handshake_step, .ssl = s->ssl};

    for (;;) {
        step(s, &h, heavy);
        if (h.result != 1 && h.error != SSL_ERROR_WANT_READ)
            return handshake_fault(s, &h, why);
        if (h.result == 1)
            break;
        if (stream_send_buffered(s, &s->wire) == STREAM_OVER)
            return stream_write_fault(s, why);
        if (stream_wait_readable(s, until, why) < 0)
            return -1;
    }
    if (iobuf_count(&s->wire) > 0)
        stream_flush_soon(s); /* with the greeting, or the first command */
    return 0;
}

static size_t drop_clear_input(struct stream *s)
{
    size_t n = iobuf_count(&s->in);

    iobuf_release(&s->in);
    s->scanned = 0;
    return n;
}

static int start(struct stream *s, SSL *ssl, bool heavy, struct deadline until, struct fault *why)
{
    assert(s->ssl == NULL);
    if (ssl == NULL)
        return -1;
    if (stream_flush(s, until, why) < 0) {
        SSL_free(ssl);
        return -1;
    }
    attach(s, ssl);
    return handshake(s, heavy, until, why);
}

int stream_start_tls_server(struct stream *s, struct tls_server *tls, size_t *dropped,
                            struct deadline until, struct fault *why)
{
    size_t n = drop_clear_input(s);

    if (dropped != NULL)
        *dropped = n;
    return start(s, tls_server_session(tls, why), tls_server_is_heavy(tls), until, why);
}

int stream_start_tls_client(struct stream *s, struct tls_client *tls,
                            const struct tls_client_options *options, struct deadline until,
                            struct fault *why)
{
    (void)drop_clear_input(s); /* injected before the handshake, the same way */
    return start(s, tls_client_session(tls, options, why), false, until, why);
}

/* --- asking ----------------------------------------------------------------------------------- */

bool stream_is_tls(const struct stream *s)
{
    return s->ssl != NULL && SSL_is_init_finished(s->ssl);
}

const char *stream_tls_version(const struct stream *s)
{
    return stream_is_tls(s) ? SSL_get_version(s->ssl) : "";
}

const char *stream_tls_cipher(const struct stream *s)
{
    return stream_is_tls(s) ? SSL_get_cipher_name(s->ssl) : "";
}
