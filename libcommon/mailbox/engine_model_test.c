/* engine_model_test.c - random operations of 20 sessions against a model: UIDs ascend and are never used twice, no MODSEQ is above
 * HIGHESTMODSEQ, and sessions that only read changes end with the same picture as the mailbox (RFC 7162 3).
 */
#include "mailbox/engine_test_util.h"

#include "base/time.h"

enum { SESSIONS = 20, FOLDERS = 3, ROUNDS = 1500, UIDS = 4000 };

static const char *const names[FOLDERS] = { "INBOX", "Archive", "Trash" };

struct seen { bool there; uint32_t flags; uint64_t keywords; uint64_t modseq; };
struct picture { uint64_t modseq; struct seen at[UIDS]; };

struct model {
    struct box box;
    uint64_t ids[FOLDERS];
    uint32_t last_uid[FOLDERS];
    struct picture (*sessions)[FOLDERS];
    struct engine_body *bodies[4];
};

static void catch_up(struct test *t, struct model *m, struct picture *p, int folder)
{
    struct mailbox_changes c;
    struct fault why = { 0 };
    struct uid_set_iter i;
    uint32_t uid;

    REQUIRE_OK(engine_get_changes(m->box.e, m->ids[folder], p->modseq, UID_SET_EMPTY, t->arena, &c, &why), &why);
    for (size_t k = 0; k < c.row_count; k++) {
        CHECK(c.rows[k].modseq <= c.folder.highestmodseq && c.rows[k].modseq > p->modseq);
        p->at[c.rows[k].uid] = (struct seen){ true, c.rows[k].flags, c.rows[k].keywords[0], c.rows[k].modseq };
    }
    i = uid_set_iterate(c.vanished);
    while (uid_set_next(&i, &uid))
        p->at[uid].there = false;
    CHECK(c.folder.highestmodseq <= c.modseq && c.modseq >= p->modseq);
    p->modseq = c.modseq;
}

static void compare_with_rows(struct test *t, struct model *m, struct picture *p, int folder)
{
    struct mailbox_row *rows;
    struct fault why = { 0 };
    size_t count, k = 0;

    REQUIRE_OK(engine_get_rows(m->box.e, m->ids[folder], uid_set_make(t->arena, 1, UINT32_MAX), t->arena, &rows, &count, &why), &why);
    for (uint32_t uid = 1; uid < UIDS; uid++) {
        bool is = k < count && rows[k].uid == uid;
        if (p->at[uid].there != is)
            test_fail(t, __FILE__, __LINE__, "folder %d uid %u: session %d, mailbox %d", folder, uid, p->at[uid].there, is);
        if (!is)
            continue;
        CHECK(p->at[uid].flags == rows[k].flags && p->at[uid].keywords == rows[k].keywords[0] &&
              p->at[uid].modseq == rows[k].modseq);
        k++;
    }
}

static struct uid_set random_uids(struct test *t, const struct model *m, int folder)
{
    struct uid_set_builder b = uid_set_builder_make(t->arena);
    uint32_t last = m->last_uid[folder];

    for (uint64_t n = 1 + random_below(4); n && last; n--) {
        uint32_t first = 1 + (uint32_t)random_below(last);
        uid_set_add_range(&b, first, first + (uint32_t)random_below(6));
    }
    return uid_set_finish(&b);
}

static void note_uids(struct test *t, struct model *m, int folder, struct uid_set uids)
{
    if (uids.count == 0)
        return;
    CHECK(uids.ranges[0].first > m->last_uid[folder]);
    m->last_uid[folder] = uid_set_max(uids);
}

