/* body_image.c - a large body in memory for the MIME parser, without the parts of it that no parser needs.
 *
 * Owns the mapping in a struct engine_body. Called by engine_body.c. FAULT_LIMIT when it cannot be mapped. Never suspends.
 *
 * Bytes are written at their offsets in an anonymous mapping. Pages inside long runs of base64 lines are given back to the system
 * and read as zeros from then on: such a line is neither a delimiter nor a header field nor a blank line, so the tree of parts
 * comes out the same, and only the lines in them have to be counted here. A 50 MB attachment then costs a few pages.
 */
#include "mailbox/engine_body.h"

#include <sys/mman.h>

#define PAGE        ((uint64_t)4096)
#define RUN_KEEP    ((uint64_t)16 << 10)        /* kept at both ends of a run: previews look there */
#define RUN_STEP    ((uint64_t)128 << 10)

int image_begin(struct engine_body *b, struct fault *why)
{
    void *p = mmap(NULL, b->size_max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return fault_set(why, FAULT_LIMIT, "no address space for a message of %llu bytes",
                         (unsigned long long)b->size_max);
    b->image = p;
    b->run_at = UINT64_MAX;
    return 0;
}

void image_end(struct engine_body *b)
{
    if (b->image)
        (void)munmap(b->image, b->size_max);
    b->image = NULL;
}

static bool is_base64_line(const char *p, size_t n)
{
    static const signed char is[256] = {
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['+'] = 1, ['/'] = 1, ['='] = 1 };

    if (n && p[n - 1] == '\r')
        n--;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is[(unsigned char)p[i]])
            return false;
    return true;
}

static void note_punched(struct engine_body *b, uint64_t from, uint64_t to)
{
    struct punched *last = b->punched_count ? &b->punched[b->punched_count - 1] : NULL;
    const char *p = b->image + from, *end = b->image + to;
    uint64_t lines = 0;

    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        lines++;
        p++;
    }
    if (last && last->to == from) {
        last->to = to;
        last->lines += lines;
        return;
    }
    if (b->punched_count == b->punched_cap) {
        b->punched_cap = b->punched_cap ? b->punched_cap * 2 : 8;
        b->punched = realloc(b->punched, b->punched_cap * sizeof(*b->punched));
        if (!b->punched)
            abort();
    }
    b->punched[b->punched_count++] = (struct punched){ from, to, lines };
}

static void punch(struct engine_body *b)
{
    uint64_t from = (b->run_at + RUN_KEEP + PAGE - 1) / PAGE * PAGE;
    uint64_t to = b->line_at > RUN_KEEP ? (b->line_at - RUN_KEEP) / PAGE * PAGE : 0;

    if (b->punched_count && b->punched[b->punched_count - 1].to > from)
        from = b->punched[b->punched_count - 1].to;
    if (to < from + RUN_STEP)
        return;
    note_punched(b, from, to);
    if (madvise(b->image + from, to - from, MADV_DONTNEED) != 0)
        b->punched[b->punched_count - 1].lines = 0;     /* still there: the parser counts them */
}

void image_write(struct engine_body *b, struct slice bytes)
{
    uint64_t end = b->size + bytes.n;

    memcpy(b->image + b->size, bytes.p, bytes.n);
    for (;;) {
        char *newline = memchr(b->image + b->scan_at, '\n', end - b->scan_at);
        if (!newline)
            break;
        if (!is_base64_line(b->image + b->line_at, (size_t)(newline - b->image) - b->line_at))
            b->run_at = UINT64_MAX;
        else if (b->run_at == UINT64_MAX)
            b->run_at = b->line_at;
        b->scan_at = b->line_at = (uint64_t)(newline - b->image) + 1;
        if (b->run_at != UINT64_MAX && b->line_at - b->run_at > RUN_STEP)
            punch(b);
    }
    b->scan_at = end;
}

uint64_t image_lines_lost(const struct engine_body *b, uint64_t from, uint64_t to)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < b->punched_count; i++)
        if (b->punched[i].from >= from && b->punched[i].to <= to)
            lines += b->punched[i].lines;
    return lines;
}
