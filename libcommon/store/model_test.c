/* model_test.c - the typed documents: round trips, lookups, the life of a queued mail, password
 * slots. */
#include "store/store_testing.h"

#define UNTIL deadline_in_ms(20000)

static void add_domain(struct scene *s, struct domain_doc *domain)
{
    struct domain_member *member = ARENA_NEW(s->in, struct domain_member);
    struct test *t = s->t;
    struct fault why;

    (void)snprintf(member->user, sizeof(member->user), "0123456789abcdef01234567");
    member->is_admin = true;
    *domain = domain_new(LIT("example.test"));
    domain->has_smtp = true;
    domain->members = member;
    domain->member_count = 1;
    REQUIRE_OK(domain_insert(s->st, domain, UNTIL, &why), &why);
}

static void add_alias(struct scene *s, const struct domain_doc *domain, const char *name,
                      struct alias_doc *alias)
{
    struct slice *to = ARENA_ARRAY(s->in, struct slice, 1);
    struct test *t = s->t;
    struct fault why;

    to[0] = LIT("elsewhere@example.org");
    *alias = (struct alias_doc){.name = slice_of(name),
                                .is_enabled = true,
                                .error_code_if_disabled = 421,
                                .recipients = to,
                                .recipient_count = 1};
    (void)snprintf(alias->domain, sizeof(alias->domain), "%s", domain->id);
    REQUIRE_OK(alias_insert(s->st, alias, UNTIL, &why), &why);
}

static void body_directory(struct scene *s)
{
    AUTO(directory_free) struct directory *d = directory_new(s->st, 60000);
    struct domain_doc domain, got;
    struct alias_doc alias, found, *list;
    struct test *t = s->t;
    struct fault why;
    size_t n = 0;

    add_domain(s, &domain);
    CHECK_FAULT(
        FAULT_NOT_FOUND,
        directory_get_alias(d, slice_of(domain.id), LIT("jane"), s->in, UNTIL, &found, &why), &why);
    add_alias(s, &domain, "jane", &alias);
    CHECK_FAULT(
        FAULT_NOT_FOUND,
        directory_get_alias(d, slice_of(domain.id), LIT("jane"), s->in, UNTIL, &found, &why), &why);
    directory_forget(d);
    REQUIRE_OK(directory_get_alias(d, slice_of(domain.id), LIT("jane"), s->in, UNTIL, &found, &why),
               &why);
    CHECK_STR(alias.id, slice_of(found.id));
    CHECK_INT(421, found.error_code_if_disabled);
    REQUIRE(found.recipient_count == 1);
    CHECK_STR("elsewhere@example.org", found.recipients[0]);
    found.id[0] = '\0'; /* the same name again */
    CHECK_FAULT(FAULT_EXISTS, alias_insert(s->st, &found, UNTIL, &why), &why);

    add_alias(s, &domain, "*", &alias);
    add_alias(s, &domain, "/^a.*$/", &alias);
    REQUIRE_OK(directory_get_domain(d, LIT("example.test"), s->in, UNTIL, &got, &why), &why);
    CHECK(got.has_catchall && got.has_regex && got.has_smtp && got.has_virus_protection);
    CHECK_INT(10, got.verification_record.n);
    CHECK_STR("25", got.smtp_port);
    REQUIRE(domain_find_member(&got, LIT("0123456789abcdef01234567")) != NULL);
    CHECK(domain_find_member(&got, LIT("0123456789abcdef01234567"))->is_admin);
    CHECK_OK(directory_get_alias(d, slice_of(domain.id), LIT("*"), s->in, UNTIL, &found, &why),
             &why);
    REQUIRE_OK(alias_list_regex(s->st, slice_of(domain.id), s->in, UNTIL, &list, &n, &why), &why);
    CHECK_INT(1, n);
}

TEST(model, lookups_of_the_mail_path)
{
    scene_fresh();
    scene_run(t, body_directory, NULL);
}

