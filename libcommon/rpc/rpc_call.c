/* rpc_call.c - what a handler does with its request: read pieces, answer whole or streamed.
 *
 * Owns nothing beyond the request. Called by handlers. Once the client has gone or cancelled,
 * answering fails with FAULT_CLOSED or FAULT_CANCELED and changes nothing. Suspends for pieces,
 * credit and room.
 */
#include "rpc/rpc_server_internal.h"

static struct rpc_work *work_of(struct rpc_call *call)
{
    return CONTAINER_OF(call, struct rpc_work, call);
}

bool rpc_call_is_canceled(const struct rpc_call *call)
{
    const struct rpc_work *w = (const void *)((const char *)call - offsetof(struct rpc_work, call));

    return w->canceled || w->conn->dead;
}

/* ---- reading ---- */

int rpc_read_piece(struct rpc_call *call, size_t max, struct slice *out, struct fault *why)
{
    int r = rpc_inflow_take(&work_of(call)->in, max, call->arena, call->until, out, why);

    if (r == 0)
        return fault_set(why, FAULT_INVALID, "%s wants a further piece", call->action);
    return r < 0 ? r : 0;
}

int rpc_next_piece(struct rpc_call *call, struct fault *why)
{
    return rpc_inflow_next(&work_of(call)->in, call->until, why);
}

int rpc_read(struct rpc_call *call, struct slice *out, struct fault *why)
{
    return rpc_inflow_read(&work_of(call)->in, call->until, out, why);
}

/* ---- answering ---- */

static int send_ok(struct rpc_work *w, const json_t *ok, const uint64_t *piece_bytes, size_t count,
                   bool more, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(RPC_TEXT_BYTES_MAX);
    struct slice part;

    if (rpc_text_format_ok(w->id, ok, piece_bytes, count, more, &text) < 0)
        return fault_set(why, FAULT_LIMIT, "answer of %s is too large", w->call.action);
    part = buf_slice(&text);
    return rpc_link_send(&w->conn->link, WEBSOCKET_TEXT, &part, 1, w->call.until, why);
}

int rpc_answer(struct rpc_call *call, json_t *ok, const struct slice *pieces, size_t piece_count,
               struct fault *why)
{
    AUTO(json_release) json_t *owned = ok;
    struct rpc_work *w = work_of(call);
    uint64_t *piece_bytes = ARENA_ARRAY(call->arena, uint64_t, piece_count + 1);
    int r;

    if (w->answer != ANSWER_NONE)
        abort(); /* a handler answers once */
    for (size_t i = 0; i < piece_count; i++)
        piece_bytes[i] = pieces[i].n;
    w->answer = ANSWER_BEGUN;
    r = send_ok(w, owned, piece_bytes, piece_count, false, why);
    if (r == 0)
        r = rpc_outflow_pieces(&w->out, pieces, piece_count, true, call->until, why);
    if (r == 0)
        w->answer = ANSWER_ENDED;
    return r;
}

int rpc_answer_begin(struct rpc_call *call, json_t *ok, struct fault *why)
{
    AUTO(json_release) json_t *owned = ok;
    struct rpc_work *w = work_of(call);

    if (w->answer != ANSWER_NONE)
        abort();
    w->answer = ANSWER_BEGUN;
    return send_ok(w, owned, NULL, 0, true, why);
}

int rpc_write(struct rpc_call *call, struct slice bytes, struct fault *why)
{
    return rpc_outflow_write(&work_of(call)->out, bytes, call->until, why);
}

int rpc_flush(struct rpc_call *call, struct fault *why)
{
    return rpc_outflow_flush(&work_of(call)->out, call->until, why);
}

int rpc_end_piece(struct rpc_call *call, struct fault *why)
{
    return rpc_outflow_end_piece(&work_of(call)->out, false, call->until, why);
}

int rpc_answer_end(struct rpc_call *call, struct fault *why)
{
    struct rpc_work *w = work_of(call);

    if (rpc_outflow_end_piece(&w->out, true, call->until, why) < 0)
        return -1;
    w->answer = ANSWER_ENDED;
    return 0;
}
