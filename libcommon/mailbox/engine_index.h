/* engine_index.h - a segment of the search index: the words of up to 256 bodies.
 *
 * Words are maximal runs of ASCII letters, digits and bytes over 127 in folded text. Whatever text contains a string contains each
 * run of such bytes of that string inside one of its words; that is all the index relies on.
 *     docs    varint count, then body ids as deltas, ascending
 *     terms   "\n" word "\n" word ... "\n", sorted, zstd
 *     lists   per word: varint count, then deltas of (doc << 1 | field), zstd
 */
#pragma once

#include "mailbox/engine_search.h"

#define SEGMENT_DOCS_MIN  64
#define SEGMENT_DOCS_MAX  256
#define SEGMENT_TEXT_MAX  ((size_t)8 << 20)       /* a segment is closed at that much text */
#define INDEX_TEXT_MAX    ((size_t)4 << 20)       /* a body with more text is not indexed: always read */
#define INDEX_WORD_MAX    1024                    /* nor is one with a longer word */

enum index_field { INDEX_BODY = 0, INDEX_HEADER = 1 };

bool index_is_word_byte(char c);
/* Takes the next word off *rest. */
bool index_next_word(struct slice *rest, struct slice *word);
int index_unpack(struct slice packed, struct buf *out, struct fault *why);     /* zstd, bounded */
int index_read_docs(struct slice packed, int64_t docs[SEGMENT_DOCS_MAX], size_t *count, struct fault *why);
