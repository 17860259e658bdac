/* api_match.c - from a path to its route. A segment of a pattern that begins with ':' takes one segment, unescaped after the path was cut, so
 * that "a%2Fb" stays one.
 *
 * Owns      the table of routes cut into segments, made at the first request. Loop thread; never suspends.
 */
#include "api.h"

#define SEGMENTS_MAX 16

struct path { struct slice segment[SEGMENTS_MAX]; size_t count; };

struct pattern {
    const struct api_route *route;
    struct slice method;
    const struct slice *segment;       /* ":name" takes any */
    size_t count;
    unsigned literal;                  /* a bit per segment, the first one highest, set where it is no parameter: larger fits better */
};

static struct {
    struct arena *arena;
    struct pattern *pattern;
    size_t count;
} table;

/* ---- the table -------------------------------------------------------------------------------------------- */

static struct pattern compile(const struct api_route *r)
{
    struct pattern p = { .route = r, .method = slice_of(r->method) };
    struct slice rest = slice_of(r->path + 1), *segment = ARENA_ARRAY(table.arena, struct slice, SEGMENTS_MAX);

    for (; slice_cut(&rest, '/', &segment[p.count]); p.count++)
        p.literal = p.literal << 1 | (segment[p.count].p[0] != ':');
    p.segment = segment;
    return p;
}

static void compile_all(void)
{
    size_t n = 0;

    for (size_t l = 0; api_route_lists[l] != NULL; l++)
        for (const struct api_route *r = api_route_lists[l]; r->path != NULL; r++)
            n++;
    table.arena = arena_new(0);
    table.pattern = ARENA_ARRAY(table.arena, struct pattern, n);
    for (size_t l = 0; api_route_lists[l] != NULL; l++)
        for (const struct api_route *r = api_route_lists[l]; r->path != NULL; r++)
            table.pattern[table.count++] = compile(r);
}

/* ---- one path ------------------------------------------------------------------------------------------------ */

/* False: not absolute, malformed escapes, NUL, bad UTF-8, an empty segment, too many. */
static bool split(struct arena *a, struct slice text, struct path *out)
{
    struct slice rest = slice_tail(text, 1), raw;

    out->count = 0;
    if (!slice_has_prefix(text, LIT("/")) || slice_has_suffix(rest, LIT("/")))
        return false;
    while (slice_cut(&rest, '/', &raw)) {
        struct slice *s = &out->segment[out->count];

        if (out->count++ == SEGMENTS_MAX - 1 || raw.n == 0 || !http_unescape(a, raw, false, s) || !slice_is_utf8(*s))
            return false;
    }
    return true;
}

static bool matches(const struct pattern *p, struct slice method, const struct path *path)
{
    if (p->count != path->count || !slice_equal(p->method, method))
        return false;
    for (size_t i = 0; i < p->count; i++)
        if (p->segment[i].p[0] != ':' && !slice_equal(p->segment[i], path->segment[i]))
            return false;
    return true;
}

const struct api_route *api_route_find(struct arena *a, struct slice method, struct slice path, struct slice params[API_PARAMS_MAX])
{
    const struct pattern *best = NULL;
    struct path cut;
    size_t n = 0;

    if (table.arena == NULL)
        compile_all();
    if (slice_equal(method, LIT("HEAD")))
        method = LIT("GET");
    if (!split(a, path, &cut))
        return NULL;
    for (const struct pattern *p = table.pattern; p < table.pattern + table.count; p++)
        if (matches(p, method, &cut) && (best == NULL || p->literal > best->literal))
            best = p;
    for (size_t i = 0; best != NULL && i < best->count && n < API_PARAMS_MAX; i++)
        if (best->segment[i].p[0] == ':')
            params[n++] = cut.segment[i];
    return best != NULL ? best->route : NULL;
}
