/* act_deliver.c - deliveries: a body uploaded once, then stored or sealed for each recipient, answered after its commit.
 *
 * Small bodies go through the sealed log also when the mailbox is open: one fdatasync for all that is under way, whatever mailboxes it
 * is for; they are taken into the mailbox at once, or, where much arrives, some together in one commit (drain.c).
 *
 * Owns the bodies (RPC sessions of kind body). Called by the RPC server. FAULT_NOT_FOUND: the mailbox was never created. Suspends.
 */
#include "act.h"

#include "base/encode.h"

struct body {                                  /* what mx has uploaded */
    struct buf memory;
    struct spool *spool;                       /* instead, when larger than BODY_MEMORY_MAX */
    uint64_t bytes;
};

static void body_end(void *object)
{
    struct body *b = object;

    buf_free(&b->memory);
    spool_free(&b->spool);
    free(b);
}

const struct rpc_session_kind body_kind = { "body", body_end };

static int body_receive(struct rpc_call *call, struct body *b, struct fault *why)
{
    struct slice piece;

    if (rpc_next_piece(call, why) != 1)
        return fault_set(why, FAULT_INVALID, "no body");
    for (uint64_t got = 0;; got += piece.n) {
        if (rpc_read(call, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            return got == b->bytes ? 0 : fault_set(why, FAULT_INVALID, "the body has another length than announced");
        if (got + piece.n > b->bytes)
            return fault_set(why, FAULT_INVALID, "the body is longer than announced");
        if (b->spool != NULL ? spool_append(b->spool, piece, why) < 0 : buf_append(&b->memory, piece) < 0)
            return -1;
    }
}

int act_deliver_begin(struct rpc_call *call, struct fault *why)
{
    int64_t size = json_get_int(call->args, "size_bytes", -1);
    struct rpc_session *handle;
    struct body *b;
    json_t *ok;

    if (size < 0 || (uint64_t)size > SEALED_ITEM_MAX - 65536)
        return fault_set(why, FAULT_LIMIT, "a message has at most %llu bytes", (unsigned long long)SEALED_ITEM_MAX - 65536);
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        abort();
    b->bytes = (uint64_t)size;
    b->memory = BUF_INIT(BODY_MEMORY_MAX);
    if (b->bytes > BODY_MEMORY_MAX)
        b->spool = spool_new(server.spools);
    if (body_receive(call, b, why) < 0 || rpc_session_open(call, &body_kind, b, &handle, why) < 0) {
        body_end(b);
        return -1;
    }
    ok = json_object();
    json_set_slice(ok, "session", rpc_session_handle(handle));
    return rpc_answer(call, ok, NULL, 0, why);
}

int act_deliver_end(struct rpc_call *call, struct fault *why)
{
    rpc_session_end(call->handle);
    return rpc_answer(call, NULL, NULL, 0, why);
}

/* ---- to one recipient --------------------------------------------------------------------------------- */

struct delivering {
    struct body *body;
    struct box *box;
    struct slice alias, public_key, mark, folder, prefix;
    uint32_t flags;
    int64_t arrived_ms;
    uint64_t quota;
    struct engine_body *stored;                /* open mailbox */
    unsigned char own_key[32];                 /* the box may lock up meanwhile */
    bool own;
    struct sealed_writer *sealed;
    struct engine_delivered done;
};

static uint64_t size(const struct delivering *d)
{
    return d->prefix.n + d->body->bytes;
}

/* Prefix and body, in pieces, to `write`. */
static int pour(struct delivering *d, int (*write)(struct delivering *d, struct slice piece, struct fault *why), struct fault *why)
{
    AUTO(spool_reader_free) struct spool_reader *r = NULL;
    struct slice piece;
    int more;

    if (write(d, d->prefix, why) < 0)
        return -1;
    if (d->body->spool == NULL)
        return write(d, buf_slice(&d->body->memory), why);
    r = spool_reader_new(d->body->spool, 0);
    while ((more = spool_reader_next(r, &piece, why)) == 1)
        if (write(d, piece, why) < 0)
            return -1;
    return more;
}

/* ---- stored at once ------------------------------------------------------------------------------------- */

static int store_piece(struct delivering *d, struct slice piece, struct fault *why)
{
    struct body_feed feed = { .box = d->box, .body = d->stored };

    return body_feed_write(&feed, piece, why);
}

static int deliver_run(struct engine *e, void *arg, struct fault *why)
{
    struct delivering *d = arg;
    struct engine_delivery to = { .mark = d->mark, .folder = d->folder, .flags = d->flags, .arrived_ms = d->arrived_ms };

    engine_set_quota(e, d->quota, 0);
    return engine_deliver(e, &to, d->stored, &d->done, why);
}

static int deliver_open(struct delivering *d, struct fault *why)
{
    struct body_feed feed = { .box = d->box };
    int r;

    if (engine_body_new(ENGINE_MESSAGE_MAX, &d->stored, why) < 0)
        return -1;
    feed.body = d->stored;
    r = pour(d, store_piece, why) < 0 ? -1 : body_feed_finish(&feed, why);
    if (r == 0)
        r = box_run(d->box, true, deliver_run, d, why);
    engine_body_free(&d->stored);
    return r;
}

/* ---- sealed ------------------------------------------------------------------------------------------------- */

static int seal_piece_run(void *arg, struct fault *why)
{
    struct { struct sealed_writer *w; struct slice bytes; } *p = arg;

    return sealed_write(p->w, p->bytes, why);
}

static int seal_piece(struct delivering *d, struct slice piece, struct fault *why)
{
    struct { struct sealed_writer *w; struct slice bytes; } p = { d->sealed, piece };

    return pool_run(OFFLOAD_CPU, seal_piece_run, &p, why);
}

static int seal_begin(void *arg, struct fault *why)
{
    struct delivering *d = arg;
    struct sealed_meta meta = {
        .alias_id = d->alias, .public_key = d->public_key, .mark = d->mark, .folder = d->folder, .flags = d->flags,
        .arrived_ms = d->arrived_ms, .size_bytes = size(d),
        .own_key = d->own ? slice_make(d->own_key, sizeof(d->own_key)) : SLICE_NONE,
    };

    if (sealed_write_begin(server.sealed, &meta, &d->sealed, why) < 0)
        return -1;
    if (d->body->spool != NULL)
        return 0;
    if (sealed_write(d->sealed, d->prefix, why) < 0)
        return -1;
    return sealed_write(d->sealed, buf_slice(&d->body->memory), why);
}

static int seal_quota(const struct delivering *d, uint64_t file_bytes, struct fault *why)
{
    uint64_t used = (d->box->engine != NULL ? d->box->used_bytes : file_bytes) + sealed_bytes(server.sealed, d->alias);

    if (d->quota != 0 && used + size(d) > d->quota)
        return fault_set(why, FAULT_QUOTA, "mailbox is full");
    return 0;
}

static int seal(struct delivering *d, struct fault *why)
{
    int r;

    d->own = d->box->engine != NULL;
    if (d->own)
        memcpy(d->own_key, d->box->pair.own_key, sizeof(d->own_key));
    r = d->own && size(d) <= LOOP_SEAL_MAX ? seal_begin(d, why) : pool_run(OFFLOAD_CPU, seal_begin, d, why);
    memory_wipe(d->own_key, sizeof(d->own_key));
    if (r == 0 && d->body->spool != NULL)
        r = pour(d, seal_piece, why);
    return r;
}

static int deliver_sealed(struct delivering *d, uint64_t file_bytes, struct fault *why)
{
    int r;

    if (sealed_has_mark(server.sealed, d->alias, d->mark)) {
        d->done.duplicate = true;
        return 0;
    }
    if (seal_quota(d, file_bytes, why) < 0)
        return -1;
    d->box->sealing++;
    drain_delivery_begun();
    r = seal(d, why);
    if (r == 0)
        r = seal_commit(&d->sealed, why);
    sealed_write_abort(&d->sealed);
    d->box->sealing--;
    fiber_event_broadcast(&d->box->sealed);
    drain_soon(d->box);                        /* when it is open */
    drain_delivery_ended();
    box_touch(d->box);
    return r;
}

/* A large body would be written twice; and what waits comes first. */
static bool can_store_now(const struct delivering *d)
{
    return d->box->engine != NULL && size(d) > LOGGED_BODY_MAX && !d->box->draining && d->box->sealing == 0 &&
           sealed_count(server.sealed, d->alias) == 0;
}

/* The sender tries again and finds the mailbox as it is then. What is sealed to a key that was replaced could never be read. */
static int refuse_now(const struct delivering *d, struct fault *why)
{
    if (d->box->deleting > 0)
        return fault_set(why, FAULT_UNAVAILABLE, "the mailbox is being deleted");
    if (d->box->rekeying > 0)
        return fault_set(why, FAULT_UNAVAILABLE, "the mailbox is being encrypted anew");
    if (d->box->knows_key && !secret_equal(d->public_key, slice_make(d->box->sealing_key, sizeof(d->box->sealing_key))))
        return fault_set(why, FAULT_UNAVAILABLE, "the mailbox has another public key now");
    return 0;
}

static int deliver(struct delivering *d, bool *sealed, struct fault *why)
{
    uint64_t file_bytes;

    if (refuse_now(d, why) < 0)
        return -1;
    if (!box_file_exists(d->alias, &file_bytes)) {
        if (d->box->engine != NULL)
            return fault_set(why, FAULT_CORRUPT, "the mailbox file is missing");
        box_touch(d->box);
        return fault_set(why, FAULT_NOT_FOUND, "mailbox was never created");
    }
    d->box->quota_bytes = d->quota;
    *sealed = d->box->engine == NULL;
    if (!can_store_now(d))
        return deliver_sealed(d, file_bytes, why);
    if (deliver_open(d, why) == 0)
        return 0;
    if (why->code != FAULT_CLOSED || refuse_now(d, why) < 0 || !box_file_exists(d->alias, &file_bytes))
        return -1;
    *sealed = true;                            /* locked while it waited */
    return deliver_sealed(d, file_bytes, why);
}

static int read_delivery(struct rpc_call *call, struct delivering *d, struct fault *why)
{
    unsigned char *mark = arena_alloc(call->arena, 32);

    if (act_read_alias(call, &d->alias, why) < 0)
        return -1;
    if (!hex_decode(json_get_slice(call->args, "mark"), mark, 32))
        return fault_set(why, FAULT_INVALID, "mark");
    d->mark = slice_make(mark, 32);
    d->folder = json_get_slice(call->args, "folder");
    d->flags = (uint32_t)json_get_int(call->args, "flags", 0);
    d->arrived_ms = json_get_int(call->args, "arrived_ms", clock_wall_ms());
    d->quota = (uint64_t)json_get_int(call->args, "quota_bytes", 0);
    if (rpc_read_piece(call, 32, &d->public_key, why) < 0)
        return -1;
    d->public_key = arena_copy(call->arena, d->public_key);
    return rpc_read_piece(call, 60000, &d->prefix, why);
}

static int deliver_and_answer(struct rpc_call *call, struct delivering *d, struct fault *why)
{
    uint64_t started = clock_now_us();
    bool sealed = false;
    json_t *ok;

    d->box = box_get(d->alias);
    if (deliver(d, &sealed, why) < 0) {
        log_event(LOG_WARN, "deliver.failed", F_SLICE("msg", json_get_slice(call->args, "msg")), F_SLICE("alias", d->alias), F_INT("bytes", d->body->bytes), F_FAULT(why));
        return -1;
    }
    metric_add(sealed ? server.sealed_items : server.delivered, 1);
    log_event(LOG_INFO, "deliver.done", F_SLICE("msg", json_get_slice(call->args, "msg")), F_SLICE("alias", d->alias), F_SLICE("mark", hex_encode(call->arena, slice_head(d->mark, 8))), F_INT("bytes", size(d)),
              F_BOOL("sealed", sealed), F_BOOL("duplicate", d->done.duplicate), F_INT("uid", d->done.uid),
              F_INT("took_us", clock_now_us() - started));
    ok = json_object();
    json_set_bool(ok, "sealed", sealed);
    json_set_bool(ok, "duplicate", d->done.duplicate);
    json_set_int(ok, "uid", d->done.uid);
    return rpc_answer(call, ok, NULL, 0, why);
}

int act_deliver_to(struct rpc_call *call, struct fault *why)
{
    struct delivering d = { .body = call->session };

    return read_delivery(call, &d, why) < 0 ? -1 : deliver_and_answer(call, &d, why);
}

int act_deliver_one(struct rpc_call *call, struct fault *why)
{
    struct body body = { .memory = BUF_INIT(BODY_MEMORY_MAX) };
    struct delivering d = { .body = &body };
    struct slice bytes;
    int r;

    if (read_delivery(call, &d, why) < 0)
        return -1;
    d.prefix = arena_copy(call->arena, d.prefix);
    if (rpc_read_piece(call, BODY_MEMORY_MAX, &bytes, why) < 0)
        return -1;
    body.bytes = bytes.n;
    r = buf_append(&body.memory, bytes) < 0 ? fault_set(why, FAULT_LIMIT, "the body is too large for one request")
                                            : deliver_and_answer(call, &d, why);
    buf_free(&body.memory);
    return r;
}
