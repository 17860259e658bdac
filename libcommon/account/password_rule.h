/* password_rule.h - is a password that a person chose good enough? An estimate of the guesses it would stand.
 *
 * Owns      nothing.
 * Used by   api (passwords of aliases, catch-all passwords, accounts), fectl, web.
 * Threads   any; never suspends, cannot fail.
 *
 * The scale is the usual one of password meters: 0 to 4 for fewer than 10^3, 10^6, 10^8, 10^10 guesses and more. Common passwords and
 * words, what the guesser knows of the person (the penalised inputs), keyboard rows, sequences, repeats and years are cheap.
 */
#pragma once

#include "base/arena.h"

#define PASSWORD_SCORE_LEAST    3
#define PASSWORD_PENALISED_MAX  64     /* words of the penalised inputs; further ones are not looked at */

enum password_verdict { PASSWORD_GOOD, PASSWORD_WEAK, PASSWORD_BAD_CHARACTERS, PASSWORD_TOO_LONG };

/* `penalised`: names, domain, labels... in any spelling; they are taken apart into words of three characters and more. */
unsigned password_rule_score(struct slice password, const struct slice *penalised, size_t count);
/* Also refused: quotes, control characters, what is not UTF-8, blanks at either end, more than PASSWORD_MAX_BYTES. */
enum password_verdict password_rule_check(struct slice password, const struct slice *penalised, size_t count);
/* The key of the REST reference: "INVALID_PASSWORD_STRENGTH", "INVALID_PASSWORD_CHARACTERS"; for PASSWORD_TOO_LONG a sentence. NULL: good. */
const char *password_rule_key(enum password_verdict verdict);
