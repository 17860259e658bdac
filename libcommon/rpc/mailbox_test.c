/* mailbox_test.c - the typed client against a small stand-in for the mailbox server; every frame is
 * checked against proto/. */
#include <fcntl.h>
#include <unistd.h>

#include "base/test.h"
#include "rpc/mailbox_internal.h"
#include "rpc/rpc_client_internal.h"
#include "rpc/rpc_server_internal.h"
#include "rt/fiber.h"
#include "rt/listener.h"
#include "rt/loop.h"
#include "wire/uid_set.h"

#define BIG_SECTION ((size_t)300000)

struct stand {
    struct test *t;
    struct rpc_server *rpc;
    struct http_server http;
    struct listener *listener;
    struct secret *secret, *key;
    struct mailbox_server *client;
    struct mailbox *mb;
    unsigned opened, closed, commits, bodies;
    bool drop_after_commit; /* the answer gets lost */
    unsigned char op[RPC_OP_BYTES];
    uint64_t appended_bytes;
    struct slice delivered_prefix;
    int delivered_once;
    void (*body)(struct stand *s);
};

/* ---- schemas: what of JSON Schema proto/ uses ---- */

static json_t *load_schema(struct stand *s, const char *action)
{
    char path[300], text[32768];
    json_t *schema = NULL;
    struct fault why;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/proto/%s.json", FE_SOURCE_DIR, action);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (fd >= 0)
        close(fd);
    if (n < 0 || json_parse(slice_make(text, (size_t)n), sizeof(text), &schema, &why) < 0)
        test_fail(s->t, __FILE__, __LINE__, "no schema %s", path);
    return schema;
}

static bool fits(const json_t *schema, const json_t *value);

static bool fits_object(const json_t *schema, const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *required = json_object_get(schema, "required");
    const char *key;
    json_t *v;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)value, key, v)
    {
        const json_t *p = json_object_get(properties, key);
        if (p == NULL || !fits(p, v))
            return false;
    }
    json_array_foreach((json_t *)(uintptr_t)required, i,
                       v) if (json_object_get(value, json_string_value(v)) == NULL) return false;
    return true;
}

static bool fits(const json_t *schema, const json_t *value)
{
    struct slice type = json_get_slice(schema, "type");
    json_t *v;
    size_t i;

    if (slice_equal(type, LIT("object")))
        return json_is_object(value) && fits_object(schema, value);
    if (slice_equal(type, LIT("string")))
        return json_is_string(value);
    if (slice_equal(type, LIT("boolean")))
        return json_is_boolean(value);
    if (slice_equal(type, LIT("array"))) {
        json_array_foreach((json_t *)(uintptr_t)value, i,
                           v) if (!fits(json_object_get(schema, "items"), v)) return false;
        return json_is_array(value);
    }
    return json_is_integer(value) &&
           json_integer_value(value) >= json_get_int(schema, "minimum", INT64_MIN) &&
           json_integer_value(value) <= json_get_int(schema, "maximum", INT64_MAX);
}

static void check_schema(struct stand *s, const char *action, const char *part, const json_t *value)
{
    AUTO(json_release) json_t *schema = load_schema(s, action), *empty = json_object();

    if (schema != NULL && !fits(json_object_get(json_object_get(schema, "properties"), part),
                                value != NULL ? value : empty))
        test_fail(s->t, __FILE__, __LINE__, "%s: %s does not fit proto/", action, part);
}

static int answer(struct rpc_call *call, json_t *ok, const struct buf *piece, struct fault *why)
{
    struct slice bytes = piece != NULL ? buf_slice(piece) : SLICE_NONE;

    check_schema(call->context, call->action, "ok", ok);
    return rpc_answer(call, ok, &bytes, piece != NULL ? 1 : 0, why);
}

/* ---- the stand-in ---- */

static void end_mailbox(void *object)
{
    ((struct stand *)object)->closed++;
}
static void end_body(UNUSED void *object)
{
}
static const struct rpc_session_kind mailbox_kind = {"mailbox", end_mailbox},
                                     body_kind = {"body", end_body};

