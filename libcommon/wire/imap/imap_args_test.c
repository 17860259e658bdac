/* imap_args_test.c - FETCH, SEARCH, LIST, STATUS, CREATE, SELECT and APPEND arguments as text and back. */
#include "base/test.h"
#include "base/buf.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_search_args.h"
#include "wire/uid_set.h"

static struct imap_cursor cursor(struct test *t, const char *text)
{
    return imap_cursor_make(slice_of(text), false, t->arena);
}

TEST(imap_fetch, takes_items)
{
    static const struct { const char *in; const char *want; } row[] = {
        { "FLAGS", "2" }, { "(UID FLAGS)", "3" }, { "FAST", "14" }, { "all", "46" }, { "FULL", "110" }, { "BODY", "64" },
        { "(BODY BODYSTRUCTURE MODSEQ)", "208" },
        { "BODY[]", "0 BODY[] seen" }, { "body.peek[1.2]", "0 BODY[1.2]" }, { "BODY.PEEK[]<0.2048>", "0 BODY[]<0>" },
        { "(BODY.PEEK[HEADER.FIELDS (From \"To\")])", "0 BODY[HEADER.FIELDS (From To)]" },
        { "BODY.PEEK[1.HEADER.FIELDS.NOT (x)]", "0 BODY[1.HEADER.FIELDS.NOT (x)]" }, { "BODY.PEEK[3.mime]", "0 BODY[3.MIME]" },
        { "(BODY.PEEK[TEXT] BODY.PEEK[HEADER])", "0 BODY[TEXT] BODY[HEADER]" },
        { "(RFC822.SIZE RFC822.HEADER RFC822)", "8 RFC822.HEADER RFC822 seen" },
        { "BINARY.PEEK[1]<2.3>", "0 BINARY[1]<2>" }, { "BINARY.SIZE[1]", "0 BINARY.SIZE[1]" }, { "BINARY[]", "0 BINARY[] seen" },
        { "FLAGS (CHANGEDSINCE 5)", "2 since 5" }, { "FLAGS (CHANGEDSINCE 5 VANISHED)", "2 since 5 vanished" },
        { "", NULL }, { "()", NULL }, { "(FLAGS", NULL }, { "NOTHING", NULL }, { "FLAGS UID", NULL }, { "BODY[", NULL },
        { "BODY[1", NULL }, { "BODY[0]", NULL }, { "BODY[1.]", NULL }, { "BODY[1TEXT]", NULL }, { "BODY[MIME]", NULL },
        { "BODY[HEADER.FIELDS]", NULL }, { "BODY[HEADER.FIELDS ()]", NULL }, { "BODY[]<0.0>", NULL }, { "BODY[]<0>", NULL },
        { "BINARY[TEXT]", NULL }, { "FLAGS (VANISHED)", NULL }, { "FLAGS (BOGUS)", NULL }, { "BODYx", NULL },
        { "BODY[1.2.3.4.5.6.7.8.9.1.2.3.4.5.6.7.8.9.1.2.3.4.5.6.7.8.9.1.2.3.4.5.6.7]", NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        AUTO(buf_free) struct buf text = BUF_INIT(4000);
        struct imap_fetch_args a;
        bool ok = imap_take_fetch_args(&c, &a);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        CHECK_ROW(i, ok || c.error);
        if (!ok)
            continue;
        (void)buf_append_u64(&text, a.attrs);
        for (size_t k = 0; k < a.section_count; k++)
            (void)buf_printf(&text, " %.*s", SLICE(a.sections[k].label));
        if (a.sets_seen)
            (void)buf_append_cstr(&text, " seen");
        if (a.has_changedsince)
            (void)buf_printf(&text, " since %d", (int)a.changedsince);
        if (a.vanished)
            (void)buf_append_cstr(&text, " vanished");
        CHECK_ROW_STR(i, row[i].want, buf_slice(&text));
    }
}

static void dump(struct test *t, const struct search_node *n, struct buf *out)
{
    static const char *const names[] = {
        "all", "and", "or", "not", "uids", "flag", "keyword", "before", "on", "since", "sentbefore", "senton", "sentsince",
        "larger", "smaller", "older", "younger", "modseq", "header", "body", "text",
    };

    (void)buf_printf(out, "(%s", names[n->op]);
    if (n->op == SEARCH_UIDS)
        (void)buf_printf(out, " %.*s", SLICE(uid_set_format(n->uids, t->arena)));
    if (n->number)
        (void)buf_printf(out, " %d", (int)n->number);
    if (n->field.n)
        (void)buf_printf(out, " %.*s", SLICE(n->field));
    if (n->text.n)
        (void)buf_printf(out, " '%.*s'", SLICE(n->text));
    for (const struct search_node *k = n->children; k; k = k->next)
        dump(t, k, out);
    (void)buf_append_char(out, ')');
}

TEST(imap_search, builds_trees)
{
    static const struct { const char *in, *want; } row[] = {
        { "ALL", "(all)" }, { "UNSEEN", "(not(flag 1))" }, { "NEW", "(not(all))" }, { "OLD", "(all)" },
        { "SEEN DELETED", "(and(flag 1)(flag 8))" }, { "NOT SEEN", "(not(flag 1))" },
        { "OR SEEN DELETED", "(or(flag 1)(flag 8))" }, { "OR SEEN OR DELETED DRAFT", "(or(flag 1)(flag 8)(flag 16))" },
        { "OR OR SEEN DELETED DRAFT", "(or(or(flag 1)(flag 8))(flag 16))" },
        { "OR (SEEN DRAFT) NOT (FROM a SUBJECT b)", "(or(and(flag 1)(flag 16))(not(and(header from 'a')(header subject 'b'))))" },
        { "HEADER Message-ID <x>", "(header message-id '<x>')" }, { "HEADER X \"\"", "(header x)" },
        { "TEXT {3}\r\na b", "(text 'a b')" }, { "BODY \"\xc3\xa4\"", "(body '\xc3\xa4')" },
        { "1:2", "(uids 10:11)" }, { "2:*", "(uids 11,20)" }, { "UID 11:*", "(uids 11:20)" }, { "*", "(uids 20)" },
        { "$", "(uids 11)" }, { "UID $", "(uids 11)" }, { "9", "(uids )" }, { "KEYWORD $Junk", "(keyword '$Junk')" },
        { "SINCE 1-Feb-2024", "(since 19754)" }, { "SENTON 1-Feb-2024 LARGER 5", "(and(senton 19754)(larger 5))" },
        { "YOUNGER 60", "(younger 60)" }, { "MODSEQ 7", "(modseq 7)" }, { "MODSEQ \"/flags/\\\\draft\" all 7", "(modseq 7)" },
        { "RETURN (MIN COUNT) ALL", "9 (all)" }, { "RETURN () ALL", "4 (all)" }, { "CHARSET UTF-8 SEEN", "(flag 1)" },
        { "CHARSET KOI8-R SEEN", "bad (flag 1)" }, { "TEXT \"\xff\"", "bad (text '\xff')" },
        { "", NULL }, { "BOGUS", NULL }, { "NOT", NULL }, { "OR SEEN", NULL }, { "(SEEN", NULL }, { "SEEN)", NULL }, { "()", NULL },
        { "FROM", NULL }, { "0", NULL }, { "1:", NULL }, { "LARGER x", NULL }, { "ON 31-Feb-2024", NULL }, { "SEENX", NULL },
        { "RETURN (BOGUS) ALL", NULL }, { "RETURN MIN ALL", NULL }, { "YOUNGER 0", NULL }, { "SEEN ", NULL },
    };
    struct uid_set uids = uid_set_union(t->arena, uid_set_make(t->arena, 10, 11), uid_set_make(t->arena, 20, 20));

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        AUTO(buf_free) struct buf text = BUF_INIT(4000);
        struct imap_search_args a;
        bool ok = imap_take_search_args(&c, uids, uid_set_make(t->arena, 11, 12), &a);
        CHECK_ROW(i, ok == (row[i].want != NULL));
        CHECK_ROW(i, ok || c.error);
        if (!ok)
            continue;
        if (a.returns)
            (void)buf_printf(&text, "%u ", a.returns);
        if (a.bad_charset)
            (void)buf_append_cstr(&text, "bad ");
        dump(t, a.program, &text);
        CHECK_ROW_STR(i, row[i].want, buf_slice(&text));
    }
}

