/* smtp_fuzz.c - command lines do not crash; content decodes the same however it is cut, and encode
 * undoes decode. */
#include "wire/smtp.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_command(struct arena *a, struct slice in)
{
    struct slice argument, text;
    struct smtp_reply no = SMTP_OK;
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    uint64_t n;
    int code;
    bool flag;

    (void)smtp_parse_verb(in, &argument);
    (void)!smtp_parse_mail(argument, 0x7ff, a, &mail, &no);
    (void)!smtp_parse_rcpt(argument, 0x7ff, a, &rcpt, &no);
    (void)!smtp_parse_bdat(argument, &n, &flag);
    (void)smtp_hello_is_valid(argument);
    if (smtp_parse_reply_line(in, &code, &flag, &text))
        (void)smtp_cut_enhanced(code, &text);
    if (smtp_xtext_decode(in, a, &text))
        assert(slice_equal_nocase(smtp_xtext_encode(text, a), smtp_xtext_encode(text, a)));
}

static bool decode(struct slice first, struct slice second, struct buf *out, bool *bare)
{
    struct smtp_dot_decoder d = {0};
    struct slice block[2] = {first, second}, piece;
    enum smtp_dot r = SMTP_DOT_MORE;

    for (int i = 0; i < 2 && r != SMTP_DOT_END; i++)
        while ((r = smtp_dot_decode(&d, &block[i], &piece)) == SMTP_DOT_PIECE)
            (void)buf_append(out, piece);
    *bare = d.bare;
    return r == SMTP_DOT_END;
}

static void fuzz_content(struct slice in, size_t cut)
{
    AUTO(buf_free)
    struct buf whole = BUF_INIT(1 << 20),
               parts = BUF_INIT(1 << 20), wire = BUF_INIT(1 << 21), again = BUF_INIT(1 << 20);
    struct smtp_dot_encoder e = {0};
    bool bare, bare_parts;
    bool ended = decode(in, SLICE_NONE, &whole, &bare);

    assert(decode(slice_head(in, cut), slice_tail(in, cut), &parts, &bare_parts) == ended);
    assert(bare == bare_parts && slice_equal(buf_slice(&whole), buf_slice(&parts)));
    if (!ended || bare)
        return;
    assert(smtp_dot_encode(&e, buf_slice(&whole), &wire) == 0);
    assert(smtp_dot_finish(&e, &wire) == 0);
    assert(decode(buf_slice(&wire), SLICE_NONE, &again, &bare) && !bare);
    assert(slice_equal(buf_slice(&whole), buf_slice(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice in = slice_make(data, size);

    fuzz_command(a, in);
    if (size > 0)
        fuzz_content(slice_tail(in, 1), data[0] < size ? data[0] : size - 1);
    return 0;
}
