/* act_folders.c - folders: list, get, create, delete, rename, subscribe.
 *
 * Owns nothing beyond the call. Called by the RPC server. Faults as in rpc/mailbox.h. Suspends.
 */
#include "act.h"

struct folder_args {
    struct arena *in;
    struct slice path, to, special_use;
    bool on;
    struct mailbox_folder *folders;
    size_t count;
};

static int list_run(struct engine *e, void *arg, struct fault *why)
{
    struct folder_args *a = arg;

    return engine_list_folders(e, a->in, &a->folders, &a->count, why);
}

static int get_run(struct engine *e, void *arg, struct fault *why)
{
    struct folder_args *a = arg;

    a->folders = ARENA_NEW(a->in, struct mailbox_folder);
    a->count = 1;
    return engine_get_folder(e, a->path, a->in, a->folders, why);
}

static int create_run(struct engine *e, void *arg, struct fault *why)
{
    const struct folder_args *a = arg;

    return engine_create_folder(e, a->path, a->special_use, why);
}

static int delete_run(struct engine *e, void *arg, struct fault *why)
{
    const struct folder_args *a = arg;

    return engine_delete_folder(e, a->path, why);
}

static int rename_run(struct engine *e, void *arg, struct fault *why)
{
    const struct folder_args *a = arg;

    return engine_rename_folder(e, a->path, a->to, why);
}

static int subscribe_run(struct engine *e, void *arg, struct fault *why)
{
    const struct folder_args *a = arg;

    return engine_subscribe(e, a->path, a->on, why);
}

static int answer_folders(struct rpc_call *call, unit_fn fn, struct fault *why)
{
    AUTO(buf_free) struct buf out = BUF_INIT(PACK_BYTES_MAX);
    struct folder_args a = { .in = call->arena, .path = json_get_slice(call->args, "path") };

    drain_catch_up(act_session(call)->box);
    if (box_run(act_session(call)->box, false, fn, &a, why) < 0)
        return -1;
    (void)pack_folders(&out, a.folders, a.count);
    return act_answer_buf(call, NULL, &out, why);
}

int act_folders_list(struct rpc_call *call, struct fault *why)
{
    return answer_folders(call, list_run, why);
}

int act_folders_get(struct rpc_call *call, struct fault *why)
{
    return answer_folders(call, get_run, why);
}

static int change_folder(struct rpc_call *call, unit_fn fn, const struct folder_args *args, struct fault *why)
{
    struct folder_args a = *args;

    if (act_need_write(call, why) < 0 || box_run(act_session(call)->box, true, fn, &a, why) < 0)
        return -1;
    return rpc_answer(call, NULL, NULL, 0, why);
}

int act_folders_create(struct rpc_call *call, struct fault *why)
{
    struct folder_args a = { .path = json_get_slice(call->args, "path"),
                             .special_use = json_get_slice(call->args, "special_use") };

    return change_folder(call, create_run, &a, why);
}

int act_folders_delete(struct rpc_call *call, struct fault *why)
{
    struct folder_args a = { .path = json_get_slice(call->args, "path") };

    return change_folder(call, delete_run, &a, why);
}

int act_folders_rename(struct rpc_call *call, struct fault *why)
{
    struct folder_args a = { .path = json_get_slice(call->args, "from"), .to = json_get_slice(call->args, "to") };

    return change_folder(call, rename_run, &a, why);
}

int act_folders_subscribe(struct rpc_call *call, struct fault *why)
{
    struct folder_args a = { .path = json_get_slice(call->args, "path"), .on = json_get_bool(call->args, "on", true) };

    return change_folder(call, subscribe_run, &a, why);
}
