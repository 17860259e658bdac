/* rfc5322_address.c - address lists (RFC 5322 3.4, obsolete forms of 4.4) as people really write them.
 *
 * Owns nothing; results live in the arena. Called through rfc5322.h. Never fails, never suspends.
 *
 * One pass over the value. Words seen so far are kept twice: as a phrase ("John Q. Public"), and as what would be a
 * local part if an "@" came next ("john . doe" -> "john.doe").
 */
#include "wire/rfc5322.h"

#define TEXT_MAX ((size_t)1 << 20)
#define NEAR_MAX 1000                    /* how far the end of a route or literal is looked for */

struct reader {
    struct arena *arena;
    const char *p, *end;
    struct buf phrase, local, comment;
    bool have_phrase, space, after_dot;
    bool in_group;
    struct rfc5322_address now;          /* the address being read */
    bool have_address;
    struct rfc5322_address *list;
    size_t count, cap;
};

static const char *find_near(const struct reader *r, char c)
{
    size_t left = (size_t)(r->end - r->p);

    return memchr(r->p, c, left < NEAR_MAX ? left : NEAR_MAX);
}

static bool is_special(char c)
{
    return c != '\0' && strchr(" \t\r\n(\"<>@,;:\\.", c) != NULL;
}

static void push(struct reader *r, struct rfc5322_address address)
{
    if (r->count == RFC5322_ADDRESSES_MAX)
        return;
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 4;
        struct rfc5322_address *bigger = ARENA_ARRAY(r->arena, struct rfc5322_address, cap);

        if (r->count)
            memcpy(bigger, r->list, r->count * sizeof(*bigger));
        r->list = bigger;
        r->cap = cap;
    }
    r->list[r->count++] = address;
}

static void forget_words(struct reader *r)
{
    buf_reset(&r->phrase);
    buf_reset(&r->local);
    buf_reset(&r->comment);
    r->have_phrase = r->space = r->after_dot = false;
    r->have_address = false;
    r->now = (struct rfc5322_address){ .kind = ADDRESS_MAILBOX };
}

/* A word of a phrase or local part; white space before it starts a new local part unless a dot stands between. */
static void add_word(struct reader *r, struct slice word)
{
    bool dot = word.n == 1 && word.p[0] == '.';

    if (r->space && r->have_phrase)
        (void)buf_append_char(&r->phrase, ' ');
    if (r->space && !dot && !r->after_dot)
        buf_reset(&r->local);
    (void)buf_append(&r->phrase, word);
    (void)buf_append(&r->local, word);
    r->have_phrase = true;
    r->space = false;
    r->after_dot = dot;
}

/* Text of a comment without its outer parentheses; r->p stands behind "(". */
static void read_comment(struct reader *r)
{
    unsigned depth = 1;

    buf_reset(&r->comment);
    for (; r->p < r->end; r->p++) {
        if (*r->p == '\r' || *r->p == '\n')
            continue;
        if (*r->p == '\\' && r->p + 1 < r->end)
            r->p++;
        else if (*r->p == '(' && depth < RFC5322_COMMENT_DEPTH)
            depth++;
        else if (*r->p == ')' && --depth == 0) {
            r->p++;
            break;
        }
        (void)buf_append_char(&r->comment, *r->p);
    }
}

/* Text of a quoted string; r->p stands behind the opening quote. */
static void read_quoted(struct reader *r, struct buf *out)
{
    while (r->p < r->end && *r->p != '"') {
        const char *from = r->p;

        while (r->p < r->end && *r->p != '"' && *r->p != '\\' && *r->p != '\r' && *r->p != '\n')
            r->p++;
        (void)buf_append(out, slice_make(from, (size_t)(r->p - from)));
        if (r->p >= r->end || *r->p == '"')
            continue;
        if (*r->p == '\\' && r->p + 1 < r->end)
            (void)buf_append_char(out, *++r->p);
        r->p++;
    }
    if (r->p < r->end)
        r->p++;
}

