/* mailbox_change.c - what changes messages: store, append, copy, move, expunge; and search.
 *
 * Owns struct mailbox_append and its request. Called by imap, api. Copy, move and append carry an
 * `op`, so that a lost answer can be asked for again without doing the work twice. Suspends for
 * round trips and, while appending, for credit.
 */
#include "rpc/mailbox_internal.h"

#include "base/time.h"

#define APPEND_CHECKED_FOR_MS 5000

/* ---- requests about some messages of a folder ---- */

static int ask(struct mailbox *mb, const char *action, json_t *args, uint64_t folder_id,
               struct slice piece, const unsigned char *op, struct arena *in, struct deadline until,
               struct rpc_answer *answer, enum mailbox_repeat repeat, struct fault *why)
{
    struct rpc_request request = {
        .action = action, .args = args, .op = op, .pieces = &piece, .piece_count = 1};

    (void)json_set_int(args, "folder_id", (int64_t)folder_id);
    return mailbox_call(mb, &request, repeat, in, until, answer, why);
}

static int ask_uids(struct mailbox *mb, const char *action, json_t *args, uint64_t folder_id,
                    struct uid_set uids, const unsigned char *op, struct arena *in,
                    struct deadline until, struct rpc_answer *answer, enum mailbox_repeat repeat,
                    struct fault *why)
{
    AUTO(buf_free) struct buf packed = BUF_INIT(PACK_BYTES_MAX);

    if (pack_uid_set(&packed, uids) < 0)
        return fault_set(why, FAULT_LIMIT, "too many ranges of UIDs");
    return ask(mb, action, args, folder_id, buf_slice(&packed), op, in, until, answer, repeat, why);
}

static int answer_uids(const struct rpc_answer *answer, size_t i, struct arena *in,
                       struct uid_set *out, struct fault *why)
{
    struct slice packed;

    if (mailbox_answer_piece(answer, i, &packed, why) < 0)
        return -1;
    return unpack_uid_set(packed, in, out)
               ? 0
               : fault_set(why, FAULT_PROTOCOL, "mailbox server: malformed set of UIDs");
}

int mailbox_store(struct mailbox *mb, uint64_t folder_id, struct uid_set uids,
                  enum mailbox_store_mode mode, uint32_t flags, const struct slice *keywords,
                  size_t keyword_count, uint64_t unchanged_since, struct arena *in,
                  struct deadline until, struct mailbox_stored *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(json_release) json_t *ok = NULL;
    enum mailbox_repeat repeat = unchanged_since == UINT64_MAX ? REPEAT_SAFE : REPEAT_NEVER;
    json_t *names = json_array();
    struct rpc_answer answer;
    struct slice packed;

    (void)json_set_int(args, "mode", mode);
    (void)json_set_int(args, "flags", flags);
    for (size_t i = 0; i < keyword_count; i++)
        (void)json_array_append_new(names, json_slice(keywords[i]));
    (void)json_object_set_new(args, "keywords", names);
    if (unchanged_since != UINT64_MAX)
        (void)json_set_int(args, "unchanged_since", (int64_t)unchanged_since);
    if (ask_uids(mb, "messages.store", args, folder_id, uids, NULL, in, until, &answer, repeat,
                 why) < 0)
        return -1;
    ok = answer.ok;
    if (mailbox_answer_piece(&answer, 0, &packed, why) < 0)
        return -1;
    return unpack_stored(packed, in, out) ? 0 : mailbox_bad_answer("messages.store", why);
}

static int copy_or_move(struct mailbox *mb, const char *action, uint64_t folder_id,
                        struct uid_set uids, struct slice to_path, struct arena *in,
                        struct deadline until, struct mailbox_copied *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(json_release) json_t *ok = NULL;
    unsigned char op[RPC_OP_BYTES];
    struct mailbox_copied copied = {0};
    struct rpc_answer answer;

    random_bytes(op, sizeof(op));
    (void)json_set_slice(args, "to_path", to_path);
    if (ask_uids(mb, action, args, folder_id, uids, op, in, until, &answer, REPEAT_SAFE, why) < 0)
        return -1;
    ok = answer.ok;
    if (answer_uids(&answer, 0, in, &copied.from, why) < 0 ||
        answer_uids(&answer, 1, in, &copied.to, why) < 0)
        return -1;
    copied.uidvalidity = (uint32_t)mailbox_get_u64(ok, "uidvalidity");
    copied.from_modseq = mailbox_get_u64(ok, "from_modseq");
    copied.modseq = mailbox_get_u64(ok, "modseq");
    *out = copied;
    return 0;
}

