/* api_alias.h - what the files about aliases share. Owns nothing; suspends where marked. */
#pragma once

#include "account/account_alias.h"
#include "api.h"

struct map;

/* api_alias_json.c */
void alias_sizes_load(struct api_call *c, const struct alias_doc *list, size_t count) SUSPENDS;
void alias_size_forget(const char *alias_id);
json_t *alias_json(struct api_call *c, const struct alias_doc *a, const json_t *document, const struct domain_doc *d, struct slice email);
struct slice alias_owner_email(struct api_call *c, const struct alias_doc *a) SUSPENDS;
/* user id -> struct slice of the address, for those who are not the caller; map_free it. */
int alias_owners_load(struct api_call *c, const struct alias_doc *list, size_t count, struct map **emails, struct fault *why) MUST_CHECK SUSPENDS;

/* api_alias_body.c: what a body says about an alias. */
enum alias_mode { ALIAS_CREATE, ALIAS_UPDATE };
/* Fills *a, which holds the alias as it is (create: as it is by default). NULL, or the key of the refusal; then *detail may say more. */
const char *alias_read_body(struct api_call *c, enum alias_mode mode, struct alias_doc *a, struct slice *detail);

struct account_passwords *alias_passwords(struct api_call *c);
api_handler alias_create, alias_update, alias_generate_password;
