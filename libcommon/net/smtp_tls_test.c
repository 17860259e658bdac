/* smtp_tls_test.c - STARTTLS both ways: what came before the handshake is forgotten, and policies are kept (RFC 3207, 7672). */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/test.h"
#include "net/smtp_client.h"
#include "net/smtp_server.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/loop.h"

#define TALK_MS 5000

/* ---- a certificate for mx.example, signed by itself --------------------------------------------------------------- */

struct identity {
    char folder[32], key[64], cert[64];
    unsigned char spki_sha256[32];
};

static void add_name(X509 *x)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:mx.example");

    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static void write_files(struct identity *id, EVP_PKEY *key, X509 *x)
{
    FILE *f = fopen(id->key, "w");

    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    f = fopen(id->cert, "w");
    PEM_write_X509(f, x);
    fclose(f);
}

static void identity_make(struct identity *id)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    unsigned char *der = NULL;
    int n;

    (void)snprintf(id->folder, sizeof(id->folder), "/tmp/fe-tls-XXXXXX");
    if (mkdtemp(id->folder) == NULL)
        abort();
    (void)snprintf(id->key, sizeof(id->key), "%s/key.pem", id->folder);
    (void)snprintf(id->cert, sizeof(id->cert), "%s/cert.pem", id->folder);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"mx.example", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    add_name(x);
    X509_sign(x, key, EVP_sha256());
    n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    sha256(slice_make(der, (size_t)n), id->spki_sha256);
    OPENSSL_free(der);
    write_files(id, key, x);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void identity_remove(struct identity *id)
{
    (void)unlink(id->key);
    (void)unlink(id->cert);
    (void)rmdir(id->folder);
}

/* ---- a server with it ------------------------------------------------------------------------------------------------- */

struct world {
    struct test *t;
    struct identity id;
    struct tls_server *tls;
    struct smtp_server *server;
    struct listener *listener;
    uint16_t port;
    struct buf seen;
    void (*play)(struct world *w);
};

static struct smtp_reply on_mail(struct smtp_session *s, const struct smtp_mail *mail)
{
    struct world *w = smtp_server_arg(s->server);

    (void)buf_printf(&w->seen, "mail %.*s;", SLICE(mail->from.address));
    return SMTP_OK;
}

static struct smtp_reply on_end(struct smtp_session *s)
{
    (void)s;
    return SMTP_OK;
}

static const struct smtp_handlers handlers = {.mail = on_mail, .data_end = on_end};

static void world_fiber(void *arg)
{
    struct world *w = arg;
    struct test *t = w->t;
    struct smtp_server_options so = {.hostname = "mx.example", .message_bytes_max = 1000, .recipients_max = 10, .handlers = &handlers, .arg = w};
    struct listener_options lo = {.name = "test", .bind_address = "127.0.0.1", .accept = smtp_server_accept};
    struct fault why;

    buf_init(&w->seen, 4096);
    identity_make(&w->id);
    REQUIRE_OK(tls_server_new(w->id.key, w->id.cert, &w->tls, &why), &why);
    so.tls = w->tls;
    w->server = smtp_server_new(&so);
    lo.arg = w->server;
    REQUIRE_OK(listener_open(&lo, &w->listener, &why), &why);
    w->port = listener_port(w->listener);
    w->play(w);
    listener_close(&w->listener);
    smtp_server_drain(w->server, deadline_in_ms(TALK_MS));
    smtp_server_free(&w->server);
    tls_server_unref(&w->tls);
    identity_remove(&w->id);
    buf_free(&w->seen);
}

static void world(struct test *t, void (*play)(struct world *w))
{
    struct world w = {.t = t, .play = play};

    loop_run_fiber(world_fiber, &w);
}

static void expect(struct world *w, struct stream *s, const char *want)
{
    struct slice line;
    struct fault why;

    if (stream_read_line(s, SMTP_LINE_MAX, deadline_in_ms(TALK_MS), &line, &why) < 0)
        test_fail(w->t, __FILE__, __LINE__, "want [%s], got %s", want, why.text);
    else if (!slice_has_prefix(line, slice_of(want)))
        test_fail(w->t, __FILE__, __LINE__, "want [%s], got [%.*s]", want, SLICE(line));
}