int mailbox_copy(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path,
                 struct arena *in, struct deadline until, struct mailbox_copied *out,
                 struct fault *why)
{
    return copy_or_move(mb, "messages.copy", folder_id, uids, to_path, in, until, out, why);
}

int mailbox_move(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path,
                 struct arena *in, struct deadline until, struct mailbox_copied *out,
                 struct fault *why)
{
    return copy_or_move(mb, "messages.move", folder_id, uids, to_path, in, until, out, why);
}

int mailbox_expunge(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in,
                    struct deadline until, struct mailbox_expunged *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(json_release) json_t *ok = NULL;
    struct mailbox_expunged expunged = {0};
    struct rpc_answer answer;

    if (ask_uids(mb, "messages.expunge", args, folder_id, uids, NULL, in, until, &answer,
                 REPEAT_SAFE, why) < 0)
        return -1;
    ok = answer.ok;
    if (answer_uids(&answer, 0, in, &expunged.uids, why) < 0)
        return -1;
    expunged.from_modseq = mailbox_get_u64(ok, "from_modseq");
    expunged.modseq = mailbox_get_u64(ok, "modseq");
    *out = expunged;
    return 0;
}

int mailbox_search(struct mailbox *mb, uint64_t folder_id, const struct search_node *program,
                   struct arena *in, struct deadline until, struct mailbox_found *out,
                   struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(json_release) json_t *ok = NULL;
    AUTO(buf_free) struct buf packed = BUF_INIT(PACK_BYTES_MAX);
    struct rpc_answer answer;

    if (pack_search(&packed, program) < 0)
        return fault_set(why, FAULT_LIMIT, "search is too deep or too large");
    if (ask(mb, "messages.search", args, folder_id, buf_slice(&packed), NULL, in, until, &answer,
            REPEAT_SAFE, why) < 0)
        return -1;
    ok = answer.ok;
    if (answer_uids(&answer, 0, in, &out->uids, why) < 0)
        return -1;
    out->highestmodseq = mailbox_get_u64(ok, "highestmodseq");
    return 0;
}

/* ---- append ---- */

struct mailbox_append {
    struct mailbox *mb;
    struct rpc_exchange *x;
    struct deadline until;
    json_t *args;
    unsigned char op[RPC_OP_BYTES];
    size_t messages;
    uint64_t left; /* of the current body */
};

void mailbox_append_abort(struct mailbox_append **ap)
{
    struct mailbox_append *a = *ap;

    if (a == NULL)
        return;
    *ap = NULL;
    rpc_exchange_close(&a->x);
    json_release(&a->args);
    free(a);
}

/* Sends the request's text frame; bodies follow. A session the server has forgotten is opened once
 * more. */
static int append_start(struct mailbox_append *a, bool with_bodies, struct fault *why)
{
    struct mailbox *mb = a->mb;
    struct rpc_request request = {
        .action = "messages.append", .args = a->args, .op = a->op, .stream_more = with_bodies};

    if (mailbox_ensure_open(mb, a->until, why) < 0)
        return -1;
    request.session = slice_make(mb->session, sizeof(mb->session));
    request.generation = mb->connection;
    return rpc_exchange_begin(mb->server->rpc, &request, a->until, &a->x, why);
}

/* Is there such a folder? Known before a body is taken in; reopens the session. Asked once for a row of
 * appends to one folder: if it goes meanwhile, the commit says so. */
static int append_check(struct mailbox *mb, struct slice path, struct deadline until,
                        struct fault *why)
{
    AUTO(arena_free) struct arena *in = NULL;
    struct mailbox_folder folder;

    if (mb->append_path != NULL && slice_equal(path, slice_of(mb->append_path)) &&
        mb->connection != 0 && mb->append_connection == mb->connection &&
        mb->connection == rpc_client_generation(mb->server->rpc) &&
        clock_now_ms() - mb->append_checked_ms < APPEND_CHECKED_FOR_MS)
        return 0;
    in = arena_new(512);
    if (mailbox_get_folder(mb, path, in, until, &folder, why) < 0)
        return -1;
    if (!folder.exists)
        return fault_set(why, FAULT_NOT_FOUND, "no such folder");
    free(mb->append_path);
    mb->append_path = strndup(path.p, path.n);
    mb->append_connection = mb->connection;
    mb->append_checked_ms = clock_now_ms();
    return 0;
}

