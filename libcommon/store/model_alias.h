/* model_alias.h - aliases: names of a domain that forward, store mail, or both. Owns nothing;
 * suspends where marked.
 */
#pragma once

#include "store/store.h"

#define ALIAS_RECIPIENTS_MAX 1000
#define ALIAS_LABELS_MAX 100

struct alias_doc {
    char id[25], domain[25], user[25];
    struct slice name; /* lower case; "*" catch-all, "/regex/flags" pattern; unique in the domain */
    bool is_enabled;
    int64_t error_code_if_disabled; /* 250 swallow, 421 later, 550 refuse */
    struct slice *recipients;       /* addresses, hosts, IPs, URLs */
    size_t recipient_count;
    struct slice *verified_recipients;
    size_t verified_recipient_count;
    bool has_recipient_verification;
    bool has_imap; /* stores mail */
    bool has_pgp;
    struct slice public_key; /* OpenPGP, armored (the REST field of that name) */
    /* base64, 32 bytes: mail is sealed to it while locked. Absent: never had a password */
    struct slice sealing_public_key;
    struct slice wraps; /* JSON array of password slots (mail/keys.h), text; empty: none */
    int64_t wraps_revision;   /* rises with every change of slots */
    struct slice rotation_to; /* the slot that is replacing all others; absent: none is */
    int64_t rotation_at;
    struct slice description;
    struct slice *labels;
    size_t label_count;
    int64_t max_quota;               /* bytes; 0: the domain's */
    int64_t retention;               /* days; 0: for ever */
    int64_t storage_used;            /* as last reported by the mailbox server */
    struct slice storage_location;   /* which mailbox server; empty: the only one */
    struct slice vacation_responder; /* JSON object, text */
    struct slice settings;           /* JSON object, text */
    int64_t created_at, updated_at;
};

int alias_parse(const json_t *doc, struct arena *in, struct alias_doc *out,
                struct fault *why) MUST_CHECK;
json_t *alias_format(const struct alias_doc *alias);
bool alias_is_catchall(const struct alias_doc *alias);
bool alias_is_regex(const struct alias_doc *alias);
int alias_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
               struct alias_doc *out, struct fault *why) MUST_CHECK SUSPENDS;
/* `name` in lower case; "*" is the catch-all. */
int alias_find_by_name(struct store *st, struct slice domain_id, struct slice name,
                       struct arena *in, struct deadline until, struct alias_doc *out,
                       struct fault *why) MUST_CHECK SUSPENDS;
/* Enabled or not, with names that begin with '/' (at most STORE_FIND_MAX), oldest first. */
int alias_list_regex(struct store *st, struct slice domain_id, struct arena *in,
                     struct deadline until, struct alias_doc **out, size_t *count,
                     struct fault *why) MUST_CHECK SUSPENDS;
/* Fills id and dates; keeps the domain's has_catchall and has_regex true when the name is one.
 * FAULT_EXISTS. */
int alias_insert(struct store *st, struct alias_doc *alias, struct deadline until,
                 struct fault *why) MUST_CHECK SUSPENDS;

/* The domain's has_catchall or has_regex, when the alias is one: before it gets such a name, and
 * again behind that. */
int alias_mark_domain(struct store *st, const struct alias_doc *alias, struct deadline until,
                      struct fault *why) MUST_CHECK SUSPENDS;

/* ---- password slots: objects with an `id`, opaque here -------------------------------------- */

/* Adds a slot; `sealing_public_key` (empty: keep) is set in the same write. FAULT_LIMIT: there are
 * `max` already. */
int alias_add_wrap(struct store *st, struct slice id, const json_t *wrap,
                   struct slice sealing_public_key, size_t max, struct deadline until,
                   struct fault *why) MUST_CHECK SUSPENDS;
int alias_remove_wrap(struct store *st, struct slice id, struct slice wrap_id,
                      struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* All slots at once, if they still are those of `before` by id and order (else FAULT_CONFLICT): for
 * rekey. Both JSON arrays. Ends a rotation that was noted. */
int alias_replace_wraps(struct store *st, struct slice id, const json_t *before,
                        const json_t *after, struct slice sealing_public_key, struct deadline until,
                        struct fault *why) MUST_CHECK SUSPENDS;
/* The same as the first step of a rotation, which stays noted until alias_replace_wraps. */
int alias_rotate_wraps(struct store *st, struct slice id, const json_t *before, const json_t *after,
                       struct slice rotation_to, struct deadline until,
                       struct fault *why) MUST_CHECK SUSPENDS;
/* Deletes the document if its slots are still those of that revision; FAULT_CONFLICT: they are not,
 * or it is gone. */
int alias_delete(struct store *st, const struct alias_doc *alias, struct deadline until,
                 struct fault *why) MUST_CHECK SUSPENDS;
/* Notes the day a slot was last used; callers do so at most once an hour per slot. */
int alias_touch_wrap(struct store *st, struct slice id, struct slice wrap_id, int64_t now_ms,
                     struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
