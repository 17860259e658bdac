/* fetch_body.c - streams messages from the mailbox server to the peer, piece by piece, as RFC 9051 7.5.2 wants them.
 *
 * Owns the stream of answers of one FETCH. Called by cmd_fetch.c. A section's size is known before its bytes, so a failure
 * between the two leaves nothing but ending the connection. BODY[] without PEEK sets \Seen some messages ahead of sending
 * them, so that a peer that goes away loses few marks and each answer carries its new flags. Suspends.
 */
#include "fetch_body.h"
#include "imap_rows.h"
#include "imap_session.h"
#include "imap_sync.h"
#include "base/log.h"
#include "wire/imap/imap_format.h"
#include "wire/uid_set.h"

#define SEEN_AHEAD   64u                /* messages marked at once */
#define DIRECT_BYTES 16384u             /* longer pieces go to the stream without a copy */

struct body_fetch {
    struct imap_cmd *cmd;
    const struct imap_fetch_args *args;
    struct mailbox_fetch *from;
    struct imap_ranker ranker;
    struct mailbox_section *sections;
    const struct mailbox_row *seen_now; /* rows that just got \Seen */
    size_t seen_count;
};

/* ---- sections ---------------------------------------------------------------------------------------------------------- */

static int put_piece(struct imap_cmd *cmd, struct slice piece)
{
    struct imap_session *s = cmd->session;

    if (piece.n < DIRECT_BYTES) {
        (void)buf_append(imap_out(cmd), piece);
        return imap_flush_some(cmd);
    }
    if (imap_flush(cmd) < 0)
        return -1;
    if (stream_write(s->stream, piece, deadline_in_ms(IMAP_WRITE_MS), &cmd->why) < 0) {
        s->broken = true;
        return -1;
    }
    s->bytes_out += piece.n;
    return 0;
}

enum section_use { SECTION_SENT, SECTION_SKIPPED };

/* Up to the empty piece that ends a section. The literal's length was promised: fewer or more bytes cannot be repaired. */
static int take_section(struct body_fetch *b, uint64_t promised, enum section_use use)
{
    struct imap_cmd *cmd = b->cmd;
    struct slice piece;
    uint64_t left = promised;

    for (;;) {
        if (mailbox_fetch_read(b->from, &piece, &cmd->why) < 0)
            break;
        if (piece.n == 0 && left == 0)
            return 0;
        if (piece.n == 0 || piece.n > left) {
            (void)fault_set(&cmd->why, FAULT_PROTOCOL, "section is not as long as announced");
            break;
        }
        left -= piece.n;
        if (use == SECTION_SENT && put_piece(cmd, piece) < 0)
            return -1;
    }
    log_event(LOG_ERROR, "imap.fetch.cut", F_ID("conn", cmd->session->id.s), F_INT("left", left), F_FAULT(&cmd->why));
    cmd->session->broken = true;
    return -1;
}

static int put_section(struct body_fetch *b, size_t i, const struct mailbox_fetched *m)
{
    const struct imap_fetch_section *asked = &b->args->sections[i];
    struct buf *out = imap_out(b->cmd);
    bool exists = m->sections[i].exists;
    uint64_t bytes = m->sections[i].bytes;

    (void)buf_append(out, asked->label);
    if (asked->size_only) {
        (void)buf_printf(out, " %llu", (unsigned long long)(exists ? bytes : 0));
        return exists ? take_section(b, bytes, SECTION_SKIPPED) : 0;
    }
    if (!exists) {
        (void)buf_append(out, LIT(" NIL"));
        return 0;
    }
    (void)buf_printf(out, asked->section.decode ? " ~{%llu}\r\n" : " {%llu}\r\n", (unsigned long long)bytes);
    return take_section(b, bytes, SECTION_SENT);
}

/* ---- one message ------------------------------------------------------------------------------------------------------- */

static bool just_seen(const struct body_fetch *b, uint32_t uid)
{
    for (size_t i = 0; i < b->seen_count; i++)
        if (b->seen_now[i].uid == uid)
            return true;
    return false;
}

static void separate(struct buf *out, bool *inside)
{
    if (*inside)
        (void)buf_append_char(out, ' ');
    *inside = true;
}

static void put_rendered(struct buf *out, bool *inside, struct slice name, struct slice text)
{
    separate(out, inside);
    (void)buf_append(out, name);
    (void)buf_append(out, text);
}

