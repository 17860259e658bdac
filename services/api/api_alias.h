/* api_alias.h - what the files about aliases share. Owns nothing; suspends where marked. */
#pragma once

#include "account/account_alias.h"
#include "api.h"

/* ---- api_alias_text.c: values of a document as they stand in its text, quotes and all; n 0: absent ---- */

struct alias_text {
    struct slice id, user, name, description, labels, is_enabled, error_code_if_disabled, has_recipient_verification, verified_recipients, recipients,
        has_imap, max_quota, retention, storage_used, storage_location, settings, vacation_responder, sealing_public_key, created_at, updated_at;
};
int alias_text_read(struct slice document, struct alias_text *out, struct fault *why) MUST_CHECK;
struct slice alias_text_plain(struct slice value);     /* what stands between the quotes of a text without escapes */

struct alias_context {                                 /* the same for all of a list, as JSON text */
    struct slice domain, group;
};
/* `email`: JSON text. */
void alias_text_write(struct buf *out, const struct alias_text *a, const struct alias_context *x, struct slice email, int64_t bytes);

/* ---- api_alias_json.c: objects with owners and sizes ---- */

/* The array of objects, in the call's arena. One question for owners that are not the caller, one for sizes that are not known. */
int alias_render_list(struct api_call *c, const struct slice *documents, size_t count, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
int alias_render(struct api_call *c, const json_t *document, struct slice *out, struct fault *why) MUST_CHECK SUSPENDS;
void alias_size_forget(const char *alias_id);

/* ---- api_alias_body.c: what a body says about an alias ---- */

enum alias_mode { ALIAS_CREATE, ALIAS_UPDATE };
/* Fills *a, which holds the alias as it is (create: as it is by default). NULL, or the key of the refusal; then *detail may say more. */
const char *alias_read_body(struct api_call *c, enum alias_mode mode, struct alias_doc *a, struct slice *detail);

struct account_passwords *alias_passwords(struct api_call *c);
api_handler alias_create, alias_update, alias_generate_password;
