/* api_args.c - values of a call, looked up in its body, then its query, in whatever form they came. Pure. */
#include "api.h"

static const json_t *value_of(const struct api_call *c, const char *key)
{
    const json_t *v = json_object_get(c->body, key);

    return v != NULL && !json_is_null(v) ? v : json_object_get(c->query, key);
}

bool api_has(const struct api_call *c, const char *key)
{
    return json_object_get(c->body, key) != NULL || json_object_get(c->query, key) != NULL;
}

static struct slice scalar_text(struct arena *a, const json_t *v)
{
    if (json_is_string(v))
        return slice_make(json_string_value(v), json_string_length(v));
    if (json_is_integer(v))
        return arena_printf(a, "%lld", (long long)json_integer_value(v));
    if (json_is_real(v))
        return arena_printf(a, "%.17g", json_real_value(v));
    if (json_is_boolean(v))
        return json_is_true(v) ? LIT("true") : LIT("false");
    return SLICE_NONE;
}

struct slice api_text(const struct api_call *c, const char *key)
{
    struct slice s = scalar_text(c->arena, value_of(c, key));

    return s.p == NULL ? SLICE_NONE : slice_trim(s);
}

bool api_bool(const struct api_call *c, const char *key, bool otherwise)
{
    static const struct slice yes[] = { LIT("true"), LIT("t"), LIT("yes"), LIT("y"), LIT("on"), LIT("1") };
    struct slice s;

    if (!api_has(c, key))
        return otherwise;
    s = api_text(c, key);
    for (size_t i = 0; i < COUNT(yes); i++)
        if (slice_equal_nocase(s, yes[i]))
            return true;
    return false;
}

bool api_int(const struct api_call *c, const char *key, int64_t least, int64_t most, int64_t otherwise, int64_t *out)
{
    const json_t *v = value_of(c, key);
    struct slice s = api_text(c, key);
    bool negative;
    uint64_t n;

    if (v == NULL || json_is_null(v)) {
        *out = otherwise;
        return true;
    }
    if (json_is_real(v)) {
        double d = json_real_value(v);

        if (!(d >= (double)least && d <= (double)most && d > -9e15 && d < 9e15) || (double)(int64_t)d != d)
            return false;
        *out = (int64_t)d;
        return true;
    }
    negative = s.n > 0 && s.p[0] == '-';
    if (!slice_to_u64(negative ? slice_tail(s, 1) : s, INT64_MAX, &n))
        return false;
    *out = negative ? -(int64_t)n : (int64_t)n;
    return *out >= least && *out <= most;
}

/* 1024-based, as mailboxes are counted. */
static bool unit_of(struct slice s, uint64_t *factor)
{
    static const struct { const char *name; unsigned shift; } units[] = {
        { "", 0 }, { "b", 0 }, { "kb", 10 }, { "mb", 20 }, { "gb", 30 }, { "tb", 40 }, { "pb", 50 },
    };

    for (size_t i = 0; i < COUNT(units); i++)
        if (slice_equal_nocase(s, slice_of(units[i].name))) {
            *factor = (uint64_t)1 << units[i].shift;
            return true;
        }
    return false;
}

bool api_bytes(const struct api_call *c, const char *key, uint64_t *out)
{
    struct slice s = api_text(c, key), number = s;
    char text[32], *end;
    uint64_t factor;
    double d;

    while (number.n > 0 && !ascii_is_digit(number.p[number.n - 1]))
        number.n--;
    if (number.n == 0 || !ascii_is_digit(s.p[0]) || !unit_of(slice_trim(slice_tail(s, number.n)), &factor) ||
        !slice_copy_cstr(number, text, sizeof(text)) || strspn(text, "0123456789.") != number.n)
        return false;
    d = strtod(text, &end) * (double)factor;
    if (*end != '\0' || d > 9e15)
        return false;
    *out = (uint64_t)d;
    return true;
}

static bool is_separator(char c)
{
    return c == ',' || ascii_is_space(c);
}

static void split(struct slice text, struct slice *out, size_t *n)
{
    size_t i = 0;

    while (i < text.n && *n < API_LIST_MAX) {
        size_t from;

        while (i < text.n && is_separator(text.p[i]))
            i++;
        from = i;
        while (i < text.n && !is_separator(text.p[i]))
            i++;
        if (i > from)
            out[(*n)++] = slice_sub(text, from, i - from);
    }
}

