/* store_test.c - what both engines must do with single documents, filters and updates. */
#include "store/store_testing.h"

#define UNTIL deadline_in_ms(20000)

static json_t *parse(struct scene *s, const char *text)
{
    json_t *v = NULL;
    struct fault why;
    struct test *t = s->t;

    CHECK_OK(json_parse(slice_of(text), 65536, &v, &why), &why);
    return v;
}

static void put(struct scene *s, const char *collection, const char *text)
{
    AUTO(json_release) json_t *doc = parse(s, text);
    struct test *t = s->t;
    struct fault why;

    CHECK_OK(store_insert(s->st, collection, doc, UNTIL, &why), &why);
}

/* Names of what matches, in order, like "a b". */
static struct slice names(struct scene *s, const struct store_filter *f,
                          const struct store_page *page)
{
    static const struct store_sort by_name[] = {{"name", false}, {NULL, false}};
    const struct store_page plain = {.sort = by_name};
    AUTO(json_release) json_t *found = NULL;
    struct slice text = LIT("");
    struct test *t = s->t;
    struct fault why;
    json_t *doc;
    size_t i;

    CHECK_OK(store_find(s->st, DOMAINS, f, page != NULL ? page : &plain, UNTIL, &found, &why),
             &why);
    json_array_foreach(found, i, doc) text = arena_printf(
        s->in, "%.*s%s%.*s", SLICE(text), i > 0 ? " " : "", SLICE(json_get_slice(doc, "name")));
    return text;
}

static void fill(struct scene *s)
{
    put(s, DOMAINS,
        "{\"name\":\"a\",\"n\":1,\"f\":true,\"members\":[{\"user\":\"u1\",\"g\":\"x\"},{\"user\":"
        "\"u2\"}],\"tags\":[\"red\",\"blue\"],\"verification_record\":\"va\"}");
    put(s, DOMAINS,
        "{\"name\":\"b\",\"n\":5,\"f\":false,\"members\":[{\"user\":\"u2\"}],\"tags\":[],\"deep\":{"
        "\"x\":{\"y\":\"Find ME\"}},\"verification_record\":\"vb\"}");
    put(s, DOMAINS, "{\"name\":\"c\",\"n\":\"5\",\"gone\":null,\"verification_record\":\"vc\"}");
    put(s, DOMAINS, "{\"name\":\"d\",\"n\":10,\"verification_record\":\"vd\"}");
}

