/* http_head.c - the head of a request: lines checked byte by byte, taken apart by llhttp, framing
 * decided here.
 *
 * Owns nothing. Called by http_server.c, fuzzed by http_head_fuzz.c. What can fail is the peer's
 * mistake: a status. Never suspends. What llhttp lets pass for the sake of old peers (bare LF,
 * folding, spaces before the colon) is refused before it sees it, since a proxy before us may read
 * it differently (RFC 9112 11.2).
 */
#include "net/http_head.h"

#include <llhttp.h>

struct head_parse {
    llhttp_t http;
    struct http_request *rq;
    struct http_header *headers;
    size_t count;
    enum { AT_NAME, AT_VALUE } at;
    bool too_many;
};

size_t http_head_find_end(struct slice buffered, size_t *scanned)
{
    size_t from = *scanned > 3 ? *scanned - 3 : 0;

    if (from < 2 && slice_has_prefix(buffered, LIT("\r\n")))
        from = 2; /* one empty line before the request line is allowed: RFC 9112 2.2 */
    for (;;) {
        const char *lf =
            from < buffered.n ? memchr(buffered.p + from, '\n', buffered.n - from) : NULL;
        size_t next;
        if (lf == NULL)
            break;
        next = (size_t)(lf - buffered.p) + 1;
        if (next < buffered.n && buffered.p[next] == '\n')
            return next + 1;
        if (next + 1 < buffered.n && buffered.p[next] == '\r' && buffered.p[next + 1] == '\n')
            return next + 2;
        from = next;
    }
    *scanned = buffered.n;
    return 0;
}

/* ---- bytes ---- */

static bool is_token_char(char c)
{
    return ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return true;
    return false;
}

/* RFC 9112 3: single spaces between method, target and version. */
static bool has_three_words(struct slice line)
{
    struct slice word;
    size_t n = 0;

    while (slice_cut(&line, ' ', &word)) {
        if (word.n == 0)
            return false;
        n++;
    }
    return n == 3;
}

/* Every line ends in CRLF, holds no other control character, no header is folded, each has name and
 * colon. */
static unsigned check_lines(struct slice head)
{
    bool first = true;

    while (head.n > 0) {
        ptrdiff_t lf = slice_find_char(head, '\n');
        struct slice line = slice_head(head, (size_t)lf);
        if (lf < 1 || line.p[line.n - 1] != '\r')
            return 400;
        head = slice_tail(head, (size_t)lf + 1);
        line.n--;
        if (has_control(line) || (first && !has_three_words(line)))
            return 400;
        if (!first && line.n > 0) {
            ptrdiff_t colon = slice_find_char(line, ':');
            if (colon < 1 || !is_token(slice_head(line, (size_t)colon)))
                return 400;
        }
        first = false;
    }
    return 0;
}

/* ---- llhttp ---- */

static int on_url(llhttp_t *http, const char *at, size_t n)
{
    struct head_parse *p = http->data;

    if (p->rq->target.p == NULL)
        p->rq->target.p = at;
    p->rq->target.n += n;
    return 0;
}

static int on_name(llhttp_t *http, const char *at, size_t n)
{
    struct head_parse *p = http->data;

    if (p->count > 0 && p->at == AT_NAME &&
        p->headers[p->count - 1].name.p + p->headers[p->count - 1].name.n == at) {
        p->headers[p->count - 1].name.n += n;
        return 0;
    }
    if (p->count == HTTP_HEADERS_MAX) {
        p->too_many = true;
        return -1;
    }
    p->headers[p->count++] = (struct http_header){{at, n}, {at + n, 0}};
    p->at = AT_NAME;
    return 0;
}

static int on_value(llhttp_t *http, const char *at, size_t n)
{
    struct head_parse *p = http->data;
    struct slice *value = &p->headers[p->count - 1].value;

    if (p->at == AT_NAME)
        *value = slice_make(at, 0);
    p->at = AT_VALUE;
    value->n += n;
    return 0;
}

static unsigned run_llhttp(struct head_parse *p, struct slice head)
{
    llhttp_settings_t settings;
    llhttp_errno_t err;

    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    llhttp_init(&p->http, HTTP_REQUEST, &settings);
    p->http.data = p;
    err = llhttp_execute(&p->http, head.p, head.n);
    if (p->too_many)
        return 431;
    if (err == HPE_INVALID_METHOD)
        return 501;
    if (err == HPE_INVALID_VERSION || err == HPE_PAUSED_H2_UPGRADE)
        return 505;
    return err == HPE_OK || err == HPE_PAUSED_UPGRADE || err == HPE_PAUSED ? 0 : 400;
}

