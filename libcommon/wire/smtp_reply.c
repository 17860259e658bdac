/* smtp_reply.c - SMTP replies, both ways (RFC 5321 4.2, enhanced codes of RFC 2034 and 3463).
 *
 * Owns nothing. Called by net/smtp_server (format) and net/smtp_client (parse). Never suspends.
 */
#include "wire/smtp.h"

bool smtp_parse_reply_line(struct slice line, int *code, bool *more, struct slice *text)
{
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !ascii_is_digit(line.p[1]) ||
        !ascii_is_digit(line.p[2]))
        return false;
    if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
        return false;
    *code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    *more = line.n > 3 && line.p[3] == '-';
    *text = slice_tail(line, 4);
    return true;
}

/* One to three digits at *at; moves behind them. */
static bool cut_digits(struct slice s, size_t *at)
{
    size_t from = *at;

    while (*at < s.n && *at - from < 3 && ascii_is_digit(s.p[*at]))
        (*at)++;
    return *at > from;
}

struct slice smtp_cut_enhanced(int code, struct slice *text)
{
    size_t at = 2;
    struct slice found;

    if (text->n < 5 || text->p[0] != '0' + code / 100 || text->p[1] != '.' ||
        !cut_digits(*text, &at) || at >= text->n || text->p[at++] != '.' ||
        !cut_digits(*text, &at) || (at < text->n && text->p[at] != ' '))
        return LIT("");
    found = slice_head(*text, at);
    *text = slice_trim_left(slice_tail(*text, at));
    return found;
}

void smtp_format_reply(const struct smtp_reply *r, bool enhanced, struct buf *out)
{
    struct slice text = slice_head(r->text, 500); /* RFC 5321 4.5.3.1.5: 512 with code and CRLF */
    size_t from;

    (void)buf_printf(out, "%03d ", r->code);
    if (enhanced && r->enhanced[0] != '\0')
        (void)buf_printf(out, "%s ", r->enhanced);
    from = out->n;
    (void)buf_append(out, text);
    for (size_t i = from; i < out->n; i++)
        if ((unsigned char)out->p[i] < ' ' || out->p[i] == 0x7f)
            out->p[i] = ' ';
    (void)buf_append(out, LIT("\r\n"));
}
