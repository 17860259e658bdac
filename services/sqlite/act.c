/* act.c - see act.h.
 *
 * Owns nothing. Called by the act_*.c files, partly on db threads (kept_find, kept_save). Suspends where marked.
 */
#include "act.h"

struct session *act_session(struct rpc_call *call)
{
    return call->session;
}

int act_need_write(struct rpc_call *call, struct fault *why)
{
    return (act_session(call)->scope & 2) != 0 ? 0 : fault_set(why, FAULT_DENIED, "this session may only read");
}

int act_read_uids(struct rpc_call *call, struct uid_set *out, struct fault *why)
{
    struct slice piece;

    if (rpc_read_piece(call, PACK_BYTES_MAX, &piece, why) < 0)
        return -1;
    return unpack_uid_set(piece, call->arena, out) ? 0 : fault_set(why, FAULT_INVALID, "not a uid set");
}

int act_read_alias(struct rpc_call *call, struct slice *out, struct fault *why)
{
    *out = json_get_slice(call->args, "alias_id");
    return object_id_is_valid(*out) ? 0 : fault_set(why, FAULT_INVALID, "not an alias id");
}

int act_read_texts(struct rpc_call *call, const char *key, size_t max, struct slice **out, size_t *count, struct fault *why)
{
    const json_t *list = json_object_get(call->args, key);
    size_t n = json_array_size(list);

    if (n > max)
        return fault_set(why, FAULT_LIMIT, "%s: at most %zu", key, max);
    *out = ARENA_ARRAY(call->arena, struct slice, n);
    *count = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);

        if (!json_is_string(v))
            return fault_set(why, FAULT_INVALID, "%s: text is needed", key);
        (*out)[i] = slice_make(json_string_value(v), json_string_length(v));
    }
    return 0;
}

int act_answer_buf(struct rpc_call *call, json_t *ok, const struct buf *piece, struct fault *why)
{
    struct slice bytes = buf_slice(piece);

    if (piece->overflowed) {
        json_release(&ok);
        return fault_set(why, FAULT_LIMIT, "the answer is too large");
    }
    return rpc_answer(call, ok, &bytes, 1, why);
}

void kept_answer_free(struct kept_answer *k)
{
    json_release(&k->ok);
    for (size_t i = 0; i < ACT_PIECES_MAX; i++)
        buf_free(&k->pieces[i]);
}

static struct slice op_slice(const unsigned char *op)
{
    return slice_make(op, RPC_OP_BYTES);
}

int kept_find(struct engine *e, const unsigned char *op, struct arena *in, struct kept_answer *k, struct fault *why)
{
    struct slice stored, text, piece;
    int found = op != NULL ? engine_op_find(e, op_slice(op), in, &stored, why) : 0;

    if (found <= 0)
        return found;
    if (!unpack_bytes(&stored, &text) || json_parse(text, 65536, &k->ok, why) < 0)
        return fault_set(why, FAULT_CORRUPT, "a kept answer cannot be read");
    while (k->count < ACT_PIECES_MAX && unpack_bytes(&stored, &piece))
        (void)buf_append(&k->pieces[k->count++], piece);
    return 1;
}

int kept_save(struct engine *e, const unsigned char *op, const struct kept_answer *k, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(65536);
    AUTO(buf_free) struct buf all = BUF_INIT(PACK_BYTES_MAX);

    if (op == NULL)
        return 0;
    if (json_format(k->ok, &text) < 0)
        return fault_set(why, FAULT_LIMIT, "answer too large");
    (void)buf_put_bytes(&all, buf_slice(&text));
    for (size_t i = 0; i < k->count; i++)
        (void)buf_put_bytes(&all, buf_slice(&k->pieces[i]));
    if (all.overflowed)
        return fault_set(why, FAULT_LIMIT, "answer too large");
    return engine_op_save(e, op_slice(op), buf_slice(&all), why);
}

int kept_send(struct rpc_call *call, struct kept_answer *k, struct fault *why)
{
    struct slice pieces[ACT_PIECES_MAX];
    json_t *ok = k->ok;

    k->ok = NULL;
    for (size_t i = 0; i < k->count; i++)
        pieces[i] = buf_slice(&k->pieces[i]);
    return rpc_answer(call, ok, pieces, k->count, why);
}
