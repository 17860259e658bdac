/* multipart.c - see multipart.h. Owns the buffer in struct multipart; fails for the sender's mistakes and as the handlers do. */
#include "net/multipart.h"

#define PIECE_MAX ((size_t)64 << 10)

int multipart_init(struct multipart *m, struct slice boundary, const struct multipart_handlers *handlers, void *arg, struct fault *why)
{
    *m = (struct multipart){ .handlers = handlers, .arg = arg, .in = BUF_INIT(PIECE_MAX * 2 + MULTIPART_HEADER_MAX) };
    if (boundary.n == 0 || boundary.n > MULTIPART_BOUNDARY_MAX)
        return fault_set(why, FAULT_INVALID, "a boundary of %zu bytes", boundary.n);
    memcpy(m->mark, "\r\n--", 4);
    memcpy(m->mark + 4, boundary.p, boundary.n);
    m->mark_bytes = boundary.n + 4;
    (void)buf_append(&m->in, LIT("\r\n"));     /* the first boundary may stand at the very beginning */
    return 0;
}

void multipart_deinit(struct multipart *m)
{
    buf_free(&m->in);
}

/* What stands behind a boundary decides what it is. */
enum behind { BEHIND_UNKNOWN, BEHIND_PART, BEHIND_LAST, BEHIND_DATA };

static enum behind look_behind(struct slice in, size_t *bytes)
{
    size_t i = 0;

    if (slice_has_prefix(in, LIT("--"))) {
        *bytes = 2;
        return BEHIND_LAST;
    }
    while (i < in.n && i < MULTIPART_PADDING_MAX && (in.p[i] == ' ' || in.p[i] == '\t'))
        i++;
    *bytes = i + 2;
    if (slice_has_prefix(slice_tail(in, i), LIT("\r\n")))
        return BEHIND_PART;
    if (in.n == i || (in.n == i + 1 && (in.p[i] == '\r' || (in.p[i] == '-' && i == 0))))
        return i < MULTIPART_PADDING_MAX ? BEHIND_UNKNOWN : BEHIND_DATA;
    return BEHIND_DATA;                        /* another, longer boundary */
}

static int give(struct multipart *m, size_t n, struct fault *why)
{
    int r = 0;

    if (m->state == MULTIPART_BODY && n > 0)
        r = m->handlers->data(m->arg, slice_head(buf_slice(&m->in), n), why);
    buf_consume(&m->in, n);
    return r;
}

static int end_part(struct multipart *m, enum behind kind, struct fault *why)
{
    bool had_part = m->state == MULTIPART_BODY;

    m->state = kind == BEHIND_LAST ? MULTIPART_EPILOGUE : MULTIPART_HEADER;
    return had_part ? m->handlers->end(m->arg, why) : 0;
}

/* 1: go on; 0: more bytes are needed. */
static int step_body(struct multipart *m, struct fault *why)
{
    struct slice in = buf_slice(&m->in);
    ptrdiff_t at = slice_find(in, slice_make(m->mark, m->mark_bytes));
    enum behind kind;
    size_t bytes;

    if (at < 0)
        return in.n < m->mark_bytes ? 0 : give(m, in.n - m->mark_bytes + 1, why);
    kind = look_behind(slice_tail(in, (size_t)at + m->mark_bytes), &bytes);
    if (kind == BEHIND_UNKNOWN)
        return give(m, (size_t)at, why);
    if (kind == BEHIND_DATA)
        return give(m, (size_t)at + m->mark_bytes, why) < 0 ? -1 : 1;
    if (give(m, (size_t)at, why) < 0 || end_part(m, kind, why) < 0)
        return -1;
    buf_consume(&m->in, m->mark_bytes + bytes);
    return 1;
}

static int step_header(struct multipart *m, struct fault *why)
{
    struct slice in = buf_slice(&m->in);
    ptrdiff_t blank = slice_has_prefix(in, LIT("\r\n")) ? -2 : slice_find(slice_head(in, MULTIPART_HEADER_MAX), LIT("\r\n\r\n"));

    if (blank == -1)
        return in.n < MULTIPART_HEADER_MAX ? 0 : fault_set(why, FAULT_LIMIT, "a part with a header over %zu bytes", MULTIPART_HEADER_MAX);
    if (++m->parts > MULTIPART_PARTS_MAX)
        return fault_set(why, FAULT_LIMIT, "more than %d parts", MULTIPART_PARTS_MAX);
    if (m->handlers->part(m->arg, slice_head(in, blank < 0 ? 0 : (size_t)blank), why) < 0)
        return -1;
    m->state = MULTIPART_BODY;
    buf_consume(&m->in, (size_t)(blank + 4));
    return 1;
}

static int run(struct multipart *m, struct fault *why)
{
    int r = 1;

    while (r > 0 && m->state != MULTIPART_EPILOGUE)
        r = m->state == MULTIPART_HEADER ? step_header(m, why) : step_body(m, why);
    if (m->state == MULTIPART_EPILOGUE)
        buf_reset(&m->in);
    return r;
}

int multipart_feed(struct multipart *m, struct slice bytes, struct fault *why)
{
    while (bytes.n > 0 && m->state != MULTIPART_EPILOGUE) {
        struct slice piece = slice_head(bytes, PIECE_MAX);

        if (buf_append(&m->in, piece) < 0)
            return fault_set(why, FAULT_LIMIT, "a part's header does not end");
        bytes = slice_tail(bytes, piece.n);
        if (run(m, why) < 0)
            return -1;
    }
    return 0;
}

int multipart_finish(const struct multipart *m, struct fault *why)
{
    return m->state == MULTIPART_EPILOGUE ? 0 : fault_set(why, FAULT_PROTOCOL, "the last boundary is missing");
}
