/* engine_scan.c - one reading of a body answers the conditions on text that the index left open.
 *
 * Owns a window over the text, as long as the longest text looked for. Called by engine_search.c. Fails with the body's reader.
 * Never suspends.
 */
#include "mailbox/engine_search.h"

struct scan {
    struct search *s;
    unsigned char *answers;           /* enum answer, by condition */
    struct buf window;                /* the last bytes of the body's text, as many as may begin a match, then the new piece */
    size_t keep;
    size_t open;                      /* conditions without an answer */
};

static void answer(struct scan *c, size_t i, enum answer a)
{
    c->answers[i] = (unsigned char)a;
    c->open--;
}

/* The header comes whole. What it does not answer waits for the body. */
static void judge_header(struct scan *c, struct slice header)
{
    const struct search_text text = { .header = { .p = (char *)(uintptr_t)header.p, .n = header.n } };

    for (size_t i = 0; i < c->s->text_count; i++) {
        if (c->answers[i] != ANSWER_OPEN)
            continue;
        if (search_text_matches(c->s->texts[i], &text))
            answer(c, i, ANSWER_YES);
        else if (c->s->texts[i]->op == SEARCH_HEADER)
            answer(c, i, ANSWER_NO);
    }
}

static int judge_piece(struct scan *c, struct slice piece, struct fault *why)
{
    if (c->window.n > c->keep)
        buf_consume(&c->window, c->window.n - c->keep);
    if (buf_append(&c->window, piece) < 0)
        return fault_set(why, FAULT_LIMIT, "too much text to search");
    for (size_t i = 0; i < c->s->text_count; i++)
        if (c->answers[i] == ANSWER_OPEN && slice_find(buf_slice(&c->window), c->s->texts[i]->text) >= 0)
            answer(c, i, ANSWER_YES);
    return 0;
}

static int take(void *arg, enum text_place where, struct slice folded, struct fault *why)
{
    struct scan *c = arg;

    if (where == TEXT_HEADER)
        judge_header(c, folded);
    else if (judge_piece(c, folded, why) < 0)
        return -1;
    return c->open == 0;
}

int search_scan_body(struct search *s, unsigned char *answers, struct fault *why)
{
    struct scan c = { .s = s, .answers = answers, .window = BUF_INIT(SEARCH_TEXT_MAX * 2) };
    int r;

    for (size_t i = 0; i < s->text_count; i++) {
        c.open += answers[i] == ANSWER_OPEN;
        if (s->texts[i]->text.n > c.keep + 1)
            c.keep = s->texts[i]->text.n - 1;
    }
    r = search_text_read(&s->reader, take, &c, why);
    buf_free(&c.window);
    for (size_t i = 0; r >= 0 && i < s->text_count; i++)
        if (answers[i] == ANSWER_OPEN)
            answers[i] = ANSWER_NO;
    return r;
}
