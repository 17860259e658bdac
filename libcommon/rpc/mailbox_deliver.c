/* mailbox_deliver.c - delivery: a body streamed to the mailbox server once, then put into any
 * number of mailboxes.
 *
 * Owns struct mailbox_deliver, the upload and the body's handle. Called by mx and api;
 * mailbox_deliver_to from several fibers at once. Fails when the connection is lost in between: the
 * body went with it, the sender tries again and marks prevent doubles.
 */
#include "base/encode.h"
#include "rpc/mailbox_internal.h"

#define ONE_BYTES_MAX ((uint64_t)48 << 10) /* a body that goes with its recipient, in one request */
#define ONE_TIMES_MAX 2                    /* for the third recipient it is uploaded after all */

struct mailbox_deliver {
    struct mailbox_server *server;
    struct rpc_exchange *upload;
    uint64_t size_bytes, left;
    struct buf held; /* a small body, all of it */
    unsigned one_count;
    struct deadline until;
    uint64_t connection;
    char session[RPC_SESSION_BYTES];
    bool uploaded;
    struct fiber_mutex finishing;
};

static int begin_upload(struct mailbox_deliver *d, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    const struct rpc_request request = {.action = "deliver.begin",
                                        .args = args,
                                        .stream_bytes = &d->size_bytes,
                                        .stream_count = 1};

    (void)json_set_int(args, "size_bytes", (int64_t)d->size_bytes);
    return rpc_exchange_begin(d->server->rpc, &request, d->until, &d->upload, why);
}

int mailbox_deliver_begin(struct mailbox_server *s, uint64_t size_bytes, struct deadline until,
                          struct mailbox_deliver **out, struct fault *why)
{
    struct mailbox_deliver *d = calloc(1, sizeof(*d));

    if (d == NULL)
        abort();
    d->server = s;
    d->size_bytes = d->left = size_bytes;
    d->held = BUF_INIT(ONE_BYTES_MAX);
    d->until = until;
    fiber_mutex_init(&d->finishing);
    if (size_bytes > ONE_BYTES_MAX && begin_upload(d, why) < 0) {
        free(d);
        return -1;
    }
    *out = d;
    return 0;
}

int mailbox_deliver_write(struct mailbox_deliver *d, struct slice bytes, struct fault *why)
{
    if (bytes.n > d->left)
        return fault_set(why, FAULT_INVALID, "more bytes than the body was announced with");
    d->left -= bytes.n;
    if (d->upload == NULL)
        return buf_append(&d->held, bytes) < 0 ? fault_set(why, FAULT_LIMIT, "body") : 0;
    return rpc_exchange_write(d->upload, bytes, why);
}

static int finish_upload(struct mailbox_deliver *d, struct fault *why)
{
    const json_t *ok;

    if (d->left > 0)
        return fault_set(why, FAULT_INVALID, "the body is incomplete");
    if (d->upload == NULL &&
        (begin_upload(d, why) < 0 || rpc_exchange_write(d->upload, buf_slice(&d->held), why) < 0))
        return -1;
    if (!rpc_exchange_is_sent(d->upload) && rpc_exchange_finish(d->upload, why) < 0)
        return -1;
    if (rpc_exchange_answer(d->upload, &ok, why) < 0 ||
        mailbox_copy_session(ok, d->session, why) < 0)
        return -1;
    d->connection = rpc_exchange_generation(d->upload);
    d->uploaded = true;
    return 0;
}

static int ensure_uploaded(struct mailbox_deliver *d, struct fault *why)
{
    int r = 0;

    if (d->uploaded)
        return 0;
    if (fiber_mutex_lock(&d->finishing, d->until, why) < 0)
        return -1;
    if (!d->uploaded)
        r = finish_upload(d, why);
    fiber_mutex_unlock(&d->finishing);
    return r;
}

static json_t *delivery_args(const struct mailbox_delivery *to, struct arena *in)
{
    json_t *args = json_object();

    (void)json_set_slice(args, "alias_id", to->alias_id);
    (void)json_set_slice(args, "mark", hex_encode(in, to->mark));
    (void)json_set_int(args, "quota_bytes", (int64_t)to->quota_bytes);
    (void)json_set_int(args, "arrived_ms", to->arrived_ms);
    (void)json_set_slice(args, "folder", to->folder.n > 0 ? to->folder : LIT(""));
    (void)json_set_int(args, "flags", to->flags);
    if (to->msg.n > 0)
        (void)json_set_slice(args, "msg", to->msg);
    return args;
}

/* With a small body and few recipients one request each, that holds the body. */
static bool goes_at_once(struct mailbox_deliver *d)
{
    return d->upload == NULL && d->left == 0 && d->one_count++ < ONE_TIMES_MAX;
}

static int deliver_at_once(struct mailbox_deliver *d, const json_t *args,
                           const struct mailbox_delivery *to, struct slice prefix, struct arena *in,
                           struct rpc_answer *answer, struct fault *why)
{
    const struct slice pieces[] = {to->public_key, prefix, buf_slice(&d->held)};
    const struct rpc_request request = {
        .action = "deliver.one", .args = args, .pieces = pieces, .piece_count = COUNT(pieces)};

    return rpc_client_call(d->server->rpc, &request, 0, in, d->until, answer, why);
}

static int deliver_uploaded(struct mailbox_deliver *d, const json_t *args,
                            const struct mailbox_delivery *to, struct slice prefix,
                            struct arena *in, struct rpc_answer *answer, struct fault *why)
{
    const struct slice pieces[] = {to->public_key, prefix};
    struct rpc_request request = {
        .action = "deliver.to", .args = args, .pieces = pieces, .piece_count = COUNT(pieces)};

    if (ensure_uploaded(d, why) < 0)
        return -1;
    request.session = slice_make(d->session, sizeof(d->session));
    request.generation = d->connection;
    return rpc_client_call(d->server->rpc, &request, 0, in, d->until, answer, why);
}

int mailbox_deliver_to(struct mailbox_deliver *d, const struct mailbox_delivery *to,
                       struct slice prefix, struct mailbox_delivered *out, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(1024);
    AUTO(json_release) json_t *args = delivery_args(to, in);
    struct rpc_answer answer;
    int r = goes_at_once(d) ? deliver_at_once(d, args, to, prefix, in, &answer, why)
                            : deliver_uploaded(d, args, to, prefix, in, &answer, why);

    if (r < 0) {
        if (why->code == FAULT_CLOSED) /* the body went with its connection */
            why->code = FAULT_UNAVAILABLE;
        return -1;
    }
    out->sealed = json_get_bool(answer.ok, "sealed", false);
    out->duplicate = json_get_bool(answer.ok, "duplicate", false);
    out->uid = (uint32_t)mailbox_get_u64(answer.ok, "uid");
    json_release(&answer.ok);
    return 0;
}

void mailbox_deliver_end(struct mailbox_deliver **dp)
{
    struct mailbox_deliver *d = *dp;
    struct rpc_request request = {.action = "deliver.end"};

    if (d == NULL)
        return;
    *dp = NULL;
    request.session = slice_make(d->session, sizeof(d->session));
    request.generation = d->connection;
    if (d->uploaded)
        rpc_client_tell(d->server->rpc, &request);
    rpc_exchange_close(&d->upload);
    buf_free(&d->held);
    free(d);
}
