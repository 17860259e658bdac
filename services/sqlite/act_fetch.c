/* act_fetch.c - messages.fetch: heads and section bytes of many messages, streamed.
 *
 * Owns the engine's fetch position for the call. Called by the RPC server. One trip to the db pool fills FETCH_STEP_BYTES, then
 * the loop sends them; other work on the mailbox comes between. A small fetch is one trip: begun, read and ended. Suspends.
 */
#include "act.h"

#define FETCH_STEP_BYTES (256u << 10)

struct fetching {
    struct arena *in;
    uint64_t folder_id;
    unsigned items;
    struct uid_set uids;
    struct mailbox_section *sections;
    size_t section_count;
    struct engine_fetch *fetch;
    size_t open_sections;                      /* of the message being read */
    bool ended;
    struct buf out;
};

static int end_run(UNUSED struct engine *e, void *arg, UNUSED struct fault *why)
{
    struct fetching *f = arg;

    engine_fetch_end(&f->fetch);
    return 0;
}

/* One head, or one piece of a section. 1: more may follow, 0: all is there. */
static int step(struct fetching *f, struct arena *scratch, struct fault *why)
{
    struct mailbox_fetched m;
    struct slice piece;
    int more;

    if (f->open_sections > 0) {
        if (engine_fetch_read(f->fetch, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            f->open_sections--;
        return buf_append(&f->out, piece) < 0 ? fault_set(why, FAULT_LIMIT, "piece too large") : 1;
    }
    arena_reset(scratch);
    more = engine_fetch_next(f->fetch, scratch, &m, why);
    if (more <= 0)
        return more;
    for (size_t i = 0; i < f->section_count; i++)
        f->open_sections += m.sections[i].exists;
    return pack_fetched(&f->out, &m, f->section_count) < 0 ? fault_set(why, FAULT_LIMIT, "head too large") : 1;
}

static int step_run(struct engine *e, void *arg, struct fault *why)
{
    AUTO(arena_free) struct arena *scratch = arena_new(0);
    struct fetching *f = arg;
    int more = 1;

    if (f->fetch == NULL && engine_fetch_begin(e, f->folder_id, f->uids, f->items, f->sections, f->section_count, &f->fetch, why) < 0)
        return -1;
    if (engine_read_begin(e, why) < 0)
        return -1;
    while (more == 1 && f->out.n < FETCH_STEP_BYTES)
        more = step(f, scratch, why);
    engine_read_end(e);
    if (more <= 0)
        engine_fetch_end(&f->fetch);
    f->ended = more == 0;
    return more < 0 ? -1 : 0;
}

static int send_all(struct rpc_call *call, struct fetching *f, struct box *b, struct fault *why)
{
    /* the first step before the answer begins: a fetch that cannot begin is an error, not a broken answer */
    if (box_run(b, false, step_run, f, why) < 0 || rpc_answer_begin(call, NULL, why) < 0)
        return -1;
    for (;;) {
        if (rpc_write(call, buf_slice(&f->out), why) < 0)
            return -1;
        buf_reset(&f->out);
        if (f->ended)
            break;
        if (rpc_call_is_canceled(call))
            return fault_set(why, FAULT_CANCELED, "nobody reads on");
        if (box_run(b, false, step_run, f, why) < 0)
            return -1;
    }
    if (rpc_end_piece(call, why) < 0)
        return -1;
    return rpc_answer_end(call, why);
}

int act_messages_fetch(struct rpc_call *call, struct fault *why)
{
    struct box *b = act_session(call)->box;
    struct fetching f = { .in = call->arena, .folder_id = (uint64_t)json_get_int(call->args, "folder_id", 0),
                          .items = (unsigned)json_get_int(call->args, "items", 0),
                          .out = BUF_INIT(PACK_FETCH_HEAD_MAX + FETCH_STEP_BYTES + ((size_t)1 << 20)) };
    struct slice piece;
    struct fault ignored;
    int r;

    if (act_read_uids(call, &f.uids, why) < 0 || rpc_read_piece(call, 1u << 20, &piece, why) < 0)
        return -1;
    if (!unpack_sections(piece, call->arena, &f.sections, &f.section_count))
        return fault_set(why, FAULT_INVALID, "not a list of sections");
    r = send_all(call, &f, b, why);
    /* left over when the reader went away: on the db pool like all use of the engine; when the box was closed meanwhile, in this
     * fiber                                                                                                                    */
    if (f.fetch != NULL && box_run(b, false, end_run, &f, &ignored) < 0)
        engine_fetch_end(&f.fetch);
    buf_free(&f.out);
    return r;
}
