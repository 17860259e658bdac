/* password_rule.c - see password_rule.h. The cheapest way to build the password out of known pieces, by dynamic programming.
 *
 * Owns nothing; called for each chosen password. cost[i] is log10 of the guesses for the first i bytes. Never suspends.
 */
#include "account/password_rule.h"

#include "mail/keys.h"

#define LETTER_COST 0.6                /* a letter after a letter of the same case: it is likely a word we do not list */
#define OTHER_COST  1.0
#define PIECE_COST  0.3                /* guessers must also guess how pieces are put together */
#define RUN_LEAST   3
#define NO_WAY_YET  1e9

/* The more common the earlier; what a sequence or a keyboard row is needs no entry. */
static const char *const common[] = {
    "password", "letmein", "welcome", "admin", "login", "iloveyou", "monkey", "dragon", "master", "sunshine", "princess", "football",
    "baseball", "shadow", "superman", "batman", "trustno", "hello", "freedom", "whatever", "secret", "changeme", "default", "access",
    "pass", "passw", "test", "tester", "testing", "guest", "root", "user", "server", "mail", "email", "love", "lovely", "michael",
    "jordan", "jennifer", "jessica", "ashley", "daniel", "thomas", "robert", "charlie", "andrew", "matthew", "joshua", "george", "anthony",
    "michelle", "nicole", "hunter", "ranger", "buster", "tigger", "soccer", "hockey", "killer", "pepper", "ginger", "summer", "winter",
    "spring", "autumn", "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december",
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "cheese", "cookie", "banana", "orange", "flower",
    "starwars", "matrix", "pokemon", "google", "computer", "internet", "system", "private", "company", "office", "house", "family",
    "correct", "horse", "battery", "staple", "money", "silver", "golden", "diamond", "purple", "yellow", "black", "white", "green", "blue",
    "angel", "jesus", "heaven", "forever", "friend", "friends", "sister", "brother", "mother", "father", "mustang", "harley", "ferrari",
    "porsche", "mercedes", "yankees", "lakers", "chelsea", "arsenal", "liverpool", "barcelona", "london", "berlin", "paris", "texas",
    "america", "canada", "australia", "passwort", "hallo", "schatz", "contrasena", "motdepasse", "senha", "parola", "abcabc", "forward",
    "word", "key", "the", "and", "you", "for", "with", "this", "that", "good", "from", "have", "your", "time", "home", "life", "work",
};

static const char *const rows[] = { "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertz", "azerty", "1qaz2wsx3edc4rfv", "qazwsxedc", "1q2w3e4r5t6z" };

struct meter {
    struct slice text;
    char lower[PASSWORD_MAX_BYTES], plain[PASSWORD_MAX_BYTES];        /* in lower case; also with digits read as letters */
    double cost[PASSWORD_MAX_BYTES + 1];
    struct slice penalised[PASSWORD_PENALISED_MAX];
    size_t penalised_count;
};

/* log10, near enough without a mathematics library: halved to below 2, the rest by a straight line. */
static double magnitude(size_t n)
{
    double v = (double)n, sum = 0;

    while (v >= 2) {
        v /= 2;
        sum += 0.30103;
    }
    return sum + (v - 1) * 0.30103;
}

static void offer(struct meter *m, size_t from, size_t n, double cost)
{
    cost += m->cost[from] + PIECE_COST;
    if (cost < m->cost[from + n])
        m->cost[from + n] = cost;
}

/* ---- words ------------------------------------------------------------------------------------------------- */

