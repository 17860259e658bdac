/* smtp.c - SMTP command lines: verbs, MAIL and RCPT with their parameters, BDAT (RFC 5321 4.1,
 * 3030, 3461, 6531, 8689).
 *
 * Owns nothing; results live in the input or the caller's arena. Called by net/smtp_server. Peers'
 * mistakes come back as replies. Never suspends.
 */
#include "wire/smtp.h"

#include "base/encode.h"

enum smtp_verb smtp_parse_verb(struct slice line, struct slice *argument)
{
    static const struct {
        const char *name;
        enum smtp_verb verb;
    } row[] = {
        {"HELO", SMTP_HELO},    {"EHLO", SMTP_EHLO},    {"MAIL", SMTP_MAIL},
        {"RCPT", SMTP_RCPT},    {"DATA", SMTP_DATA},    {"BDAT", SMTP_BDAT},
        {"RSET", SMTP_RSET},    {"NOOP", SMTP_NOOP},    {"VRFY", SMTP_VRFY},
        {"EXPN", SMTP_EXPN},    {"HELP", SMTP_HELP},    {"QUIT", SMTP_QUIT},
        {"AUTH", SMTP_AUTH},    {"GET", SMTP_HTTP},     {"STARTTLS", SMTP_STARTTLS},
        {"POST", SMTP_HTTP},    {"HEAD", SMTP_HTTP},    {"PUT", SMTP_HTTP},
        {"CONNECT", SMTP_HTTP}, {"OPTIONS", SMTP_HTTP},
    };
    ptrdiff_t space = slice_find_char(line, ' ');
    struct slice verb = space < 0 ? line : slice_head(line, (size_t)space);

    *argument = space < 0 ? SLICE_NONE : slice_trim(slice_tail(line, (size_t)space));
    for (size_t i = 0; i < COUNT(row); i++)
        if (slice_equal_nocase(slice_trim_right(verb), slice_of(row[i].name)))
            return row[i].verb;
    return SMTP_UNKNOWN;
}

static bool refuse(struct smtp_reply *out, int code, const char *enhanced, const char *text)
{
    *out = (struct smtp_reply){code, enhanced, slice_of(text)};
    return false;
}

/* "<path>" at the front of *rest; the inside goes to *out. A source route is dropped (RFC
 * 5321 4.1.1.3). */
static bool cut_brackets(struct slice *rest, struct slice *out)
{
    struct slice in;
    ptrdiff_t end, colon;

    *rest = slice_trim_left(*rest);
    if (rest->n == 0 || rest->p[0] != '<')
        return false;
    end = slice_find_char(*rest, '>');
    if (end < 0)
        return false;
    in = slice_sub(*rest, 1, (size_t)end - 1);
    *rest = slice_tail(*rest, (size_t)end + 1);
    if (rest->n > 0 && rest->p[0] != ' ')
        return false;
    if (in.n > 0 && in.p[0] == '@') {
        colon = slice_find_char(in, ':');
        if (colon < 0)
            return false;
        in = slice_tail(in, (size_t)colon + 1);
    }
    *out = in;
    return true;
}

/* "FROM:" or "TO:", the bracketed path behind it; what is left are parameters. */
static bool cut_path(struct slice *rest, struct slice keyword, struct slice *path,
                     struct smtp_reply *no)
{
    if (!slice_has_prefix_nocase(*rest, keyword))
        return refuse(no, 501, "5.5.4", "Syntax: MAIL FROM:<address> or RCPT TO:<address>");
    *rest = slice_tail(*rest, keyword.n);
    if (!cut_brackets(rest, path))
        return refuse(no, 501, "5.5.4", "Syntax: the address stands in <>");
    return true;
}

/* Next " KEY[=value]": 1 found, 0 none left. */
static int next_param(struct slice *rest, struct slice *key, struct slice *value)
{
    struct slice word;
    ptrdiff_t eq;

    *rest = slice_trim_left(*rest);
    if (rest->n == 0)
        return 0;
    (void)slice_cut(rest, ' ', &word);
    eq = slice_find_char(word, '=');
    *key = eq < 0 ? word : slice_head(word, (size_t)eq);
    *value = eq < 0 ? SLICE_NONE : slice_tail(word, (size_t)eq + 1);
    return 1;
}

/* ---- MAIL
 * ------------------------------------------------------------------------------------------------------
 */

struct mail_parse {
    struct smtp_mail *mail;
    struct arena *in;
    struct slice value;
};

static bool param_size(struct mail_parse *p, struct smtp_reply *no)
{
    if (!slice_to_u64(p->value, UINT64_MAX >> 1, &p->mail->size))
        return refuse(no, 501, "5.5.4", "SIZE wants a number");
    return true;
}