static void body_wraps(struct scene *s)
{
    AUTO(json_release)
    json_t *one = json_pack("{s:s,s:s}", "id", "w1", "wrapped", "AA"),
           *two = json_pack("{s:s}", "id", "w2");
    AUTO(json_release) json_t *both = json_pack("[O,O]", one, two), *none = json_array();
    struct domain_doc domain;
    struct alias_doc alias;
    struct test *t = s->t;
    struct slice id;
    struct fault why;

    add_domain(s, &domain);
    add_alias(s, &domain, "jane", &alias);
    id = slice_of(alias.id);
    CHECK_OK(alias_add_wrap(s->st, id, one, LIT("KEY"), 2, UNTIL, &why), &why);
    CHECK_OK(alias_add_wrap(s->st, id, two, SLICE_NONE, 2, UNTIL, &why), &why);
    CHECK_FAULT(FAULT_LIMIT, alias_add_wrap(s->st, id, one, SLICE_NONE, 2, UNTIL, &why), &why);
    CHECK_OK(alias_touch_wrap(s->st, id, LIT("w1"), 1700000000000, UNTIL, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, alias_touch_wrap(s->st, id, LIT("w9"), 0, UNTIL, &why), &why);
    REQUIRE_OK(alias_find(s->st, id, s->in, UNTIL, &alias, &why), &why);
    CHECK(slice_find(alias.wraps, LIT("\"last_used_at\":\"2023-11-14T22:13:20.000Z\"")) > 0);
    CHECK_STR("KEY", alias.sealing_public_key);
    CHECK_FAULT(FAULT_CONFLICT, alias_replace_wraps(s->st, id, none, both, SLICE_NONE, UNTIL, &why),
                &why);
    CHECK_OK(alias_replace_wraps(s->st, id, both, both, LIT("NEW"), UNTIL, &why), &why);
    CHECK_OK(alias_remove_wrap(s->st, id, LIT("w2"), UNTIL, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, alias_remove_wrap(s->st, id, LIT("w2"), UNTIL, &why), &why);
    REQUIRE_OK(alias_find(s->st, id, s->in, UNTIL, &alias, &why), &why);
    CHECK_STR("[{\"id\":\"w1\",\"wrapped\":\"AA\"}]", alias.wraps);
    CHECK_STR("NEW", alias.sealing_public_key);
}

TEST(model, password_slots)
{
    scene_fresh();
    scene_run(t, body_wraps, NULL);
}

static void enqueue(struct scene *s, struct email_doc *email)
{
    struct email_recipient *to = ARENA_ARRAY(s->in, struct email_recipient, 2);
    struct store_blob *b = store_blob_new(s->st);
    struct test *t = s->t;
    struct fault why;

    to[0] = (struct email_recipient){.address = LIT("b@example.org"), .notify = LIT("NEVER")};
    to[1] = (struct email_recipient){.address = LIT("c@example.org")};
    *email =
        (struct email_doc){.from = LIT("a@example.test"), .recipients = to, .recipient_count = 2};
    REQUIRE_OK(store_blob_write(b, LIT("Subject: x\r\n\r\nbody"), &why), &why);
    REQUIRE_OK(email_enqueue(s->st, email, &b, UNTIL, &why), &why);
}

static void body_queue(struct scene *s)
{
    AUTO(json_release) json_t *delivery = json_pack("{s:s}", "recipient", "b@example.org");
    struct email_doc sent, mine, other, *list;
    struct test *t = s->t;
    struct fault why;
    int64_t due = 0;
    size_t n = 0;

    enqueue(s, &sent);
    clock_advance(10);
    REQUIRE_OK(email_claim(s->st, LIT("w1"), 1000, s->in, UNTIL, &mine, &why), &why);
    CHECK_STR(sent.id, slice_of(mine.id));
    CHECK(mine.is_locked && mine.blob.n == 24 && mine.recipient_count == 2);
    CHECK_STR(scene_is_embedded() ? "Subject: x\r\n\r\nbody" : "", mine.message);
    CHECK_STR("NEVER", mine.recipients[0].notify);
    CHECK_FAULT(FAULT_NOT_FOUND, email_claim(s->st, LIT("w2"), 1000, s->in, UNTIL, &other, &why),
                &why);
    CHECK_FAULT(FAULT_CONFLICT, email_cancel(s->st, slice_of(sent.id), UNTIL, &why), &why);
    CHECK_OK(email_renew(s->st, &mine, 5000, UNTIL, &why), &why);
    mine.recipients[0].state = RECIPIENT_ACCEPTED;
    mine.accepted = &mine.recipients[0].address;
    mine.accepted_count = 1;
    CHECK_OK(email_save_progress(s->st, &mine, delivery, UNTIL, &why), &why);

    clock_advance(6000); /* the runner died: its lease ends */
    REQUIRE_OK(email_claim(s->st, LIT("w2"), 1000, s->in, UNTIL, &other, &why), &why);
    CHECK_INT(RECIPIENT_ACCEPTED, other.recipients[0].state);
    CHECK_INT(RECIPIENT_WAITING, other.recipients[1].state);
    CHECK_FAULT(FAULT_CONFLICT, email_finish(s->st, &mine, NULL, UNTIL, &why), &why);
    other.status = LIT("deferred");
    other.attempts = 1;
    other.next_attempt_at = clock_wall_ms() + 60000;
    CHECK_OK(email_finish(s->st, &other, delivery, UNTIL, &why), &why);
    CHECK_OK(email_next_due(s->st, UNTIL, &due, &why), &why);
    CHECK_INT(other.next_attempt_at, due);
    CHECK_FAULT(FAULT_NOT_FOUND, email_claim(s->st, LIT("w2"), 1000, s->in, UNTIL, &other, &why),
                &why);
    CHECK_OK(email_retry_now(s->st, slice_of(sent.id), UNTIL, &why), &why);
    CHECK_OK(email_cancel(s->st, slice_of(sent.id), UNTIL, &why), &why);
    CHECK_FAULT(FAULT_NOT_FOUND, email_retry_now(s->st, slice_of(sent.id), UNTIL, &why), &why);
    CHECK_OK(email_next_due(s->st, UNTIL, &due, &why), &why);
    CHECK_INT(0, due);

    REQUIRE_OK(email_list(s->st, &(struct email_scope){.status = LIT("partially_sent")}, NULL,
                          s->in, UNTIL, &list, &n, &why),
               &why);
    REQUIRE(n == 1);
    CHECK(!list[0].is_locked && list[0].lease.n == 0);
    CHECK_INT(RECIPIENT_FAILED, list[0].recipients[1].state);
    CHECK_STR("[{\"recipient\":\"b@example.org\"},{\"recipient\":\"b@example.org\"}]",
              list[0].deliveries);
}

TEST(model, life_of_a_queued_mail)
{
    scene_fresh();
    clock_fake(1700000000000);
    scene_run(t, body_queue, NULL);
}

static void body_take_back(struct scene *s)
{
    struct email_doc sent, mine, other;
    struct test *t = s->t;
    struct fault why;
    uint64_t n = 0;

    enqueue(s, &sent);
    clock_advance(10);
    enqueue(s, &sent);
    clock_advance(10);
    REQUIRE_OK(email_claim(s->st, LIT("w2"), 1000000, s->in, UNTIL, &other, &why), &why);
    for (int i = 0; i < EMAIL_TAKEN_BACK_MAX; i++) {
        REQUIRE_OK(email_claim(s->st, LIT("w1"), 900000, s->in, UNTIL, &mine, &why), &why);
        CHECK_STR(sent.id, slice_of(mine.id));
        REQUIRE_OK(email_take_back(s->st, LIT("w1"), UNTIL, &n, &why), &why);
        CHECK_INT(1, n);
    }
    REQUIRE_OK(email_claim(s->st, LIT("w1"), 900000, s->in, UNTIL, &mine, &why), &why);
    REQUIRE_OK(email_take_back(s->st, LIT("w1"), UNTIL, &n, &why), &why);
    CHECK_INT(0, n);                /* it may be what kills its runners: the lease decides */
    mine.status = LIT("deferred");
    mine.next_attempt_at = clock_wall_ms() + 60000;
    REQUIRE_OK(email_finish(s->st, &mine, NULL, UNTIL, &why), &why);
    REQUIRE_OK(email_take_back(s->st, LIT("w1"), UNTIL, &n, &why), &why);
    CHECK_INT(0, n);                /* finished: its next try stays when it is */
    clock_advance(70000);
    REQUIRE_OK(email_claim(s->st, LIT("w1"), 900000, s->in, UNTIL, &mine, &why), &why);
    REQUIRE_OK(email_take_back(s->st, LIT("w1"), UNTIL, &n, &why), &why);
    CHECK_INT(1, n);                /* a try that ended began the count anew */
}

TEST(model, what_a_dead_runner_had_is_taken_back)
{
    scene_fresh();
    clock_fake(1700000000000);
    scene_run(t, body_take_back, NULL);
}

static void body_marks(struct scene *s)
{
    const struct slice marks[] = {LIT("m1"), LIT("m2"), LIT("m3")};
    struct test *t = s->t;
    struct fault why;
    bool found[3];

    CHECK_OK(mark_put(s->st, marks[1], UNTIL, &why), &why);
    CHECK_OK(mark_put(s->st, marks[1], UNTIL, &why), &why);
    REQUIRE_OK(mark_find(s->st, marks, 3, found, UNTIL, &why), &why);
    CHECK(!found[0] && found[1] && !found[2]);
}

TEST(model, marks)
{
    scene_fresh();
    scene_run(t, body_marks, NULL);
}

static void body_users(struct scene *s)
{
    struct user_doc user = {.email = LIT("jane@example.test"), .group = LIT("admin"), .has_verified_email = true}, got;
    struct test *t = s->t;
    struct fault why;

    user.api_token_hash = user_token_hash(s->in, LIT("token"));
    REQUIRE_OK(user_insert(s->st, &user, UNTIL, &why), &why);
    REQUIRE_OK(user_find_by_token(s->st, LIT("token"), s->in, UNTIL, &got, &why), &why);
    CHECK_STR("admin", got.group);
    CHECK_FAULT(FAULT_NOT_FOUND,
                user_find_by_token(s->st, user.api_token_hash, s->in, UNTIL, &got, &why), &why);
    CHECK_OK(user_find_by_email(s->st, LIT("Jane@Example.test"), s->in, UNTIL, &got, &why), &why);
}

TEST(model, users)
{
    scene_fresh();
    scene_run(t, body_users, NULL);
}