static int put_message(struct body_fetch *b, const struct mailbox_fetched *m)
{
    struct imap_cmd *cmd = b->cmd;
    struct buf *out = imap_out(cmd);
    unsigned attrs = b->args->attrs;
    uint32_t seq = imap_rank(&b->ranker, m->row.uid);
    bool inside;

    if (seq == 0)
        return 0;
    if (just_seen(b, m->row.uid))
        attrs |= IMAP_FETCH_FLAGS | imap_unasked_attrs(cmd);
    inside = imap_put_row(out, seq, &m->row, attrs, cmd->session->view);
    if (attrs & IMAP_FETCH_ENVELOPE)
        put_rendered(out, &inside, LIT("ENVELOPE "), m->envelope);
    if (attrs & IMAP_FETCH_BODYSTRUCTURE)
        put_rendered(out, &inside, LIT("BODYSTRUCTURE "), m->bodystructure);
    if (attrs & IMAP_FETCH_BODY)
        put_rendered(out, &inside, LIT("BODY "), m->body);
    for (size_t i = 0; i < b->args->section_count; i++) {
        separate(out, &inside);
        if (put_section(b, i, m) < 0)
            return -1;
    }
    (void)buf_append(out, LIT(")\r\n"));
    return imap_flush_some(cmd);
}

static int fetch_some(struct body_fetch *b, struct uid_set uids)
{
    struct imap_cmd *cmd = b->cmd;
    AUTO(arena_free) struct arena *one = arena_new(0);
    AUTO(mailbox_fetch_end) struct mailbox_fetch *from = NULL;
    struct mailbox_fetched *m = ARENA_NEW(cmd->arena, struct mailbox_fetched);
    unsigned items = 0;
    int r;

    if (b->args->attrs & IMAP_FETCH_ENVELOPE)
        items |= ITEM_ENVELOPE;
    if (b->args->attrs & IMAP_FETCH_BODYSTRUCTURE)
        items |= ITEM_BODYSTRUCTURE;
    if (b->args->attrs & IMAP_FETCH_BODY)
        items |= ITEM_BODY;
    if (mailbox_fetch_begin(cmd->session->mailbox, cmd->session->view->folder_id, uids, items, b->sections, b->args->section_count,
                            cmd->until, &from, &cmd->why) < 0)
        return -1;
    b->from = from;
    while ((r = mailbox_fetch_next(from, one, m, &cmd->why)) > 0) {
        if (put_message(b, m) < 0)
            return -1;
        arena_reset(one);
    }
    return r;
}

/* ---- \Seen --------------------------------------------------------------------------------------------------------------- */

static int mark_seen(struct body_fetch *b, struct uid_set uids)
{
    struct imap_cmd *cmd = b->cmd;
    struct imap_session *s = cmd->session;
    struct mailbox_stored done;

    if (mailbox_store(s->mailbox, s->view->folder_id, uids, STORE_ADD, FLAG_SEEN, NULL, 0, UINT64_MAX, cmd->arena, cmd->until, &done, &cmd->why) < 0)
        return -1;
    b->seen_now = done.rows;
    b->seen_count = done.row_count;
    imap_note_change(cmd, done.from_modseq, done.modseq);
    return 0;
}

static int fetch_and_mark(struct body_fetch *b, struct uid_set uids)
{
    struct imap_cmd *cmd = b->cmd;
    struct uid_set_iter i = uid_set_iterate(uids);
    struct uid_set_builder page = uid_set_builder_make(cmd->arena);
    uint32_t uid;
    size_t n = 0;
    bool more;

    do {
        more = uid_set_next(&i, &uid);
        if (more)
            uid_set_add(&page, uid);
        if ((more && ++n < SEEN_AHEAD) || n == 0)
            continue;
        uids = uid_set_finish(&page);
        if (mark_seen(b, uids) < 0 || fetch_some(b, uids) < 0)
            return -1;
        page = uid_set_builder_make(cmd->arena);
        n = 0;
    } while (more);
    return 0;
}

int imap_fetch_bodies(struct imap_cmd *cmd, struct uid_set uids, const struct imap_fetch_args *args)
{
    struct body_fetch b = { .cmd = cmd, .args = args, .ranker = imap_ranker_make(cmd->session->view->uids) };

    b.sections = ARENA_ARRAY(cmd->arena, struct mailbox_section, MAILBOX_SECTIONS_MAX);
    for (size_t i = 0; i < args->section_count; i++)
        b.sections[i] = args->sections[i].section;
    if (args->sets_seen && !cmd->session->view->read_only)
        return fetch_and_mark(&b, uids);
    return fetch_some(&b, uids);
}
