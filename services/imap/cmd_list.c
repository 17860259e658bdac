/* cmd_list.c - LIST with LIST-EXTENDED (RFC 9051 6.3.9, RFC 5258, RFC 5819, RFC 6154), and LSUB (RFC 3501 6.3.9).
 *
 * Own nothing. Called by imap_dispatch.c. Suspend once, for the folders; the counters of RETURN (STATUS ...) come with them.
 */
#include "commands.h"
#include "imap_session.h"
#include "imap_status.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_format.h"
#include "wire/imap/imap_name.h"

struct folder_list {
    struct mailbox_folder *folders;             /* by path */
    size_t count;
};

static int by_path(const void *a, const void *b)
{
    const struct mailbox_folder *x = a, *y = b;

    return slice_compare(x->path, y->path);
}

static int get_folders(struct imap_cmd *cmd, struct folder_list *out)
{
    if (mailbox_list_folders(cmd->session->mailbox, cmd->arena, cmd->until, &out->folders, &out->count, &cmd->why) < 0)
        return -1;
    if (out->count > 1)
        qsort(out->folders, out->count, sizeof(out->folders[0]), by_path);
    return 0;
}

static bool is_below(struct slice path, struct slice parent)
{
    return path.n > parent.n && path.p[parent.n] == '/' && slice_has_prefix(path, parent);
}

/* ---- one line ------------------------------------------------------------------------------------------------------------ */

static void put_attribute(struct buf *out, bool *first, struct slice name)
{
    if (!*first)
        (void)buf_append_char(out, ' ');
    *first = false;
    (void)buf_append(out, name);
}

struct list_line {
    const struct mailbox_folder *folder;
    bool has_children;
    bool child_info;                            /* RECURSIVEMATCH: something below is subscribed */
    bool subscribed_wanted, extended;
};

static void put_list_line(struct imap_cmd *cmd, const struct list_line *line)
{
    const struct mailbox_folder *f = line->folder;
    struct buf *out = imap_out(cmd);
    bool first = true;

    (void)buf_append(out, LIT("* LIST ("));
    if (!f->exists)
        put_attribute(out, &first, line->extended ? LIT("\\NonExistent") : LIT("\\Noselect"));
    if (line->subscribed_wanted && f->subscribed)
        put_attribute(out, &first, LIT("\\Subscribed"));
    put_attribute(out, &first, line->has_children ? LIT("\\HasChildren") : LIT("\\HasNoChildren"));
    if (f->special_use.n)
        put_attribute(out, &first, f->special_use);
    (void)buf_append(out, LIT(") \"/\" "));
    (void)imap_put_mailbox(out, f->path, imap_session_uses_utf8(cmd->session), cmd->arena);
    if (line->child_info)
        (void)buf_append(out, LIT(" (\"CHILDINFO\" (\"SUBSCRIBED\"))"));
    (void)buf_append(out, LIT("\r\n"));
}

/* ---- LIST ------------------------------------------------------------------------------------------------------------------ */

/* The reference stands in front of each pattern, unless the pattern begins at the root. */
static void apply_reference(struct imap_cmd *cmd, struct imap_list_args *args)
{
    if (args->reference.n == 0)
        return;
    for (size_t i = 0; i < args->pattern_count; i++)
        if (args->patterns[i].n == 0 || args->patterns[i].p[0] != '/')
            args->patterns[i] = arena_concat(cmd->arena, (const struct slice[]){ args->reference, args->patterns[i] }, 2);
}

static bool matches_any(const struct imap_list_args *args, struct slice path)
{
    for (size_t i = 0; i < args->pattern_count; i++)
        if (imap_name_matches(args->patterns[i], path))
            return true;
    return false;
}

static bool is_selected(const struct imap_list_args *args, const struct mailbox_folder *f)
{
    if ((args->select & IMAP_LIST_SUBSCRIBED) && !f->subscribed)
        return false;
    return !(args->select & IMAP_LIST_SPECIAL_USE) || f->special_use.n > 0;
}

