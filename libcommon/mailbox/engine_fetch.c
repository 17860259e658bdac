/* engine_fetch.c - FETCH: messages one after another, and the bytes of their sections in pieces.
 *
 * Owns a position in a set of UIDs and one body reader. Called through engine.h. No statement stays open between calls, so
 * changes may come in between. FAULT_UNAVAILABLE when a large body was swept while it was read. Never suspends.
 *
 * Section bytes come from offsets that were found when the message came in (table rendered); only HEADER.FIELDS and BINARY look at
 * the bytes, the former in a buffer, the latter through a decoder, piece by piece.
 */
#include "mailbox/engine_internal.h"

#include "wire/mime.h"
#include "wire/mime_text.h"
#include "wire/rfc5322.h"

#define HEADER_MAX  ((size_t)16 << 20)            /* of a header that HEADER.FIELDS picks from */
#define BATCH_ROWS  64                            /* messages read by one statement */
#define BATCH_BYTES ((size_t)64 << 10)            /* and their renderings, about */

enum source { FROM_BODY, FROM_BUFFER, FROM_DECODER };

struct section {
    enum source source;
    bool exists;
    enum mime_encoding encoding;
    uint64_t at, end;                 /* bytes of the body still to read */
    uint64_t skip, left;              /* of the result: to pass over, to give */
    struct slice text;                /* FROM_BUFFER, in the message's arena */
};

struct fetch_row {
    struct message message;
    bool is_rendered;
    struct slice parts, envelope, structure, body, preview;
};

struct engine_fetch {
    struct engine *e;
    int64_t folder;
    struct uid_set uids;
    size_t range;
    uint64_t next_uid;
    unsigned items;
    struct mailbox_section *sections;
    size_t section_count;
    struct arena *arena;              /* as long as the fetch: uids and sections */
    struct arena *message;            /* as long as the current message: parts and picked fields */
    struct arena *ahead;              /* as long as the rows read ahead */
    struct fetch_row rows[BATCH_ROWS];
    size_t row_at, row_count;
    uint64_t picture;                 /* the engine's, that the rows belong to */
    struct body_reader reader;
    bool reader_open;
    int64_t body;
    struct section states[MAILBOX_SECTIONS_MAX];
    size_t current;
    struct mime_decoder decoder;
    bool decoding, decoded_all;
    struct buf decoded;
};

/* ---- life --------------------------------------------------------------------------------------------- */

static void copy_sections(struct engine_fetch *f, const struct mailbox_section *sections, size_t count)
{
    f->sections = ARENA_ARRAY(f->arena, struct mailbox_section, count + 1);
    f->section_count = count;
    for (size_t i = 0; i < count; i++) {
        f->sections[i] = sections[i];
        f->sections[i].fields = ARENA_ARRAY(f->arena, struct slice, sections[i].field_count + 1);
        for (size_t j = 0; j < sections[i].field_count; j++)
            f->sections[i].fields[j] = arena_copy(f->arena, sections[i].fields[j]);
    }
}

int engine_fetch_begin(struct engine *e, uint64_t folder_id, struct uid_set uids, unsigned items,
                       const struct mailbox_section *sections, size_t section_count, struct engine_fetch **out,
                       struct fault *why)
{
    struct engine_fetch *f;
    struct folder folder;

    if (section_count > MAILBOX_SECTIONS_MAX)
        return fault_set(why, FAULT_LIMIT, "%zu sections", section_count);
    for (size_t i = 0; i < section_count; i++)
        if (sections[i].path_len > MAILBOX_SECTION_DEPTH)
            return fault_set(why, FAULT_LIMIT, "section is %zu levels deep", sections[i].path_len);
    if (folder_by_id(e, folder_id, &folder, why) < 0)
        return -1;
    f = calloc(1, sizeof(*f));
    if (!f)
        abort();
    f->e = e;
    f->folder = folder.id;
    f->arena = arena_new(0);
    f->message = arena_new(0);
    f->ahead = arena_new(0);
    f->uids = uid_set_copy(f->arena, uids);
    f->items = items;
    copy_sections(f, sections, section_count);
    body_reader_init(&f->reader, e);
    buf_init(&f->decoded, (size_t)4 << 20);
    e->fetches++;
    *out = f;
    return 0;
}

void engine_fetch_end(struct engine_fetch **fp)
{
    struct engine_fetch *f = *fp;

    if (!f)
        return;
    f->e->fetches--;
    body_reader_close(&f->reader);
    buf_free(&f->decoded);
    arena_free(&f->ahead);
    arena_free(&f->message);
    arena_free(&f->arena);
    free(f);
    *fp = NULL;
}

/* ---- sections of the current message -------------------------------------------------------------------- */

