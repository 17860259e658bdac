/* act_append.c - messages.append: one or several bodies, streamed, then visible together.
 *
 * Owns the bodies of the call. Called by the RPC server. Faults as in rpc/mailbox.h. Suspends.
 */
#include "act.h"

#define WAITING_BYTES (256u << 10)             /* of small bodies, until they are packed together */

struct appending {
    struct arena *in;
    const unsigned char *op;
    struct slice path;
    struct engine_message *messages;
    size_t count, room;
    uint64_t memory;                           /* of small bodies, which wait in memory */
    struct arena *raw;                         /* of those that are not hashed and compressed yet */
    struct slice *texts;                       /* they; p NULL: not one of them */
    size_t packed, waiting_bytes;              /* messages before `packed` are done */
    struct kept_answer kept;
};

static int pack_run(void *arg, struct fault *why)
{
    struct appending *a = arg;

    for (size_t i = a->packed; i < a->count; i++) {
        if (a->texts[i].p == NULL)
            continue;
        if (engine_body_write(a->messages[i].body, a->texts[i], why) < 0 || engine_body_finish(a->messages[i].body, why) < 0)
            return -1;
    }
    a->packed = a->count;
    return 0;
}

/* One trip to the cpu pool for all that wait. */
static int pack_waiting(struct appending *a, struct fault *why)
{
    if (a->waiting_bytes == 0)
        return 0;
    if (pool_run(OFFLOAD_CPU, pack_run, a, why) < 0)
        return -1;
    a->waiting_bytes = 0;
    arena_reset(a->raw);
    return 0;
}

static int append_run(struct engine *e, void *arg, struct fault *why)
{
    struct appending *a = arg;
    struct mailbox_appended done;
    int found = kept_find(e, a->op, a->in, &a->kept, why);

    if (found != 0)
        return found < 0 ? -1 : 0;
    if (a->count == 0)                         /* a repetition without bodies, whose first time left no answer */
        return fault_set(why, FAULT_UNAVAILABLE, "nothing was appended");
    if (pack_run(a, why) < 0 || engine_append(e, a->path, a->messages, a->count, a->in, &done, why) < 0)
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

/* Calls take(arg, piece) for what arrives of a body of `bytes`. */
static int read_pieces(struct rpc_call *call, uint64_t bytes, int (*take)(void *arg, struct slice piece, struct fault *why), void *arg,
                       struct fault *why)
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
        if (take(arg, piece, why) < 0)
            return -1;
    }
    return got == bytes ? 0 : fault_set(why, FAULT_INVALID, "the body is shorter than announced");
}

static int take_large(void *arg, struct slice piece, struct fault *why)
{
    return body_feed_write(arg, piece, why);
}

static int read_large(struct rpc_call *call, struct engine_body *body, uint64_t bytes, struct fault *why)
{
    struct body_feed feed = { .box = act_session(call)->box, .body = body };

    return read_pieces(call, bytes, take_large, &feed, why) < 0 ? -1 : body_feed_finish(&feed, why);
}

static int take_small(void *arg, struct slice piece, UNUSED struct fault *why)
{
    struct slice *text = arg;

    memcpy((char *)(uintptr_t)text->p + text->n, piece.p, piece.n);
    text->n += piece.n;
    return 0;
}

static int read_small(struct rpc_call *call, struct appending *a, size_t i, uint64_t bytes, struct fault *why)
{
    a->texts[i] = slice_make(arena_alloc(a->raw, bytes + 1), 0);
    if (read_pieces(call, bytes, take_small, &a->texts[i], why) < 0)
        return -1;
    a->waiting_bytes += bytes + 1;
    return a->waiting_bytes < WAITING_BYTES ? 0 : pack_waiting(a, why);
}

static void make_room(struct appending *a)
{
    size_t room = a->room > 0 ? a->room * 4 : 4;
    struct engine_message *messages = ARENA_ARRAY(a->in, struct engine_message, room);
    struct slice *texts = ARENA_ARRAY(a->in, struct slice, room);

    if (a->count > 0) {
        memcpy(messages, a->messages, a->count * sizeof(*messages));
        memcpy(texts, a->texts, a->count * sizeof(*texts));
    }
    a->messages = messages;
    a->texts = texts;
    a->room = room;
}

static int read_message(struct rpc_call *call, struct appending *a, struct fault *why)
{
    struct engine_message *m;
    uint64_t bytes = 0;

    if (a->count == a->room)
        make_room(a);
    m = &a->messages[a->count];
    if (read_head(call, m, &bytes, why) < 0 || engine_body_new(ENGINE_MESSAGE_MAX, &m->body, why) < 0)
        return -1;
    a->count++;
    a->memory += bytes <= ENGINE_INLINE_MAX ? bytes : 0;
    if (a->memory > APPEND_MEMORY_MAX)
        return fault_set(why, FAULT_LIMIT, "one APPEND takes at most %u bytes of small messages", APPEND_MEMORY_MAX);
    return bytes <= UNIT_BODY_MAX ? read_small(call, a, a->count - 1, bytes, why) : read_large(call, m->body, bytes, why);
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
    /* a lone message is packed by the unit itself, when nobody else waits for the mailbox */
    if ((a->count > 1 || act_session(call)->box->working) && pack_waiting(a, why) < 0)
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
    a->raw = arena_new(0);
    a->op = call->op;
    a->path = json_get_slice(call->args, "path");
    for (size_t i = 0; i < ACT_PIECES_MAX; i++)
        buf_init(&a->kept.pieces[i], PACK_BYTES_MAX);
    r = append_all(call, a, why);
    for (size_t i = 0; i < a->count; i++)
        engine_body_free(&a->messages[i].body);
    kept_answer_free(&a->kept);
    arena_free(&a->raw);
    return r;
}
