/* redis_command.c - commands, scripts, counters and locks.
 *
 * Owns the queue of commands that were sent: Redis answers in order. Called by every daemon. Fails
 * at once while Redis is away; an unanswered command gives up after its time limit and takes a
 * connection that answers nobody with it.
 */
#include <openssl/evp.h>

#include "base/encode.h"
#include "base/secret.h"
#include "net/redis_internal.h"

/* ---- the queue ---- */

static void wait_free(struct redis_wait *w)
{
    if (w->reply != NULL)
        freeReplyObject(w->reply);
    free(w);
}

static struct redis_wait *pop_wait(struct redis *r)
{
    struct redis_wait *w = r->first;

    if (w == NULL)
        return NULL;
    r->first = w->next;
    if (r->first == NULL)
        r->end = &r->first;
    r->waiting--;
    return w;
}

static void finish_wait(struct redis_wait *w, redisReply *reply)
{
    w->reply = reply;
    w->done = true;
    if (w->orphan)
        wait_free(w);
    else
        fiber_event_signal(&w->changed);
}

static int on_reply(struct redis *r, redisReply *reply, struct fault *why)
{
    struct redis_wait *w = pop_wait(r);

    if (w == NULL) {
        freeReplyObject(reply);
        return fault_set(why, FAULT_PROTOCOL, "redis: a reply nobody asked for");
    }
    finish_wait(w, reply);
    return 0;
}

static void on_up(UNUSED struct redis *r)
{
}

static void on_down(struct redis *r)
{
    struct redis_wait *w;

    while ((w = pop_wait(r)) != NULL)
        finish_wait(w, NULL);
}

void redis_commands_init(struct redis *r)
{
    r->end = &r->first;
    r->commands = (struct redis_conn){
        .r = r, .name = "redis.commands", .on_reply = on_reply, .on_up = on_up, .on_down = on_down};
    fiber_event_init(&r->commands.changed);
}

static int send_command(struct redis *r, const struct slice *argv, size_t argc, bool orphan,
                        struct redis_wait **out, struct fault *why)
{
    struct redis_wait *w;

    if (r->waiting >= REDIS_WAITING_MAX)
        return fault_set(why, FAULT_UNAVAILABLE, "redis: too many commands wait");
    if (redis_conn_send(&r->commands, argv, argc, why) < 0)
        return -1;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        abort();
    w->orphan = orphan;
    fiber_event_init(&w->changed);
    *r->end = w;
    r->end = &w->next;
    r->waiting++;
    *out = w;
    return 0;
}

static int await_reply(struct redis *r, struct redis_wait *w, struct fault *why)
{
    struct deadline until = deadline_in_ms(r->command_ms);

    while (!w->done) {
        if (fiber_event_wait(&w->changed, until, why) == 0)
            continue;
        if (w->done)
            break;
        w->orphan = true; /* its answer, should it come, is thrown away */
        if (why->code == FAULT_TIMEOUT && r->first == w && r->commands.stream != NULL)
            stream_shutdown(r->commands.stream);
        return -1;
    }
    if (w->reply != NULL)
        return 0;
    wait_free(w);
    return fault_set(why, FAULT_UNAVAILABLE, "redis went away");
}

/* ---- replies ---- */

static void convert(const redisReply *from, struct arena *in, struct redis_reply *to)
{
    *to = (struct redis_reply){.kind = REDIS_NIL};
    switch (from->type) {
    case REDIS_REPLY_INTEGER:
        to->kind = REDIS_INTEGER;
        to->integer = from->integer;
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        to->kind = REDIS_TEXT;
        to->text = arena_copy(in, slice_make(from->str, (size_t)from->len));
        break;
    case REDIS_REPLY_ARRAY:
        to->kind = REDIS_ARRAY;
        to->count = from->elements;
        to->items = ARENA_ARRAY(in, struct redis_reply, from->elements + 1);
        for (size_t i = 0; i < from->elements; i++)
            convert(from->element[i], in, &to->items[i]);
        break;
    default:
        break;
    }
}

int redis_command(struct redis *r, const struct slice *argv, size_t argc, struct arena *in,
                  struct redis_reply *out, struct fault *why)
{
    struct redis_wait *w;
    int done = 0;

    if (send_command(r, argv, argc, false, &w, why) < 0 || await_reply(r, w, why) < 0)
        return -1;
    if (w->reply->type == REDIS_REPLY_ERROR)
        done = (redis_error_fault(w->reply, why), -1);
    else if (out != NULL)
        convert(w->reply, in, out);
    wait_free(w);
    return done;
}

int redis_tell(struct redis *r, const struct slice *argv, size_t argc, struct fault *why)
{
    struct redis_wait *w;

    return send_command(r, argv, argc, true, &w, why);
}

int redis_publish(struct redis *r, struct slice channel, struct slice payload, struct fault *why)
{
    const struct slice argv[] = {LIT("PUBLISH"), channel, payload};

    return redis_tell(r, argv, COUNT(argv), why);
}

/* ---- scripts ---- */