static int do_open(struct rpc_call *call, struct fault *why)
{
    struct stand *s = call->context;
    struct rpc_session *handle;
    struct slice key;
    json_t *ok;

    if (rpc_read_piece(call, 32, &key, why) < 0)
        return -1;
    if (!slice_equal(key, secret_slice(s->key)))
        return fault_set(why, FAULT_DENIED, "wrong key");
    if (rpc_session_open(call, &mailbox_kind, s, &handle, why) < 0)
        return -1;
    s->opened++;
    ok = json_object();
    json_set_slice(ok, "session", rpc_session_handle(handle));
    json_set_int(ok, "modseq", 5);
    json_set_int(ok, "drain_left", 0);
    return answer(call, ok, NULL, why);
}

static int do_close(struct rpc_call *call, struct fault *why)
{
    rpc_session_end(call->handle);
    return answer(call, NULL, NULL, why);
}

static int do_get_folder(struct rpc_call *call, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1000);
    const struct mailbox_folder folder = {
        .id = 9, .path = json_get_slice(call->args, "path"), .exists = true, .uidvalidity = 3};

    if (slice_equal(folder.path, LIT("None")))
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    (void)pack_folders(&out, &folder, 1);
    return answer(call, NULL, &out, why);
}

static int do_select(struct rpc_call *call, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1000);
    const struct mailbox_view view = {
        .folder = {.id = 9, .path = json_get_slice(call->args, "path"), .exists = true},
        .modseq = 77,
        .uids = uid_set_make(call->arena, 3, 8)};

    (void)pack_view(&out, &view);
    return answer(call, NULL, &out, why);
}

static int do_store(struct rpc_call *call, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1000);
    struct mailbox_stored stored = {.from_modseq = 5, .modseq = 6};
    struct slice piece;

    if (rpc_read_piece(call, 1000, &piece, why) < 0 ||
        !unpack_uid_set(piece, call->arena, &stored.conflicts))
        return fault_set(why, FAULT_INVALID, "no uids");
    (void)pack_stored(&out, &stored);
    return answer(call, NULL, &out, why);
}

static void fill(char *p, size_t n, uint32_t uid)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 31 + uid);
}

/* Messages 1 to 40: a small section, one that is missing, a large one for each eighth message. */
static int do_fetch(struct rpc_call *call, struct fault *why)
{
    static char bytes[BIG_SECTION];

    check_schema(call->context, call->action, "ok", NULL);
    if (rpc_answer_begin(call, NULL, why) < 0)
        return -1;
    for (uint32_t uid = 1; uid <= 40; uid++) {
        AUTO(buf_free) struct buf head = BUF_INIT(100000);
        struct mailbox_fetched m = {.row = {.uid = uid, .size = 1000 + uid},
                                    .envelope = LIT("(NIL)")};
        m.sections[0].exists = m.sections[2].exists = true;
        m.sections[0].bytes = uid * 100;
        m.sections[2].bytes = uid % 8 == 0 ? BIG_SECTION : 0;
        fill(bytes, sizeof(bytes), uid);
        (void)pack_fetched(&head, &m, 3);
        if (rpc_write(call, buf_slice(&head), why) < 0 ||
            rpc_write(call, slice_make(bytes, m.sections[0].bytes), why) < 0 ||
            rpc_write(call, slice_make(bytes, m.sections[2].bytes), why) < 0)
            return -1;
    }
    return rpc_answer_end(call, why);
}

static int answer_appended(struct rpc_call *call, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1000);
    json_t *ok = json_object();

    json_set_int(ok, "uidvalidity", 3);
    json_set_int(ok, "from_modseq", 5);
    json_set_int(ok, "modseq", 7);
    (void)pack_uid_set(&out, uid_set_make(call->arena, 11, 12));
    return answer(call, ok, &out, why);
}

static int do_append(struct rpc_call *call, struct fault *why)
{
    struct stand *s = call->context;
    struct slice piece;
    int r;

    if (!call->more)
        return memcmp(call->op, s->op, RPC_OP_BYTES) == 0
                   ? answer_appended(call, why)
                   : fault_set(why, FAULT_NOT_FOUND, "unknown op");
    while ((r = rpc_next_piece(call, why)) == 1) {
        struct mailbox_append_head head;
        uint64_t got = 0;
        if (rpc_read_piece(call, 65536, &piece, why) < 0 ||
            !unpack_append_head(piece, call->arena, &head) || rpc_next_piece(call, why) != 1)
            return fault_set(why, FAULT_INVALID, "head and body go together");
        do {
            if (rpc_read(call, &piece, why) < 0)
                return -1;
            got += piece.n;
        } while (piece.n > 0);
        if (got != head.size_bytes)
            return fault_set(why, FAULT_INVALID, "wrong length");
        s->appended_bytes += got;
    }
    if (r < 0)
        return -1;
    s->commits++;
    memcpy(s->op, call->op, RPC_OP_BYTES);
    if (s->drop_after_commit)
        websocket_shutdown(((struct rpc_work *)(void *)call)->conn->link.ws);
    return answer_appended(call, why);
}

