/* tls.c - certificates and TLS policy (see tls.h).
 *
 * Owns one SSL_CTX per server or client. Called by services at start-up and by stream_tls.c at each
 * handshake. Reading files can fail; a failed reload keeps what was there. Never suspends: key
 * files are small and local.
 */
#include "rt/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include "base/log.h"
#include "base/time.h"
#include "rt/tls_internal.h"

#define LOOK_EVERY_MS 1000
#define NAME_MAX_BYTES 256

struct file_stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct tls_server {
    unsigned refs;
    char *key_path, *cert_path;
    struct file_stamp key_stamp, cert_stamp;
    uint64_t looked_ms;
    bool is_heavy;
    SSL_CTX *context;
};

struct tls_client {
    unsigned refs;
    SSL_CTX *context;
};

const char *tls_error_text(void)
{
    static char text[160];
    unsigned long code = ERR_peek_last_error();

    ERR_error_string_n(code, text, sizeof text);
    if (code == 0)
        return "no reason given";
    ERR_clear_error();
    return text;
}

/* --- servers ---------------------------------------------------------------------------------- */

static void stamp_file(const char *path, struct file_stamp *out)
{
    struct stat st;

    memset(out, 0, sizeof *out);
    if (stat(path, &st) < 0)
        return;
    out->changed = st.st_mtim;
    out->inode = st.st_ino;
    out->size = st.st_size;
}

static bool stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->inode == b->inode && a->size == b->size;
}

static void set_common(SSL_CTX *context)
{
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* many peers end without close_notify; what ends inside a line is noticed by whoever reads
     * lines */
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(context, 1); /* header and body of a record in one read */
}

static int load_pair(SSL_CTX *context, const struct tls_server *s, struct fault *why)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, s->cert_path) != 1)
        return fault_set(why, FAULT_INVALID, "certificate %s: %s", s->cert_path, tls_error_text());
    if (SSL_CTX_use_PrivateKey_file(context, s->key_path, SSL_FILETYPE_PEM) != 1)
        return fault_set(why, FAULT_INVALID, "key %s: %s", s->key_path, tls_error_text());
    if (SSL_CTX_check_private_key(context) != 1)
        return fault_set(why, FAULT_INVALID, "key %s is not that of certificate %s", s->key_path,
                         s->cert_path);
    return 0;
}

static int server_load(struct tls_server *s, struct fault *why)
{
    static const unsigned char session_context[] = "mail";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        return fault_set(why, FAULT_IO, "SSL_CTX_new: %s", tls_error_text());
    set_common(context);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_dh_auto(context, 1);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_OFF); /* tickets keep the state at the client */
    SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1);
    SSL_CTX_set_num_tickets(context, 1);
    if (load_pair(context, s, why) < 0) {
        SSL_CTX_free(context);
        return -1;
    }
    SSL_CTX_free(s->context); /* running connections hold it as long as they need */
    s->context = context;
    s->is_heavy = EVP_PKEY_is_a(SSL_CTX_get0_privatekey(context), "RSA");
    return 0;
}

static void server_stamp(struct tls_server *s)
{
    stamp_file(s->key_path, &s->key_stamp);
    stamp_file(s->cert_path, &s->cert_stamp);
}

static void reload_if_changed(struct tls_server *s)
{
    struct file_stamp key, cert;
    struct fault why;
    uint64_t now = clock_now_ms();

    if (now - s->looked_ms < LOOK_EVERY_MS)
        return;
    s->looked_ms = now;
    stamp_file(s->key_path, &key);
    stamp_file(s->cert_path, &cert);
    if (stamp_equal(&key, &s->key_stamp) && stamp_equal(&cert, &s->cert_stamp))
        return;
    s->key_stamp = key; /* a broken pair is tried, and complained about, once per change */
    s->cert_stamp = cert;
    if (server_load(s, &why) < 0)
        log_event(LOG_ERROR, "tls.reload.failed", F_STR("cert", s->cert_path), F_FAULT(&why));
    else
        log_event(LOG_INFO, "tls.reload.done", F_STR("cert", s->cert_path));
}

int tls_server_new(const char *key_path, const char *cert_path, struct tls_server **out,
                   struct fault *why)
{
    struct tls_server *s = calloc(1, sizeof *s);

    if (s == NULL)
        abort();
    s->refs = 1;
    s->key_path = strdup(key_path);
    s->cert_path = strdup(cert_path);
    if (s->key_path == NULL || s->cert_path == NULL)
        abort();
    server_stamp(s);
    s->looked_ms = clock_now_ms();
    if (server_load(s, why) < 0) {
        tls_server_unref(&s);
        return -1;
    }
    *out = s;
    return 0;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    s->refs++;
    return s;
}

void tls_server_unref(struct tls_server **server)
{
    struct tls_server *s = *server;

    *server = NULL;
    if (s == NULL || --s->refs > 0)
        return;
    SSL_CTX_free(s->context);
    free(s->key_path);
    free(s->cert_path);
    free(s);
}

