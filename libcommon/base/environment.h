/* environment.h - a setting as the operator wrote it: from the environment, with the original's syntax and names.
 *
 * Owns      the text of the last answer that had to be made up; nothing else.
 * Used by   service.c and fectl, as the getter of config_read(); the loop thread or before it. Does not suspend, does not fail.
 *
 * {{NAME}} and {{{NAME}}} stand for another setting (nested at most ENVIRONMENT_DEPTH_MAX deep; an unset one is empty), back-ticks around
 * a value mean nothing more than its text. Two settings can be made of the original's:
 *   STORE_URI             of MONGO_URI, else of MONGO_HOST, MONGO_PORT, MONGO_USER, MONGO_PASS, MONGO_NAME
 *   SQLITE_STORAGE_PATH   a plain name stands for /mnt/<name>
 */
#pragma once

#include "base/slice.h"

#define ENVIRONMENT_DEPTH_MAX 8
#define ENVIRONMENT_BYTES_MAX 65536

/* NULL when unset. The text is good until the next call. */
const char *environment_get(const char *name);
/* The same with another place to look settings up than getenv(), for tests and checks of a file. */
const char *environment_get_from(const char *(*lookup)(const char *name), const char *name);

/* The first {{NAME}} in *rest; *rest moves behind it. False when there is none. */
bool environment_next_reference(struct slice *rest, struct slice *name);