static int do_deliver_begin(struct rpc_call *call, struct fault *why)
{
    struct stand *s = call->context;
    struct rpc_session *handle;
    struct slice body;
    json_t *ok;

    if (rpc_read_piece(call, 1 << 20, &body, why) < 0 ||
        rpc_session_open(call, &body_kind, s, &handle, why) < 0)
        return -1;
    s->bodies++;
    ok = json_object();
    json_set_slice(ok, "session", rpc_session_handle(handle));
    return answer(call, ok, NULL, why);
}

static int do_deliver_to(struct rpc_call *call, struct fault *why)
{
    struct stand *s = call->context;
    struct slice key, prefix;
    json_t *ok;

    if (rpc_read_piece(call, 32, &key, why) < 0 || rpc_read_piece(call, 1000, &prefix, why) < 0)
        return -1;
    s->delivered_prefix = arena_copy(s->t->arena, prefix);
    ok = json_object();
    json_set_bool(ok, "sealed", true);
    json_set_bool(ok, "duplicate", false);
    json_set_int(ok, "uid", 0);
    return answer(call, ok, NULL, why);
}

static int do_deliver_one(struct rpc_call *call, struct fault *why)
{
    struct stand *s = call->context;
    struct slice key, prefix, body;
    json_t *ok = json_object();

    if (rpc_read_piece(call, 32, &key, why) < 0 || rpc_read_piece(call, 1000, &prefix, why) < 0 ||
        rpc_read_piece(call, 1 << 20, &body, why) < 0) {
        json_release(&ok);
        return -1;
    }
    s->delivered_once += slice_equal(body, LIT("small")) ? 1 : 0;
    json_set_bool(ok, "sealed", false);
    json_set_bool(ok, "duplicate", false);
    json_set_int(ok, "uid", 7);
    return answer(call, ok, NULL, why);
}

static int do_nothing(struct rpc_call *call, struct fault *why)
{
    return answer(call, NULL, NULL, why);
}

static int do_sizes(struct rpc_call *call, struct fault *why)
{
    json_t *ok = json_object(), *list = json_array();

    for (size_t i = 0; i < json_array_size(json_object_get(call->args, "alias_ids")); i++)
        (void)json_array_append_new(list, json_integer((json_int_t)(i * 1000)));
    (void)json_object_set_new(ok, "bytes", list);
    return answer(call, ok, NULL, why);
}

static int with_schema(struct rpc_call *call, struct fault *why)
{
    static const struct {
        const char *name;
        rpc_handler fn;
    } row[] = {
        {"ping", do_nothing},
        {"mailbox.open", do_open},
        {"mailbox.close", do_close},
        {"mailbox.create", do_nothing},
        {"mailbox.set_wraps", do_nothing},
        {"mailbox.delete", do_nothing},
        {"mailbox.sizes", do_sizes},
        {"folders.get", do_get_folder},
        {"folders.create", do_nothing},
        {"folders.rename", do_nothing},
        {"folders.subscribe", do_nothing},
        {"messages.select", do_select},
        {"messages.store", do_store},
        {"messages.fetch", do_fetch},
        {"messages.append", do_append},
        {"deliver.begin", do_deliver_begin},
        {"deliver.to", do_deliver_to},
        {"deliver.end", do_nothing},
        {"deliver.one", do_deliver_one},
    };

    check_schema(call->context, call->action, "args", call->args);
    for (size_t i = 0; i < COUNT(row); i++)
        if (strcmp(row[i].name, call->action) == 0)
            return row[i].fn(call, why);
    return fault_set(why, FAULT_INVALID, "not here");
}

