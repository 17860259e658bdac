/* redis_conn.c - one connection to Redis: connect, log in, read replies, back off, again.
 *
 * Owns the stream and hiredis's reply parser; runs on a fiber of its own as long as the client
 * lives and wants it. Used by redis_command.c and redis_pubsub.c. Redis being away is a state here,
 * not a fault.
 */
#include "base/secret.h"
#include "net/redis_internal.h"
#include "rt/dns.h"
#include "rt/tls.h"

#define BACKOFF_LEAST_MS 50u
#define BACKOFF_MOST_MS 5000u

/* ---- sending: RESP arrays of bulk strings ---- */

int redis_conn_send(struct redis_conn *c, const struct slice *argv, size_t argc, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(REDIS_UNSENT_MAX);

    if (c->stream == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "redis is away");
    if (argc == 0 || argc > REDIS_ARGS_MAX)
        return fault_set(why, FAULT_INVALID, "redis: %zu arguments", argc);
    (void)buf_printf(&out, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        (void)buf_printf(&out, "$%zu\r\n", argv[i].n);
        (void)buf_append(&out, argv[i]);
        (void)buf_append(&out, LIT("\r\n"));
    }
    if (out.overflowed)
        return fault_set(why, FAULT_LIMIT, "redis: command too large");
    if (stream_write_now(c->stream, buf_slice(&out), REDIS_UNSENT_MAX, why) < 0)
        return fault_set(why, FAULT_UNAVAILABLE, "redis does not take commands");
    return 0;
}

/* ---- reading ---- */

static int feed(struct redis_conn *c, struct slice bytes, struct fault *why)
{
    c->pending_bytes += bytes.n;
    if (redisReaderFeed(c->reader, bytes.p, bytes.n) != REDIS_OK)
        return fault_set(why, FAULT_PROTOCOL, "redis: %s", c->reader->errstr);
    return 0;
}

/* 1: *out is a reply, the caller's; 0: not complete yet. */
static int parse_reply(struct redis_conn *c, redisReply **out, struct fault *why)
{
    void *reply = NULL;

    if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
        return fault_set(why, FAULT_PROTOCOL, "redis: %s", c->reader->errstr);
    if (reply == NULL && c->pending_bytes > REDIS_REPLY_BYTES_MAX)
        return fault_set(why, FAULT_LIMIT, "redis: reply too large");
    if (reply != NULL)
        c->pending_bytes = 0;
    *out = reply;
    return reply != NULL;
}

static int read_reply(struct redis_conn *c, struct stream *s, struct deadline until,
                      redisReply **out, struct fault *why)
{
    for (;;) {
        struct slice some;
        int r = parse_reply(c, out, why);
        if (r != 0)
            return r < 0 ? r : 0;
        if (stream_read_some(s, 65536, until, &some, why) < 0)
            return -1;
        if (some.n == 0)
            return fault_set(why, FAULT_CLOSED, "redis closed the connection");
        if (feed(c, some, why) < 0)
            return -1;
    }
}

int redis_error_fault(const redisReply *reply, struct fault *why)
{
    static const char *const passing[] = {"LOADING", "READONLY", "OOM",        "MISCONF",
                                          "BUSY",    "NOAUTH",   "MASTERDOWN", "CLUSTERDOWN"};
    struct slice text = slice_make(reply->str, (size_t)reply->len);

    for (size_t i = 0; i < COUNT(passing); i++)
        if (slice_has_prefix(text, slice_of(passing[i])))
            return fault_set(why, FAULT_UNAVAILABLE, "redis: %.*s", SLICE(slice_head(text, 150)));
    return fault_set(why, FAULT_INVALID, "redis: %.*s", SLICE(slice_head(text, 150)));
}

/* ---- connecting ---- */

static int open_stream(struct redis *r, struct arena *in, struct deadline until,
                       struct stream **out, struct fault *why)
{
    const struct tls_client_options options = {.verify = TLS_VERIFY_PKIX,
                                               .server_name = slice_of(r->host)};
    struct slice ip;

    if (r->unix_path != NULL)
        return stream_connect(r->unix_path, 0, NULL, until, out, why);
    if (dns_local_host(r->host, in, until, &ip, why) < 0 ||
        stream_connect(arena_cstr(in, ip), r->port, NULL, until, out, why) < 0)
        return -1;
    if (!r->tls)
        return 0;
    if (r->tls_client == NULL && tls_client_new(NULL, &r->tls_client, why) < 0)
        return -1;
    return stream_start_tls_client(*out, r->tls_client, &options, until, why);
}