/* ---- request line ---- */

static bool is_host(struct slice host)
{
    for (size_t i = 0; i < host.n; i++)
        if (!ascii_is_alnum(host.p[i]) &&
            (host.p[i] == '\0' || strchr(".-_:[]", host.p[i]) == NULL))
            return false;
    return host.n > 0 && host.n < 300;
}

/* RFC 9112 3.2: origin-form, "*", or absolute-form, which is taken apart (its authority replaces
 * Host). */
static unsigned split_target(struct http_request *rq)
{
    struct slice t = rq->target;
    ptrdiff_t mark;

    if (t.n > HTTP_TARGET_BYTES_MAX)
        return 414;
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= ' ' || (unsigned char)t.p[i] >= 0x7f || t.p[i] == '#')
            return 400;
    if (slice_has_prefix_nocase(t, LIT("http://")) || slice_has_prefix_nocase(t, LIT("https://"))) {
        struct slice rest = slice_tail(t, (size_t)slice_find(t, LIT("//")) + 2);
        size_t n = 0;
        while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
            n++;
        rq->host = slice_head(rest, n);
        if (!is_host(rq->host))
            return 400;
        t = n < rest.n && rest.p[n] == '/' ? slice_tail(rest, n) : LIT("/");
        rq->target = t;
    }
    if (t.n == 0 || (t.p[0] != '/' && !slice_equal(t, LIT("*"))))
        return 400;
    mark = slice_find_char(t, '?');
    rq->path = mark < 0 ? t : slice_head(t, (size_t)mark);
    rq->query = mark < 0 ? SLICE_NONE : slice_tail(t, (size_t)mark + 1);
    return 0;
}

/* ---- framing ---- */

static size_t count_headers(const struct http_request *rq, struct slice name, struct slice *last)
{
    size_t n = 0;

    for (size_t i = 0; i < rq->header_count; i++) {
        if (slice_equal_nocase(rq->headers[i].name, name)) {
            *last = rq->headers[i].value;
            n++;
        }
    }
    return n;
}

/* RFC 9112 6.3, with every doubtful case refused. */
static unsigned decide_body(struct http_request *rq)
{
    struct slice length = SLICE_NONE, coding = SLICE_NONE;
    size_t lengths = count_headers(rq, LIT("Content-Length"), &length);
    size_t codings = count_headers(rq, LIT("Transfer-Encoding"), &coding);

    rq->body_bytes = 0;
    if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0))
        return 400;
    if (codings > 0) {
        if (rq->version < 11 || !slice_equal_nocase(coding, LIT("chunked")))
            return rq->version < 11 ? 400 : 501;
        rq->body_bytes = UINT64_MAX;
    }
    if (lengths > 0 && !slice_to_u64(length, INT64_MAX, &rq->body_bytes))
        return 400;
    return 0;
}

static unsigned decide_host(struct http_request *rq)
{
    struct slice host = SLICE_NONE;
    size_t hosts = count_headers(rq, LIT("Host"), &host);

    if (hosts > 1 || (hosts == 0 && rq->version >= 11))
        return 400;
    if (hosts == 1 && host.n > 0 && !is_host(host))
        return 400;
    if (rq->host.n == 0)
        rq->host = host;
    return 0;
}

unsigned http_head_parse(struct slice head, struct arena *in, struct http_request *rq)
{
    struct head_parse p = {.rq = rq};
    unsigned status;

    if (slice_has_prefix(head, LIT("\r\n")))
        head = slice_tail(head, 2);
    status = check_lines(head);
    if (status != 0)
        return status;
    p.headers = ARENA_ARRAY(in, struct http_header, HTTP_HEADERS_MAX);
    status = run_llhttp(&p, head);
    if (status != 0)
        return status;

    if (p.http.http_major != 1 || p.http.http_minor > 1)
        return 505;
    rq->version = 10u + p.http.http_minor;
    rq->method = slice_of(llhttp_method_name((llhttp_method_t)p.http.method));
    if (slice_equal(rq->method, LIT("CONNECT")))
        return 501;
    for (size_t i = 0; i < p.count; i++)
        p.headers[i].value = slice_trim(p.headers[i].value);
    rq->headers = p.headers;
    rq->header_count = p.count;
    status = split_target(rq);
    if (status == 0)
        status = decide_host(rq);
    return status != 0 ? status : decide_body(rq);
}
