/* rpc_flow.h - pieces on their way, shared by both sides of the RPC: order, lengths, credit, gathering.
 *
 * Owns the frames that arrived and were not read yet (never more than the credit given) and the bytes gathered for the
 * next frame. Used by rpc_server.c and rpc_client.c. Reading waits for frames, writing waits for credit and room.
 */
#pragma once

#include "net/websocket.h"
#include "rt/fiber.h"
#include "wire/rpc_frame.h"

#define RPC_FRAME_COST 64          /* of credit, beside its bytes: empty frames are not free either */

/* The WebSocket of a connection, which may die while fibers are sending. */
struct rpc_link {
    struct websocket *ws;          /* NULL: none */
    bool dying;
    unsigned inside;               /* fibers in rpc_link_send */
    struct fiber_event left;
};
int rpc_link_send(struct rpc_link *l, enum websocket_kind kind, const struct slice *parts, size_t count, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Waits until rpc_link_send_now may well be called. */
int rpc_link_wait_room(struct rpc_link *l, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_link_send_now(struct rpc_link *l, enum websocket_kind kind, struct slice bytes, struct fault *why);
/* Ends the WebSocket once nobody is inside. */
void rpc_link_close(struct rpc_link *l, unsigned code, struct slice reason) SUSPENDS;

/* ---- what arrives ---- */

struct rpc_inflow_frame;

struct rpc_inflow {
    struct rpc_link *link;
    uint32_t id;
    bool wipe;                     /* pieces are keys */
    const uint64_t *piece_bytes;   /* announced, borrowed */
    size_t piece_count;
    bool more;

    struct rpc_inflow_frame *first, **end, *current;
    size_t credit;                 /* the peer has it */
    size_t read;                   /* cost of what was read since the last grant */
    uint64_t arrived_bytes;        /* of the piece that arrives */
    size_t arrived_pieces;
    bool arrived_all;
    bool in_piece, untouched, piece_read, all_read;
    bool failed;
    struct fault fault;
    struct fiber_event changed;
};
void rpc_inflow_init(struct rpc_inflow *f, struct rpc_link *link, uint32_t id);
/* Before the first frame: what the text frame announced. */
void rpc_inflow_announce(struct rpc_inflow *f, const struct rpc_text *text);
void rpc_inflow_deinit(struct rpc_inflow *f);
/* Takes the message. FAULT_PROTOCOL: more than the credit, out of order, or not as announced: the connection must end. */
int rpc_inflow_push(struct rpc_inflow *f, const struct rpc_piece_frame *frame, struct websocket_message *m, struct fault *why) MUST_CHECK;
/* Readers get `fault` once what has arrived is read; with the whole request there it does nothing. */
void rpc_inflow_fail(struct rpc_inflow *f, const struct fault *fault);
int rpc_inflow_next(struct rpc_inflow *f, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;       /* 1, 0 no more */
int rpc_inflow_read(struct rpc_inflow *f, struct deadline until, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The next piece whole (the current one when nothing was read of it), into `in`; 1, or 0 no more. */
int rpc_inflow_take(struct rpc_inflow *f, size_t max, struct arena *in, struct deadline until, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- what leaves ---- */

struct rpc_outflow {
    struct rpc_link *link;
    uint32_t id;
    uint16_t piece;
    bool piece_open;               /* the current piece has bytes, sent or gathered */
    bool ended;
    size_t credit;
    struct buf gathered;
    bool failed;
    struct fault fault;
    struct fiber_event changed;
};
void rpc_outflow_init(struct rpc_outflow *f, struct rpc_link *link, uint32_t id);
void rpc_outflow_deinit(struct rpc_outflow *f);
void rpc_outflow_grant(struct rpc_outflow *f, uint64_t credit);
void rpc_outflow_fail(struct rpc_outflow *f, const struct fault *fault);
int rpc_outflow_write(struct rpc_outflow *f, struct slice bytes, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int rpc_outflow_flush(struct rpc_outflow *f, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Ends the current piece; `last` ends everything. */
int rpc_outflow_end_piece(struct rpc_outflow *f, bool last, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Whole pieces; `last`: nothing follows. */
int rpc_outflow_pieces(struct rpc_outflow *f, const struct slice *pieces, size_t count, bool last, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
