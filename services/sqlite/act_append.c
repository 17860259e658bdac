/* act_append.c - messages.append: one or several bodies, streamed, then visible together.
 *
 * Owns the bodies of the call. Called by the RPC server. Faults as in rpc/mailbox.h. Suspends.
 */
#include "act.h"

struct appending {
    struct arena *in;
    const unsigned char *op;
    struct slice path;
    struct engine_message messages[APPEND_MESSAGES_MAX];
    size_t count;
    uint64_t memory;                           /* of small bodies, which wait in memory */
    struct kept_answer kept;
};

static int append_run(struct engine *e, void *arg, struct fault *why)
{
    struct appending *a = arg;
    struct mailbox_appended done;
    int found = kept_find(e, a->op, a->in, &a->kept, why);

    if (found != 0)
        return found < 0 ? -1 : 0;
    if (a->count == 0)                         /* a repetition without bodies, whose first time left no answer */
        return fault_set(why, FAULT_UNAVAILABLE, "nothing was appended");
    if (engine_append(e, a->path, a->messages, a->count, a->in, &done, why) < 0)
        return -1;
    a->kept.ok = json_object();
    json_set_int(a->kept.ok, "uidvalidity", done.uidvalidity);
    json_set_int(a->kept.ok, "from_modseq", (int64_t)done.from_modseq);
    json_set_int(a->kept.ok, "modseq", (int64_t)done.modseq);
    if (pack_uid_set(&a->kept.pieces[0], done.uids) < 0)
        return fault_set(why, FAULT_LIMIT, "too many UIDs");
    a->kept.count = 1;
    return kept_save(e, a->op, &a->kept, why);
}

static int read_head(struct rpc_call *call, struct engine_message *m, uint64_t *bytes, struct fault *why)
{
    struct mailbox_append_head head;
    struct slice piece, copy;

    if (rpc_read_piece(call, 65536, &piece, why) < 0)
        return -1;
    copy = arena_copy(call->arena, piece);
    if (!unpack_append_head(copy, call->arena, &head) || head.size_bytes > ENGINE_MESSAGE_MAX)
        return fault_set(why, FAULT_INVALID, "append head");
    m->flags = head.flags;
    m->keywords = head.keywords;
    m->keyword_count = head.keyword_count;
    m->internal_ms = head.internal_ms;
    *bytes = head.size_bytes;
    return 0;
}

static int read_body(struct rpc_call *call, struct body_feed *feed, uint64_t bytes, struct fault *why)
{
    struct slice piece;
    uint64_t got = 0;

    if (rpc_next_piece(call, why) != 1)
        return fault_set(why, FAULT_INVALID, "an append head without a body");
    for (;;) {
        if (rpc_read(call, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        got += piece.n;
        if (got > bytes)
            return fault_set(why, FAULT_INVALID, "the body is longer than announced");
        if (body_feed_write(feed, piece, why) < 0)
            return -1;
    }
    if (got != bytes)
        return fault_set(why, FAULT_INVALID, "the body is shorter than announced");
    return body_feed_finish(feed, why);
}

static int read_message(struct rpc_call *call, struct appending *a, struct fault *why)
{
    struct engine_message *m = &a->messages[a->count];
    struct body_feed feed = { .box = act_session(call)->box };
    uint64_t bytes = 0;

    if (read_head(call, m, &bytes, why) < 0 || engine_body_new(ENGINE_MESSAGE_MAX, &m->body, why) < 0)
        return -1;
    a->count++;
    a->memory += bytes <= ENGINE_INLINE_MAX ? bytes : 0;
    if (a->memory > APPEND_MEMORY_MAX)
        return fault_set(why, FAULT_LIMIT, "one APPEND takes at most %u bytes of small messages", APPEND_MEMORY_MAX);
    feed.body = m->body;
    return read_body(call, &feed, bytes, why);
}

static int append_all(struct rpc_call *call, struct appending *a, struct fault *why)
{
    int more;

    while ((more = rpc_next_piece(call, why)) == 1) {
        if (a->count == APPEND_MESSAGES_MAX)
            return fault_set(why, FAULT_LIMIT, "one APPEND takes at most %d messages", APPEND_MESSAGES_MAX);
        if (read_message(call, a, why) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    if (box_run(act_session(call)->box, true, append_run, a, why) < 0)
        return -1;
    return kept_send(call, &a->kept, why);
}

int act_messages_append(struct rpc_call *call, struct fault *why)
{
    struct appending *a;
    int r;

    if (act_need_write(call, why) < 0)
        return -1;
    a = ARENA_NEW(call->arena, struct appending);
    a->in = call->arena;
    a->op = call->op;
    a->path = json_get_slice(call->args, "path");
    for (size_t i = 0; i < ACT_PIECES_MAX; i++)
        buf_init(&a->kept.pieces[i], PACK_BYTES_MAX);
    r = append_all(call, a, why);
    for (size_t i = 0; i < a->count; i++)
        engine_body_free(&a->messages[i].body);
    kept_answer_free(&a->kept);
    return r;
}
