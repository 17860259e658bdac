/* engine_search.h - what searching and its index share. Owns nothing; included by engine_search.c and engine_index*.c. */
#pragma once

#include "mailbox/engine_internal.h"

#define SEARCH_TEXT_MAX ((size_t)256 << 20)       /* folded text of one message */

enum answer { ANSWER_NO, ANSWER_YES, ANSWER_OPEN };

struct search_cond {                  /* a search_node made ready */
    enum search_op op;
    uint64_t number;                  /* of text conditions: their place in search.texts */
    struct keyword_bits keywords;
    struct slice field, text;         /* folded */
    struct uid_set uids;
    struct search_cond *children, *next;
};

struct candidate {
    struct message message;
    bool sent_known, has_sent_day;
    int64_t sent_day;
    unsigned char *texts;             /* enum answer per text condition; NULL: all open */
};

struct search {
    struct engine *e;
    int64_t folder, now_ms;
    struct arena *arena, *window;
    struct search_cond *root;
    struct search_cond **texts;
    size_t text_count, nodes;
    bool wants_sent;
    struct candidate *open;
    size_t open_count;
    struct body_reader reader;
    struct uid_set_builder uids;
    uint64_t highestmodseq;
};

enum answer search_judge(const struct search *s, const struct search_cond *c, const struct candidate *m);
bool search_text_matches(const struct search_cond *c, const struct search_text *text);
/* Answers the conditions on text that are open, in one reading of the body (engine_scan.c). */
int search_scan_body(struct search *s, unsigned char *answers, struct fault *why);
/* Where a field's or a text's place is: HEADER looks at the one, BODY at the other, TEXT at both. */
enum text_place { TEXT_HEADER, TEXT_BODY };
/* Takes the folded text of a message piece by piece, in order. 1: no more is wanted; < 0: `why` says. */
typedef int (*text_put)(void *arg, enum text_place where, struct slice folded, struct fault *why);
/* The folded text of a stored body, however long, a piece at a time. */
int search_text_read(struct body_reader *r, text_put put, void *arg, struct fault *why);
/* All of it at once. FAULT_LIMIT when the text outgrows the buffers' maxima. */
int search_text_of_body(struct body_reader *r, struct search_text *out, struct fault *why);
/* Fills candidate.texts where the index knows the answer (engine_index.c). */
int index_narrow(struct search *s, struct fault *why);
