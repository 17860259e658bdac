/* cmd_mailbox.c - fectl mailbox: check, export and rekey one mailbox, with its password, through the mailbox server. Suspends.
 *
 * Export writes what the server streams: memory stays flat. Files are made with mode 0600; nothing is overwritten.
 */
#include "fectl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mail/keys.h"

struct opened {
    struct alias_doc alias;
    struct domain_doc domain;
    struct secret *password, *data_key;
    struct slice wrap_id;
    struct mailbox *mb;
};

static void opened_close(struct opened *o)
{
    mailbox_close(&o->mb);
    secret_unref(&o->password);
    secret_unref(&o->data_key);
}

static int unlock(struct fectl *f, struct opened *o, struct fault *why)
{
    struct slice address;

    if (fectl_password(f, &o->password, why) < 0)
        return -1;
    if (o->password == NULL)
        return fault_set(why, FAULT_INVALID, "--password-stdin is needed: without a password nobody can open a mailbox");
    if (fectl_argument(f, 0, "the address", &address, why) < 0 || fectl_find_alias(f, address, &o->alias, &o->domain, why) < 0)
        return -1;
    return fectl_unlock(f, &o->alias, secret_slice(o->password), &o->wrap_id, &o->data_key, why);
}

static int open_mailbox(struct fectl *f, struct opened *o, struct fault *why)
{
    if (unlock(f, o, why) < 0)
        return -1;
    return mailbox_open(fectl_mailboxes(f), slice_of(o->alias.id), o->data_key, o->wrap_id, MAILBOX_READ | MAILBOX_WRITE, fectl_until(), &o->mb, why);
}

/* A first password that was interrupted before the file was there. By hand, never by itself: a file that is lost is a fault. */
static int mailbox_create_command(struct fectl *f, struct fault *why)
{
    AUTO(opened_close) struct opened o = { 0 };

    if (unlock(f, &o, why) < 0)
        return -1;
    if (account_mailbox_make(fectl_passwords(f), &o.alias, o.data_key, fectl_until(), why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_EXISTS, "there is a mailbox already; nothing was changed") : -1;
    printf("mailbox created\n");
    return 0;
}

static int mailbox_verify_command(struct fectl *f, struct fault *why)
{
    AUTO(opened_close) struct opened o = { 0 };
    struct slice report = SLICE_NONE;
    int r;

    if (open_mailbox(f, &o, why) < 0)
        return -1;
    r = mailbox_verify(o.mb, f->arena, &report, deadline_in_ms(3600000), why);
    printf("%.*s", SLICE(report));
    return r;
}

/* ---- export ---------------------------------------------------------------------------------------------- */

struct export {
    struct fectl *f;
    struct mailbox *mb;
    bool maildir;
    const char *target;
    FILE *mbox;
    char dir[1024];                            /* Maildir of the folder being written */
    uint64_t count;
};

static void append_letters(char *out, size_t size, uint32_t flags)
{
    (void)snprintf(out, size, "%s%s%s%s%s", flags & FLAG_DRAFT ? "D" : "", flags & FLAG_FLAGGED ? "F" : "", flags & FLAG_ANSWERED ? "R" : "",
                   flags & FLAG_SEEN ? "S" : "", flags & FLAG_DELETED ? "T" : "");
}

static FILE *message_file(struct export *x, const struct mailbox_row *row, char *path, size_t size, struct fault *why)
{
    char letters[8];
    FILE *file;
    int fd;

    append_letters(letters, sizeof(letters), row->flags);
    (void)snprintf(path, size, "%s/cur/%lld.U%u.fectl:2,%s", x->dir, (long long)(row->internal_ms / 1000), row->uid, letters);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL)
        (void)fault_errno(why, errno, "make %s", path);
    return file;
}

/* mboxrd: lines that begin with any number of '>' and "From " get one '>' more. `start`: at the beginning of a line. */
static void write_mboxrd(FILE *out, struct slice piece, bool *start, struct buf *held)
{
    (void)buf_append(held, piece);
    for (;;) {
        struct slice rest = buf_slice(held);
        ptrdiff_t lf = slice_find_char(rest, '\n');
        size_t quotes = 0;

        if (lf < 0)
            break;
        while (quotes < rest.n && rest.p[quotes] == '>')
            quotes++;
        if (slice_has_prefix(slice_tail(rest, quotes), LIT("From ")))
            (void)fputc('>', out);
        (void)fwrite(rest.p, 1, (size_t)lf + 1, out);
        buf_consume(held, (size_t)lf + 1);
    }
    *start = held->n == 0;
}