static bool param_body(struct mail_parse *p, struct smtp_reply *no)
{
    if (slice_equal_nocase(p->value, LIT("7BIT")))
        p->mail->body = SMTP_BODY_7BIT;
    else if (slice_equal_nocase(p->value, LIT("8BITMIME")))
        p->mail->body = SMTP_BODY_8BITMIME;
    else
        return refuse(no, 501, "5.5.4", "BODY is 7BIT or 8BITMIME");
    return true;
}

static bool param_smtputf8(struct mail_parse *p, struct smtp_reply *no)
{
    if (p->value.p != NULL)
        return refuse(no, 501, "5.5.4", "SMTPUTF8 takes no value");
    p->mail->smtputf8 = true;
    return true;
}

static bool param_requiretls(struct mail_parse *p, struct smtp_reply *no)
{
    if (p->value.p != NULL)
        return refuse(no, 501, "5.5.4", "REQUIRETLS takes no value");
    p->mail->requiretls = true;
    return true;
}

static bool param_ret(struct mail_parse *p, struct smtp_reply *no)
{
    if (slice_equal_nocase(p->value, LIT("FULL")))
        p->mail->ret = SMTP_RET_FULL;
    else if (slice_equal_nocase(p->value, LIT("HDRS")))
        p->mail->ret = SMTP_RET_HDRS;
    else
        return refuse(no, 501, "5.5.4", "RET is FULL or HDRS");
    return true;
}

static bool param_envid(struct mail_parse *p, struct smtp_reply *no)
{
    if (p->value.n == 0 || p->value.n > SMTP_ENVID_MAX ||
        !smtp_xtext_decode(p->value, p->in, &p->mail->envid))
        return refuse(no, 501, "5.5.4", "ENVID wants up to 100 characters of xtext");
    return true;
}

/* AUTH=<> of RFC 4954 5: who said it first; believed from nobody, so only its shape matters. */
static bool param_auth(struct mail_parse *p, struct smtp_reply *no)
{
    struct slice who;

    if (p->value.n == 0 || p->value.n > SMTP_ORCPT_MAX || !smtp_xtext_decode(p->value, p->in, &who))
        return refuse(no, 501, "5.5.4", "AUTH wants an address in xtext, or <>");
    return true;
}

static const struct {
    const char *key;
    unsigned needs;
    bool (*parse)(struct mail_parse *p, struct smtp_reply *no);
} mail_params[] = {
    {"SIZE", SMTP_EXT_SIZE, param_size},
    {"BODY", SMTP_EXT_8BITMIME, param_body},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8, param_smtputf8},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS, param_requiretls},
    {"RET", SMTP_EXT_DSN, param_ret},
    {"ENVID", SMTP_EXT_DSN, param_envid},
    {"AUTH", SMTP_EXT_AUTH, param_auth},
};

static bool parse_mail_params(struct slice rest, unsigned offered, struct mail_parse *p,
                              struct smtp_reply *no)
{
    struct slice key;
    unsigned seen = 0;

    while (next_param(&rest, &key, &p->value)) {
        size_t i = 0;

        while (i < COUNT(mail_params) && !slice_equal_nocase(key, slice_of(mail_params[i].key)))
            i++;
        if (i == COUNT(mail_params) || !(offered & mail_params[i].needs))
            return refuse(no, 555, "5.5.4", "MAIL parameter not recognized");
        if (seen & (1U << i))
            return refuse(no, 501, "5.5.4", "MAIL parameter given twice");
        seen |= 1U << i;
        if (!mail_params[i].parse(p, no))
            return false;
    }
    return true;
}

int smtp_parse_mail(struct slice argument, unsigned offered, struct arena *in,
                    struct smtp_mail *out, struct smtp_reply *refusal)
{
    struct smtp_mail mail = {0};
    struct mail_parse p = {&mail, in, SLICE_NONE};
    struct slice path;

    if (!cut_path(&argument, LIT("FROM:"), &path, refusal))
        return -1;
    path = arena_copy(in, path);
    argument = arena_copy(in, argument);
    if (!parse_mail_params(argument, offered, &p, refusal))
        return -1;
    if (path.n > 0 && !smtp_path_parse(path, mail.smtputf8, &mail.from)) {
        (void)refuse(refusal, 553, "5.1.7", "Address is not a valid RFC 5321 email address");
        return -1;
    }
    if (path.n == 0)
        mail.from.address = LIT("");
    *out = mail;
    return 0;
}

/* ---- RCPT
 * ------------------------------------------------------------------------------------------------------
 */

