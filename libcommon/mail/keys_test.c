/* keys_test.c - password slots: right password, wrong password, and documents changed behind our back. */
#include "mail/keys.h"

#include "base/json.h"
#include "base/test.h"
#include "base/time.h"

static const struct keys_wrap_options all = { .scope = "all" };

static json_t *wrap_for(struct test *t, struct slice alias, const struct secret *key, const char *password,
                        const struct keys_wrap_options *options)
{
    struct fault why;
    json_t *wrap = NULL;

    CHECK_OK(keys_wrap_make(alias, key, slice_of(password), options, &wrap, &why), &why);
    return wrap;
}

TEST(keys, right_password_gives_the_data_key)
{
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    AUTO(secret_unref) struct secret *got = NULL;
    AUTO(json_release) json_t *wrap = wrap_for(t, LIT("a1"), key, "correct horse", &all);
    struct fault why;

    REQUIRE_OK(keys_wrap_open(LIT("a1"), wrap, LIT("correct horse"), 0, &got, &why), &why);
    CHECK(secret_equal(secret_slice(key), secret_slice(got)));
}

TEST(keys, refuses_wrong_password_and_edited_documents)
{
    static const struct { const char *field, *value, *alias, *password; } row[] = {
        { NULL, NULL, "a1", "wrong" },
        { NULL, NULL, "a1", "" },
        { NULL, NULL, "a2", "pw" },                          /* the slot of another alias */
        { "scope", "imap", "a1", "pw" },
        { "id", "5f0000000000000000000000", "a1", "pw" },
        { "expires_at", "2090-01-01T00:00:00.000Z", "a1", "pw" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        AUTO(secret_unref) struct secret *key = keys_data_key_new();
        AUTO(secret_unref) struct secret *got = NULL;
        AUTO(json_release) json_t *wrap = wrap_for(t, LIT("a1"), key, "pw", &all);
        struct fault why;

        if (row[i].field != NULL)
            json_set_slice(wrap, row[i].field, slice_of(row[i].value));
        CHECK_ROW(i, keys_wrap_open(slice_of(row[i].alias), wrap, slice_of(row[i].password), 0, &got, &why) < 0 &&
                     why.code == FAULT_DENIED);
    }
}

TEST(keys, expires)
{
    struct keys_wrap_options soon = { .scope = "imap", .expires_ms = 1000000 };
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    AUTO(secret_unref) struct secret *got = NULL;
    AUTO(json_release) json_t *wrap = wrap_for(t, LIT("a1"), key, "pw", &soon);
    struct fault why;

    CHECK_FAULT(FAULT_DENIED, keys_wrap_open(LIT("a1"), wrap, LIT("pw"), 1000000, &got, &why), &why);
    CHECK_OK(keys_wrap_open(LIT("a1"), wrap, LIT("pw"), 999999, &got, &why), &why);
    CHECK(keys_wrap_allows(wrap, "imap"));
    CHECK(!keys_wrap_allows(wrap, "smtp"));
}

TEST(keys, refuses_absurd_hash_parameters)
{
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    AUTO(secret_unref) struct secret *got = NULL;
    AUTO(json_release) json_t *wrap = wrap_for(t, LIT("a1"), key, "pw", &all);
    struct fault why;

    json_set_int(json_object_get(wrap, "kdf"), "mem_kib", 1LL << 40);
    CHECK_FAULT(FAULT_CORRUPT, keys_wrap_open(LIT("a1"), wrap, LIT("pw"), 0, &got, &why), &why);
}

TEST(keys, sealing_pair_follows_the_data_key)
{
    AUTO(secret_unref) struct secret *key = keys_data_key_new();
    AUTO(secret_unref) struct secret *other = keys_data_key_new();

    CHECK_SLICE(keys_public_text(t->arena, key), keys_public_text(t->arena, key));
    CHECK(!slice_equal(keys_public_text(t->arena, key), keys_public_text(t->arena, other)));
}

TEST(keys, random_texts_have_their_shape)
{
    AUTO(secret_unref) struct secret *password = keys_password_random();
    AUTO(secret_unref) struct secret *code = keys_recovery_code_random();

    CHECK_INT(24, secret_slice(password).n);
    CHECK_INT(39, secret_slice(code).n);
    CHECK_INT('-', secret_slice(code).p[4]);
}
