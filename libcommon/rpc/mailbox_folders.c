/* mailbox_folders.c - folders, views and rows of a mailbox.
 *
 * Owns nothing: answers live in the caller's arena. Called by imap, pop3, api. Suspends for one
 * round trip each.
 */
#include "rpc/mailbox_internal.h"

/* A request whose answer is one packed piece. */
static int ask_piece(struct mailbox *mb, struct rpc_request *request, struct arena *in,
                     struct deadline until, struct slice *out, struct fault *why)
{
    struct rpc_answer answer;
    int r;

    if (mailbox_call(mb, request, REPEAT_SAFE, in, until, &answer, why) < 0)
        return -1;
    r = mailbox_answer_piece(&answer, 0, out, why);
    json_release(&answer.ok);
    return r;
}

static int ask_by_path(struct mailbox *mb, const char *action, struct slice path, struct arena *in,
                       struct deadline until, struct slice *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    struct rpc_request request = {.action = action, .args = args};

    (void)json_set_slice(args, "path", path);
    return ask_piece(mb, &request, in, until, out, why);
}

/* ---- folders ---- */

int mailbox_list_folders(struct mailbox *mb, struct arena *in, struct deadline until,
                         struct mailbox_folder **out, size_t *count, struct fault *why)
{
    struct rpc_request request = {.action = "folders.list"};
    struct slice packed;

    if (ask_piece(mb, &request, in, until, &packed, why) < 0)
        return -1;
    return unpack_folders(packed, in, out, count) ? 0 : mailbox_bad_answer(request.action, why);
}

int mailbox_get_folder(struct mailbox *mb, struct slice path, struct arena *in,
                       struct deadline until, struct mailbox_folder *out, struct fault *why)
{
    struct mailbox_folder *folders;
    struct slice packed;
    size_t count;

    if (ask_by_path(mb, "folders.get", path, in, until, &packed, why) < 0)
        return -1;
    if (!unpack_folders(packed, in, &folders, &count) || count != 1)
        return mailbox_bad_answer("folders.get", why);
    *out = folders[0];
    return 0;
}

int mailbox_create_folder(struct mailbox *mb, struct slice path, struct slice special_use,
                          struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    (void)json_set_slice(args, "path", path);
    (void)json_set_slice(args, "special_use", special_use);
    return mailbox_do(mb, "folders.create", args, NULL, 0, REPEAT_NEVER, until, why);
}

int mailbox_delete_folder(struct mailbox *mb, struct slice path, struct deadline until,
                          struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    (void)json_set_slice(args, "path", path);
    return mailbox_do(mb, "folders.delete", args, NULL, 0, REPEAT_NEVER, until, why);
}

int mailbox_rename_folder(struct mailbox *mb, struct slice from, struct slice to,
                          struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    (void)json_set_slice(args, "from", from);
    (void)json_set_slice(args, "to", to);
    return mailbox_do(mb, "folders.rename", args, NULL, 0, REPEAT_NEVER, until, why);
}

int mailbox_subscribe(struct mailbox *mb, struct slice path, bool on, struct deadline until,
                      struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    (void)json_set_slice(args, "path", path);
    (void)json_set_bool(args, "on", on);
    return mailbox_do(mb, "folders.subscribe", args, NULL, 0, REPEAT_SAFE, until, why);
}

/* ---- views ---- */

int mailbox_select(struct mailbox *mb, struct slice path, struct arena *in, struct deadline until,
                   struct mailbox_view *out, struct fault *why)
{
    struct slice packed;

    if (ask_by_path(mb, "messages.select", path, in, until, &packed, why) < 0)
        return -1;
    return unpack_view(packed, in, out) ? 0 : mailbox_bad_answer("messages.select", why);
}

/* A request about some messages of a folder: `args` beside folder_id may be there already. */
static int ask_by_uids(struct mailbox *mb, const char *action, json_t *args, uint64_t folder_id,
                       struct uid_set uids, struct arena *in, struct deadline until,
                       struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf packed = BUF_INIT(PACK_BYTES_MAX);
    struct rpc_request request = {.action = action, .args = args, .piece_count = 1};
    struct slice piece;

    if (pack_uid_set(&packed, uids) < 0)
        return fault_set(why, FAULT_LIMIT, "too many ranges of UIDs");
    piece = buf_slice(&packed);
    request.pieces = &piece;
    (void)json_set_int(args, "folder_id", (int64_t)folder_id);
    return ask_piece(mb, &request, in, until, out, why);
}

int mailbox_get_rows(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in,
                     struct deadline until, struct mailbox_row **out, size_t *count,
                     struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    struct slice packed;

    if (ask_by_uids(mb, "messages.rows", args, folder_id, uids, in, until, &packed, why) < 0)
        return -1;
    return unpack_rows(packed, in, out, count) ? 0 : mailbox_bad_answer("messages.rows", why);
}

int mailbox_get_changes(struct mailbox *mb, uint64_t folder_id, uint64_t since_modseq,
                        struct uid_set within, struct arena *in, struct deadline until,
                        struct mailbox_changes *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    struct slice packed;

    (void)json_set_int(args, "since", (int64_t)since_modseq);
    if (ask_by_uids(mb, "messages.changes", args, folder_id, within, in, until, &packed, why) < 0)
        return -1;
    return unpack_changes(packed, in, out) ? 0 : mailbox_bad_answer("messages.changes", why);
}
