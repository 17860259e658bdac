/* api_alias_text.c - from the text of an alias document to the text of its object: values are copied as they stand, nothing is parsed twice.
 *
 * Owns      nothing. Called for lists, where loading and writing trees of values would be most of the work. The documents are our own
 *           store's: valid JSON, keys without escapes. Never suspends.
 */
#include "api_alias.h"

#include "base/json.h"

static const struct { const char *key; size_t at; } fields[] = {
#define FIELD(name) { #name, offsetof(struct alias_text, name) }
    { "_id", offsetof(struct alias_text, id) },
    FIELD(user), FIELD(name), FIELD(description), FIELD(labels), FIELD(is_enabled), FIELD(error_code_if_disabled),
    FIELD(has_recipient_verification), FIELD(verified_recipients), FIELD(recipients), FIELD(has_imap), FIELD(max_quota), FIELD(retention),
    FIELD(storage_used), FIELD(storage_location), FIELD(settings), FIELD(vacation_responder), FIELD(sealing_public_key), FIELD(created_at),
    FIELD(updated_at),
#undef FIELD
};

/* ---- reading ---------------------------------------------------------------------------------------------- */

/* Behind the closing quote; at `p` is the opening one. */
static const char *skip_text(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '"')
            return p + 1;
    }
    return NULL;
}

static const char *skip_nested(const char *p, const char *end)
{
    unsigned depth = 0;

    while (p != NULL && p < end) {
        if (*p == '"') {
            p = skip_text(p, end);
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        else if ((*p == '}' || *p == ']') && --depth == 0)
            return p + 1;
        p++;
    }
    return NULL;
}

static const char *skip_value(const char *p, const char *end)
{
    if (p >= end)
        return NULL;
    if (*p == '"')
        return skip_text(p, end);
    if (*p == '{' || *p == '[')
        return skip_nested(p, end);
    while (p < end && *p != ',' && *p != '}')
        p++;
    return p;
}

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && ascii_is_space(*p))
        p++;
    return p;
}

static void keep(struct alias_text *out, struct slice key, struct slice value)
{
    for (size_t i = 0; i < COUNT(fields); i++)
        if (slice_equal(key, slice_of(fields[i].key))) {
            memcpy((char *)out + fields[i].at, &value, sizeof(value));
            return;
        }
}

/* One member; *p moves behind it. 1 there may be more, 0 that was the last, <0 damaged. */
static int read_member(const char **p, const char *end, struct alias_text *out)
{
    const char *key = skip_blank(*p, end), *colon, *value, *behind;

    if (key < end && *key == '}')
        return 0;
    if (key >= end || *key != '"' || (colon = skip_text(key, end)) == NULL)
        return -1;
    value = skip_blank(colon, end);
    if (value >= end || *value != ':')
        return -1;
    value = skip_blank(value + 1, end);
    behind = skip_value(value, end);
    if (behind == NULL)
        return -1;
    keep(out, slice_make(key + 1, (size_t)(colon - key) - 2), slice_make(value, (size_t)(behind - value)));
    behind = skip_blank(behind, end);
    if (behind >= end)
        return -1;
    *p = behind + 1;
    return *behind == ',' ? 1 : 0;
}

int alias_text_read(struct slice document, struct alias_text *out, struct fault *why)
{
    const char *p = document.p, *end = document.p + document.n;
    int more = 1;

    *out = (struct alias_text){ .id = SLICE_NONE };
    if (document.n < 2 || *p++ != '{')
        more = -1;
    while (more == 1)
        more = read_member(&p, end, out);
    return more < 0 || out->id.n != 26 ? fault_set(why, FAULT_CORRUPT, "a document of an alias is damaged") : 0;
}

