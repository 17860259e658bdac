/* rpc_exchange.c - one request of the client: sent, its pieces streamed, its answer waited for and
 * read.
 *
 * Owns struct rpc_exchange. Called by mailbox_*.c. Fails with what the server answered, or when the
 * connection is lost. Suspends for credit, room and frames; closing does not and cancels what has
 * not ended.
 */
#include "rpc/rpc_client_internal.h"

static void link_exchange(struct rpc_exchange *x)
{
    struct rpc_exchange **slot = &x->client->slots[x->id % RPC_EXCHANGE_SLOTS];

    x->next = *slot;
    *slot = x;
    x->is_linked = true;
}

static void unlink_exchange(struct rpc_exchange *x)
{
    struct rpc_exchange **at = &x->client->slots[x->id % RPC_EXCHANGE_SLOTS];

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    x->is_linked = false;
}

void rpc_exchange_on_text(struct rpc_exchange *x, struct rpc_text *text)
{
    x->text = *text;
    x->answered = true;
    rpc_inflow_announce(&x->in, &x->text);
    fiber_event_broadcast(&x->in.changed);
}

void rpc_exchange_fail(struct rpc_exchange *x, const struct fault *why)
{
    rpc_inflow_fail(&x->in, why);
    rpc_outflow_fail(&x->out, why);
}

/* ---- sending ---- */

static int format_request(struct rpc_exchange *x, const struct rpc_request *rq, struct buf *text,
                          struct fault *why)
{
    AUTO(arena_free) struct arena *in = NULL;
    uint64_t few[8], left = deadline_left_ms(x->until);
    struct rpc_request_head head = {
        .id = x->id,
        .action = rq->action,
        .session = rq->session,
        .op = rq->op,
        .args = rq->args,
        .ttl_ms = left < RPC_TTL_MS_MAX ? left + 1 : RPC_TTL_MS_MAX,
        .more = rq->stream_more,
        .piece_count = rq->piece_count + rq->stream_count,
    };
    uint64_t *lengths = few;

    if (head.piece_count > COUNT(few)) {
        in = arena_new(0);
        lengths = ARENA_ARRAY(in, uint64_t, head.piece_count);
    }
    for (size_t i = 0; i < rq->piece_count; i++)
        lengths[i] = rq->pieces[i].n;
    for (size_t i = 0; i < rq->stream_count; i++)
        lengths[rq->piece_count + i] = rq->stream_bytes[i];
    head.piece_bytes = lengths;
    if (rpc_text_format_request(&head, text) < 0)
        return fault_set(why, FAULT_LIMIT, "request %s is too large", rq->action);
    return 0;
}

static int send_request(struct rpc_exchange *x, const struct rpc_request *rq, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(RPC_TEXT_BYTES_MAX);
    bool whole = rq->stream_count == 0 && !rq->stream_more;
    struct slice part;

    if (format_request(x, rq, &text, why) < 0)
        return -1;
    part = buf_slice(&text);
    if (rpc_link_send_now(&x->client->link, WEBSOCKET_TEXT, part, why) <
        0) /* ids go out in rising order */
        return -1;
    if (whole && rq->piece_count == 0)
        x->sent = true;
    if (rpc_outflow_pieces(&x->out, rq->pieces, rq->piece_count, whole, x->until, why) < 0)
        return -1;
    x->sent = whole;
    return 0;
}

static struct rpc_exchange *exchange_new(struct rpc_client *c, struct deadline until)
{
    struct rpc_exchange *x = calloc(1, sizeof(*x));

    if (x == NULL)
        abort();
    rpc_client_ref(c);
    x->client = c;
    x->id = c->next_id++;
    x->generation = c->generation;
    x->until = until;
    rpc_inflow_init(&x->in, &c->link, x->id);
    rpc_outflow_init(&x->out, &c->link, x->id);
    link_exchange(x);
    return x;
}

static int lost(struct fault *why)
{
    if (why->code == FAULT_CLOSED) /* of the socket; of a session it comes in an answer */
        why->code = FAULT_UNAVAILABLE;
    return -1;
}

int rpc_exchange_begin(struct rpc_client *c, const struct rpc_request *request,
                       struct deadline until, struct rpc_exchange **out, struct fault *why)
{
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;

    if (rpc_client_connect(c, until, why) < 0)
        return -1;
    if (rpc_link_wait_room(&c->link, until, why) < 0)
        return lost(why);
    if (request->generation != 0 && request->generation != c->generation)
        return fault_set(why, FAULT_CLOSED, "the session's connection is gone");
    if (c->next_id == UINT32_MAX) { /* ids are used up: the next request gets a new connection */
        websocket_shutdown(c->link.ws);
        return fault_set(why, FAULT_UNAVAILABLE, "connection is worn out");
    }
    x = exchange_new(c, until);
    if (send_request(x, request, why) < 0)
        return x->out.failed ? (*why = x->out.fault, -1) : lost(why);
    *out = x;
    x = NULL;
    return 0;
}

