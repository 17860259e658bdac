/* bree_test.c - messages through the runner: a store of its own, SMTP servers on loopback, every answer looked up afterwards. */
#include <unistd.h>

#include "base/json.h"
#include "base/test.h"
#include "bree.h"
#include "mail/dkim.h"
#include "mail/field_crypt.h"
#include "mail/srs.h"
#include "net/smtp_server.h"
#include "rt/listener.h"
#include "rt/loop.h"
#include "wire/mime.h"
#include "wire/rfc5322.h"

#define TALK_MS 20000
#define HERE    "[127.0.0.1]"
#define THERE   "[127.0.0.2]"

struct world {
    struct test *t;
    struct config config;
    struct smtp_server *server;
    struct listener *listeners[2];
    struct domain_doc domain;
    struct slice key_record;
    char folder[40];
    unsigned extensions;
    void (*run)(struct world *w);
    /* what the servers saw */
    unsigned connections, messages;
    bool says_good_bye;                        /* to the second message of a connection */
    char rcpts[1000], from[300];
    struct buf content;
};

/* ---- the remote servers: the local part of a recipient says what becomes of it ---------------------------------------- */

static struct world *world_of(struct smtp_session *s)
{
    return smtp_server_arg(s->server);
}

static struct smtp_reply remote_connect(struct smtp_session *s)
{
    world_of(s)->connections++;
    return SMTP_OK;
}

static struct smtp_reply remote_mail(struct smtp_session *s, const struct smtp_mail *mail)
{
    struct world *w = world_of(s);

    (void)snprintf(w->from, sizeof(w->from), "%.*s", SLICE(mail->from.address));
    if (w->says_good_bye && s->user != NULL)
        return SMTP_REPLY(421, "4.4.2", "Idle for too long");
    return SMTP_OK;
}

static struct smtp_reply remote_begin(struct smtp_session *s)
{
    buf_reset(&world_of(s)->content);
    return SMTP_OK;
}

static struct smtp_reply remote_rcpt(struct smtp_session *s, const struct smtp_rcpt *rcpt)
{
    struct world *w = world_of(s);
    size_t n = strlen(w->rcpts);

    if (slice_has_prefix(rcpt->to.local, LIT("nobody")))
        return SMTP_REPLY(550, "5.1.1", "No such user");
    if (slice_has_prefix(rcpt->to.local, LIT("later")))
        return SMTP_REPLY(451, "4.3.0", "Not now");
    (void)snprintf(w->rcpts + n, sizeof(w->rcpts) - n, "%.*s ", SLICE(rcpt->to.local));
    return SMTP_OK;
}

static struct smtp_reply remote_chunk(struct smtp_session *s, struct slice bytes)
{
    (void)buf_append(&world_of(s)->content, bytes);
    return SMTP_OK;
}

static struct smtp_reply remote_end(struct smtp_session *s)
{
    world_of(s)->messages++;
    s->user = world_of(s);
    return SMTP_OK;
}

static const struct smtp_handlers remote = {
    .connect = remote_connect, .mail = remote_mail, .rcpt = remote_rcpt, .data_begin = remote_begin, .data_chunk = remote_chunk, .data_end = remote_end,
};

/* ---- set-up ------------------------------------------------------------------------------------------------------------ */

static int open_listeners(struct world *w, struct fault *why)
{
    static const char *const addresses[2] = { "127.0.0.1", "127.0.0.2" };
    struct smtp_server_options o = { .hostname = "remote.example", .extensions = w->extensions, .message_bytes_max = 1 << 20, .recipients_max = 100,
                                     .handlers = &remote, .arg = w };
    uint16_t port = 0;

    w->server = smtp_server_new(&o);
    for (size_t i = 0; i < 2; i++) {
        struct listener_options l = { .name = "remote", .bind_address = addresses[i], .port = port, .accept = smtp_server_accept, .arg = w->server };

        if (listener_open(&l, &w->listeners[i], why) < 0)
            return -1;
        port = listener_port(w->listeners[i]);
    }
    w->config.out_port = port;
    return 0;
}

