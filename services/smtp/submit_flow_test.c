/* submit_flow_test.c - whole conversations with fe-smtp in one process, against a store of its own. */
#include <unistd.h>

#include "base/json.h"
#include "base/test.h"
#include "mail/keys.h"
#include "rt/loop.h"
#include "store/models.h"
#include "submit.h"

#define TALK_MS 20000

struct world {
    struct test *t;
    struct submit_config config;
    struct submit submit;
    char folder[32];
    struct stream *peer;
    const char *const *script;
    void (*look)(struct world *w);
};

/* A list of one password, as documents hold it. */
static struct slice slots(struct test *t, const char *owner, const struct secret *key, struct slice password, const char *scope)
{
    AUTO(buf_free) struct buf text = BUF_INIT(8192);
    AUTO(json_release) json_t *list = json_array();
    struct keys_wrap_options o = {.scope = scope};
    struct fault why;
    json_t *wrap = NULL;

    CHECK_OK(keys_wrap_make(slice_of(owner), key, password, &o, &wrap, &why), &why);
    json_array_append_new(list, wrap);
    json_format(list, &text);
    return arena_copy(t->arena, buf_slice(&text));
}

/* jane@here.example may send with the password "open sesame", anybody there with "sesame street"; joe's domain may not send at all. */
static void add_account(struct world *w, const char *domain, const char *name, bool has_smtp)
{
    struct domain_doc d = {.name = slice_of(domain), .has_smtp = has_smtp};
    struct alias_doc a = {.name = slice_of(name), .is_enabled = true, .has_imap = true};
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    struct fault why;
    struct test *t = w->t;

    memcpy(d.id, object_id_new().s, sizeof(d.id));
    d.tokens = slots(t, d.id, key, LIT("sesame street"), "smtp");
    CHECK_OK(domain_insert(w->submit.store, &d, deadline_in_ms(TALK_MS), &why), &why);
    memcpy(a.domain, d.id, sizeof(a.domain));
    memcpy(a.id, object_id_new().s, sizeof(a.id));
    memcpy(a.user, object_id_new().s, sizeof(a.user));
    a.wraps = slots(t, a.id, key, LIT("open sesame"), "all");
    a.sealing_public_key = keys_public_text(t->arena, key);
    CHECK_OK(alias_insert(w->submit.store, &a, deadline_in_ms(TALK_MS), &why), &why);
}

static int world_open(struct world *w, struct fault *why)
{
    char uri[96], key[96];
    struct store_options so = {.uri = uri, .key_file = key};

    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/fe-smtp-XXXXXX");
    if (mkdtemp(w->folder) == NULL)
        return fault_set(why, FAULT_IO, "mkdtemp");
    (void)snprintf(uri, sizeof(uri), "embedded:%s/store.sqlite", w->folder);
    (void)snprintf(key, sizeof(key), "%s/store.key", w->folder);
    if (store_open(&so, &w->submit.store, why) < 0 || spool_dir_open(w->folder, &w->submit.spools, why) < 0)
        return -1;
    w->submit.login = login_new(&(struct login_options){.store = w->submit.store, .protocol = "smtp", .exempt_loopback = true});
    w->submit.queued = metric_counter("s1", "");
    w->submit.refused = metric_counter("s2", "");
    return 0;
}

static void run_script(struct world *w)
{
    struct deadline until = deadline_in_ms(TALK_MS);
    struct slice line;
    struct fault why;

    for (size_t i = 0; w->script[i]; i++) {
        struct slice row = slice_of(w->script[i]);

        if (slice_has_prefix(row, LIT("C:"))) {
            if (stream_write(w->peer, slice_tail(row, 2), until, &why) < 0)
                return;
            continue;
        }
        if (stream_read_line(w->peer, SMTP_LINE_MAX, until, &line, &why) < 0)
            line = LIT("(closed)");
        while (slice_has_prefix(line, LIT("250-")) && !slice_has_prefix(row, LIT("S:250-")))
            if (stream_read_line(w->peer, SMTP_LINE_MAX, until, &line, &why) < 0)
                return;
        if (!slice_has_prefix(line, slice_tail(row, 2)))
            test_fail(w->t, __FILE__, __LINE__, "line %zu: want [%s], got [%.*s]", i, w->script[i], SLICE(line));
    }
}

