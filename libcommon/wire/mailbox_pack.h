/* mailbox_pack.h - the packed forms of mailbox_types.h that travel in binary frames; one codec for both sides of the RPC.
 *
 * Owns nothing: decoded values live in the arena, their slices point into `in`, which must live as long. Pure, never
 * suspends. Form: varints of base/buf.h; UIDs, MODSEQs and dates as differences; described in proto/README.md.
 * Writers: < 0 when the buf is full. Readers named unpack_*(in, ...): false on anything malformed, out of a limit, or with
 * bytes left over; what a count announces is checked against the bytes there before memory is taken.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "wire/mailbox_types.h"

#define PACK_BYTES_MAX          ((size_t)64 << 20)   /* one packed piece: rows of some millions of messages */
#define PACK_RANGES_MAX         2000000u
#define PACK_ROWS_MAX           4000000u
#define PACK_FOLDERS_MAX        20000u
#define PACK_SECTION_FIELDS_MAX 256
#define PACK_SEARCH_DEPTH_MAX   64
#define PACK_SEARCH_NODES_MAX   10000u
#define PACK_FETCH_HEAD_MAX     ((size_t)16 << 20)   /* row, envelope and structures of one message */

int pack_uid_set(struct buf *out, struct uid_set set);
bool unpack_uid_set(struct slice in, struct arena *a, struct uid_set *out) MUST_CHECK;

int pack_folders(struct buf *out, const struct mailbox_folder *folders, size_t count);
bool unpack_folders(struct slice in, struct arena *a, struct mailbox_folder **out, size_t *count) MUST_CHECK;

int pack_rows(struct buf *out, const struct mailbox_row *rows, size_t count);
bool unpack_rows(struct slice in, struct arena *a, struct mailbox_row **out, size_t *count) MUST_CHECK;

int pack_view(struct buf *out, const struct mailbox_view *view);
bool unpack_view(struct slice in, struct arena *a, struct mailbox_view *out) MUST_CHECK;

int pack_changes(struct buf *out, const struct mailbox_changes *changes);
bool unpack_changes(struct slice in, struct arena *a, struct mailbox_changes *out) MUST_CHECK;

int pack_stored(struct buf *out, const struct mailbox_stored *stored);
bool unpack_stored(struct slice in, struct arena *a, struct mailbox_stored *out) MUST_CHECK;

/* At most MAILBOX_SECTIONS_MAX. */
int pack_sections(struct buf *out, const struct mailbox_section *sections, size_t count);
bool unpack_sections(struct slice in, struct arena *a, struct mailbox_section **out, size_t *count) MUST_CHECK;

/* NULL means SEARCH_ALL. <0 also when the tree is deeper or larger than a reader would take. */
int pack_search(struct buf *out, const struct search_node *program);
bool unpack_search(struct slice in, struct arena *a, struct search_node **out) MUST_CHECK;

/* What goes before each body of an append. */
struct mailbox_append_head {
    uint64_t size_bytes;
    uint32_t flags;
    const struct slice *keywords;
    size_t keyword_count;
    int64_t internal_ms;
};
int pack_append_head(struct buf *out, const struct mailbox_append_head *head);
bool unpack_append_head(struct slice in, struct arena *a, struct mailbox_append_head *out) MUST_CHECK;

/* One record of a fetch answer: varint length of the head, the head, then the bytes of each section that exists, in
 * order. pack_fetched writes length and head; the caller then streams the sections. unpack_fetched takes the head alone. */
int pack_fetched(struct buf *out, const struct mailbox_fetched *message, size_t section_count);
bool unpack_fetched(struct slice head, struct mailbox_fetched *out, size_t *section_count) MUST_CHECK;
