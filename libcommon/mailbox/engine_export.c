/* engine_export.c - a mailbox as files other programs read: mboxrd and Maildir++.
 *
 * Owns nothing. Called by fe-sqlite and fectl. FAULT_IO and FAULT_DISK_FULL of the target. Bodies go through in chunks, so memory
 * stays flat; the source is one consistent picture. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"

#define OUT_BYTES ((size_t)64 << 10)

struct out { int fd; struct buf buf; };

static int out_flush(struct out *o, struct fault *why)
{
    size_t at = 0;

    while (at < o->buf.n) {
        ssize_t n = write(o->fd, o->buf.p + at, o->buf.n - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault_errno(why, errno, "write export");
        at += (size_t)n;
    }
    buf_reset(&o->buf);
    return 0;
}

static int out_put(struct out *o, struct slice s, struct fault *why)
{
    while (s.n) {
        struct slice now = slice_head(s, OUT_BYTES - o->buf.n);
        (void)buf_append(&o->buf, now);
        s = slice_tail(s, now.n);
        if (o->buf.n == OUT_BYTES && out_flush(o, why) < 0)
            return -1;
    }
    return 0;
}

/* ---- messages of a folder ------------------------------------------------------------------------------ */

struct exporting {
    struct engine *e;
    struct body_reader reader;
    struct arena *arena;              /* reset for each message */
    struct arena *names;              /* keywords of the folder */
    struct slice *keywords;
    size_t keyword_count;
    int (*message)(struct exporting *x, const struct message *m, struct fault *why);
    struct out out;
    int directory;                    /* Maildir folder */
};

static int export_folder(struct exporting *x, int64_t folder, struct fault *why)
{
    struct message m;
    uint32_t uid = 0;
    int r = 0;

    arena_reset(x->names);
    if (keywords_list(x->e, folder, x->names, &x->keywords, &x->keyword_count, why) < 0)
        return -1;
    for (;;) {
        AUTO(db_reset) sqlite3_stmt *q = NULL;
        if (uid == UINT32_MAX ||
            db_query(x->e, &q, why, "SELECT " MESSAGE_COLUMNS " FROM messages WHERE id>? AND id<=? ORDER BY id LIMIT 1",
                     A_INT(MESSAGE_ID(folder, uid)), A_INT(MESSAGE_ID(folder, UINT32_MAX))) < 0)
            return uid == UINT32_MAX ? 0 : -1;
        r = db_step(x->e, q, why);
        if (r <= 0)
            return r;
        message_read(q, &m);
        db_reset(&q);
        uid = m.row.uid;
        arena_reset(x->arena);
        if (body_reader_open(&x->reader, m.body, why) < 0 || x->message(x, &m, why) < 0)
            return -1;
    }
}

/* ---- mboxrd ------------------------------------------------------------------------------------------------ */

static int put_status(struct exporting *x, const struct mailbox_row *row, struct fault *why)
{
    struct buf b = BUF_INIT((size_t)64 << 10);
    bool any = false;
    int r;

    (void)buf_printf(&b, "Status: %sO\n", row->flags & FLAG_SEEN ? "R" : "");
    (void)buf_printf(&b, "X-Status: %s%s%s%s\n", row->flags & FLAG_ANSWERED ? "A" : "",
                     row->flags & FLAG_FLAGGED ? "F" : "", row->flags & FLAG_DRAFT ? "T" : "",
                     row->flags & FLAG_DELETED ? "D" : "");
    for (size_t i = 0; i < x->keyword_count; i++) {
        if (!(row->keywords[i / 64] >> (i % 64) & 1))
            continue;
        (void)buf_printf(&b, "%s%.*s", any ? " " : "X-Keywords: ", SLICE(x->keywords[i]));
        any = true;
    }
    if (any)
        (void)buf_append_char(&b, '\n');
    r = out_put(&x->out, buf_slice(&b), why);
    buf_free(&b);
    return r;
}

/* mboxrd: one '>' more before lines of the form ">*From ". CRLF becomes LF, as mbox readers want. */
static int put_quoted(struct exporting *x, struct slice line, struct fault *why)
{
    size_t i = 0;

    while (i < line.n && line.p[i] == '>')
        i++;
    if (slice_has_prefix(slice_tail(line, i), LIT("From ")) && out_put(&x->out, LIT(">"), why) < 0)
        return -1;
    return out_put(&x->out, line, why);
}

