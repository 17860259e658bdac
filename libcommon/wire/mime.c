/* mime.c - one pass over a message: lines, delimiters, headers of parts; the tree comes out.
 *
 * Owns nothing; the tree lives in the caller's arena. Called by whoever needs the structure of a message. Never fails,
 * never suspends, never recurses.
 *
 * Open parts are a chain of parents from `now` to the root. Open boundaries are a stack beside it: a delimiter may be that
 * of any multipart still open, and then closes everything inside.
 */
#include "wire/mime.h"

#include "wire/rfc5322.h"

struct boundary {
    struct mime_part *owner;
    struct slice text;
};

struct delimiter {
    size_t level;                        /* of the boundary in the stack */
    bool closing;
};

struct parser {
    struct arena *arena;
    struct slice message;
    size_t pos;                          /* always the start of a line */
    uint32_t lines;                      /* line ends before pos */
    struct mime_tree *tree;
    struct mime_part *now;
    unsigned depth;                      /* of now */
    struct boundary open[MIME_DEPTH_MAX + 1];
    size_t open_count;
    bool first_char[256];                /* of the open boundaries: most lines fail here */
};

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static uint32_t count_lines(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, low7 = ones * 0x7F;
    size_t count = 0, i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t v, x;

        memcpy(&v, p + i, 8);
        x = v ^ (ones * '\n');
        x = ~(((x & low7) + low7) | x) & (ones * 0x80);      /* the high bit of each byte that is a line end */
        count += (size_t)__builtin_popcountll(x);
    }
    for (; i < n; i++)
        count += p[i] == '\n';
    return (uint32_t)count;
}

static void skip_line(struct parser *ps)
{
    const char *p = ps->message.p + ps->pos;
    const char *nl = memchr(p, '\n', ps->message.n - ps->pos);

    ps->pos = nl ? (size_t)(nl - ps->message.p) + 1 : ps->message.n;
    ps->lines += nl != NULL;
}

static struct slice rest_of_line(const struct parser *ps)
{
    struct slice rest = slice_tail(ps->message, ps->pos);
    const char *nl = memchr(rest.p, '\n', rest.n);

    return nl ? slice_head(rest, (size_t)(nl - rest.p)) : rest;
}

/* ---- delimiters ------------------------------------------------------------------------------------------------ */

static void note_first_chars(struct parser *ps)
{
    memset(ps->first_char, 0, sizeof(ps->first_char));
    for (size_t i = 0; i < ps->open_count; i++)
        ps->first_char[(unsigned char)ps->open[i].text.p[0]] = true;
}

static void drop_boundaries(struct parser *ps, size_t keep)
{
    if (keep == ps->open_count)
        return;
    ps->open_count = keep;
    note_first_chars(ps);
}

static void push_boundary(struct parser *ps, struct mime_part *owner, struct slice text)
{
    ps->open[ps->open_count++] = (struct boundary){ owner, text };
    ps->first_char[(unsigned char)text.p[0]] = true;
}

/* RFC 2046 5.1.1: a line that begins with "--" and the boundary. One may be the beginning of another: the longest wins,
 * and of equal ones the innermost.                                                                                    */
static bool match_line(const struct parser *ps, struct delimiter *out)
{
    const char *p = ps->message.p + ps->pos;
    size_t left = ps->message.n - ps->pos, best = 0;
    struct slice line;

    if (left < 3 || p[0] != '-' || p[1] != '-' || !ps->first_char[(unsigned char)p[2]])
        return false;
    line = slice_tail(rest_of_line(ps), 2);
    for (size_t i = ps->open_count; i-- > 0;) {
        struct slice text = ps->open[i].text;

        if (text.n > best && slice_has_prefix(line, text)) {
            best = text.n;
            out->level = i;
        }
    }
    if (best == 0)
        return false;
    out->closing = slice_has_prefix(slice_tail(line, best), LIT("--"));
    return true;
}

