/* model_domain.h - domains and how they want to be treated. Owns nothing; suspends where marked. */
#pragma once

#include "store/store.h"

#define DOMAIN_MEMBERS_MAX 1000
#define DOMAIN_LIST_MAX 1000 /* entries of allowlist, denylist, ... */

struct domain_member {
    char user[25];
    bool is_admin;
};

struct domain_doc {
    char id[25];
    struct slice name; /* lower case, unique */
    struct slice plan;
    struct slice verification_record; /* value of the site-verification TXT record, unique */
    bool has_mx_record, has_txt_record, ignore_mx_check;
    bool has_smtp, is_smtp_suspended;
    bool has_dkim_record, has_return_path_record, has_dmarc_record;
    bool has_catchall, has_regex, is_catchall_regex_disabled;
    bool has_recipient_verification, require_tls_inbound, has_delivery_logs, has_newsletter;
    bool has_adult_content_protection, has_phishing_protection, has_executable_protection,
        has_virus_protection;
    struct slice dkim_key_selector; /* "fe-0123456789" */
    struct slice dkim_private_key;  /* encrypted (mail/dkim.h reads it); opaque here */
    struct slice dkim_public_key;   /* base64 without header lines */
    struct slice return_path;       /* label: "fe-bounces" */
    struct slice smtp_port;         /* of forwards without a mapping of their own; "25" */
    struct slice bounce_webhook, webhook_key;
    struct slice tokens; /* catch-all passwords: JSON array of slots (mail/keys.h), text */
    int64_t max_recipients_per_alias; /* 0: the server's default */
    int64_t max_quota_per_alias;      /* bytes; 0: the server's default */
    int64_t retention_days;
    struct slice *allowlist, *denylist, *smtp_emails_blocked, *restricted_alias_names;
    size_t allowlist_count, denylist_count, smtp_emails_blocked_count, restricted_alias_names_count;
    struct domain_member *members;
    size_t member_count;
    int64_t last_checked_at, smtp_verified_at, created_at, updated_at;
};

/* A domain to be, with the defaults of the REST API: all content protections on. */
struct domain_doc domain_new(struct slice name);
/* A fresh value for verification_record. */
struct slice domain_verification_new(struct arena *in);
int domain_parse(const json_t *doc, struct arena *in, struct domain_doc *out,
                 struct fault *why) MUST_CHECK;
json_t *domain_format(const struct domain_doc *domain);
/* `name` in lower case. One indexed query; the mail path asks directory.h instead. */
int domain_find_by_name(struct store *st, struct slice name, struct arena *in,
                        struct deadline until, struct domain_doc *out,
                        struct fault *why) MUST_CHECK SUSPENDS;
int domain_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
                struct domain_doc *out, struct fault *why) MUST_CHECK SUSPENDS;
/* NULL: no member. */
const struct domain_member *domain_find_member(const struct domain_doc *domain,
                                               struct slice user_id);
/* Is there (still) a catch-all password of that id? */
bool domain_has_token(const struct domain_doc *domain, struct slice token_id);
/* Fills id (when empty) and dates; without verification_record the document gets a fresh one.
 * FAULT_EXISTS. */
int domain_insert(struct store *st, struct domain_doc *domain, struct deadline until,
                  struct fault *why) MUST_CHECK SUSPENDS;