bool tls_server_is_heavy(const struct tls_server *server)
{
    return server->is_heavy;
}

SSL *tls_server_session(struct tls_server *server, struct fault *why)
{
    SSL *ssl;

    reload_if_changed(server);
    ssl = SSL_new(server->context);
    if (ssl == NULL)
        (void)fault_set(why, FAULT_IO, "SSL_new: %s", tls_error_text());
    else
        SSL_set_accept_state(ssl);
    return ssl;
}

/* --- clients ---------------------------------------------------------------------------------- */

int tls_client_new(const char *ca_path, struct tls_client **out, struct fault *why)
{
    struct tls_client *c = calloc(1, sizeof *c);
    bool rooted;

    if (c == NULL)
        abort();
    c->refs = 1;
    c->context = SSL_CTX_new(TLS_client_method());
    if (c->context == NULL) {
        tls_client_unref(&c);
        return fault_set(why, FAULT_IO, "SSL_CTX_new: %s", tls_error_text());
    }
    set_common(c->context);
    SSL_CTX_set_session_cache_mode(c->context, SSL_SESS_CACHE_OFF);
    rooted = ca_path == NULL ? SSL_CTX_set_default_verify_paths(c->context) == 1
                             : SSL_CTX_load_verify_file(c->context, ca_path) == 1;
    if (!rooted || SSL_CTX_dane_enable(c->context) <= 0) {
        tls_client_unref(&c);
        return fault_set(why, FAULT_INVALID, "roots %s: %s",
                         ca_path == NULL ? "of the system" : ca_path, tls_error_text());
    }
    /* RFC 7672 3.1.1: with DANE-EE(3) the key is the name */
    SSL_CTX_dane_set_flags(c->context, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    *out = c;
    return 0;
}

void tls_client_unref(struct tls_client **client)
{
    struct tls_client *c = *client;

    *client = NULL;
    if (c == NULL || --c->refs > 0)
        return;
    SSL_CTX_free(c->context);
    free(c);
}

static bool is_ip(const char *name)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);

    ASN1_OCTET_STRING_free(ip);
    return ip != NULL;
}

/* PKIX: chain to a root, and one of the names. */
static bool want_pkix(SSL *ssl, const char *name, const char *other)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (name[0] == '\0')
        return false; /* nothing to match would match anything */
    if (is_ip(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    if (SSL_set1_host(ssl, name) != 1)
        return false;
    return other[0] == '\0' || SSL_add1_host(ssl, other) == 1;
}

/* DANE: any usable record must match. Without one there is nothing to verify (RFC 7672 2.2). */
static bool want_dane(SSL *ssl, const char *name, const char *other,
                      const struct tls_client_options *options)
{
    size_t usable = 0;

    if (SSL_dane_enable(ssl, name) <= 0)
        return false;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (other[0] != '\0' && SSL_add1_host(ssl, other) != 1)
        return false;
    for (size_t i = 0; i < options->tlsa_count; i++) {
        const struct tls_tlsa *r = &options->tlsa[i];

        if (r->usage != 2 && r->usage != 3) /* RFC 7672 3.1.3: PKIX usages mean nothing to SMTP */
            continue;
        if (SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching,
                              (const unsigned char *)r->data.p, r->data.n) > 0)
            usable++;
    }
    ERR_clear_error(); /* of malformed records */
    SSL_set_verify(ssl, usable > 0 ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return true;
}

static bool apply_options(SSL *ssl, const struct tls_client_options *options)
{
    char name[NAME_MAX_BYTES], other[NAME_MAX_BYTES];

    if (!slice_copy_cstr(options->server_name, name, sizeof name) ||
        !slice_copy_cstr(options->other_name, other, sizeof other))
        return false;
    SSL_set_min_proto_version(ssl,
                              options->min_version == 0 ? TLS1_2_VERSION : options->min_version);
    if (options->min_version != 0 && options->min_version < TLS1_2_VERSION)
        SSL_set_security_level(ssl, 0); /* OpenSSL 3 has TLS 1.0 on this level only */
    if (name[0] != '\0' && !is_ip(name) && SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    switch (options->verify) {
    case TLS_VERIFY_PKIX:
        return want_pkix(ssl, name, other);
    case TLS_VERIFY_DANE:
        return want_dane(ssl, name, other, options);
    case TLS_VERIFY_NONE:
        break;
    }
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return true;
}

SSL *tls_client_session(struct tls_client *client, const struct tls_client_options *options,
                        struct fault *why)
{
    SSL *ssl = SSL_new(client->context);

    if (ssl == NULL) {
        (void)fault_set(why, FAULT_IO, "SSL_new: %s", tls_error_text());
        return NULL;
    }
    if (!apply_options(ssl, options)) {
        SSL_free(ssl);
        (void)fault_set(why, FAULT_INVALID, "server name %.*s: %s", SLICE(options->server_name),
                        tls_error_text());
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}
