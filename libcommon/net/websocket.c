/* websocket.c - messages of a WebSocket (RFC 6455): wslay parses what comes in and frames what goes
 * out.
 *
 * Owns the stream, wslay's contexts, messages not yet received. Called by rpc and api. Fails when
 * the peer ends, breaks the protocol, or does not read. Frames are appended to the stream whole and
 * without suspending, so senders cannot mix theirs; waiting for room comes before that, one fiber
 * at a time.
 */
#include "net/websocket.h"

#include "base/secret.h"
#include "net/websocket_internal.h"

#define FEED_BYTES_MAX ((size_t)128 << 10)
#define WIPE_BYTES_MAX 4096u
#define ROOM_BYTES                                                                                 \
    ((size_t)64 << 10) /* the stream's high-water mark: below it nobody needs to wait */

void websocket_message_free(struct websocket_message *m)
{
    if (m->data.n <= WIPE_BYTES_MAX)
        buf_wipe(&m->data);
    else
        buf_free(&m->data);
}

static void put_protocol_error(struct websocket *w);

/* ---- wslay's callbacks: input ---- */

static ssize_t take_feed(wslay_event_context_ptr ctx, uint8_t *to, size_t n, UNUSED int flags,
                         void *arg)
{
    struct websocket *w = arg;

    if (w->feed.n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (n > w->feed.n)
        n = w->feed.n;
    memcpy(to, w->feed.p, n);
    w->feed = slice_tail(w->feed, n);
    return (ssize_t)n;
}

static size_t message_limit(const struct websocket *w)
{
    return w->incoming_opcode == WSLAY_TEXT_FRAME ? w->options.text_bytes_max
                                                  : w->options.binary_bytes_max;
}

static void on_frame_start(UNUSED wslay_event_context_ptr ctx,
                           const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
    struct websocket *w = arg;

    w->frame_opcode = frame->opcode;
    if (frame->opcode == WSLAY_CONNECTION_CLOSE && frame->payload_length == 1)
        put_protocol_error(w); /* RFC 6455 5.5.1: a body begins with two bytes of status */
    if (wslay_is_ctrl_frame(frame->opcode))
        return;
    w->frame_is_final = frame->fin != 0;
    if (frame->opcode != WSLAY_CONTINUATION_FRAME)
        w->incoming_opcode = frame->opcode;
    if (frame->payload_length > message_limit(w) ||
        w->incoming.n > message_limit(w) - frame->payload_length)
        w->too_big = true;
    else
        (void)buf_reserve(&w->incoming, (size_t)frame->payload_length);
}

static void on_frame_chunk(UNUSED wslay_event_context_ptr ctx,
                           const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct websocket *w = arg;

    if (!wslay_is_ctrl_frame(w->frame_opcode) && !w->too_big)
        (void)buf_append(&w->incoming, slice_make(chunk->data, chunk->data_length));
}

static void on_frame_end(UNUSED wslay_event_context_ptr ctx, void *arg)
{
    struct websocket *w = arg;
    struct websocket_inbox *item;

    if (wslay_is_ctrl_frame(w->frame_opcode) || !w->frame_is_final || w->too_big)
        return;
    item = calloc(1, sizeof(*item));
    if (item == NULL)
        abort();
    item->message.kind = (enum websocket_kind)w->incoming_opcode;
    item->message.data = w->incoming;
    w->incoming = BUF_INIT(w->incoming.max);
    *w->end = item;
    w->end = &item->next;
}

/* ---- wslay's callbacks: output ---- */

static bool put_bytes(struct websocket *w, const uint8_t *data, size_t n)
{
    if (w->send_failed)
        return false;
    if (stream_write_now(w->stream, slice_make(data, n), WEBSOCKET_UNSENT_MAX, &w->send_fault) == 0)
        return true;
    w->send_failed = true;
    stream_shutdown(w->stream);
    return false;
}

static ssize_t put_control(wslay_event_context_ptr ctx, const uint8_t *data, size_t n,
                           UNUSED int flags, void *arg)
{
    if (put_bytes(arg, data, n))
        return (ssize_t)n;
    wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t put_data(const uint8_t *data, size_t n, UNUSED int flags, void *arg)
{
    return put_bytes(arg, data, n) ? (ssize_t)n : -1;
}

static int make_event_mask(UNUSED wslay_event_context_ptr ctx, uint8_t *to, size_t n,
                           UNUSED void *arg)
{
    random_bytes(to, n);
    return 0;
}

static int make_data_mask(uint8_t *to, size_t n, UNUSED void *arg)
{
    random_bytes(to, n);
    return 0;
}

static void send_control(struct websocket *w)
{
    if (!w->send_failed && !w->close_put && wslay_event_want_write(w->events))
        (void)wslay_event_send(w->events);
}

/* wslay answers a frame that it cannot parse with a close frame that gives no reason; ours does (RFC 6455 7.4.1). */
static void put_protocol_error(struct websocket *w)
{
    static const uint8_t code[] = {WSLAY_CODE_PROTOCOL_ERROR >> 8, WSLAY_CODE_PROTOCOL_ERROR & 255};
    struct wslay_frame_iocb frame = {.fin = 1,
                                     .opcode = WSLAY_CONNECTION_CLOSE,
                                     .mask = w->is_client,
                                     .payload_length = sizeof(code),
                                     .data = code,
                                     .data_length = sizeof(code)};

    if (wslay_event_get_close_sent(w->events) || w->close_put)
        return;
    w->close_put = true;
    (void)wslay_frame_send(w->frames, &frame);
}

/* ---- keep-alive ---- */

static void ping_tick(struct timer *t)
{
    struct websocket *w = t->arg;
    const struct wslay_event_msg ping = {.opcode = WSLAY_PING};

    if (w->heard) {
        w->heard = false;
        w->pings = 0;
    } else if (w->pings++ >= 2) {
        stream_shutdown(w->stream); /* dead: whoever waits in it wakes */
        return;
    } else {
        (void)wslay_event_queue_msg(w->events, &ping);
        send_control(w);
    }
    timer_start(&w->ping, deadline_in_ms(w->options.ping_ms));
}

/* ---- begin and end ---- */

struct websocket *websocket_new(struct stream *s, const struct websocket_options *options,
                                bool is_client)
{
    static const struct wslay_event_callbacks events = {
        .recv_callback = take_feed,
        .send_callback = put_control,
        .genmask_callback = make_event_mask,
        .on_frame_recv_start_callback = on_frame_start,
        .on_frame_recv_chunk_callback = on_frame_chunk,
        .on_frame_recv_end_callback = on_frame_end,
    };
    static const struct wslay_frame_callbacks frames = {.send_callback = put_data,
                                                        .genmask_callback = make_data_mask};
    struct websocket *w = calloc(1, sizeof(*w));
    size_t most = options->text_bytes_max > options->binary_bytes_max ? options->text_bytes_max
                                                                      : options->binary_bytes_max;
    int r;

    if (w == NULL)
        abort();
    w->stream = s;
    w->options = *options;
    w->is_client = is_client;
    w->end = &w->first;
    buf_init(&w->incoming, most);
    fiber_mutex_init(&w->sending);
    r = is_client ? wslay_event_context_client_init(&w->events, &events, w)
                  : wslay_event_context_server_init(&w->events, &events, w);
    if (r != 0 || wslay_frame_context_init(&w->frames, &frames, w) != 0)
        abort(); /* out of memory is all that can fail here */
    wslay_event_config_set_no_buffering(w->events, 1);
    wslay_event_config_set_max_recv_msg_length(w->events, most);
    timer_init(&w->ping, ping_tick, w);
    w->heard = true;
    if (options->ping_ms > 0)
        timer_start(&w->ping, deadline_in_ms(options->ping_ms));
    return w;
}

void websocket_shutdown(struct websocket *w)
{
    stream_shutdown(w->stream);
}

void websocket_close(struct websocket **ws, unsigned code, struct slice reason)
{
    struct websocket *w = *ws;

    if (w == NULL)
        return;
    *ws = NULL;
    timer_stop(&w->ping);
    reason = slice_head(reason, 123); /* RFC 6455 5.5: a control frame holds 125 bytes */
    if (!wslay_event_get_close_sent(w->events))
        (void)wslay_event_queue_close(w->events, (uint16_t)code, (const uint8_t *)reason.p,
                                      reason.n);
    send_control(w);
    while (w->first != NULL) {
        struct websocket_inbox *item = w->first;
        w->first = item->next;
        websocket_message_free(&item->message);
        free(item);
    }
    buf_wipe(&w->incoming);
    wslay_event_context_free(w->events);
    wslay_frame_context_free(w->frames);
    stream_close(&w->stream);
    free(w);
}

unsigned websocket_close_code(const struct websocket *w)
{
    unsigned code = wslay_event_get_status_code_received(w->events);

    if (!wslay_event_get_close_received(w->events))
        return WSLAY_CODE_ABNORMAL_CLOSURE;
    return code == 0 ? WSLAY_CODE_NO_STATUS_RCVD : code;
}

const struct stream_addr *websocket_peer(const struct websocket *w)
{
    return stream_peer(w->stream);
}

/* ---- receiving ---- */

static bool take_message(struct websocket *w, struct websocket_message *out)
{
    struct websocket_inbox *item = w->first;

    if (item == NULL)
        return false;
    w->first = item->next;
    if (w->first == NULL)
        w->end = &w->first;
    *out = item->message;
    free(item);
    return true;
}

/* Lets wslay take what the stream has buffered. */
static int digest_input(struct websocket *w, struct fault *why)
{
    size_t before;
    int r;

    w->feed = slice_head(stream_buffered(w->stream), FEED_BYTES_MAX);
    before = w->feed.n;
    w->heard = true;
    r = wslay_event_recv(w->events);
    stream_consume(w->stream, before - w->feed.n);
    w->feed = SLICE_NONE;
    if (w->too_big)
        (void)wslay_event_queue_close(w->events, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0);
    else if (r != 0)
        put_protocol_error(w);
    send_control(w);
    if (w->too_big)
        return fault_set(why, FAULT_LIMIT, "websocket: message too big");
    if (r != 0)
        return fault_set(why, FAULT_PROTOCOL, "websocket: malformed frame (%d)", r);
    return 0;
}

/* Reading has ended: 0 when the peer said good-bye, a fault when it broke the protocol. */
static int receive_ended(const struct websocket *w, struct fault *why)
{
    if (wslay_event_get_close_received(w->events))
        return 0;
    return fault_set(why, FAULT_PROTOCOL, "websocket: closed with %u",
                     wslay_event_get_status_code_sent(w->events));
}

int websocket_receive(struct websocket *w, struct deadline until, struct websocket_message *out,
                      struct fault *why)
{
    for (;;) {
        if (take_message(w, out))
            return 1;
        if (!wslay_event_get_read_enabled(w->events))
            return receive_ended(w, why);
        if (stream_buffered(w->stream).n == 0 &&
            stream_fill(w->stream, FEED_BYTES_MAX, until, why) < 0)
            return -1;
        if (digest_input(w, why) < 0)
            return -1;
    }
}

/* ---- sending ---- */

static int frame_put(struct websocket *w, struct wslay_frame_iocb *frame, struct slice part)
{
    do {
        ssize_t n;
        frame->data = (const uint8_t *)part.p;
        frame->data_length = part.n;
        n = wslay_frame_send(w->frames, frame);
        if (n < 0)
            return -1;
        part = slice_tail(part, (size_t)n);
    } while (part.n > 0);
    return 0;
}

static size_t total_bytes(const struct slice *parts, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    return n;
}

int websocket_send_now(struct websocket *w, enum websocket_kind kind, const struct slice *parts,
                       size_t count, struct fault *why)
{
    struct wslay_frame_iocb frame = {.fin = 1, .opcode = (uint8_t)kind, .mask = w->is_client};
    int r = 0;

    frame.payload_length = total_bytes(parts, count);
    if (wslay_event_get_close_sent(w->events) || w->close_put)
        return fault_set(why, FAULT_CLOSED, "websocket: closing");
    if (frame.payload_length == 0)
        r = frame_put(w, &frame, SLICE_NONE);
    for (size_t i = 0; i < count && r == 0; i++)
        if (parts[i].n > 0)
            r = frame_put(w, &frame, parts[i]);
    if (r == 0 && !w->send_failed)
        return 0;
    return fault_set(why, w->send_failed ? w->send_fault.code : FAULT_CLOSED, "websocket: %s",
                     w->send_failed ? w->send_fault.text : "cannot send");
}

int websocket_wait_room(struct websocket *w, struct deadline until, struct fault *why)
{
    int r;

    if (w->sending.owner == NULL && stream_unsent_bytes(w->stream) <= ROOM_BYTES)
        return 0;
    if (fiber_mutex_lock(&w->sending, until, why) < 0)
        return -1;
    r = stream_flush(w->stream, until, why);
    fiber_mutex_unlock(&w->sending);
    return r;
}

int websocket_send(struct websocket *w, enum websocket_kind kind, const struct slice *parts,
                   size_t count, struct deadline until, struct fault *why)
{
    if (websocket_wait_room(w, until, why) < 0)
        return -1;
    return websocket_send_now(w, kind, parts, count, why);
}

/* ---- parking ---- */

static bool has_input(struct slice buffered, UNUSED void *arg)
{
    return buffered.n > 0;
}

static void wake_parked(UNUSED struct stream *s, enum stream_wake because, void *arg)
{
    struct websocket *w = arg;

    w->wake(w, because == STREAM_WAKE_KICK && w->first != NULL ? STREAM_WAKE_INPUT : because,
            w->wake_arg);
}

void websocket_park(struct websocket *w, websocket_wake_fn wake, void *arg, struct deadline until)
{
    w->wake = wake;
    w->wake_arg = arg;
    if (w->first != NULL)
        stream_kick(w->stream);
    stream_park(w->stream, has_input, wake_parked, w, FEED_BYTES_MAX, until);
}

void websocket_kick(struct websocket *w)
{
    stream_kick(w->stream);
}
