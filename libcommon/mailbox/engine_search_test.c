/* engine_search_test.c - SEARCH: a truth table (RFC 9051 6.4.4), and the index against reading everything. */
#include "mailbox/engine_search.h"
#include "mailbox/engine_test_util.h"

#include "base/encode.h"
#include "base/time.h"
#include "wire/casefold.h"

static struct slice found(struct test *t, struct box *b, const struct search_node *n)
{
    struct mailbox_found out;
    struct fault why = { 0 };

    if (engine_search(b->e, box_folder(t, b, "INBOX"), n, t->arena, &out, &why) < 0) {
        test_fail(t, __FILE__, __LINE__, "search: %s", why.text);
        return LIT("?");
    }
    return uid_set_format(out.uids, t->arena);
}

#define TEXT(op_, s)      &(struct search_node){ .op = (op_), .text = LIT(s) }
#define HEADER(f, s)      &(struct search_node){ .op = SEARCH_HEADER, .field = LIT(f), .text = LIT(s) }
#define NUMBER(op_, n)    &(struct search_node){ .op = (op_), .number = (n) }

static struct search_node *pair(struct test *t, enum search_op op, const struct search_node *a, const struct search_node *b)
{
    struct search_node *list = ARENA_ARRAY(t->arena, struct search_node, 3);

    list[0].op = op;
    list[0].children = &list[1];
    list[1] = *a;
    if (b) {
        list[2] = *b;
        list[1].next = &list[2];
    }
    return list;
}

TEST(engine_search, truth_table)
{
    AUTO(box_free) struct box b;
    struct fault why = { 0 };
    struct mailbox_stored s;
    const uint64_t sent = 20781;      /* 2026-11-24, as written; a day later in UTC */

    REQUIRE(box_new(t, &b));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "Hello World", "first body, wörd"), FLAG_SEEN));
    CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "=?utf-8?B?7JWI64WV7ZWY7IS47JqU?=", "second BODY \xed\x95\x9c\xea\xb5\xad\xec\x96\xb4"), 0));
    CHECK(box_append(t, &b, "INBOX", LIT("Subject: plain\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nth\xe9 end"), FLAG_FLAGGED));
    REQUIRE_OK(engine_store(b.e, box_folder(t, &b, "INBOX"), uids_of(t, "3"), STORE_ADD, 0, (struct slice[]){ LIT("Work") }, 1, UINT64_MAX, t->arena, &s, &why), &why);
    const struct { const struct search_node *n; const char *want; } row[] = {
        { NUMBER(SEARCH_ALL, 0), "1:3" },
        { TEXT(SEARCH_BODY, "body"), "1:2" }, { TEXT(SEARCH_BODY, "hello"), "" }, { TEXT(SEARCH_TEXT, "hello"), "1" },
        { TEXT(SEARCH_TEXT, "W\xc3\x96RD"), "1" }, { TEXT(SEARCH_BODY, "TH\xc3\x89 E"), "3" },
        { TEXT(SEARCH_BODY, "\xea\xb5\xad"), "2" }, { HEADER("subject", "\xeb\x85\x95"), "2" },
        { HEADER("subject", "world"), "1" }, { HEADER("from", "world"), "" }, { HEADER("from", ""), "1:2" }, { HEADER("x-none", ""), "" },
        { TEXT(SEARCH_BODY, ""), "1:3" }, { TEXT(SEARCH_BODY, ", "), "1" },
        { NUMBER(SEARCH_FLAG, FLAG_SEEN), "1" }, { TEXT(SEARCH_KEYWORD, "work"), "3" }, { TEXT(SEARCH_KEYWORD, "none"), "" },
        { NUMBER(SEARCH_SENTON, sent), "1:2" }, { NUMBER(SEARCH_SENTBEFORE, sent), "" }, { NUMBER(SEARCH_SENTSINCE, sent), "1:2" },
        { NUMBER(SEARCH_ON, 19675), "1:3" }, { NUMBER(SEARCH_BEFORE, 19675), "" }, { NUMBER(SEARCH_SINCE, 19676), "" },
        { NUMBER(SEARCH_LARGER, 100), "1:2" }, { NUMBER(SEARCH_SMALLER, 100), "3" }, { NUMBER(SEARCH_OLDER, 60), "1:3" },
        { NUMBER(SEARCH_YOUNGER, 60), "" }, { NUMBER(SEARCH_MODSEQ, 5), "3" },
        { pair(t, SEARCH_AND, TEXT(SEARCH_BODY, "body"), HEADER("subject", "hello")), "1" },
        { pair(t, SEARCH_OR, TEXT(SEARCH_BODY, "second"), HEADER("subject", "plain")), "2:3" },
        { pair(t, SEARCH_NOT, pair(t, SEARCH_OR, TEXT(SEARCH_BODY, "second"), HEADER("subject", "plain")), NULL), "1" },
        { pair(t, SEARCH_NOT, HEADER("from", ""), NULL), "3" },
        { pair(t, SEARCH_AND, NUMBER(SEARCH_FLAG, FLAG_SEEN), pair(t, SEARCH_NOT, TEXT(SEARCH_TEXT, "zzz"), NULL)), "1" },
    };
    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_SLICE(i, slice_of(row[i].want), found(t, &b, row[i].n));
}