static int add_domain(struct world *w, struct fault *why)
{
    AUTO(dkim_key_free) struct dkim_key *key = NULL;
    struct slice pem;
    char label[64];

    memcpy(w->domain.id, object_id_new().s, sizeof(w->domain.id));
    if (dkim_key_generate(w->t->arena, DKIM_ED25519_SHA256, 0, &pem, why) < 0 || dkim_key_parse(pem, &key, why) < 0 ||
        dkim_key_record(key, w->t->arena, &w->key_record, why) < 0)
        return -1;
    (void)snprintf(label, sizeof(label), "dkim %s", w->domain.id);
    w->domain.name = LIT("us.example");
    w->domain.has_smtp = true;
    w->domain.return_path = LIT("fe-bounces");
    w->domain.dkim_key_selector = LIT("sel");
    w->domain.dkim_private_key = field_encrypt(w->t->arena, w->config.helper_key, label, pem);
    return domain_insert(bree.store, &w->domain, deadline_in_ms(TALK_MS), why);
}

static int world_open(struct world *w, struct fault *why)
{
    char uri[96], key[96];
    struct store_options so = { .uri = uri, .key_file = key };
    static bool metrics;

    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/fe-bree-XXXXXX");
    if (mkdtemp(w->folder) == NULL)
        return fault_set(why, FAULT_IO, "mkdtemp");
    (void)snprintf(uri, sizeof(uri), "embedded:%s/store.sqlite", w->folder);
    (void)snprintf(key, sizeof(key), "%s/store.key", w->folder);
    w->config.host = "us.example";
    w->config.local_ip = "";
    w->config.allow_private = true;
    w->config.lease_ms = 15 * 60000;
    w->config.destination_max = 2;
    w->config.helper_key = secret_new(LIT("0123456789abcdef0123456789abcdef"));
    w->config.srs_secret = secret_new(LIT("srs"));
    w->content = BUF_INIT(1 << 20);
    bree.config = &w->config;
    fiber_event_init(&bree.wake);
    if (!metrics) {
        bree.sent = metric_counter("t1", "");
        bree.deferred = metric_counter("t2", "");
        bree.failed = metric_counter("t3", "");
        bree.took = metric_histogram_us("t4", "");
    }
    metrics = true;
    if (store_open(&so, &bree.store, why) < 0 || tls_client_new(NULL, &bree.tls, why) < 0 || open_listeners(w, why) < 0)
        return -1;
    bree.directory = directory_new(bree.store, 0);
    bree.keys = dkim_keyring_new(w->config.helper_key);
    return add_domain(w, why);
}

static void world_close(struct world *w)
{
    AUTO(buf_free) struct buf command = BUF_INIT(256);

    connections_close(true);
    for (size_t i = 0; i < 2; i++)
        listener_close(&w->listeners[i]);
    smtp_server_drain(w->server, deadline_in_ms(TALK_MS));
    smtp_server_free(&w->server);
    tls_client_unref(&bree.tls);
    directory_free(&bree.directory);
    dkim_keyring_free(&bree.keys);
    store_close(&bree.store);
    secret_unref(&w->config.helper_key);
    secret_unref(&w->config.srs_secret);
    buf_free(&w->content);
    (void)buf_printf(&command, "rm -rf %s", w->folder);
    if (system(command.p) != 0)
        test_fail(w->t, __FILE__, __LINE__, "cannot remove %s", w->folder);
}

static void world_fiber(void *arg)
{
    struct world *w = arg;
    struct test *t = w->t;
    struct fault why = { 0 };

    REQUIRE_OK(world_open(w, &why), &why);
    w->run(w);
    world_close(w);
}

static void in_world(struct test *t, void (*run)(struct world *w), unsigned extensions)
{
    struct world w = { .t = t, .run = run, .extensions = extensions };

    loop_run_fiber(world_fiber, &w);
}

/* ---- steps ------------------------------------------------------------------------------------------------------------- */