/* One command of the log-in, before the connection is up. */
static int say(struct redis_conn *c, struct stream *s, const struct slice *argv, size_t argc,
               struct deadline until, struct fault *why)
{
    redisReply *reply = NULL;
    int r;

    c->stream = s;
    r = redis_conn_send(c, argv, argc, why);
    c->stream = NULL;
    if (r < 0 || read_reply(c, s, until, &reply, why) < 0)
        return -1;
    r = reply->type == REDIS_REPLY_ERROR ? redis_error_fault(reply, why) : 0;
    freeReplyObject(reply);
    return r;
}

static int log_in(struct redis_conn *c, struct stream *s, struct deadline until, struct fault *why)
{
    const struct redis *r = c->r;
    char db[16];

    if (r->password != NULL) {
        struct slice argv[3] = {LIT("AUTH"), slice_of(r->user), secret_slice(r->password)};
        if (r->user == NULL)
            argv[1] = argv[2];
        if (say(c, s, argv, r->user != NULL ? 3 : 2, until, why) < 0)
            return -1;
    }
    (void)snprintf(db, sizeof(db), "%u", r->db);
    if (r->db != 0 &&
        say(c, s, (const struct slice[]){LIT("SELECT"), slice_of(db)}, 2, until, why) < 0)
        return -1;
    return say(c, s, (const struct slice[]){LIT("PING")}, 1, until, why);
}

static int try_connect(struct redis_conn *c, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(512);
    AUTO(stream_close) struct stream *s = NULL;
    struct deadline until = deadline_in_ms(REDIS_CONNECT_MS);

    c->pending_bytes = 0;
    if (open_stream(c->r, in, until, &s, why) < 0 || log_in(c, s, until, why) < 0)
        return -1;
    c->stream = s;
    s = NULL;
    return 0;
}

/* ---- the fiber ---- */

static int serve(struct redis_conn *c, struct fault *why)
{
    for (;;) {
        struct deadline until = c->silence_ms > 0 ? deadline_in_ms(c->silence_ms) : DEADLINE_NEVER;
        redisReply *reply = NULL;

        if (read_reply(c, c->stream, until, &reply, why) < 0) {
            if (why->code != FAULT_TIMEOUT || c->on_silence(c->r, why) < 0)
                return -1;
            continue;
        }
        if (c->on_reply(c->r, reply, why) < 0)
            return -1;
    }
}

static void live(struct redis_conn *c)
{
    struct fault why;

    c->reader = redisReaderCreate();
    if (c->reader == NULL)
        abort();
    if (try_connect(c, &why) == 0) {
        c->failures = 0;
        if (!c->r->closed) {
            c->on_up(c->r);
            fiber_event_broadcast(&c->changed);
            (void)serve(c, &why);
        }
        stream_close(&c->stream);
        c->on_down(c->r);
        fiber_event_broadcast(&c->changed);
    } else {
        c->failures++;
    }
    redisReaderFree(c->reader);
    c->reader = NULL;
}

static struct deadline backoff(unsigned failures)
{
    uint64_t ms = BACKOFF_LEAST_MS << (failures < 7 ? failures : 7);

    if (ms > BACKOFF_MOST_MS)
        ms = BACKOFF_MOST_MS;
    return deadline_in_ms(ms / 2 + random_below(ms / 2 + 1));
}

static void run_conn(void *arg)
{
    struct redis_conn *c = arg;
    struct redis *r = c->r;
    struct fault why;

    while (c->wanted && !r->closed) {
        struct deadline next;
        live(c);
        next = backoff(c->failures);
        while (c->wanted && !r->closed && !deadline_is_past(next))
            if (fiber_event_wait(&c->changed, next, &why) < 0)
                break;
    }
    c->running = false;
    redis_unref(r);
}

int redis_conn_start(struct redis_conn *c, struct fault *why)
{
    c->wanted = true;
    if (c->running)
        return 0;
    c->running = true;
    redis_ref(c->r);
    if (fiber_start(c->name, run_conn, c, why) == 0)
        return 0;
    c->running = false;
    redis_unref(c->r);
    return -1;
}

void redis_conn_stop(struct redis_conn *c)
{
    c->wanted = false;
    if (c->stream != NULL)
        stream_shutdown(c->stream);
    fiber_event_broadcast(&c->changed);
}
