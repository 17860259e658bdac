/* act_messages.c - a folder's messages: select, rows, changes, store, copy, move, expunge, search.
 *
 * Owns nothing beyond the call. Called by the RPC server; the *_run functions on db threads. Faults as in rpc/mailbox.h. Suspends.
 */
#include "act.h"

struct message_args {
    struct arena *in;
    const unsigned char *op;
    struct slice path;
    uint64_t folder_id, since, unchanged_since;
    struct uid_set uids;
    enum mailbox_store_mode mode;
    uint32_t flags;
    struct slice *keywords;
    size_t keyword_count;
    struct search_node *program;
    uint32_t drain_left;
    bool moves;
    struct buf out;
    json_t *ok;
    struct kept_answer kept;
};

static void args_read(struct rpc_call *call, struct message_args *a)
{
    *a = (struct message_args){
        .in = call->arena, .op = call->op, .folder_id = (uint64_t)json_get_int(call->args, "folder_id", 0),
        .since = (uint64_t)json_get_int(call->args, "since", 0), .out = BUF_INIT(PACK_BYTES_MAX),
        .kept = { .pieces = { BUF_INIT(PACK_BYTES_MAX), BUF_INIT(PACK_BYTES_MAX) } },
        .drain_left = (uint32_t)sealed_count(server.sealed, slice_of(act_session(call)->box->alias_id)),
    };
}

static void args_free(struct message_args *a)
{
    buf_free(&a->out);
    json_release(&a->ok);
    kept_answer_free(&a->kept);
}

static int run_and_answer(struct rpc_call *call, bool writes, unit_fn fn, struct message_args *a, struct fault *why)
{
    json_t *ok;

    if (box_run(act_session(call)->box, writes, fn, a, why) < 0)
        return -1;
    ok = a->ok;
    a->ok = NULL;
    return act_answer_buf(call, ok, &a->out, why);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static int select_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_view view;

    if (engine_select(e, a->path, a->in, &view, why) < 0)
        return -1;
    view.drain_left = a->drain_left;
    return pack_view(&a->out, &view) < 0 ? fault_set(why, FAULT_LIMIT, "view too large") : 0;
}

int act_messages_select(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;

    drain_catch_up(act_session(call)->box);
    args_read(call, &a);
    a.path = json_get_slice(call->args, "path");
    return run_and_answer(call, false, select_run, &a, why);
}

static int rows_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_row *rows;
    size_t count;

    if (engine_get_rows(e, a->folder_id, a->uids, a->in, &rows, &count, why) < 0)
        return -1;
    return pack_rows(&a->out, rows, count) < 0 ? fault_set(why, FAULT_LIMIT, "too many rows") : 0;
}

int act_messages_rows(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;

    args_read(call, &a);
    if (act_read_uids(call, &a.uids, why) < 0)
        return -1;
    return run_and_answer(call, false, rows_run, &a, why);
}

static int changes_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_changes changes;

    if (engine_get_changes(e, a->folder_id, a->since, a->uids, a->in, &changes, why) < 0)
        return -1;
    changes.drain_left = a->drain_left;
    return pack_changes(&a->out, &changes) < 0 ? fault_set(why, FAULT_LIMIT, "too many changes") : 0;
}

int act_messages_changes(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;

    args_read(call, &a);
    if (act_read_uids(call, &a.uids, why) < 0)
        return -1;
    return run_and_answer(call, false, changes_run, &a, why);
}

static int search_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_found found;

    if (engine_search(e, a->folder_id, a->program, a->in, &found, why) < 0)
        return -1;
    a->ok = json_object();
    json_set_int(a->ok, "highestmodseq", (int64_t)found.highestmodseq);
    return pack_uid_set(&a->out, found.uids) < 0 ? fault_set(why, FAULT_LIMIT, "too many UIDs") : 0;
}

int act_messages_search(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;
    struct slice piece;

    args_read(call, &a);
    if (rpc_read_piece(call, 2u << 20, &piece, why) < 0)
        return -1;
    if (!unpack_search(piece, call->arena, &a.program))
        return fault_set(why, FAULT_INVALID, "not a search program");
    return run_and_answer(call, false, search_run, &a, why);
}