/* Moves to the start of the next delimiter line, or to the end. */
static bool find_delimiter(struct parser *ps, struct delimiter *out)
{
    if (ps->open_count == 0) {
        ps->lines += count_lines(ps->message.p + ps->pos, ps->message.n - ps->pos);
        ps->pos = ps->message.n;
        return false;
    }
    while (ps->pos < ps->message.n) {
        if (ps->message.p[ps->pos] == '-' && match_line(ps, out))
            return true;
        skip_line(ps);
    }
    return false;
}

/* ---- the fields of a part -------------------------------------------------------------------------------------- */

static void read_languages(struct arena *a, struct slice value, struct mime_part *part)
{
    struct slice rest = value, one;
    size_t count = 0;

    while (slice_cut(&rest, ',', &one))
        count++;
    part->languages = ARENA_ARRAY(a, struct slice, count ? count : 1);
    while (slice_cut(&value, ',', &one))
        if (slice_trim(one).n)
            part->languages[part->language_count++] = slice_trim(one);
}

static void read_content_field(struct arena *a, struct slice name, struct slice value, struct mime_part *part)
{
    struct slice what = slice_tail(name, sizeof("Content-") - 1);

    if (slice_equal_nocase(what, LIT("Type")) && !part->type.p) {
        mime_parse_type(a, value, &part->type, &part->subtype, &part->params);
    } else if (slice_equal_nocase(what, LIT("Transfer-Encoding")) && !part->encoding_text.p) {
        part->encoding_text = rfc5322_unfold(a, value);
        part->encoding = mime_parse_encoding(part->encoding_text);
    } else if (slice_equal_nocase(what, LIT("ID")) && !part->id.p) {
        part->id = rfc5322_unfold(a, value);
    } else if (slice_equal_nocase(what, LIT("Description")) && !part->description.p) {
        part->description = rfc5322_unfold(a, value);
    } else if (slice_equal_nocase(what, LIT("MD5")) && !part->md5.p) {
        part->md5 = rfc5322_unfold(a, value);
    } else if (slice_equal_nocase(what, LIT("Location")) && !part->location.p) {
        part->location = rfc5322_unfold(a, value);
    } else if (slice_equal_nocase(what, LIT("Disposition")) && !part->disposition.p) {
        mime_parse_token(a, value, &part->disposition, &part->disposition_params);
    } else if (slice_equal_nocase(what, LIT("Language")) && !part->languages) {
        read_languages(a, rfc5322_unfold(a, value), part);
    }
}

static void set_type(struct mime_part *part, const char *type, const char *subtype)
{
    part->type = slice_of(type);
    part->subtype = slice_of(subtype);
    part->params = (struct mime_params){ 0 };
}

/* RFC 2045 5.2 and RFC 2046 5.1.5: what a part is that does not say it, or says it wrongly. */
static void fill_defaults(struct mime_part *part)
{
    bool in_digest = part->parent && part->parent->kind == MIME_MULTIPART && mime_is_type(part->parent, "multipart", "digest");

    if (part->type.n == 0 || part->subtype.n == 0)
        set_type(part, in_digest ? "message" : "text", in_digest ? "rfc822" : "plain");
    if (part->encoding_text.n == 0)
        part->encoding_text = LIT("7bit");
}

static void read_fields(struct parser *ps, struct mime_part *part)
{
    struct slice header = slice_sub(ps->message, part->header_at, part->header_len);
    struct rfc5322_field f;

    while (rfc5322_next_field(&header, &f))
        if (f.name.n > 8 && (f.name.p[0] | 0x20) == 'c' && slice_has_prefix_nocase(f.name, LIT("Content-")))
            read_content_field(ps->arena, f.name, f.value, part);
    fill_defaults(part);
}

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static struct mime_part *open_part(struct parser *ps, struct mime_part *parent)
{
    struct mime_part *part = ARENA_NEW(ps->arena, struct mime_part);

    part->parent = parent;
    part->index = (uint32_t)ps->tree->part_count++;
    if (parent) {
        if (parent->last_child)
            parent->last_child->next = part;
        else
            parent->first_child = part;
        parent->last_child = part;
        parent->child_count++;
        ps->depth++;
    }
    part->header_at = ps->pos;
    ps->now = part;
    return part;
}

