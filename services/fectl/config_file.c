/* config_file.c - see config_file.h. Called once per run. Does not suspend. */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int read_whole(const char *path, struct buf *out, struct fault *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return fault_errno(why, errno, "read %s", path);
    do {
        n = buf_reserve(out, 4096) < 0 ? 0 : read(fd, out->p + out->n, 4096);
        out->n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    (void)close(fd);
    if (n < 0)
        return fault_errno(why, errno, "read %s", path);
    return out->overflowed ? fault_set(why, FAULT_LIMIT, "%s is larger than 1 MB", path) : 0;
}

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '_')
            return false;
    return s.n > 0 && !ascii_is_digit(s.p[0]);
}

/* What stands behind = in quotes. False when the quote is not closed on its line. */
static bool take_quoted(struct slice text, struct arena *in, struct slice *out)
{
    char quote = text.p[0], *copy = arena_alloc(in, text.n + 1);
    size_t n = 0;

    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == quote)
            return *out = slice_make(copy, n), true;
        if (quote == '"' && text.p[i] == '\\' && i + 1 < text.n && (text.p[i + 1] == '"' || text.p[i + 1] == '\\'))
            i++;
        copy[n++] = text.p[i];
    }
    return false;
}

static struct slice without_comment(struct slice text)
{
    ptrdiff_t at = slice_find(text, LIT(" #"));

    return slice_trim(at < 0 ? text : slice_head(text, (size_t)at));
}

static void take_line(struct slice line, unsigned number, struct arena *in, struct config_file *f, struct buf *mistakes)
{
    struct setting *s = &f->settings[f->count];
    ptrdiff_t at = slice_find_char(line, '=');
    struct slice text;

    s->name = slice_trim(slice_head(line, at < 0 ? line.n : (size_t)at));
    if (slice_has_prefix(s->name, LIT("export ")))
        s->name = slice_trim(slice_tail(s->name, 7));
    if (at < 0 || !is_name(s->name)) {
        (void)buf_printf(mistakes, "line %u: \"%.*s\" is no NAME=value and no comment (#)\n", number, (int)(s->name.n < 40 ? s->name.n : 40), s->name.p);
        return;
    }
    text = slice_trim(slice_tail(line, (size_t)at + 1));
    s->line = number;
    s->value = without_comment(text);
    if (text.n > 0 && (text.p[0] == '"' || text.p[0] == '\'') && !take_quoted(text, in, &s->value)) {
        (void)buf_printf(mistakes, "line %u: %.*s: the quote is not closed on this line\n", number, SLICE(s->name));
        return;
    }
    if (slice_find_char(s->value, '$') >= 0 && text.p[0] != '\'')
        (void)buf_printf(mistakes, "line %u: %.*s: Compose replaces what follows a $; put the value between single quotes\n", number, SLICE(s->name));
    if (config_file_find(f, s->name) != NULL)
        (void)buf_printf(mistakes, "line %u: %.*s: is also in line %u; keep one\n", number, SLICE(s->name), config_file_find(f, s->name)->line);
    s->name = arena_copy(in, s->name);
    s->value = arena_copy(in, s->value);
    f->count++;
}

int config_file_read(const char *path, struct arena *in, struct config_file *out, struct buf *mistakes, struct fault *why)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT(CONFIG_FILE_BYTES_MAX);
    struct slice rest, line;
    unsigned number = 0;
    size_t lines = 1;

    if (read_whole(path, &text, why) < 0)
        return -1;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    *out = (struct config_file){ .settings = arena_alloc_array(in, lines, sizeof(*out->settings)) };
    rest = buf_slice(&text);
    while (slice_cut(&rest, '\n', &line)) {
        number++;
        line = slice_trim(line);
        if (line.n > 0 && line.p[0] != '#')
            take_line(line, number, in, out, mistakes);
    }
    return 0;
}

const struct setting *config_file_find(const struct config_file *f, struct slice name)
{
    for (size_t i = f->count; i-- > 0;)
        if (slice_equal(f->settings[i].name, name))
            return &f->settings[i];
    return NULL;
}
