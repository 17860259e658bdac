/* model_domain.c - see model_domain.h. */
#include "store/models.h"

#include "store/model.h"

#define VERIFICATION_CHARS 10

static const struct model_row rows[] = {
    ROW(ID, struct domain_doc, id, "_id"),
    ROW(TEXT, struct domain_doc, name, "name"),
    ROW(TEXT, struct domain_doc, plan, "plan"),
    ROW(TEXT, struct domain_doc, verification_record, "verification_record"),
    ROW(BOOL, struct domain_doc, has_mx_record, "has_mx_record"),
    ROW(BOOL, struct domain_doc, has_txt_record, "has_txt_record"),
    ROW(BOOL, struct domain_doc, ignore_mx_check, "ignore_mx_check"),
    ROW(BOOL, struct domain_doc, has_smtp, "has_smtp"),
    ROW(BOOL, struct domain_doc, is_smtp_suspended, "is_smtp_suspended"),
    ROW(BOOL, struct domain_doc, has_dkim_record, "has_dkim_record"),
    ROW(BOOL, struct domain_doc, has_return_path_record, "has_return_path_record"),
    ROW(BOOL, struct domain_doc, has_dmarc_record, "has_dmarc_record"),
    ROW(BOOL, struct domain_doc, has_catchall, "has_catchall"),
    ROW(BOOL, struct domain_doc, has_regex, "has_regex"),
    ROW(BOOL, struct domain_doc, is_catchall_regex_disabled, "is_catchall_regex_disabled"),
    ROW(BOOL, struct domain_doc, has_recipient_verification, "has_recipient_verification"),
    ROW(BOOL, struct domain_doc, require_tls_inbound, "require_tls_inbound"),
    ROW(BOOL, struct domain_doc, has_delivery_logs, "has_delivery_logs"),
    ROW(BOOL, struct domain_doc, has_newsletter, "has_newsletter"),
    ROW_IS(BOOL, struct domain_doc, has_adult_content_protection, "has_adult_content_protection",
           1),
    ROW_IS(BOOL, struct domain_doc, has_phishing_protection, "has_phishing_protection", 1),
    ROW_IS(BOOL, struct domain_doc, has_executable_protection, "has_executable_protection", 1),
    ROW_IS(BOOL, struct domain_doc, has_virus_protection, "has_virus_protection", 1),
    ROW(TEXT, struct domain_doc, dkim_key_selector, "dkim_key_selector"),
    ROW(TEXT, struct domain_doc, dkim_private_key, "dkim_private_key"),
    ROW(TEXT, struct domain_doc, dkim_public_key, "dkim_public_key"),
    ROW(TEXT, struct domain_doc, return_path, "return_path"),
    ROW(TEXT, struct domain_doc, smtp_port, "smtp_port"),
    ROW(TEXT, struct domain_doc, bounce_webhook, "bounce_webhook"),
    ROW(TEXT, struct domain_doc, webhook_key, "webhook_key"),
    ROW(JSON, struct domain_doc, tokens, "tokens"),
    ROW(INT, struct domain_doc, max_recipients_per_alias, "max_recipients_per_alias"),
    ROW(INT, struct domain_doc, max_quota_per_alias, "max_quota_per_alias"),
    ROW(INT, struct domain_doc, retention_days, "retention_days"),
    ROW_LIST(struct domain_doc, allowlist, allowlist_count, "allowlist", DOMAIN_LIST_MAX),
    ROW_LIST(struct domain_doc, denylist, denylist_count, "denylist", DOMAIN_LIST_MAX),
    ROW_LIST(struct domain_doc, smtp_emails_blocked, smtp_emails_blocked_count,
             "smtp_emails_blocked", DOMAIN_LIST_MAX),
    ROW_LIST(struct domain_doc, restricted_alias_names, restricted_alias_names_count,
             "restricted_alias_names", DOMAIN_LIST_MAX),
    ROW(DATE, struct domain_doc, last_checked_at, "last_checked_at"),
    ROW(DATE, struct domain_doc, smtp_verified_at, "smtp_verified_at"),
    ROW(DATE, struct domain_doc, created_at, "created_at"),
    ROW(DATE, struct domain_doc, updated_at, "updated_at"),
};

