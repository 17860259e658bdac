/* rpc_frame.h - the frames of the RPC between daemons (proto/README.md): JSON text frames and binary piece frames.
 *
 * Owns nothing but the json_t of a parsed text (rpc_text_release). Used by libcommon/rpc on both sides. Pure: no I/O, no
 * clock. Every number the peer chose has a named limit here. Never suspends.
 */
#pragma once

#include "base/json.h"

#define RPC_VERSION            "1"
#define RPC_VERSION_HEADER     "Mailbox-Protocol"     /* of the upgrade request and its answer */
#define RPC_TEXT_BYTES_MAX     ((size_t)256 << 10)    /* one text frame */
#define RPC_HEADER_BYTES       8
#define RPC_FRAME_BYTES_MAX    ((size_t)64 << 10)     /* payload of one binary frame, header not counted */
#define RPC_PIECES_MAX         4096                   /* announced in one `bin`; more only with `more` */
#define RPC_CREDIT_BYTES       ((size_t)512 << 10)    /* what a sender may send before the first grant, per request and direction */
#define RPC_CREDIT_STEP        ((size_t)256 << 10)    /* a reader grants when it has consumed this much */
#define RPC_TTL_MS_MAX         ((uint64_t)3600000)
#define RPC_OP_BYTES           16
#define RPC_SESSION_BYTES      32                     /* text length of a handle: 128 random bits in hex */
#define RPC_ACTION_BYTES_MAX   64
#define RPC_FAULT_TEXT_MAX     235

/* ---- binary frames: id u32, piece u16, flags u16 (big-endian), then bytes ---- */

enum rpc_piece_flags { RPC_PIECE_END = 1, RPC_ALL_END = 2 };      /* ALL_END implies PIECE_END */

struct rpc_piece_frame {
    uint32_t id;
    uint16_t piece;                   /* 0, 1, 2, ... modulo 65536 */
    uint16_t flags;
    struct slice bytes;
};

/* False: short, over RPC_FRAME_BYTES_MAX, unknown flags, or ALL_END without PIECE_END. */
bool rpc_piece_parse(struct slice frame, struct rpc_piece_frame *out) MUST_CHECK;
void rpc_piece_format_header(uint32_t id, uint16_t piece, uint16_t flags, char out[RPC_HEADER_BYTES]);

/* ---- text frames ---- */

enum rpc_text_kind { RPC_REQUEST, RPC_OK, RPC_FAULT, RPC_CREDIT, RPC_CANCEL };

struct rpc_text {
    enum rpc_text_kind kind;
    uint32_t id;                      /* 1.. */
    json_t *root;                     /* owned; the slices and objects below point into it */
    struct slice action, session;     /* RPC_REQUEST; session may be empty */
    bool has_op;
    unsigned char op[RPC_OP_BYTES];
    uint64_t ttl_ms;                  /* RPC_REQUEST; 0: none said */
    json_t *body;                     /* borrowed from root: args or ok, an object */
    struct fault fault;               /* RPC_FAULT */
    uint64_t credit;                  /* RPC_CREDIT */
    uint64_t *piece_bytes;            /* announced lengths, in the arena */
    size_t piece_count;
    bool more;                        /* more pieces follow than announced, up to one with RPC_ALL_END */
};

/* FAULT_PROTOCOL: not one of the five forms. On success the caller releases *out. */
int rpc_text_parse(struct slice frame, struct arena *in, struct rpc_text *out, struct fault *why) MUST_CHECK;
void rpc_text_release(struct rpc_text *text);                     /* closer */

/* Writers append one text frame. `args`/`ok` NULL stands for {}. <0 when it exceeds the buf's maximum. */
struct rpc_request_head {
    uint32_t id;
    const char *action;
    struct slice session;             /* or empty */
    const unsigned char *op;          /* RPC_OP_BYTES, or NULL */
    const json_t *args;
    uint64_t ttl_ms;
    const uint64_t *piece_bytes;
    size_t piece_count;
    bool more;
};
int rpc_text_format_request(const struct rpc_request_head *head, struct buf *out);
int rpc_text_format_ok(uint32_t id, const json_t *ok, const uint64_t *piece_bytes, size_t piece_count, bool more, struct buf *out);
int rpc_text_format_fault(uint32_t id, enum fault_code code, const char *text, struct buf *out);
int rpc_text_format_credit(uint32_t id, uint64_t bytes, struct buf *out);
int rpc_text_format_cancel(uint32_t id, struct buf *out);