/* To the blank line; a delimiter before it means there is no body (and some senders leave the blank line out). */
static void read_header(struct parser *ps, struct mime_part *part)
{
    struct delimiter d;

    while (ps->pos < ps->message.n) {
        const char *p = ps->message.p + ps->pos;
        bool blank = p[0] == '\n' || (p[0] == '\r' && ps->pos + 1 < ps->message.n && p[1] == '\n');

        if (p[0] == '-' && match_line(ps, &d))
            break;
        skip_line(ps);
        if (blank)
            break;
    }
    part->header_len = ps->pos - part->header_at;
    part->body_at = ps->pos;
    part->body_lines = ps->lines;                    /* where the count starts; close_part() makes it a length */
    read_fields(ps, part);
}

static void close_part(struct parser *ps, size_t end, uint32_t lines)
{
    struct mime_part *part = ps->now;
    bool empty = end <= part->body_at;

    part->body_len = empty ? 0 : end - part->body_at;
    part->body_lines = empty || lines < part->body_lines ? 0 : lines - part->body_lines;
    ps->now = part->parent;
    if (part->parent)
        ps->depth--;
}

/* Reads the header at pos and decides what the part is; a message opens its nested part, and so on. */
static void begin_part(struct parser *ps, struct mime_part *part)
{
    for (;;) {
        bool deeper = ps->depth < MIME_DEPTH_MAX && ps->tree->part_count < MIME_PARTS_MAX;
        struct slice boundary;

        read_header(ps, part);
        if (mime_is_type(part, "multipart", NULL)) {
            boundary = mime_get_param(&part->params, LIT("boundary"));
            if (boundary.n == 0 || boundary.n > MIME_BOUNDARY_MAX) {
                set_type(part, "text", "plain");
            } else if (!deeper) {
                ps->tree->truncated = true;
                set_type(part, "application", "octet-stream");
            } else {
                part->kind = MIME_MULTIPART;
                push_boundary(ps, part, boundary);
            }
            return;
        }
        if (!mime_is_type(part, "message", "rfc822") && !mime_is_type(part, "message", "global"))
            return;
        if (part->encoding == MIME_QP || part->encoding == MIME_BASE64 || !deeper) {
            ps->tree->truncated |= !deeper;
            set_type(part, "application", "octet-stream");   /* RFC 2046 5.2.1 forbids the encoding: its bytes are no message */
            return;
        }
        part->kind = MIME_MESSAGE;
        part = open_part(ps, part);
    }
}

/* pos is at a delimiter line. */
static void pass_delimiter(struct parser *ps, struct delimiter d)
{
    struct mime_part *owner = ps->open[d.level].owner;
    size_t end = ps->pos;
    uint32_t lines = ps->lines;

    if (!d.closing && ps->tree->part_count >= MIME_PARTS_MAX) {
        ps->tree->truncated = true;
        skip_line(ps);
        return;
    }
    if (end > 0) {                                   /* the line end before it belongs to the delimiter */
        end--;
        lines--;
        if (end > 0 && ps->message.p[end - 1] == '\r')
            end--;
    }
    while (ps->now != owner)
        close_part(ps, end, lines);
    skip_line(ps);
    drop_boundaries(ps, d.closing ? d.level : d.level + 1);
    if (!d.closing)
        begin_part(ps, open_part(ps, owner));
}

void mime_parse(struct arena *a, struct slice message, struct mime_tree *out)
{
    struct parser ps = { .arena = a, .message = message.p ? message : LIT(""), .tree = out };
    struct delimiter d;

    *out = (struct mime_tree){ 0 };
    out->root = open_part(&ps, NULL);
    begin_part(&ps, out->root);
    while (find_delimiter(&ps, &d))
        pass_delimiter(&ps, d);
    while (ps.now)
        close_part(&ps, message.n, ps.lines);
}