/* ---- the index against reading ------------------------------------------------------------------------------- */

static const char *const syllables[] = { "ab", "ba", "\xea\xb0\x80", "\xeb\x82\x98", "Q", "\xc3\x84", "\xc3\xa4", "7", "x", "-", ".", " ", " ", "\r\n" };

static struct slice random_text(struct arena *a, size_t n)
{
    AUTO(buf_free) struct buf b = BUF_INIT((size_t)1 << 16);

    for (size_t i = 0; i < n; i++)
        (void)buf_append_cstr(&b, syllables[random_below(COUNT(syllables))]);
    return arena_copy(a, buf_slice(&b));
}

static struct slice one_line(struct arena *a, struct slice s)
{
    struct slice copy = arena_copy(a, s);

    for (size_t i = 0; i < copy.n; i++)
        if (copy.p[i] == '\r' || copy.p[i] == '\n')
            ((char *)(uintptr_t)copy.p)[i] = ' ';
    return copy;
}

enum { MESSAGES = 200, QUERIES = 400 };

static struct search_node *random_query(struct test *t, int depth)
{
    static const enum search_op text_ops[] = { SEARCH_BODY, SEARCH_TEXT, SEARCH_HEADER };
    struct search_node *n = ARENA_NEW(t->arena, struct search_node);

    if (depth < 3 && random_below(3) == 0) {
        n->op = (enum search_op)(SEARCH_AND + random_below(3));
        n->children = random_query(t, depth + 1);
        if (n->op != SEARCH_NOT)
            n->children->next = random_query(t, depth + 1);
        return n;
    }
    n->op = text_ops[random_below(3)];
    n->field = random_below(2) ? LIT("subject") : LIT("x-q");
    n->text = random_text(t->arena, random_below(5));
    return n;
}

static bool brute(struct test *t, const struct search_node *n, const struct search_text *text)
{
    struct buf q = BUF_INIT((size_t)1 << 16);
    struct slice header = buf_slice(&text->header), line, want;
    bool r = false;

    switch (n->op) {
    case SEARCH_AND: return brute(t, n->children, text) && brute(t, n->children->next, text);
    case SEARCH_OR: return brute(t, n->children, text) || brute(t, n->children->next, text);
    case SEARCH_NOT: return !brute(t, n->children, text);
    default: break;
    }
    (void)casefold_utf8(n->text, &q);
    want = arena_copy(t->arena, buf_slice(&q));
    buf_free(&q);
    if (n->op != SEARCH_HEADER)
        return slice_find(buf_slice(&text->body), want) >= 0 || (n->op == SEARCH_TEXT && slice_find(header, want) >= 0);
    while (!r && slice_cut(&header, '\n', &line)) {
        struct slice name = arena_printf(t->arena, "%.*s: ", SLICE(n->field));
        r = slice_has_prefix(line, name) && slice_find(slice_tail(line, name.n), want) >= 0;
    }
    return r;
}

