/* rpc_flow.c - pieces on their way: see rpc_flow.h.
 *
 * Owns frames not read and bytes not sent. Called by both sides of the RPC. Fails when the
 * connection dies, the peer cancels or breaks the order of frames. Suspends for frames (reading)
 * and for credit and room (writing).
 */
#include "rpc/rpc_flow.h"

struct rpc_inflow_frame {
    struct websocket_message message;
    struct slice rest; /* of its bytes, unread */
    uint16_t flags;
    size_t cost;
    struct rpc_inflow_frame *next;
};

/* ---- link ---- */

int rpc_link_wait_room(struct rpc_link *l, struct deadline until, struct fault *why)
{
    int r;

    if (l->ws == NULL || l->dying)
        return fault_set(why, FAULT_CLOSED, "rpc: not connected");
    l->inside++;
    r = websocket_wait_room(l->ws, until, why);
    l->inside--;
    if (l->dying && l->inside == 0)
        fiber_event_broadcast(&l->left);
    return r;
}

int rpc_link_send(struct rpc_link *l, enum websocket_kind kind, const struct slice *parts,
                  size_t count, struct deadline until, struct fault *why)
{
    if (rpc_link_wait_room(l, until, why) < 0)
        return -1;
    if (l->ws == NULL || l->dying)
        return fault_set(why, FAULT_CLOSED, "rpc: connection lost");
    return websocket_send_now(l->ws, kind, parts, count, why);
}

int rpc_link_send_now(struct rpc_link *l, enum websocket_kind kind, struct slice bytes,
                      struct fault *why)
{
    if (l->ws == NULL || l->dying)
        return fault_set(why, FAULT_CLOSED, "rpc: not connected");
    return websocket_send_now(l->ws, kind, &bytes, 1, why);
}

void rpc_link_close(struct rpc_link *l, unsigned code, struct slice reason)
{
    struct fault why;

    if (l->ws == NULL)
        return;
    l->dying = true;
    if (l->inside > 0)
        websocket_shutdown(l->ws);
    while (l->inside > 0)
        if (fiber_event_wait(&l->left, DEADLINE_NEVER, &why) < 0)
            fiber_yield(); /* cancelled: still, nobody may be inside when it goes */
    websocket_close(&l->ws, code, reason);
    l->dying = false;
}

/* ---- what arrives ---- */

void rpc_inflow_init(struct rpc_inflow *f, struct rpc_link *link, uint32_t id)
{
    *f = (struct rpc_inflow){.link = link, .id = id, .credit = RPC_CREDIT_BYTES};
    f->end = &f->first;
    fiber_event_init(&f->changed);
}

void rpc_inflow_announce(struct rpc_inflow *f, const struct rpc_text *text)
{
    f->piece_bytes = text->piece_bytes;
    f->piece_count = text->piece_count;
    f->more = text->more;
    f->arrived_all = f->all_read = text->piece_count == 0 && !text->more;
}

static void frame_free(struct rpc_inflow *f, struct rpc_inflow_frame *frame)
{
    if (frame == NULL)
        return;
    if (f->wipe)
        buf_wipe(&frame->message.data);
    websocket_message_free(&frame->message);
    free(frame);
}

void rpc_inflow_deinit(struct rpc_inflow *f)
{
    frame_free(f, f->current);
    f->current = NULL;
    while (f->first != NULL) {
        struct rpc_inflow_frame *frame = f->first;
        f->first = frame->next;
        frame_free(f, frame);
    }
    f->end = &f->first;
}

static int check_order(struct rpc_inflow *f, const struct rpc_piece_frame *frame, struct fault *why)
{
    bool last_announced = !f->more && f->arrived_pieces + 1 == f->piece_count;
    bool ends = (frame->flags & RPC_PIECE_END) != 0;

    if (f->arrived_all || frame->piece != (uint16_t)f->arrived_pieces)
        return fault_set(why, FAULT_PROTOCOL, "rpc: piece %u out of order", frame->piece);
    if (frame->bytes.n == 0 && !ends)
        return fault_set(why, FAULT_PROTOCOL, "rpc: empty frame");
    if (frame->bytes.n + RPC_FRAME_COST > f->credit)
        return fault_set(why, FAULT_PROTOCOL, "rpc: more than the credit");
    f->arrived_bytes += frame->bytes.n;
    if (f->arrived_pieces < f->piece_count) {
        uint64_t want = f->piece_bytes[f->arrived_pieces];
        if (f->arrived_bytes > want || (ends && f->arrived_bytes != want))
            return fault_set(why, FAULT_PROTOCOL, "rpc: piece is not as long as announced");
    }
    if (ends && !f->more && last_announced != ((frame->flags & RPC_ALL_END) != 0))
        return fault_set(why, FAULT_PROTOCOL, "rpc: not as many pieces as announced");
    return 0;
}

