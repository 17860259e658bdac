/* websocket_internal.h - one WebSocket, shared by its handshake and its message files. */
#pragma once

#include <wslay/wslay.h>

#include "net/websocket.h"
#include "rt/timer.h"

struct websocket_inbox {                   /* a complete message not yet received */
    struct websocket_message message;
    struct websocket_inbox *next;
};

struct websocket {
    struct stream *stream;
    wslay_event_context_ptr events;        /* what comes in, and control frames */
    wslay_frame_context_ptr frames;        /* data frames going out */
    struct websocket_options options;
    bool is_client;

    struct websocket_inbox *first, **end;
    struct buf incoming;                   /* of the message that is coming in */
    uint8_t incoming_opcode, frame_opcode;
    bool frame_is_final, too_big;
    struct slice feed;                     /* stream input that wslay may take */

    bool send_failed;
    bool close_put;                        /* a close frame of our own went out, past wslay: nothing may follow */
    struct fault send_fault;
    struct fiber_mutex sending;            /* one fiber waits for room at a time */

    struct timer ping;
    bool heard;                            /* something came in since the last tick */
    unsigned pings;                        /* sent in a row, unanswered */
    websocket_wake_fn wake;
    void *wake_arg;
};

struct websocket *websocket_new(struct stream *s, const struct websocket_options *options, bool is_client);