size_t api_strings(const struct api_call *c, const char *key, struct slice **out)
{
    const json_t *v = value_of(c, key);
    json_t *item;
    size_t n = 0, i;

    *out = ARENA_ARRAY(c->arena, struct slice, API_LIST_MAX);
    if (!json_is_array(v)) {
        split(scalar_text(c->arena, v), *out, &n);
        return n;
    }
    json_array_foreach(v, i, item) {
        struct slice s = slice_trim(scalar_text(c->arena, item));

        if (s.n > 0 && n < API_LIST_MAX)
            (*out)[n++] = s;
    }
    return n;
}

/* ---- pages ------------------------------------------------------------------------------------------------ */

static uint64_t positive(const struct api_call *c, const char *key, uint64_t otherwise)
{
    uint64_t n;

    return slice_to_u64(api_text(c, key), 1000000000, &n) && n > 0 ? n : otherwise;
}

void api_page_read(struct api_call *c, uint64_t initial, uint64_t most, const char *const *sortable, const char *order, struct api_page *out)
{
    out->limit = positive(c, "limit", initial);
    if (out->limit > most)
        out->limit = most;
    out->page = positive(c, "page", 1);
    out->store = (struct store_page){
        .sort = store_sort_parse(c->arena, api_text(c, "sort"), sortable, order), .skip = (out->page - 1) * out->limit, .limit = out->limit,
    };
}

static void set_number(struct api_call *c, const char *name, uint64_t value)
{
    http_set_header(c->rq, slice_of(name), arena_printf(c->arena, "%llu", (unsigned long long)value));
}

/* In a URI reference between angle brackets. */
static void append_uri(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (strchr("<>\"\\", text.p[i]) != NULL)
            (void)buf_printf(out, "%%%02X", (unsigned char)text.p[i]);
        else
            (void)buf_append_char(out, text.p[i]);
}

/* The query as it came, without page. */
static struct slice other_query(const struct api_call *c)
{
    AUTO(buf_free) struct buf out = BUF_INIT(4 * HTTP_TARGET_BYTES_MAX);
    struct slice rest = c->rq->query, one;

    while (slice_cut(&rest, '&', &one)) {
        if (one.n == 0 || slice_has_prefix(one, LIT("page=")))
            continue;
        (void)buf_append_char(&out, '&');
        append_uri(&out, one);
    }
    return arena_copy(c->arena, buf_slice(&out));
}

static struct slice links(const struct api_call *c, uint64_t page, uint64_t pages)
{
    const struct { const char *rel; uint64_t page; bool there; } row[] = {
        { "prev", page - 1 < pages ? page - 1 : pages, page > 1 }, { "next", page + 1, page < pages }, { "last", pages, pages > 1 }, { "first", 1, pages > 1 },
    };
    AUTO(buf_free) struct buf out = BUF_INIT(8 * HTTP_TARGET_BYTES_MAX);
    struct slice others = other_query(c);

    for (size_t i = 0; i < COUNT(row); i++) {
        if (!row[i].there)
            continue;
        (void)buf_printf(&out, "%s<%s", out.n > 0 ? ", " : "", c->api->config->api_url);
        append_uri(&out, c->rq->path);
        (void)buf_printf(&out, "?page=%llu%.*s>; rel=\"%s\"", (unsigned long long)row[i].page, SLICE(others), row[i].rel);
    }
    return arena_copy(c->arena, buf_slice(&out));
}

static void set_page_headers(struct api_call *c, const struct api_page *page, uint64_t total, uint64_t size)
{
    uint64_t pages = total > 0 ? (total - 1) / page->limit + 1 : 1;
    struct slice to = links(c, page->page, pages);

    set_number(c, "X-Page-Count", pages);
    set_number(c, "X-Page-Current", page->page);
    set_number(c, "X-Page-Size", size > 0 ? size : 1);
    set_number(c, "X-Item-Count", total);
    if (to.n > 0 && to.n < 4000)
        http_set_header(c->rq, LIT("Link"), to);
}

int api_reply_page(struct api_call *c, const struct api_page *page, uint64_t total, json_t *items)
{
    set_page_headers(c, page, total, json_array_size(items));
    return api_reply_json(c, items);
}

int api_reply_page_text(struct api_call *c, const struct api_page *page, uint64_t total, size_t count, struct slice items)
{
    set_page_headers(c, page, total, count);
    return api_reply_json_text(c, items);
}
