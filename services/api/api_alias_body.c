/* api_alias_body.c - what the body of a request says about an alias, checked field by field against the rules.
 *
 * Owns      nothing; texts live in the call's arena. Called by api_alias_write.c. Never suspends. Answers with the key of the first refusal.
 */
#include "api_alias.h"

#include "base/map.h"

#define DESCRIPTION_MAX 150
#define LABEL_MAX       150
#define SUBJECT_MAX     100
#define MESSAGE_MAX     1000
#define RETENTION_MAX   365

/* ---- texts ---------------------------------------------------------------------------------------------- */

/* What stands between '<' and '>' goes; a '<' without an end stays. */
static struct slice without_tags(struct arena *a, struct slice s)
{
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        ptrdiff_t end = s.p[i] == '<' && i + 1 < s.n && (ascii_is_alpha(s.p[i + 1]) || strchr("/!?", s.p[i + 1]) != NULL)
                            ? slice_find_char(slice_tail(s, i), '>') : -1;

        if (end > 0)
            i += (size_t)end;
        else
            out[n++] = s.p[i];
    }
    return slice_trim(slice_make(out, n));
}

static size_t characters(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* "Sales & Co" becomes "sales-co". */
static struct slice slug(struct arena *a, struct slice s)
{
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);

        if (ascii_is_alnum(c) || (unsigned char)c >= 128 || c == '_')
            out[n++] = c;
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    return slice_make(out, n);
}

static bool is_empty(const struct api_call *c, const char *key)
{
    const json_t *v = json_object_get(c->body, key);

    return !api_has(c, key) || json_is_null(v) || (!json_is_array(v) && !json_is_object(v) && api_text(c, key).n == 0);
}

/* ---- name, recipients, labels -------------------------------------------------------------------------------- */

static const char *read_name(struct api_call *c, enum alias_mode mode, struct alias_doc *a)
{
    struct slice given = api_text(c, "name"), name;

    if (given.n == 0) {
        if (mode == ALIAS_CREATE)
            a->name = account_alias_random_name(c->arena);
        return NULL;
    }
    name = account_alias_normal(c->arena, given);
    if (mode == ALIAS_UPDATE && slice_equal(name, a->name))
        return NULL;                           /* it was allowed when it was given */
    a->name = name;
    return account_alias_check(name, c->is_domain_admin, c->domain.restricted_alias_names, c->domain.restricted_alias_names_count);
}

static const char *read_recipients(struct api_call *c, enum alias_mode mode, struct alias_doc *a, struct slice *detail)
{
    int64_t most = c->domain.max_recipients_per_alias > 0 ? c->domain.max_recipients_per_alias : c->api->config->forwarded_max;
    struct slice *given;
    size_t count;

    if (mode == ALIAS_UPDATE && !api_has(c, "recipients"))
        return NULL;
    count = api_strings(c, "recipients", &given);
    if (count == 0 && mode == ALIAS_CREATE && c->user.email.n > 0) {
        given[0] = c->user.email;
        count = 1;
    }
    if (count == 0 && !a->has_imap)
        return "ALIAS_MUST_HAVE_ONE_RECIPIENT";
    return account_recipients_parse(c->arena, given, count, (size_t)most, &a->recipients, &a->recipient_count, NULL, detail);
}

static const char *add_label(struct alias_doc *a, struct slice label, struct map *seen)
{
    if (label.n == 0 || map_find(seen, label) != NULL)
        return NULL;
    if (label.n > LABEL_MAX)
        return "LABEL_TOO_LONG";
    if (a->label_count >= ALIAS_LABELS_MAX)
        return "TOO_MANY_LABELS";
    map_set(seen, label, seen);
    a->labels[a->label_count++] = label;
    return NULL;
}

static const char *read_labels(struct api_call *c, struct alias_doc *a)
{
    AUTO(map_free) struct map *seen = map_new();
    bool catchall = alias_is_catchall(a);
    struct slice *given;
    size_t count = api_strings(c, "labels", &given);
    const char *refused = NULL;

    a->labels = ARENA_ARRAY(c->arena, struct slice, ALIAS_LABELS_MAX);
    a->label_count = 0;
    if (catchall)
        refused = add_label(a, LIT("catch-all"), seen);
    for (size_t i = 0; i < count && refused == NULL; i++) {
        struct slice label = slug(c->arena, given[i]);

        if (!catchall && slice_equal(label, LIT("catch-all")))
            return "LABEL_CATCHALL_RESERVED";
        refused = add_label(a, label, seen);
    }
    return refused;
}

