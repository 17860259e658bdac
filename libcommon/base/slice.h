/* slice.h - a view of bytes somebody else owns; the string type of the whole tree.
 *
 * Owns nothing. Never suspends. A slice need not end in NUL and may hold NULs; it is valid as long as
 * what it points into. "nocase" means ASCII letters only, in no locale.
 */
#pragma once

#include <string.h>
#include "base/macros.h"

struct slice {
    const char *p;
    size_t n;
};

#define SLICE_NONE   ((struct slice){ NULL, 0 })
#define LIT(literal) ((struct slice){ "" literal "", sizeof(literal) - 1 })   /* a string literal only */
#define SLICE(s)     (int)(s).n, (s).p            /* for "%.*s" */

/* Called for each byte or token of bulk data, so here and not behind a call. */
static inline struct slice slice_make(const void *p, size_t n)
{
    return (struct slice){ (const char *)p, n };
}

static inline struct slice slice_of(const char *cstr)            /* NULL gives SLICE_NONE */
{
    return (struct slice){ cstr, cstr != NULL ? strlen(cstr) : 0 };
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

static inline bool ascii_is_space(char c)                        /* SP HT CR LF VT FF */
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b);
int slice_compare(struct slice a, struct slice b); /* bytes, then length: <0 0 >0 */
bool slice_has_prefix(struct slice s, struct slice prefix);
bool slice_has_prefix_nocase(struct slice s, struct slice prefix);
bool slice_has_suffix(struct slice s, struct slice suffix);
bool slice_has_suffix_nocase(struct slice s, struct slice suffix);

struct slice slice_head(struct slice s, size_t n);               /* first n bytes (or all) */
struct slice slice_tail(struct slice s, size_t n);               /* all but the first n */
struct slice slice_sub(struct slice s, size_t from, size_t n);   /* clamped */
struct slice slice_trim(struct slice s);                         /* SP HT CR LF at both ends */
struct slice slice_trim_left(struct slice s);
struct slice slice_trim_right(struct slice s);

/* Offset of the first match, or -1. */
ptrdiff_t slice_find(struct slice s, struct slice needle);
ptrdiff_t slice_find_nocase(struct slice s, struct slice needle);
ptrdiff_t slice_find_char(struct slice s, char c);
ptrdiff_t slice_rfind_char(struct slice s, char c);

/* Cuts the text before the first `sep` off *rest into *out. False once *rest is used up.
 * "a,,b" gives "a" "" "b"; "" gives nothing.                                                   */
bool slice_cut(struct slice *rest, char sep, struct slice *out);

/* Unsigned decimal, whole slice, at most `max`. False on empty, other characters, overflow. */
bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out) MUST_CHECK;
bool slice_to_u32(struct slice s, uint32_t max, uint32_t *out) MUST_CHECK;

/* Copies into a NUL-terminated array. False, and an empty string, when it does not fit or holds a NUL. */
bool slice_copy_cstr(struct slice s, char *out, size_t size) MUST_CHECK;

uint64_t slice_hash(struct slice s);               /* keyed per process (SipHash); not for storage */

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool slice_is_utf8(struct slice s);
bool slice_is_ascii(struct slice s);