static void name_script(struct redis_script *script, struct arena *in)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (script->sha1[0] != '\0')
        return;
    if (EVP_Digest(script->source, strlen(script->source), digest, &n, EVP_sha1(), NULL) != 1)
        abort();
    if (!slice_copy_cstr(hex_encode(in, slice_make(digest, n)), script->sha1, sizeof(script->sha1)))
        abort();
}

int redis_eval(struct redis *r, struct redis_script *script, const struct slice *keys,
               size_t key_count, const struct slice *args, size_t arg_count, struct arena *in,
               struct redis_reply *out, struct fault *why)
{
    struct slice *argv = ARENA_ARRAY(in, struct slice, 3 + key_count + arg_count);
    size_t n = 3;

    name_script(script, in);
    argv[0] = LIT("EVALSHA");
    argv[1] = slice_of(script->sha1);
    argv[2] = arena_printf(in, "%zu", key_count);
    for (size_t i = 0; i < key_count; i++)
        argv[n++] = keys[i];
    for (size_t i = 0; i < arg_count; i++)
        argv[n++] = args[i];
    if (redis_command(r, argv, n, in, out, why) == 0)
        return 0;
    if (why->code != FAULT_INVALID || strstr(why->text, "NOSCRIPT") == NULL)
        return -1;
    argv[0] = LIT("EVAL"); /* the server was restarted or never saw it: EVAL also teaches it */
    argv[1] = slice_of(script->source);
    return redis_command(r, argv, n, in, out, why);
}

int redis_count(struct redis *r, struct slice key, int64_t by, uint64_t window_ms,
                struct redis_counter *out, struct fault *why)
{
    static struct redis_script script = {
        .source =
            "local c = redis.call('INCRBY', KEYS[1], ARGV[1])\n"
            "local t = redis.call('PTTL', KEYS[1])\n"
            "if t < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) t = tonumber(ARGV[2]) end\n"
            "return { c, t }\n"};
    AUTO(arena_free) struct arena *in = arena_new(512);
    const struct slice args[] = {arena_printf(in, "%lld", (long long)by),
                                 arena_printf(in, "%llu", (unsigned long long)window_ms)};
    struct redis_reply reply;

    if (redis_eval(r, &script, &key, 1, args, COUNT(args), in, &reply, why) < 0)
        return -1;
    if (reply.kind != REDIS_ARRAY || reply.count != 2 || reply.items[1].integer < 0)
        return fault_set(why, FAULT_PROTOCOL, "redis: odd answer of the counter script");
    out->count = reply.items[0].integer;
    out->left_ms = (uint64_t)reply.items[1].integer;
    return 0;
}

/* ---- locks ---- */

int redis_lock(struct redis *r, struct slice key, uint64_t ttl_ms, struct redis_lock *out,
               struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(512);
    struct slice ttl = arena_printf(in, "%llu", (unsigned long long)ttl_ms), token;
    struct redis_lock lock;
    struct redis_reply reply;
    unsigned char raw[16];

    random_bytes(raw, sizeof(raw));
    token = hex_encode(in, slice_make(raw, sizeof(raw)));
    if (!slice_copy_cstr(key, lock.key, sizeof(lock.key)) ||
        !slice_copy_cstr(token, lock.token, sizeof(lock.token)))
        return fault_set(why, FAULT_INVALID, "redis: lock name too long");
    if (redis_command(r, REDIS_ARGV(LIT("SET"), key, token, LIT("NX"), LIT("PX"), ttl), in, &reply,
                      why) < 0)
        return -1;
    if (reply.kind == REDIS_NIL)
        return fault_set(why, FAULT_CONFLICT, "lock %s is held", lock.key);
    *out = lock;
    return 0;
}

/* Runs a script that does something only when the key still holds our token; it answers 1 then. */
static int if_ours(struct redis *r, struct redis_script *script, const struct redis_lock *l,
                   uint64_t ttl_ms, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(512);
    const struct slice key = slice_of(l->key);
    const struct slice args[] = {slice_of(l->token),
                                 arena_printf(in, "%llu", (unsigned long long)ttl_ms)};
    struct redis_reply reply;

    if (redis_eval(r, script, &key, 1, args, COUNT(args), in, &reply, why) < 0)
        return -1;
    return reply.integer == 1 ? 0 : fault_set(why, FAULT_CONFLICT, "lock %s was lost", l->key);
}

int redis_lock_extend(struct redis *r, const struct redis_lock *l, uint64_t ttl_ms,
                      struct fault *why)
{
    static struct redis_script script = {
        .source = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', "
                  "KEYS[1], ARGV[2]) end return 0"};

    return if_ours(r, &script, l, ttl_ms, why);
}

int redis_unlock(struct redis *r, struct redis_lock *l, struct fault *why)
{
    static struct redis_script script = {.source =
                                             "if redis.call('GET', KEYS[1]) == ARGV[1] then return "
                                             "redis.call('DEL', KEYS[1]) end return 0"};
    int done;

    if (l->token[0] == '\0')
        return 0;
    done = if_ours(r, &script, l, 0, why);
    l->token[0] = '\0';
    return done;
}
