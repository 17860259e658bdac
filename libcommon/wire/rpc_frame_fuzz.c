/* rpc_frame_fuzz.c - no byte sequence of a peer crashes the frame parsers; what parses as a piece
 * formats back. */
#include <assert.h>
#include "wire/rpc_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    struct arena *a = arena_new(0);
    struct rpc_piece_frame piece;
    struct rpc_text text;
    struct fault why;

    if (rpc_piece_parse(in, &piece)) {
        char head[RPC_HEADER_BYTES];
        rpc_piece_format_header(piece.id, piece.piece, piece.flags, head);
        assert(memcmp(head, data, sizeof(head)) == 0);
    }
    if (rpc_text_parse(in, a, &text, &why) == 0) {
        assert(text.id > 0);
        rpc_text_release(&text);
    }
    arena_free(&a);
    return 0;
}