static void enqueue(struct world *w, struct email_recipient *to, size_t count, const char *ret)
{
    struct email_doc e = { .from = LIT("jane@us.example"), .recipients = to, .recipient_count = count, .message_id = LIT("1@us.example"),
                           .is_8bit = true, .dsn_return = slice_of(ret), .date = clock_wall_ms() };
    struct slice text = LIT("From: Jane <jane@us.example>\r\nTo: a@b.example\r\nBcc: secret@b.example,\r\n more@b.example\r\nSubject: hi\r\n"
                            "X-Forward-Email-ID: forged\r\n\r\nHello.\r\n.dot\r\n");
    struct store_blob *blob = store_blob_new(bree.store);
    struct test *t = w->t;
    struct fault why;

    memcpy(e.domain, w->domain.id, sizeof(e.domain));
    e.size_bytes = (int64_t)text.n;
    CHECK_OK(store_blob_write(blob, text, &why), &why);
    CHECK_OK(email_enqueue(bree.store, &e, &blob, deadline_in_ms(TALK_MS), &why), &why);
}

/* Claims what is due and runs it. False when nothing is. */
static bool run_one(struct world *w)
{
    struct job job = { .arena = w->t->arena, .header = BUF_INIT(HEADER_MAX), .body = BUF_INIT(BODY_KEPT_MAX), .leased_at_ms = clock_now_ms() };
    struct fault why;

    if (email_claim(bree.store, LIT("test"), bree.config->lease_ms, job.arena, deadline_in_ms(TALK_MS), &job.email, &why) < 0)
        return false;
    job_run(&job);
    job_finish(&job);
    json_release(&job.delivery);
    buf_free(&job.header);
    buf_free(&job.body);
    return true;
}

static struct email_doc *list(struct world *w, size_t *count)
{
    struct email_scope all = { 0 };
    struct email_doc *out = NULL;
    struct test *t = w->t;
    struct fault why;

    *count = 0;
    CHECK_OK(email_list(bree.store, &all, NULL, t->arena, deadline_in_ms(TALK_MS), &out, count, &why), &why);
    return out;
}

/* The one that is (or is not) a notification. */
static struct email_doc *find(struct world *w, bool is_dsn)
{
    size_t count;
    struct email_doc *all = list(w, &count);

    for (size_t i = 0; i < count; i++)
        if (all[i].is_dsn == is_dsn)
            return &all[i];
    return NULL;
}

static struct slice read_blob(struct world *w, struct slice id)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    AUTO(buf_free) struct buf all = BUF_INIT(1 << 20);
    struct slice piece;
    struct fault why;
    uint64_t size;

    if (store_blob_open(bree.store, id, deadline_in_ms(TALK_MS), &r, &size, &why) < 0)
        return LIT("(no blob)");
    while (store_blob_read(r, deadline_in_ms(TALK_MS), &piece, &why) == 0 && piece.n > 0)
        (void)buf_append(&all, piece);
    return arena_copy(w->t->arena, buf_slice(&all));
}

/* ---- tests ------------------------------------------------------------------------------------------------------------- */

static void check_content(struct world *w)
{
    struct slice m = buf_slice(&w->content), header, body;
    AUTO(dkim_verifier_free) struct dkim_verifier *v = NULL;
    struct test *t = w->t;

    header = slice_head(m, rfc5322_header_length(m) - 2);
    body = slice_tail(m, header.n + 2);
    CHECK_STR("Hello.\r\n.dot\r\n", body);
    CHECK(slice_find(header, LIT("secret@")) < 0 && slice_find(header, LIT("more@")) < 0 && slice_find(header, LIT("forged")) < 0);
    CHECK_INT(1, rfc5322_count_fields(header, LIT("X-Forward-Email-ID")));
    CHECK_STR("rfc822; jane@us.example, us.example", rfc5322_get_value(t->arena, header, LIT("X-Forward-Email-Sender")));
    v = dkim_verifier_new(t->arena, header, clock_wall_ms());
    REQUIRE(dkim_verifier_count(v) == 1);
    dkim_verifier_key(v, 0, DKIM_KEY_FOUND, w->key_record);
    dkim_verifier_body(v, body);
    dkim_verifier_finish(v);
    CHECK_STR("pass", slice_of(dkim_result_name(dkim_verifier_verdict(v, 0)->result)));
    CHECK_STR("us.example", dkim_verifier_verdict(v, 0)->domain);
}