/* ---- changing --------------------------------------------------------------------------------------- */

static int store_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_stored stored;

    if (engine_store(e, a->folder_id, a->uids, a->mode, a->flags, a->keywords, a->keyword_count, a->unchanged_since, a->in,
                     &stored, why) < 0)
        return -1;
    return pack_stored(&a->out, &stored) < 0 ? fault_set(why, FAULT_LIMIT, "too many rows") : 0;
}

int act_messages_store(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;
    int64_t mode = json_get_int(call->args, "mode", -1);

    args_read(call, &a);
    a.flags = (uint32_t)json_get_int(call->args, "flags", 0);
    a.unchanged_since = (uint64_t)json_get_int(call->args, "unchanged_since", -1);
    if (mode < STORE_SET || mode > STORE_REMOVE)
        return fault_set(why, FAULT_INVALID, "mode");
    a.mode = (enum mailbox_store_mode)mode;
    if (act_need_write(call, why) < 0 || act_read_uids(call, &a.uids, why) < 0 ||
        act_read_texts(call, "keywords", MAILBOX_KEYWORDS_MAX, &a.keywords, &a.keyword_count, why) < 0)
        return -1;
    return run_and_answer(call, true, store_run, &a, why);
}

static int keep_sets(struct message_args *a, const struct uid_set *sets, size_t count, struct fault *why)
{
    for (size_t i = 0; i < count; i++)
        if (pack_uid_set(&a->kept.pieces[i], sets[i]) < 0)
            return fault_set(why, FAULT_LIMIT, "too many UIDs");
    a->kept.count = count;
    return 0;
}

static json_t *modseq_object(uint64_t from, uint64_t to)
{
    json_t *ok = json_object();

    json_set_int(ok, "from_modseq", (int64_t)from);
    json_set_int(ok, "modseq", (int64_t)to);
    return ok;
}

static int copy_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_copied done;
    struct uid_set sets[2];
    int found = kept_find(e, a->op, a->in, &a->kept, why);
    int r;

    if (found != 0)
        return found < 0 ? -1 : 0;
    r = a->moves ? engine_move(e, a->folder_id, a->uids, a->path, a->in, &done, why)
                 : engine_copy(e, a->folder_id, a->uids, a->path, a->in, &done, why);
    if (r < 0)
        return -1;
    a->kept.ok = modseq_object(done.from_modseq, done.modseq);
    json_set_int(a->kept.ok, "uidvalidity", done.uidvalidity);
    sets[0] = done.from;
    sets[1] = done.to;
    if (keep_sets(a, sets, 2, why) < 0)
        return -1;
    return kept_save(e, a->op, &a->kept, why);
}

static int copy_or_move(struct rpc_call *call, bool moves, struct fault *why)
{
    AUTO(args_free) struct message_args a;

    args_read(call, &a);
    a.moves = moves;
    a.path = json_get_slice(call->args, "to_path");
    if (act_need_write(call, why) < 0 || act_read_uids(call, &a.uids, why) < 0 ||
        box_run(act_session(call)->box, true, copy_run, &a, why) < 0)
        return -1;
    return kept_send(call, &a.kept, why);
}

int act_messages_copy(struct rpc_call *call, struct fault *why)
{
    return copy_or_move(call, false, why);
}

int act_messages_move(struct rpc_call *call, struct fault *why)
{
    return copy_or_move(call, true, why);
}

static int expunge_run(struct engine *e, void *arg, struct fault *why)
{
    struct message_args *a = arg;
    struct mailbox_expunged done;

    if (engine_expunge(e, a->folder_id, a->uids, a->in, &done, why) < 0)
        return -1;
    a->ok = modseq_object(done.from_modseq, done.modseq);
    return pack_uid_set(&a->out, done.uids) < 0 ? fault_set(why, FAULT_LIMIT, "too many UIDs") : 0;
}

int act_messages_expunge(struct rpc_call *call, struct fault *why)
{
    AUTO(args_free) struct message_args a;

    args_read(call, &a);
    if (act_need_write(call, why) < 0 || act_read_uids(call, &a.uids, why) < 0)
        return -1;
    return run_and_answer(call, true, expunge_run, &a, why);
}
