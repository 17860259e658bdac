/* act.h - small helpers the actions share: arguments, packed answers, answers kept under an operation id. */
#pragma once

#include "sqlite.h"
#include "wire/mailbox_pack.h"

struct session *act_session(struct rpc_call *call);
int act_need_write(struct rpc_call *call, struct fault *why);
/* The next piece as a uid set. */
int act_read_uids(struct rpc_call *call, struct uid_set *out, struct fault *why) SUSPENDS;
int act_read_alias(struct rpc_call *call, struct slice *out, struct fault *why);
/* Array of text in args to slices; at most `max`. */
int act_read_texts(struct rpc_call *call, const char *key, size_t max, struct slice **out, size_t *count, struct fault *why);
int act_answer_buf(struct rpc_call *call, json_t *ok, const struct buf *piece, struct fault *why) SUSPENDS;

#define ACT_PIECES_MAX 2
struct kept_answer {                   /* what an action with an operation id answers, now or again */
    json_t *ok;
    struct buf pieces[ACT_PIECES_MAX];
    size_t count;
};
void kept_answer_free(struct kept_answer *k);          /* closer */
/* Inside the unit, before acting: 1 the answer of the first time is in *k, 0 act now. */
int kept_find(struct engine *e, const unsigned char *op, struct arena *in, struct kept_answer *k, struct fault *why);
/* Inside the unit, after acting. Without an op it does nothing. */
int kept_save(struct engine *e, const unsigned char *op, const struct kept_answer *k, struct fault *why);
int kept_send(struct rpc_call *call, struct kept_answer *k, struct fault *why) SUSPENDS;
