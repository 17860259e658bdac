/* imap_fake_test.c - the mailbox of imap_fake.h, and logins that know one password.
 *
 * Replaces libcommon/rpc and mail/login in this test program. Never suspends.
 */
#include "imap_fake.h"

#include "mail/login.h"
#include "wire/uid_set.h"

struct fake fake;

struct mailbox { int unused; };
struct mailbox_fetch { struct fake_folder *folder; struct uid_set uids; size_t next; const char *body; size_t sections, at, done; };
struct mailbox_append { unsigned folder; char text[4096]; size_t n; uint32_t flags[FAKE_MESSAGES_MAX]; size_t starts[FAKE_MESSAGES_MAX]; size_t count; };

static struct mailbox the_mailbox;

void fake_reset(void)
{
    fake = (struct fake){ .modseq = 1, .generation = 1 };
}

static struct fake_folder *folder_of(uint64_t id)
{
    return &fake.folders[id - 1];
}

uint32_t fake_add(unsigned folder, const char *body, uint32_t flags)
{
    struct fake_folder *f = folder_of(folder);
    struct fake_message *m = &f->messages[f->count++];

    *m = (struct fake_message){ .uid = (uint32_t)f->count, .flags = flags, .modseq = ++fake.modseq, .body = body };
    return m->uid;
}

void fake_flag(unsigned folder, uint32_t uid, uint32_t flags)
{
    struct fake_message *m = &folder_of(folder)->messages[uid - 1];

    m->flags = flags;
    m->modseq = ++fake.modseq;
}

void fake_remove(unsigned folder, uint32_t uid)
{
    struct fake_message *m = &folder_of(folder)->messages[uid - 1];

    m->gone = true;
    m->modseq = ++fake.modseq;
}

static int fails(struct fault *why)
{
    enum fault_code code = fake.fail;

    fake.fail = FAULT_NONE;
    return code ? fault_set(why, code, "as the test wished") : 0;
}

static int find_path(struct slice path, uint64_t *id, struct fault *why)
{
    if (fails(why) < 0)
        return -1;
    *id = slice_equal(path, LIT("INBOX")) ? 1 : slice_equal(path, LIT("There")) ? 2 : 0;
    return *id ? 0 : fault_set(why, FAULT_NOT_FOUND, "no folder");
}

static struct mailbox_row row_of(const struct fake_message *m)
{
    return (struct mailbox_row){ .uid = m->uid, .size = (uint32_t)strlen(m->body), .flags = m->flags, .modseq = m->modseq };
}

static struct mailbox_folder counters(uint64_t id)
{
    struct fake_folder *f = folder_of(id);
    struct mailbox_folder out = { .id = id, .path = id == 1 ? LIT("INBOX") : LIT("There"), .exists = true, .uidvalidity = 7,
                                  .uidnext = (uint32_t)f->count + 1 };

    for (size_t i = 0; i < f->count; i++) {
        if (f->messages[i].modseq > out.highestmodseq)
            out.highestmodseq = f->messages[i].modseq;
        if (!f->messages[i].gone)
            out.messages++;
    }
    return out;
}

/* ---- life and folders ------------------------------------------------------------------------------------------------ */

int mailbox_open(struct mailbox_server *s, struct slice alias_id, const struct secret *data_key, struct slice wrap_id, unsigned scope,
                 struct deadline until, struct mailbox **out, struct fault *why)
{
    (void)s, (void)alias_id, (void)data_key, (void)wrap_id, (void)scope, (void)until;
    *out = &the_mailbox;
    return fails(why);
}

void mailbox_close(struct mailbox **mb)
{
    *mb = NULL;
}

uint64_t mailbox_generation(const struct mailbox *mb)
{
    (void)mb;
    return fake.generation;
}

int mailbox_get_usage(struct mailbox *mb, struct deadline until, struct mailbox_usage *out, struct fault *why)
{
    (void)mb, (void)until;
    *out = (struct mailbox_usage){ .bytes_used = 2000, .bytes_quota = 10240 };
    return fails(why);
}

int mailbox_list_folders(struct mailbox *mb, struct arena *in, struct deadline until, struct mailbox_folder **out, size_t *count, struct fault *why)
{
    (void)mb, (void)until;
    *out = ARENA_ARRAY(in, struct mailbox_folder, 2);
    (*out)[0] = counters(1);
    (*out)[1] = counters(2);
    *count = 2;
    return fails(why);
}