struct domain_doc domain_new(struct slice name)
{
    return (struct domain_doc){
        .name = name,
        .plan = LIT("team"),
        .return_path = LIT("fe-bounces"),
        .smtp_port = LIT("25"),
        .has_adult_content_protection = true,
        .has_phishing_protection = true,
        .has_executable_protection = true,
        .has_virus_protection = true,
    };
}

static int parse_members(const json_t *doc, struct arena *in, struct domain_doc *out,
                         struct fault *why)
{
    const json_t *members = json_object_get(doc, "members"), *m;
    size_t i;

    out->members = NULL;
    out->member_count = 0;
    if (members == NULL)
        return 0;
    if (!json_is_array(members) || json_array_size(members) > DOMAIN_MEMBERS_MAX)
        return fault_set(why, FAULT_CORRUPT, "domain %s: bad members", out->id);
    out->members = ARENA_ARRAY(in, struct domain_member, json_array_size(members) + 1);
    json_array_foreach((json_t *)(uintptr_t)members, i, m)
    {
        struct domain_member *to = &out->members[out->member_count++];

        model_id_copy(to->user, json_get_slice(m, "user"));
        to->is_admin = slice_equal(json_get_slice(m, "group"), LIT("admin"));
    }
    return 0;
}

int domain_parse(const json_t *doc, struct arena *in, struct domain_doc *out, struct fault *why)
{
    if (model_parse(rows, COUNT(rows), doc, in, out, why) < 0)
        return -1;
    if (out->smtp_port.n == 0)
        out->smtp_port = LIT("25");
    return parse_members(doc, in, out, why);
}

static int parse_any(const json_t *doc, struct arena *in, void *out, struct fault *why)
{
    return domain_parse(doc, in, out, why);
}

json_t *domain_format(const struct domain_doc *domain)
{
    json_t *doc = model_format(rows, COUNT(rows), domain), *members = json_array();

    for (size_t i = 0; i < domain->member_count; i++)
        (void)json_array_append_new(members,
                                    json_pack("{s:s,s:s}", "user", domain->members[i].user, "group",
                                              domain->members[i].is_admin ? "admin" : "user"));
    (void)json_object_set_new(doc, "members", members);
    return doc;
}

int domain_find_by_name(struct store *st, struct slice name, struct arena *in,
                        struct deadline until, struct domain_doc *out, struct fault *why)
{
    return model_find(st, DOMAINS, store_filter_text(in, "name", name), parse_any, in, until, out,
                      why);
}

int domain_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
                struct domain_doc *out, struct fault *why)
{
    return model_find(st, DOMAINS, store_filter_id(in, id), parse_any, in, until, out, why);
}

const struct domain_member *domain_find_member(const struct domain_doc *domain,
                                               struct slice user_id)
{
    for (size_t i = 0; i < domain->member_count; i++)
        if (slice_equal(slice_of(domain->members[i].user), user_id))
            return &domain->members[i];
    return NULL;
}

bool domain_has_token(const struct domain_doc *domain, struct slice token_id)
{
    AUTO(json_release) json_t *tokens = model_json(domain->tokens);
    json_t *token;
    size_t i;

    json_array_foreach(tokens, i, token)
        if (slice_equal(json_get_slice(token, "id"), token_id))
            return true;
    return false;
}

struct slice domain_verification_new(struct arena *in)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char text[VERIFICATION_CHARS];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = alphabet[random_below(sizeof(alphabet) - 1)];
    return arena_copy(in, slice_make(text, sizeof(text)));
}

int domain_insert(struct store *st, struct domain_doc *domain, struct deadline until,
                  struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    AUTO(json_release) json_t *doc = NULL;

    if (domain->id[0] == '\0')
        model_id_copy(domain->id, slice_of(object_id_new().s));
    domain->created_at = domain->updated_at = clock_wall_ms();
    doc = domain_format(domain);
    if (domain->verification_record.n == 0)
        (void)json_set_slice(doc, "verification_record", domain_verification_new(in));
    return store_insert(st, DOMAINS, doc, until, why);
}