int rpc_inflow_push(struct rpc_inflow *f, const struct rpc_piece_frame *frame,
                    struct websocket_message *m, struct fault *why)
{
    struct rpc_inflow_frame *item;

    if (check_order(f, frame, why) < 0)
        return -1;
    item = calloc(1, sizeof(*item));
    if (item == NULL)
        abort();
    item->message = *m;
    m->data = BUF_INIT(0);
    item->rest = frame->bytes;
    item->flags = frame->flags;
    item->cost = frame->bytes.n + RPC_FRAME_COST;
    f->credit -= item->cost;
    *f->end = item;
    f->end = &item->next;
    if (frame->flags & RPC_PIECE_END) {
        f->arrived_pieces++;
        f->arrived_bytes = 0;
    }
    f->arrived_all = (frame->flags & RPC_ALL_END) != 0;
    fiber_event_signal(&f->changed);
    return 0;
}

void rpc_inflow_fail(struct rpc_inflow *f, const struct fault *fault)
{
    if (f->arrived_all || f->failed)
        return;
    f->failed = true;
    f->fault = *fault;
    fiber_event_broadcast(&f->changed);
}

/* Gives the peer back what was read, in large steps. Losing the connection meanwhile is noticed
 * elsewhere. */
static void grant_credit(struct rpc_inflow *f)
{
    char text[64];
    struct fault why;
    int n;

    if (f->read < RPC_CREDIT_STEP || f->arrived_all)
        return;
    n = snprintf(text, sizeof(text), "{\"id\":%u,\"credit\":%zu}", f->id, f->read);
    if (rpc_link_send_now(f->link, WEBSOCKET_TEXT, slice_make(text, (size_t)n), &why) == 0) {
        f->credit += f->read;
        f->read = 0;
    }
}

/* Forgets the frame that was read, notes what it ended. */
static void finish_frame(struct rpc_inflow *f)
{
    struct rpc_inflow_frame *frame = f->current;

    if (frame == NULL)
        return;
    f->current = NULL;
    f->read += frame->cost;
    frame_free(f, frame);
    grant_credit(f);
}

static int wait_frame(struct rpc_inflow *f, struct deadline until, struct fault *why)
{
    while (f->first == NULL) {
        if (f->failed) {
            *why = f->fault;
            return -1;
        }
        if (fiber_event_wait(&f->changed, until, why) < 0)
            return -1;
    }
    return 0;
}

int rpc_inflow_read(struct rpc_inflow *f, struct deadline until, struct slice *out,
                    struct fault *why)
{
    finish_frame(f);
    f->untouched = false;
    *out = SLICE_NONE;
    while (!f->piece_read && f->in_piece) {
        struct rpc_inflow_frame *frame;
        if (wait_frame(f, until, why) < 0)
            return -1;
        frame = f->first;
        f->first = frame->next;
        if (f->first == NULL)
            f->end = &f->first;
        f->current = frame;
        f->piece_read = (frame->flags & RPC_PIECE_END) != 0;
        f->all_read = (frame->flags & RPC_ALL_END) != 0;
        if (frame->rest.n > 0) {
            *out = frame->rest;
            return 0;
        }
        finish_frame(f);
    }
    return 0;
}

int rpc_inflow_next(struct rpc_inflow *f, struct deadline until, struct fault *why)
{
    struct slice skipped;

    while (f->in_piece && !f->piece_read)
        if (rpc_inflow_read(f, until, &skipped, why) < 0)
            return -1;
    finish_frame(f);
    f->in_piece = false;
    if (f->all_read)
        return 0;
    if (wait_frame(f, until, why) < 0)
        return -1;
    f->in_piece = f->untouched = true;
    f->piece_read = false;
    return 1;
}

int rpc_inflow_take(struct rpc_inflow *f, size_t max, struct arena *in, struct deadline until,
                    struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf whole = BUF_INIT(max);
    struct slice some;
    int r = f->untouched ? 1 : rpc_inflow_next(f, until, why);

    if (r <= 0)
        return r;
    for (;;) {
        if (rpc_inflow_read(f, until, &some, why) < 0)
            return -1;
        if (some.n == 0)
            break;
        if (f->piece_read && whole.n == 0 && some.n <= max) { /* most pieces are one frame */
            *out = arena_copy(in, some);
            return 1;
        }
        if (buf_append(&whole, some) < 0)
            return fault_set(why, FAULT_LIMIT, "rpc: piece over %zu bytes", max);
    }
    *out = arena_copy(in, buf_slice(&whole));
    return 1;
}

