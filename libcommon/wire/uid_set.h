/* uid_set.h - sets of UIDs or of sequence numbers: text, algebra, rank and select.
 *
 * Owns nothing: a set's ranges live in the arena it was made in. Every function returns a normal set
 * (ascending, disjoint, not adjacent) and takes normal sets. Cost is linear in ranges, never in
 * members; rank and select are logarithmic with a uid_index. Never suspends.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "wire/mailbox_types.h"

#define UID_SET_RANGES_MAX 100000u    /* elements one sequence-set text may have */

#define UID_SET_EMPTY ((struct uid_set){ NULL, 0 })

/* RFC 9051 sequence-set: "1:5,7,9:*", any order, overlaps allowed. `*` stands for `star`, the greatest
 * number in use; with star 0 (nothing there) an element with `*` stands for nothing. "$" is the caller's.
 * False on any other text, on 0, on numbers over 32 bits and on more than UID_SET_RANGES_MAX elements. */
bool uid_set_parse(struct slice text, uint32_t star, struct arena *in, struct uid_set *out) MUST_CHECK;
/* "1:5,7"; "" for the empty set. Text lives in `in`. */
struct slice uid_set_format(struct uid_set set, struct arena *in);
int uid_set_append_text(struct uid_set set, struct buf *out);    /* <0: buf is full */

/* ---- questions ---- */

uint64_t uid_set_count(struct uid_set set);                      /* members */
bool uid_set_contains(struct uid_set set, uint32_t uid);         /* logarithmic */
bool uid_set_equal(struct uid_set a, struct uid_set b);
uint32_t uid_set_max(struct uid_set set);                        /* 0 when empty */
/* Position of `uid` counted from 1, 0 when absent; and the member at position `nth` (from 1), 0 when beyond. */
uint64_t uid_set_rank(struct uid_set set, uint32_t uid);
uint32_t uid_set_nth(struct uid_set set, uint64_t nth);

/* ---- algebra ---- */

struct uid_set uid_set_make(struct arena *in, uint32_t first, uint32_t last);
struct uid_set uid_set_copy(struct arena *in, struct uid_set set);
struct uid_set uid_set_union(struct arena *in, struct uid_set a, struct uid_set b);
struct uid_set uid_set_intersect(struct arena *in, struct uid_set a, struct uid_set b);
struct uid_set uid_set_subtract(struct arena *in, struct uid_set a, struct uid_set b);   /* a without b */
/* `uids` are all UIDs of a folder, so that the n-th member has sequence number n. */
struct uid_set uid_set_from_seqs(struct arena *in, struct uid_set uids, struct uid_set seqs);
struct uid_set uid_set_to_seqs(struct arena *in, struct uid_set uids, struct uid_set some);

/* ---- building ---- */

struct uid_set_builder {
    struct arena *in;
    struct uid_range *ranges;
    size_t count, cap;
    bool unsorted;
};
struct uid_set_builder uid_set_builder_make(struct arena *in);
void uid_set_add(struct uid_set_builder *b, uint32_t uid);       /* any order; ascending is cheapest */
void uid_set_add_range(struct uid_set_builder *b, uint32_t first, uint32_t last);   /* either way round */
struct uid_set uid_set_finish(struct uid_set_builder *b);        /* the builder may go on being used */

/* ---- walking ---- */

struct uid_set_iter { struct uid_set set; size_t range; uint64_t next; };
struct uid_set_iter uid_set_iterate(struct uid_set set);
bool uid_set_next(struct uid_set_iter *i, uint32_t *uid);        /* false at the end */

/* Rank and select in logarithmic time for a set that is asked often (a selected folder). */
struct uid_index { struct uid_set set; uint64_t *before; uint64_t count; };
struct uid_index uid_index_make(struct arena *in, struct uid_set set);   /* borrows the ranges */
uint64_t uid_index_rank(const struct uid_index *x, uint32_t uid);
uint32_t uid_index_nth(const struct uid_index *x, uint64_t nth);