static void world_close(struct world *w)
{
    AUTO(buf_free) struct buf command = BUF_INIT(256);

    stream_close(&w->peer);
    smtp_server_drain(w->submit.starttls, deadline_in_ms(TALK_MS));
    smtp_server_free(&w->submit.starttls);
    login_free(&w->submit.login);
    store_close(&w->submit.store);
    spool_dir_close(&w->submit.spools);
    (void)buf_printf(&command, "rm -rf %s", w->folder);
    if (system(command.p) != 0)
        test_fail(w->t, __FILE__, __LINE__, "cannot remove %s", w->folder);
}

static void world_fiber(void *arg)
{
    struct world *w = arg;
    struct test *t = w->t;
    struct smtp_server_options o = {.hostname = "smtp.example", .extensions = SMTP_EXT_8BITMIME | SMTP_EXT_DSN, .auth = true, .auth_in_clear = true,
        .auth_required = true, .message_bytes_max = 1 << 20, .recipients_max = 3, .handlers = &submit_handlers, .arg = &w->submit};
    struct stream *mine = NULL;
    struct fault why = {0};

    w->config.host = "smtp.example";
    w->submit.config = &w->config;
    REQUIRE_OK(world_open(w, &why), &why);
    add_account(w, "here.example", "jane", true);
    add_account(w, "mute.example", "joe", false);
    w->submit.starttls = smtp_server_new(&o);
    REQUIRE_OK(stream_pair(&mine, &w->peer, &why), &why);
    smtp_server_accept(mine, w->submit.starttls);
    run_script(w);
    if (w->look)
        w->look(w);
    world_close(w);
}

static void dialogue(struct test *t, const char *const *script, void (*look)(struct world *w))
{
    struct world w = {.t = t, .script = script, .look = look};

    loop_run_fiber(world_fiber, &w);
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define JANE "AUTH PLAIN AGphbmVAaGVyZS5leGFtcGxlAG9wZW4gc2VzYW1l\r\n"      /* jane@here.example, open sesame */
#define JOE  "AUTH PLAIN AGpvZUBtdXRlLmV4YW1wbGUAb3BlbiBzZXNhbWU=\r\n"      /* joe@mute.example, open sesame */
#define ANYBODY "AUTH PLAIN ACpAaGVyZS5leGFtcGxlAHNlc2FtZSBzdHJlZXQ=\r\n"      /* *@here.example, sesame street */

static struct slice read_blob(struct world *w, struct slice id)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    AUTO(buf_free) struct buf all = BUF_INIT(1 << 20);
    struct slice piece = LIT("x");
    struct fault why;
    uint64_t size;

    if (store_blob_open(w->submit.store, id, deadline_in_ms(TALK_MS), &r, &size, &why) < 0)
        return LIT("(no blob)");
    while (store_blob_read(r, deadline_in_ms(TALK_MS), &piece, &why) == 0 && piece.n > 0)
        (void)buf_append(&all, piece);
    return arena_copy(w->t->arena, buf_slice(&all));
}

static void look_queued(struct world *w)
{
    struct email_scope all = {0};
    struct email_doc *list;
    struct fault why;
    struct test *t = w->t;
    struct slice text;
    size_t count;

    REQUIRE_OK(email_list(w->submit.store, &all, NULL, t->arena, deadline_in_ms(TALK_MS), &list, &count, &why), &why);
    CHECK_INT(1, count);
    CHECK_STR("queued", list[0].status);
    CHECK_STR("Jane+x@here.example", list[0].from);
    CHECK_INT(2, list[0].recipient_count);
    CHECK_STR("b@there.example", list[0].recipients[0].address);
    CHECK_STR("SUCCESS,DELAY", list[0].recipients[1].notify);
    CHECK_STR("hello", list[0].subject);
    CHECK_STR("FULL", list[0].dsn_return);
    text = read_blob(w, list[0].blob);
    CHECK_INT(text.n, list[0].size_bytes);
    CHECK(slice_find(text, LIT("Bcc")) < 0 && slice_find(text, LIT("Message-ID: <")) >= 0 && slice_find(text, LIT("Date: ")) >= 0);
    CHECK(slice_has_suffix(text, LIT("From: jane@here.example\r\nSubject: hello\r\n\r\n.dot\r\n")));
}

