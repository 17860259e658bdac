/* dkim_tags.h - tag=value lists of DKIM (RFC 6376 3.2). Bytes come from strangers.
 *
 * Owns nothing; values live in the arena, folding white space removed where it has no meaning. Never suspends.
 */
#pragma once

#include "base/arena.h"

#define DKIM_TAGS_MAX 64

struct dkim_tags {
    struct { struct slice name, value; } tag[DKIM_TAGS_MAX];
    size_t count;
};

/* False: no list, a tag twice, or too many. */
bool dkim_tags_parse(struct arena *a, struct slice in, struct dkim_tags *out) MUST_CHECK;
struct slice dkim_tag(const struct dkim_tags *tags, const char *name);       /* SLICE_NONE when absent */
/* Base64 with white space inside. */
bool dkim_base64(struct arena *a, struct slice in, struct slice *out) MUST_CHECK;
/* A DKIM-Signature field with the value of b= taken out, nothing else changed (3.7). */
struct slice dkim_without_b(struct arena *a, struct slice field);