/* Takes whole lines off the buffer; `last`: also what has no line end. */
static int put_lines(struct exporting *x, struct buf *held, const struct mailbox_row *row, bool *in_header, bool last,
                     struct fault *why)
{
    struct slice rest = buf_slice(held);

    while (rest.n) {
        ptrdiff_t end = slice_find_char(rest, '\n');
        struct slice line;
        if (end < 0 && !last && rest.n < OUT_BYTES)
            break;
        line = end < 0 ? rest : slice_head(rest, (size_t)end);
        rest = slice_tail(rest, end < 0 ? rest.n : (size_t)end + 1);
        if (line.n && end >= 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (*in_header && line.n == 0) {
            *in_header = false;
            if (put_status(x, row, why) < 0)
                return -1;
        }
        if (put_quoted(x, line, why) < 0 || ((end >= 0 || last) && out_put(&x->out, LIT("\n"), why) < 0))
            return -1;
    }
    buf_consume(held, held->n - rest.n);
    return 0;
}

static int mbox_message(struct exporting *x, const struct message *m, struct fault *why)
{
    AUTO(buf_free) struct buf held = BUF_INIT(OUT_BYTES + ENGINE_INLINE_MAX + 1);
    struct date_text date = date_format_rfc5322(m->row.internal_ms);
    struct slice piece, from;
    bool in_header = true;
    uint64_t at = 0;

    /* "Tue, 24 Nov 2026 13:18:31 +0000" as asctime: "Tue Nov 24 13:18:31 2026" */
    from = arena_printf(x->arena, "From MAILER-DAEMON %.3s %.3s %.2s %.8s %.4s\n", date.s, date.s + 8, date.s + 5,
                        date.s + 17, date.s + 12);
    if (out_put(&x->out, from, why) < 0)
        return -1;
    while (at < x->reader.size) {
        if (body_reader_at(&x->reader, at, &piece, why) < 0)
            return -1;
        at += piece.n;
        if (buf_append(&held, piece) < 0)
            return fault_set(why, FAULT_LIMIT, "a line is too long to export");
        if (put_lines(x, &held, &m->row, &in_header, at >= x->reader.size, why) < 0)
            return -1;
    }
    if (in_header && put_status(x, &m->row, why) < 0)
        return -1;
    return out_put(&x->out, LIT("\n"), why);
}

static int each_folder(struct engine *e, uint64_t folder_id, struct exporting *x,
                       int (*enter)(struct exporting *x, const struct mailbox_folder *f, struct fault *why),
                       struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct mailbox_folder *list;
    size_t count;
    bool found = false;

    if (engine_list_folders(e, a, &list, &count, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!list[i].exists || (folder_id && list[i].id != folder_id))
            continue;
        found = true;
        if ((enter && enter(x, &list[i], why) < 0) || export_folder(x, (int64_t)list[i].id, why) < 0)
            return -1;
    }
    return found || !folder_id ? 0 : fault_set(why, FAULT_NOT_FOUND, "no such folder");
}

static void exporting_init(struct exporting *x, struct engine *e)
{
    *x = (struct exporting){ .e = e, .arena = arena_new(0), .names = arena_new(0), .directory = -1 };
    buf_init(&x->out.buf, OUT_BYTES);
    body_reader_init(&x->reader, e);
}

static void exporting_end(struct exporting *x)
{
    body_reader_close(&x->reader);
    buf_free(&x->out.buf);
    arena_free(&x->arena);
    arena_free(&x->names);
    if (x->directory >= 0)
        (void)close(x->directory);
}

int engine_export_mbox(struct engine *e, uint64_t folder_id, int fd, struct fault *why)
{
    struct exporting x;
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    exporting_init(&x, e);
    x.message = mbox_message;
    x.out.fd = fd;
    r = each_folder(e, folder_id, &x, NULL, why);
    if (r >= 0)
        r = out_flush(&x.out, why);
    exporting_end(&x);
    read_end(e);
    return r;
}

/* ---- Maildir++ ------------------------------------------------------------------------------------------------- */

/* Keywords are letters a to z in names; which is which stands in dovecot-keywords, as Dovecot reads it. */
static int write_keywords(struct exporting *x, struct fault *why)
{
    int fd, r;

    if (x->keyword_count == 0)
        return 0;
    fd = openat(x->directory, "dovecot-keywords", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fault_errno(why, errno, "export keywords");
    x->out.fd = fd;
    for (size_t i = 0; i < x->keyword_count && i < 26; i++)
        if (x->keywords[i].n)
            (void)out_put(&x->out, arena_printf(x->arena, "%zu %.*s\n", i, SLICE(x->keywords[i])), why);
    r = out_flush(&x->out, why);
    (void)close(fd);
    return r;
}

static struct slice maildir_name(struct exporting *x, const struct mailbox_row *row)
{
    char letters[32];
    size_t n = 0;

    /* in ASCII order */
    if (row->flags & FLAG_DRAFT)
        letters[n++] = 'D';
    if (row->flags & FLAG_FLAGGED)
        letters[n++] = 'F';
    if (row->flags & FLAG_ANSWERED)
        letters[n++] = 'R';
    if (row->flags & FLAG_SEEN)
        letters[n++] = 'S';
    if (row->flags & FLAG_DELETED)
        letters[n++] = 'T';
    for (size_t i = 0; i < 26; i++)
        if (row->keywords[0] >> i & 1)
            letters[n++] = (char)('a' + i);
    return arena_printf(x->arena, "cur/%lld.%u.export,S=%u:2,%.*s", (long long)(row->internal_ms / 1000), row->uid,
                        row->size, (int)n, letters);
}

static int maildir_message(struct exporting *x, const struct message *m, struct fault *why)
{
    struct timespec times[2] = { { .tv_sec = m->row.internal_ms / 1000 }, { .tv_sec = m->row.internal_ms / 1000 } };
    char *name = arena_cstr(x->arena, maildir_name(x, &m->row));
    int fd = openat(x->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r = 0;
    struct slice piece;

    if (fd < 0)
        return fault_errno(why, errno, "export message");
    x->out.fd = fd;
    for (uint64_t at = 0; r >= 0 && at < x->reader.size; at += piece.n) {
        r = body_reader_at(&x->reader, at, &piece, why);
        if (r >= 0)
            r = out_put(&x->out, piece, why);
    }
    if (r >= 0)
        r = out_flush(&x->out, why);
    (void)futimens(fd, times);
    (void)close(fd);
    return r;
}

static int make_maildir(struct exporting *x, const char *path, struct fault *why)
{
    static const char *const inner[] = { "cur", "new", "tmp" };

    if (mkdir(path, 0700) < 0)
        return fault_errno(why, errno, "export folder");
    if (x->directory >= 0)
        (void)close(x->directory);
    x->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (x->directory < 0)
        return fault_errno(why, errno, "export folder");
    for (size_t i = 0; i < COUNT(inner); i++)
        if (mkdirat(x->directory, inner[i], 0700) < 0)
            return fault_errno(why, errno, "export folder");
    return 0;
}

struct maildir { struct exporting x; const char *top; };

/* ".A.B" for A/B; a '.' inside a name becomes '_' since it would part levels. */
static int maildir_folder(struct exporting *x, const struct mailbox_folder *f, struct fault *why)
{
    struct maildir *m = CONTAINER_OF(x, struct maildir, x);
    char path[4096];
    size_t start = (size_t)snprintf(path, sizeof(path), "%s", m->top), end;
    bool inbox = slice_equal(f->path, LIT("INBOX"));

    if (!inbox) {
        end = start + (size_t)snprintf(path + start, sizeof(path) - start, "/.%.*s", SLICE(f->path));
        if (end >= sizeof(path))
            return fault_set(why, FAULT_INVALID, "export path is too long");
        for (size_t i = start + 2; i < end; i++)
            path[i] = path[i] == '/' ? '.' : path[i] == '.' ? '_' : path[i];
        if (make_maildir(x, path, why) < 0)
            return -1;
    } else {
        if (x->directory >= 0)
            (void)close(x->directory);
        x->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (x->directory < 0)
            return fault_errno(why, errno, "export folder");
    }
    if (keywords_list(x->e, (int64_t)f->id, x->arena, &x->keywords, &x->keyword_count, why) < 0)
        return -1;
    return write_keywords(x, why);
}

int engine_export_maildir(struct engine *e, const char *directory, struct fault *why)
{
    struct maildir m = { .top = directory };
    int r;

    if (read_begin(e, why) < 0)
        return -1;
    exporting_init(&m.x, e);
    m.x.message = maildir_message;
    r = make_maildir(&m.x, directory, why);
    if (r < 0 && errno == EEXIST)
        (void)fault_set(why, FAULT_EXISTS, "%s exists", directory);
    if (r >= 0)
        r = each_folder(e, 0, &m.x, maildir_folder, why);
    exporting_end(&m.x);
    read_end(e);
    return r;
}