int rpc_exchange_write(struct rpc_exchange *x, struct slice bytes, struct fault *why)
{
    if (rpc_outflow_write(&x->out, bytes, x->until, why) < 0)
        return x->out.failed ? (*why = x->out.fault, -1) : lost(why);
    return 0;
}

int rpc_exchange_end_piece(struct rpc_exchange *x, struct fault *why)
{
    if (rpc_outflow_end_piece(&x->out, false, x->until, why) < 0)
        return x->out.failed ? (*why = x->out.fault, -1) : lost(why);
    return 0;
}

int rpc_exchange_finish(struct rpc_exchange *x, struct fault *why)
{
    if (rpc_outflow_end_piece(&x->out, true, x->until, why) < 0)
        return x->out.failed ? (*why = x->out.fault, -1) : lost(why);
    x->sent = true;
    return 0;
}

uint64_t rpc_exchange_generation(const struct rpc_exchange *x)
{
    return x->generation;
}

bool rpc_exchange_is_sent(const struct rpc_exchange *x)
{
    return x->sent;
}

/* ---- the answer ---- */

int rpc_exchange_answer(struct rpc_exchange *x, const json_t **ok, struct fault *why)
{
    while (!x->answered) {
        if (x->in.failed) {
            *why = x->in.fault;
            return -1;
        }
        if (fiber_event_wait(&x->in.changed, x->until, why) < 0)
            return -1;
    }
    *ok = x->text.body;
    return 0;
}

int rpc_exchange_next_piece(struct rpc_exchange *x, struct fault *why)
{
    return rpc_inflow_next(&x->in, x->until, why);
}

int rpc_exchange_read(struct rpc_exchange *x, struct slice *out, struct fault *why)
{
    return rpc_inflow_read(&x->in, x->until, out, why);
}

void rpc_exchange_close(struct rpc_exchange **xp)
{
    AUTO(buf_free) struct buf text = BUF_INIT(128);
    struct rpc_exchange *x = *xp;
    struct fault why;

    if (x == NULL)
        return;
    *xp = NULL;
    unlink_exchange(x);
    if (x->generation == x->client->generation && !x->in.failed &&
        !(x->answered && x->in.arrived_all) && rpc_text_format_cancel(x->id, &text) == 0)
        (void)rpc_link_send_now(&x->client->link, WEBSOCKET_TEXT, buf_slice(&text), &why);
    rpc_inflow_deinit(&x->in);
    rpc_outflow_deinit(&x->out);
    if (x->answered)
        rpc_text_release(&x->text);
    arena_free(&x->arena);
    rpc_client_unref(x->client);
    free(x);
}

/* ---- whole round trips ---- */

static int collect_pieces(struct rpc_exchange *x, size_t bytes_max, struct arena *in,
                          struct rpc_answer *out, struct fault *why)
{
    size_t cap = x->in.piece_count + 1, left = bytes_max;

    if (x->in.more)
        return fault_set(why, FAULT_PROTOCOL, "rpc: a streamed answer was not expected");
    out->pieces = ARENA_ARRAY(in, struct slice, cap);
    out->piece_count = 0;
    for (;;) {
        struct slice piece;
        int r = rpc_inflow_take(&x->in, left, in, x->until, &piece, why);
        if (r <= 0)
            return r;
        left -= piece.n;
        out->pieces[out->piece_count++] = piece;
    }
}

int rpc_client_call(struct rpc_client *c, const struct rpc_request *request,
                    size_t answer_bytes_max, struct arena *in, struct deadline until,
                    struct rpc_answer *out, struct fault *why)
{
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;
    struct rpc_answer answer = {0};
    const json_t *ok;

    if (rpc_exchange_begin(c, request, until, &x, why) < 0 || rpc_exchange_answer(x, &ok, why) < 0)
        return -1;
    if (collect_pieces(x, answer_bytes_max, in, &answer, why) < 0)
        return -1;
    answer.ok = json_incref(x->text.body);
    *out = answer;
    return 0;
}

void rpc_client_tell(struct rpc_client *c, const struct rpc_request *request)
{
    AUTO(buf_free) struct buf text = BUF_INIT(RPC_TEXT_BYTES_MAX);
    struct rpc_exchange *x;
    struct fault why;

    if (c->link.ws == NULL || c->link.dying || c->next_id == UINT32_MAX ||
        request->piece_count > 0 ||
        (request->generation != 0 && request->generation != c->generation))
        return;
    x = exchange_new(c, deadline_in_ms(RPC_TTL_MS_MAX));
    if (format_request(x, request, &text, &why) == 0)
        (void)rpc_link_send_now(&c->link, WEBSOCKET_TEXT, buf_slice(&text), &why);
    x->in.arrived_all = x->answered = true; /* nothing to cancel */
    x->text.root = NULL;
    rpc_exchange_close(&x);
}
