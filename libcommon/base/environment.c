/* environment.c - see environment.h.
 *
 * Owns one buffer with the last made-up answer. Called at start only. A text that grows beyond ENVIRONMENT_BYTES_MAX is cut. Does not suspend.
 */
#include "base/environment.h"

#include <stdlib.h>
#include "base/buf.h"

#define NAME_BYTES_MAX 64
#define REFERENCES_MAX 1000            /* in one setting, however they are nested */

typedef const char *(*lookup_fn)(const char *name);

static struct buf made = BUF_INIT(ENVIRONMENT_BYTES_MAX);
static unsigned references;

static bool is_name_char(char c)
{
    return ascii_is_alnum(c) || c == '_';
}

/* {{NAME}} at the beginning of `s`; how many bytes it takes, 0 when it is none. */
static size_t reference_at(struct slice s, struct slice *name)
{
    size_t braces = slice_has_prefix(s, LIT("{{{")) ? 3 : slice_has_prefix(s, LIT("{{")) ? 2 : 0, at = braces, end;

    if (braces == 0)
        return 0;
    while (at < s.n && s.p[at] == ' ')
        at++;
    for (end = at; end < s.n && is_name_char(s.p[end]); end++)
        ;
    *name = slice_sub(s, at, end - at);
    for (at = end; at < s.n && s.p[at] == ' '; at++)
        ;
    return name->n > 0 && name->n < NAME_BYTES_MAX && slice_has_prefix(slice_tail(s, at), slice_head(LIT("}}}"), braces)) ? at + braces : 0;
}

bool environment_next_reference(struct slice *rest, struct slice *name)
{
    for (size_t at = 0; at < rest->n; at++) {
        size_t n = reference_at(slice_tail(*rest, at), name);

        if (n > 0)
            return *rest = slice_tail(*rest, at + n), true;
    }
    return false;
}

static struct slice without_ticks(struct slice s)
{
    s = slice_trim(s);
    return s.n >= 2 && s.p[0] == '`' && s.p[s.n - 1] == '`' ? slice_sub(s, 1, s.n - 2) : s;
}

static void expand(lookup_fn lookup, struct slice text, int depth)
{
    if (references++ > REFERENCES_MAX)
        return;
    for (size_t at = 0; at < text.n;) {
        struct slice name;
        char cname[NAME_BYTES_MAX];
        size_t n = reference_at(slice_tail(text, at), &name);

        if (n == 0) {
            (void)buf_append_char(&made, text.p[at++]);
            continue;
        }
        if (depth < ENVIRONMENT_DEPTH_MAX && slice_copy_cstr(name, cname, sizeof(cname)))
            expand(lookup, without_ticks(slice_of(lookup(cname))), depth + 1);
        at += n;
    }
}

/* ---- made of the original's names --------------------------------------------------------------------- */

static void expand_name(lookup_fn lookup, const char *name, const char *otherwise)
{
    const char *text = lookup(name);

    expand(lookup, without_ticks(slice_of(text != NULL && text[0] != '\0' ? text : otherwise)), 0);
}

static bool is_set(lookup_fn lookup, const char *name)
{
    const char *text = lookup(name);

    return text != NULL && text[0] != '\0';
}

/* RFC 3986 2.1: user and password stand in a URI percent-encoded. */
static void escape_from(size_t from)
{
    char plain[1024];
    size_t n = made.n - from;

    if (n > sizeof(plain))
        n = sizeof(plain);
    if (n > 0)
        memcpy(plain, made.p + from, n);
    buf_truncate(&made, from);
    for (size_t i = 0; i < n; i++) {
        if (ascii_is_alnum(plain[i]) || plain[i] == '-' || plain[i] == '_' || plain[i] == '.' || plain[i] == '~')
            (void)buf_append_char(&made, plain[i]);
        else
            (void)buf_printf(&made, "%%%02X", (unsigned char)plain[i]);
    }
    explicit_bzero(plain, sizeof(plain));
}

static void make_store_uri(lookup_fn lookup)
{
    size_t from;

    if (is_set(lookup, "MONGO_URI")) {
        expand_name(lookup, "MONGO_URI", "");
        return;
    }
    (void)buf_append_cstr(&made, "mongodb://");
    if (is_set(lookup, "MONGO_USER")) {
        from = made.n;
        expand_name(lookup, "MONGO_USER", "");
        escape_from(from);
        (void)buf_append_char(&made, ':');
        from = made.n;
        expand_name(lookup, "MONGO_PASS", "");
        escape_from(from);
        (void)buf_append_char(&made, '@');
    }
    expand_name(lookup, "MONGO_HOST", "");
    (void)buf_append_char(&made, ':');
    expand_name(lookup, "MONGO_PORT", "27017");
    (void)buf_append_char(&made, '/');
    expand_name(lookup, "MONGO_NAME", is_set(lookup, "NODE_ENV") ? "forwardemail_{{NODE_ENV}}" : "forwardemail_production");
    if (is_set(lookup, "MONGO_USER"))
        (void)buf_append_cstr(&made, "?authSource=admin");
}

const char *environment_get_from(lookup_fn lookup, const char *name)
{
    const char *text = lookup(name);
    bool set = text != NULL && text[0] != '\0';
    struct slice plain = without_ticks(slice_of(text));

    buf_wipe(&made);
    references = 0;
    if (!set && strcmp(name, "STORE_URI") == 0 && (is_set(lookup, "MONGO_URI") || is_set(lookup, "MONGO_HOST"))) {
        make_store_uri(lookup);
    } else if (set && strcmp(name, "SQLITE_STORAGE_PATH") == 0 && slice_find_char(plain, '/') < 0) {
        (void)buf_append_cstr(&made, "/mnt/");
        expand(lookup, plain, 0);
    } else if (set && (plain.n != strlen(text) || slice_find(plain, LIT("{{")) >= 0)) {
        expand(lookup, plain, 0);
    } else {
        return text;
    }
    (void)buf_append_char(&made, '\0');
    return made.p;
}

static const char *from_process(const char *name)
{
    return getenv(name);
}

const char *environment_get(const char *name)
{
    return environment_get_from(from_process, name);
}