static const struct rpc_action actions[] = {
    {"ping", with_schema, NULL, 0},
    {"mailbox.open", with_schema, NULL, RPC_IS_SECRET},
    {"mailbox.close", with_schema, &mailbox_kind, 0},
    {"mailbox.create", with_schema, NULL, RPC_IS_SECRET},
    {"mailbox.set_wraps", with_schema, &mailbox_kind, 0},
    {"mailbox.delete", with_schema, NULL, 0},
    {"mailbox.sizes", with_schema, NULL, 0},
    {"folders.get", with_schema, &mailbox_kind, 0},
    {"folders.create", with_schema, &mailbox_kind, 0},
    {"folders.rename", with_schema, &mailbox_kind, 0},
    {"folders.subscribe", with_schema, &mailbox_kind, 0},
    {"messages.select", with_schema, &mailbox_kind, 0},
    {"messages.store", with_schema, &mailbox_kind, 0},
    {"messages.fetch", with_schema, &mailbox_kind, 0},
    {"messages.append", with_schema, &mailbox_kind, RPC_NEEDS_OP},
    {"deliver.begin", with_schema, NULL, 0},
    {"deliver.to", with_schema, &body_kind, 0},
    {"deliver.end", with_schema, &body_kind, 0},
    {"deliver.one", with_schema, NULL, 0},
};

static void serve(struct http_request *rq, void *arg)
{
    rpc_server_upgrade(((struct stand *)arg)->rpc, rq);
}

static struct deadline soon(void)
{
    return deadline_in_ms(10000);
}

static void run_stand(void *arg)
{
    struct stand *s = arg;
    static const struct secret *secrets[1];
    const struct rpc_server_options options = {
        .actions = actions,
        .action_count = COUNT(actions),
        .context = s,
        .secrets = secrets,
        .secret_count = 1,
    };
    const struct listener_options listen = {
        .name = "rpc", .bind_address = "127.0.0.1", .accept = http_serve, .arg = &s->http};
    struct mailbox_server_options client = {.host = "127.0.0.1"};
    struct fault why;

    s->secret = secret_new(LIT("s"));
    s->key = secret_random(32);
    secrets[0] = client.secret = s->secret;
    s->http = (struct http_server){.handle = serve, .arg = s};
    s->rpc = rpc_server_new(&options);
    if (listener_open(&listen, &s->listener, &why) < 0)
        abort();
    client.port = listener_port(s->listener);
    s->client = mailbox_server_new(&client);
    if (mailbox_open(s->client, LIT("0123456789abcdef01234567"), s->key, LIT("w"),
                     MAILBOX_READ | MAILBOX_WRITE, soon(), &s->mb, &why) < 0)
        test_fail(s->t, __FILE__, __LINE__, "%s", why.text);
    else
        s->body(s);
    mailbox_close(&s->mb);
    mailbox_server_free(&s->client);
    listener_close(&s->listener);
    rpc_server_drain(s->rpc, DEADLINE_NEVER);
    http_server_drain(&s->http, DEADLINE_NEVER);
    rpc_server_free(&s->rpc);
    secret_unref(&s->secret);
    secret_unref(&s->key);
}

static struct stand in_stand(struct test *t, void (*body)(struct stand *s))
{
    struct stand s = {.t = t, .body = body};

    loop_run_fiber(run_stand, &s);
    return s;
}

