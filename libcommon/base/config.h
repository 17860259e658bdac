/* config.h - every setting is a row: name, type, default, range, one sentence.
 *
 * Read and checked once, before any port opens; all mistakes are reported together, by name. After
 * that the struct is const. Strings are owned by the config and live as long as the process.
 */
#pragma once

#include "base/buf.h"
#include "base/secret.h"

enum config_type {
    CONFIG_STRING,        /* const char *, "" when empty */
    CONFIG_SECRET,        /* struct secret *, NULL when empty; printed as *** */
    CONFIG_PORT,          /* uint16_t; 0: do not listen */
    CONFIG_INT,           /* int64_t, with range */
    CONFIG_MS,            /* uint64_t milliseconds; text like 500ms 30s 5m 2h 5d */
    CONFIG_BYTES,         /* uint64_t; text like 4096, 64kb, 50mb, 1gb (1024-based) */
    CONFIG_BOOL,          /* bool; true false 1 0 yes no */
    CONFIG_LIST,          /* const char **, NULL-terminated; comma separated, trimmed */
};

struct config_var {
    enum config_type type;
    size_t offset;
    const char *name;
    const char *initial;              /* default, in the text form; NULL means required */
    const char *least, *most;         /* range in the text form, or NULL */
    const char *help;
};

#define VAR_STRING(t, f, name, initial, help)          { CONFIG_STRING, offsetof(t, f), name, initial, NULL, NULL, help }
#define VAR_SECRET(t, f, name, initial, help)          { CONFIG_SECRET, offsetof(t, f), name, initial, NULL, NULL, help }
#define VAR_PORT(t, f, name, initial, help)            { CONFIG_PORT, offsetof(t, f), name, initial, NULL, NULL, help }
#define VAR_INT(t, f, name, initial, least, most, help) { CONFIG_INT, offsetof(t, f), name, initial, least, most, help }
#define VAR_MS(t, f, name, initial, least, most, help)  { CONFIG_MS, offsetof(t, f), name, initial, least, most, help }
#define VAR_BYTES(t, f, name, initial, least, most, help) { CONFIG_BYTES, offsetof(t, f), name, initial, least, most, help }
#define VAR_BOOL(t, f, name, initial, help)            { CONFIG_BOOL, offsetof(t, f), name, initial, NULL, NULL, help }
#define VAR_LIST(t, f, name, initial, help)            { CONFIG_LIST, offsetof(t, f), name, initial, NULL, NULL, help }

/* Fills *config from `getter` (getenv in the services). Returns the number of mistakes; each is one
 * line "NAME: what is wrong, what is allowed" in `errors`.                                          */
int config_read(const struct config_var *vars, size_t count, void *config,
                const char *(*getter)(const char *name), struct buf *errors);
/* The reference: name, default, range and help of each row, one block per row. */
void config_print_help(const struct config_var *vars, size_t count, struct buf *out);