static void body_filters(struct scene *s)
{
    static const struct slice two[] = {{"a", 1}, {"d", 1}};
    struct test *t = s->t;
    struct store_filter *f, *alt;

    fill(s);
    CHECK_STR("a b c d", names(s, NULL, NULL));
    CHECK_STR("b", names(s, store_filter_text(s->in, "name", LIT("b")), NULL));
    CHECK_STR("", names(s, store_filter_text(s->in, "name", LIT("B")), NULL));
    CHECK_STR("a b", names(s, store_filter_text(s->in, "members.user", LIT("u2")), NULL));
    CHECK_STR("a", names(s, store_filter_text(s->in, "tags", LIT("red")), NULL));
    CHECK_STR("b", names(s, store_filter_text(s->in, "deep.x.y", LIT("Find ME")), NULL));

    f = store_filter_new(s->in);
    store_where_int(f, "n", STORE_GTE, 5);
    CHECK_STR("b d", names(s, f, NULL)); /* "5" is text and has no place among numbers */
    store_where_int(f, "n", STORE_LT, 10);
    CHECK_STR("b", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_bool(f, "f", false);
    CHECK_STR("b", names(s, f, NULL)); /* absent is not false */
    f = store_filter_new(s->in);
    store_where_null(f, "gone");
    CHECK_STR("a b c d", names(s, f, NULL)); /* absent is null */
    store_where_exists(f, "gone", true);
    CHECK_STR("c", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_text(f, "name", STORE_NE, LIT("a"));
    CHECK_STR("b c d", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_in(f, "name", two, 2);
    CHECK_STR("a d", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_not_in(f, "name", two, 2);
    CHECK_STR("b c", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_contains(f, "deep.x.y", LIT("me"));
    CHECK_STR("b", names(s, f, NULL));
    f = store_filter_new(s->in);
    store_where_prefix(f, "verification_record", LIT("v"));
    alt = store_filter_or(f);
    store_where_text(alt, "name", STORE_EQ, LIT("d"));
    alt = store_filter_or(f);
    store_where_text(alt, "tags", STORE_EQ, LIT("blue"));
    CHECK_STR("a d", names(s, f, NULL));
}

TEST(store, filters)
{
    scene_fresh();
    scene_run(t, body_filters, NULL);
}

static void body_pages(struct scene *s)
{
    static const struct store_sort down[] = {{"name", true}, {NULL, false}};
    static const char *const allowed[] = {"name", "created_at", NULL};
    struct store_page page = {.sort = down, .skip = 1, .limit = 2};
    const struct store_sort *sort;
    struct test *t = s->t;
    struct slice *texts;
    struct fault why;
    uint64_t n = 0;
    size_t count;

    fill(s);
    CHECK_STR("c b", names(s, NULL, &page));
    CHECK_OK(store_find_texts(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("c")), NULL, s->in, UNTIL, &texts, &count, &why), &why);
    CHECK(count == 1 && slice_find(texts[0], LIT("\"name\":\"c\"")) > 0);
    CHECK_OK(store_find_texts(s->st, DOMAINS, store_filter_text(s->in, "tags", LIT("red")), &page, s->in, UNTIL, &texts, &count, &why), &why);
    CHECK_INT(0, count);                       /* one matches and is skipped */
    CHECK_OK(store_count(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("c")), UNTIL, &n, &why), &why);
    CHECK_INT(1, n);
    CHECK_OK(store_count(s->st, DOMAINS, NULL, UNTIL, &n, &why), &why);
    CHECK_INT(4, n);
    CHECK_OK(
        store_count(s->st, DOMAINS, store_filter_text(s->in, "tags", LIT("red")), UNTIL, &n, &why),
        &why);
    CHECK_INT(1, n);
    sort = store_sort_parse(s->in, LIT("-name"), allowed, "created_at");
    CHECK(sort[0].descending && slice_equal(slice_of(sort[0].field), LIT("name")));
    sort = store_sort_parse(s->in, LIT("$where"), allowed, "-created_at");
    CHECK(sort[0].descending && slice_equal(slice_of(sort[0].field), LIT("created_at")));
}

TEST(store, pages_and_counts)
{
    scene_fresh();
    scene_run(t, body_pages, NULL);
}

static void body_injection(struct scene *s)
{
    AUTO(json_release)
    json_t *evil = parse(s, "{\"$ne\":\"\"}"),
           *list = parse(s, "[\"a\"]"), *out = NULL;
    AUTO(json_release)
    json_t *doc = parse(s, "{\"name\":\"e\",\"verification_record\":\"ve\",\"$where\":{\"$gt\":1,"
                           "\"a.b\":{\"$oid\":\"x\"}}}");
    struct test *t = s->t;
    struct store_filter *f;
    struct store_update *u;
    struct fault why;

    fill(s);
    f = store_filter_new(s->in);
    store_where_json(f, "name", STORE_EQ, evil);
    CHECK_FAULT(FAULT_INVALID, store_find_one(s->st, DOMAINS, f, NULL, UNTIL, &out, &why), &why);
    f = store_filter_new(s->in);
    store_where_json(store_filter_or(f), "name", STORE_EQ, list);
    CHECK_FAULT(FAULT_INVALID, store_find_one(s->st, DOMAINS, f, NULL, UNTIL, &out, &why), &why);
    f = store_filter_text(s->in, "$where", LIT("1"));
    CHECK_FAULT(FAULT_INVALID, store_find_one(s->st, DOMAINS, f, NULL, UNTIL, &out, &why), &why);
    u = store_update_new(s->in);
    store_set_text(u, "a.$set", LIT("x"));
    CHECK_FAULT(FAULT_INVALID, store_update(s->st, DOMAINS, NULL, u, STORE_MANY, UNTIL, NULL, &why),
                &why);
    CHECK_FAULT(FAULT_INVALID, store_delete(s->st, DOMAINS, NULL, STORE_MANY, UNTIL, NULL, &why),
                &why);
    CHECK_FAULT(FAULT_INVALID, store_find_one(s->st, "nowhere", NULL, NULL, UNTIL, &out, &why),
                &why);

    /* as data, operators are just names */
    CHECK_OK(store_insert(s->st, DOMAINS, doc, UNTIL, &why), &why);
    REQUIRE_OK(store_find_one(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("e")), NULL,
                              UNTIL, &out, &why),
               &why);
    CHECK(json_equal(doc, out));
}

TEST(store, injection_is_refused)
{
    scene_fresh();
    scene_run(t, body_injection, NULL);
}

static void body_unique(struct scene *s)
{
    AUTO(json_release)
    json_t *twin = parse(s, "{\"name\":\"a\",\"verification_record\":\"other\"}");
    AUTO(json_release)
    json_t *one = parse(s, "{\"email\":\"x@y\"}"),
           *two = parse(s, "{\"email\":\"z@y\"}"), *id = NULL;
    struct store_update *u = store_update_new(s->in);
    struct test *t = s->t;
    struct fault why;

    fill(s);
    CHECK_FAULT(FAULT_EXISTS, store_insert(s->st, DOMAINS, twin, UNTIL, &why), &why);
    store_set_text(u, "name", LIT("b"));
    CHECK_FAULT(FAULT_EXISTS,
                store_update(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("a")), u,
                             STORE_ONE, UNTIL, NULL, &why),
                &why);
    /* sparse: neither has a token */
    CHECK_OK(store_insert(s->st, USERS, one, UNTIL, &why), &why);
    CHECK_OK(store_insert(s->st, USERS, two, UNTIL, &why), &why);
    id = json_pack("{s:s,s:s}", "_id", json_string_value(json_object_get(one, "_id")), "email",
                   "new@y");
    CHECK_FAULT(FAULT_EXISTS, store_insert(s->st, USERS, id, UNTIL, &why), &why);
}

TEST(store, unique_indexes)
{
    scene_fresh();
    scene_run(t, body_unique, NULL);
}

static json_t *get(struct scene *s, const char *name)
{
    json_t *doc = NULL;
    struct test *t = s->t;
    struct fault why;

    CHECK_OK(store_find_one(s->st, DOMAINS, store_filter_text(s->in, "name", slice_of(name)), NULL,
                            UNTIL, &doc, &why),
             &why);
    (void)json_object_del(doc, "_id");
    (void)json_object_del(doc, "verification_record");
    return doc;
}

static void body_updates(struct scene *s)
{
    AUTO(json_release)
    json_t *object = parse(s, "{\"k\":1,\"l\":[\"z\"]}"),
           *when = json_string("today"), *doc = NULL, *want = NULL;
    struct store_update *u = store_update_new(s->in);
    struct test *t = s->t;
    struct fault why;
    uint64_t n = 0;

    fill(s);
    store_set_text(u, "new.path", LIT("v\xc3\xa4lue"));
    store_set_json(u, "obj", object);
    store_unset(u, "f");
    store_inc(u, "n", 4);
    store_inc(u, "count", -1);
    store_push(u, "list", object);
    store_pull_text(u, "tags", LIT("red"));
    store_pull_where(u, "members", "user", LIT("u2"));
    store_add_to_set(u, "set", LIT("s"));
    CHECK_OK(store_update(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("a")), u, STORE_ONE,
                          UNTIL, &n, &why),
             &why);
    CHECK_INT(1, n);
    doc = get(s, "a");
    want = parse(s, "{\"name\":\"a\",\"n\":5,\"members\":[{\"user\":\"u1\",\"g\":\"x\"}],\"tags\":["
                    "\"blue\"],\"new\":{\"path\":\"v\xc3\xa4lue\"},"
                    "\"obj\":{\"k\":1,\"l\":[\"z\"]},\"count\":-1,\"list\":[{\"k\":1,\"l\":[\"z\"]}"
                    "],\"set\":[\"s\"]}");
    CHECK(json_equal(doc, want));

    u = store_update_new(s->in);
    store_set_element(u, "members", "user", LIT("u1"), "seen", when);
    store_add_to_set(u, "set", LIT("s"));
    CHECK_OK(store_update(s->st, DOMAINS, NULL, u, STORE_MANY, UNTIL, &n, &why), &why);
    CHECK_INT(1, n); /* only a has such a member */
    json_release(&doc);
    doc = get(s, "a");
    CHECK_STR("today", json_get_slice(json_array_get(json_object_get(doc, "members"), 0), "seen"));
    CHECK_INT(1, json_array_size(json_object_get(doc, "set")));

    u = store_update_new(s->in);
    store_set_bool(u, "all", true);
    CHECK_OK(store_update(s->st, DOMAINS, NULL, u, STORE_MANY, UNTIL, &n, &why), &why);
    CHECK_INT(4, n);
    CHECK_OK(store_update(s->st, DOMAINS, store_filter_text(s->in, "name", LIT("zz")), u, STORE_ONE,
                          UNTIL, &n, &why),
             &why);
    CHECK_INT(0, n);
    CHECK_OK(store_delete(s->st, DOMAINS, store_filter_text(s->in, "members.user", LIT("u2")),
                          STORE_ONE, UNTIL, &n, &why),
             &why);
    CHECK_INT(1, n);
    CHECK_STR("a c d", names(s, NULL, NULL));
}

