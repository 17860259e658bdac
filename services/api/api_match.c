/* api_match.c - from a path to its route. A segment of a pattern that begins with ':' takes one segment, unescaped. Pure. */
#include "api.h"

static bool match_segment(struct arena *a, struct slice pattern, struct slice text, struct slice *param, bool *is_param)
{
    *is_param = pattern.n > 0 && pattern.p[0] == ':';
    if (!*is_param)
        return slice_equal(pattern, text);
    return text.n > 0 && http_unescape(a, text, false, param) && param->n > 0 && slice_is_utf8(*param);
}

static bool match(struct arena *a, struct slice pattern, struct slice path, struct slice params[API_PARAMS_MAX])
{
    struct slice want, got, param = SLICE_NONE;
    size_t n = 0;
    bool is_param, more_want, more_got;

    for (;;) {
        more_want = slice_cut(&pattern, '/', &want);
        more_got = slice_cut(&path, '/', &got);
        if (!more_want || !more_got)
            return more_want == more_got;
        if (!match_segment(a, want, got, &param, &is_param))
            return false;
        if (is_param && n < API_PARAMS_MAX)
            params[n++] = param;
    }
}

static bool method_fits(const struct api_route *r, struct slice method)
{
    return slice_equal(slice_of(r->method), method) || (slice_equal(method, LIT("HEAD")) && slice_equal(slice_of(r->method), LIT("GET")));
}

const struct api_route *api_route_find(struct arena *a, struct slice method, struct slice path, struct slice params[API_PARAMS_MAX], struct slice *other)
{
    *other = SLICE_NONE;
    for (size_t l = 0; api_route_lists[l] != NULL; l++)
        for (const struct api_route *r = api_route_lists[l]; r->path != NULL; r++) {
            if (!match(a, slice_of(r->path), path, params))
                continue;
            if (method_fits(r, method))
                return r;
            *other = other->n == 0 ? slice_of(r->method) : arena_printf(a, "%.*s, %s", SLICE(*other), r->method);
        }
    return NULL;
}
