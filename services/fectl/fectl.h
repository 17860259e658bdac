/* fectl.h - what the commands of fectl share: settings from the environment, opened store, small helpers.
 *
 * Owns struct fectl, one per run. Everything runs on one fiber; commands suspend.
 */
#pragma once

#include "account/account_password.h"
#include "base/config.h"
#include "base/json.h"
#include "rpc/mailbox.h"
#include "store/models.h"

struct settings {
    const char *store_uri, *store_key_file;
    const char *sqlite_host;
    uint16_t sqlite_port;
    bool sqlite_tls;
    const char *ca_path;
    struct secret *api_secrets, *helper_key;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password;
};

struct fectl {
    struct settings settings;
    struct arena *arena;
    struct store *store;                       /* open for commands that need it */
    struct mailbox_server *mailboxes;
    struct account_passwords passwords;
    int argc;                                  /* behind the command's words */
    char **argv;
};

struct command {
    const char *group, *name;
    const char *usage, *help;
    bool needs_store;
    int (*run)(struct fectl *f, struct fault *why);    /* SUSPENDS */
};

extern const struct command user_commands[], domain_commands[], alias_commands[], queue_commands[], trace_commands[], mailbox_commands[], store_commands[], config_commands[], system_commands[];

/* Value of "--name value"; NULL when absent. Flags: fectl_flag. Both take the option out of argv. */
const char *fectl_option(struct fectl *f, const char *name);
bool fectl_flag(struct fectl *f, const char *name);
/* The i-th plain argument, or the fault FAULT_INVALID naming `what`. */
int fectl_argument(struct fectl *f, int i, const char *what, struct slice *out, struct fault *why) MUST_CHECK;
struct deadline fectl_until(void);             /* one minute from now */
/* First line of standard input when --password-stdin was given; NULL otherwise. */
int fectl_password(struct fectl *f, struct secret **out, struct fault *why) MUST_CHECK;
int fectl_find_alias(struct fectl *f, struct slice address, struct alias_doc *alias, struct domain_doc *domain, struct fault *why) MUST_CHECK;
/* Which slot the password opens, and the data key. */
int fectl_unlock(struct fectl *f, const struct alias_doc *alias, struct slice password, struct slice *wrap_id, struct secret **data_key, struct fault *why) MUST_CHECK;
struct mailbox_server *fectl_mailboxes(struct fectl *f);
/* Event alias:<id>: daemons drop cached logins and end sessions. Without Redis they notice within minutes. */
void fectl_alias_changed(struct fectl *f, const char *alias_id);
struct account_passwords *fectl_passwords(struct fectl *f);