static const char *read_description(struct api_call *c, struct alias_doc *a)
{
    a->description = without_tags(c->arena, api_text(c, "description"));
    return characters(a->description) > DESCRIPTION_MAX ? "DESCRIPTION_TOO_LONG" : NULL;
}

/* ---- switches and numbers ------------------------------------------------------------------------------------ */

static const char *read_switches(struct api_call *c, struct alias_doc *a)
{
    int64_t code;

    a->is_enabled = api_bool(c, "is_enabled", a->is_enabled);
    if (!a->is_enabled && alias_is_catchall(a))
        return "CATCHALL_MUST_BE_ENABLED";
    if (!is_empty(c, "error_code_if_disabled")) {
        if (!api_int(c, "error_code_if_disabled", 250, 550, 250, &code) || (code != 250 && code != 421 && code != 550))
            return "INVALID_ERROR_CODE_IF_DISABLED";
        a->error_code_if_disabled = code;
    }
    a->has_imap = api_bool(c, "has_imap", a->has_imap);
    if (a->has_imap && account_alias_is_pattern(a->name))
        return "IMAP_NOT_ON_CATCHALL_OR_REGEX";
    return NULL;
}

/* What this server does not do is not switched on, so that nobody relies on it. */
static const char *refuse_unsupported(const struct api_call *c, const struct alias_doc *a)
{
    if (api_bool(c, "has_recipient_verification", false) && !a->has_recipient_verification)
        return "RECIPIENT_VERIFICATION_UNSUPPORTED";
    if (api_bool(c, "has_pgp", false) || api_text(c, "public_key").n > 0)
        return "PGP_UNSUPPORTED";
    if (api_bool(c, "has_smime", false) || api_text(c, "smime_certificate").n > 0)
        return "SMIME_UNSUPPORTED";
    if (api_has(c, "password") || api_has(c, "new_password"))
        return "ALIAS_PASSWORD_FIELD_NOT_ALLOWED";
    return NULL;
}

static const char *read_quota(struct api_call *c, struct alias_doc *a)
{
    uint64_t most = c->domain.max_quota_per_alias > 0 ? (uint64_t)c->domain.max_quota_per_alias : c->api->config->quota_bytes, bytes;

    if (!api_has(c, "max_quota"))
        return NULL;
    if (is_empty(c, "max_quota")) {
        a->max_quota = c->is_domain_admin ? 0 : a->max_quota;
        return NULL;
    }
    if (!api_bytes(c, "max_quota", &bytes))
        return "INVALID_BYTES";
    if (bytes > most)
        return "ALIAS_QUOTA_EXCEEDS_DOMAIN";
    if ((int64_t)bytes != a->max_quota && !c->is_domain_admin)
        return "IS_NOT_ADMIN";
    a->max_quota = (int64_t)bytes;
    return NULL;
}

static const char *read_retention(struct api_call *c)
{
    int64_t days;

    if (is_empty(c, "retention"))
        return NULL;
    if (!api_int(c, "retention", 0, RETENTION_MAX, 0, &days))
        return "ALIAS_RETENTION_INVALID";
    return days > 0 ? "ALIAS_RETENTION_UNSUPPORTED" : NULL;
}

/* ---- vacation responder ------------------------------------------------------------------------------------------ */

