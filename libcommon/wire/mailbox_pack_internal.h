/* mailbox_pack_internal.h - readers and writers the files of mailbox_pack share: they take from the front of *in. */
#pragma once

#include "wire/mailbox_pack.h"

bool take_u32(struct slice *in, uint32_t *out) MUST_CHECK;
bool take_bool(struct slice *in, bool *out) MUST_CHECK;
/* A count of things that take at least `least` bytes each, at most `max`. */
bool take_count(struct slice *in, uint64_t max, size_t least, size_t *out) MUST_CHECK;
bool take_uid_set(struct slice *in, struct arena *a, struct uid_set *out) MUST_CHECK;
bool take_folder(struct slice *in, struct mailbox_folder *out) MUST_CHECK;
bool take_rows(struct slice *in, struct arena *a, struct mailbox_row **out, size_t *count) MUST_CHECK;
bool take_names(struct slice *in, struct arena *a, size_t max, struct slice **out, size_t *count) MUST_CHECK;
void put_row(struct buf *out, const struct mailbox_row *row, const struct mailbox_row *before);
bool take_row(struct slice *in, const struct mailbox_row *before, struct mailbox_row *out) MUST_CHECK;
void put_folder(struct buf *out, const struct mailbox_folder *f);
void put_names(struct buf *out, const struct slice *names, size_t count);
static inline int put_result(const struct buf *out) { return out->overflowed ? -1 : 0; }