static int open_reader(struct engine_fetch *f, struct fault *why)
{
    if (f->reader_open)
        return 0;
    if (body_reader_open(&f->reader, f->body, why) < 0)
        return -1;
    f->reader_open = true;
    return 0;
}

static enum mime_section mime_kind_of(enum mailbox_section_kind kind)
{
    switch (kind) {
    case SECTION_HEADER:
    case SECTION_FIELDS:
    case SECTION_FIELDS_NOT: return MIME_SECTION_HEADER;
    case SECTION_TEXT: return MIME_SECTION_TEXT;
    case SECTION_MIME: return MIME_SECTION_MIME;
    case SECTION_ALL: break;
    }
    return MIME_SECTION_ALL;
}

static bool is_named(const struct mailbox_section *s, struct slice name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (slice_equal_nocase(s->fields[i], name))
            return true;
    return false;
}

/* RFC 9051 6.4.5: the chosen fields and the blank line, whether the header had one or not. */
static int pick_fields(struct engine_fetch *f, const struct mailbox_section *s, struct section *state,
                       struct fault *why)
{
    AUTO(buf_free) struct buf header = BUF_INIT(HEADER_MAX);
    struct rfc5322_field field;
    struct slice rest;
    char *p, *start;

    if (open_reader(f, why) < 0 ||
        body_reader_range(&f->reader, state->at, state->end - state->at, &header, why) < 0)
        return -1;
    start = p = arena_alloc(f->message, header.n + 3);
    rest = buf_slice(&header);
    while (rfc5322_next_field(&rest, &field)) {
        if (field.name.n == 0 || is_named(s, field.name) != (s->kind == SECTION_FIELDS))
            continue;
        memcpy(p, field.raw.p, field.raw.n);
        p += field.raw.n;
    }
    memcpy(p, "\r\n", 2);
    state->source = FROM_BUFFER;
    state->text = slice_make(start, (size_t)(p + 2 - start));
    return 0;
}

static int feed_decoder(struct engine_fetch *f, struct section *state, struct fault *why);

/* The length of decoded bytes is only known when they have been decoded once. */
static int count_decoded(struct engine_fetch *f, const struct section *state, uint64_t *bytes, struct fault *why)
{
    struct section probe = *state;

    *bytes = 0;
    if (open_reader(f, why) < 0)
        return -1;
    mime_decoder_init(&f->decoder, state->encoding);
    f->decoded_all = false;
    while (!f->decoded_all) {
        if (feed_decoder(f, &probe, why) < 0)
            return -1;
        *bytes += f->decoded.n;
    }
    buf_reset(&f->decoded);
    return 0;
}

static bool is_transfer_encoded(enum mime_encoding encoding)
{
    return encoding == MIME_QP || encoding == MIME_BASE64;
}

static int find_section(struct engine_fetch *f, const struct mime_part *root, uint64_t size, struct section *state,
                        const struct mailbox_section *s, uint64_t *total, struct fault *why)
{
    const struct mime_part *part = root;
    size_t at = 0, length = size;

    *state = (struct section){ .exists = true };
    if ((s->path_len > 0 || s->kind != SECTION_ALL) &&
        !mime_find_section(root, s->path, s->path_len, mime_kind_of(s->kind), &at, &length, &part)) {
        state->exists = false;
        return 0;
    }
    state->at = at;
    state->end = at + length;
    *total = length;
    if (s->kind == SECTION_FIELDS || s->kind == SECTION_FIELDS_NOT) {
        if (pick_fields(f, s, state, why) < 0)
            return -1;
        *total = state->text.n;
    } else if (s->decode && s->path_len > 0 && part->kind == MIME_LEAF && is_transfer_encoded(part->encoding)) {
        state->source = FROM_DECODER;
        state->encoding = part->encoding;
        return count_decoded(f, state, total, why);
    }
    return 0;
}

static void cut_section(struct section *state, const struct mailbox_section *s, uint64_t total)
{
    state->skip = s->from < total ? s->from : total;
    state->left = total - state->skip;
    if (s->length < state->left)
        state->left = s->length;
    if (state->source == FROM_BODY)
        state->at += state->skip;
}

static int open_sections(struct engine_fetch *f, uint64_t size, struct slice packed, struct mailbox_fetched *out,
                         struct fault *why)
{
    struct mime_part *root = NULL;
    uint64_t total = 0;

    if (f->section_count && parts_unpack(packed, f->message, &root, why) < 0)
        return -1;
    for (size_t i = 0; i < f->section_count; i++) {
        struct section *state = &f->states[i];
        if (find_section(f, root, size, state, &f->sections[i], &total, why) < 0)
            return -1;
        if (state->exists)
            cut_section(state, &f->sections[i], total);
        out->sections[i].exists = state->exists;
        out->sections[i].bytes = state->exists ? state->left : 0;
    }
    return 0;
}