static char unleet(char c)
{
    static const char from[] = "4@31!05$7+8", to[] = "aaeiiossttb";
    const char *p = c != '\0' ? strchr(from, c) : NULL;

    return p != NULL ? to[p - from] : c;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* One capital in front is what everybody does; others double the guesses. */
static double case_cost(struct slice word)
{
    size_t capitals = 0;

    for (size_t i = 1; i < word.n; i++)
        capitals += is_upper(word.p[i]);
    return capitals > 0 && capitals < word.n - 1 ? 0.6 : capitals > 0 || is_upper(word.p[0]) ? 0.3 : 0;
}

static bool match_at(const char *in, size_t at, struct slice word, bool backwards)
{
    for (size_t i = 0; i < word.n; i++)
        if (in[at + i] != ascii_lower(word.p[backwards ? word.n - 1 - i : i]))
            return false;
    return true;
}

static void try_word(struct meter *m, size_t at, struct slice word, size_t rank)
{
    double cost = magnitude(rank + 1);

    if (word.n > m->text.n - at)
        return;
    cost += case_cost(slice_sub(m->text, at, word.n));
    if (match_at(m->lower, at, word, false))
        offer(m, at, word.n, cost);
    else if (match_at(m->plain, at, word, false) || match_at(m->lower, at, word, true))
        offer(m, at, word.n, cost + 0.6);
}

static void try_words(struct meter *m, size_t at)
{
    for (size_t i = 0; i < COUNT(common); i++)
        try_word(m, at, slice_of(common[i]), 10 + i);
    for (size_t i = 0; i < m->penalised_count; i++)
        try_word(m, at, m->penalised[i], i);
}

/* ---- patterns ---------------------------------------------------------------------------------------------- */

static bool same_class(char a, char b)
{
    return (ascii_is_digit(a) && ascii_is_digit(b)) || (ascii_is_alpha(a) && ascii_is_alpha(b));
}

/* abc, 7654, aaaa: a constant step of -1, 0, 1 */
static void try_sequence(struct meter *m, size_t at)
{
    int step = at + 1 < m->text.n ? m->lower[at + 1] - m->lower[at] : 2;
    size_t n = 1;

    if (step < -1 || step > 1)
        return;
    while (at + n < m->text.n && m->lower[at + n] - m->lower[at + n - 1] == step && (step == 0 || same_class(m->lower[at + n], m->lower[at + n - 1])))
        if (++n >= RUN_LEAST)
            offer(m, at, n, 1.0 + magnitude(n));
}

static void try_rows(struct meter *m, size_t at)
{
    for (size_t r = 0; r < COUNT(rows); r++) {
        struct slice row = slice_of(rows[r]);

        for (size_t from = 0; from + RUN_LEAST <= row.n; from++)
            for (size_t n = RUN_LEAST; from + n <= row.n && at + n <= m->text.n; n++) {
                if (match_at(m->lower, at, slice_sub(row, from, n), false) || match_at(m->lower, at, slice_sub(row, from, n), true))
                    offer(m, at, n, 1.3 + magnitude(n));
            }
    }
}

static void try_year(struct meter *m, size_t at)
{
    struct slice four = slice_sub(m->text, at, 4);
    bool digits = four.n == 4;

    for (size_t i = 0; i < four.n; i++)
        digits = digits && ascii_is_digit(four.p[i]);
    if (digits && (slice_has_prefix(four, LIT("19")) || slice_has_prefix(four, LIT("20"))))
        offer(m, at, 4, 2.0);
}

/* What stands just before, once more and again. */
static void try_repeats(struct meter *m, size_t at)
{
    for (size_t block = 1; block <= at; block++)
        for (size_t end = at + block; end <= m->text.n && memcmp(m->lower + end - block, m->lower + at - block, block) == 0; end += block)
            offer(m, at, end - at, magnitude((end - at) / block + 1));
}

static void try_one(struct meter *m, size_t at)
{
    char c = m->text.p[at], before = at > 0 ? m->text.p[at - 1] : '\0';
    bool letters = ascii_is_alpha(c) && ascii_is_alpha(before) && is_upper(c) == is_upper(before);
    double cost = m->cost[at] + (letters ? LETTER_COST : OTHER_COST);

    if (cost < m->cost[at + 1])
        m->cost[at + 1] = cost;
}

/* ---- what the callers ask ---------------------------------------------------------------------------------------- */

static bool is_word_byte(char c)
{
    return ascii_is_alnum(c) || (unsigned char)c >= 0x80;
}

static void take_penalised(struct meter *m, struct slice text)
{
    size_t from = 0;

    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && is_word_byte(text.p[i]))
            continue;
        if (i - from >= RUN_LEAST && m->penalised_count < PASSWORD_PENALISED_MAX)
            m->penalised[m->penalised_count++] = slice_sub(text, from, i - from);
        from = i + 1;
    }
}

static void meter_begin(struct meter *m, struct slice password, const struct slice *penalised, size_t count)
{
    m->text = slice_head(password, PASSWORD_MAX_BYTES);
    m->penalised_count = 0;
    for (size_t i = 0; i < m->text.n; i++) {
        m->lower[i] = ascii_lower(m->text.p[i]);
        m->plain[i] = unleet(m->lower[i]);
        m->cost[i + 1] = NO_WAY_YET;
    }
    m->cost[0] = 0;
    for (size_t i = 0; i < count; i++)
        take_penalised(m, penalised[i]);
}

unsigned password_rule_score(struct slice password, const struct slice *penalised, size_t count)
{
    static const double most[] = { 3, 6, 8, 10 };
    struct meter m;
    unsigned score = 0;
    double cost;

    meter_begin(&m, password, penalised, count);
    for (size_t at = 0; at < m.text.n; at++) {
        try_one(&m, at);
        try_words(&m, at);
        try_sequence(&m, at);
        try_rows(&m, at);
        try_year(&m, at);
        try_repeats(&m, at);
    }
    cost = m.cost[m.text.n];
    while (score < COUNT(most) && cost >= most[score])
        score++;
    memory_wipe(&m, sizeof(m));
    return score;
}

static bool has_bad_characters(struct slice password)
{
    for (size_t i = 0; i < password.n; i++) {
        unsigned char c = (unsigned char)password.p[i];

        if (c == '"' || c == '\'' || c < ' ' || c == 0x7f)
            return true;
    }
    return !slice_is_utf8(password) || slice_trim(password).n != password.n;
}

enum password_verdict password_rule_check(struct slice password, const struct slice *penalised, size_t count)
{
    if (password.n > PASSWORD_MAX_BYTES)
        return PASSWORD_TOO_LONG;
    if (has_bad_characters(password))
        return PASSWORD_BAD_CHARACTERS;
    return password_rule_score(password, penalised, count) >= PASSWORD_SCORE_LEAST ? PASSWORD_GOOD : PASSWORD_WEAK;
}

const char *password_rule_key(enum password_verdict verdict)
{
    switch (verdict) {
    case PASSWORD_GOOD:
        return NULL;
    case PASSWORD_WEAK:
        return "INVALID_PASSWORD_STRENGTH";
    case PASSWORD_BAD_CHARACTERS:
        return "INVALID_PASSWORD_CHARACTERS";
    case PASSWORD_TOO_LONG:
        return "A password has at most 128 bytes.";
    }
    return NULL;
}