static void run_mixed(struct world *w)
{
    struct email_recipient to[4] = { { .address = LIT("ann@" HERE) }, { .address = LIT("nobody@" HERE) }, { .address = LIT("later@" THERE) },
                                     { .address = LIT("bob@" HERE) } };
    struct test *t = w->t;
    struct email_doc *e;
    struct slice text;

    enqueue(w, to, 4, "");
    REQUIRE(run_one(w));
    CHECK_STR("ann bob ", slice_of(w->rcpts));
    CHECK_INT(1, w->messages);
    CHECK_STR("jane@us.example", slice_of(w->from));
    check_content(w);

    e = find(w, false);
    REQUIRE(e != NULL && e->recipient_count == 4);
    CHECK_STR("deferred", e->status);
    CHECK_INT(RECIPIENT_ACCEPTED, e->recipients[0].state);
    CHECK_INT(RECIPIENT_FAILED, e->recipients[1].state);
    CHECK_STR("5.1.1", e->recipients[1].status);
    CHECK_INT(RECIPIENT_WAITING, e->recipients[2].state);
    CHECK_INT(451, e->recipients[2].code);
    CHECK(e->next_attempt_at > clock_wall_ms() + 50000 && e->next_attempt_at < clock_wall_ms() + 70000);
    CHECK(e->recipients[1].final_sent && !e->is_locked);

    e = find(w, true);
    REQUIRE(e != NULL);
    CHECK(e->from.n == 0 && e->is_bounce);
    CHECK_STR("jane@us.example", e->recipients[0].address);
    text = read_blob(w, e->blob);
    CHECK_INT(text.n, e->size_bytes);
    CHECK(slice_find(text, LIT("Final-Recipient: rfc822; nobody@" HERE "\r\nAction: failed\r\nStatus: 5.1.1\r\n")) > 0);
    CHECK(slice_find(text, LIT("Subject: hi")) > 0 && slice_find(text, LIT("Hello.")) < 0);
}

TEST(bree, sends_defers_and_reports)
{
    in_world(t, run_mixed, SMTP_EXT_8BITMIME | SMTP_EXT_DSN);
}

static void run_reuse(struct world *w)
{
    struct email_recipient to = { .address = LIT("ann@" HERE) };
    struct test *t = w->t;
    size_t count;
    struct email_doc *all;

    for (int i = 0; i < 3; i++)
        enqueue(w, &to, 1, "");
    while (run_one(w))
        continue;
    CHECK_INT(3, w->messages);
    CHECK_INT(1, w->connections);
    all = list(w, &count);
    CHECK_INT(3, count);
    for (size_t i = 0; i < count; i++) {
        CHECK_STR("sent", all[i].status);
        CHECK(slice_find(all[i].deliveries, LIT("\"responseCode\":250")) > 0 && all[i].next_attempt_at == 0);
    }
}

TEST(bree, keeps_a_connection)
{
    in_world(t, run_reuse, SMTP_EXT_8BITMIME);
}

/* A kept connection that the remote gives up says nothing about the message. */
static void run_given_up(struct world *w)
{
    struct email_recipient to = { .address = LIT("ann@" HERE) };
    struct test *t = w->t;
    size_t count;
    struct email_doc *all;

    w->says_good_bye = true;
    for (int i = 0; i < 3; i++)
        enqueue(w, &to, 1, "");
    while (run_one(w))
        continue;
    CHECK_INT(3, w->messages);
    CHECK_INT(3, w->connections);
    all = list(w, &count);
    CHECK_INT(3, count);
    for (size_t i = 0; i < count; i++) {
        CHECK_STR("sent", all[i].status);
        CHECK_INT(1, all[i].attempts);
    }
}

TEST(bree, sends_again_when_a_kept_connection_was_given_up)
{
    in_world(t, run_given_up, SMTP_EXT_8BITMIME);
    in_world(t, run_given_up, SMTP_EXT_8BITMIME | SMTP_EXT_CHUNKING);
}

