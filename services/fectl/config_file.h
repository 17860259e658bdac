/* config_file.h - an .env file, read as Docker Compose reads it: KEY=value lines, quotes, comments.
 *
 * Owns nothing: settings live in the arena. Used by cmd_config.c. Does not suspend.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#define CONFIG_FILE_BYTES_MAX (1u << 20)

struct setting {
    struct slice name, value;              /* NUL-terminated; without quotes */
    unsigned line;
};

struct config_file {
    struct setting *settings;
    size_t count;
};

/* Every line that is no setting adds a line to `mistakes`. FAULT_NOT_FOUND and others when the file can't be read. */
int config_file_read(const char *path, struct arena *in, struct config_file *out, struct buf *mistakes, struct fault *why) MUST_CHECK;
/* The last one of that name, as Compose takes it; NULL when there is none. */
const struct setting *config_file_find(const struct config_file *f, struct slice name);
