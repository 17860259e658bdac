/* mailbox_fetch.c - contents of messages, streamed: records of head and section bytes out of one
 * long piece.
 *
 * Owns struct mailbox_fetch and its request. Called by imap, pop3, api. Memory: the frames under
 * way, one head, and one section of at most SMALL_BYTES that was cut by a frame. Suspends for
 * frames.
 */
#include "rpc/mailbox_internal.h"

#define SMALL_BYTES ((size_t)64 << 10)

struct mailbox_fetch {
    struct rpc_exchange *x;
    size_t section_count;
    struct slice have;              /* of the current frame, unread */
    struct mailbox_fetched message; /* its sections: which, how long */
    size_t section;                 /* the one being read */
    uint64_t left;                  /* of it */
    bool in_section, ended;
    struct buf joined; /* what a frame boundary cut in two */
};

void mailbox_fetch_end(struct mailbox_fetch **fp)
{
    struct mailbox_fetch *f = *fp;

    if (f == NULL)
        return;
    *fp = NULL;
    rpc_exchange_close(&f->x);
    buf_free(&f->joined);
    free(f);
}

/* ---- beginning ---- */

static int start(struct mailbox *mb, struct mailbox_fetch *f, struct rpc_request *request,
                 struct deadline until, struct fault *why)
{
    const json_t *ok;
    int r;

    if (mailbox_ensure_open(mb, until, why) < 0)
        return -1;
    request->session = slice_make(mb->session, sizeof(mb->session));
    request->generation = mb->connection;
    if (rpc_exchange_begin(mb->server->rpc, request, until, &f->x, why) < 0 ||
        rpc_exchange_answer(f->x, &ok, why) < 0) {
        rpc_exchange_close(&f->x);
        return -1;
    }
    r = rpc_exchange_next_piece(f->x, why);
    f->ended = r == 0;
    return r < 0 ? -1 : 0;
}

int mailbox_fetch_begin(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, unsigned items,
                        const struct mailbox_section *sections, size_t section_count,
                        struct deadline until, struct mailbox_fetch **out, struct fault *why)
{
    AUTO(mailbox_fetch_end) struct mailbox_fetch *f = calloc(1, sizeof(*f));
    AUTO(json_release) json_t *args = json_object();
    AUTO(buf_free) struct buf packed = BUF_INIT(PACK_BYTES_MAX), what = BUF_INIT(PACK_BYTES_MAX);
    struct slice pieces[2];
    struct rpc_request request = {
        .action = "messages.fetch", .args = args, .pieces = pieces, .piece_count = 2};
    int r = -1;

    if (f == NULL)
        abort();
    buf_init(&f->joined, PACK_FETCH_HEAD_MAX);
    f->section_count = section_count;
    if (pack_uid_set(&packed, uids) < 0 || pack_sections(&what, sections, section_count) < 0)
        return fault_set(why, FAULT_LIMIT, "too many UIDs or sections");
    pieces[0] = buf_slice(&packed);
    pieces[1] = buf_slice(&what);
    (void)json_set_int(args, "folder_id", (int64_t)folder_id);
    (void)json_set_int(args, "items", items);
    for (int i = 0; i < 2 && r < 0; i++) {
        r = start(mb, f, &request, until, why);
        if (r < 0 && why->code != FAULT_CLOSED &&
            (why->code != FAULT_UNAVAILABLE ||
             rpc_client_generation(mb->server->rpc) == request.generation))
            return -1;
        if (r < 0)
            mailbox_forget_session(mb, request.generation);
    }
    if (r < 0) {
        why->code = FAULT_UNAVAILABLE;
        return -1;
    }
    *out = f;
    f = NULL;
    return 0;
}

/* ---- bytes ---- */

/* 1: at least a byte in f->have; 0: the answer has ended. */
static int want_bytes(struct mailbox_fetch *f, struct fault *why)
{
    if (f->have.n > 0)
        return 1;
    if (f->ended)
        return 0;
    if (rpc_exchange_read(f->x, &f->have, why) < 0)
        return -1;
    f->ended = f->have.n == 0;
    return f->ended ? 0 : 1;
}

static int cut_short(struct fault *why)
{
    return fault_set(why, FAULT_PROTOCOL, "mailbox server: fetch ended inside a message");
}

