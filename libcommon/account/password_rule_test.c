/* password_rule_test.c - which passwords are too easily guessed. */
#include "account/password_rule.h"

#include "base/test.h"
#include "mail/keys.h"

TEST(password_rule, refuses_what_is_easily_guessed)
{
    static const char *const row[] = {
        "", "a", "password", "Password1", "P4ssw0rd!", "passwordpassword", "123456789012", "qwertyuiop", "QWERTZ123", "aaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnop", "abcabcabcabcabcabc", "letmein2024", "drowssap", "elephant1", "summer2023", "welcome1234", "zyxwvut", "19871988",
        "jane.doe", "JaneDoe1999", "example.com2024", "doejane!", "asdfghjkl123", "iloveyou!!", "monkeydragon", "1q2w3e4r5t",
    };
    static const struct slice known[] = { LIT("jane.doe"), LIT("example.com") };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, password_rule_check(slice_of(row[i]), known, COUNT(known)) == PASSWORD_WEAK);
}

TEST(password_rule, takes_what_is_not)
{
    static const char *const row[] = {
        "kR7vTq2Lx9", "tulip-canoe-ridge-velvet", "gH8#mz!Qp2", "Wandering 7 otters hum", "correct horse battery staple", "8f3a9c1e7b2d4056",
        "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 7 \xd0\xbc\xd0\xb8\xd1\x80",
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, password_rule_check(slice_of(row[i]), NULL, 0) == PASSWORD_GOOD);
    for (int i = 0; i < 50; i++) {
        AUTO(secret_unref) struct secret *made = keys_password_random();

        CHECK_INT(4, password_rule_score(secret_slice(made), NULL, 0));
    }
}

TEST(password_rule, knows_what_the_guesser_knows)
{
    static const struct slice known[] = { LIT("Marigold Featherstone"), LIT("quixotry.example") };

    CHECK_INT(PASSWORD_GOOD, password_rule_check(LIT("featherstone.quixotry"), NULL, 0));
    CHECK_INT(PASSWORD_WEAK, password_rule_check(LIT("featherstone.quixotry"), known, COUNT(known)));
    CHECK_INT(PASSWORD_WEAK, password_rule_check(LIT("M4rigold!"), known, COUNT(known)));
}

TEST(password_rule, refuses_characters_and_length)
{
    static const struct { const char *in; enum password_verdict want; } row[] = {
        { "kR7vTq2Lx9\"", PASSWORD_BAD_CHARACTERS }, { "kR7'vTq2Lx9", PASSWORD_BAD_CHARACTERS }, { " kR7vTq2Lx9", PASSWORD_BAD_CHARACTERS },
        { "kR7vTq2Lx9 ", PASSWORD_BAD_CHARACTERS }, { "kR7v\tTq2Lx9", PASSWORD_BAD_CHARACTERS }, { "kR7vTq2Lx9\xff", PASSWORD_BAD_CHARACTERS },
    };
    char longest[PASSWORD_MAX_BYTES + 1];

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, password_rule_check(slice_of(row[i].in), NULL, 0) == row[i].want);
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = (char)('!' + 7 + i * i * 37 % 80);
    CHECK_INT(PASSWORD_TOO_LONG, password_rule_check(slice_make(longest, sizeof(longest)), NULL, 0));
    CHECK_INT(PASSWORD_GOOD, password_rule_check(slice_make(longest, PASSWORD_MAX_BYTES), NULL, 0));
    for (int i = 0; i <= PASSWORD_TOO_LONG; i++)
        CHECK_ROW(i, (password_rule_key((enum password_verdict)i) == NULL) == (i == PASSWORD_GOOD));
}
