/* http_request.c - questions about a request: headers, tokens, query values, who sent it.
 *
 * Owns nothing. Called by handlers through http_server.h. Never suspends.
 */
#include "net/http_internal.h"
#include "rt/listener.h"

struct slice http_request_header(const struct http_request *rq, struct slice name)
{
    for (size_t i = 0; i < rq->header_count; i++)
        if (slice_equal_nocase(rq->headers[i].name, name))
            return rq->headers[i].value;
    return SLICE_NONE;
}

/* "gzip;q=0" means: not gzip (RFC 9110 12.4.2). */
static bool is_refused(struct slice parameters)
{
    struct slice part;

    while (slice_cut(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (slice_has_prefix_nocase(part, LIT("q=0"))) {
            for (size_t i = 3; i < part.n; i++)
                if (part.p[i] >= '1' && part.p[i] <= '9')
                    return false;
            return true;
        }
    }
    return false;
}

static bool list_has_token(struct slice list, struct slice token)
{
    struct slice item;

    while (slice_cut(&list, ',', &item)) {
        struct slice rest = item, name;
        if (slice_cut(&rest, ';', &name) && slice_equal_nocase(slice_trim(name), token) &&
            !is_refused(rest))
            return true;
    }
    return false;
}

bool http_request_has_token(const struct http_request *rq, struct slice name, struct slice token)
{
    for (size_t i = 0; i < rq->header_count; i++)
        if (slice_equal_nocase(rq->headers[i].name, name) &&
            list_has_token(rq->headers[i].value, token))
            return true;
    return false;
}

const struct stream_addr *http_request_peer(const struct http_request *rq)
{
    return stream_peer(rq->conn->stream);
}

void http_know_peer(struct http_request *rq)
{
    listener_know_peer(rq->conn->stream);
}

bool http_request_is_tls(const struct http_request *rq)
{
    return stream_is_tls(rq->conn->stream);
}

static int hex_value(char c)
{
    c = ascii_lower(c);
    if (ascii_is_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http_unescape(struct arena *a, struct slice in, bool plus, struct slice *out)
{
    char *p = arena_alloc(a, in.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int high = i + 2 < in.n ? hex_value(in.p[i + 1]) : -1,
                low = i + 2 < in.n ? hex_value(in.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return false;
        p[n++] = c;
    }
    *out = slice_make(p, n);
    return true;
}

struct slice http_query_get(struct arena *a, struct slice query, struct slice name)
{
    struct slice pair;

    while (slice_cut(&query, '&', &pair)) {
        struct slice key, value;
        ptrdiff_t eq = slice_find_char(pair, '=');
        struct slice raw = eq < 0 ? pair : slice_head(pair, (size_t)eq);
        if (!http_unescape(a, raw, true, &key) || !slice_equal(key, name))
            continue;
        return http_unescape(a, eq < 0 ? LIT("") : slice_tail(pair, (size_t)eq + 1), true, &value)
                   ? value
                   : SLICE_NONE;
    }
    return SLICE_NONE;
}