int mailbox_get_folder(struct mailbox *mb, struct slice path, struct arena *in, struct deadline until, struct mailbox_folder *out, struct fault *why)
{
    uint64_t id;

    (void)mb, (void)in, (void)until;
    if (find_path(path, &id, why) < 0)
        return -1;
    *out = counters(id);
    return 0;
}

int mailbox_create_folder(struct mailbox *mb, struct slice path, struct slice special_use, struct deadline until, struct fault *why)
{
    (void)mb, (void)path, (void)special_use, (void)until;
    return fails(why);
}

int mailbox_delete_folder(struct mailbox *mb, struct slice path, struct deadline until, struct fault *why)
{
    (void)mb, (void)path, (void)until;
    return fails(why);
}

int mailbox_rename_folder(struct mailbox *mb, struct slice from, struct slice to, struct deadline until, struct fault *why)
{
    (void)mb, (void)from, (void)to, (void)until;
    return fails(why);
}

int mailbox_subscribe(struct mailbox *mb, struct slice path, bool on, struct deadline until, struct fault *why)
{
    (void)mb, (void)path, (void)on, (void)until;
    return fails(why);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

int mailbox_select(struct mailbox *mb, struct slice path, struct arena *in, struct deadline until, struct mailbox_view *out, struct fault *why)
{
    struct uid_set_builder b = uid_set_builder_make(in);
    uint64_t id;

    (void)mb, (void)until;
    if (find_path(path, &id, why) < 0)
        return -1;
    for (size_t i = 0; i < folder_of(id)->count; i++)
        if (!folder_of(id)->messages[i].gone)
            uid_set_add(&b, folder_of(id)->messages[i].uid);
    *out = (struct mailbox_view){ .folder = counters(id), .modseq = fake.modseq, .uids = uid_set_finish(&b) };
    return 0;
}

static size_t rows_since(uint64_t id, struct uid_set within, uint64_t since, struct arena *in, struct mailbox_row **out, struct uid_set *vanished)
{
    struct uid_set_builder b = uid_set_builder_make(in);
    size_t n = 0;

    *out = ARENA_ARRAY(in, struct mailbox_row, FAKE_MESSAGES_MAX);
    for (size_t i = 0; i < folder_of(id)->count; i++) {
        const struct fake_message *m = &folder_of(id)->messages[i];
        if (m->modseq <= since || (within.count && !uid_set_contains(within, m->uid)))
            continue;
        if (m->gone)
            uid_set_add(&b, m->uid);
        else
            (*out)[n++] = row_of(m);
    }
    *vanished = uid_set_finish(&b);
    return n;
}

int mailbox_get_rows(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in, struct deadline until, struct mailbox_row **out,
                     size_t *count, struct fault *why)
{
    struct uid_set vanished;

    (void)mb, (void)until;
    *count = rows_since(folder_id, uids, 0, in, out, &vanished);
    return fails(why);
}

int mailbox_get_changes(struct mailbox *mb, uint64_t folder_id, uint64_t since_modseq, struct uid_set within, struct arena *in, struct deadline until,
                        struct mailbox_changes *out, struct fault *why)
{
    (void)mb, (void)until;
    fake.change_calls++;
    if (fails(why) < 0)
        return -1;
    if (fake.folder_gone)
        return fault_set(why, FAULT_NOT_FOUND, "gone");
    *out = (struct mailbox_changes){ .modseq = fake.modseq, .folder = counters(folder_id) };
    out->row_count = rows_since(folder_id, within, since_modseq, in, &out->rows, &out->vanished);
    return 0;
}

int mailbox_search(struct mailbox *mb, uint64_t folder_id, const struct search_node *program, struct arena *in, struct deadline until,
                   struct mailbox_found *out, struct fault *why)
{
    struct mailbox_row *rows;
    struct uid_set_builder b = uid_set_builder_make(in);
    struct uid_set vanished;
    size_t n = rows_since(folder_id, UID_SET_EMPTY, 0, in, &rows, &vanished);

    (void)mb, (void)program, (void)until;
    for (size_t i = 0; i < n; i++)
        uid_set_add(&b, rows[i].uid);
    *out = (struct mailbox_found){ .uids = uid_set_finish(&b) };
    return fails(why);
}

/* ---- contents ------------------------------------------------------------------------------------------------------------- */

int mailbox_fetch_begin(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, unsigned items, const struct mailbox_section *sections,
                        size_t section_count, struct deadline until, struct mailbox_fetch **out, struct fault *why)
{
    (void)mb, (void)items, (void)sections, (void)until;
    if (fails(why) < 0)
        return -1;
    *out = calloc(1, sizeof(**out));
    **out = (struct mailbox_fetch){ .folder = folder_of(folder_id), .uids = uids, .sections = section_count };
    return 0;
}

int mailbox_fetch_next(struct mailbox_fetch *f, struct arena *in, struct mailbox_fetched *out, struct fault *why)
{
    (void)in;
    if (fails(why) < 0)
        return -1;
    while (f->next < f->folder->count) {
        const struct fake_message *m = &f->folder->messages[f->next++];
        if (m->gone || !uid_set_contains(f->uids, m->uid))
            continue;
        *out = (struct mailbox_fetched){ .row = row_of(m), .envelope = LIT("(ENV)"), .bodystructure = LIT("(STRUCT)"), .body = LIT("(BODY)") };
        for (size_t i = 0; i < f->sections; i++) {
            out->sections[i].exists = true;
            out->sections[i].bytes = strlen(m->body);
        }
        f->body = m->body;
        f->done = 0;
        return 1;
    }
    return 0;
}

/* Two bytes at a time, and an empty piece at the end of each section. */
int mailbox_fetch_read(struct mailbox_fetch *f, struct slice *piece, struct fault *why)
{
    struct slice rest = slice_tail(slice_of(f->body), f->done);

    if (fake.cut_body && f->done > 0)
        return fault_set(why, FAULT_UNAVAILABLE, "cut");
    *piece = slice_head(rest, 2);
    f->done = piece->n ? f->done + piece->n : 0;
    return 0;
}

void mailbox_fetch_end(struct mailbox_fetch **f)
{
    free(*f);
    *f = NULL;
}

/* ---- changing --------------------------------------------------------------------------------------------------------------- */

int mailbox_store(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, enum mailbox_store_mode mode, uint32_t flags, const struct slice *keywords,
                  size_t keyword_count, uint64_t unchanged_since, struct arena *in, struct deadline until, struct mailbox_stored *out, struct fault *why)
{
    struct uid_set_builder conflicts = uid_set_builder_make(in);

    (void)mb, (void)keywords, (void)keyword_count, (void)until;
    if (fails(why) < 0)
        return -1;
    *out = (struct mailbox_stored){ .from_modseq = fake.modseq, .rows = ARENA_ARRAY(in, struct mailbox_row, FAKE_MESSAGES_MAX) };
    for (size_t i = 0; i < folder_of(folder_id)->count; i++) {
        struct fake_message *m = &folder_of(folder_id)->messages[i];
        uint32_t now = mode == STORE_SET ? flags : mode == STORE_ADD ? m->flags | flags : m->flags & ~flags;
        if (m->gone || !uid_set_contains(uids, m->uid) || now == m->flags)
            continue;
        if (m->modseq > unchanged_since) {
            uid_set_add(&conflicts, m->uid);
            continue;
        }
        m->flags = now;
        m->modseq = out->from_modseq + 1;
        fake.modseq = m->modseq;
        out->rows[out->row_count++] = row_of(m);
    }
    out->modseq = fake.modseq;
    out->conflicts = uid_set_finish(&conflicts);
    return 0;
}

int mailbox_expunge(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct arena *in, struct deadline until, struct mailbox_expunged *out, struct fault *why)
{
    struct uid_set_builder b = uid_set_builder_make(in);

    (void)mb, (void)until;
    if (fails(why) < 0)
        return -1;
    *out = (struct mailbox_expunged){ .from_modseq = fake.modseq };
    for (size_t i = 0; i < folder_of(folder_id)->count; i++) {
        struct fake_message *m = &folder_of(folder_id)->messages[i];
        if (m->gone || !(m->flags & FLAG_DELETED) || (uids.count && !uid_set_contains(uids, m->uid)))
            continue;
        fake_remove((unsigned)folder_id, m->uid);
        uid_set_add(&b, m->uid);
    }
    out->uids = uid_set_finish(&b);
    out->modseq = fake.modseq;
    return 0;
}

int mailbox_copy(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct deadline until,
                 struct mailbox_copied *out, struct fault *why)
{
    struct uid_set_builder from = uid_set_builder_make(in), to = uid_set_builder_make(in);
    uint64_t id;

    (void)mb, (void)until;
    if (find_path(to_path, &id, why) < 0)
        return -1;
    *out = (struct mailbox_copied){ .uidvalidity = 7, .from_modseq = fake.modseq };
    for (size_t i = 0, count = folder_of(folder_id)->count; i < count; i++) {
        const struct fake_message *m = &folder_of(folder_id)->messages[i];
        if (m->gone || !uid_set_contains(uids, m->uid))
            continue;
        uid_set_add(&from, m->uid);
        uid_set_add(&to, fake_add((unsigned)id, m->body, m->flags));
    }
    out->from = uid_set_finish(&from);
    out->to = uid_set_finish(&to);
    out->modseq = fake.modseq;
    return 0;
}

int mailbox_move(struct mailbox *mb, uint64_t folder_id, struct uid_set uids, struct slice to_path, struct arena *in, struct deadline until,
                 struct mailbox_copied *out, struct fault *why)
{
    struct uid_set_iter i;
    uint32_t uid;

    if (mailbox_copy(mb, folder_id, uids, to_path, in, until, out, why) < 0)
        return -1;
    i = uid_set_iterate(out->from);
    while (uid_set_next(&i, &uid))
        fake_remove((unsigned)folder_id, uid);
    out->modseq = fake.modseq;
    return 0;
}

/* ---- appending ---------------------------------------------------------------------------------------------------------------- */

int mailbox_append_begin(struct mailbox *mb, struct slice path, struct deadline until, struct mailbox_append **out, struct fault *why)
{
    uint64_t id;

    (void)mb, (void)until;
    if (find_path(path, &id, why) < 0)
        return -1;
    *out = calloc(1, sizeof(**out));
    (*out)->folder = (unsigned)id;
    return 0;
}

int mailbox_append_message(struct mailbox_append *a, uint64_t size_bytes, uint32_t flags, const struct slice *keywords, size_t keyword_count,
                           int64_t internal_ms, struct fault *why)
{
    (void)size_bytes, (void)keywords, (void)keyword_count, (void)internal_ms;
    if (a->count)
        a->text[a->n++] = '\0';
    a->flags[a->count] = flags;
    a->starts[a->count++] = a->n;
    return fails(why);
}

int mailbox_append_write(struct mailbox_append *a, struct slice bytes, struct fault *why)
{
    memcpy(a->text + a->n, bytes.p, bytes.n);
    a->n += bytes.n;
    return fails(why);
}

int mailbox_append_commit(struct mailbox_append **a, struct arena *in, struct mailbox_appended *out, struct fault *why)
{
    struct uid_set_builder b = uid_set_builder_make(in);

    if (fails(why) < 0)
        return -1;
    *out = (struct mailbox_appended){ .uidvalidity = 7, .from_modseq = fake.modseq };
    for (size_t i = 0; i < (*a)->count; i++)
        uid_set_add(&b, fake_add((*a)->folder, "appended", (*a)->flags[i]));
    out->uids = uid_set_finish(&b);
    out->modseq = fake.modseq;
    mailbox_append_abort(a);
    return 0;
}

void mailbox_append_abort(struct mailbox_append **a)
{
    free(*a);
    *a = NULL;
}

/* ---- login ---------------------------------------------------------------------------------------------------------------------- */

int login_check(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until, struct arena *in,
                struct login_result *out, struct fault *why)
{
    (void)l, (void)username, (void)peer_ip, (void)until, (void)in;
    if (!slice_equal(password, LIT("secret")))
        return fault_set(why, FAULT_DENIED, "wrong password");
    *out = (struct login_result){ .alias_id = "0123456789abcdef01234567", .data_key = secret_random(32), .has_imap = true };
    return 0;
}

void login_forget(struct login *l, struct slice alias_id)
{
    (void)l, (void)alias_id;
}