/* 2026-11-24, 2026-11-24T13:00:00Z, 11/24/2026, milliseconds since 1970. */
static bool parse_date(struct arena *a, struct slice s, int64_t *out)
{
    struct slice rest = s, month, day;
    uint64_t ms;

    if (date_parse_iso(s, out))
        return true;
    if (slice_to_u64(s, 4102444800000, &ms) && s.n >= 10) {
        *out = (int64_t)ms;
        return true;
    }
    if (s.n == 10 && s.p[4] == '-')
        return date_parse_iso(arena_printf(a, "%.*sT00:00:00.000Z", SLICE(s)), out);
    if (!slice_cut(&rest, '/', &month) || !slice_cut(&rest, '/', &day) || rest.n != 4 || month.n == 0 || month.n > 2 || day.n == 0 || day.n > 2)
        return false;
    return date_parse_iso(arena_printf(a, "%.*s-%s%.*s-%s%.*sT00:00:00.000Z", SLICE(rest), month.n == 1 ? "0" : "", SLICE(month),
                                       day.n == 1 ? "0" : "", SLICE(day)), out);
}

static const char *read_responder_date(struct api_call *c, json_t *into, const char *param, const char *key, int64_t *out)
{
    *out = 0;
    if (api_has(c, param)) {
        struct slice text = api_text(c, param);

        if (text.n > 0 && !parse_date(c->arena, text, out))
            return "VACATION_RESPONDER_DATE_INVALID";
        api_set_date(into, key, *out);
    } else if (!date_parse_iso(json_get_slice(into, key), out)) {
        *out = 0;
    }
    return NULL;
}

static const char *read_responder_text(struct api_call *c, json_t *into, const char *param, const char *key, size_t most)
{
    struct slice text;

    if (!api_has(c, param))
        return NULL;
    text = without_tags(c->arena, api_text(c, param));
    if (characters(text) > most)
        return "VACATION_RESPONDER_TOO_LONG";
    if (text.n == 0)
        (void)json_object_set_new(into, key, json_null());
    else
        (void)json_set_slice(into, key, text);
    return NULL;
}

static const char *refuse_responder(const struct api_call *c, const struct alias_doc *a)
{
    if (!api_bool(c, "vacation_responder_is_enabled", false))
        return NULL;
    if (account_alias_is_pattern(a->name))
        return "VACATION_RESPONDER_NAME_SPECIFIC";
    if (!c->domain.has_smtp)
        return "VACATION_RESPONDER_SMTP_REQUIRED";
    return "VACATION_RESPONDER_UNSUPPORTED";
}

static const char *read_responder(struct api_call *c, struct alias_doc *a)
{
    AUTO(json_release) json_t *o = NULL;
    AUTO(buf_free) struct buf text = BUF_INIT(65536);
    const char *refused = refuse_responder(c, a);
    struct fault ignored;
    int64_t start, end;

    if (refused != NULL)
        return refused;
    if (a->vacation_responder.n == 0 || json_parse(a->vacation_responder, 65536, &o, &ignored) < 0)
        o = json_object();
    if ((refused = read_responder_date(c, o, "vacation_responder_start_date", "start_date", &start)) != NULL ||
        (refused = read_responder_date(c, o, "vacation_responder_end_date", "end_date", &end)) != NULL ||
        (refused = read_responder_text(c, o, "vacation_responder_subject", "subject", SUBJECT_MAX)) != NULL ||
        (refused = read_responder_text(c, o, "vacation_responder_message", "message", MESSAGE_MAX)) != NULL)
        return refused;
    if (start != 0 && end != 0 && start >= end)
        return "VACATION_RESPONDER_DATE_ISSUE";
    if (json_object_size(o) == 0)
        return NULL;
    (void)json_set_bool(o, "is_enabled", false);
    if (json_format(o, &text) < 0)
        return "VACATION_RESPONDER_TOO_LONG";
    a->vacation_responder = arena_copy(c->arena, buf_slice(&text));
    return NULL;
}

const char *alias_read_body(struct api_call *c, enum alias_mode mode, struct alias_doc *a, struct slice *detail)
{
    const char *refused;

    if ((refused = refuse_unsupported(c, a)) != NULL || (refused = read_name(c, mode, a)) != NULL || (refused = read_switches(c, a)) != NULL ||
        (refused = read_recipients(c, mode, a, detail)) != NULL || (refused = read_description(c, a)) != NULL ||
        (refused = read_labels(c, a)) != NULL || (refused = read_quota(c, a)) != NULL || (refused = read_retention(c)) != NULL)
        return refused;
    return read_responder(c, a);
}