TEST(engine_search, index_never_changes_an_answer)
{
    AUTO(box_free) struct box b;
    struct search_text *texts = calloc(MESSAGES + 1, sizeof(*texts));
    struct fault why = { 0 };
    int64_t segments = 0;

    REQUIRE(texts && box_new(t, &b));
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        struct slice subject = one_line(t->arena, random_text(t->arena, 6)), body = random_text(t->arena, 40);
        struct slice m = arena_printf(t->arena, "Subject: %.*s\r\nX-Q: %.*s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%.*s",
                                      SLICE(subject), SLICE(one_line(t->arena, random_text(t->arena, 3))), SLICE(body));
        CHECK_INT(i, box_append(t, &b, "INBOX", m, 0));
        buf_init(&texts[i].header, (size_t)1 << 20);
        buf_init(&texts[i].body, (size_t)1 << 20);
        CHECK(search_text_render(m, &texts[i]) >= 0);
        if (i == 150)
            CHECK_OK(engine_index_some(b.e, 1000, &why), &why);     /* the rest stays unindexed */
    }
    CHECK_INT(1, db_get(b.e, &segments, &why, "SELECT count(*) FROM segments"));
    CHECK(segments > 0);
    for (int k = 0; k < QUERIES && !t->failures; k++) {
        struct search_node *n = random_query(t, 0);
        struct uid_set_builder want = uid_set_builder_make(t->arena);
        for (uint32_t i = 1; i <= MESSAGES; i++)
            if (brute(t, n, &texts[i]))
                uid_set_add(&want, i);
        CHECK_SLICE(uid_set_format(uid_set_finish(&want), t->arena), found(t, &b, n));
    }
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        buf_free(&texts[i].header);
        buf_free(&texts[i].body);
    }
    free(texts);
}

/* 76 characters a line, so that it is a run the image of a large body leaves out. */
static struct slice base64_lines(struct arena *a, struct slice in)
{
    struct slice text = base64_encode(a, in);
    char *out = arena_alloc(a, text.n + text.n / 76 * 2 + 3), *p = out;

    for (; text.n; text = slice_tail(text, 76)) {
        struct slice line = slice_head(text, 76);
        memcpy(p, line.p, line.n);
        memcpy(p + line.n, "\r\n", 2);
        p += line.n + 2;
    }
    return slice_make(out, (size_t)(p - out));
}

TEST(engine_search, reads_large_bodies)
{
    AUTO(box_free) struct box b;
    char *filler = arena_alloc(t->arena, 700001);
    struct slice text;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 700000; i++)
        filler[i] = i % 60 ? (char)('a' + random_below(5)) : ' ';
    memcpy(filler + 400000, " needle ", 8);
    text = base64_lines(t->arena, slice_make(filler, 700000));
    CHECK(box_append(t, &b, "INBOX", arena_printf(t->arena, "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n%.*s", SLICE(text)), 0));
    CHECK(box_append(t, &b, "INBOX", arena_printf(t->arena, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nneedle in front\r\n--b\r\nContent-Type: x/y\r\n"
                                                            "Content-Transfer-Encoding: base64\r\n\r\n%.*s--b--\r\n", SLICE(text)), 0));
    CHECK(box_append(t, &b, "INBOX", arena_printf(t->arena, "Content-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n%.*s", SLICE(text)), 0));
    CHECK_STR("1:2", found(t, &b, TEXT(SEARCH_BODY, "needle")).p);
    CHECK_STR("2", found(t, &b, TEXT(SEARCH_BODY, "needle in")).p);
}