static void say(struct world *w, struct stream *s, const char *text)
{
    struct fault why;

    if (stream_write(s, slice_of(text), deadline_in_ms(TALK_MS), &why) < 0 || stream_flush(s, deadline_in_ms(TALK_MS), &why) < 0)
        test_fail(w->t, __FILE__, __LINE__, "%s", why.text);
}

/* RFC 3207 4.2, 6: commands sent ahead of the handshake, and what was said before it, count for nothing. */
static void inject(struct world *w)
{
    struct test *t = w->t;
    struct tls_client *tls = NULL;
    struct tls_client_options o = {.verify = TLS_VERIFY_NONE, .server_name = LIT("mx.example")};
    struct stream *s = NULL;
    struct deadline until = deadline_in_ms(TALK_MS);
    struct fault why;

    REQUIRE_OK(tls_client_new(NULL, &tls, &why), &why);
    REQUIRE_OK(stream_connect("127.0.0.1", w->port, NULL, until, &s, &why), &why);
    expect(w, s, "220");
    say(w, s, "HELO c\r\nMAIL FROM:<before@x.org>\r\nSTARTTLS\r\nMAIL FROM:<evil@x.org>\r\nNOOP\r\n");
    expect(w, s, "250");
    expect(w, s, "250");
    expect(w, s, "220");
    REQUIRE_OK(stream_start_tls_client(s, tls, &o, until, &why), &why);
    say(w, s, "MAIL FROM:<early@x.org>\r\nEHLO c\r\nQUIT\r\n");
    expect(w, s, "503");
    expect(w, s, "250-mx.example");
    expect(w, s, "250-PIPELINING");
    expect(w, s, "250-SIZE");
    expect(w, s, "250 ENHANCED");              /* STARTTLS is not offered again */
    expect(w, s, "221");
    CHECK_SLICE(LIT("mail before@x.org;"), buf_slice(&w->seen));
    stream_close(&s);
    tls_client_unref(&tls);
}

TEST(smtp_tls, forgets_what_came_before_the_handshake)
{
    world(t, inject);
}

/* ---- the client's policies --------------------------------------------------------------------------------------------------- */

struct row {
    const char *what;
    enum smtp_tls_policy policy;
    bool trusted;                             /* the server's certificate is among our roots */
    const char *name;
    bool right_tlsa;
    bool tls, ok;
};

static void try_row(struct world *w, size_t i, const struct row *r)
{
    struct tls_client *tls = NULL;
    unsigned char wrong[32] = {0};
    struct tls_tlsa tlsa = {3, 1, 1, slice_make(r->right_tlsa ? w->id.spki_sha256 : wrong, 32)};
    struct smtp_client_options o = {.ip = "127.0.0.1", .port = w->port, .helo = "c.example", .server_name = slice_of(r->name),
        .policy = r->policy, .tlsa = &tlsa, .tlsa_count = 1};
    struct smtp_client *c = NULL;
    struct smtp_reply refusal;
    struct fault why = {0};
    struct test *t = w->t;
    int opened;

    CHECK_INT(0, tls_client_new(r->trusted ? w->id.cert : NULL, &tls, &why));
    o.tls = tls;
    opened = smtp_client_open(&o, deadline_in_ms(TALK_MS), t->arena, &c, &refusal, &why);
    if ((opened == 0) != r->ok)
        test_fail(t, __FILE__, __LINE__, "row %zu (%s): %s", i, r->what, opened == 0 ? "opened" : why.text);
    else if (c)
        CHECK_ROW(i, smtp_client_is_tls(c) == r->tls);
    else
        CHECK_ROW(i, why.code == FAULT_PROTOCOL);
    smtp_client_close(&c);
    tls_client_unref(&tls);
}