TEST(submit_flow, queues_a_message)
{
    dialogue(t, SCRIPT("S:220", "C:EHLO c\r\n", "S:250 ", "C:" JANE, "S:235",
        "C:MAIL FROM:<Jane+x@here.example> RET=FULL\r\nRCPT TO:<b@there.example>\r\nRCPT TO:<c@there.example> NOTIFY=SUCCESS,DELAY\r\nDATA\r\n",
        "S:250 ", "S:250 ", "S:250 ", "S:354",
        "C:From: jane@here.example\r\nBcc: secret@there.example\r\nSubject: hello\r\n\r\n..dot\r\n.\r\n", "S:250 2.0.0 Ok: queued as ",
        "C:QUIT\r\n", "S:221"), look_queued);
}

static void look_empty(struct world *w)
{
    struct email_scope all = {0};
    struct email_doc *list;
    struct fault why;
    struct test *t = w->t;
    size_t count = 1;

    REQUIRE_OK(email_list(w->submit.store, &all, NULL, t->arena, deadline_in_ms(TALK_MS), &list, &count, &why), &why);
    CHECK_INT(0, count);
}

TEST(submit_flow, knows_who_may_send_as_whom)
{
    dialogue(t, SCRIPT("S:220", "C:EHLO c\r\n", "S:250 ", "C:AUTH PLAIN AGphbmVAaGVyZS5leGFtcGxlAHdyb25n\r\n", "S:535",
        "C:MAIL FROM:<jane@here.example>\r\n", "S:530", "C:" JANE, "S:235",
        "C:MAIL FROM:<joe@here.example>\r\n", "S:550 5.7.1 MAIL FROM must be the address you signed in with", "C:MAIL FROM:<>\r\n", "S:550 5.7.1",
        "C:MAIL FROM:<jane@here.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", "S:250", "S:250", "S:354",
        "C:From: joe@here.example\r\n\r\nx\r\n.\r\n", "S:550 5.7.1",
        "C:MAIL FROM:<jane@here.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", "S:250", "S:250", "S:354",
        "C:\r\nx\r\n.\r\n", "S:550 5.6.0"), look_empty);
    dialogue(t, SCRIPT("S:220", "C:EHLO c\r\n", "S:250 ", "C:" JOE, "S:235", "C:MAIL FROM:<joe@mute.example>\r\n", "S:550 5.7.1 The domain"), look_empty);
}

static void look_anybody(struct world *w)
{
    struct email_scope all = {0};
    struct email_doc *list;
    struct fault why;
    struct test *t = w->t;
    size_t count;

    REQUIRE_OK(email_list(w->submit.store, &all, NULL, t->arena, deadline_in_ms(TALK_MS), &list, &count, &why), &why);
    REQUIRE(count == 1);
    CHECK_STR("joe@here.example", list[0].from);
    CHECK_STR("", list[0].alias);
    CHECK(list[0].domain[0] != '\0');
}

TEST(submit_flow, a_catchall_password_sends_as_anybody_of_the_domain)
{
    dialogue(t, SCRIPT("S:220", "C:EHLO c\r\n", "S:250 ", "C:" ANYBODY, "S:235",
        "C:MAIL FROM:<joe@there.example>\r\n", "S:550 5.7.1 MAIL FROM must be an address of the domain you signed in for",
        "C:MAIL FROM:<joe@here.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", "S:250", "S:250", "S:354",
        "C:From: joe@there.example\r\n\r\nx\r\n.\r\n", "S:550 5.7.1 The From header must be an address of the domain",
        "C:MAIL FROM:<joe@here.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", "S:250", "S:250", "S:354",
        "C:From: ann@here.example\r\n\r\nx\r\n.\r\n", "S:250 2.0.0 Ok"), look_anybody);
}
