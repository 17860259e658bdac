/* mx_directory.c - see mx_directory.h: the shared directory (remembered for a second or two) in the
 * shape fe-mx needs.
 *
 * Owns nothing. Called by mx_recipient.c. What can fail: the store. Patterns of owners run under
 * match limits (libpcre2).
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "mx_directory.h"

#include <pcre2.h>

#include "base/encode.h"
#include "base/json.h"

#define PATTERNS_MAX 1000
#define PATTERN_STEPS 20000
#define PATTERN_DEPTH 500

int mx_directory_find_domain(struct mx *mx, struct slice name, struct arena *in,
                             struct deadline until, struct mx_domain *out, struct fault *why)
{
    struct domain_doc d;
    uint32_t port = 0;

    if (directory_get_domain(mx->directory, name, in, until, &d, why) < 0)
        return -1;
    if (d.smtp_port.n > 0 && !slice_to_u32(d.smtp_port, 65535, &port))
        port = 0;
    memset(out, 0, sizeof(*out));
    memcpy(out->id, d.id, sizeof(out->id));
    out->name = d.name;
    out->forwards_max = d.max_recipients_per_alias;
    out->smtp_port = (uint16_t)port;
    out->quota_bytes = d.max_quota_per_alias > 0 ? (uint64_t)d.max_quota_per_alias : 0;
    out->has_catchall = d.has_catchall && !d.is_catchall_regex_disabled;
    out->has_patterns = d.has_regex && !d.is_catchall_regex_disabled;
    out->has_verification = d.has_recipient_verification;
    out->allowlist = d.allowlist;
    out->allowlist_count = d.allowlist_count;
    out->denylist = d.denylist;
    out->denylist_count = d.denylist_count;
    return 0;
}

/* ---- lists of the domain's owner
 * ----------------------------------------------------------------------------------------
 */

static bool is_below(struct slice name, struct slice domain)
{
    return slice_has_suffix_nocase(name, domain) &&
           (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

static bool lists(const struct slice *list, size_t count, const struct smtp_path *from,
                  const char *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(list[i], slice_of(ip)))
            return true;
        if (from->domain.n > 0 && (slice_equal_nocase(list[i], from->address) ||
                                   (list[i].n > 0 && is_below(from->domain, list[i]))))
            return true;
    }
    return false;
}

bool mx_directory_denies(const struct mx_domain *domain, const struct smtp_path *from,
                         const char *ip)
{
    return lists(domain->denylist, domain->denylist_count, from, ip) &&
           !lists(domain->allowlist, domain->allowlist_count, from, ip);
}

/* ---- patterns
 * --------------------------------------------------------------------------------------------------------
 */

/* Does "/regex/flags" match? A pattern that does not compile or takes too long matches nothing. */
static bool pattern_matches(struct slice pattern, struct slice name)
{
    ptrdiff_t end = slice_rfind_char(pattern, '/');
    struct slice text;
    pcre2_match_context *limits;
    pcre2_match_data *match;
    pcre2_code *code;
    PCRE2_SIZE at;
    int error, r;

    if (end < 2)
        return false;
    text = slice_sub(pattern, 1, (size_t)end - 1);
    code = pcre2_compile((PCRE2_SPTR)text.p, text.n,
                         PCRE2_CASELESS | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (code == NULL)
        return false;
    limits = pcre2_match_context_create(NULL);
    match = pcre2_match_data_create_from_pattern(code, NULL);
    if (limits == NULL || match == NULL)
        abort();
    (void)pcre2_set_match_limit(limits, PATTERN_STEPS);
    (void)pcre2_set_depth_limit(limits, PATTERN_DEPTH);
    r = pcre2_match(code, (PCRE2_SPTR)name.p, name.n, 0, 0, match, limits);
    pcre2_match_data_free(match);
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
    return r > 0;
}

static int find_by_pattern(struct mx *mx, const struct mx_domain *domain, struct slice name,
                           struct arena *in, struct deadline until, struct alias_doc *out,
                           struct fault *why)
{
    struct alias_doc *list;
    size_t count;

    if (!domain->has_patterns)
        return fault_set(why, FAULT_NOT_FOUND, "no patterns");
    if (alias_list_regex(mx->store, slice_of(domain->id), in, until, &list, &count, why) < 0)
        return -1;
    for (size_t i = 0; i < count && i < PATTERNS_MAX; i++)
        if (pattern_matches(list[i].name, name)) {
            *out = list[i];
            return 0;
        }
    return fault_set(why, FAULT_NOT_FOUND, "no pattern matches");
}

/* ---- aliases
 * ------------------------------------------------------------------------------------------------------------
 */

static bool is_listed(const struct slice *list, size_t count, struct slice text)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(list[i], text))
            return true;
    return false;
}

/* With verification on, addresses elsewhere get mail only after they agreed to it. */
static void take_recipients(const struct alias_doc *doc, bool verified_only, struct arena *in,
                            struct mx_alias *out)
{
    out->recipients = ARENA_ARRAY(in, struct slice, doc->recipient_count + 1);
    for (size_t i = 0; i < doc->recipient_count; i++)
        if (!verified_only ||
            is_listed(doc->verified_recipients, doc->verified_recipient_count, doc->recipients[i]))
            out->recipients[out->recipient_count++] = doc->recipients[i];
}

static void take_alias(const struct mx_domain *domain, const struct alias_doc *doc,
                       struct arena *in, struct mx_alias *out)
{
    bool stores = doc->has_imap && !alias_is_catchall(doc) && !alias_is_regex(doc);

    memset(out, 0, sizeof(*out));
    memcpy(out->id, doc->id, sizeof(out->id));
    out->name = doc->name;
    out->enabled = doc->is_enabled;
    out->has_imap = stores;
    out->code_if_disabled = (int)doc->error_code_if_disabled;
    out->quota_bytes = doc->max_quota > 0 ? (uint64_t)doc->max_quota : domain->quota_bytes;
    if (!base64_decode(in, doc->sealing_public_key, &out->public_key) || out->public_key.n != 32)
        out->public_key = SLICE_NONE;
    take_recipients(doc, domain->has_verification && doc->has_recipient_verification, in, out);
}

int mx_directory_find_alias(struct mx *mx, const struct mx_domain *domain, struct slice name,
                            struct arena *in, struct deadline until, struct mx_alias *out,
                            struct fault *why)
{
    struct slice id = slice_of(domain->id);
    struct alias_doc doc;
    int r = directory_get_alias(mx->directory, id, name, in, until, &doc, why);

    if (r < 0 && why->code == FAULT_NOT_FOUND)
        r = find_by_pattern(mx, domain, name, in, until, &doc, why);
    if (r < 0 && why->code == FAULT_NOT_FOUND && domain->has_catchall)
        r = directory_get_alias(mx->directory, id, LIT("*"), in, until, &doc, why);
    if (r < 0)
        return -1;
    take_alias(domain, &doc, in, out);
    return 0;
}
