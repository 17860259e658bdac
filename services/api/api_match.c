/* api_match.c - from a path to its route. A segment of a pattern that begins with ':' takes one segment, unescaped after the path was cut, so
 * that "a%2Fb" stays one. Pure.
 */
#include "api.h"

#define SEGMENTS_MAX 16

struct path { struct slice segment[SEGMENTS_MAX]; size_t count; };

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

/* *literal: a bit per segment, the first one highest, set where the pattern has no parameter: larger fits better. */
static bool match(const char *pattern, const struct path *path, struct slice params[API_PARAMS_MAX], unsigned *literal)
{
    struct slice rest = slice_of(pattern + 1), want;
    size_t n = 0, filled = 0;

    *literal = 0;
    for (; slice_cut(&rest, '/', &want); n++) {
        bool is_param = want.p[0] == ':';

        if (n == path->count || (is_param && filled == API_PARAMS_MAX) || (!is_param && !slice_equal(want, path->segment[n])))
            return false;
        if (is_param)
            params[filled++] = path->segment[n];
        *literal = *literal << 1 | !is_param;
    }
    return n == path->count;
}

const struct api_route *api_route_find(struct arena *a, struct slice method, struct slice path, struct slice params[API_PARAMS_MAX])
{
    const struct api_route *best = NULL;
    struct slice found[API_PARAMS_MAX] = { 0 };
    unsigned literal, best_literal = 0;
    struct path cut;

    if (slice_equal(method, LIT("HEAD")))
        method = LIT("GET");
    if (!split(a, path, &cut))
        return NULL;
    for (size_t l = 0; api_route_lists[l] != NULL; l++)
        for (const struct api_route *r = api_route_lists[l]; r->path != NULL; r++) {
            if (!slice_equal(slice_of(r->method), method) || !match(r->path, &cut, found, &literal) ||
                (best != NULL && literal <= best_literal))
                continue;
            best = r;
            best_literal = literal;
            memcpy(params, found, sizeof(found));
        }
    return best;
}