/* ---- messages --------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct engine_fetch *f, unsigned item)
{
    return (f->items & item) != 0;
}

static struct slice copy_wanted(struct engine_fetch *f, sqlite3_stmt *q, int column, bool wanted)
{
    return wanted ? db_copy(q, column, f->ahead) : SLICE_NONE;
}

static bool wants_structure(const struct engine_fetch *f)
{
    return f->section_count > 0 || is_wanted(f, ITEM_BODYSTRUCTURE | ITEM_BODY);
}

static bool wants_envelope(const struct engine_fetch *f)
{
    return is_wanted(f, ITEM_ENVELOPE | ITEM_PREVIEW);
}

static size_t keep_row(struct engine_fetch *f, sqlite3_stmt *q)
{
    struct fetch_row *row = &f->rows[f->row_count++];
    int at = 9;

    *row = (struct fetch_row){ .is_rendered = false };
    message_read(q, &row->message);
    if (!wants_structure(f) && !wants_envelope(f))
        return 0;
    row->is_rendered = sqlite3_column_type(q, 9) != SQLITE_NULL;
    if (wants_structure(f)) {
        row->parts = copy_wanted(f, q, 9, f->section_count > 0);
        row->structure = copy_wanted(f, q, 10, is_wanted(f, ITEM_BODYSTRUCTURE));
        row->body = copy_wanted(f, q, 11, is_wanted(f, ITEM_BODY));
        at = 12;
    }
    if (wants_envelope(f)) {
        row->is_rendered = row->is_rendered && sqlite3_column_type(q, at) != SQLITE_NULL;
        row->envelope = copy_wanted(f, q, at, is_wanted(f, ITEM_ENVELOPE));
        row->preview = copy_wanted(f, q, at + 1, is_wanted(f, ITEM_PREVIEW));
    }
    return row->parts.n + row->envelope.n + row->structure.n + row->body.n + row->preview.n;
}

/* The tables that are not asked for are not read. */
#define ROWS_OF(columns, tables) \
    "SELECT m.id,m.modseq,m.flags,m.size,m.internal,m.saved,m.body,m.keys0,m.keys1" columns \
    " FROM messages m" tables " WHERE m.id BETWEEN ? AND ? ORDER BY m.id LIMIT ?"
#define STRUCTURE_COLUMNS ",r.parts,r.structure,r.body"
#define STRUCTURE_TABLE   " LEFT JOIN rendered r ON r.id=m.body"
#define ENVELOPE_COLUMNS  ",v.envelope,v.preview"
#define ENVELOPE_TABLE    " LEFT JOIN envelopes v ON v.id=m.body"

static int query_rows(struct engine_fetch *f, uint32_t last, size_t limit, sqlite3_stmt **q, struct fault *why)
{
    int64_t from = MESSAGE_ID(f->folder, f->next_uid), to = MESSAGE_ID(f->folder, last);

    if (wants_structure(f) && wants_envelope(f))
        return db_query(f->e, q, why, ROWS_OF(STRUCTURE_COLUMNS ENVELOPE_COLUMNS, STRUCTURE_TABLE ENVELOPE_TABLE), A_INT(from), A_INT(to), A_INT(limit));
    if (wants_structure(f))
        return db_query(f->e, q, why, ROWS_OF(STRUCTURE_COLUMNS, STRUCTURE_TABLE), A_INT(from), A_INT(to), A_INT(limit));
    if (wants_envelope(f))
        return db_query(f->e, q, why, ROWS_OF(ENVELOPE_COLUMNS, ENVELOPE_TABLE), A_INT(from), A_INT(to), A_INT(limit));
    return db_query(f->e, q, why, ROWS_OF("", ""), A_INT(from), A_INT(to), A_INT(limit));
}

/* Rows up to `last`. More than one only inside a picture the caller holds: without it the next call may find other rows. */
static int read_ahead(struct engine_fetch *f, uint32_t last, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    size_t limit = f->e->readers > 1 ? BATCH_ROWS : 1, bytes = 0;
    int got = 0;

    arena_reset(f->ahead);
    f->row_at = f->row_count = 0;
    f->picture = f->e->picture;
    if (query_rows(f, last, limit, &q, why) < 0)
        return -1;
    while (f->row_count < limit && bytes < BATCH_BYTES && (got = db_step(f->e, q, why)) > 0)
        bytes += keep_row(f, q);
    return got < 0 ? -1 : 0;
}