TEST(store, updates)
{
    scene_fresh();
    scene_run(t, body_updates, NULL);
}

static void body_modify(struct scene *s)
{
    static const struct store_sort by_n[] = {{"n", true}, {NULL, false}};
    AUTO(json_release) json_t *doc = NULL, *first = json_integer(1);
    struct store_update *u = store_update_new(s->in);
    struct store_filter *f = store_filter_new(s->in);
    struct test *t = s->t;
    struct fault why;

    fill(s);
    store_where_int(f, "n", STORE_GT, 0);
    store_inc(u, "n", -10);
    REQUIRE_OK(store_find_and_modify(s->st, DOMAINS, f, by_n, u, STORE_ONE, UNTIL, &doc, &why),
               &why);
    CHECK_STR("d", json_get_slice(doc, "name"));
    CHECK_INT(0, json_get_int(doc, "n", -1));
    json_release(&doc);
    REQUIRE_OK(
        store_find_and_modify(s->st, DOMAINS, f, by_n, u, STORE_RETURN_OLD, UNTIL, &doc, &why),
        &why);
    CHECK_STR("b", json_get_slice(doc, "name"));
    CHECK_INT(5, json_get_int(doc, "n", -1));
    json_release(&doc);

    f = store_filter_text(s->in, "name", LIT("new"));
    CHECK_FAULT(FAULT_NOT_FOUND,
                store_find_and_modify(s->st, DOMAINS, f, NULL, u, STORE_ONE, UNTIL, &doc, &why),
                &why);
    store_set_text(u, "verification_record", LIT("vnew"));
    store_set_on_insert(u, "first", first);
    for (int i = 1; i <= 2; i++) {
        REQUIRE_OK(
            store_find_and_modify(s->st, DOMAINS, f, NULL, u, STORE_UPSERT, UNTIL, &doc, &why),
            &why);
        CHECK_INT(-10 * i, json_get_int(doc, "n", 0));
        CHECK_INT(1, json_get_int(doc, "first", 0));
        CHECK(object_id_is_valid(json_get_slice(doc, "_id")));
        json_release(&doc);
    }
}