/* What stands below folder `at`: sorted paths that begin with it, with others between ("a", "a b", "a/c"). */
static void look_below(const struct folder_list *all, size_t at, const struct imap_list_args *args, struct list_line *line)
{
    struct slice path = all->folders[at].path;

    for (size_t i = at + 1; i < all->count && slice_has_prefix(all->folders[i].path, path); i++) {
        if (!is_below(all->folders[i].path, path))
            continue;
        line->has_children = line->has_children || all->folders[i].exists;
        line->child_info = line->child_info || ((args->select & IMAP_LIST_RECURSIVEMATCH) && is_selected(args, &all->folders[i]));
    }
}

static void list_one(struct imap_cmd *cmd, const struct folder_list *all, size_t at, const struct imap_list_args *args)
{
    const struct mailbox_folder *f = &all->folders[at];
    struct list_line line = {
        .folder = f, .extended = args->extended || (cmd->session->enabled & ENABLED_REV2),
        .subscribed_wanted = (args->select | args->returns) & IMAP_LIST_SUBSCRIBED,
    };

    if (!matches_any(args, f->path))
        return;
    look_below(all, at, args, &line);
    if (!is_selected(args, f) && !line.child_info)
        return;
    if (!f->exists && !line.has_children && !(args->select & IMAP_LIST_SUBSCRIBED))
        return;
    put_list_line(cmd, &line);
    if ((args->returns & IMAP_LIST_STATUS) && f->exists)
        imap_put_status(cmd, f, args->status_items);
}

int cmd_list(struct imap_cmd *cmd)
{
    struct imap_list_args args;
    struct folder_list all;

    if (!imap_take_list_args(&cmd->args, &args))
        return imap_reply_args(cmd);
    if (!args.extended && args.patterns[0].n == 0) {
        imap_untagged(cmd, "LIST (\\Noselect) \"/\" \"\"");
        return imap_reply_ok(cmd, "LIST completed");
    }
    if (get_folders(cmd, &all) < 0)
        return imap_reply_fault(cmd);
    if (args.status_items & IMAP_STATUS_HIGHESTMODSEQ)
        cmd->session->enabled |= ENABLED_CONDSTORE;
    apply_reference(cmd, &args);
    for (size_t i = 0; i < all.count; i++)
        list_one(cmd, &all, i, &args);
    return imap_reply_ok(cmd, "LIST completed");
}

/* ---- LSUB ------------------------------------------------------------------------------------------------------------------ */

static void put_lsub_line(struct imap_cmd *cmd, struct slice path, bool selectable)
{
    struct buf *out = imap_out(cmd);

    (void)buf_append(out, selectable ? LIT("* LSUB () \"/\" ") : LIT("* LSUB (\\Noselect) \"/\" "));
    (void)imap_put_mailbox(out, path, imap_session_uses_utf8(cmd->session), cmd->arena);
    (void)buf_append(out, LIT("\r\n"));
}

/* With "%" a subscribed a/b shows up as a parent a that is not itself subscribed (RFC 3501 6.3.9). */
static void lsub_parent(struct imap_cmd *cmd, const struct folder_list *all, struct slice path, struct slice pattern, struct slice *last)
{
    for (size_t i = 0; i < path.n; i++) {
        struct slice parent = slice_head(path, i);
        bool subscribed = false;
        if (path.p[i] != '/' || !imap_name_matches(pattern, parent) || slice_equal(parent, *last))
            continue;
        for (size_t k = 0; k < all->count; k++)
            subscribed = subscribed || (all->folders[k].subscribed && slice_equal(all->folders[k].path, parent));
        if (!subscribed)
            put_lsub_line(cmd, parent, false);
        *last = parent;
    }
}

int cmd_lsub(struct imap_cmd *cmd)
{
    struct imap_list_args args;
    struct folder_list all;
    struct slice last_parent = SLICE_NONE;

    if (!imap_take_list_args(&cmd->args, &args) || args.extended)
        return imap_reply_args(cmd);
    if (get_folders(cmd, &all) < 0)
        return imap_reply_fault(cmd);
    apply_reference(cmd, &args);
    for (size_t i = 0; i < all.count; i++) {
        const struct mailbox_folder *f = &all.folders[i];
        if (!f->subscribed)
            continue;
        if (imap_name_matches(args.patterns[0], f->path))
            put_lsub_line(cmd, f->path, f->exists);
        else
            lsub_parent(cmd, &all, f->path, args.patterns[0], &last_parent);
    }
    return imap_reply_ok(cmd, "LSUB completed");
}