struct slice alias_text_plain(struct slice value)
{
    return value.n >= 2 && value.p[0] == '"' ? slice_sub(value, 1, value.n - 2) : SLICE_NONE;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void put(struct buf *out, const char *key, struct slice value, struct slice otherwise)
{
    (void)buf_append_cstr(out, key);
    (void)buf_append(out, value.n > 0 ? value : otherwise);
}

static bool is_true(struct slice value)
{
    return slice_equal(value, LIT("true"));
}

/* Recipients that have not agreed yet: all but the verified; texts are compared as they stand. */
static void put_pending(struct buf *out, const struct alias_text *a)
{
    struct slice inner = slice_tail(a->recipients, 1);
    const char *p = inner.p, *end = is_true(a->has_recipient_verification) && inner.n > 0 ? p + inner.n : p;
    bool first = true;

    (void)buf_append_cstr(out, ",\"pending_recipients\":[");
    while (p < end && *p == '"') {
        const char *behind = skip_text(p, end);
        struct slice one;

        if (behind == NULL)
            break;
        one = slice_make(p, (size_t)(behind - p));
        if (slice_find(a->verified_recipients, one) < 0) {
            (void)buf_append_cstr(out, first ? "" : ",");
            (void)buf_append(out, one);
            first = false;
        }
        p = behind < end && *behind == ',' ? behind + 1 : end;
    }
    (void)buf_append_char(out, ']');
}

/* Our own object is written with all its members (api_alias_body.c); another one gets what is missing. */
static void put_responder(struct buf *out, const struct alias_text *a)
{
    static const char *const keys[] = { "start_date", "end_date", "subject", "message" };
    AUTO(json_release) json_t *stored = NULL;
    struct fault ignored;

    if (a->vacation_responder.n < 3 || json_parse(a->vacation_responder, 65536, &stored, &ignored) < 0) {
        (void)buf_append_cstr(out, ",\"vacation_responder\":{\"is_enabled\":false,\"start_date\":null,\"end_date\":null,\"subject\":null,\"message\":null}");
        return;
    }
    for (size_t i = 0; i < COUNT(keys); i++)
        if (json_object_get(stored, keys[i]) == NULL)
            (void)json_object_set_new(stored, keys[i], json_null());
    (void)buf_append_cstr(out, ",\"vacation_responder\":");
    (void)json_format(stored, out);
}

static void put_mailbox(struct buf *out, const struct alias_text *a, int64_t bytes)
{
    bool has_quota = a->max_quota.n > 0 && !slice_equal(a->max_quota, LIT("0"));

    put(out, ",\"has_imap\":", a->has_imap, LIT("false"));
    (void)buf_append_cstr(out, ",\"has_pgp\":false,\"public_key\":null,\"has_smime\":false,\"smime_certificate\":null");
    put(out, ",\"max_quota\":", has_quota ? a->max_quota : SLICE_NONE, LIT("null"));
    put(out, ",\"retention\":", a->retention, LIT("0"));
    (void)buf_printf(out, ",\"storage_used\":%lld", (long long)bytes);
    put(out, ",\"storage_location\":", a->storage_location, LIT("\"local\""));
    (void)buf_append_cstr(out, ",\"imap_backup_at\":null,\"last_vacuum_at\":null,\"emailed_instructions\":null,\"storage_thresholds_sent_at\":{}");
    put(out, ",\"settings\":", a->settings, LIT("{}"));
}

void alias_text_write(struct buf *out, const struct alias_text *a, const struct alias_context *x, struct slice email, int64_t bytes)
{
    put(out, "{\"object\":\"alias\",\"id\":", a->id, SLICE_NONE);
    put(out, ",\"name\":", a->name, LIT("\"\""));
    put(out, ",\"description\":", a->description, LIT("\"\""));
    put(out, ",\"labels\":", a->labels, LIT("[]"));
    put(out, ",\"is_enabled\":", a->is_enabled, LIT("true"));
    put(out, ",\"error_code_if_disabled\":", a->error_code_if_disabled, LIT("250"));
    put(out, ",\"has_recipient_verification\":", a->has_recipient_verification, LIT("false"));
    put(out, ",\"verified_recipients\":", a->verified_recipients, LIT("[]"));
    put_pending(out, a);
    put(out, ",\"recipients\":", a->recipients, LIT("[]"));
    put_mailbox(out, a, bytes);
    put_responder(out, a);
    put(out, ",\"user\":{\"object\":\"user\",\"id\":", a->user, LIT("\"\""));
    put(out, ",\"email\":", email, LIT("\"\""));
    put(out, "},\"domain\":", x->domain, LIT("null"));
    put(out, ",\"group\":", x->group, LIT("\"user\""));
    put(out, ",\"locale\":\"en\",\"created_at\":", a->created_at, LIT("null"));
    put(out, ",\"updated_at\":", a->updated_at, LIT("null"));
    (void)buf_append_char(out, '}');
}