TEST(imap_search, has_a_depth)
{
    AUTO(buf_free) struct buf deep = BUF_INIT(100000), wide = BUF_INIT(100000);
    struct imap_search_args a;
    struct imap_cursor c;

    for (int i = 0; i < 500; i++) {
        (void)buf_append_cstr(&deep, "NOT ");
        (void)buf_append_cstr(&wide, "OR TEXT x ");
    }
    (void)buf_append_cstr(&deep, "ALL");
    (void)buf_append_cstr(&wide, "ALL");
    c = imap_cursor_make(buf_slice(&deep), false, t->arena);
    CHECK(!imap_take_search_args(&c, UID_SET_EMPTY, UID_SET_EMPTY, &a));
    c = imap_cursor_make(buf_slice(&wide), false, t->arena);
    CHECK(imap_take_search_args(&c, UID_SET_EMPTY, UID_SET_EMPTY, &a));
}

TEST(imap_list, takes_arguments)
{
    static const struct { const char *in; bool ok; unsigned select, returns; size_t patterns; bool extended; } row[] = {
        { "\"\" *", true, 0, 0, 1, false }, { "\"\" \"\"", true, 0, 0, 1, false }, { "x/ %", true, 0, 0, 1, false },
        { "(SUBSCRIBED) \"\" *", true, IMAP_LIST_SUBSCRIBED, 0, 1, true }, { "() \"\" *", true, 0, 0, 1, true },
        { "\"\" (INBOX a/*) RETURN (CHILDREN)", true, 0, IMAP_LIST_CHILDREN, 2, true },
        { "\"\" % RETURN (STATUS (MESSAGES UNSEEN) SPECIAL-USE)", true, 0, IMAP_LIST_STATUS | IMAP_LIST_SPECIAL_USE, 1, true },
        { "(RECURSIVEMATCH) \"\" *", false, 0, 0, 0, false }, { "(BOGUS) \"\" *", false, 0, 0, 0, false },
        { "\"\"", false, 0, 0, 0, false }, { "\"\" ()", false, 0, 0, 0, false }, { "\"\" * RETURN (X)", false, 0, 0, 0, false },
        { "\"\" * RETURN (STATUS)", false, 0, 0, 0, false }, { "\"\" * x", false, 0, 0, 0, false },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        struct imap_list_args a;
        bool ok = imap_take_list_args(&c, &a);
        CHECK_ROW(i, ok == row[i].ok);
        if (ok)
            CHECK_ROW(i, a.select == row[i].select && a.returns == row[i].returns && a.pattern_count == row[i].patterns &&
                             a.extended == row[i].extended);
    }
}