/* Killed after the first destination answered: the lease runs out, another runner goes on where it stopped. */
static void run_killed(struct world *w)
{
    struct email_recipient to[2] = { { .address = LIT("ann@" HERE) }, { .address = LIT("bob@" THERE) } };
    struct job dead = { .arena = w->t->arena };
    struct test *t = w->t;
    struct fault why;

    enqueue(w, to, 2, "");
    REQUIRE_OK(email_claim(bree.store, LIT("dead"), 1, dead.arena, deadline_in_ms(TALK_MS), &dead.email, &why), &why);
    dead.email.recipients[0].state = RECIPIENT_ACCEPTED;
    dead.email.recipients[0].code = 250;
    REQUIRE_OK(email_save_progress(bree.store, &dead.email, NULL, deadline_in_ms(TALK_MS), &why), &why);
    (void)fiber_sleep_until(deadline_in_ms(5), NULL);           /* the lease of 1 ms: wall clock of the store */
    REQUIRE(run_one(w));
    CHECK_STR("bob ", slice_of(w->rcpts));
    CHECK_STR("sent", find(w, false)->status);
    CHECK_FAULT(FAULT_CONFLICT, email_save_progress(bree.store, &dead.email, NULL, deadline_in_ms(TALK_MS), &why), &why);
}

TEST(bree, goes_on_where_a_killed_one_stopped)
{
    in_world(t, run_killed, SMTP_EXT_8BITMIME);
}

static void run_success(struct world *w)
{
    struct email_recipient to[3] = { { .address = LIT("ann@" HERE), .notify = LIT("SUCCESS,FAILURE") }, { .address = LIT("bob@" HERE), .notify = LIT("NEVER") },
                                     { .address = LIT("nobody@" HERE), .notify = LIT("NEVER") } };
    bool remote_dsn = w->extensions & SMTP_EXT_DSN;
    struct test *t = w->t;
    struct email_doc *e;

    enqueue(w, to, 3, "FULL");
    REQUIRE(run_one(w));
    CHECK_STR("partially_sent", find(w, false)->status);
    e = find(w, true);
    CHECK((e == NULL) == remote_dsn);              /* else the remote tells the sender */
    if (e != NULL)
        CHECK(slice_find(read_blob(w, e->blob), LIT("Final-Recipient: rfc822; ann@" HERE "\r\nAction: relayed\r\n")) > 0);
}

TEST(bree, reports_success_when_the_remote_does_not)
{
    in_world(t, run_success, SMTP_EXT_8BITMIME);
    in_world(t, run_success, SMTP_EXT_8BITMIME | SMTP_EXT_DSN);
}

static void update_domain(struct world *w, const char *field, const json_t *value)
{
    struct store_update *u = store_update_new(w->t->arena);
    struct test *t = w->t;
    struct fault why;

    store_set_json(u, field, value);
    CHECK_OK(store_update(bree.store, DOMAINS, store_filter_id(t->arena, slice_of(w->domain.id)), u, STORE_ONE, deadline_in_ms(TALK_MS), NULL, &why), &why);
    directory_forget(bree.directory);
}

static void run_policy(struct world *w)
{
    AUTO(json_release) json_t *blocked = json_pack("[s]", "Eve@" HERE), *yes = json_true();
    struct email_recipient eve = { .address = LIT("eve@" HERE) }, ann = { .address = LIT("ann@" HERE) };
    struct test *t = w->t;
    struct slice original = SLICE_NONE;

    update_domain(w, "smtp_emails_blocked", blocked);
    enqueue(w, &eve, 1, "FULL");
    REQUIRE(run_one(w));
    CHECK_INT(0, w->connections);
    CHECK_STR("rejected", find(w, false)->status);
    CHECK(slice_find(read_blob(w, find(w, true)->blob), LIT("Content-Type: message/rfc822")) > 0);
    REQUIRE(run_one(w));                           /* the notification: no resolver here, so it waits */

    update_domain(w, "has_return_path_record", yes);
    enqueue(w, &ann, 1, "");
    REQUIRE(run_one(w));
    CHECK(slice_has_suffix(slice_of(w->from), LIT("@fe-bounces.us.example")));
    CHECK_INT(SRS_VALID, srs_decode(t->arena, w->config.srs_secret, slice_of(w->from), clock_wall_ms(), &original));
    CHECK_STR("jane@us.example", original);
}

TEST(bree, follows_the_domain)
{
    in_world(t, run_policy, SMTP_EXT_8BITMIME);
}