static void one_operation(struct test *t, struct model *m)
{
    static struct slice words[] = { { "a", 1 }, { "b", 1 }, { "c", 1 } };
    int from = (int)random_below(FOLDERS), to = (int)random_below(FOLDERS);
    struct fault why = { 0 };
    struct mailbox_appended a;
    struct mailbox_copied c;
    struct mailbox_stored s;
    struct mailbox_expunged x;

    switch (random_below(8)) {
    case 0:
    case 1: {
        struct engine_message one = { .body = m->bodies[random_below(4)], .flags = (uint32_t)random_below(32) };
        if (m->last_uid[from] + 2 >= UIDS)
            break;
        CHECK_OK(engine_append(m->box.e, slice_of(names[from]), &one, 1, t->arena, &a, &why), &why);
        note_uids(t, m, from, a.uids);
        break;
    }
    case 2:
        if (m->last_uid[to] + 60 >= UIDS)
            break;
        CHECK_OK(engine_copy(m->box.e, m->ids[from], random_uids(t, m, from), slice_of(names[to]), t->arena, &c, &why), &why);
        CHECK(uid_set_count(c.from) == uid_set_count(c.to));
        note_uids(t, m, to, c.to);
        break;
    case 3:
        if (m->last_uid[to] + 60 >= UIDS)
            break;
        CHECK_OK(engine_move(m->box.e, m->ids[from], random_uids(t, m, from), slice_of(names[to]), t->arena, &c, &why), &why);
        note_uids(t, m, to, c.to);
        break;
    case 4:
        CHECK_OK(engine_expunge(m->box.e, m->ids[from], random_below(2) ? UID_SET_EMPTY : random_uids(t, m, from), t->arena, &x, &why), &why);
        break;
    default:
        CHECK_OK(engine_store(m->box.e, m->ids[from], random_uids(t, m, from), (enum mailbox_store_mode)random_below(3),
                              (uint32_t)random_below(32), words, random_below(4),
                              random_below(3) ? UINT64_MAX : engine_modseq(m->box.e) - random_below(20), t->arena, &s, &why), &why);
        CHECK(s.modseq - s.from_modseq <= 1);
        break;
    }
}

/* Some operations in one commit; some of them undone as an item; sometimes all of them undone. */
static void one_batch(struct test *t, struct model *m)
{
    struct fault why = { 0 };
    uint32_t before[FOLDERS];
    bool undo = random_below(10) == 0;

    memcpy(before, m->last_uid, sizeof(before));
    REQUIRE_OK(engine_begin(m->box.e, &why), &why);
    for (uint64_t n = 1 + random_below(5); n; n--) {
        uint32_t saved[FOLDERS];
        memcpy(saved, m->last_uid, sizeof(saved));
        REQUIRE_OK(engine_item_begin(m->box.e, &why), &why);
        one_operation(t, m);
        if (random_below(6) == 0) {
            engine_item_abort(m->box.e);
            memcpy(m->last_uid, saved, sizeof(saved));
        } else {
            REQUIRE_OK(engine_item_commit(m->box.e, &why), &why);
        }
    }
    if (undo) {
        engine_abort(m->box.e);
        memcpy(m->last_uid, before, sizeof(before));
    } else {
        REQUIRE_OK(engine_commit(m->box.e, &why), &why);
    }
}

static void run_model(struct test *t, struct model *m)
{
    for (int round = 0; round < ROUNDS && !t->failures; round++) {
        size_t session = random_below(SESSIONS);
        int folder = (int)random_below(FOLDERS);
        if (random_below(3))
            one_operation(t, m);
        else
            one_batch(t, m);
        catch_up(t, m, &m->sessions[session][folder], folder);
        if (round % 300 == 299) {
            CHECK(box_reopen(t, &m->box));
            CHECK(box_verify(t, &m->box));
        }
        arena_reset(t->arena);
    }
    for (int s = 0; s < SESSIONS; s++)
        for (int f = 0; f < FOLDERS; f++) {
            catch_up(t, m, &m->sessions[s][f], f);
            compare_with_rows(t, m, &m->sessions[s][f], f);
        }
}

TEST(engine_model, sessions_that_read_changes_agree)
{
    struct model m = { .sessions = calloc(SESSIONS, sizeof(*m.sessions)) };
    struct fault why = { 0 };

    if (!m.sessions || !box_new(t, &m.box)) {
        test_fail(t, __FILE__, __LINE__, "no mailbox");
        return;
    }
    for (int i = 0; i < 4; i++)
        CHECK_OK(engine_body_make(m.box.e, message_text(t->arena, "s", i ? i == 1 ? "a" : "bb" : "ccc"), &m.bodies[i], &why), &why);
    for (int f = 0; f < FOLDERS; f++)
        m.ids[f] = box_folder(t, &m.box, names[f]);
    run_model(t, &m);
    CHECK(box_verify(t, &m.box));
    for (int i = 0; i < 4; i++)
        engine_body_free(&m.bodies[i]);
    box_free(&m.box);
    free(m.sessions);
}