static int skip_bytes(struct mailbox_fetch *f, uint64_t n, struct fault *why)
{
    while (n > 0) {
        size_t now;
        int r = want_bytes(f, why);
        if (r <= 0)
            return r < 0 ? -1 : cut_short(why);
        now = f->have.n < n ? f->have.n : (size_t)n;
        f->have = slice_tail(f->have, now);
        n -= now;
    }
    return 0;
}

/* `n` bytes in one slice: where they lie, or joined. Borrowed until the next call. */
static int take_bytes(struct mailbox_fetch *f, size_t n, struct slice *out, struct fault *why)
{
    if (f->have.n >= n) {
        *out = slice_head(f->have, n);
        f->have = slice_tail(f->have, n);
        return 0;
    }
    buf_reset(&f->joined);
    if (n > PACK_FETCH_HEAD_MAX || buf_reserve(&f->joined, n) < 0)
        return fault_set(why, FAULT_LIMIT, "mailbox server: head of a message too large");
    while (f->joined.n < n) {
        struct slice now;
        int r = want_bytes(f, why);
        if (r <= 0)
            return r < 0 ? -1 : cut_short(why);
        now = slice_head(f->have, n - f->joined.n);
        (void)buf_append(&f->joined, now);
        f->have = slice_tail(f->have, now.n);
    }
    *out = buf_slice(&f->joined);
    return 0;
}

/* 1: *out is the length of the next head; 0: no further message. */
static int take_length(struct mailbox_fetch *f, uint64_t *out, struct fault *why)
{
    char bytes[10];

    for (size_t n = 0; n < sizeof(bytes);) {
        struct slice in;
        int r = want_bytes(f, why);
        if (r <= 0)
            return r < 0 ? -1 : n == 0 ? 0 : cut_short(why);
        bytes[n++] = f->have.p[0];
        f->have = slice_tail(f->have, 1);
        in = slice_make(bytes, n);
        if (unpack_varint(&in, out))
            return 1;
    }
    return mailbox_bad_answer("messages.fetch", why);
}

/* ---- messages and sections ---- */

static int finish_message(struct mailbox_fetch *f, struct fault *why)
{
    uint64_t rest = f->in_section ? f->left : 0;

    for (size_t i = f->section + (f->in_section ? 1 : 0); i < f->section_count; i++)
        if (f->message.sections[i].exists)
            rest += f->message.sections[i].bytes;
    f->in_section = false;
    f->section = f->section_count;
    return skip_bytes(f, rest, why);
}

int mailbox_fetch_next(struct mailbox_fetch *f, struct arena *in, struct mailbox_fetched *out,
                       struct fault *why)
{
    struct slice head;
    uint64_t length;
    size_t count;
    int r;

    if (f->message.row.uid != 0 && finish_message(f, why) < 0)
        return -1;
    r = take_length(f, &length, why);
    if (r <= 0)
        return r;
    if (length > PACK_FETCH_HEAD_MAX || take_bytes(f, (size_t)length, &head, why) < 0)
        return length > PACK_FETCH_HEAD_MAX ? mailbox_bad_answer("messages.fetch", why) : -1;
    if (!unpack_fetched(arena_copy(in, head), &f->message, &count) || count != f->section_count)
        return mailbox_bad_answer("messages.fetch", why);
    f->section = 0;
    f->in_section = false;
    *out = f->message;
    return 1;
}

/* The next section that exists. False: none is left. */
static bool enter_section(struct mailbox_fetch *f)
{
    while (f->section < f->section_count && !f->message.sections[f->section].exists)
        f->section++;
    if (f->section == f->section_count)
        return false;
    f->left = f->message.sections[f->section].bytes;
    f->in_section = true;
    return true;
}

int mailbox_fetch_read(struct mailbox_fetch *f, struct slice *piece, struct fault *why)
{
    *piece = SLICE_NONE;
    if (!f->in_section && !enter_section(f))
        return 0;
    if (f->left == 0) {
        f->in_section = false;
        f->section++;
        return 0;
    }
    if (f->left <= SMALL_BYTES) {
        if (take_bytes(f, (size_t)f->left, piece, why) < 0)
            return -1;
    } else {
        int r = want_bytes(f, why);
        if (r <= 0)
            return r < 0 ? -1 : cut_short(why);
        *piece = slice_head(f->have, f->left < f->have.n ? (size_t)f->left : f->have.n);
        f->have = slice_tail(f->have, piece->n);
    }
    f->left -= piece->n;
    return 0;
}
