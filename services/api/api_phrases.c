/* api_phrases.c - the sentence for each key: what happened and what to do. Constant; sorted by key. */
#include "api.h"

static const struct { const char *key, *text; } phrases[] = {
    { "ACCOUNT_BANNED", "This account has been suspended. Please contact the administrator of this server." },
    { "ALIAS_ALREADY_EXISTS", "There is an alias of that name on this domain already." },
    { "ALIAS_DOES_NOT_EXIST", "There is no such alias on this domain." },
    { "BLOCKED", "Requests from this account or address are blocked on this server." },
    { "BODY_NOT_AN_OBJECT", "The body of the request must be a JSON object." },
    { "BODY_TOO_LARGE", "The body of the request is too large." },
    { "CHANGED_MEANWHILE", "Somebody else changed this at the same moment. Please try again." },
    { "DOMAIN_DOES_NOT_EXIST", "There is no such domain on your account." },
    { "EMAIL_ALREADY_TAKEN", "Another account uses this e-mail address already." },
    { "EMAIL_VERIFICATION_REQUIRED", "The e-mail address of this account has not been confirmed yet. Please ask the administrator of this server." },
    { "INTERNAL_ERROR", "Something went wrong on the server. It has been logged; please try again later." },
    { "INVALID_API_CREDENTIALS", "Credentials are missing: send them with HTTP Basic authentication." },
    { "INVALID_API_TOKEN", "This API token is not valid." },
    { "INVALID_BODY", "The body of the request could not be read." },
    { "INVALID_CREDENTIALS", "The address or the password is wrong." },
    { "INVALID_EMAIL", "This is not a valid e-mail address." },
    { "INVALID_FORM", "The form could not be read: check its encoding, boundary and number of fields." },
    { "INVALID_JSON", "The body of the request is not valid JSON." },
    { "INVALID_QUERY", "The query of the address could not be read: check its encoding." },
    { "INVALID_URL", "This is not a valid http or https address." },
    { "INVALID_VALUE", "A value of the request is not acceptable." },
    { "IS_NOT_ADMIN", "Only an administrator of this domain may do this." },
    { "METHOD_NOT_ALLOWED", "This address does not support that method." },
    { "NOT_FOUND", "There is nothing at this address. Please check the path." },
    { "NO_RESULTS_FOUND", "There is no domain or alias of yours that matches." },
    { "RATE_LIMIT_EXCEEDED", "Too many requests. Please wait for the time that Retry-After says." },
    { "SETTINGS_ALIASES_DEFAULTS_MUST_BE_OBJECT", "settings.aliases.defaults must be an object." },
    { "SETTINGS_ALIAS_AUTH_REQUIRED", "Settings belong to a mailbox: sign in with its address and password." },
    { "SETTINGS_FOLDER_INVALID", "A folder in settings.mail must be a path, or null." },
    { "SETTINGS_INVALID", "settings must be an object of at most 256 KB." },
    { "SETTINGS_LABEL_KEYWORD_INVALID", "A label's keyword must begin with a letter, digit, \\ or $, and go on with letters, digits, _ . or -; its colour is #RRGGBB or #RRGGBBAA." },
    { "TIMED_OUT", "The request took too long. Please try again." },
    { "TOO_MANY_FAILURES", "Too many wrong passwords from this address. Please try again in an hour." },
    { "UNAVAILABLE", "A part of the server is not available at the moment. Please try again shortly." },
};

const char *api_phrase(const char *key)
{
    for (size_t i = 0; i < COUNT(phrases); i++)
        if (strcmp(phrases[i].key, key) == 0)
            return phrases[i].text;
    return key;
}
