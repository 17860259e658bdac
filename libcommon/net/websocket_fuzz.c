/* websocket_fuzz.c - the receive path of a WebSocket over a stream pair: no bytes of a peer crash it, hang it or pass its limits.
 *
 * The first byte says how the rest is cut on its way. What arrives is what a reference reading of the frames gives, up to the first
 * frame that RFC 6455 forbids.
 */
#include <assert.h>
#include "net/websocket_internal.h"
#include "rt/loop.h"

#define TEXT_MAX   1000u
#define BINARY_MAX 5000u
#define INPUT_MAX  16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct slice in;
    size_t step;
    struct websocket *server;
    struct stream *client;
    unsigned received;
};

/* ---- the frames as RFC 6455 5.2 reads them: how many data messages are complete before the first error or close ---- */

struct reference {
    struct slice rest;
    bool within;             /* a fragmented message */
    unsigned opcode, messages;
    uint64_t bytes;          /* of it so far */
};

static bool take_length(struct slice *in, uint64_t *n)
{
    size_t more = *n == 127 ? 8 : *n == 126 ? 2 : 0;
    uint64_t least = more == 8 ? 65536 : more == 2 ? 126 : 0;

    if (in->n < more)
        return false;
    *n = more ? 0 : *n;
    for (size_t i = 0; i < more; i++)
        *n = *n << 8 | (unsigned char)in->p[i];
    *in = slice_tail(*in, more);
    return *n >= least && *n >> 63 == 0;
}

/* False: no further frame, or one that ends the connection. Text is not looked at here: a message of
 * malformed UTF-8 may only make the connection deliver less. */
static bool take_frame(struct reference *r)
{
    unsigned first, opcode;
    uint64_t n;
    bool fin;

    if (r->rest.n < 2)
        return false;
    first = (unsigned char)r->rest.p[0];
    n = (unsigned char)r->rest.p[1] & 127u;
    fin = first >> 7, opcode = first & 15u;
    if ((first & 0x70u) != 0 || ((unsigned char)r->rest.p[1] & 128u) == 0)
        return false;
    r->rest = slice_tail(r->rest, 2);
    if (opcode >= 8 && (n > 125 || !fin || opcode > 10))
        return false;
    if (opcode < 8 && (opcode > 2 || r->within != (opcode == 0)))
        return false;
    if (!take_length(&r->rest, &n) || r->rest.n < 4 || r->rest.n - 4 < n)
        return false;
    r->rest = slice_tail(r->rest, (size_t)n + 4);
    if (opcode >= 8)
        return opcode != 8;
    if (opcode != 0)
        r->opcode = opcode, r->bytes = 0;
    r->bytes += n;
    r->within = !fin;
    r->messages += fin;
    return r->bytes <= (r->opcode == 1 ? TEXT_MAX : BINARY_MAX);
}

/* ---- the real thing ---- */

static void feed(void *arg)
{
    struct run *run = arg;
    struct fault why = {FAULT_NONE, ""};
    struct slice rest = run->in, some;

    while (rest.n > 0) {
        struct slice piece = slice_head(rest, run->step);
        if (stream_write(run->client, piece, deadline_in_ms(5000), &why) < 0 ||
            stream_flush(run->client, deadline_in_ms(5000), &why) < 0)
            break;
        rest = slice_tail(rest, piece.n);
        fiber_yield();
    }
    while (stream_buffered(run->client).n > 0)
        if (stream_read_some(run->client, 4096, deadline_in_ms(0), &some, &why) < 0)
            break;
    stream_close(&run->client);
}

static void receive(void *arg)
{
    struct run *run = arg;
    static const struct websocket_options options = {.text_bytes_max = TEXT_MAX,
                                                     .binary_bytes_max = BINARY_MAX};
    struct stream *server;
    struct fault why = {FAULT_NONE, ""};

    if (stream_pair(&run->client, &server, &why) < 0 ||
        fiber_start("feed", feed, run, &why) < 0)
        abort();
    run->server = websocket_new(server, &options, false);
    for (;;) {
        struct websocket_message m = {.data = BUF_INIT(0)};
        if (websocket_receive(run->server, deadline_in_ms(5000), &m, &why) <= 0)
            break;
        assert(m.data.n <= (m.kind == WEBSOCKET_TEXT ? TEXT_MAX : BINARY_MAX));
        run->received++;
        websocket_message_free(&m);
    }
    assert(why.code != FAULT_TIMEOUT);
    websocket_close(&run->server, 1000, SLICE_NONE);
    while (run->client != NULL)
        fiber_yield();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.step = size > 0 && data[0] < 200 ? data[0] + 1u : INPUT_MAX};
    struct reference want = {.rest = SLICE_NONE};

    if (size < 1 || size > INPUT_MAX)
        return 0;
    run.in = want.rest = slice_make(data + 1, size - 1);
    if (run.in.n / run.step > 512)
        run.step = run.in.n / 512 + 1;
    while (take_frame(&want))
        ;
    loop_run_fiber(receive, &run);
    assert(run.received <= want.messages);
    return 0;
}
