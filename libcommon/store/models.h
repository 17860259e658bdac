/* models.h - which collections there are, their indexes, and their typed documents.
 *
 * Owns nothing. Used by whoever opens the store (store_open takes models_collections by itself) and
 * by the mail path.
 *
 * A struct x_doc is filled from a document by x_parse (strings live in the arena) and turned into
 * one by x_format. Fields this program does not know stay in the database: changes are written as
 * updates, never as whole documents. Optional text is SLICE_NONE when absent, optional dates are 0.
 * Field names are those of the REST API.
 */
#pragma once

#include "store/directory.h"
#include "store/model_alias.h"
#include "store/model_domain.h"
#include "store/model_email.h"
#include "store/model_log.h"
#include "store/model_user.h"
#include "store/store.h"

#define USERS "users"
#define DOMAINS "domains"
#define ALIASES "aliases"
#define EMAILS "emails"
#define MARKS "marks" /* _id-like `mark` of a message already forwarded: see mark_* */
#define LOGS "logs"
#define KEYS "keys" /* secrets of the installation that daemons share, by `name` (SRS, ARC seal) */

extern const struct store_collection models_collections[];
extern const size_t models_collection_count;

/* Marks: "this message went to this target already". `mark` is hex; written before the reply, kept
 * 5 days by a job. */
int mark_put(struct store *st, struct slice mark, struct deadline until,
             struct fault *why) MUST_CHECK SUSPENDS;
/* *found[i]: marks[i] is known. One trip for all. */
int mark_find(struct store *st, const struct slice *marks, size_t count, bool *found,
              struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