static struct slice read_run(struct reader *r)
{
    const char *from = r->p;

    while (r->p < r->end && !is_special(*r->p))
        r->p++;
    return slice_make(from, (size_t)(r->p - from));
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end) {
        if (ascii_is_space(*r->p))
            r->p++;
        else if (*r->p == '(') {
            r->p++;
            read_comment(r);
        } else
            break;
    }
}

/* RFC 5322 3.4.1 domain, with CFWS around the dots; ends at what cannot belong to it. */
static struct slice read_domain(struct reader *r)
{
    AUTO(buf_free) struct buf out = BUF_INIT(TEXT_MAX);

    for (;;) {
        skip_space(r);
        if (r->p >= r->end)
            break;
        if (*r->p == '.') {
            r->p++;
            (void)buf_append_char(&out, '.');
        } else if (*r->p == '[' && out.n == 0) {
            const char *close = find_near(r, ']');
            const char *stop = close ? close + 1 : r->p + 1;

            (void)buf_append(&out, slice_make(r->p, (size_t)(stop - r->p)));
            r->p = stop;
            break;
        } else if (is_special(*r->p) || (out.n && out.p[out.n - 1] != '.')) {
            break;
        } else {
            (void)buf_append(&out, read_run(r));
        }
    }
    return out.n ? arena_copy(r->arena, buf_slice(&out)) : SLICE_NONE;
}

/* "@a,@b:" in front of an address (RFC 5322 4.4 obs-route). */
static void read_route(struct reader *r)
{
    const char *colon = find_near(r, ':');
    const char *close = find_near(r, '>');

    if (!colon || (close && close < colon))
        return;
    r->now.route = arena_copy(r->arena, slice_trim(slice_make(r->p, (size_t)(colon - r->p))));
    r->p = colon + 1;
}

/* What stands between "<" and ">"; r->p stands behind "<". */
static void read_angle(struct reader *r)
{
    AUTO(buf_free) struct buf local = BUF_INIT(TEXT_MAX);
    bool quoted = false;

    skip_space(r);
    if (r->p < r->end && *r->p == '@')
        read_route(r);
    while (r->p < r->end && *r->p != '>' && *r->p != '@') {
        skip_space(r);
        if (r->p >= r->end || *r->p == '>' || *r->p == '@')
            break;
        if (*r->p == '"') {
            r->p++;
            quoted = true;
            read_quoted(r, &local);
        } else if (*r->p == ',' && !quoted && local.n == 0) {
            r->p++;
        } else if (is_special(*r->p)) {
            (void)buf_append_char(&local, *r->p++);
        } else {
            (void)buf_append(&local, read_run(r));
        }
    }
    r->now.local = arena_copy(r->arena, buf_slice(&local));
    if (r->p < r->end && *r->p == '@') {
        r->p++;
        r->now.domain = read_domain(r);
    }
    while (r->p < r->end && *r->p != '>' && *r->p != ',')
        r->p++;
    if (r->p < r->end && *r->p == '>')
        r->p++;
    r->have_address = true;
}

static struct slice comment_name(struct reader *r)
{
    struct slice text = slice_trim(buf_slice(&r->comment));

    return text.n ? arena_copy(r->arena, text) : SLICE_NONE;
}

/* "," ";" or the end: what was read becomes an entry. */
static void finish_address(struct reader *r)
{
    if (r->have_address) {
        if (r->now.name.p == NULL)
            r->now.name = comment_name(r);
        push(r, r->now);
    } else if (r->have_phrase) {
        r->now.local = arena_copy(r->arena, buf_slice(&r->phrase));
        r->now.name = comment_name(r);
        push(r, r->now);
    }
    forget_words(r);
}

static void end_group(struct reader *r)
{
    finish_address(r);
    if (r->in_group)
        push(r, (struct rfc5322_address){ .kind = ADDRESS_GROUP_END });
    r->in_group = false;
}