TEST(imap_select, takes_arguments)
{
    struct imap_select_args s;
    struct imap_create_args k;
    struct imap_cursor c = cursor(t, "INBOX (QRESYNC (67890007 20050715194045000 41,43:211 (1,3 10,30)) CONDSTORE)");

    REQUIRE(imap_take_select_args(&c, &s));
    CHECK(s.qresync && s.condstore && s.uidvalidity == 67890007 && s.modseq == 20050715194045000);
    CHECK_SLICE(LIT("41,43:211"), s.known_uids);
    c = cursor(t, "INBOX (QRESYNC (1 2))");
    CHECK(imap_take_select_args(&c, &s) && s.known_uids.n == 0);
    c = cursor(t, "INBOX (QRESYNC (1 2 (1 2)))");
    CHECK(imap_take_select_args(&c, &s));
    c = cursor(t, "INBOX (QRESYNC (1))");
    CHECK(!imap_take_select_args(&c, &s));
    c = cursor(t, "INBOX (BOGUS)");
    CHECK(!imap_take_select_args(&c, &s));
    c = cursor(t, "x (USE (\\sent))");
    CHECK(imap_take_create_args(&c, &k) && !k.bad_use);
    CHECK_SLICE(LIT("\\Sent"), k.special_use);
    c = cursor(t, "x (USE (\\All))");
    CHECK(imap_take_create_args(&c, &k) && k.bad_use);
    c = cursor(t, "x (USE ())");
    CHECK(imap_take_create_args(&c, &k) && !k.bad_use && k.special_use.n == 0);
}

TEST(imap_append, takes_messages)
{
    static const struct { const char *in; bool ok; uint64_t bytes; bool sync, utf8; } row[] = {
        { "{5}", true, 5, true, false }, { "(\\Seen) {5+}", true, 5, false, false },
        { "(\\Seen) \"24-Nov-2026 13:18:31 +0000\" ~{7}", true, 7, true, false }, { "UTF8 (~{9+}", true, 9, false, true },
        { "", false, 0, false, false }, { "UTF8 ({9+}", false, 0, false, false }, { "\"x\" {5}", false, 0, false, false },
        { "(\\Seen){5}", false, 0, false, false }, { "x {5}", false, 0, false, false },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_cursor c = cursor(t, row[i].in);
        struct imap_append_message m;
        bool ok = imap_take_append_message(&c, &m);
        CHECK_ROW(i, ok == row[i].ok);
        if (ok)
            CHECK_ROW(i, m.literal.bytes == row[i].bytes && m.literal.sync == row[i].sync && m.utf8 == row[i].utf8);
    }
}
