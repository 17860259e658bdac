/* smtp_server_auth.c - AUTH PLAIN and LOGIN (RFC 4954, 4616): gets a name and a password to the
 * service, and wipes them.
 *
 * Owns the decoded secrets until the handler has answered. Called by the command table. Suspends
 * for continuation lines and in the handler. Only under TLS, unless a developer allowed otherwise.
 */
#include "net/smtp_server_internal.h"

#include "base/encode.h"
#include "base/secret.h"

#define AUTH_LINE_MAX 2048

bool conn_offers_auth(const struct smtp_conn *c)
{
    const struct smtp_server_options *o = &c->s.server->o;

    return o->auth && (c->s.tls || o->auth_in_clear) && !c->s.authenticated;
}

static void wipe(struct slice s)
{
    memory_wipe((void *)(uintptr_t)s.p, s.n);
}

/* Decodes and wipes the text form. "=" stands for an empty initial response (RFC 4954 4). */
static bool decode(struct arena *a, struct slice text, struct slice *out)
{
    bool ok = true;

    if (slice_equal(text, LIT("=")))
        *out = LIT("");
    else
        ok = base64_decode(a, text, out);
    wipe(text);
    return ok;
}

/* Sends a challenge and reads the answer, decoded. <0: the exchange is over and the peer was told.
 */
static int ask(struct smtp_conn *c, struct arena *a, struct slice challenge, struct slice *out)
{
    AUTO(buf_free) struct buf line = BUF_INIT(256);
    struct slice answer;
    struct fault why;

    (void)buf_printf(&line, "334 %.*s\r\n", SLICE(challenge));
    conn_write(c, buf_slice(&line));
    if (c->bye ||
        stream_read_line(c->s.stream, AUTH_LINE_MAX, conn_idle_deadline(c), &answer, &why) < 0) {
        c->bye = true;
        return -1;
    }
    if (slice_equal(answer, LIT("*"))) {
        conn_say(c, 501, "5.7.0", "Authentication cancelled");
        return -1;
    }
    if (!decode(a, answer, out)) {
        conn_say(c, 501, "5.5.2", "Invalid base64");
        return -1;
    }
    return 0;
}

static void try_login(struct smtp_conn *c, struct slice user, struct slice password)
{
    struct smtp_reply r = SMTP_REPLY(535, "5.7.8", "Authentication failed");

    if (user.n > 0 && password.n > 0 && password.n <= SECRET_MAX_BYTES)
        r = conn_server(c)->o.handlers->auth(&c->s, user, password);
    if (r.code < 400)
        c->s.authenticated = true;
    conn_reply(c, r, SMTP_REPLY(235, "2.7.0", "Authentication successful"));
}

/* authzid NUL authcid NUL password; acting for somebody else is not offered */
static void plain(struct smtp_conn *c, struct arena *a, struct slice initial, bool given)
{
    struct slice all, actor, user;

    if (given ? !decode(a, initial, &all) : ask(c, a, LIT(""), &all) < 0) {
        if (given)
            conn_say(c, 501, "5.5.2", "Invalid base64");
        return;
    }
    struct slice rest = all;
    if (!slice_cut(&rest, '\0', &actor) || !slice_cut(&rest, '\0', &user) ||
        (actor.n > 0 && !slice_equal_nocase(actor, user)) || slice_find_char(rest, '\0') >= 0)
        conn_say(c, 501, "5.5.2", "Invalid PLAIN response");
    else
        try_login(c, user, rest);
    wipe(all);
}

static void login(struct smtp_conn *c, struct arena *a, struct slice initial, bool given)
{
    struct slice user, password;

    if (given ? !decode(a, initial, &user) : ask(c, a, LIT("VXNlcm5hbWU6"), &user) < 0) {
        if (given)
            conn_say(c, 501, "5.5.2", "Invalid base64");
        return;
    }
    if (ask(c, a, LIT("UGFzc3dvcmQ6"), &password) < 0)
        return;
    try_login(c, user, password);
    wipe(password);
}

static struct smtp_reply may_auth(struct smtp_conn *c)
{
    const struct smtp_server_options *o = &conn_server(c)->o;

    if (!o->auth)
        return SMTP_REPLY(502, "5.5.1", "Not offered here");
    if (c->s.authenticated || c->in_mail)
        return SMTP_REPLY(503, "5.5.1", "Not now");
    if (!conn_offers_auth(c))
        return SMTP_REPLY(538, "5.7.11", "Encryption is required first");
    if (c->s.helo.n == 0 || !c->s.esmtp)
        return SMTP_REPLY(503, "5.5.1", "Say EHLO first");
    return SMTP_OK;
}

void conn_cmd_auth(struct smtp_conn *c, struct slice argument)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct smtp_reply r = may_auth(c);
    struct slice mechanism = SLICE_NONE, initial = arena_copy(a, argument);
    bool given;

    if (r.code != 0) {
        wipe(argument);
        conn_reply(c, r, SMTP_OK);
        return;
    }
    wipe(argument); /* it lies in the stream's buffer */
    (void)slice_cut(&initial, ' ', &mechanism);
    initial = slice_trim(initial);
    given = initial.n > 0;
    if (slice_equal_nocase(mechanism, LIT("PLAIN")))
        plain(c, a, initial, given);
    else if (slice_equal_nocase(mechanism, LIT("LOGIN")))
        login(c, a, initial, given);
    else
        conn_say(c, 504, "5.5.4", "AUTH PLAIN or LOGIN");
}