TEST(store, find_and_modify)
{
    scene_fresh();
    scene_run(t, body_modify, NULL);
}

static void body_values(struct scene *s)
{
    static const char nul[] = "a\0b";
    AUTO(json_release) json_t *doc = json_object(), *out = NULL;
    struct test *t = s->t;
    struct fault why;

    (void)json_object_set_new(doc, "name", json_stringn(nul, 3));
    (void)json_object_set_new(doc, "big", json_integer(INT64_MAX));
    (void)json_object_set_new(doc, "small", json_integer(-7));
    (void)json_object_set_new(doc, "real", json_real(1.5));
    (void)json_object_set_new(doc, "none", json_null());
    (void)json_object_set_new(doc, "yes", json_true());
    (void)json_object_set_new(doc, "nested", json_pack("[[],{},{s:[i,[]]}]", "q", 1));
    REQUIRE_OK(store_insert(s->st, USERS, doc, UNTIL, &why), &why);
    REQUIRE_OK(store_find_one(s->st, USERS, store_filter_id(s->in, json_get_slice(doc, "_id")),
                              NULL, UNTIL, &out, &why),
               &why);
    CHECK(json_equal(doc, out));
    CHECK_OK(store_ping(s->st, UNTIL, &why), &why);
}

TEST(store, keeps_values_as_they_are)
{
    scene_fresh();
    scene_run(t, body_values, NULL);
}

static void body_logs(struct scene *s)
{
    struct test *t = s->t;
    struct fault why;
    uint64_t n = 0;

    for (int i = 0; i < 300; i++)
        log_doc_add(s->st, &(struct log_doc){.level = LIT("info"),
                                             .event = LIT("test"),
                                             .domain = i % 3 == 0 ? LIT("d") : LIT("e")});
    CHECK_OK(store_log_flush(s->st, UNTIL, &why), &why);
    CHECK_OK(
        store_count(s->st, LOGS, store_filter_text(s->in, "domain", LIT("d")), UNTIL, &n, &why),
        &why);
    CHECK_INT(100, n);
}

TEST(store, logs)
{
    scene_fresh();
    scene_run(t, body_logs, NULL);
}
