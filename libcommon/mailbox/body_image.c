/* body_image.c - a large body in memory for the MIME parser, without the parts of it that no parser needs.
 *
 * Owns the mapping in a struct image. Called by engine_body.c for mail that comes in, and by engine_text.c for mail that is read.
 * FAULT_LIMIT when it cannot be mapped. Never suspends.
 *
 * Bytes are written at their offsets in an anonymous mapping. Pages inside long runs of base64 lines are given back to the system
 * and read as zeros from then on: such a line is neither a delimiter nor a header field nor a blank line, so the tree of parts
 * comes out the same, and only the lines in them have to be counted here. A 50 MB attachment then costs a few pages.
 */
#include "mailbox/body_image.h"

#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>

#define PAGE        ((uint64_t)4096)
#define RUN_KEEP    ((uint64_t)16 << 10)        /* kept at both ends of a run: previews look there */
#define RUN_STEP    ((uint64_t)128 << 10)

int image_begin(struct image *m, uint64_t size_max, struct fault *why)
{
    void *p = mmap(NULL, size_max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return fault_set(why, FAULT_LIMIT, "no address space for a message of %llu bytes",
                         (unsigned long long)size_max);
    *m = (struct image){ .p = p, .size_max = size_max, .run_at = UINT64_MAX };
    return 0;
}

void image_end(struct image *m)
{
    if (m->p)
        (void)munmap(m->p, m->size_max);
    free(m->punched);
    *m = (struct image){ 0 };
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

static void note_punched(struct image *m, uint64_t from, uint64_t to)
{
    struct punched *last = m->punched_count ? &m->punched[m->punched_count - 1] : NULL;
    const char *p = m->p + from, *end = m->p + to;
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
    if (m->punched_count == m->punched_cap) {
        m->punched_cap = m->punched_cap ? m->punched_cap * 2 : 8;
        m->punched = realloc(m->punched, m->punched_cap * sizeof(*m->punched));
        if (!m->punched)
            abort();
    }
    m->punched[m->punched_count++] = (struct punched){ from, to, lines };
}

static void punch(struct image *m)
{
    uint64_t from = (m->run_at + RUN_KEEP + PAGE - 1) / PAGE * PAGE;
    uint64_t to = m->line_at > RUN_KEEP ? (m->line_at - RUN_KEEP) / PAGE * PAGE : 0;

    if (m->punched_count && m->punched[m->punched_count - 1].to > from)
        from = m->punched[m->punched_count - 1].to;
    if (to < from + RUN_STEP)
        return;
    note_punched(m, from, to);
    if (madvise(m->p + from, to - from, MADV_DONTNEED) != 0)
        m->punched[m->punched_count - 1].lines = 0;     /* still there: the parser counts them */
}

void image_write(struct image *m, struct slice bytes)
{
    uint64_t end = m->size + bytes.n;

    memcpy(m->p + m->size, bytes.p, bytes.n);
    for (;;) {
        char *newline = memchr(m->p + m->scan_at, '\n', end - m->scan_at);
        if (!newline)
            break;
        if (!is_base64_line(m->p + m->line_at, (size_t)(newline - m->p) - m->line_at))
            m->run_at = UINT64_MAX;
        else if (m->run_at == UINT64_MAX)
            m->run_at = m->line_at;
        m->scan_at = m->line_at = (uint64_t)(newline - m->p) + 1;
        if (m->run_at != UINT64_MAX && m->line_at - m->run_at > RUN_STEP)
            punch(m);
    }
    m->scan_at = m->size = end;
}

struct slice image_slice(const struct image *m)
{
    return slice_make(m->p, m->size);
}

bool image_has_lost(const struct image *m, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < m->punched_count; i++)
        if (m->punched[i].from < to && m->punched[i].to > from)
            return true;
    return false;
}

uint64_t image_lines_lost(const struct image *m, uint64_t from, uint64_t to)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < m->punched_count; i++)
        if (m->punched[i].from >= from && m->punched[i].to <= to)
            lines += m->punched[i].lines;
    return lines;
}