int mailbox_append_begin(struct mailbox *mb, struct slice path, struct deadline until,
                         struct mailbox_append **out, struct fault *why)
{
    AUTO(mailbox_append_abort) struct mailbox_append *a = calloc(1, sizeof(*a));

    if (a == NULL)
        abort();
    a->mb = mb;
    a->until = until;
    a->args = json_object();
    (void)json_set_slice(a->args, "path", path);
    random_bytes(a->op, sizeof(a->op));
    if (append_check(mb, path, until, why) < 0)
        return -1;
    if (append_start(a, true, why) < 0)
        return -1;
    *out = a;
    a = NULL;
    return 0;
}

int mailbox_append_message(struct mailbox_append *a, uint64_t size_bytes, uint32_t flags,
                           const struct slice *keywords, size_t keyword_count, int64_t internal_ms,
                           struct fault *why)
{
    AUTO(buf_free) struct buf packed = BUF_INIT(RPC_FRAME_BYTES_MAX);
    const struct mailbox_append_head head = {
        .size_bytes = size_bytes,
        .flags = flags,
        .keywords = keywords,
        .keyword_count = keyword_count,
        .internal_ms = internal_ms,
    };

    if (a->left > 0)
        return fault_set(why, FAULT_INVALID, "the message before is incomplete");
    if (pack_append_head(&packed, &head) < 0)
        return fault_set(why, FAULT_LIMIT, "too many keywords");
    if (a->messages > 0 && rpc_exchange_end_piece(a->x, why) < 0)
        return -1;
    if (rpc_exchange_write(a->x, buf_slice(&packed), why) < 0 ||
        rpc_exchange_end_piece(a->x, why) < 0)
        return -1;
    a->messages++;
    a->left = size_bytes;
    return 0;
}

int mailbox_append_write(struct mailbox_append *a, struct slice bytes, struct fault *why)
{
    if (a->messages == 0 || bytes.n > a->left)
        return fault_set(why, FAULT_INVALID, "more bytes than the message was announced with");
    a->left -= bytes.n;
    return rpc_exchange_write(a->x, bytes, why);
}

static int read_appended(struct mailbox_append *a, struct arena *in, struct mailbox_appended *out,
                         struct fault *why)
{
    struct mailbox_appended appended = {0};
    AUTO(buf_free) struct buf packed = BUF_INIT(PACK_BYTES_MAX);
    const json_t *ok;
    struct slice some;

    if (rpc_exchange_answer(a->x, &ok, why) < 0)
        return -1;
    appended.uidvalidity = (uint32_t)mailbox_get_u64(ok, "uidvalidity");
    appended.from_modseq = mailbox_get_u64(ok, "from_modseq");
    appended.modseq = mailbox_get_u64(ok, "modseq");
    if (rpc_exchange_next_piece(a->x, why) != 1)
        return mailbox_bad_answer("messages.append", why);
    do {
        if (rpc_exchange_read(a->x, &some, why) < 0)
            return -1;
        if (buf_append(&packed, some) < 0)
            return mailbox_bad_answer("messages.append", why);
    } while (some.n > 0);
    if (!unpack_uid_set(arena_copy(in, buf_slice(&packed)), in, &appended.uids))
        return mailbox_bad_answer("messages.append", why);
    *out = appended;
    return 0;
}

/* The connection went after the last byte was sent: ask again with the same op and no bodies. The
 * server repeats the answer of what it committed, or refuses what it never got. */
static int ask_again(struct mailbox_append *a, struct arena *in, struct mailbox_appended *out,
                     struct fault *why)
{
    struct fault again;

    rpc_exchange_close(&a->x);
    if (append_start(a, false, &again) < 0 || read_appended(a, in, out, &again) < 0)
        return fault_set(why, FAULT_UNAVAILABLE, "append: answer lost: %s", again.text);
    return 0;
}

int mailbox_append_commit(struct mailbox_append **ap, struct arena *in,
                          struct mailbox_appended *out, struct fault *why)
{
    AUTO(mailbox_append_abort) struct mailbox_append *a = *ap;
    int r;

    *ap = NULL;
    if (a->messages == 0 || a->left > 0)
        return fault_set(why, FAULT_INVALID, "append of an incomplete message");
    if (rpc_exchange_finish(a->x, why) < 0)
        return -1;
    r = read_appended(a, in, out, why);
    if (r < 0 && why->code == FAULT_UNAVAILABLE &&
        rpc_exchange_generation(a->x) != rpc_client_generation(a->mb->server->rpc))
        r = ask_again(a, in, out, why);
    return r;
}
