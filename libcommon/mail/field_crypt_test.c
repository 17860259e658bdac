/* field_crypt_test.c - there and back, and what must not open. */
#include "mail/field_crypt.h"

#include "base/test.h"

TEST(field_crypt, opens_only_with_key_and_label)
{
    AUTO(secret_unref) struct secret *key = secret_new(LIT("k1"));
    AUTO(secret_unref) struct secret *other = secret_new(LIT("k2"));
    struct slice text = field_encrypt(t->arena, key, "dkim a", LIT("PEM")), back;
    struct fault why;

    REQUIRE_OK(field_decrypt(t->arena, key, "dkim a", text, &back, &why), &why);
    CHECK_STR("PEM", back);
    CHECK_FAULT(FAULT_CORRUPT, field_decrypt(t->arena, key, "dkim b", text, &back, &why), &why);
    CHECK_FAULT(FAULT_CORRUPT, field_decrypt(t->arena, other, "dkim a", text, &back, &why), &why);
    CHECK_FAULT(FAULT_CORRUPT, field_decrypt(t->arena, key, "dkim a", slice_head(text, text.n - 2), &back, &why), &why);
    CHECK_FAULT(FAULT_CORRUPT, field_decrypt(t->arena, key, "dkim a", LIT(""), &back, &why), &why);
}
