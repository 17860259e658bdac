/* imap_frame.c - finds the end of a command by its line ends and literals, without parsing it.
 *
 * Owns nothing. Called on the loop for each piece of input, so it only hops from line end to line end.
 * Never suspends.
 */
#include "wire/imap/imap_frame.h"

bool imap_literal_find(struct slice line, struct imap_literal *out)
{
    size_t end = line.n, digits;
    bool sync = true;
    uint64_t bytes;

    if (end < 3 || line.p[--end] != '}')
        return false;
    if (line.p[end - 1] == '+' || line.p[end - 1] == '-') {
        sync = false;
        end--;
    }
    digits = end;
    while (digits > 0 && ascii_is_digit(line.p[digits - 1]))
        digits--;
    if (digits == 0 || line.p[digits - 1] != '{' ||
        !slice_to_u64(slice_sub(line, digits, end - digits), UINT64_MAX / 2, &bytes))
        return false;
    out->bytes = bytes;
    out->sync = sync;
    out->at = digits - 1;
    out->binary = out->at > 0 && line.p[out->at - 1] == '~';
    out->at -= out->binary ? 1 : 0;
    return true;
}

static struct slice take_word(struct slice *line)
{
    ptrdiff_t space = slice_find_char(*line, ' ');
    struct slice word = space < 0 ? *line : slice_head(*line, (size_t)space);

    *line = slice_tail(*line, word.n + (space < 0 ? 0 : 1));
    return word;
}

/* The literal at offset `at` of the first line of an APPEND is its mailbox name when nothing stands before it. */
static bool is_append_message(struct slice first_line, const struct imap_literal *literal, bool on_first_line)
{
    struct slice rest = first_line;

    (void)take_word(&rest);
    if (!slice_equal_nocase(take_word(&rest), LIT("APPEND")))
        return false;
    return !on_first_line || first_line.p + literal->at != rest.p;
}

struct imap_frame imap_frame_scan(struct slice buffered, size_t granted, const struct imap_limits *limits)
{
    size_t at = 0, lines = 0;
    struct slice first = SLICE_NONE;

    for (;;) {
        struct slice rest = slice_tail(buffered, at), line;
        struct imap_literal literal;
        ptrdiff_t end = slice_find_char(rest, '\n');
        if (lines + (end < 0 ? rest.n : (size_t)end) > limits->line_max)
            return (struct imap_frame){ IMAP_FRAME_LINE_TOO_LONG, 0, false };
        if (end < 0)
            return (struct imap_frame){ IMAP_FRAME_MORE, 0, false };
        line = slice_head(rest, (size_t)end);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (at == 0)
            first = line;
        lines += (size_t)end + 1;
        at += (size_t)end + 1;
        if (!imap_literal_find(line, &literal))
            return (struct imap_frame){ IMAP_FRAME_COMPLETE, at, false };
        if (is_append_message(first, &literal, line.p == first.p))
            return (struct imap_frame){ IMAP_FRAME_APPEND, at, literal.sync };
        if (literal.bytes > limits->literal_max || at + literal.bytes > limits->command_max)
            return (struct imap_frame){ IMAP_FRAME_LITERAL_TOO_BIG, at, literal.sync };
        if (literal.sync && at > granted)
            return (struct imap_frame){ IMAP_FRAME_CONTINUE, at, true };
        if (buffered.n - at < literal.bytes)
            return (struct imap_frame){ IMAP_FRAME_MORE, 0, false };
        at += (size_t)literal.bytes;
    }
}