static void begin_group(struct reader *r)
{
    struct rfc5322_address group = { .kind = ADDRESS_GROUP_BEGIN };

    if (r->in_group || r->have_address)
        return;
    group.name = arena_copy(r->arena, buf_slice(&r->phrase));
    forget_words(r);
    push(r, group);
    r->in_group = true;
}

static void read_at(struct reader *r)
{
    if (r->have_address)
        return;
    r->now.local = arena_copy(r->arena, buf_slice(&r->local));
    r->now.domain = read_domain(r);
    r->have_address = true;
}

static void begin_angle(struct reader *r)
{
    if (!r->have_address && r->have_phrase)
        r->now.name = arena_copy(r->arena, buf_slice(&r->phrase));
    if (r->have_address && r->now.name.p == NULL)    /* "a@b <c@d>": the first is a name */
        r->now.name = rfc5322_format_address(r->arena, &r->now);
    read_angle(r);
}

static void read_word(struct reader *r, char c)
{
    AUTO(buf_free) struct buf quoted = BUF_INIT(TEXT_MAX);

    if (c == '"') {
        r->p++;
        read_quoted(r, &quoted);
        add_word(r, slice_make(quoted.n ? quoted.p : "", quoted.n));
    } else if (c == '.') {
        add_word(r, slice_make(r->p++, 1));
    } else if (c == '\\') {
        r->p++;
        if (r->p < r->end)
            add_word(r, slice_make(r->p++, 1));
    } else {
        add_word(r, read_run(r));
    }
}

static void read_token(struct reader *r)
{
    char c = *r->p;

    switch (c) {
    case ' ': case '\t': case '\r': case '\n': r->p++; r->space = true; break;
    case '(': r->p++; read_comment(r); r->space = true; break;
    case ',': r->p++; finish_address(r); break;
    case ';': r->p++; end_group(r); break;
    case ':': r->p++; begin_group(r); break;
    case '<': r->p++; begin_angle(r); break;
    case '@': r->p++; read_at(r); break;
    case '>': r->p++; break;
    default:  read_word(r, c); break;
    }
}

size_t rfc5322_parse_addresses(struct arena *a, struct slice value, struct rfc5322_address **out)
{
    struct reader r = {
        .arena = a, .p = value.p, .end = value.n ? value.p + value.n : value.p,
        .phrase = BUF_INIT(TEXT_MAX), .local = BUF_INIT(TEXT_MAX), .comment = BUF_INIT(TEXT_MAX),
    };

    *out = NULL;
    if (value.n == 0)
        return 0;
    while (r.p < r.end && r.count < RFC5322_ADDRESSES_MAX)
        read_token(&r);
    finish_address(&r);
    if (r.in_group)
        end_group(&r);
    buf_free(&r.phrase);
    buf_free(&r.local);
    buf_free(&r.comment);
    *out = r.list;
    return r.count;
}

static bool local_is_dot_atom(struct slice local)
{
    char before = '.';

    for (size_t i = 0; i < local.n; i++) {
        char c = local.p[i];

        if (c == '.' && before == '.')
            return false;
        if (c != '.' && (c <= 32 || c == 127 || strchr("()<>[]:;@\\,\"", c)))
            if (!((unsigned char)c >= 128))
                return false;
        before = c;
    }
    return before != '.';
}

struct slice rfc5322_format_address(struct arena *a, const struct rfc5322_address *address)
{
    AUTO(buf_free) struct buf out = BUF_INIT(TEXT_MAX);

    if (local_is_dot_atom(address->local)) {
        (void)buf_append(&out, address->local);
    } else {
        (void)buf_append_char(&out, '"');
        for (size_t i = 0; i < address->local.n; i++) {
            if (address->local.p[i] == '"' || address->local.p[i] == '\\')
                (void)buf_append_char(&out, '\\');
            (void)buf_append_char(&out, address->local.p[i]);
        }
        (void)buf_append_char(&out, '"');
    }
    if (address->domain.p) {
        (void)buf_append_char(&out, '@');
        (void)buf_append(&out, address->domain);
    }
    return arena_copy(a, buf_slice(&out));
}