/* ---- what leaves ---- */

void rpc_outflow_init(struct rpc_outflow *f, struct rpc_link *link, uint32_t id)
{
    *f = (struct rpc_outflow){.link = link,
                              .id = id,
                              .credit = RPC_CREDIT_BYTES,
                              .gathered = BUF_INIT(RPC_FRAME_BYTES_MAX)};
    fiber_event_init(&f->changed);
}

void rpc_outflow_deinit(struct rpc_outflow *f)
{
    buf_free(&f->gathered);
}

void rpc_outflow_grant(struct rpc_outflow *f, uint64_t credit)
{
    f->credit += credit < RPC_CREDIT_BYTES ? (size_t)credit : RPC_CREDIT_BYTES;
    fiber_event_signal(&f->changed);
}

void rpc_outflow_fail(struct rpc_outflow *f, const struct fault *fault)
{
    if (f->failed)
        return;
    f->failed = true;
    f->fault = *fault;
    fiber_event_broadcast(&f->changed);
}

static int wait_credit(struct rpc_outflow *f, size_t cost, struct deadline until, struct fault *why)
{
    for (;;) {
        if (f->failed) {
            *why = f->fault;
            return -1;
        }
        if (f->credit >= cost)
            return 0;
        if (fiber_event_wait(&f->changed, until, why) < 0)
            return -1;
    }
}

/* One frame of what is gathered and `bytes`. */
static int send_frame(struct rpc_outflow *f, struct slice bytes, uint16_t flags,
                      struct deadline until, struct fault *why)
{
    size_t cost = f->gathered.n + bytes.n + RPC_FRAME_COST;
    char head[RPC_HEADER_BYTES];
    struct slice parts[3];

    if (wait_credit(f, cost, until, why) < 0)
        return -1;
    f->credit -= cost;
    rpc_piece_format_header(f->id, f->piece, flags, head);
    parts[0] = slice_make(head, sizeof(head));
    parts[1] = buf_slice(&f->gathered);
    parts[2] = bytes;
    if (rpc_link_send(f->link, WEBSOCKET_BINARY, parts, COUNT(parts), until, why) < 0)
        return -1;
    buf_reset(&f->gathered);
    if (flags & RPC_PIECE_END)
        f->piece++;
    f->piece_open = (flags & RPC_PIECE_END) == 0;
    f->ended = (flags & RPC_ALL_END) != 0;
    return 0;
}

int rpc_outflow_write(struct rpc_outflow *f, struct slice bytes, struct deadline until,
                      struct fault *why)
{
    if (f->failed) {
        *why = f->fault;
        return -1;
    }
    while (f->gathered.n + bytes.n >= RPC_FRAME_BYTES_MAX) {
        struct slice now = slice_head(bytes, RPC_FRAME_BYTES_MAX - f->gathered.n);
        if (send_frame(f, now, 0, until, why) < 0)
            return -1;
        bytes = slice_tail(bytes, now.n);
    }
    if (bytes.n > 0) {
        (void)buf_append(&f->gathered, bytes);
        f->piece_open = true;
    }
    return 0;
}

int rpc_outflow_flush(struct rpc_outflow *f, struct deadline until, struct fault *why)
{
    return f->gathered.n == 0 ? 0 : send_frame(f, SLICE_NONE, 0, until, why);
}

int rpc_outflow_end_piece(struct rpc_outflow *f, bool last, struct deadline until,
                          struct fault *why)
{
    return send_frame(f, SLICE_NONE, last ? RPC_PIECE_END | RPC_ALL_END : RPC_PIECE_END, until,
                      why);
}

int rpc_outflow_pieces(struct rpc_outflow *f, const struct slice *pieces, size_t count, bool last,
                       struct deadline until, struct fault *why)
{
    for (size_t i = 0; i < count; i++) {
        struct slice rest = pieces[i];
        bool ends_all = last && i + 1 == count;
        while (rest.n > RPC_FRAME_BYTES_MAX) {
            if (send_frame(f, slice_head(rest, RPC_FRAME_BYTES_MAX), 0, until, why) < 0)
                return -1;
            rest = slice_tail(rest, RPC_FRAME_BYTES_MAX);
        }
        if (send_frame(f, rest, ends_all ? RPC_PIECE_END | RPC_ALL_END : RPC_PIECE_END, until,
                       why) < 0)
            return -1;
    }
    return 0;
}