/* What is read in pieces is the text that rendering the whole message gives. */
static void check_text(struct test *t, struct box *b, struct slice message)
{
    struct search_text want = { BUF_INIT(SEARCH_TEXT_MAX), BUF_INIT(SEARCH_TEXT_MAX) };
    struct search_text got = { BUF_INIT(SEARCH_TEXT_MAX), BUF_INIT(SEARCH_TEXT_MAX) };
    struct body_reader r;
    struct fault why = { 0 };
    int64_t body = 0;

    CHECK(box_append(t, b, "INBOX", message, 0));
    CHECK_OK(db_get(b->e, &body, &why, "SELECT max(id) FROM bodies  "), &why);
    body_reader_init(&r, b->e);
    CHECK_OK(body_reader_open(&r, body, &why), &why);
    CHECK_OK(search_text_of_body(&r, &got, &why), &why);
    CHECK_INT(0, search_text_render(message, &want));
    CHECK(slice_equal(buf_slice(&want.header), buf_slice(&got.header)));
    CHECK(slice_equal(buf_slice(&want.body), buf_slice(&got.body)));
    body_reader_close(&r);
    buf_free(&want.header);
    buf_free(&want.body);
    buf_free(&got.header);
    buf_free(&got.body);
}

TEST(engine_search, reads_in_pieces_what_the_whole_says)
{
    static const char *const charsets[] = { "utf-8", "klingon", "iso-8859-1", "shift_jis", "utf-16le", "iso-2022-jp" };
    static const char *const encodings[] = { "8bit", "quoted-printable", "base64" };
    AUTO(box_free) struct box b;
    const size_t n = 500000;
    char *raw = arena_alloc(t->arena, n);

    REQUIRE(box_new(t, &b));
    for (size_t i = 0; i < COUNT(charsets) * COUNT(encodings); i++) {
        bool is_clean = i % 2 == 0;
        for (size_t j = 0; j < n; j++)      /* lines; characters of several bytes; some rows with junk */
            raw[j] = j % 70 == 69 ? '\n' : is_clean ? "a\xC3\xA9=4 zB\xE2\x82\xAC"[j % 70 % 11] : (char)(1 + random_below(255));
        struct slice body = i / COUNT(charsets) == 2 ? base64_lines(t->arena, slice_make(raw, n)) : slice_make(raw, n);
        struct slice part = arena_printf(t->arena, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
                                         charsets[i % COUNT(charsets)], encodings[i / COUNT(charsets)]);
        const struct slice message[] = {
            LIT("Subject: =?utf-8?q?caf=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"), part, body,
            LIT("\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\ninner text\r\n--b\r\n"
                "Content-Type: x/y; name=File.bin\r\n\r\nno text\r\n--b--\r\n"),
        };
        check_text(t, &b, arena_concat(t->arena, message, COUNT(message)));
    }
}

TEST(engine_search, segments_follow_their_bodies)
{
    AUTO(box_free) struct box b;
    struct fault why = { 0 };
    struct mailbox_expunged x;
    int64_t n = 0;

    REQUIRE(box_new(t, &b));
    for (int i = 0; i < 130; i++)
        CHECK(box_append(t, &b, "INBOX", message_text(t->arena, "s", arena_printf(t->arena, "number%d text", i).p), i < 120 ? FLAG_DELETED : 0));
    CHECK_OK(engine_index_some(b.e, 1000, &why), &why);
    REQUIRE_OK(engine_expunge(b.e, box_folder(t, &b, "INBOX"), UID_SET_EMPTY, t->arena, &x, &why), &why);
    REQUIRE_OK(db_run(b.e, &why, "UPDATE bodies SET died=1 WHERE refs=0"), &why);
    CHECK_OK(engine_tidy(b.e, 1000, &why), &why);
    CHECK_INT(1, db_get(b.e, &n, &why, "SELECT count(*) FROM segments  "));
    CHECK_INT(0, n);
    CHECK_STR("126", found(t, &b, TEXT(SEARCH_BODY, "number125")).p);
    CHECK_STR("121:130", found(t, &b, TEXT(SEARCH_BODY, "text")).p);
    CHECK(box_verify(t, &b));
}