#define IN_STAND(name)                                                                             \
    static void body_##name(struct stand *s);                                                      \
    TEST(mailbox_client, name)                                                                     \
    {                                                                                              \
        (void)in_stand(t, body_##name);                                                            \
    }                                                                                              \
    static void body_##name(struct stand *s)

static void break_connection(struct stand *s)
{
    uint64_t before = rpc_client_generation(s->client->rpc);

    websocket_shutdown(s->client->rpc->link.ws);
    while (rpc_client_generation(s->client->rpc) == before)
        fiber_yield();
}

/* ---- tests ---- */

IN_STAND(deletes_and_measures_without_a_key)
{
    struct test *t = s->t;
    const struct slice ids[] = {LIT("0123456789abcdef01234567"), LIT("0123456789abcdef01234568")};
    uint64_t bytes[2] = {1, 1};
    struct fault why;

    CHECK_OK(mailbox_delete(s->client, ids[0], soon(), &why), &why);
    REQUIRE_OK(mailbox_get_sizes(s->client, ids, 2, soon(), bytes, &why), &why);
    CHECK_INT(0, bytes[0]);
    CHECK_INT(1000, bytes[1]);
}

IN_STAND(opens_itself_again_after_a_lost_connection)
{
    struct test *t = s->t;
    struct mailbox_view view;
    struct mailbox_stored stored;
    struct slice keyword = LIT("$Junk");
    struct fault why;
    uint64_t generation = mailbox_generation(s->mb);

    REQUIRE_OK(mailbox_select(s->mb, LIT("INBOX"), t->arena, soon(), &view, &why), &why);
    CHECK_INT(77, view.modseq);
    CHECK_INT(6, uid_set_count(view.uids));
    break_connection(s);
    REQUIRE_OK(mailbox_store(s->mb, 9, view.uids, STORE_ADD, FLAG_SEEN, &keyword, 1, UINT64_MAX,
                             t->arena, soon(), &stored, &why),
               &why);
    CHECK(uid_set_equal(view.uids, stored.conflicts));
    CHECK(mailbox_generation(s->mb) > generation);
    CHECK_INT(2, s->opened);
    REQUIRE_OK(mailbox_create_folder(s->mb, LIT("A"), LIT("\\Sent"), soon(), &why), &why);
    REQUIRE_OK(mailbox_rename_folder(s->mb, LIT("A"), LIT("B"), soon(), &why), &why);
    REQUIRE_OK(mailbox_subscribe(s->mb, LIT("B"), true, soon(), &why), &why);
    REQUIRE_OK(mailbox_set_wraps(s->mb, LIT("[\"a\",\"b\"]"), soon(), &why), &why);
    CHECK_FAULT(FAULT_INVALID, mailbox_set_wraps(s->mb, LIT("{}"), soon(), &why), &why);
    REQUIRE_OK(mailbox_server_ping(s->client, soon(), &why), &why);
}

IN_STAND(a_wrong_key_is_denied)
{
    struct test *t = s->t;
    AUTO(secret_unref) struct secret *wrong = secret_random(32);
    struct mailbox *mb = NULL;
    struct fault why;

    CHECK_FAULT(FAULT_DENIED,
                mailbox_open(s->client, LIT("0123456789abcdef01234567"), wrong, LIT("w"),
                             MAILBOX_READ, soon(), &mb, &why),
                &why);
    CHECK(mb == NULL);
}

static bool read_section(struct mailbox_fetch *f, uint32_t uid, uint64_t bytes, struct fault *why)
{
    static char want[BIG_SECTION];
    uint64_t got = 0;
    struct slice piece;

    fill(want, sizeof(want), uid);
    for (;;) {
        if (mailbox_fetch_read(f, &piece, why) < 0)
            return false;
        if (piece.n == 0)
            return got == bytes;
        if (got + piece.n > bytes || memcmp(piece.p, want + got, piece.n) != 0)
            return false;
        got += piece.n;
    }
}

IN_STAND(fetches_sections_across_frames_and_skips_unread_ones)
{
    const struct mailbox_section sections[3] = {{.length = UINT64_MAX}};
    struct test *t = s->t;
    struct mailbox_fetched m;
    struct fault why;

    for (uint32_t skip = 0; skip < 3; skip++) { /* read all, none, one */
        struct mailbox_fetch *f;
        uint32_t uid = 0;
        REQUIRE_OK(mailbox_fetch_begin(s->mb, 9, uid_set_make(t->arena, 1, 40), ITEM_ENVELOPE,
                                       sections, 3, soon(), &f, &why),
                   &why);
        while (mailbox_fetch_next(f, t->arena, &m, &why) == 1) {
            CHECK_ROW(uid, m.row.uid == ++uid && slice_equal(m.envelope, LIT("(NIL)")) &&
                               !m.sections[1].exists);
            if (skip != 1)
                CHECK_ROW(uid, read_section(f, uid, m.sections[0].bytes, &why));
            if (skip == 0)
                CHECK_ROW(uid, read_section(f, uid, m.sections[2].bytes, &why));
        }
        CHECK_INT(40, uid);
        mailbox_fetch_end(&f);
    }
}

static int append_two(struct stand *s, struct mailbox_appended *out, struct fault *why)
{
    AUTO(mailbox_append_abort) struct mailbox_append *a = NULL;
    static char block[100000];

    if (mailbox_append_begin(s->mb, LIT("INBOX"), soon(), &a, why) < 0 ||
        mailbox_append_message(a, 3 * sizeof(block), FLAG_SEEN, NULL, 0, 5, why) < 0)
        return -1;
    for (int i = 0; i < 3; i++)
        if (mailbox_append_write(a, slice_make(block, sizeof(block)), why) < 0)
            return -1;
    if (mailbox_append_message(a, 0, 0, NULL, 0, 6, why) < 0)
        return -1;
    return mailbox_append_commit(&a, s->t->arena, out, why);
}

IN_STAND(appends_and_asks_again_for_a_lost_answer)
{
    struct test *t = s->t;
    struct mailbox_append *a = NULL;
    struct mailbox_appended done;
    struct fault why;

    REQUIRE_OK(append_two(s, &done, &why), &why);
    CHECK_INT(300000, s->appended_bytes);
    CHECK_INT(7, done.modseq);
    CHECK_INT(2, uid_set_count(done.uids));
    s->drop_after_commit = true;
    REQUIRE_OK(append_two(s, &done, &why), &why);
    CHECK_INT(2, s->commits);
    CHECK_INT(2, uid_set_count(done.uids));

    CHECK_FAULT(FAULT_NOT_FOUND, mailbox_append_begin(s->mb, LIT("None"), soon(), &a, &why), &why);
    REQUIRE_OK(mailbox_append_begin(s->mb, LIT("INBOX"), soon(), &a, &why), &why);
    REQUIRE_OK(mailbox_append_message(a, 10, 0, NULL, 0, 0, &why), &why);
    CHECK_FAULT(FAULT_INVALID, mailbox_append_write(a, LIT("01234567890"), &why), &why);
    mailbox_append_abort(&a);
    CHECK_OK(mailbox_server_ping(s->client, soon(), &why), &why);
    CHECK_INT(2, s->commits);
}

struct recipient {
    struct stand *s;
    struct mailbox_deliver *d;
    int result;
};

static void deliver_one(void *arg)
{
    struct recipient *r = arg;
    const char key[32] = {1};
    const struct mailbox_delivery to = {.alias_id = LIT("0123456789abcdef01234567"),
                                        .public_key = slice_make(key, 32),
                                        .mark = slice_make(key, 32)};
    struct mailbox_delivered done;
    struct fault why;

    r->result = mailbox_deliver_to(r->d, &to, LIT("Return-Path: <>\r\n"), &done, &why);
    if (r->result < 0)
        test_fail(r->s->t, __FILE__, __LINE__, "%s", why.text);
}

IN_STAND(delivers_one_body_to_several)
{
    struct test *t = s->t;
    struct mailbox_deliver *d;
    struct recipient r[5];
    struct fiber_group group;
    struct fault why;
    static char block[50000];

    REQUIRE_OK(mailbox_deliver_begin(s->client, 2 * sizeof(block), soon(), &d, &why), &why);
    for (int i = 0; i < 2; i++)
        REQUIRE_OK(mailbox_deliver_write(d, slice_make(block, sizeof(block)), &why), &why);
    CHECK_FAULT(FAULT_INVALID, mailbox_deliver_write(d, LIT("x"), &why), &why);
    fiber_group_init(&group);
    for (size_t i = 0; i < COUNT(r); i++) {
        r[i] = (struct recipient){s, d, 0};
        REQUIRE_OK(fiber_group_start(&group, "deliver", deliver_one, &r[i], &why), &why);
    }
    fiber_group_join(&group);
    CHECK_INT(1, s->bodies);
    CHECK_SLICE(LIT("Return-Path: <>\r\n"), s->delivered_prefix);
    mailbox_deliver_end(&d);
}

IN_STAND(delivers_a_small_body_with_its_recipient_and_uploads_it_for_the_third)
{
    struct test *t = s->t;
    struct mailbox_deliver *d = NULL;
    struct recipient r = {s, NULL, 0};
    struct fault why;

    REQUIRE_OK(mailbox_deliver_begin(s->client, 5, soon(), &d, &why), &why);
    REQUIRE_OK(mailbox_deliver_write(d, LIT("small"), &why), &why);
    r.d = d;
    for (int i = 0; i < 3; i++)
        deliver_one(&r);
    CHECK_INT(2, s->delivered_once);
    CHECK_INT(1, s->bodies);
    mailbox_deliver_end(&d);
}

IN_STAND(closing_ends_the_session_at_the_server)
{
    struct test *t = s->t;

    mailbox_close(&s->mb);
    while (s->closed < 1)
        fiber_yield();
    CHECK_INT(1, s->opened);
}