static void policies(struct world *w)
{
    static const struct row rows[] = {
        {"plain", SMTP_TLS_NONE, false, "mx.example", false, false, true},
        {"opportunistic", SMTP_TLS_OPPORTUNISTIC, false, "other.example", false, true, true},
        {"any certificate", SMTP_TLS_ENCRYPT, false, "other.example", false, true, true},
        {"pkix, unknown root", SMTP_TLS_PKIX, false, "mx.example", false, false, false},
        {"pkix", SMTP_TLS_PKIX, true, "mx.example", false, true, true},
        {"pkix, wrong name", SMTP_TLS_PKIX, true, "other.example", false, false, false},
        {"dane", SMTP_TLS_DANE, false, "mx.example", true, true, true},
        {"dane, other key", SMTP_TLS_DANE, true, "mx.example", false, false, false},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        try_row(w, i, &rows[i]);
}

TEST(smtp_tls, keeps_the_policy)
{
    world(t, policies);
}

/* ---- remotes that cheat ---------------------------------------------------------------------------------------------------- */

/* Answers an EHLO reply in the clear, together with the 220 of STARTTLS. */
static void injecting_remote(struct stream *s, void *arg)
{
    struct world *w = arg;
    struct deadline until = deadline_in_ms(TALK_MS);
    struct fault why;
    size_t dropped;

    say(w, s, "220 hi\r\n");
    expect(w, s, "EHLO");
    say(w, s, "250-mx\r\n250 STARTTLS\r\n");
    expect(w, s, "STARTTLS");
    say(w, s, "220 go\r\n250-mx\r\n250-SIZE 7\r\n250 DSN\r\n");
    if (stream_start_tls_server(s, w->tls, &dropped, until, &why) == 0) {
        expect(w, s, "EHLO");
        say(w, s, "250-mx\r\n250 SIZE 9\r\n");
        expect(w, s, "QUIT");
    }
    stream_close(&s);
}

/* Takes STARTTLS away, as somebody on the path would. */
static void stripping_remote(struct stream *s, void *arg)
{
    struct world *w = arg;

    say(w, s, "220 hi\r\n");
    expect(w, s, "EHLO");
    say(w, s, "250-mx\r\n250 SIZE 5\r\n");
    (void)w;
    stream_close(&s);
}

static int open_at(struct world *w, void (*remote)(struct stream *s, void *arg), enum smtp_tls_policy policy, uint64_t *size, struct fault *why)
{
    struct listener_options lo = {.name = "cheat", .bind_address = "127.0.0.1", .accept = remote, .arg = w};
    struct listener *l = NULL;
    struct tls_client *tls = NULL;
    struct smtp_client_options o = {.ip = "127.0.0.1", .helo = "c.example", .server_name = LIT("mx.example"), .policy = policy};
    struct smtp_client *c = NULL;
    struct smtp_reply refusal;
    int r;

    if (listener_open(&lo, &l, why) < 0 || tls_client_new(NULL, &tls, why) < 0)
        return -1;
    o.port = listener_port(l);
    o.tls = tls;
    r = smtp_client_open(&o, deadline_in_ms(TALK_MS), w->t->arena, &c, &refusal, why);
    if (r == 0)
        *size = smtp_client_size_limit(c);
    smtp_client_close(&c);
    tls_client_unref(&tls);
    while (listener_connection_count(l) > 0)
        fiber_yield();
    listener_close(&l);
    return r;
}

static void cheats(struct world *w)
{
    struct test *t = w->t;
    struct fault why;
    uint64_t size = 0;

    CHECK_OK(open_at(w, injecting_remote, SMTP_TLS_OPPORTUNISTIC, &size, &why), &why);
    CHECK_INT(9, size);
    CHECK_FAULT(FAULT_PROTOCOL, open_at(w, stripping_remote, SMTP_TLS_ENCRYPT, &size, &why), &why);
}

TEST(smtp_tls, drops_injected_replies)
{
    world(t, cheats);
}