static bool parse_notify(struct slice value, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned bit;
    } row[] = {{"NEVER", SMTP_NOTIFY_NEVER},
               {"SUCCESS", SMTP_NOTIFY_SUCCESS},
               {"FAILURE", SMTP_NOTIFY_FAILURE},
               {"DELAY", SMTP_NOTIFY_DELAY}};
    struct slice word;
    unsigned bits = 0;

    while (slice_cut(&value, ',', &word)) {
        size_t i = 0;

        while (i < COUNT(row) && !slice_equal_nocase(word, slice_of(row[i].name)))
            i++;
        if (i == COUNT(row))
            return false;
        bits |= row[i].bit;
    }
    if (bits == 0 || ((bits & SMTP_NOTIFY_NEVER) && bits != SMTP_NOTIFY_NEVER))
        return false;
    *out = bits;
    return true;
}

/* addr-type ";" xtext (RFC 3461 4.2) */
static bool parse_orcpt(struct slice value, struct arena *in, struct slice *out)
{
    ptrdiff_t semicolon = slice_find_char(value, ';');
    struct slice text;

    if (value.p == NULL || value.n > SMTP_ORCPT_MAX || semicolon < 1 ||
        (size_t)semicolon + 1 == value.n)
        return false;
    for (ptrdiff_t i = 0; i < semicolon; i++)
        if (!ascii_is_alnum(value.p[i]) && value.p[i] != '-')
            return false;
    if (!smtp_xtext_decode(slice_tail(value, (size_t)semicolon + 1), in, &text))
        return false;
    *out = arena_printf(in, "%.*s;%.*s", (int)semicolon, value.p, SLICE(text));
    return true;
}

static bool parse_rcpt_params(struct slice rest, unsigned offered, struct arena *in,
                              struct smtp_rcpt *rcpt, struct smtp_reply *no)
{
    struct slice key, value;

    while (next_param(&rest, &key, &value)) {
        bool notify = slice_equal_nocase(key, LIT("NOTIFY"));
        bool orcpt = slice_equal_nocase(key, LIT("ORCPT"));

        if (!(offered & SMTP_EXT_DSN) || (!notify && !orcpt))
            return refuse(no, 555, "5.5.4", "RCPT parameter not recognized");
        if (notify && (rcpt->notify != 0 || !parse_notify(value, &rcpt->notify)))
            return refuse(no, 501, "5.5.4", "NOTIFY is NEVER, or some of SUCCESS FAILURE DELAY");
        if (orcpt && (rcpt->orcpt.n > 0 || !parse_orcpt(value, in, &rcpt->orcpt)))
            return refuse(no, 501, "5.5.4", "ORCPT wants type;address in xtext");
    }
    return true;
}

int smtp_parse_rcpt(struct slice argument, unsigned offered, struct arena *in,
                    struct smtp_rcpt *out, struct smtp_reply *refusal)
{
    struct smtp_rcpt rcpt = {0};
    struct slice path;

    if (!cut_path(&argument, LIT("TO:"), &path, refusal))
        return -1;
    path = arena_copy(in, path);
    argument = arena_copy(in, argument);
    if (slice_equal_nocase(path, LIT("postmaster"))) { /* RFC 5321 4.5.1 */
        rcpt.to = (struct smtp_path){.address = path, .local = path};
    } else if (!smtp_path_parse(path, (offered & SMTP_EXT_SMTPUTF8) != 0, &rcpt.to)) {
        (void)refuse(refusal, 553, "5.1.3", "Address is not a valid RFC 5321 email address");
        return -1;
    }
    if (!parse_rcpt_params(argument, offered, in, &rcpt, refusal))
        return -1;
    *out = rcpt;
    return 0;
}

/* ---- the small ones
 * ---------------------------------------------------------------------------------------------- */

int smtp_parse_bdat(struct slice argument, uint64_t *bytes, bool *last)
{
    struct slice number;
    uint64_t n;

    if (!slice_cut(&argument, ' ', &number) || !slice_to_u64(number, UINT64_MAX >> 1, &n))
        return -1;
    argument = slice_trim(argument);
    if (argument.n > 0 && !slice_equal_nocase(argument, LIT("LAST")))
        return -1;
    *bytes = n;
    *last = argument.n > 0;
    return 0;
}

bool smtp_hello_is_valid(struct slice argument)
{
    if (argument.n == 0 || argument.n > SMTP_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < argument.n; i++)
        if ((unsigned char)argument.p[i] <= ' ' || argument.p[i] == 0x7f)
            return false;
    return slice_is_utf8(argument);
}
