/* body_image.c - a large body in memory for the MIME parser, without the parts of it that no parser needs.
 *
 * Owns the mapping in a struct image. Called by engine_body.c for mail that comes in, and by engine_text.c for mail that is read.
 * FAULT_LIMIT when it cannot be mapped. Never suspends.
 *
 * Bytes are written at their offsets in an anonymous mapping. Pages deep inside the body of a leaf part are given back to the
 * system and read as zeros from then on. Such a body begins after a blank line with a line that is no header field (else it may
 * be a message inside the message) and ends at the next line that begins with "--", which may be a delimiter (RFC 2046 5.1.1);
 * so the tree of parts comes out the same, and only the lines in it have to be counted here. 50 MB then cost a few pages.
 */
#include "mailbox/body_image.h"

#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>

#define PAGE        ((uint64_t)4096)
#define RUN_KEEP    ((uint64_t)16 << 10)        /* kept at both ends of a run: previews look there */
#define LINE_LONG   ((size_t)4 << 10)           /* no field has a name like this */
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

/* RFC 5322 2.2, and blanks before the colon as in 4.5 */
static bool is_field(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && p[i] > ' ' && p[i] != ':' && p[i] != 127)
        i++;
    if (i == 0)
        return false;
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    return i < n && p[i] == ':';
}

static bool is_blank(const char *p, size_t n)
{
    return n == 0 || (n == 1 && p[0] == '\r');
}

static bool is_dashed(const char *p, size_t n)
{
    return n >= 2 && p[0] == '-' && p[1] == '-';
}

/* A line of n bytes without its newline, at line_at. */
static void see_line(struct image *m, size_t n)
{
    const char *p = m->p + m->line_at;

    if (is_dashed(p, n))
        m->run_at = UINT64_MAX;
    else if (m->run_at == UINT64_MAX && m->after_blank && !is_blank(p, n) && !is_field(p, n))
        m->run_at = m->line_at;
    m->after_blank = is_blank(p, n);
}

/* A line without an end, after a blank one, is text too. */
static void see_unended_line(struct image *m, size_t n)
{
    const char *p = m->p + m->line_at;

    if (m->run_at == UINT64_MAX && m->after_blank && n >= LINE_LONG && !is_dashed(p, n) && !is_field(p, n))
        m->run_at = m->line_at;
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

/* Up to here the bytes belong to the run: whole lines, and one under way that can't become a delimiter. */
static uint64_t run_end(const struct image *m, uint64_t end)
{
    const char *p = m->p + m->line_at;

    return end - m->line_at >= 2 && !is_dashed(p, (size_t)(end - m->line_at)) ? end : m->line_at;
}

static void punch(struct image *m, uint64_t end)
{
    uint64_t from = (m->run_at + RUN_KEEP + PAGE - 1) / PAGE * PAGE;
    uint64_t to = end > RUN_KEEP ? (end - RUN_KEEP) / PAGE * PAGE : 0;

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
        see_line(m, (size_t)(newline - m->p) - m->line_at);
        m->scan_at = m->line_at = (uint64_t)(newline - m->p) + 1;
    }
    see_unended_line(m, (size_t)(end - m->line_at));
    if (m->run_at != UINT64_MAX)
        punch(m, run_end(m, end));
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
