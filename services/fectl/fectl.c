/* fectl.c - see fectl.h: arguments, passwords, finding an alias and opening its data key.
 *
 * Owns nothing. Called by the commands. FAULT_INVALID for usage, FAULT_NOT_FOUND, FAULT_DENIED. Suspends.
 */
#include "fectl.h"

#include "net/redis.h"

const char *fectl_option(struct fectl *f, const char *name)
{
    for (int i = 0; i + 1 < f->argc; i++) {
        const char *value;

        if (strcmp(f->argv[i], name) != 0)
            continue;
        value = f->argv[i + 1];
        for (int j = i; j + 2 < f->argc; j++)
            f->argv[j] = f->argv[j + 2];
        f->argc -= 2;
        return value;
    }
    return NULL;
}

bool fectl_flag(struct fectl *f, const char *name)
{
    for (int i = 0; i < f->argc; i++) {
        if (strcmp(f->argv[i], name) != 0)
            continue;
        for (int j = i; j + 1 < f->argc; j++)
            f->argv[j] = f->argv[j + 1];
        f->argc--;
        return true;
    }
    return false;
}

int fectl_argument(struct fectl *f, int i, const char *what, struct slice *out, struct fault *why)
{
    if (i >= f->argc || f->argv[i][0] == '-')
        return fault_set(why, FAULT_INVALID, "%s is missing (run fectl without arguments for help)", what);
    *out = arena_lower(f->arena, slice_of(f->argv[i]));
    return 0;
}

struct deadline fectl_until(void)
{
    return deadline_in_ms(60000);
}

int fectl_password(struct fectl *f, struct secret **out, struct fault *why)
{
    char line[PASSWORD_MAX_BYTES + 3];

    *out = NULL;
    if (!fectl_flag(f, "--password-stdin"))
        return 0;
    if (fgets(line, sizeof(line), stdin) == NULL)
        return fault_set(why, FAULT_INVALID, "no password on standard input");
    line[strcspn(line, "\r\n")] = '\0';
    *out = secret_new(slice_of(line));
    memory_wipe(line, sizeof(line));
    return 0;
}

int fectl_find_alias(struct fectl *f, struct slice address, struct alias_doc *alias, struct domain_doc *domain, struct fault *why)
{
    ptrdiff_t at = slice_rfind_char(address, '@');

    if (at <= 0)
        return fault_set(why, FAULT_INVALID, "%.*s is not an address", SLICE(address));
    if (domain_find_by_name(f->store, slice_tail(address, (size_t)at + 1), f->arena, fectl_until(), domain, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no domain %.*s", SLICE(slice_tail(address, (size_t)at + 1))) : -1;
    if (alias_find_by_name(f->store, slice_of(domain->id), slice_head(address, (size_t)at), f->arena, fectl_until(), alias, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no alias %.*s", SLICE(address)) : -1;
    return 0;
}

int fectl_unlock(struct fectl *f, const struct alias_doc *alias, struct slice password, struct slice *wrap_id, struct secret **data_key, struct fault *why)
{
    struct account_key key = { 0 };

    if (account_password_unlock(fectl_passwords(f), alias, password, fectl_until(), &key, why) < 0)
        return -1;
    *wrap_id = arena_copy(f->arena, slice_of(key.wrap_id));
    *data_key = key.data_key;
    return 0;
}

struct account_passwords *fectl_passwords(struct fectl *f)
{
    if (f->passwords.store == NULL)
        account_passwords_init(&f->passwords, f->store, fectl_mailboxes(f));
    return &f->passwords;
}

struct mailbox_server *fectl_mailboxes(struct fectl *f)
{
    struct slice rest = secret_slice(f->settings.api_secrets), first = SLICE_NONE;
    struct mailbox_server_options options = {
        .host = f->settings.sqlite_host, .port = f->settings.sqlite_port, .tls = f->settings.sqlite_tls,
        .ca_path = f->settings.ca_path[0] != '\0' ? f->settings.ca_path : NULL,
    };

    if (f->mailboxes == NULL) {
        (void)slice_cut(&rest, ',', &first);
        options.secret = secret_new(slice_trim(first));        /* for the life of the process */
        f->mailboxes = mailbox_server_new(&options);
    }
    return f->mailboxes;
}

void fectl_alias_changed(struct fectl *f, const char *alias_id)
{
    struct redis_options options = { .host = f->settings.redis_host, .port = f->settings.redis_port, .password = f->settings.redis_password };
    struct slice channel = arena_printf(f->arena, "alias:%s", alias_id);
    struct redis *r = NULL;
    struct redis_reply reply;
    struct fault why;

    if (f->settings.redis_host[0] == '\0')
        return;
    if (redis_new(&options, &r, &why) < 0 || redis_wait_up(r, deadline_in_ms(2000), &why) < 0 ||
        redis_command(r, REDIS_ARGV(LIT("PUBLISH"), channel, LIT("{}")), f->arena, &reply, &why) < 0)
        (void)fprintf(stderr, "fectl: Redis was not told (%s): open sessions go on for some minutes\n", why.text);
    if (r != NULL)
        redis_free(&r);
}
