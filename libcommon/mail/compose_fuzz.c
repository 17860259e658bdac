/* compose_fuzz.c - nothing that people send gets out of its field: one text a line, NUL inside a text stands for a line end.
 *
 * What is composed has CRLF only, lines within 998 bytes, one From, no Bcc, and the top part's type.
 */
#include "base/buf.h"
#include "mail/compose.h"
#include "wire/rfc5322.h"

#include <assert.h>

#define TEXTS 12

static int gather(void *arg, struct slice bytes, UNUSED struct fault *why)
{
    return buf_append(arg, bytes);
}

static void check_lines(struct slice all)
{
    struct slice line;

    assert(slice_has_suffix(all, LIT("\r\n")));
    while (slice_cut(&all, '\n', &line)) {
        assert(line.n > 0 && line.p[line.n - 1] == '\r' && line.n <= 999);
        assert(memchr(line.p, '\r', line.n - 1) == NULL);
    }
}

static void read_texts(struct slice in, struct slice texts[TEXTS], char *copy)
{
    if (in.n > 0)
        memcpy(copy, in.p, in.n);
    in.p = copy;
    for (size_t i = 0; i < TEXTS; i++)
        if (!slice_cut(&in, '\n', &texts[i]))
            texts[i] = SLICE_NONE;
    for (size_t i = 0; i < TEXTS; i++)
        for (size_t j = 0; j < texts[i].n; j++)
            if (texts[i].p[j] == '\0')
                copy[texts[i].p + j - copy] = '\n';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char copy[1 << 16];
    struct arena *a = arena_new(0);
    struct buf body = BUF_INIT(1 << 22);
    struct slice t[TEXTS], header, from;
    struct fault why;

    if (n > 0 && n < sizeof(copy)) {
        read_texts(slice_make(data + 1, n - 1), t, copy);
        struct compose_header own = { arena_printf(a, "X-%.*s", SLICE(slice_head(t[1], 200))), t[2] };
        struct compose_part file = { .filename = t[3], .type = t[4], .cid = t[5], .content = t[6], .is_inline = data[0] & 1 };
        struct compose m = { .subject = t[7], .text = t[8], .html = t[9], .ical = t[10], .ical_method = t[11], .headers = &own, .header_count = data[0] & 2 ? 1 : 0,
                             .attachments = &file, .attachment_count = data[0] & 4 ? 1 : 0, .encoding = (enum compose_encoding)((data[0] >> 4) % 3) };

        compose_boundary(&m);
        if (compose_address(a, t[0], LIT("a@b.example"), &from, &why) == 0) {
            m.from = from;
            if (compose_header(&m, a, &header, &why) == 0) {
                assert(rfc5322_count_fields(header, LIT("From")) == 1 && rfc5322_count_fields(header, LIT("Bcc")) == 0);
                assert(rfc5322_count_fields(header, LIT("Content-Type")) == 1 && rfc5322_header_length(header) == header.n);
                check_lines(header);
                assert(compose_body(&m, gather, &body, &why) == 0 || why.code != FAULT_NONE);
                if (body.n > 0)
                    check_lines(buf_slice(&body));
            }
        }
    }
    buf_free(&body);
    arena_free(&a);
    return 0;
}