static int copy_body(struct mailbox_fetch *fetch, FILE *out, bool mboxrd, struct fault *why)
{
    AUTO(buf_free) struct buf held = BUF_INIT(BUF_MAX_DEFAULT);
    struct slice piece;
    bool start = true;

    for (;;) {
        if (mailbox_fetch_read(fetch, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        if (mboxrd)
            write_mboxrd(out, piece, &start, &held);
        else
            (void)fwrite(piece.p, 1, piece.n, out);
    }
    if (mboxrd)
        (void)fprintf(out, "%.*s%s\n", SLICE(buf_slice(&held)), held.n > 0 ? "\n" : "");
    return ferror(out) ? fault_errno(why, errno, "write the export") : 0;
}

static int export_message(struct export *x, struct mailbox_fetch *fetch, const struct mailbox_fetched *m, struct fault *why)
{
    char path[1400], date[32];
    time_t t = (time_t)(m->row.internal_ms / 1000);
    struct tm tm;
    FILE *out = x->mbox;
    int r;

    if (x->maildir) {
        out = message_file(x, &m->row, path, sizeof(path), why);
        if (out == NULL)
            return -1;
    } else {
        (void)gmtime_r(&t, &tm);
        (void)strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
        (void)fprintf(out, "From MAILER-DAEMON %s\n", date);
    }
    r = copy_body(fetch, out, !x->maildir, why);
    if (x->maildir && fclose(out) != 0 && r == 0)
        r = fault_errno(why, errno, "write %s", path);
    x->count++;
    return r;
}

static int export_messages(struct export *x, struct slice folder, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(arena_free) struct arena *one = arena_new(0);
    AUTO(mailbox_fetch_end) struct mailbox_fetch *fetch = NULL;
    struct mailbox_section all = { .kind = SECTION_ALL, .length = UINT64_MAX };
    struct mailbox_view view;
    struct mailbox_fetched m;
    int more;

    if (mailbox_select(x->mb, folder, a, fectl_until(), &view, why) < 0 ||
        mailbox_fetch_begin(x->mb, view.folder.id, view.uids, 0, &all, 1, deadline_in_ms(3600000), &fetch, why) < 0)
        return -1;
    while ((more = mailbox_fetch_next(fetch, one, &m, why)) == 1) {
        if (export_message(x, fetch, &m, why) < 0)
            return -1;
        arena_reset(one);
    }
    return more;
}

static int make_maildir(struct export *x, struct slice folder, struct fault *why)
{
    static const char *const part[] = { "", "/cur", "/new", "/tmp" };
    bool inbox = slice_equal(folder, LIT("INBOX"));
    char path[1100];

    (void)snprintf(x->dir, sizeof(x->dir), inbox ? "%s" : "%s/.%.*s", x->target, SLICE(folder));
    for (char *p = x->dir + strlen(x->target) + 1; !inbox && *p != '\0'; p++)
        if (*p == '/')
            *p = '.';                          /* Maildir++: levels are dots */
    for (size_t i = 0; i < COUNT(part); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", x->dir, part[i]);
        if (mkdir(path, 0700) < 0 && (errno != EEXIST || i != 0 || !inbox))
            return fault_errno(why, errno, "make %s", path);
    }
    return 0;
}

static int open_target(struct export *x, struct fault *why)
{
    int fd;

    if (x->maildir)
        return mkdir(x->target, 0700) < 0 ? fault_errno(why, errno, "make %s", x->target) : 0;
    fd = open(x->target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    x->mbox = fd >= 0 ? fdopen(fd, "w") : NULL;
    return x->mbox != NULL ? 0 : fault_errno(why, errno, "make %s", x->target);
}

static int export_folders(struct export *x, struct fault *why)
{
    struct mailbox_folder *folders;
    size_t count;

    if (mailbox_list_folders(x->mb, x->f->arena, fectl_until(), &folders, &count, why) < 0 || open_target(x, why) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!folders[i].exists)
            continue;
        if ((x->maildir && make_maildir(x, folders[i].path, why) < 0) || export_messages(x, folders[i].path, why) < 0)
            return -1;
    }
    if (x->mbox != NULL && (fflush(x->mbox) != 0 || fsync(fileno(x->mbox)) < 0))
        return fault_errno(why, errno, "write %s", x->target);
    printf("exported %llu messages to %s\n", (unsigned long long)x->count, x->target);
    return 0;
}

static int mailbox_export(struct fectl *f, struct fault *why)
{
    AUTO(opened_close) struct opened o = { 0 };
    struct export x = { .f = f };
    struct slice format;
    int r;

    if (open_mailbox(f, &o, why) < 0 || fectl_argument(f, 1, "the format", &format, why) < 0)
        return -1;
    x.maildir = slice_equal(format, LIT("maildir"));
    if ((!x.maildir && !slice_equal(format, LIT("mbox"))) || f->argc < 3)
        return fault_set(why, FAULT_INVALID, "mbox FILE or maildir FOLDER is needed");
    x.mb = o.mb;
    x.target = f->argv[2];
    r = export_folders(&x, why);
    if (x.mbox != NULL)
        (void)fclose(x.mbox);
    return r;
}

/* ---- rekey -------------------------------------------------------------------------------------------------- */

/* After a compromise: a new data key, and only this password keeps opening it. The document gets the new slot beside the old ones
 * first, so that whichever key the file has after a crash, one slot opens it; then the file; then the old slots go.          */
static int rekey(struct fectl *f, struct opened *o, struct fault *why)
{
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    AUTO(json_release) json_t *wrap = NULL;
    AUTO(json_release) json_t *before = NULL;
    AUTO(json_release) json_t *both = NULL;
    AUTO(json_release) json_t *after = json_array();
    AUTO(sealing_pair_wipe) struct sealing_pair pair;
    struct keys_wrap_options options = { .scope = "all", .description = LIT("rekey") };
    struct slice id = slice_of(o->alias.id);

    derive_sealing_pair(secret_slice(key), &pair);
    if (keys_wrap_make(id, key, secret_slice(o->password), &options, &wrap, why) < 0 || json_parse(o->alias.wraps, 1 << 20, &before, why) < 0)
        return -1;
    both = json_copy(before);
    json_array_append(both, wrap);
    json_array_append(after, wrap);
    if (alias_replace_wraps(f->store, id, before, both, SLICE_NONE, fectl_until(), why) < 0 ||
        mailbox_set_wraps(o->mb, keys_wrap_ids(f->arena, both), fectl_until(), why) < 0 ||
        mailbox_rekey(o->mb, key, slice_make(pair.public_key, 32), deadline_in_ms(3600000), why) < 0 ||
        alias_replace_wraps(f->store, id, both, after, keys_public_text(f->arena, key), fectl_until(), why) < 0)
        return -1;
    fectl_alias_changed(f, o->alias.id);
    return mailbox_set_wraps(o->mb, keys_wrap_ids(f->arena, after), fectl_until(), why);
}

static int mailbox_rekey_command(struct fectl *f, struct fault *why)
{
    AUTO(opened_close) struct opened o = { 0 };

    if (open_mailbox(f, &o, why) < 0 || rekey(f, &o, why) < 0)
        return -1;
    printf("the mailbox has a new key; only the given password opens it now\n");
    return 0;
}

const struct command mailbox_commands[] = {
    { "mailbox", "create", "ADDRESS --password-stdin", "finishes a first password that was interrupted before the mailbox file was there", true, mailbox_create_command },
    { "mailbox", "verify", "ADDRESS --password-stdin", "checks every page, row, body and counter", true, mailbox_verify_command },
    { "mailbox", "export", "ADDRESS mbox FILE | maildir FOLDER --password-stdin", "copies all messages out", true, mailbox_export },
    { "mailbox", "rekey", "ADDRESS --password-stdin", "a new data key after a compromise; other passwords end", true, mailbox_rekey_command },
    { NULL, NULL, NULL, NULL, false, NULL },
};
