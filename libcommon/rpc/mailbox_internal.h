/* mailbox_internal.h - what the files of the mailbox client share: the server, an opened mailbox, calls that reopen it. */
#pragma once

#include "base/json.h"
#include "rpc/mailbox.h"
#include "rpc/rpc_client.h"
#include "rt/fiber.h"
#include "wire/mailbox_pack.h"

struct mailbox_server {
    struct rpc_client *rpc;
};

struct mailbox {
    struct mailbox_server *server;
    char *alias_id, *wrap_id;
    struct secret *key;
    unsigned scope;
    char session[RPC_SESSION_BYTES];
    uint64_t connection;                   /* the rpc generation the session belongs to; 0: none */
    uint64_t generation;                   /* of the mailbox: rises when it was opened again */
    struct fiber_mutex opening;
    char *append_path;                     /* the folder that was there at append_checked_ms; NULL: none yet */
    uint64_t append_checked_ms, append_connection;
};

enum mailbox_repeat { REPEAT_NEVER, REPEAT_SAFE };      /* may it be sent again when the answer was lost? */

/* Opens the session if there is none on the current connection. */
int mailbox_ensure_open(struct mailbox *mb, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* The server does not know the session any more (or the connection is gone): the next ensure_open opens anew. */
void mailbox_forget_session(struct mailbox *mb, uint64_t connection);
/* One round trip within the session. On success the caller releases answer->ok. */
int mailbox_call(struct mailbox *mb, struct rpc_request *request, enum mailbox_repeat repeat, struct arena *in, struct deadline until,
                 struct rpc_answer *answer, struct fault *why) MUST_CHECK SUSPENDS;
/* The same, answered without pieces and with nothing of interest in `ok`. */
int mailbox_do(struct mailbox *mb, const char *action, const json_t *args, const struct slice *pieces, size_t piece_count,
               enum mailbox_repeat repeat, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* The i-th answer piece; FAULT_PROTOCOL when there is none. */
int mailbox_answer_piece(const struct rpc_answer *answer, size_t i, struct slice *out, struct fault *why) MUST_CHECK;
int mailbox_bad_answer(const char *action, struct fault *why);
uint64_t mailbox_get_u64(const json_t *ok, const char *key);
int mailbox_copy_session(const json_t *ok, char out[RPC_SESSION_BYTES], struct fault *why) MUST_CHECK;