static int next_row(struct engine_fetch *f, const struct fetch_row **out, struct fault *why)
{
    while (f->range < f->uids.count) {
        struct uid_range r = f->uids.ranges[f->range];
        if (f->picture == f->e->picture && f->row_at < f->row_count) {
            *out = &f->rows[f->row_at++];
            f->next_uid = (uint64_t)(*out)->message.row.uid + 1;
            return 1;
        }
        if (f->next_uid < r.first)
            f->next_uid = r.first;
        if (f->next_uid <= r.last && read_ahead(f, r.last, why) < 0)
            return -1;
        if (f->next_uid > r.last || f->row_count == 0)
            f->range++;
    }
    return 0;
}

static struct slice copy_some(struct arena *in, struct slice s)
{
    return s.n ? arena_copy(in, s) : SLICE_NONE;
}

static int give_row(struct engine_fetch *f, const struct fetch_row *row, struct arena *in, struct mailbox_fetched *out,
                    struct fault *why)
{
    memset(out, 0, sizeof(*out));
    out->row = row->message.row;
    f->body = row->message.body;
    if (!wants_structure(f) && !wants_envelope(f))
        return 0;
    if (!row->is_rendered)
        return fault_set(why, FAULT_CORRUPT, "message %u has no rendering", out->row.uid);
    out->envelope = copy_some(in, row->envelope);
    out->bodystructure = copy_some(in, row->structure);
    out->body = copy_some(in, row->body);
    out->preview = copy_some(in, row->preview);
    return open_sections(f, out->row.size, row->parts, out, why);
}

int engine_fetch_next(struct engine_fetch *f, struct arena *in, struct mailbox_fetched *out, struct fault *why)
{
    const struct fetch_row *row;
    int r;

    f->reader_open = f->decoding = false;
    f->current = 0;
    arena_reset(f->message);
    if (read_begin(f->e, why) < 0)
        return -1;
    r = next_row(f, &row, why);
    if (r > 0 && give_row(f, row, in, out, why) < 0)
        r = -1;
    read_end(f->e);
    return r;
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

/* Decodes the next piece of the section into f->decoded. */
static int feed_decoder(struct engine_fetch *f, struct section *state, struct fault *why)
{
    struct slice piece = SLICE_NONE;
    int r;

    buf_reset(&f->decoded);
    if (state->at < state->end) {
        if (body_reader_at(&f->reader, state->at, &piece, why) < 0)
            return -1;
        piece = slice_head(piece, state->end - state->at);
        if (piece.n == 0)
            return fault_set(why, FAULT_CORRUPT, "a part ends behind its message");
        state->at += piece.n;
        r = mime_decoder_feed(&f->decoder, piece, &f->decoded);
    } else {
        f->decoded_all = true;
        r = mime_decoder_finish(&f->decoder, &f->decoded);
    }
    return r < 0 ? fault_set(why, FAULT_LIMIT, "decoded piece is too long") : 0;
}

static int read_decoded(struct engine_fetch *f, struct section *state, struct slice *piece, struct fault *why)
{
    *piece = SLICE_NONE;
    if (!f->decoding) {
        mime_decoder_init(&f->decoder, state->encoding);
        f->decoding = true;
        f->decoded_all = false;
    }
    while (state->left && !f->decoded_all) {
        struct slice out;
        if (feed_decoder(f, state, why) < 0)
            return -1;
        out = buf_slice(&f->decoded);
        if (state->skip >= out.n) {
            state->skip -= out.n;
            continue;
        }
        *piece = slice_head(slice_tail(out, state->skip), state->left);
        state->skip = 0;
        return 0;
    }
    return 0;
}

static int read_piece(struct engine_fetch *f, struct section *state, struct slice *piece, struct fault *why)
{
    *piece = SLICE_NONE;
    if (state->left == 0)
        return 0;
    if (state->source == FROM_BUFFER) {
        *piece = slice_head(slice_tail(state->text, state->skip), state->left);
        return 0;
    }
    if (open_reader(f, why) < 0)
        return -1;
    if (state->source == FROM_DECODER)
        return read_decoded(f, state, piece, why);
    if (body_reader_at(&f->reader, state->at, piece, why) < 0)
        return -1;
    *piece = slice_head(*piece, state->left);
    state->at += piece->n;
    return 0;
}

int engine_fetch_read(struct engine_fetch *f, struct slice *piece, struct fault *why)
{
    struct section *state;

    while (f->current < f->section_count && !f->states[f->current].exists)
        f->current++;
    *piece = SLICE_NONE;
    if (f->current == f->section_count)
        return 0;
    state = &f->states[f->current];
    if (read_piece(f, state, piece, why) < 0)
        return -1;
    if (piece->n == 0 && state->left)
        return fault_set(why, FAULT_CORRUPT, "a section is shorter than it was");
    state->left -= piece->n;
    if (piece->n == 0) {
        f->current++;
        f->decoding = false;
    }
    return 0;
}
